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


def _names(chosen):
    return json.dumps([LABELS[i] for i in chosen], ensure_ascii=False)


def _hot(chosen):
    return [int(i in chosen) for i in range(3)]


FORMS = {
    "names": (_names, "labels"),
    "names between commas": (lambda c: ", ".join(LABELS[i] for i in c) or "[]", "labels"),
    "indices": (lambda c: json.dumps(list(c)), "labels"),
    "indices as NumPy prints them": (lambda c: "[" + " ".join(map(str, c)) + "]", "labels"),
    "multi-hot": (lambda c: json.dumps([float(v) for v in _hot(c)]), "label"),
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_stand_as_people_write_them(tmp_path, form):
    write, column = FORMS[form]
    path = tmp_path / "val.jsonl"
    rows = [{"text": f"Текст {i}.", column: write(c)} for i, c in enumerate(SETS)]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    data = open_data(path, LABELS)
    assert data.split("validation").targets.tolist() == [_hot(c) for c in SETS]


def test_a_column_a_label_and_one_index_a_row(tmp_path):
    hot = tmp_path / "hot.csv"
    lines = [f"т{i}," + ",".join(map(str, _hot(c))) for i, c in enumerate(SETS)]
    hot.write_text("\n".join(["text,радость,грусть,гнев", *lines]), encoding="utf-8")
    assert open_data(hot).label_set.labels == LABELS
    one = tmp_path / "one.csv"
    one.write_text("text,label\n" + "\n".join(f"т{i},{i % 3}" for i in range(60)), "utf-8")
    targets = open_data(one, LABELS).split("validation").targets
    assert (targets.argmax(axis=1) == np.arange(60) % 3).all()


def test_rows_are_dealt_by_seed_and_twins_stand_once(tmp_path, caplog):
    path = tmp_path / "val.csv"
    lines = [f"т{i % 80},{i % 3}" for i in range(100)] + ["т1000,радость и ещё"]
    path.write_text("text,label\n" + "\n".join(lines), encoding="utf-8")
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
