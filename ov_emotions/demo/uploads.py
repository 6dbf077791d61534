"""What a reader gave to be classified as a table: a file, or lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo.failures import failure
from ov_emotions.demo.markup import escape
from ov_emotions.demo.results import ResultStore
from ov_emotions.demo.rows import open_upload, pasted_rows
from ov_emotions.demo.sayings import bad_file
from ov_emotions.demo.table import classify_rows
from ov_emotions.demo.texts import TEXTS, say
from ov_emotions.errors import DataError


def nothing() -> str:
    """Say that there is nothing to classify."""
    return failure(TEXTS["files.nothing"], TEXTS["files.nothing.hint"])


def classify_pasted(
    classifier: EmotionClassifier, store: ResultStore, base: str, text: str
) -> Iterator[str]:
    """Classify the lines that were pasted.

    :param classifier: the model.
    :param store: keeps the files to download.
    :param base: path of the page.
    :param text: the lines.
    :return: yields markup.
    """
    if not text.strip():
        yield nothing()
        return
    rows = list(pasted_rows(text))
    yield from classify_rows(classifier, store, rows, len(rows), base)


def classify_upload(
    classifier: EmotionClassifier, store: ResultStore, base: str, file: str | None, column: str
) -> Iterator[str]:
    """Classify the rows of a file.

    :param classifier: the model.
    :param store: keeps the files to download.
    :param base: path of the page.
    :param file: where it lies; None if there is none.
    :param column: the one with the text; empty to find it.
    :return: yields markup; a question where a person has to choose the column.
    """
    if not file:
        yield nothing()
        return
    path = Path(file)
    try:
        table = open_upload(path, column)
        if isinstance(table, tuple):
            yield _which(path.name, table)
            return
        # Twice, so that there is an end to show: reading is quick beside classifying.
        total = sum(1 for _ in table.rows(()))
        if not total:
            yield nothing()
            return
        yield from classify_rows(classifier, store, table.rows(()), total, base)
    except DataError as error:
        yield failure(TEXTS["fail.file"], bad_file(error, path, path.name))


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
