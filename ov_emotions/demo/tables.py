"""Many texts: lines or a file become a table, and the same file comes back with columns added."""

from __future__ import annotations

import codecs
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Self

from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo.jobs import InTurns, Job, ResultStore, failure
from ov_emotions.demo.text import hue
from ov_emotions.demo.words import (
    TEXTS,
    Words,
    bad_file,
    escape,
    in_russian,
    label_words,
    render,
    say,
    stamp,
)
from ov_emotions.errors import DataError, MissingColumnError
from ov_emotions.prediction import Prediction
from ov_emotions.texts import BadRow, ReadSettings, Row, Table, open_table
from ov_emotions.texts.table import text_value
from ov_emotions.texts.writing import WRITTEN, Added, check_added, free, open_writer

SHOWN = 200
_CHUNK = 128
_TITLES = {"labels": "эмоции", "truncated": "обрезано"}


@dataclass
class Tally:
    """What has been found so far.

    :param shown: the first rows, for the table.
    :param bad: the first rows that were left out.
    """

    done: int = 0
    good: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    none: int = 0
    shown: list[tuple[Row, Prediction]] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)


@dataclass(frozen=True)
class Tables:
    """Classifies tables.

    :param classifier: the model.
    :param store: keeps what can be downloaded.
    """

    classifier: EmotionClassifier
    store: ResultStore

    def pasted(self, text: str, job: Job) -> str:
        """Classify the lines that were pasted.

        :param text: the lines.
        :param job: that this is.
        :return: the markup.
        """
        if not text.strip():
            return failure(TEXTS["files.nothing"], TEXTS["files.nothing.hint"])
        rows = list(pasted_rows(text))
        return self._classify(rows, len(rows), None, TEXTS["files.pasted"].ru, stamp(text), job)

    def uploaded(self, file: str | None, column: str, job: Job) -> str:
        """Classify the rows of a file, and delete it.

        :param file: where it lies; None if there is none.
        :param column: the one with the text; empty to find it.
        :param job: that this is.
        :return: the markup; a question where a person has to choose the column.
        """
        if not file or not Path(file).exists():
            return failure(TEXTS["fail.gone"], TEXTS["fail.gone.hint"])
        path, asked = Path(file), False
        try:
            table = open_upload(path, column)
            if isinstance(table, tuple):
                asked = True
                return _which(path.name, table)
            # Twice, so that there is an end to show: reading is quick beside classifying.
            total = sum(1 for _ in table.rows(()))
            if not total:
                return failure(TEXTS["files.nothing"], TEXTS["files.nothing.hint"])
            return self._classify(table.rows(), total, table, path.name, "", job)
        except DataError as error:
            return failure(TEXTS["fail.file"], bad_file(error, path))
        finally:
            if not asked:
                delete_upload(path)

    def _classify(
        self,
        rows: Iterable[Row | BadRow],
        total: int,
        table: Table | None,
        name: str,
        mark: str,
        job: Job,
    ) -> str:
        token, folder = self.store.new()
        tally, rows = Tally(), iter(rows)
        classifier = InTurns(self.classifier, job)
        job.tell(0, total)
        with _Files(folder, table, self.classifier) as files:
            while chunk := [files.usable(row) for row in islice(rows, _CHUNK)]:
                good = [row for row in chunk if isinstance(row, Row)]
                bad = [row for row in chunk if isinstance(row, BadRow)]
                tally.bad += bad[: SHOWN - len(tally.bad)]
                for row, found in zip(good, classifier([r.text for r in good]), strict=True):
                    tally.labels.update(found.labels)
                    tally.none += not found.labels
                    if len(tally.shown) < SHOWN:
                        tally.shown.append((row, found))
                    files.write(row, found)
                tally.good += len(good)
                tally.done += len(chunk)
                job.tell(tally.done, total)
        stem = name.split(".")[0]
        named = {
            one: f"{stem}.{'эмоции' if '.ru.' in one else 'emotions'}{Path(one).suffix}"
            for one in files.names
        }
        self.store.keep(token, named)
        return self._write(tally, files, token, mark)

    def _write(self, tally: Tally, files: _Files, token: str, mark: str) -> str:
        russian = self.classifier.label_names_ru

        def named(labels: Iterable[str]) -> list[tuple[Words, str]]:
            return [(label_words(label, russian), hue(label)) for label in labels]

        shares = [(*named([x])[0], number) for x, number in tally.labels.most_common()]
        if tally.none:
            shares.append((TEXTS["files.none_above"], "other", tally.none))
        return render(
            "rows",
            mark=mark,
            tally=tally,
            shares=shares,
            token=token,
            links=zip(("ru", "en"), files.names, strict=True),
            kind=files.kind,
            bad=[(row.row, in_russian(row.reason)) for row in tally.bad],
            shown=[
                (row, named(found.labels), next(iter(found.scores.values())))
                for row, found in tally.shown
            ],
        )


