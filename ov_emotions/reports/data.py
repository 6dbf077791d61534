"""What a prepared folder holds, as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ov_emotions.data.statistics import Group, Lengths, Statistics
from ov_emotions.data.telling_words import TellingWord
from ov_emotions.reports import charts
from ov_emotions.reports.charts import Chart
from ov_emotions.reports.language import Language
from ov_emotions.reports.page import Cell, Row, Table, cells, render

_CLOUD_WORDS = 30
_LABELS = ("label|labels", "метка|метки|меток")


def render_data_page(stats: Statistics, language: str = "en") -> str:
    """Write the page.

    :param stats: what `describe` found.
    :param language: en or ru.
    :return: an HTML document that asks for nothing outside itself; whatever the data hold stays
        text.
    :raises MissingExtraError: if what draws or writes pages is not installed.
    """
    say = Language(language)
    rows = sum(group.rows for group in stats.splits.values())
    count = say.count(rows, "text|texts", "текст|текста|текстов")
    labels = say.count(len(stats.labels), *_LABELS)
    about = say("Prepared data: {}, {}", "Подготовленные данные: {}, {}").format(count, labels)
    page = _DataPage(stats, say)
    return render(
        "data.html.j2",
        say,
        title=page.found(),
        about=about,
        skip_to="all",
        page=page,
        stats=stats,
        words=page.words(),
    )


@dataclass(frozen=True)
class Words:
    """The telling words of one label.

    :param sized: words with a size from 1 to 2.
    """

    label: str
    sized: tuple[tuple[str, float], ...]
    table: Table


@dataclass(frozen=True)
class _DataPage:
    """Everything that the page shows, for its template."""

    stats: Statistics
    say: Language

    @property
    def main(self) -> str:
        """The split that plots show."""
        return str(self.stats.settings["words_split"])

    @property
    def group(self) -> Group:
        """That split's rows."""
        return self.stats.splits[self.main]

    def found(self) -> str:
        """Say what the data come to: rows that stand in two splits, or the balance of labels."""
        say, stats = self.say, self.stats
        shared = sum(o.equal + o.near for o in stats.overlaps if o.split == self.main)
        if shared:
            return say(
                "{} of {} stand in other splits too, or nearly",
                "{} из {} есть и в других выборках, точно или почти",
            ).format(say.count(shared, "row|rows", "строка|строки|строк"), self.main)
        known = {x: b.share for x, b in self.group.labels.items() if b.share}
        if not known:
            return say("{} has no labelled row", "В {} нет размеченных строк").format(self.main)
        often, seldom = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
        ratio = (known[often] or 0) / (known[seldom] or 1)
        shown = say.number(ratio, 1) + say(" times", " раза")
        if ratio >= 10:
            shown = say.count(round(ratio), "time|times", "раз|раза|раз")
        return say(
            "In {main}, {often} is {ratio} as frequent as {seldom}",
            "В {main} метка «{often}» встречается в {ratio} чаще, чем «{seldom}»",
        ).format(
            main=self.main,
            often=self.name(often),
            ratio=shown,
            seldom=self.name(seldom),
        )

    def lead(self) -> list[str]:
        """Say more of it, a sentence each."""
        say, group, told = self.say, self.group, []
        known = {x: b.share for x, b in group.labels.items() if b.share is not None}
        if known:
            often, seldom = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
            sentence = say(
                "{often} stands in {a} of the rows where it is known, {seldom} in {b}.",
                "«{often}» есть в {a} строк, где она размечена, «{seldom}» — в {b}.",
            )
            shares = [say.percent(known[x], 1) for x in (often, seldom)]
            told.append(
                sentence.format(
                    often=self.name(often), seldom=self.name(seldom), a=shares[0], b=shares[1]
                )
            )
        if group.words is not None:
            half = say("Half of the texts have {} or fewer.", "В половине текстов не больше {}.")
            median = group.words.quantiles["50"]
            shown = say.count(int(median), "word|words", "слова|слов|слов")
            told.append(half.format(shown))
        if len(self.stats.splits) > 1 and not any(
            o.equal + o.near for o in self.stats.overlaps if o.split == self.main
        ):
            none = say(
                "No text of {} is in another split.",
                "Ни один текст из {} не встречается в других выборках.",
            )
            told.append(none.format(self.main))
        sizes = (f"{name} {say.count(group.rows)}" for name, group in self.stats.splits.items())
        told.append(say("Rows by split: {}.", "Строк в выборках: {}.").format(", ".join(sizes)))
        return told

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

    def _count(self, value: int) -> Cell:
        return Cell(self.say.count(value), value)

    def _share(self, value: float | None) -> Cell:
        return Cell(self.say.percent(value, 1), value)

    # Labels

    def balance_plot(self) -> Chart:
        """Draw rows by label."""
        say = self.say
        found = sorted(self.group.labels.items(), key=lambda item: -item[1].present)
        rows = [
            {
                "label": self.name(label),
                "value": b.present,
                "shown": f"{say.count(b.present)} ({say.percent(b.share, 1)})",
            }
            for label, b in found
        ]
        return self._bars(rows)

    def _bars(self, rows: Sequence[Mapping[str, object]]) -> Chart:
        title = self.say("rows of {}", "строк в {}").format(self.main)
        described = "; ".join(f"{row['label']}: {row['shown']}" for row in rows)
        return charts.bars(rows, self.say, title=title, described=described + ".")

    def shares_plot(self) -> Chart:
        """Draw the share of rows with each label, by split and set."""
        groups = list(self.groups())
        shares = [[g.labels[label].share for _, g, _ in groups] for label in self.stats.labels]
        described = self.say(
            "Share of rows with each label, by split and set",
            "Доля строк с каждой меткой по выборкам и наборам",
        )
        names = [self.name(label) for label in self.stats.labels]
        return self._heatmap(names, [name for name, _, _ in groups], shares, described)

    def _heatmap(
        self,
        rows: list[str],
        columns: list[str],
        shares: list[list[float | None]],
        described: str,
    ) -> Chart:
        def write(value: float | None) -> str:
            share = 100 * (value or 0)
            return self.say.number(share, 1 if 0 < share < 9.95 else 0)

        return charts.heatmap(rows, columns, shares, self.say, write=write, described=described)

    def balance(self) -> Table:
        """List present, absent and unknown, by group and label."""
        say = self.say
        rows = tuple(
            Row(
                cells(
                    Cell(name, code=True),
                    self.name(label),
                    *(self._count(n) for n in (found.present, found.absent, found.unknown)),
                    self._share(found.share),
                )
            )
            for name, group, _ in self.groups()
            for label, found in group.labels.items()
        )
        head = (
            say("rows of", "строки"),
            say("label", "метка"),
            say("present", "есть"),
            say("absent", "нет"),
            say("unknown", "неизвестно"),
            say("share of known", "доля известных"),
        )
        caption = say(
            "Rows by label; what a set does not annotate is unknown, not absent",
            "Строки по меткам; что в наборе не размечалось, неизвестно, а не отсутствует",
        )
        return Table("balance", caption, head, rows, texts=2)

    # Labels per row, and labels together

    def per_row_plot(self) -> Chart:
        """Draw rows by how many labels they have."""
        say, group = self.say, self.group
        rows = [
            {
                "label": say.count(n, *_LABELS),
                "value": rows,
                "shown": f"{say.count(rows)} ({say.percent(rows / (group.rows or 1), 1)})",
            }
            for n, rows in group.labels_per_row.items()
        ]
        return self._bars(rows)

    def sizes(self) -> Table:
        """List rows and labels per row, by group."""
        say = self.say
        most = max((n for _, g, _ in self.groups() for n in g.labels_per_row), default=0)
        rows = tuple(
            Row(
                cells(
                    Cell(name, code=True),
                    self._count(group.rows),
                    self._count(group.fully_known),
                    *(self._count(group.labels_per_row.get(n, 0)) for n in range(most + 1)),
                )
            )
            for name, group, _ in self.groups()
        )
        head = (
            say("rows of", "строки"),
            say("rows", "строк"),
            say("all labels known", "все метки известны"),
            *(say.count(n, *_LABELS) for n in range(most + 1)),
        )
        return Table("sizes", say("Rows by number of labels", "Строки по числу меток"), head, rows)

    def together_plot(self) -> Chart:
        """Draw which labels stand together."""
        found = self.stats.cooccurrence[self.main].conditional
        shares = [
            [None if i == j else value for j, value in enumerate(row)]
            for i, row in enumerate(found)
        ]
        names = [self.name(label) for label in self.stats.labels]
        described = self.say("Labels that stand together in {}", "Метки, стоящие вместе в {}")
        return self._heatmap(names, names, shares, described.format(self.main))

    def pairs(self) -> Table | None:
        """List pairs of labels that stand together, the most alike first."""
        say, labels = self.say, self.stats.labels
        together = self.stats.cooccurrence[self.main]
        pairs = [
            (together.jaccard[i][j] or 0.0, i, j)
            for i in range(len(labels))
            for j in range(i + 1, len(labels))
            if together.counts[i][j]
        ]
        rows = tuple(
            Row(
                cells(
                    f"{self.name(labels[i])} + {self.name(labels[j])}",
                    self._count(together.counts[i][j]),
                    Cell(say.score(jaccard), jaccard),
                    self._share(together.conditional[i][j]),
                    self._share(together.conditional[j][i]),
                )
            )
            for jaccard, i, j in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2]))
        )
        head = (
            say("labels", "метки"),
            say("rows with both", "строк с обеими"),
            say("Jaccard", "Жаккар"),
            say("second given first", "вторая при первой"),
            say("first given second", "первая при второй"),
        )
        caption = say("Labels that stand together in {}", "Метки, стоящие вместе в {}")
        return Table("pairs", caption.format(self.main), head, rows) if rows else None

    # Lengths

    def length_plot(self, unit: str) -> Chart | None:
        """Draw lengths by group.

        :param unit: words or tokens.
        """
        say, limit = self.say, self.stats.tokenizer.max_length if unit == "tokens" else None
        found = [(name, getattr(group, unit), whole) for name, group, whole in self.groups()]
        found = [item for item in found if item[1] is not None]
        if not found:
            return None
        longest = max(lengths.quantiles["99"] for _, lengths, _ in found)
        rows = [
            {
                "label": name,
                **{f"p{percent}": value for percent, value in lengths.quantiles.items()},
                "look": "var(--accent)" if whole else "var(--bar)",
                "told": say("{}: median {}, 95 % at {}", "{}: медиана {}, 95 % до {}").format(
                    name, *(say.plain(lengths.quantiles[p]) for p in ("50", "95"))
                ),
            }
            for name, lengths, whole in found
        ]
        title = say("words of a text", "слов в тексте")
        if unit == "tokens":
            title = say("tokens of a text", "токенов в тексте")
        # A limit far beyond every text would press the boxes flat; the caption names it then.
        shown = limit if limit is not None and limit <= 2 * longest else None
        described = "; ".join(str(row["told"]) for row in rows)
        return charts.boxes(rows, say, title=title, limit=shown, described=described + ".")

    def length_note(self, unit: str) -> str:
        """Explain the lengths' plot."""
        say = self.say
        box = say(
            "Box: the middle half and the median; line: 5 to 95 %; dot: 99 %.",
            "Прямоугольник — средняя половина и медиана, линия — от 5 до 95 %, точка — 99 %.",
        )
        if unit == "words":
            return say("Words of the normalised text. ", "Слова нормализованного текста. ") + box
        over = sum(group.over_max_length for group in self.stats.splits.values())
        told = say(
            "Tokens of {}, special ones included; it reads {} at once, and {} longer. ",
            "Токены {} вместе со служебными; модель читает {} за раз, длиннее — {}. ",
        ).format(
            self.stats.tokenizer.model,
            self.stats.tokenizer.max_length,
            say.count(over, "text is|texts are", "текст|текста|текстов"),
        )
        return told + box

    def lengths(self, unit: str) -> Table:
        """List lengths by group.

        :param unit: words or tokens.
        """
        say, rows = self.say, []
        for name, group, _ in self.groups():
            found: Lengths | None = getattr(group, unit)
            if found is None:
                rows.append(Row((Cell(name, code=True),), note=say("no rows", "строк нет")))
                continue
            values = (found.mean, found.smallest, *found.quantiles.values(), found.largest)
            line = [Cell(name, code=True), *(Cell(say.number(v, 1), v) for v in values)]
            if unit == "tokens":
                line.append(self._count(group.over_max_length))
            rows.append(Row(tuple(line)))
        over = say("over {}", "больше {}").format(self.stats.tokenizer.max_length)
        head = (
            say("rows of", "строки"),
            say("mean", "среднее"),
            say("least", "меньше всего"),
            *("5 %", "25 %", say("median", "медиана"), "75 %", "95 %", "99 %"),
            say("most", "больше всего"),
            *([over] if unit == "tokens" else []),
        )
        caption = say("Lengths in words", "Длина в словах")
        if unit == "tokens":
            caption = say("Lengths in tokens", "Длина в токенах")
        return Table(f"{unit}-lengths", caption, head, tuple(rows))

    # Words

    def words(self) -> list[Words]:
        """Give the telling words of each label that has some."""
        found = []
        for i, label in enumerate(self.stats.labels):
            telling = self.stats.words[label]
            if telling:
                sized = tuple(_sized(telling[:_CLOUD_WORDS]))
                found.append(Words(self.name(label), sized, self._word_table(i, label, telling)))
        return found

    def _word_table(self, position: int, label: str, telling: tuple[TellingWord, ...]) -> Table:
        say = self.say
        rows = tuple(
            Row(
                cells(
                    word.word,
                    self._count(word.present),
                    self._count(word.absent),
                    Cell(say.signed(word.log_odds, 2), word.log_odds),
                    Cell(say.number(word.z, 1), word.z),
                )
            )
            for word in telling
        )
        head = (
            say("word", "слово"),
            say("texts with the label", "текстов с меткой"),
            say("texts without", "текстов без неё"),
            say("log-odds", "логарифм шансов"),
            "z",
        )
        caption = say("Words of {}", "Слова метки «{}»").format(self.name(label))
        return Table(f"words-{position}", caption, head, rows)

    # Repeated texts, and how it was counted

    def repeats(self) -> Table:
        """List what repeats within each group."""
        say = self.say
        rows = tuple(
            Row(
                cells(
                    Cell(name, code=True),
                    *(
                        self._count(n)
                        for n in (
                            group.rows,
                            group.empty,
                            group.duplicates,
                            group.near_duplicates,
                            group.contradictions,
                        )
                    ),
                )
            )
            for name, group, _ in self.groups()
        )
        head = (
            say("rows of", "строки"),
            say("rows", "строк"),
            say("no words", "без слов"),
            say("repeated", "повторы"),
            say("nearly repeated", "почти повторы"),
            say("contradicting texts", "противоречивые тексты"),
        )
        return Table("repeats", say("Within splits and sets", "Внутри выборок"), head, rows)

    def overlaps(self) -> Table | None:
        """List what is in two splits."""
        say = self.say
        rows = tuple(
            Row(
                cells(
                    Cell(found.split, code=True),
                    found.other,
                    self._count(found.equal),
                    self._count(found.near),
                )
            )
            for found in self.stats.overlaps
        )
        head = (
            say("rows of", "строки"),
            say("found in", "есть в"),
            say("equal", "точно"),
            say("nearly equal", "почти"),
        )
        title = say("Between splits", "Между выборками")
        return Table("overlaps", title, head, rows, texts=2) if rows else None

    def made(self) -> list[tuple[str, str]]:
        """List what the numbers depend on."""
        stats, say = self.stats, self.say
        return [
            (
                say("manifest, SHA-256", "манифест, SHA-256"),
                str(stats.prepared.get("manifest_sha256")),
            ),
            (say("seed of the data", "зерно данных"), str(stats.prepared.get("seed"))),
            (say("normaliser", "нормализатор"), str(stats.prepared.get("normalizer"))),
            (
                say("tokeniser", "токенизатор"),
                f"{stats.tokenizer.model}, SHA-256 {stats.tokenizer.sha256}",
            ),
            *((key.replace("_", " "), str(value)) for key, value in stats.settings.items()),
            *stats.versions.items(),
        ]


def _sized(telling: tuple[TellingWord, ...]) -> Iterator[tuple[str, float]]:
    highest = max(word.z for word in telling)
    lowest = min(word.z for word in telling)
    for word in telling:
        yield word.word, 1 + (word.z - lowest) / ((highest - lowest) or 1)
