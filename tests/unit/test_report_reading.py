from __future__ import annotations

import copy
import json

import pytest
from test_report_examples import CHOICE, MIXED, REFERENCE, eight, study, three

from ov_emotions.errors import DataError
from ov_emotions.reports.reading import parse_study, read_study


def test_a_written_study_is_read_back_as_it_was(tmp_path):
    path = tmp_path / "study.json"
    path.write_text(json.dumps(eight()), encoding="utf-8")
    assert read_study(path) == eight()


def test_unknown_keys_are_left_alone():
    made = three() | {"later": {"addition": 1}}
    made["candidates"][0] = made["candidates"][0] | {"colour": "blue"}
    assert parse_study(made).reference == "fp32/f32"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not valid JSON"),
        ("[]", "is not a quantization study"),
        ('{"kind": "shopping list"}', 'its "kind" must be "ov-emotions study"'),
        ('{"kind": "ov-emotions study", "schema": 2}', "upgrade ov-emotions"),
        ('{"kind": "ov-emotions study"}', "study.json.schema is missing"),
    ],
)
def test_what_is_no_study_is_refused_in_one_sentence(tmp_path, content, said):
    path = tmp_path / "study.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_study(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read the study .*none\.json: No such file"):
        read_study(tmp_path / "none.json")


def _set(made, path, value):
    *parents, last = path
    for key in parents:
        made = made[key]
    made[last] = value


MIXED_AT = ("candidates", 1)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("reference",), "gone", "reference is 'gone', which is not among the candidates"),
        (("settings", "max_drop"), -0.001, "max_drop must not be negative"),
        ((*MIXED_AT, "id"), "fp32/f32", "holds the id 'fp32/f32' twice"),
        ((*MIXED_AT, "id"), "  ", "candidates[1].id is blank"),
        ((*MIXED_AT, "runtime"), "tensorrt", "must be one of openvino, torch-cpu, torch-cuda"),
        ((*MIXED_AT, "status"), "fine", "must be one of ok, failed"),
        ((*MIXED_AT, "size_bytes"), 1.5, "must be a whole number"),
        ((*MIXED_AT, "latency", "p50_ms", "min"), 99.0, "0 <= min <= median <= max"),
        ((*MIXED_AT, "ratios", "p50", "min"), 0, "p50.min must be greater than 0"),
        ((*MIXED_AT, "latency", "p50_ms"), {"median": 1}, "p50_ms.min is missing"),
        ((*MIXED_AT, "throughput", "texts_per_second", "max"), float("inf"), "finite number"),
        ((*MIXED_AT, "quality", CHOICE, "refitted", "weighted_f1"), float("nan"), "finite number"),
        ((*MIXED_AT, "quality", CHOICE, "refitted", "flipped"), True, "must be a number, not True"),
        ((*MIXED_AT, "quality", CHOICE, "ece"), 7, "must lie in [0, 1]"),
        (("noise",), {"noisy": "no"}, "noise.noisy must be true or false"),
        (("model", "labels"), "joy", "model.labels must be a list"),
        (("candidates",), {}, "candidates must be a list"),
    ],
)
def test_what_is_amiss_is_told_with_its_place(path, value, said):
    made = copy.deepcopy(three())
    _set(made, path, value)
    with pytest.raises(DataError) as caught:
        parse_study(made)
    assert said in str(caught.value)
    assert str(caught.value).startswith("the study")


@pytest.mark.parametrize("key", ["quality", "start", "latency", "throughput", "ratios"])
def test_whatever_was_skipped_may_be_null(key):
    parsed = parse_study(study([REFERENCE, MIXED | {key: None}]))
    assert parsed.candidate("int8-mixed/bf16").ok
