"""Many clients at once: nothing is lost, each gets its own answer, and the driver says so."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from live_server import live

from benchmarks.serving import cli, goodput, steady
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.errors import ServerError

CLIENTS, SECONDS = 64, 2.0
WORDS = ["злость", "радость", "слово", "я", "рад", "чёрт", "1", "какая"]


def made_texts(count: int) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, size=rng.integers(1, 30))) for _ in range(count)]


def test_64_clients_lose_nothing_and_each_gets_the_classifiers_answer(
    tiny_classifier: EmotionClassifier,
) -> None:
    texts = made_texts(400)
    expected = tiny_classifier.predict_proba(texts)
    labels = tiny_classifier.labels
    answers: list[int] = []

    async def client(http: httpx.AsyncClient, number: int, end: float) -> None:
        rng = np.random.default_rng(number)
        while asyncio.get_running_loop().time() < end:
            chosen = rng.integers(0, len(texts), size=rng.integers(1, 5)).tolist()
            answer = await http.post("/v1/emotions", json={"texts": [texts[i] for i in chosen]})
            assert answer.status_code == 200, answer.text
            found = [
                [one["scores"][label] for label in labels] for one in answer.json()["predictions"]
            ]
            np.testing.assert_allclose(found, expected[chosen], atol=1e-4)
            answers.append(len(chosen))

    async def scenario(url: str) -> None:
        limits = httpx.Limits(max_connections=CLIENTS)
        async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as http:
            end = asyncio.get_running_loop().time() + SECONDS
            await asyncio.gather(*(client(http, number, end) for number in range(CLIENTS)))

    with live(tiny_classifier) as server:
        asyncio.run(scenario(server.url))
        told = steady.server_counts(httpx.get(f"{server.url}/metrics").text)
    assert len(answers) >= CLIENTS
    assert told["answered"] == len(answers)
    assert told["texts"] == sum(answers)
    assert told["rejected"] == 0
    assert told["requests_per_inference"] >= 1


@pytest.fixture
def load(tiny_classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The driver's command line, with made-up texts in place of a prepared folder."""
    pytest.importorskip("tritonclient", reason="the extra serving is not installed")
    monkeypatch.setattr(steady, "choose_texts", lambda *_: made_texts(50))
    folder = str(tiny_classifier.bundle.folder)
    command = ["serve", "--data", "x", "--model", folder, "--threads", "1", "--clients", "8"]
    return [*command, "--seconds", "1", "--warm-up", "1"]


def test_the_driver_starts_the_server_and_reports(
    load: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(steady, "GROWTH", 1.0)  # a second says nothing of memory
    path = tmp_path / "load.json"
    assert cli.main([*load, "--output", str(path)]) == 0
    answer = json.loads(path.read_text(encoding="utf-8"))
    assert (answer["lost"], answer["wrong"], answer["exit_code"]) == (0, 0, 0)
    assert answer["server"]["answered"] == answer["answered"] + answer["answered_before"] > 0
    assert answer["latency_ms"]["all"]["p99"] > 0
    assert all(answer["latency_ms"][api] for api in steady.APIS)
    assert answer["memory"]["settled_mb"] > 10
    assert answer["model"] == "tiny"
    shown = capsys.readouterr().out
    assert "8 clients for" in shown and "0 lost, 0 wrong" in shown


def test_the_driver_fails_where_answers_are_lost_or_wrong(
    load: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def lose(*_: Any) -> list[float]:
        raise ServerError("refused the request (418): no")

    async def lie(_transport: Any, asked: Any, position: int) -> list[float]:
        await asyncio.sleep(0.01)
        return list(1 - asked.expected[position])

    monkeypatch.setattr(steady, "_people", lose)
    monkeypatch.setattr(steady, "_kserve", lie)
    assert cli.main([*load, "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["errors"]["refused 418"] > 0
    assert answer["wrong"] > 0


def test_goodput_and_single_texts_are_measured_in_one_run(
    tiny_classifier: EmotionClassifier,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(goodput, "choose_texts", lambda *_: made_texts(50))
    monkeypatch.setenv("OV_EMOTIONS_SERVE_DEADLINE", "30")  # set by the command, and set back here
    path = tmp_path / "goodput.json"
    command = ["--data", "x", "--model", str(tiny_classifier.bundle.folder), "--rounds", "1"]
    command += ["--seconds", "0.5", "--clients", "8", "--large", "100", "--output", str(path)]
    assert goodput.main([*command, "--least", "0", "--singles", "0"]) == 0
    told = json.loads(path.read_text(encoding="utf-8"))
    [one] = told["rounds"]
    for kind in ("in_a_row", "overload", "singles"):
        assert one[kind]["texts_per_second"] > 0
        # On a busy machine some requests are given up that were taken in a quieter moment.
        assert set(one[kind]["statuses"]) <= {"200", "429", "504"}
        assert 0 <= one[kind]["driver_share"] <= 1
    assert told["goodput_of_capacity"] > 0
    assert told["exit_code"] == 0
    assert "medians: goodput" in capsys.readouterr().out
    assert goodput.main([*command, "--least", "1000"]) == 1
