"""What the client is given: URLs, options, and the facts that a server tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ov_emotions.client import ServerOptions
from ov_emotions.client.facts import facts_of, parse_facts, refused_bound, signature_of, told_bound
from ov_emotions.client.transport import ModelMetadata, TensorSpec
from ov_emotions.client.url import ServerAddress, parse_model_url, parse_url
from ov_emotions.errors import InputError, ServerMismatchError
from ov_emotions.serving.settings import TritonConfig
from ov_emotions.serving.triton import facts


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("grpc://host:9000/emotions", ServerAddress("grpc", "host", 9000, "", "emotions")),
        ("http://host:8000/emotions/", ServerAddress("http", "host", 8000, "", "emotions")),
        ("HTTP://host/emotions", ServerAddress("http", "host", 80, "", "emotions")),
        ("grpcs://host/emotions", ServerAddress("grpcs", "host", 443, "", "emotions")),
        ("grpc://[::1]:9000/m", ServerAddress("grpc", "::1", 9000, "", "m")),
        ("grpc://h:1/m/versions/3", ServerAddress("grpc", "h", 1, "", "m", "3")),
        ("http://h:1/v2/models/m/versions/2", ServerAddress("http", "h", 1, "", "m", "2")),
        ("https://h/a/b/v2/models/m", ServerAddress("https", "h", 443, "/a/b", "m")),
        ("tfs+grpcs://h:9000/m", ServerAddress("tfs+grpcs", "h", 9000, "", "m")),
        ("http://h:1/v2", ServerAddress("http", "h", 1)),
    ],
)
def test_urls_are_taken_apart(url, expected):
    assert parse_url(url) == expected
    if expected.model and not expected.prefix:
        assert parse_url(str(expected)) == expected


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (None, "not a NoneType"),
        ("emotions", "must start with one of http://"),
        ("ftp://me:secret@host/emotions", "must start with one of"),
        ("http://me:secret@host:8000/emotions", "holds credentials"),
        ("grpc:///emotions", "has no host"),
        ("grpc://host/emotions", "has no port"),
        ("grpc://host:99999/emotions", "malformed"),
        ("http://host:8000/emotions?x=1", "query or fragment"),
        ("http://host:8000/emotions/infer", "the path of the URL"),
        ("grpc://host:9000/a/v2/models/emotions", "no path before the model"),
        ("grpc://host:9000/emotions/versions/0", "versions are numbers above 0"),
        ("http://host:8000/эмо ции", "holds a space"),
        ("http://host:8000/a%2Fb", "no server would accept"),
        ("http://ho\nst:8000/emotions", "cannot be printed"),
        ("http://host:8000", "names no model"),
    ],
)
def test_a_url_that_is_wrong_is_told_in_one_sentence_without_its_password(url, problem):
    with pytest.raises(InputError, match=problem) as raised:
        parse_model_url(url)
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"timeout": 0}, "timeout must be a number of seconds above 0"),
        ({"attempts": 0}, "attempts must be a whole number"),
        ({"headers": [("a", "b")]}, "must map names"),
        ({"headers": {"a b": "c"}}, "'a b' cannot be the name"),
        ({"headers": {"Content-Length": "1"}}, "set by the client itself"),
        ({"headers": {"x": "секрет\r\n"}}, "printable ASCII"),
        ({"ca_file": Path("/no/such.pem")}, "ca_file /no/such.pem is no file"),
        ({"cert_file": Path(__file__)}, "belong together"),
    ],
)
def test_options_that_make_no_sense(options, problem):
    with pytest.raises(InputError, match=problem) as raised:
        ServerOptions(**options)
    assert "секрет" not in str(raised.value)


@pytest.fixture
def told(tiny_bundle):
    """What a server says of the tiny bundle."""
    return facts(tiny_bundle, TritonConfig(long_texts="truncate"))


@pytest.fixture
def expected(tiny_bundle):
    return facts_of(tiny_bundle.manifest)


def test_facts_are_read_from_flat_texts_and_from_a_whole_manifest(told, expected, tiny_bundle):
    text = tiny_bundle.manifest.to_json()
    for raw in (told, {"manifest": text}, {**told, "manifest": text}):
        assert parse_facts(raw, "here") == expected
    assert parse_facts({"manifest": text, "long_texts": "window"}, "here").long_texts == "window"
    altered = json.loads(text)
    altered["thresholds"]["joy"] = 0.1
    with pytest.raises(ServerMismatchError, match="manifest at here does not match its own"):
        parse_facts({"manifest": json.dumps(altered)}, "here")
    told["thresholds"] = '{"anger": 0.7, "joy": 0.61, "neutral": 0.9}'
    with pytest.raises(ServerMismatchError, match=r"contradicts its own manifest.*of joy is 0.61"):
        parse_facts({**told, "manifest": text}, "here")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"labels": "anger joy neutral"}, "labels is 'anger joy neutral'"),
        ({"labels": '["a", "a", "b"]'}, "labels name one twice"),
        ({"labels": ""}, "labels is missing"),
        ({"thresholds": '{"anger": 0.5}'}, "thresholds are not those of its labels"),
        ({"thresholds": '{"anger": 0.5, "joy": 0, "neutral": 0.5}'}, "thresholds"),
        ({"normalizer": "asr-9"}, "normalizer is 'asr-9', and this library knows"),
        ({"schema_version": "99"}, "upgrade ov-emotions"),
        ({"name": " "}, "name"),
    ],
)
def test_facts_that_cannot_be_understood(told, change, problem):
    with pytest.raises(ServerMismatchError, match=rf"^here .*{problem}"):
        parse_facts({**told, **change}, "here")


def metadata(inputs: list[TensorSpec], outputs: list[TensorSpec]) -> ModelMetadata:
    return ModelMetadata(("1",), tuple(inputs), tuple(outputs))


TEXT = TensorSpec.of("text", "BYTES", [-1])
IDS = TensorSpec.of("input_ids", "INT64", ["-1", "-1"])
MASK = TensorSpec.of("attention_mask", "INT64", [-1, -1])
SCORES = TensorSpec.of("probabilities", "FP32", [-1, 3])


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([], []),
        ([MASK], [SCORES]),
        ([IDS, MASK, TEXT], [SCORES]),
        ([TensorSpec.of("text", "BYTES", [-1, 1])], [SCORES]),
        ([TensorSpec.of("text", "UINT8", [-1])], [SCORES]),
        ([TEXT], [TensorSpec.of("probabilities", "FP32", [-1])]),
        ([TEXT], [TensorSpec.of("scores", "FP32", [-1, 3])]),
    ],
)
def test_a_model_of_another_kind_is_refused(inputs, outputs):
    with pytest.raises(ServerMismatchError, match="another kind of model: it takes"):
        signature_of(metadata(inputs, outputs), "here")


@pytest.mark.parametrize(
    ("shape", "facts", "bound"),
    [
        (["1:256"], {}, 256),
        (["[1~64]"], {}, 64),
        ([-1], {"batch_size": "1:32"}, 32),
        ([-1], {"batch_size": "8"}, 8),
        (["1:256"], {"batch_size": "1:32"}, 32),
        ([-1], {"batch_size": "auto"}, None),
        ([-1], {}, None),
    ],
)
def test_the_bound_of_a_batch_is_read_where_it_is_told(shape, facts, bound):
    spec = TensorSpec.of("text", "BYTES", shape)
    assert spec.shape == (-1,)
    assert told_bound([metadata([spec], [SCORES])], facts) == bound


@pytest.mark.parametrize(
    ("message", "bound"),
    [
        ("Invalid batch size - Expected: [1~256]; Actual: 300; input name: text", 256),
        ("inference request batch-size must be <= 8 for 'emotions'", 8),
        ("Invalid number of shape dimensions - Expected: (-1); Actual: (1,1)", None),
        ("no", None),
    ],
)
def test_the_bound_of_a_batch_is_read_out_of_a_refusal(message, bound):
    assert refused_bound(message) == bound
