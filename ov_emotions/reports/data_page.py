"""What a prepared folder holds, as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from ov_emotions.data.statistics.facts import Statistics
from ov_emotions.reports import data_tables as tables
from ov_emotions.reports import format as fmt
from ov_emotions.reports import old_page as page
from ov_emotions.reports.cloud import word_cloud
from ov_emotions.reports.distributions import Bar, bars, boxes, share
from ov_emotions.reports.heatmap import heatmap

_CLOUD_WORDS = 30


def render_data_page(stats: Statistics) -> str:
    """Write the page.

    :param stats: what `describe` found.
    :return: an HTML document that asks for nothing outside itself; whatever the data hold stays
        text.
    :raises MissingExtraError: if wordcloud is not installed.
    """
    rows = sum(group.rows for group in stats.splits.values())
    title = f"{fmt.plural(rows, 'text')}, {fmt.plural(len(stats.labels), 'label')}"
    return page.document(f"{title} – prepared data", _header(stats, title), _sections(stats))


def _header(stats: Statistics, title: str) -> str:
    sizes = ", ".join(f"{name} {fmt.count(group.rows)}" for name, group in stats.splits.items())
    lines = [
        '<header class="ship">',
        '<p class="about">Emotions in Russian text: what the prepared data hold</p>',
        f"<h1>{page.text(title)}</h1>",
        f'<p class="lead">{page.text(_lead(stats))}</p>',
        f"<p>Rows by split: {page.text(sizes)}.</p>",
        "</header>",
    ]
    return "\n".join(lines)


def _lead(stats: Statistics) -> str:
    main = _main(stats)
    group = stats.splits[main]
    if not group.rows:
        return f"The split {main} has no rows."
    known = {label: found.share for label, found in group.labels.items() if found.share is not None}
    said = []
    if known:
        often, seldom = max(known, key=lambda x: known[x] or 0), min(known, key=lambda x: known[x])
        said.append(
            f"In {main}, {often} is the most frequent label ({share(known[often])} of the rows "
            f"where it is known) and {seldom} the rarest ({share(known[seldom])})."
        )
    if group.words is not None:
        said.append(f"Half of the texts have {group.words.quantiles['50']:g} words or fewer.")
    equal = sum(found.equal for found in stats.overlaps if found.split == main)
    near = sum(found.near for found in stats.overlaps if found.split == main)
    if len(stats.splits) > 1:
        said.append(
            f"No text of {main} is in another split."
            if not equal + near
            else f"Some rows of {main} are in other splits too: {fmt.count(equal)} equal, "
            f"{fmt.count(near)} nearly equal."
        )
    return " ".join(said)


def _main(stats: Statistics) -> str:
    return str(stats.settings["words_split"])


def _sections(stats: Statistics) -> Iterator[str]:
    yield _labels(stats)
    yield _per_row(stats)
    yield _together(stats)
    yield _lengths(stats)
    yield _words(stats)
    yield _repeats(stats)
    yield _made(stats)


def _named(stats: Statistics) -> list[str]:
    russian = stats.label_names_ru
    return [
        f"{label} · {russian[label]}" if russian.get(label, label) != label else label
        for label in stats.labels
    ]


def _labels(stats: Statistics) -> str:
    main = _main(stats)
    named = dict(zip(stats.labels, _named(stats), strict=True))
    found = sorted(stats.splits[main].labels.items(), key=lambda item: -item[1].present)
    items = [
        Bar(named[label], b.present, f"{fmt.count(b.present)} ({share(b.share)})")
        for label, b in found
    ]
    counted = page.figure(
        lambda width, name: bars(
            items, width=width, name=name, title=f"Rows by label in {main}", axis=f"rows of {main}"
        ),
        "balance-plot",
        f"Rows of {page.text(main)} that have a label; in brackets their share of the rows where "
        "the label is known.",
    )
    groups = list(tables.groups(stats))
    shares = [[group.labels[label].share for _, group, _ in groups] for label in stats.labels]
    by_group = page.figure(
        lambda width, name: heatmap(
            stats.labels,
            [name for name, _, _ in groups],
            shares,
            width=width,
            name=name,
            title="Share of rows with each label, by split and set",
        ),
        "shares-plot",
        "Rows with the label per 100 where it is known, by split and by set in it. "
        "Dashed: no row of it has this label annotated.",
    )
    table = page.details("The counts", page.table(tables.balance_table(stats), sortable=True))
    return page.section("labels", "Labels", counted, by_group, table)


def _per_row(stats: Statistics) -> str:
    main = _main(stats)
    group = stats.splits[main]
    items = [
        Bar(
            "1 label" if n == 1 else f"{n} labels",
            rows,
            f"{fmt.count(rows)} ({share(rows / group.rows)})",
        )
        for n, rows in group.labels_per_row.items()
    ]
    plot = page.figure(
        lambda width, name: bars(
            items,
            width=width,
            name=name,
            title=f"Labels per row in {main}",
            axis=f"rows of {main}",
        ),
        "per-row-plot",
        f"Rows of {page.text(main)} by how many labels are present. A row without any may have "
        "labels that its set does not annotate.",
    )
    return page.section("per-row", "Labels per row", plot, page.table(tables.size_table(stats)))


def _together(stats: Statistics) -> str:
    main = _main(stats)
    together = stats.cooccurrence[main]
    own = [
        [None if i == j else value for j, value in enumerate(row)]
        for i, row in enumerate(together.conditional)
    ]
    plot = page.figure(
        lambda width, name: heatmap(
            stats.labels,
            stats.labels,
            own,
            width=width,
            name=name,
            title=f"Labels that stand together in {main}",
        ),
        "together-plot",
        f"Of 100 rows of {page.text(main)} with the label on the left, how many have the label on "
        "top too, among those where it is known.",
    )
    table = tables.pair_table(stats, main)
    listed = page.details("Pairs of labels", page.table(table, sortable=True)) if table.rows else ""
    return page.section("together", "Labels together", plot, listed)


def _lengths(stats: Statistics) -> str:
    parts = []
    for unit, limit in (("words", None), ("tokens", stats.tokenizer.max_length)):
        items = [
            (name, found, whole)
            for name, group, whole in tables.groups(stats)
            if (found := getattr(group, unit)) is not None
        ]
        longest = max((found.quantiles["99"] for _, found, _ in items), default=0)
        # A limit far beyond every text would press the boxes flat; the caption names it then.
        shown = limit if limit is not None and limit <= 2 * longest else None
        parts.append(
            page.figure(
                lambda width, name, items=items, unit=unit, shown=shown: boxes(  # type: ignore[misc]
                    items,
                    width=width,
                    name=name,
                    title=f"Lengths in {unit}",
                    axis=f"{unit} of a text",
                    limit=shown,
                ),
                f"{unit}-plot",
                _length_caption(stats, unit),
            )
        )
    parts += [
        page.details(f"Lengths in {unit}", page.table(tables.length_table(stats, unit)))
        for unit in ("words", "tokens")
    ]
    return page.section("lengths", "Lengths", *parts)


def _length_caption(stats: Statistics, unit: str) -> str:
    box = "Box: the middle half and the median; line: 5 to 95 %; dot: 99 %."
    if unit == "words":
        return f"Words of the normalised text. {box}"
    over = sum(group.over_max_length for group in stats.splits.values())
    model = page.text(stats.tokenizer.model)
    return (
        f"Tokens of <code>{model}</code>, special ones included; it reads "
        f"{stats.tokenizer.max_length} at once, and {fmt.plural(over, 'text')} "
        f"{'is' if over == 1 else 'are'} longer. {box}"
    )


def _words(stats: Statistics) -> str:
    main = page.text(_main(stats))
    clouds, lists = [], []
    for i, (label, named) in enumerate(zip(stats.labels, _named(stats), strict=True)):
        found = stats.words[label]
        if not found:
            continue
        drawn = word_cloud(
            [(word.word, word.z) for word in found[:_CLOUD_WORDS]],
            name=f"cloud-{i}",
            title=f"Words of {named}",
            seed=int(stats.settings["seed"]),
        )
        clouds.append(f"<figure>\n<figcaption>{page.text(named)}</figcaption>\n{drawn}\n</figure>")
        lists.append(page.details(named, page.table(tables.word_table(stats, i), sortable=True)))
    if not clouds:
        return page.section("words", "Telling words", f"<p>{main} has no telling words.</p>")
    said = (
        f"<p>Dictionary forms that stand out in texts of {main} with a label against those "
        "without it: the larger, the greater the z-score of the log-odds ratio with an informative "
        "Dirichlet prior (Monroe et al., 2008). A word counts once a text; function words, numbers "
        "and single letters are left out.</p>"
    )
    return page.section(
        "words", "Telling words", said, '<div class="clouds">', *clouds, "</div>", *lists
    )


def _repeats(stats: Statistics) -> str:
    said = (
        "<p>Texts are compared normalised. Nearly equal means a Jaccard similarity of at least "
        f"{stats.settings['near_threshold']:g} on sets of four-character grams; what is equal to "
        "another row is not counted again as nearly equal. A contradicting text stands in several "
        "rows, with a label in one and without it in another.</p>"
    )
    parts = [page.table(tables.repeats_table(stats), sortable=True)]
    if stats.overlaps:
        parts.append(page.table(tables.overlap_table(stats), sortable=True))
    return page.section("all", "Repeated texts", said, *parts)


def _made(stats: Statistics) -> str:
    pairs = [
        ("manifest, SHA-256", str(stats.prepared.get("manifest_sha256"))),
        ("seed of the data", str(stats.prepared.get("seed"))),
        ("normaliser", str(stats.prepared.get("normalizer"))),
        ("tokeniser", f"{stats.tokenizer.model}, SHA-256 {stats.tokenizer.sha256}"),
        *((key.replace("_", " "), str(value)) for key, value in stats.settings.items()),
        *stats.versions.items(),
    ]
    listed = page.details("Versions, settings and hashes", page.facts(pairs))
    return page.section("made", "How it was counted", listed)