def pasted_rows(text: str) -> Iterator[Row | BadRow]:
    """Take each line that was pasted for a text.

    :param text: the lines.
    :return: yields each, or why it is left out.
    """
    for number, line in enumerate(text.rstrip("\n").split("\n"), start=1):
        value = text_value(number, line)
        yield value if isinstance(value, BadRow) else Row(number, value, {})


def open_upload(path: Path, column: str = "") -> Table | tuple[str, ...]:
    """Open a file, whose text is in the column that is named, in `text`, or in the only one.

    :param path: the file.
    :param column: the one with the text; empty to find it.
    :return: the table, or the columns that a person has to choose from.
    :raises DataError: if it cannot be read.
    """
    try:
        return open_table(path, ReadSettings(column or "text"))
    except MissingColumnError as error:
        if column or not error.columns:
            raise
        if len(error.columns) == 1:
            return open_table(path, ReadSettings(error.columns[0]))
        return error.columns


def delete_upload(path: Path) -> None:
    """Delete a file that arrived, and the folder that Gradio made for it."""
    path.unlink(missing_ok=True)
    if path.parent.parent.name == "uploads":
        shutil.rmtree(path.parent, ignore_errors=True)


class _Files:
    """Writes what can be downloaded: the file as it came, in both languages, and JSONL.

    :param folder: where to.
    :param table: that came; None for lines.
    :param classifier: whose answers are written.
    """

    def __init__(self, folder: Path, table: Table | None, classifier: EmotionClassifier) -> None:
        kind = table.format if table is not None and table.format in WRITTEN else "csv"
        labels, russian = classifier.labels, classifier.label_names_ru
        prefix = next(p for p in ("", "ov_", "ov-emotions_") if _free(table, labels, russian, p))
        self._added = [
            Added(labels, russian, prefix, wide=True, titles=_TITLES),
            Added(labels, prefix=prefix, wide=True),
        ]
        self.names = [f"table.ru.{kind}", f"table.en.{kind}"]
        self._folder, self._table, self._kind = folder, table, kind
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._writers = []
            for name, added in zip(self.names, self._added, strict=True):
                out = stack.enter_context((self._folder / name).open("wb"))
                if self._kind == "csv" and (self._table is None or self._table.format != "csv"):
                    out.write(codecs.BOM_UTF8)  # spreadsheets then read Cyrillic
                tables = [] if self._table is None else [self._table]
                opened = open_writer(out, self._kind, tables, added)
                self._writers.append(stack.enter_context(opened))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]

    def usable(self, row: Row | BadRow) -> Row | BadRow:
        """Leave a row out that has a field of a name that is added."""
        for added in self._added:
            row = free(row, added.columns(cells=self._kind not in ("jsonl", "parquet")))
        return row

    def write(self, row: Row, found: Prediction) -> None:
        for writer in self._writers:
            writer.write(row, found)

    @property
    def kind(self) -> str:
        """What people call the format."""
        return "Excel" if self._kind == "xlsx" else self._kind.upper()


def _free(
    table: Table | None, labels: tuple[str, ...], russian: Mapping[str, str], prefix: str
) -> bool:
    """Tell whether a prefix keeps the columns that are added apart from those of a table."""
    if table is None or prefix == "ov-emotions_":
        return True
    try:
        for names, titles in ((russian, _TITLES), ({}, {})):
            check_added([table], Added(labels, names, prefix, wide=True, titles=titles), "csv")
    except DataError:
        return False
    return True


def _which(name: str, columns: tuple[str, ...]) -> str:
    buttons = "".join(
        f'<li><button type="button" class="button" data-column="{escape(column)}">'
        f"{escape(column)}</button></li>"
        for column in columns
    )
    return (
        f'<div class="which announce"><p class="verdict small">{say("files.which", name=name)}</p>'
        f"<ul>{buttons}</ul></div>"
    )
