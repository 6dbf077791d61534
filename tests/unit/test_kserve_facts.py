from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ov_emotions.bundle import Bundle
from ov_emotions.client.facts import (
    ServedFacts,
    Signature,
    check_facts,
    facts_of,
    parse_facts,
    signature_of,
)
from ov_emotions.client.transport import ModelMetadata, TensorSpec
from ov_emotions.errors import ServerMismatchError
from ov_emotions.serving.triton import TritonConfig, facts

TEXT = (TensorSpec("text", "BYTES", (-1,)),)
TOKENS = (
    TensorSpec("input_ids", "INT64", (-1, -1)),
    TensorSpec("attention_mask", "INT64", (-1, -1)),
)
SCORES = TensorSpec("probabilities", "FP32", (-1, 3))


@pytest.fixture
def told(tiny_bundle: Bundle) -> dict[str, str]:
    """What a server says of the tiny bundle."""
    return facts(tiny_bundle, TritonConfig(long_texts="truncate"))


@pytest.fixture
def expected(tiny_bundle: Bundle) -> ServedFacts:
    return facts_of(tiny_bundle.manifest)


def metadata(
    inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...] = (SCORES,)
) -> ModelMetadata:
    return ModelMetadata("emotions", ("1",), "OpenVINO", inputs, outputs, {})


def test_facts_are_read_from_flat_texts(told: dict[str, str], expected: ServedFacts) -> None:
    assert parse_facts(told, "here") == expected


def test_facts_are_read_from_a_whole_manifest(
    told: dict[str, str], expected: ServedFacts, tiny_bundle: Bundle
) -> None:
    text = tiny_bundle.manifest.to_json()
    assert parse_facts({"manifest": text}, "here") == expected
    assert parse_facts({**told, "manifest": text}, "here") == expected
    windowed = {"manifest": text, "long_texts": "window"}
    assert parse_facts(windowed, "here").long_texts == "window"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"labels": "anger joy neutral"}, "labels is 'anger joy neutral'"),
        ({"labels": '["a", "a", "b"]'}, "labels must be texts"),
        ({"labels": "[1, 2, 3]"}, "labels must be texts"),
        ({"labels": "[]"}, "labels must be texts"),
        ({"labels": ""}, "labels is missing"),
        ({"thresholds": '{"anger": 0.5}'}, "thresholds are not those of its labels"),
        ({"thresholds": '{"anger": 0.5, "joy": 0, "neutral": 0.5}'}, "of joy must lie in"),
        ({"thresholds": "[0.5]"}, "thresholds is '\\[0.5\\]'"),
        ({"normalizer": "asr-9"}, "normalizer is 'asr-9', and this library knows"),
        ({"schema_version": "99"}, "upgrade ov-emotions"),
        ({"schema_version": "true"}, "schema_version is 'true'"),
        ({"max_length": "many"}, "max_length is 'many'"),
        ({"max_length": "-5"}, "max_length is -5, and must be at least 1"),
        ({"name": " "}, "name is missing"),
    ],
)
def test_facts_that_cannot_be_understood(
    told: dict[str, str], change: dict[str, str], problem: str
) -> None:
    with pytest.raises(ServerMismatchError, match=rf"^here .*{problem}"):
        parse_facts({**told, **change}, "here")


def test_an_altered_manifest_is_refused(tiny_bundle: Bundle) -> None:
    raw = json.loads(tiny_bundle.manifest.to_json())
    raw["thresholds"]["joy"] = 0.1
    with pytest.raises(ServerMismatchError, match="manifest at here does not match its own"):
        parse_facts({"manifest": json.dumps(raw)}, "here")


def test_a_server_that_contradicts_its_manifest_is_refused(
    told: dict[str, str], tiny_bundle: Bundle
) -> None:
    told["thresholds"] = '{"anger": 0.7, "joy": 0.61, "neutral": 0.9}'
    with pytest.raises(ServerMismatchError, match=r"contradicts its own manifest.*of joy is 0.61"):
        parse_facts({**told, "manifest": tiny_bundle.manifest.to_json()}, "here")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"labels": ("joy", "anger", "neutral")}, "its labels are joy, anger, neutral and not"),
        ({"thresholds": {"anger": 0.7, "joy": 0.61, "neutral": 0.9}}, "joy is 0.61 and not 0.6"),
        ({"thresholds": {"anger": 0.1, "joy": 0.2, "neutral": 0.3}}, "and 2 more differ"),
        ({"normalizer": "asr-0"}, "its normaliser is asr-0 and not"),
        ({"max_length": 8}, "it reads 8 tokens and not 16"),
        ({"manifest_sha256": "0" * 64}, "other weights"),
    ],
)
def test_every_difference_from_what_is_expected_is_refused(
    expected: ServedFacts, change: dict[str, Any], problem: str
) -> None:
    signature = Signature("text", "probabilities", 3)
    check_facts(expected, signature, expected, "here")
    with pytest.raises(ServerMismatchError, match=problem):
        check_facts(replace(expected, **change), signature, expected, "here")


def test_another_name_and_a_missing_hash_change_no_prediction(
    expected: ServedFacts, caplog: pytest.LogCaptureFixture
) -> None:
    signature = Signature("text", "probabilities", None)
    check_facts(replace(expected, name="other"), signature, expected, "here")
    assert not caplog.records
    check_facts(replace(expected, manifest_sha256=None), signature, expected, "here")
    assert "weights were not compared" in caplog.text


def test_as_many_outputs_as_labels_are_expected(expected: ServedFacts) -> None:
    with pytest.raises(ServerMismatchError, match=r"gives 2 probabilities a text.*3 labels"):
        check_facts(expected, Signature("text", "probabilities", 2), None, "here")


@pytest.mark.parametrize(
    ("inputs", "outputs", "signature"),
    [
        (TEXT, (SCORES,), Signature("text", "probabilities", 3)),
        (TOKENS, (SCORES,), Signature("tokens", "probabilities", 3)),
        (
            TOKENS[::-1],
            (TensorSpec("logits", "FP32", (-1, -1)),),
            Signature("tokens", "logits", None),
        ),
    ],
)
def test_what_a_model_takes_and_gives_is_found_out(
    inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], signature: Signature
) -> None:
    assert signature_of(metadata(inputs, outputs), "here") == signature


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ((), ()),
        (TOKENS[:1], (SCORES,)),
        ((*TOKENS, *TEXT), (SCORES,)),
        ((TensorSpec("text", "BYTES", (-1, 1)),), (SCORES,)),
        ((TensorSpec("text", "UINT8", (-1,)),), (SCORES,)),
        (TEXT, (TensorSpec("probabilities", "FP32", (-1,)),)),
        (TEXT, (TensorSpec("scores", "FP32", (-1, 3)),)),
    ],
)
def test_a_model_of_another_kind_is_refused(
    inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> None:
    with pytest.raises(ServerMismatchError, match="another kind of model: it takes"):
        signature_of(metadata(inputs, outputs), "here")
