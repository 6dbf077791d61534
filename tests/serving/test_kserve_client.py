"""The API of the client, against servers on loopback that serve a bundle as Model Server does."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_kserve import (
    FAST,
    Reply,
    ServedBundle,
    classify,
    failing,
    grpc_server,
    infers,
    rest,
)

from ov_emotions import EmotionClassifier
from ov_emotions.bundle import Bundle
from ov_emotions.client.session import ServerOptions
from ov_emotions.errors import (
    InputError,
    MissingExtraError,
    ServerError,
)
from ov_emotions.remote import AsyncEmotionClassifier

TEXTS = [
    "какая радость",
    "злость",
    "",
    "слово я рад",
    "?!",
    "чёрт \ud800",
    "\x00",
    "слово радость злость",
    "радость " * 5,
]
LONG = "слово злость " * 30 + "радость " * 12


@pytest.mark.parametrize("protocol", ["rest", "rest as JSON", "grpc"])
@pytest.mark.parametrize(
    ("takes", "output"),
    [("text", "probabilities"), ("tokens", "probabilities"), ("tokens", "logits")],
)
def test_a_server_gives_what_the_process_gives(
    served: ServedBundle,
    rest_url: str,
    grpc_url: str,
    tiny_bundle: Bundle,
    protocol: str,
    takes: str,
    output: str,
) -> None:
    served.takes, served.output = takes, output
    local = EmotionClassifier(tiny_bundle, threads=1, long_texts="truncate")
    url = grpc_url if protocol == "grpc" else rest_url
    options = replace(FAST, binary=protocol != "rest as JSON")
    with classify(
        url, model=tiny_bundle, metadata_url=rest_url, long_texts="truncate", options=options
    ) as remote:
        assert remote.labels == local.labels
        assert remote.thresholds == local.thresholds
        found = remote.predict_proba([*TEXTS, LONG])
        np.testing.assert_allclose(found, local.predict_proba([*TEXTS, LONG]), rtol=0, atol=1e-6)
        assert found.dtype == np.float32
        expected = local([*TEXTS, LONG])
        answers = remote([*TEXTS, LONG])
        assert [a.labels for a in answers] == [e.labels for e in expected]
        assert [a.truncated for a in answers] == [e.truncated for e in expected]
        assert remote(TEXTS[0]).labels == ("joy",)
        assert remote([]) == []
        assert remote.predict_proba([]).shape == (0, 3)
        assert [a.labels for a in remote.stream(iter(TEXTS), chunk_size=2)] == [
            e.labels for e in local(TEXTS)
        ]


def test_a_server_that_takes_tokens_is_given_windows(
    served: ServedBundle, rest_url: str, tiny_bundle: Bundle, tiny_classifier: EmotionClassifier
) -> None:
    served.takes = "tokens"
    with classify(rest_url, model=tiny_bundle) as remote:
        np.testing.assert_allclose(
            remote.predict_proba([LONG, "слово"]),
            tiny_classifier.predict_proba([LONG, "слово"]),
            rtol=0,
            atol=1e-6,
        )
        assert remote(LONG).truncated is False
    with pytest.raises(InputError, match="takes token ids: give the bundle"):
        classify(rest_url)


def test_whether_a_text_was_truncated_is_only_told_where_it_is_known(rest_url: str) -> None:
    with classify(rest_url) as remote:
        assert [found.truncated for found in remote(["слово", LONG])] == [False, None]


def test_windows_are_asked_for_only_where_they_are_possible(
    served: ServedBundle, rest_url: str
) -> None:
    with pytest.raises(InputError, match="does 'truncate' with long ones"):
        classify(rest_url, long_texts="window")
    with pytest.raises(InputError, match="long_texts must be 'window'"):
        classify(rest_url, long_texts="cut")
    served.facts["long_texts"] = "window"
    with classify(rest_url, long_texts="window") as remote:
        assert remote(LONG).truncated is False


def test_thresholds_of_the_caller_decide(rest_url: str) -> None:
    with classify(rest_url, thresholds={"joy": 0.9999999}) as remote:
        assert remote("какая радость").labels == ()
        assert remote.thresholds["joy"] == 0.9999999
    with pytest.raises(InputError, match="which the model lacks"):
        classify(rest_url, thresholds={"boredom": 0.5})


def test_logits_are_those_of_the_probabilities(
    rest_url: str, tiny_classifier: EmotionClassifier
) -> None:
    with classify(rest_url) as remote:
        found = remote.predict_logits(["слово я", ""])
    np.testing.assert_allclose(found, tiny_classifier.predict_logits(["слово я", ""]), atol=1e-4)
    assert np.isneginf(found[1]).all()


def test_a_wrong_text_is_told_by_its_position_and_not_sent(served: ServedBundle) -> None:
    with rest(served.rest) as (url, seen), classify(url) as remote:
        with pytest.raises(InputError, match="position 1 is a int"):
            remote(["слово", 1])  # type: ignore[list-item]
        assert not infers(seen)


def test_headers_reach_the_server_over_both_protocols(
    served: ServedBundle, tiny_bundle: Bundle
) -> None:
    options = replace(FAST, headers={"Authorization": "Bearer token"})
    with rest(served.rest) as (url, seen):
        with classify(url, options=options) as remote:
            remote("слово")
        assert {request.headers.get("Authorization") for request in seen} == {"Bearer token"}
    keys: list[Any] = []

    def rule(name: str, request: Any, metadata: Any) -> Any:
        keys.append(metadata.get("authorization"))
        return served.grpc(name, request, metadata)

    with (
        grpc_server(rule) as (port, _),
        classify(f"grpc://127.0.0.1:{port}/emotions", model=tiny_bundle, options=options) as remote,
    ):
        remote("слово")
    assert set(keys) == {"Bearer token"}
    with pytest.raises(InputError, match="cannot be sent over gRPC"):
        classify("grpc://127.0.0.1:1/emotions", options=replace(FAST, headers={"a!": "b"}))


def test_a_classifier_serves_many_threads(
    rest_url: str, grpc_url: str, tiny_classifier: EmotionClassifier
) -> None:
    expected = [tiny_classifier(text).labels for text in TEXTS]
    for url in (rest_url, grpc_url):
        with classify(url, metadata_url=rest_url) as remote, ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda text, r=remote: r(text).labels, TEXTS * 10))
        assert found == expected * 10


def test_asyncio_gives_the_same(
    rest_url: str, grpc_url: str, tiny_classifier: EmotionClassifier
) -> None:
    async def run(url: str) -> None:
        async def numbered() -> Any:
            for text in TEXTS:
                yield text

        async with await AsyncEmotionClassifier.from_server(
            url, metadata_url=rest_url, options=FAST
        ) as remote:
            assert remote.labels == tiny_classifier.labels
            assert remote.thresholds == tiny_classifier.thresholds
            expected = [found.labels for found in tiny_classifier(TEXTS)]
            assert [found.labels for found in await remote(TEXTS)] == expected
            assert (await remote("злость")).labels == ("anger",)
            together = await asyncio.gather(*(remote(text) for text in TEXTS))
            assert [found.labels for found in together] == expected
            for texts in (TEXTS, numbered()):
                assert [f.labels async for f in remote.stream(texts, chunk_size=2)] == expected
            assert (await remote.predict_proba(TEXTS)).shape == (len(TEXTS), 3)
            with pytest.raises(InputError, match="position 1"):
                [f async for f in remote.stream(["слово", None])]  # type: ignore[list-item]
        with pytest.raises(ServerError, match="was closed"):
            await remote("слово")

    for url in (rest_url, grpc_url):
        asyncio.run(run(url))


def test_a_call_that_is_cancelled_stops(served: ServedBundle) -> None:
    async def run(url: str) -> None:
        async with await AsyncEmotionClassifier.from_server(url, options=FAST) as remote:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(remote("слово"), 0.1)
            assert (await remote("злость")).labels == ("anger",)

    with rest(failing(served, [Reply(delay=0.5)])) as (url, _):
        asyncio.run(run(url))


def test_after_closing_nothing_is_sent(served: ServedBundle) -> None:
    with rest(served.rest) as (url, seen):
        remote = classify(url)
        remote.close()
        remote.close()
        with pytest.raises(ServerError, match="was closed; make a new one"):
            remote("слово")
        assert not infers(seen)


LEFT_OPEN = """
import sys
from ov_emotions import EmotionClassifier
kept = [EmotionClassifier.from_server(url, metadata_url=sys.argv[1]) for url in sys.argv[1:]]
dropped = EmotionClassifier.from_server(sys.argv[1])
del dropped
print([classifier("злость").labels for classifier in kept])
"""


def test_those_that_nobody_closed_are_closed_at_the_end(rest_url: str, grpc_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", LEFT_OPEN, rest_url, grpc_url],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.strip() == "[('anger',), ('anger',)]"
    warned = [line for line in done.stderr.splitlines() if "Executing <" not in line]
    assert (done.returncode, warned) == (0, [])


PROOF = """
import sys
import ov_emotions.remote
from ov_emotions import EmotionClassifier
EmotionClassifier(sys.argv[1])("слово")
extras = {"tritonclient", "grpc", "aiohttp", "gevent", "ovmsclient", "requests", "google.protobuf"}
print(sorted(extras & set(sys.modules)))
"""


def test_a_local_prediction_imports_no_client(tiny_bundle: Bundle) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROOF, str(tiny_bundle.folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_after_a_fork_a_classifier_says_so_instead_of_waiting_for_ever(rest_url: str) -> None:
    remote = classify(rest_url)
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # From Python 3.12 on, a fork with threads around is warned of.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            remote("слово")
            told = "it answered"
        except ServerError as error:
            told = str(error)
        os.write(writer, told.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert "before the process was forked" in pipe.read()
    os.waitpid(child, 0)
    remote.close()


def test_texts_and_headers_are_never_logged(
    served: ServedBundle, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    options = replace(FAST, headers={"Authorization": "Bearer token"})
    failures = [Reply.of({"error": "busy"}, 503), Reply.of({"error": "no"}, 400)]
    with (
        rest(failing(served, failures)) as (url, _),
        classify(url, options=options) as remote,
        pytest.raises(ServerError),
    ):
        remote("сокровенное")
    assert "attempt 1 failed" in caplog.text
    assert "сокровенное" not in caplog.text
    assert "Bearer" not in caplog.text


def test_without_a_bundle_there_is_none_to_save(rest_url: str, tmp_path: Any) -> None:
    with classify(rest_url) as remote:
        with pytest.raises(ServerError, match="has no bundle of its own"):
            remote.save_pretrained(tmp_path / "b")
        with pytest.raises(ServerError, match="has no bundle of its own"):
            _ = remote.bundle


def test_a_missing_extra_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tritonclient", "tritonclient.http", "tritonclient.grpc", "aiohttp"):
        monkeypatch.setitem(sys.modules, module, None)
    for url in ("http://127.0.0.1:1/emotions", "grpc://127.0.0.1:1/emotions"):
        with pytest.raises(MissingExtraError, match=r"pip install 'ov-emotions\[serving\]'"):
            classify(url)


def test_json_is_what_a_reader_of_the_protocol_expects(served: ServedBundle) -> None:
    with rest(served.rest) as (url, seen):
        with classify(url, options=replace(FAST, binary=False)) as remote:
            remote(["злость", "радость"])
        (request,) = infers(seen)
    body = json.loads(request.body)
    assert body["inputs"] == [
        {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["злость", "радость"]}
    ]
    assert [output["name"] for output in body["outputs"]] == ["probabilities"]


def test_the_default_options_are_bounded() -> None:
    options = ServerOptions()
    assert options.deadline < 60
    assert options.attempts < 10
