"""What a prepared folder holds, as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ov_emotions.data.statistics import Group, Lengths, Statistics
from ov_emotions.data.telling_words import TellingWord
from ov_emotions.reports import charts
from ov_emotions.reports.charts import Chart
from ov_emotions.reports.language import Language
from ov_emotions.reports.page import Cell, Row, figure, render, row

_CLOUD_WORDS = 30
_LABELS = ("label|labels", "метка|метки|меток")

Rows = Iterator[tuple[str | Cell, ...]]


def render_data_page(stats: Statistics, language: str = "en") -> str:
    """Write the page.

    :param language: en or ru.
    :return: an HTML document that asks for nothing outside itself; whatever the data hold stays
        text.
    :raises MissingExtraError: if what draws or writes pages is not installed.
    """
    say = Language(language)
    return render("data.html.j2", say, page=_DataPage(stats, say), stats=stats)


class _DataPage:
    """What the page says, the charts, and the rows of the tables."""

    def __init__(self, stats: Statistics, say: Language) -> None:
        self.stats, self.say = stats, say
        self.main = str(stats.settings["words_split"])  # the split that plots show
        self.group = stats.splits[self.main]
        self.shares = {
            label: balance.share
            for label, balance in self.group.labels.items()
            if balance.share is not None
        }
        self.shared = sum(o.equal + o.near for o in stats.overlaps if o.split == self.main)

    def ends(self, *, some: bool = False) -> tuple[tuple[str, float], tuple[str, float]] | None:
        """Name the most and the least frequent label, with shares; None where none is known.

        :param some: leave out those that no row has.
        """
        shares = {label: share for label, share in self.shares.items() if share or not some}
        if not shares:
            return None
        ends = (choose(shares, key=shares.__getitem__) for choose in (max, min))
        often, seldom = ((self.name(label), shares[label]) for label in ends)
        return often, seldom

    def name(self, label: str) -> str:
        """Name a label in the page's language."""
        russian = self.stats.label_names_ru.get(label)
        return russian if russian and self.say.code == "ru" else label

    def groups(self) -> Iterator[tuple[str, Group, bool]]:
        """Name every split, and below it the sets in it where there are several."""
        for split, group in self.stats.splits.items():
            yield split, group, True
            origins = self.stats.origins[split]
            if len(origins) > 1:
                for origin, part in origins.items():
                    yield f"{split} / {origin}", part, False

    def _counts(self, *values: int) -> Iterator[Cell]:
        return (figure(self.say.count, value) for value in values)

    # Labels

    def balance_plot(self) -> Chart | None:
        found = sorted(self.group.labels.items(), key=lambda item: -item[1].present)
        return self._bars([(self.name(label), b.present, b.share) for label, b in found])

    def _bars(self, counts: Iterable[tuple[str, int, float | None]]) -> Chart | None:
        """Draw rows, with their share of all."""
        say = self.say
        rows = [
            {
                "label": label,
                "value": count,
                "shown": f"{say.count(count)} ({say.percent(share, 1)})",
            }
            for label, count, share in counts
        ]
        return charts.bars(rows, say, title=say("rows of {}", "строк в {}", self.main))

    def shares_plot(self) -> Chart:
        groups = list(self.groups())
        names = [self.name(label) for label in self.stats.labels]
        shares = [[g.labels[label].share for _, g, _ in groups] for label in self.stats.labels]
        described = self.say(
            "Share of rows with each label, by split and set",
            "Доля строк с каждой меткой по выборкам и наборам",
        )
        return self._heatmap(names, [name for name, _, _ in groups], shares, described)

    def _heatmap(
        self, rows: list[str], columns: list[str], shares: list[list[float | None]], described: str
    ) -> Chart:
        def write(value: float | None) -> str:
            share = 100 * (value or 0)
            return self.say.number(share, 1 if 0 < share < 9.95 else 0)

        return charts.heatmap(rows, columns, shares, self.say, write=write, described=described)

    def balance(self) -> Rows:
        for name, group, _ in self.groups():
            for label, found in group.labels.items():
                counts = self._counts(found.present, found.absent, found.unknown)
                share = figure(self.say.percent, found.share, 1)
                yield (Cell(name, code=True), self.name(label), *counts, share)

    # Labels per row, and labels together

    def per_row_plot(self) -> Chart | None:
        per_row, rows = self.group.labels_per_row, self.group.rows or 1
        return self._bars([(self.say.count(n, *_LABELS), c, c / rows) for n, c in per_row.items()])

    def numbers(self) -> list[str]:
        """Name the numbers of labels that a row may have."""
        most = max((n for _, g, _ in self.groups() for n in g.labels_per_row), default=0)
        return [self.say.count(n, *_LABELS) for n in range(most + 1)]

    def sizes(self) -> Rows:
        numbers = range(len(self.numbers()))
        for name, group, _ in self.groups():
            per_row = (group.labels_per_row.get(n, 0) for n in numbers)
            yield (Cell(name, code=True), *self._counts(group.rows, group.fully_known, *per_row))

    def together_plot(self) -> Chart:
        found = self.stats.cooccurrence[self.main].conditional
        shares = [
            [None if i == j else value for j, value in enumerate(line)]
            for i, line in enumerate(found)
        ]
        names = [self.name(label) for label in self.stats.labels]
        described = self.say("Labels that stand together in {}", "Метки, стоящие вместе в {}")
        return self._heatmap(names, names, shares, described.format(self.main))

    def pairs(self) -> Rows:
        """Give pairs of labels that stand together, the most alike first."""
        say, labels = self.say, self.stats.labels
        together = self.stats.cooccurrence[self.main]
        pairs = [
            (-(together.jaccard[i][j] or 0.0), i, j)
            for i in range(len(labels))
            for j in range(i + 1, len(labels))
            if together.counts[i][j]
        ]
        for alike, i, j in sorted(pairs):
            yield (
                f"{self.name(labels[i])} + {self.name(labels[j])}",
                figure(say.count, together.counts[i][j]),
                figure(say.score, -alike),
                figure(say.percent, together.conditional[i][j], 1),
                figure(say.percent, together.conditional[j][i], 1),
            )

    # Lengths, of which the unit is words or tokens

    def length_plot(self, unit: str) -> Chart | None:
        say, limit = self.say, self.stats.tokenizer.max_length if unit == "tokens" else None
        rows, longest = [], 0.0
        for name, group, whole in self.groups():
            lengths: Lengths | None = getattr(group, unit)
            if lengths is None:
                continue
            longest = max(longest, lengths.quantiles["99"])
            told = say(
                "{}: median {}, 95 % at {}",
                "{}: медиана {}, 95 % до {}",
                *(name, say.plain(lengths.quantiles["50"]), say.plain(lengths.quantiles["95"])),
            )
            quantiles = {f"p{percent}": value for percent, value in lengths.quantiles.items()}
            look = "var(--accent)" if whole else "var(--bar)"
            rows.append({"label": name, **quantiles, "look": look, "told": told})
        title = say("words of a text", "слов в тексте")
        if unit == "tokens":
            title = say("tokens of a text", "токенов в тексте")
        # A limit far beyond every text would press the boxes flat; the caption names it then.
        near = limit is not None and limit <= 2 * longest
        return charts.boxes(rows, say, title=title, limit=limit if near else None)

    def lengths(self, unit: str) -> Iterator[Row]:
        for name, group, _ in self.groups():
            found: Lengths | None = getattr(group, unit)
            if found is None:
                yield row([Cell(name, code=True)], note=self.say("no rows", "строк нет"))
                continue
            values = (found.mean, found.smallest, *found.quantiles.values(), found.largest)
            over = self._counts(group.over_max_length) if unit == "tokens" else ()
            numbers = (figure(self.say.number, value, 1) for value in values)
            yield row([Cell(name, code=True), *numbers, *over])

    # Words

    def words(self) -> Iterator[tuple[int, str, list[tuple[str, float]], Rows]]:
        """Give the telling words of each label that has some: with sizes, and as a table."""
        for i, label in enumerate(self.stats.labels):
            if telling := self.stats.words[label]:
                yield i, self.name(label), _sized(telling[:_CLOUD_WORDS]), self._telling(telling)

    def _telling(self, words: tuple[TellingWord, ...]) -> Rows:
        for word in words:
            counts = self._counts(word.present, word.absent)
            odds = figure(self.say.signed, word.log_odds, 2)
            yield (word.word, *counts, odds, figure(self.say.number, word.z, 1))

    # Repeated texts, and how it was counted

    def repeats(self) -> Rows:
        for name, g, _ in self.groups():
            counts = (g.rows, g.empty, g.duplicates, g.near_duplicates, g.contradictions)
            yield (Cell(name, code=True), *self._counts(*counts))

    def overlaps(self) -> Rows:
        for found in self.stats.overlaps:
            counts = self._counts(found.equal, found.near)
            yield (Cell(found.split, code=True), found.other, *counts)

    def made(self) -> Iterator[tuple[str, str]]:
        """List what the numbers depend on."""
        stats = self.stats
        names = self.say.names(
            "manifest, SHA-256|seed of the data|normaliser|tokeniser",
            "манифест, SHA-256|зерно данных|нормализатор|токенизатор",
        )
        values = [str(stats.prepared.get(x)) for x in ("manifest_sha256", "seed", "normalizer")]
        values.append(f"{stats.tokenizer.model}, SHA-256 {stats.tokenizer.sha256}")
        yield from zip(names, values, strict=True)
        for key, value in stats.settings.items():
            yield key.replace("_", " "), str(value)
        yield from stats.versions.items()


def _sized(telling: tuple[TellingWord, ...]) -> list[tuple[str, float]]:
    """Give each word a size from 1 to 2."""
    highest = max(word.z for word in telling)
    lowest = min(word.z for word in telling)
    return [(word.word, 1 + (word.z - lowest) / ((highest - lowest) or 1)) for word in telling]
