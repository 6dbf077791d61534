"""Labelled files in the place of a prepared folder: how labels may stand there, and how few."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="prepared data are Parquet", exc_type=ImportError)

from ov_emotions.data.plain import open_data
from ov_emotions.errors import DataError

LABELS = ("радость", "грусть", "гнев")
SETS = [(), (0,), (1,), (2,), (0, 2)] * 20


def _hot(chosen):
    return [int(i in chosen) for i in range(3)]


FORMS = {
    "names": lambda c: json.dumps([LABELS[i] for i in c], ensure_ascii=False),
    "names between commas": lambda c: ", ".join(LABELS[i] for i in c) or "[]",
    "indices": lambda c: json.dumps(list(c)),
    "indices as NumPy prints them": lambda c: "[" + " ".join(map(str, c)) + "]",
    "multi-hot": lambda c: json.dumps([float(v) for v in _hot(c)]),
}


def _write(path, *lines):
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("form", FORMS)
def test_labels_stand_as_people_write_them(tmp_path, form):
    column = "label" if form == "multi-hot" else "labels"
    rows = [{"text": f"Текст {i}.", column: FORMS[form](c)} for i, c in enumerate(SETS)]
    data = open_data(_write(tmp_path / "val.jsonl", *map(json.dumps, rows)), LABELS)
    assert data.split("validation").targets.tolist() == [_hot(c) for c in SETS]


def test_a_column_a_label_and_one_index_a_row(tmp_path):
    lines = [f"т{i}," + ",".join(map(str, _hot(c))) for i, c in enumerate(SETS)]
    hot = _write(tmp_path / "hot.csv", "text,радость,грусть,гнев", *lines)
    assert open_data(hot).label_set.labels == LABELS
    one = _write(tmp_path / "one.csv", "text,label", *(f"т{i},{i % 3}" for i in range(60)))
    targets = open_data(one, LABELS).split("validation").targets
    assert (targets.argmax(axis=1) == np.arange(60) % 3).all()


def test_rows_are_dealt_by_seed_and_twins_stand_once(tmp_path, caplog):
    lines = [f"т{i % 80},{i % 3}" for i in range(100)] + ["т1000,радость и ещё"]
    path = _write(tmp_path / "val.csv", "text,label", *lines)
    first, again, other = (open_data(path, LABELS, seed) for seed in (1, 1, 2))
    assert first.manifest == again.manifest
    assert first.manifest.validation_parts != other.manifest.validation_parts
    parts = first.manifest.validation_parts.values()
    assert sorted(i for part in parts for i in part) == list(range(80))
    assert "1 rows are left out" in caplog.text
    assert "of so few are uncertain" in caplog.text
    assert first.test_split is None
    with pytest.raises(DataError, match="one split, validation, not 'train'"):
        first.split("train")


def test_a_folder_is_a_prepared_one(tmp_path):
    with pytest.raises(DataError, match="not a prepared folder"):
        open_data(tmp_path)
