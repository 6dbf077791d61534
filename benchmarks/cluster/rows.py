"""The rows to classify, made of real texts, and the proof that each came out once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from ov_emotions.data.dataset import PreparedData
from ov_emotions.errors import DataError

FORMATS = ("parquet", "csv", "jsonl")
_EMPTY_EVERY = 5000
"""One row in so many has no text, so that there are rows to set aside."""


def real_texts(data: Path, utterances: Path) -> list[str]:
    """Read GoEmotions-ru test and the unlabelled utterances, a text a line."""
    lines = utterances.read_text(encoding="utf-8").splitlines()
    return [
        *PreparedData.open(data).split("test_goemotions").texts,
        *(line for line in lines if line.strip()),
    ]


def write_rows(folder: Path, texts: Sequence[str], rows: int) -> int:
    """Repeat the texts until there are enough rows with `id` and `text`, a third in each format.

    :return: how many of them have no text.
    """
    folder.mkdir(parents=True)
    cuts = np.linspace(0, rows, len(FORMATS) + 1).astype(int).tolist()
    for name, first, behind in zip(FORMATS, cuts, cuts[1:], strict=False):
        path, numbers = folder / f"rows.{name}", range(first, behind)
        found = ["" if n % _EMPTY_EVERY == 0 else texts[n % len(texts)] for n in numbers]
        table = pa.table({"id": numbers, "text": found})
        if name == "parquet":
            pq.write_table(table, path)
        elif name == "csv":
            pa.csv.write_csv(table, path)
        else:
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist())
            path.write_text("".join(lines), encoding="utf-8")
    return len(range(0, rows, _EMPTY_EVERY))


def check_rows(target: Path, rows: int) -> dict[str, int]:
    """Count every row of an output folder by its id: there, lost, doubled and set aside.

    :param rows: that went in.
    :raises DataError: if a row is lost or doubled, or one without a text is not set aside.
    """
    seen = np.zeros(rows, dtype=np.int64)
    for ids in _ids(target):
        np.add.at(seen, ids, 1)
    bad = sum(len(path.read_bytes().splitlines()) for path in target.glob("_bad/*"))
    empty = np.arange(0, rows, _EMPTY_EVERY)
    found = {
        "rows": int((seen > 0).sum()),
        "lost": int((np.delete(seen, empty) == 0).sum()),
        "doubled": int((seen > 1).sum()),
        "set_aside": bad,
    }
    if found["lost"] or found["doubled"] or seen[empty].any() or bad != len(empty):
        raise DataError(f"{target} does not hold every row once: {found}")
    return found


def _ids(target: Path) -> Iterator[Any]:
    for path in target.glob("part-*"):
        if path.suffix == ".parquet":
            yield pq.read_table(path, columns=["id"])["id"].to_numpy()
        elif path.suffix == ".csv":
            yield pa.csv.read_csv(path)["id"].to_numpy()
        else:
            yield [json.loads(line)["id"] for line in path.read_text("utf-8").splitlines()]
