"""Tables of the page about a prepared folder."""

from __future__ import annotations

from collections.abc import Iterator

from ov_emotions.data.statistics.facts import Group, Lengths, Statistics
from ov_emotions.reports import format as fmt
from ov_emotions.reports.distributions import share
from ov_emotions.reports.table import Cell, Row, Table


def groups(stats: Statistics) -> Iterator[tuple[str, Group, bool]]:
    """Name every split, and below it the sets in it where there are several."""
    for split, group in stats.splits.items():
        yield split, group, True
        origins = stats.origins[split]
        if len(origins) > 1:
            for origin, part in origins.items():
                yield f"{split} / {origin}", part, False


def number(value: int) -> Cell:
    """Write a count that sorts."""
    return Cell(fmt.count(value), sort=value)


def balance_table(stats: Statistics) -> Table:
    """Present, absent and unknown, by group and label."""
    rows = []
    for name, group, _ in groups(stats):
        for label, found in group.labels.items():
            cells = (
                Cell(name, code=True),
                Cell(label),
                number(found.present),
                number(found.absent),
                number(found.unknown),
                Cell(share(found.share), sort=found.share),
            )
            rows.append(Row(cells))
    head = ("rows of", "label", "present", "absent", "unknown", "share of known")
    caption = "Rows by label; what a set does not annotate is unknown, not absent"
    return Table("balance", caption, head, _numeric(2, 4), tuple(rows))


def size_table(stats: Statistics) -> Table:
    """Rows and labels per row, by group."""
    most = max((n for _, g, _ in groups(stats) for n in g.labels_per_row), default=0)
    rows = []
    for name, group, whole in groups(stats):
        counts = (number(group.labels_per_row.get(n, 0)) for n in range(most + 1))
        cells = (Cell(name, code=True), number(group.rows), number(group.fully_known), *counts)
        rows.append(Row(cells, role="" if whole else "part"))
    names = tuple("1 label" if n == 1 else f"{n} labels" for n in range(most + 1))
    head = ("rows of", "rows", "all labels known", *names)
    return Table("sizes", "Rows by number of labels", head, _numeric(1, most + 3), tuple(rows))


def length_table(stats: Statistics, unit: str) -> Table:
    """Lengths by group.

    :param unit: words or tokens.
    """
    rows = []
    for name, group, _ in groups(stats):
        found: Lengths | None = getattr(group, unit)
        if found is None:
            rows.append(Row((Cell(name, code=True),), note="no rows"))
            continue
        values = (found.mean, found.smallest, *found.quantiles.values(), found.largest)
        cells = [Cell(name, code=True), *(Cell(f"{v:,.4g}", sort=v) for v in values)]
        if unit == "tokens":
            cells.append(number(group.over_max_length))
        rows.append(Row(tuple(cells)))
    over = (f"over {stats.tokenizer.max_length}",) if unit == "tokens" else ()
    percents = ("5 %", "25 %", "median", "75 %", "95 %", "99 %")
    head = ("rows of", "mean", "least", *percents, "most", *over)
    caption = f"Lengths in {unit}"
    return Table(f"{unit}-lengths", caption, head, _numeric(1, len(head) - 1), tuple(rows))


def repeats_table(stats: Statistics) -> Table:
    """What repeats within each group."""
    rows = [
        Row(
            (
                Cell(name, code=True),
                number(group.rows),
                number(group.empty),
                number(group.duplicates),
                number(group.near_duplicates),
                number(group.contradictions),
            )
        )
        for name, group, _ in groups(stats)
    ]
    head = ("rows of", "rows", "no words", "repeated", "nearly repeated", "contradicting texts")
    return Table("repeats", "Within splits and sets", head, _numeric(1, 5), tuple(rows))


def overlap_table(stats: Statistics) -> Table:
    """What is in two splits."""
    rows = [
        Row(
            (
                Cell(found.split, code=True),
                Cell(found.other),
                number(found.equal),
                number(found.near),
            )
        )
        for found in stats.overlaps
    ]
    head = ("rows of", "found in", "equal", "nearly equal")
    return Table("overlaps", "Between splits", head, _numeric(2, 2), tuple(rows))


def pair_table(stats: Statistics, split: str) -> Table:
    """Pairs of labels that stand together, the most alike first."""
    together = stats.cooccurrence[split]
    labels = stats.labels
    pairs = [
        (together.jaccard[i][j] or 0.0, i, j)
        for i in range(len(labels))
        for j in range(i + 1, len(labels))
        if together.counts[i][j]
    ]
    rows = []
    for jaccard, i, j in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        there, back = together.conditional[i][j], together.conditional[j][i]
        cells = (
            Cell(f"{labels[i]} + {labels[j]}"),
            number(together.counts[i][j]),
            Cell(fmt.score(jaccard), sort=jaccard),
            Cell(share(there), sort=there),
            Cell(share(back), sort=back),
        )
        rows.append(Row(cells))
    head = ("labels", "rows with both", "Jaccard", "second given first", "first given second")
    caption = f"Labels that stand together in {split}"
    return Table("pairs", caption, head, _numeric(1, 4), tuple(rows))


def word_table(stats: Statistics, position: int) -> Table:
    """The telling words of one label."""
    label = stats.labels[position]
    rows = [
        Row(
            (
                Cell(found.word),
                number(found.present),
                number(found.absent),
                Cell(fmt.signed(found.log_odds, 2), sort=found.log_odds),
                Cell(f"{found.z:.1f}", sort=found.z),
            )
        )
        for found in stats.words[label]
    ]
    head = ("word", "texts with the label", "texts without", "log-odds", "z")
    caption = f"Words of {label}"
    return Table(f"words-{position}", caption, head, _numeric(1, 4), tuple(rows))


def _numeric(first: int, numbers: int) -> tuple[bool, ...]:
    return (False,) * first + (True,) * numbers
