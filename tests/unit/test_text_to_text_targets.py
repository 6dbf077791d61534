from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ov_emotions.errors import CheckpointError, TrainingError
from ov_emotions.labels import EKMAN, GOEMOTIONS
from ov_emotions.normalize import NORMALIZER_VERSION
from ov_emotions.schema import write_json
from ov_emotions.training.checkpoint import TEXT2TEXT_NAME, DataFacts
from ov_emotions.training.text_to_text.targets import (
    ParsedTarget,
    TargetFormat,
    Text2TextManifest,
    is_text_to_text,
)

RUSSIAN = TargetFormat(EKMAN.labels, EKMAN.russian)
ENGLISH = TargetFormat(EKMAN.labels, EKMAN.russian, "english", "none")
MANIFEST = Text2TextManifest(
    labels=EKMAN.labels,
    label_names_ru=dict(EKMAN.russian),
    names="russian",
    no_emotion="нет",
    prefix="эмоции: ",
    max_source_length=96,
    max_target_length=32,
    beams=1,
    constrained=False,
    normalizer=NORMALIZER_VERSION,
    base_model="owner/base",
    training={},
    training_rows=3,
    left_out={},
    data=DataFacts(manifest_sha256="0", sources=()),
    selection={},
    outputs={},
    step=1,
    precision="fp32",
    device="cpu",
    provenance={},
)


# Writing and reading


def test_labels_are_written_in_one_order_whatever_theirs_is() -> None:
    assert RUSSIAN.write(["sadness", "anger"]) == "гнев, грусть"
    assert ENGLISH.write(("sadness", "anger")) == "anger, sadness"
    texts = RUSSIAN.all_targets()
    assert len(texts) == len(set(texts)) == 2**7
    assert texts[0] == RUSSIAN.write([]) == "нет"


@given(st.sets(st.sampled_from(GOEMOTIONS.labels)), st.sampled_from(["russian", "english"]))
def test_every_set_of_labels_is_read_back_as_it_was_written(chosen: set[str], names: Any) -> None:
    target = TargetFormat(GOEMOTIONS.labels, GOEMOTIONS.russian, names)
    parsed = target.parse(target.write(list(chosen)))
    assert set(parsed.labels) == chosen
    assert parsed.parseable
    assert parsed.unknown == ()


@pytest.mark.parametrize(
    ("text", "labels", "unknown", "parseable"),
    [
        ("  Грусть ,ГНЕВ,гнев. ", ("anger", "sadness"), (), True),
        ("Нет.", (), (), True),
        ("нет, гнев", ("anger",), ("нет",), True),
        ("гнев, зависть,", ("anger",), ("зависть",), True),
        ("зависть", (), ("зависть",), False),
        ("гнев грусть", (), ("гнев грусть",), False),
        ("anger", (), ("anger",), False),
        ("", (), (), False),
        (" , ", (), (), False),
    ],
)
def test_outputs_are_read_leniently_and_what_is_unknown_is_told(
    text: str, labels: tuple[str, ...], unknown: tuple[str, ...], parseable: bool
) -> None:
    assert RUSSIAN.parse(text) == ParsedTarget(labels, unknown, parseable)


@pytest.mark.parametrize(
    ("labels", "russian", "no_emotion", "message"),
    [
        (EKMAN.labels, EKMAN.russian, "Гнев", "told apart"),
        (EKMAN.labels, EKMAN.russian, "ничего, совсем", "between commas"),
        (("a", "b"), {"a": "гнев", "b": "Гнев"}, "нет", "told apart"),
    ],
)
def test_names_that_cannot_be_told_apart_are_refused(labels, russian, no_emotion, message) -> None:
    with pytest.raises(TrainingError, match=message):
        TargetFormat(labels, russian, no_emotion=no_emotion)


# The manifest


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert not is_text_to_text(tmp_path)
    write_json(tmp_path / TEXT2TEXT_NAME, MANIFEST)
    assert is_text_to_text(tmp_path)
    assert Text2TextManifest.read(tmp_path) == MANIFEST
    assert not is_text_to_text(None)
    assert not is_text_to_text("owner/name")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema"),
        ({"labels": ["anger"]}, "do not belong together"),
        ({"no_emotion": "гнев"}, "told apart"),
        ({"normalizer": "asr-0"}, "normalised by asr-0"),
        ({"prefix": None}, "prefix"),
        (None, "not valid JSON"),
    ],
)
def test_a_damaged_manifest_is_one_sentence_that_names_the_key(
    tmp_path: Path, change: dict[str, Any] | None, message: str
) -> None:
    text = "{" if change is None else json.dumps(MANIFEST.to_dict() | change)
    (tmp_path / TEXT2TEXT_NAME).write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=message):
        Text2TextManifest.read(tmp_path)
