"""Many texts: lines or a file become a table, and the same file comes back with columns added."""

from __future__ import annotations

import codecs
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo.jobs import InTurns, Job, ResultStore, failure
from ov_emotions.demo.words import TEXTS, in_russian, render, stamp
from ov_emotions.errors import DataError, MissingColumnError
from ov_emotions.prediction import Prediction
from ov_emotions.texts import BadRow, ReadSettings, Row, Table, open_table
from ov_emotions.texts.table import text_value
from ov_emotions.texts.writing import WRITTEN, Added, RowWriter, check_added, free, open_writer

SHOWN = 200
_CHUNK = 128
_UNANSWERED = Prediction((), {}, None)
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
    """Classifies tables, and gives markup."""

    classifier: EmotionClassifier
    store: ResultStore

    def pasted(self, text: str, job: Job) -> str:
        """Classify the lines that were pasted."""
        if not text.strip():
            return failure("files.nothing")
        rows = list(pasted_rows(text))
        return self._classify(rows, len(rows), None, TEXTS["files.pasted"].ru, stamp(text), job)

    def uploaded(self, file: str | None, column: str, job: Job) -> str:
        """Classify the rows of a file, and delete it.

        :param file: where it lies; None if there is none.
        :param column: the one with the text; empty to find it.
        :return: the markup; a question where a person has to choose the column.
        """
        if not file or not Path(file).exists():
            return failure("fail.gone")
        path, asked = Path(file), False
        try:
            table = open_upload(path, column)
            if isinstance(table, tuple):
                asked = True
                return render("which", name=path.name, columns=table)
            # Twice, so that there is an end to show: reading is quick beside classifying.
            total = sum(1 for _ in table.rows(()))
            if not total:
                return failure("files.nothing")
            return self._classify(table.rows(), total, table, path.name, "", job)
        except DataError as error:
            return unreadable(error, path)
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
        token, kept = self.store.new()
        tally, rows = Tally(), iter(rows)
        classifier = InTurns(self.classifier, job)
        kind = table.format if table is not None and table.format in WRITTEN else "csv"
        both = _added(table, self.classifier)
        cells = kind not in ("jsonl", "parquet")
        taken = [name for added in both.values() for name in added.columns(cells)]
        names = {language: f"table.{language}.{kind}" for language in both}
        job.tell(0, total)
        with ExitStack() as stack:
            writers = [
                stack.enter_context(_writer(kept.folder / names[language], kind, table, added))
                for language, added in both.items()
            ]
            while chunk := [free(row, taken) for row in islice(rows, _CHUNK)]:
                good = [row for row in chunk if isinstance(row, Row)]
                bad = [row for row in chunk if isinstance(row, BadRow)]
                tally.bad += bad[: SHOWN - len(tally.bad)]
                predictions = iter(classifier([row.text for row in good]))
                for row in chunk:
                    if isinstance(row, Row):
                        whole, found = row, next(predictions)
                        tally.labels.update(found.labels)
                        tally.none += not found.labels
                        if len(tally.shown) < SHOWN:
                            tally.shown.append((row, found))
                    elif row.kept is not None:  # the file comes back with all of its rows
                        whole, found = row.kept, _UNANSWERED
                    else:
                        continue
                    for writer in writers:
                        writer.write(whole, found)
                tally.good += len(good)
                tally.done += len(chunk)
                job.tell(tally.done, total)
        stem = name.split(".")[0]
        words = {"ru": "эмоции", "en": "emotions"}
        kept.names = {name: f"{stem}.{words[code]}.{kind}" for code, name in names.items()}
        return render(
            "rows",
            mark=mark,
            tally=tally,
            model=self.classifier,
            links=[(language, f"results/{token}/{name}") for language, name in names.items()],
            kind="Excel" if kind == "xlsx" else kind.upper(),
        )


def pasted_rows(text: str) -> Iterator[Row | BadRow]:
    """Take each line that was pasted for a text."""
    for number, line in enumerate(text.rstrip("\n").split("\n"), start=1):
        value = text_value(number, line)
        yield value if isinstance(value, BadRow) else Row(number, value, {})


def open_upload(path: Path, column: str = "") -> Table | tuple[str, ...]:
    """Open a file, whose text is in the column that is named, in `text`, or in the only one.

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


def unreadable(error: DataError, path: Path) -> str:
    """Write what is wrong with a file, and not where it lies here."""
    return failure("fail.file", in_russian(str(error).replace(str(path), path.name), "files"))


def delete_upload(path: Path) -> None:
    """Delete a file that arrived, and the folder that Gradio made for it."""
    path.unlink(missing_ok=True)
    if path.parent.parent.name == "uploads":
        shutil.rmtree(path.parent, ignore_errors=True)


def _added(table: Table | None, classifier: EmotionClassifier) -> dict[str, Added]:
    """Name the columns that are added, by language, apart from those of a table."""
    labels, russian = classifier.labels, classifier.label_names_ru
    for prefix in ("", "ov_", "ov-emotions_"):
        both = {
            "ru": Added(labels, russian, prefix, wide=True, titles=_TITLES),
            "en": Added(labels, prefix=prefix, wide=True),
        }
        try:
            for added in both.values():
                check_added([] if table is None else [table], added, "csv")
            break
        except DataError:
            continue
    return both


@contextmanager
def _writer(path: Path, kind: str, table: Table | None, added: Added) -> Iterator[RowWriter]:
    """Write a file to download: as it came, or lines as CSV."""
    with path.open("wb") as out:
        if kind == "csv" and (table is None or table.format != "csv"):
            out.write(codecs.BOM_UTF8)  # spreadsheets then read Cyrillic
        with open_writer(out, kind, [] if table is None else [table], added) as writer:
            yield writer
