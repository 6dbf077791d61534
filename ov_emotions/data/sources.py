"""The raw sets: where their files lie, what their licence is, and how their rows are read.

What each set does *not* annotate is unknown, not absent. Of the seven labels:

- GoEmotions-ru and ru_izard annotate all seven labels.
- CEDR annotates joy, sadness, surprise, fear and anger. An empty row says that none of these five
  was found; it says nothing of disgust, and nothing of neutral either, because a text whose only
  emotion lies outside the five is empty too.
- BRIGHTER annotates six emotions; an empty row says that none of the six was found. It does not
  annotate neutral.
- Support-desk rows annotate all seven labels, and each row has at least one.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ov_emotions.data.dataset import UNKNOWN, LabelledTexts
from ov_emotions.data.settings import PrepareConfig
from ov_emotions.errors import DataError
from ov_emotions.labels import (
    CEDR_TO_EKMAN,
    EKMAN,
    GOEMOTIONS,
    GOEMOTIONS_TO_EKMAN,
    IZARD,
    IZARD_TO_EKMAN,
    LabelMap,
    LabelSet,
)
from ov_emotions.texts import BadRow

ID = "id"
"""The column of GoEmotions that says which English text a row was translated from."""

_Row = Mapping[str, str | None]  # a row that is too short has None in the rest


@dataclass(frozen=True)
class Source:
    """One raw set.

    :param name: what rows of it are marked with.
    :param licence: SPDX expression of what the set may be used under.
    :param files: split name to file, relative to the folder of raw data, or absolute.
    :param columns: the columns beside the text that a file must have.
    :param label_map: how its labels are read.
    :param present: gives the source labels that a row has.
    :param synthetic: whether its texts were written for training, and never said by anybody.
    """

    name: str
    licence: str
    url: str
    attribution: str
    files: Mapping[str, str]
    text_column: str
    columns: tuple[str, ...]
    label_map: LabelMap
    present: Callable[[Source, _Row], list[str]]
    synthetic: bool = False


def _from_indices(source: Source, row: _Row) -> list[str]:
    labels, cell = source.label_map.source.labels, row["labels"]
    if cell is None or not re.fullmatch(r"\[[\d\s,]*\]", cell.strip()):
        raise DataError(f"labels {cell!r} are not a list of indices")
    indices = [int(i) for i in re.findall(r"\d+", cell)]
    for i in indices:
        if i >= len(labels):
            raise DataError(f"label {i} is not among the {len(labels)} of the set")
    return [labels[i] for i in indices]


def _one_hot(source: Source, row: _Row) -> list[str]:
    for label in source.columns:
        if row[label] not in ("0", "1"):
            raise DataError(f"column {label} holds {row[label]!r}, expected 0 or 1")
    return [label for label in source.columns if row[label] == "1"]


def _named(source: Source, row: _Row) -> list[str]:
    labels = source.label_map.source.labels
    names = [name.strip() for name in (row["labels"] or "").split(",") if name.strip()]
    if not names:
        raise DataError("labels are empty; a row without an emotion is neutral")
    for name in names:
        if name not in labels:
            raise DataError(f"label {name!r} is not among {', '.join(labels)}")
    return names


def _as_they_are(label_set: LabelSet, labels: Sequence[str]) -> LabelMap:
    return LabelMap(label_set, label_set, {label: (label,) for label in labels})


SOURCES: tuple[Source, ...] = (
    Source(
        "ru_goemotions",
        "MIT AND Apache-2.0",
        "https://huggingface.co/datasets/seara/ru_go_emotions",
        "GoEmotions (Google Research, Apache-2.0), machine-translated to Russian (MIT)",
        {
            "train": "ru_goemotions/train_partial.csv",
            "validation": "ru_goemotions/validation.csv",
            "test": "ru_goemotions/test.csv",
        },
        "ru_text",
        ("labels",),
        GOEMOTIONS_TO_EKMAN,
        _from_indices,
    ),
    Source(
        "brighter_rus",
        "CC-BY-4.0",
        "https://huggingface.co/datasets/brighter-dataset/BRIGHTER-emotion-categories",
        "BRIGHTER (SemEval-2025 task 11, track A), Russian part",
        {"train": "brighter_rus/train.csv"},
        "text",
        EKMAN.labels[:6],
        _as_they_are(EKMAN, EKMAN.labels[:6]),
        _one_hot,
    ),
    Source(
        "cedr",
        "Apache-2.0",
        "https://huggingface.co/datasets/sagteam/cedr_v1",
        "CEDR, corpus for emotions detecting in Russian-language texts (Sboev et al.)",
        {"train": "cedr/cedr-main-train.csv", "test": "cedr/cedr-main-test.csv"},
        "text",
        ("labels",),
        CEDR_TO_EKMAN,
        _from_indices,
    ),
    Source(
        "ru_izard",
        "MIT",
        "https://huggingface.co/datasets/Djacon/ru-izard-emotions",
        "ru-izard-emotions (Djacon)",
        {"train": "ru_izard/train_clean.csv"},
        "text",
        IZARD.labels,
        IZARD_TO_EKMAN,
        _one_hot,
    ),
)

ENGLISH = Source(
    "goemotions_en",
    "Apache-2.0",
    "https://github.com/google-research/google-research/tree/master/goemotions",
    "GoEmotions (Google Research), the English original",
    {"train": "goemotions_en/train.csv"},
    "text",
    ("labels", ID),
    GOEMOTIONS_TO_EKMAN,
    _from_indices,
)
"""The texts that GoEmotions-ru was translated from, with the same ids."""

_DESK = Source(
    "support_desk",
    "CC0-1.0",
    "https://creativecommons.org/publicdomain/zero/1.0/",
    "Support-desk utterances written for this project",
    {},
    "text",
    ("role", "trade", "labels"),
    _as_they_are(EKMAN, EKMAN.labels),
    _named,
    synthetic=True,
)


def sources_of(config: PrepareConfig) -> tuple[Source, ...]:
    """List the raw sets that annotate the labels asked for, the English original last."""
    found = list(SOURCES)
    if config.desk is not None:
        found.append(replace(_DESK, files={"train": str(config.desk.resolve())}))
    found = [source for source in found if source.name not in config.without]
    found += [ENGLISH] if config.english else []
    if config.labels == EKMAN.name:
        return tuple(found)
    # The other sets do not annotate these labels, and a coarser label says nothing of its parts.
    own = _as_they_are(GOEMOTIONS, GOEMOTIONS.labels)
    return tuple(replace(s, label_map=own) for s in found if s.label_map.source is GOEMOTIONS)


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, _Row]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            # Strict, because a stray quote would otherwise join many rows to one without a word.
            reader = csv.DictReader(file, strict=True)
            missing = [c for c in columns if c not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path} lacks the columns {', '.join(missing)}")
            yield from enumerate(reader, start=1)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as UTF-8 CSV: {error}") from error


@dataclass(frozen=True)
class RawRows:
    """One split of one set.

    :param data: the good rows, their targets those of the source's map.
    :param bad: the rows left out, with the reason.
    :param ids: of the good rows; empty texts where the file has no column of ids.
    """

    data: LabelledTexts
    bad: tuple[BadRow, ...]
    ids: tuple[str, ...]


def read_source(source: Source, folder: Path, split: str) -> RawRows:
    """Read one split of one set.

    :param folder: the folder of raw data that `source.files` is relative to.
    :param split: a key of `source.files`.
    :raises DataError: if the file is missing, not UTF-8 CSV or lacks a column.
    """
    label_set = source.label_map.target
    texts: list[str] = []
    targets: list[list[int]] = []
    numbers: list[int] = []
    ids: list[str] = []
    bad: list[BadRow] = []
    for number, row in _rows(folder / source.files[split], (source.text_column, *source.columns)):
        text = row[source.text_column]
        if not text or not text.strip():
            bad.append(BadRow(number, "the text is empty"))
            continue
        try:
            target = source.label_map.apply(source.present(source, row))
        except DataError as error:
            bad.append(BadRow(number, str(error)))
            continue
        texts.append(text)
        targets.append([UNKNOWN if value is None else value for value in target])
        numbers.append(number)
        ids.append(row.get(ID) or "")
    data = LabelledTexts(
        label_set,
        tuple(texts),
        np.array(targets, dtype=np.int8).reshape(len(texts), len(label_set)),
        (source.name,) * len(texts),
        np.array(numbers, dtype=np.int64),
    )
    return RawRows(data, tuple(bad), tuple(ids))
