"""Many texts: classified chunk by chunk while the page shows how far it is."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Self, TextIO

from ov_emotions.classifier import EmotionClassifier
from ov_emotions.demo.bars import hue
from ov_emotions.demo.markup import count, escape, label_words, percent
from ov_emotions.demo.results import ResultStore
from ov_emotions.demo.sayings import bad_row
from ov_emotions.demo.texts import TEXTS, say
from ov_emotions.normalize import replace_surrogates
from ov_emotions.prediction import Prediction
from ov_emotions.texts import BadRow, Row
from ov_emotions.texts.writing import escaped, joined, spelt

SHOWN = 200
_CHUNK = 128
_NUMBER = ' class="number"'


@dataclass
class Tally:
    """What has been found so far.

    :param shown: the first rows, for the table.
    :param bad: rows left out, the first of them by number.
    """

    done: int = 0
    good: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    none: int = 0
    shown: list[tuple[Row, Prediction]] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)

    @property
    def left_out(self) -> int:
        """How many rows are bad."""
        return self.done - self.good

    def add(self, record: Row, prediction: Prediction) -> None:
        """Count a prediction."""
        self.good += 1
        self.labels.update(prediction.labels)
        self.none += not prediction.labels
        if len(self.shown) < SHOWN:
            self.shown.append((record, prediction))


def classify_rows(
    classifier: EmotionClassifier,
    store: ResultStore,
    rows: Iterable[Row | BadRow],
    total: int,
    base: str,
) -> Iterator[str]:
    """Classify rows, and write them to files as well.

    :param classifier: the model.
    :param store: keeps the files.
    :param rows: to classify.
    :param total: how many there are.
    :param base: path of the page, in front of the addresses of the files.
    :return: yields markup: how far it is, and last the result.
    """
    tally = Tally()
    token, folder = store.new()
    rows = iter(rows)
    yield progress(0, total)
    with _Writer(folder, classifier.labels) as writer:
        while chunk := list(islice(rows, _CHUNK)):
            good = [row for row in chunk if isinstance(row, Row)]
            tally.bad += [row for row in chunk if isinstance(row, BadRow)][: SHOWN - len(tally.bad)]
            for record, prediction in zip(good, classifier([r.text for r in good]), strict=True):
                tally.add(record, prediction)
                writer.write(record, prediction)
            tally.done += len(chunk)
            yield progress(tally.done, total)
    yield result(tally, classifier.label_names_ru, f"{base}/results/{token}")


class _Writer:
    """Writes the CSV and the JSONL file of a result."""

    def __init__(self, folder: Path, labels: tuple[str, ...]) -> None:
        self._folder, self._labels = folder, labels
        self._stack = ExitStack()

    def _open(self, name: str, encoding: str) -> TextIO:
        path = self._folder / name
        return self._stack.enter_context(path.open("w", encoding=encoding, newline=""))

    def __enter__(self) -> Self:
        # The mark lets spreadsheets read Cyrillic; `ov-emotions` skips it.
        self._csv = csv.writer(self._open("emotions.csv", "utf-8-sig"), lineterminator="\n")
        self._jsonl = self._open("emotions.jsonl", "utf-8")
        self._csv.writerow(["row", "text", "labels", *map(escaped, self._labels), "truncated"])
        self._join = joined(self._labels, "|")
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def write(self, record: Row, prediction: Prediction) -> None:
        text = replace_surrogates(record.text)
        scores = {label: round(prediction.scores[label], 6) for label in self._labels}
        labels, cut = prediction.labels, prediction.truncated
        row = [record.row, text, self._join(labels), *scores.values(), bool(cut)]
        self._csv.writerow(map(spelt, row))
        value = {"row": record.row, "text": text, "labels": labels, "scores": scores}
        self._jsonl.write(json.dumps({**value, "truncated": cut}, ensure_ascii=False) + "\n")


def progress(done: int, total: int) -> str:
    """Draw how far the work is.

    :param done: rows.
    :param total: of how many.
    """
    share = done / total if total else 1.0
    words = say("files.progress", done=count(done), total=count(total))
    return (
        f'<div class="progress"><p>{words}</p>'
        f'<div role="progressbar" aria-valuemin="0" aria-valuemax="{total}" aria-valuenow="{done}"'
        f' aria-labelledby="progress-name"><span style="width:{share:.1%}"></span></div>'
        f'<span id="progress-name" class="unseen">{say("files.progress.name")}</span></div>'
    )


def result(tally: Tally, russian: Mapping[str, str], address: str) -> str:
    """Write a finished table.

    :param tally: what was found.
    :param russian: the labels' Russian names.
    :param address: of the files.
    """
    downloads = "".join(
        f'<a class="button" download href="{address}/emotions.{kind}">'
        f"{say('files.download', kind=kind.upper())}</a>"
        for kind in ("csv", "jsonl")
    )
    return (
        f'<section class="rows"><div class="announce"><p class="verdict">'
        f"{say('files.done', good=count(tally.good))}</p></div>"
        f"{_shares(tally, russian)}"
        f'<p class="downloads">{downloads if tally.good else ""}</p>'
        f"{_bad(tally)}{_table(tally, russian)}</section>"
    )


def _shares(tally: Tally, russian: Mapping[str, str]) -> str:
    if not tally.good:
        return ""
    parts = [(label_words(name, russian), hue(name), n) for name, n in tally.labels.most_common()]
    if tally.none:
        parts.append((TEXTS["files.none_above"], "other", tally.none))
    items = "".join(
        f'<li data-emotion="{colour}"><span class="dot" aria-hidden="true"></span>{name.html()} '
        f"<strong>{percent(n / tally.good).html()}</strong></li>"
        for name, colour, n in parts
    )
    return f'<ul class="shares">{items}</ul>'


def _bad(tally: Tally) -> str:
    if not tally.left_out:
        return ""
    items = "".join(
        f"<li>{say('files.bad.row', row=row.row)} {bad_row(row.reason).html()}</li>"
        for row in tally.bad
    )
    more = tally.left_out - len(tally.bad)
    rest = f"<li>{say('files.bad.more', more=count(more))}</li>" if more else ""
    title = say("files.bad", bad=count(tally.left_out))
    return f'<details class="bad" open><summary>{title}</summary><ul>{items}{rest}</ul></details>'


def _table(tally: Tally, russian: Mapping[str, str]) -> str:
    if not tally.shown:
        return ""
    head = "".join(
        f'<th scope="col"{align}>{say(f"files.column.{name}")}</th>'
        for name, align in (("row", ""), ("text", ""), ("labels", ""), ("score", _NUMBER))
    )
    body = "".join(_line(record, found, russian) for record, found in tally.shown)
    shown = say("files.shown", shown=count(len(tally.shown)), good=count(tally.good))
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-labelledby="rows-name"><table>'
        f'<caption id="rows-name">{shown}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _line(record: Row, found: Prediction, russian: Mapping[str, str]) -> str:
    score = next(iter(found.scores.values()))
    tags = "".join(
        f'<span class="felt" data-emotion="{hue(label)}"><span class="dot" aria-hidden="true">'
        f"</span>{label_words(label, russian).html()}</span>"
        for label in found.labels
    )
    return (
        f'<tr><td class="number">{record.row}</td><td class="said" lang="ru-RU">'
        f"{escape(record.text)}</td><td>{tags or '—'}</td>"
        f'<td class="number">{percent(score).html()}</td></tr>'
    )
