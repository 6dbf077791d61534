"""The load driver against servers on loopback that answer, dawdle, fail and hang."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_kserve import (
    FAST,
    Reply,
    Request,
    ServedBundle,
    grpc_server,
    http_server,
)

from benchmarks.serving import cli
from benchmarks.serving.load import Limits, Run, closed_loop, run_precisely
from benchmarks.serving.target import Endpoint, Target, find_targets, readable
from ov_emotions.bundle import Bundle
from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.labels import EKMAN

pytest.importorskip("tritonclient", reason="the extra serving is not installed")

TEXTS = ["какая радость", "злость", "слово", "я рад", "?!", ""]
ONCE = replace(FAST, attempts=1, timeout=0.3, deadline=0.3)


def targets(url: str, bundle: Bundle | None = None, batch: int = 1) -> list[Target]:
    endpoint = Endpoint("x", url, bundle)
    return run_precisely(find_targets(endpoint, readable(TEXTS), batch, ONCE))


def load(target: Target, requests: int = 6, clients: int = 2) -> Run:
    async def run() -> Run:
        async with target.connected() as send:
            return await closed_loop(send, clients, Limits(10, requests))

    return run_precisely(run())


@pytest.mark.parametrize("takes", ["text", "tokens"])
def test_every_protocol_is_answered(served: ServedBundle, takes: str) -> None:
    served.takes = takes
    with (
        http_server(lambda request: served.rest(request)) as (port, seen),
        grpc_server(lambda *call: served.grpc(*call)) as (grpc_port, _),
    ):
        found = [
            *targets(f"http://127.0.0.1:{port}/emotions", served.bundle, batch=2),
            *targets(f"grpc://127.0.0.1:{grpc_port}/emotions", served.bundle, batch=2),
        ]
        assert [target.protocol for target in found] == ["REST JSON", "REST binary", "gRPC"]
        assert {target.takes for target in found} == {takes}
        assert {target.server for target in found} == {"OpenVINO Model Server 2026.4.1"}
        for target in found:
            run = load(target)
            assert (len(run.latencies), run.errors) == (6, {})
        sent = [request for request in seen if request.path.endswith("/infer")]
    binary = ["Inference-Header-Content-Length" in request.headers for request in sent]
    assert binary == [False] * 6 + [True] * 6
    assert json.loads(sent[0].body)["inputs"][0]["shape"][0] == 2


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply.of({"error": "no"}, 400), "refused 400"),
        (Reply.of({"error": "later"}, 503), "unavailable 503"),
        (Reply(drop=True), "broken connection"),
        (Reply.of({}, delay=1.0), "timeout"),
        (Reply(200, b"<html>"), "wrong answer"),
        (Reply.of({"model_name": "emotions", "outputs": []}), "wrong answer"),
    ],
)
def test_failures_over_rest_have_their_kinds(served: ServedBundle, reply: Reply, kind: str) -> None:
    def rule(request: Request) -> Reply:
        return reply if request.path.endswith("/infer") else served.rest(request)

    with http_server(rule) as (port, _):
        run = load(targets(f"http://127.0.0.1:{port}/emotions")[0], requests=2)
    assert run.errors == {kind: 2}


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    from ov_emotions.data.dataset import write_prepared

    pytest.importorskip("pyarrow", reason="the extra train is not installed")
    count = len(TEXTS)
    targets = np.zeros((count, len(EKMAN)), np.int8)
    texts = LabelledTexts(EKMAN, tuple(TEXTS), targets, ("made",) * count, np.arange(count))
    facts = {"seed": 1, "near_threshold": 0.8, "sources": (), "dropped": {}, "validation_parts": {}}
    write_prepared(tmp_path / "prepared", {"test_goemotions": texts}, facts)
    return tmp_path / "prepared"


SHORT = ["--clients", "1", "2", "--seconds", "0.1", "--warm-up", "0.02", "--shares", "0.3"]


def test_two_endpoints_are_compared_in_one_run(
    served: ServedBundle, rest_url: str, prepared: Path, tmp_path: Path, capsys: Any
) -> None:
    def slow(request: Request) -> Reply:
        reply = served.rest(request)
        return replace(reply, delay=0.03) if request.path.endswith("/infer") else reply

    with http_server(slow) as (port, _):
        command = ["run", f"fast={rest_url}", f"slow=http://127.0.0.1:{port}/emotions"]
        command += ["--data", str(prepared), "--output", str(tmp_path / "out.json"), *SHORT]
        command += ["--model", str(served.bundle.folder), "--header", "authorization=Bearer geheim"]
        assert cli.main([*command, "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert cli.main(command) == 0
    answer = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert set(answer) == set(printed)
    names = [f"{name}, REST {kind}" for name in ("fast", "slow") for kind in ("JSON", "binary")]
    assert [target["name"] for target in answer["targets"]] == names
    assert {(c["target"], c["against"]) for c in answer["comparisons"]} == {
        ("slow, REST JSON", "fast, REST JSON"),
        ("slow, REST binary", "fast, REST binary"),
    }
    assert all(c["p50"]["median"] > 1 for c in answer["comparisons"])
    slowest = answer["targets"][2]
    assert [figures["level"] for figures in slowest["closed"]] == [1, 2]
    assert slowest["closed"][0]["p50_ms"] > 30
    assert len(slowest["open"]) == 1
    assert answer["steps_left_out"] == 0
    assert "round to round" in answer["noise"]["sentence"]
    assert answer["versions"]["tritonclient"]
    assert "geheim" not in json.dumps(answer)
    assert "authorization=..." in answer["command"]
    shown = capsys.readouterr().out
    assert "slow, REST JSON" in shown
    assert "The driver itself kept" in shown


def test_a_server_with_other_answers_than_its_bundle_is_not_timed(
    served: ServedBundle, rest_url: str, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    served.spoil = lambda scores: 1 - scores
    command = ["run", rest_url, "--data", str(prepared), "--model", str(served.bundle.folder)]
    assert cli.main(command) == 1
    assert "the bundle here differs by" in capsys.readouterr().err
