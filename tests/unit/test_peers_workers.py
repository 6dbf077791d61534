"""Workers of the benchmark against peers: their protocol, with a toy peer in a real process."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.peers.driver import PeerError, WorkerProcess, closing_all

TOY = """
import os, sys, time, threading
from worker import Loaded, Way

def build(options):
    if options.get("broken"):
        raise ValueError("no such weights")
    print("a library that chatters on standard output")
    def fail(texts):
        raise RuntimeError("out of memory")
    def sleep(texts):
        time.sleep(30)
    def end(texts):
        os._exit(3)
    spun = [0]
    def spin():
        while True:
            spun[0] += 1
            time.sleep(0.001)
    threading.Thread(target=spin, daemon=True).start()
    return Loaded(
        {
            "upper": Way(lambda ready: ready, lambda texts: [t.upper() for t in texts],
                         lambda found: [[t] for t in found]),
            "fail": Way(fail),
            "sleep": Way(sleep),
            "end": Way(end),
        },
        report=lambda: {"spun": spun[0]},
    )
"""


@pytest.fixture
def start(tmp_path):
    (tmp_path / "toy.py").write_text(TOY, encoding="utf-8")
    variables = {**os.environ, "PYTHONPATH": str(tmp_path)}
    workers: dict[str, WorkerProcess] = {}

    def make() -> WorkerProcess:
        name = f"toy{len(workers)}"
        workers[name] = WorkerProcess(Path(sys.executable), tmp_path / f"{name}.log", variables)
        return workers[name]

    with closing_all(workers):
        yield make


def test_a_worker_loads_classifies_and_measures(start):
    worker = start()
    loaded = worker.ask("load", module="toy", options={})
    assert loaded["ways"] == ["upper", "fail", "sleep", "end"]
    assert loaded["versions"]["numpy"]
    assert worker.ask("labels", way="upper", texts=["да", "нет"])["labels"] == [["ДА"], ["НЕТ"]]
    measured = worker.ask("measure", way="upper", texts=["да", "нет"], seconds=0.05)
    assert measured["seconds"] >= 0.05
    assert measured["texts"] % 2 == 0
    assert measured["rss_mb"] > 1
    assert len(worker.ask("singles", way="upper", texts=["да"] * 5)["milliseconds"]) == 5


def test_a_failure_is_told_in_a_sentence_and_the_worker_lives_on(start):
    worker = start()
    with pytest.raises(PeerError, match="ValueError: no such weights"):
        worker.ask("load", module="toy", options={"broken": True})
    worker.ask("load", module="toy", options={})
    with pytest.raises(PeerError, match="out of memory"):
        worker.ask("measure", way="fail", texts=["да"], seconds=0)
    with pytest.raises(PeerError, match="KeyError"):
        worker.ask("labels", way="unknown", texts=["да"])
    assert worker.ask("labels", way="upper", texts=["да"])["labels"] == [["ДА"]]


def test_a_worker_that_takes_too_long_is_ended(start):
    worker = start()
    worker.ask("load", module="toy", options={})
    with pytest.raises(PeerError, match="no answer within"):
        worker.ask("labels", 0.3, way="sleep", texts=[])
    with pytest.raises(PeerError, match="gone"):
        worker.ask("report")


def test_a_worker_that_dies_is_noticed(start):
    worker = start()
    worker.ask("load", module="toy", options={})
    with pytest.raises(PeerError, match="exit code 3"):
        worker.ask("labels", way="end", texts=[])


def test_no_thread_of_a_worker_runs_while_it_is_not_asked(start):
    worker = start()
    worker.ask("load", module="toy", options={})
    first = worker.ask("report")["spun"]
    time.sleep(0.4)  # some four hundred turns of its thread, were it not stopped
    assert worker.ask("report")["spun"] - first < 100
