"""The benchmarks' arithmetic, load driver and proofs; their pages hold the committed figures."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="Parquet needs pyarrow", exc_type=ImportError)
pytest.importorskip("torch", reason="training needs torch", exc_type=ImportError)

from benchmarks.cluster import __main__ as cluster
from benchmarks.cluster.rows import check_rows, write_rows
from benchmarks.common import load, renewed
from benchmarks.dialogues import __main__ as dialogues
from benchmarks.peers.driver import PeerError, WorkerProcess, closing_all
from benchmarks.peers.goals import EARLIER, LIMIT, OURS, memory_goal, model_goals, ratio
from benchmarks.peers.page import PLOTS, README, render_page
from benchmarks.peers.plan import LARGE, SMALL
from benchmarks.scaling import conclude, contention, predict, sizing
from benchmarks.serving import cli as serving
from benchmarks.serving.load import NOT_SENT, Limits, Run, closed_loop, open_loop, run_precisely
from benchmarks.serving.measure import Figures, knee, peak, summarise
from benchmarks.training import __main__ as leaderboard
from benchmarks.training.plan import Place, read_plan
from benchmarks.training.scoring import ALL, cross_fitted, render
from ov_emotions.cluster.output import take_output
from ov_emotions.cluster.plan import make_plan, resolve_settings
from ov_emotions.cluster.worker import PartWorker
from ov_emotions.errors import DataError, ServerError

# Pages


def test_pages_and_plots_are_rendered_from_the_committed_figures():
    text, plots = render_page(README.read_text(encoding="utf-8"))
    assert text == README.read_text(encoding="utf-8")
    for name, plot in plots.items():
        assert (PLOTS / name).read_text(encoding="utf-8") == plot
    text = serving.README.read_text(encoding="utf-8")
    assert renewed(text, serving.for_readme()) == text
    text = leaderboard.README.read_text(encoding="utf-8")
    for plan in leaderboard.PLANS:
        assert render(leaderboard.output_of(plan)) in text
    assert dialogues.render() in dialogues.PAGE.read_text(encoding="utf-8")
    answer = load("cluster.json")
    assert cluster.for_readme(answer) in cluster.README.read_text(encoding="utf-8")
    for name, run in answer["runs"].items():
        if name != "classify":
            assert run["checked"]["lost"] == run["checked"]["doubled"] == 0


# Goals and sizing


def rounds_of(*rates: float, p50: float = 2.0, p99: float = 3.0):
    return [{"texts_per_second": rate, "p50_ms": p50, "p99_ms": p99} for rate in rates]


ROUNDS = {
    OURS: rounds_of(120, 130, 125, p50=2.2, p99=4.0),
    EARLIER: rounds_of(10, 10, 10),
    LIMIT: rounds_of(125, 135, 130, p50=2.0),
    "ONNX": rounds_of(100, 60, 62.5),
}
SLOW = ROUNDS | {OURS: rounds_of(100, 100, 100, p50=2.6, p99=5.2)}


@pytest.mark.parametrize(
    ("model", "rounds", "reached"),
    [(LARGE, ROUNDS, [True] * 5), (LARGE, SLOW, [False, True, *[False] * 3]), (SMALL, {}, [])],
)
def test_a_model_is_held_against_the_goals_that_were_set_for_it(model, rounds, reached):
    found = model_goals(model, rounds, ["ONNX", EARLIER, "none"])
    assert [goal.reached for goal in found] == reached


def test_ratios_are_taken_round_by_round_and_their_median_decides():
    found = ratio(ROUNDS, OURS, "ONNX", "texts_per_second")
    assert found == {"median": 2.0, "min": 1.2, "max": 2.1667}
    assert memory_goal([100.0, 104.0, 103.0]).figure["median"] == 4.0
    assert not memory_goal([100.0, 106.0, 101.0]).reached


def test_two_cores_are_foretold_from_one_and_the_error_is_told():
    assert predict(100.0, 2, contention(100.0, 180.0)) == pytest.approx(180.0)
    rounds = {
        "1 core": [100.0, 100.0],
        "2 cores, threads": [170.0, 170.0],
        "2 cores, streams": [190.0, 190.0],
        "2 processes": [195.0, 195.0],
    }
    found = conclude(rounds, 0.04, 2)
    assert found["check"]["2 cores, streams"]["error"] == pytest.approx(195 / 190 - 1, abs=1e-3)
    assert found["way"] == "2 processes"
    rows = {row.cores: row for row in sizing(1000.0, (0.0, 0.1, 0.2), 0.36, 2)}
    assert rows[1].cost == pytest.approx(1000 / 3600 * 2 * 0.36)


# Load


def one_at_a_time(seconds: float):
    """A server that works on one request at a time."""
    lock = asyncio.Lock()

    async def send(_number: int) -> None:
        async with lock:
            await asyncio.sleep(seconds)

    return send


def seen(milliseconds: list[float], seconds: float = 1.0, **errors: int) -> Run:
    return Run(np.array(milliseconds) / 1000, errors, seconds, 0.25 * seconds, np.empty(0))


def level(clients: float, rate: float, mean: float, **errors: int) -> Figures:
    return summarise("closed", clients, [seen([mean] * round(rate), **errors)])


def test_percentiles_are_of_all_rounds_together_and_spreads_of_each():
    found = summarise("closed", 4, [seen([1.0] * 90), seen([11.0] * 10, 2.0, timeout=3)])
    assert (found.requests, found.errors) == (100, {"timeout": 3})
    assert (found.p50_ms, found.p90_ms, found.p99_ms, found.max_ms) == (1.0, 2.0, 11.0, 11.0)
    assert found.throughput == {"median": 47.5, "min": 5.0, "max": 90.0}
    assert found.failed == pytest.approx(3 / 103)
    assert summarise("open", 10, [seen([], refused=5)]).p99_ms is None


def test_the_knee_is_where_throughput_over_latency_is_greatest_and_nothing_fails():
    # One server of 10 ms behind 10 ms of network: more than two clients only wait longer.
    levels = [level(1, 50, 20), level(2, 100, 20), level(4, 100, 40), level(64, 100, 640)]
    assert (knee(levels[::-1]), peak(levels)) == (levels[1], 100)
    levels = [level(1, 50, 20), level(2, 1000, 1, timeout=100)]
    assert (knee(levels), peak(levels)) == (levels[0], 50)


def test_the_wait_of_arrivals_at_a_slow_server_is_counted_and_a_closed_loop_does_not_see_it():
    # 50 requests a second arrive at a server that answers 25: the last waits as long as they came.
    found = run_precisely(open_loop(one_at_a_time(0.04), 50, Limits(seconds=0.6)))
    assert len(found.latencies) == 30
    assert found.latencies.max() > 0.5
    closed = run_precisely(closed_loop(one_at_a_time(0.04), 1, Limits(seconds=0.3)))
    assert 2 * np.median(closed.latencies) < np.median(found.latencies)
    full = run_precisely(open_loop(one_at_a_time(0.1), 100, Limits(seconds=0.2, in_flight=2)))
    assert len(full.latencies) + full.errors[NOT_SENT] == 20


def test_a_closed_loop_ends_after_so_many_requests_and_failures_are_counted():
    asked = []

    async def send(number: int) -> None:
        asked.append(number)
        await asyncio.sleep(0.001)
        if number % 2:
            raise ServerError("x refused the request (400): no")

    found = run_precisely(closed_loop(send, 3, Limits(seconds=60, requests=20)))
    assert sorted(asked) == list(range(20))
    assert (len(found.latencies), found.errors) == (10, {"refused 400": 10})


# Training options


@pytest.mark.parametrize("path", leaderboard.PLANS, ids=lambda path: path.stem)
def test_every_row_of_a_plan_is_a_valid_run_that_differs_from_the_base(path):
    plan, place = read_plan(path), Place(path, Path("data"), Path("work"))
    base = plan.config(plan.base, 7, place.prepared(plan.base), Path("out"))
    for change in plan.rows:
        run = plan.config(change, 7, place.prepared(change), Path("out"))
        assert (run == base) == (change.name == "base"), change.name


def test_cross_fitting_scores_no_row_at_thresholds_it_had_a_part_in():
    rng = np.random.default_rng(0)
    targets = (rng.random((400, 2)) < 0.3).astype(np.int8)
    seen: list[int] = []

    def fit(probabilities, given):
        seen.append(len(given))
        return np.quantile(probabilities, 0.7, axis=0).astype(np.float32)

    chance = cross_fitted(rng.random((400, 2)).astype(np.float32), targets, ("a", "b"), fit)
    assert seen == [320] * 5
    assert 0.2 < chance[ALL]["weighted_f1"] < 0.4
    rows = ["one"] * 100 + ["two"] * 300
    probabilities = np.where(np.arange(400)[:, None] < 100, targets, 0.5)  # two tells nothing
    found = cross_fitted(probabilities.astype(np.float32), targets, ("a", "b"), origins=rows)
    assert [found[name]["rows"] for name in (ALL, "one", "two")] == [400, 100, 300]
    assert found["one"]["macro_f1"] == 1 > found["two"]["macro_f1"]


# Workers


TOY = """
import os, time, threading
from worker import Loaded, Way

def build(options):
    print("a library that chatters on standard output")
    def fail(texts):
        raise RuntimeError("out of memory")
    spun = [0]
    def spin():
        while True:
            spun[0] += 1
            time.sleep(0.001)
    threading.Thread(target=spin, daemon=True).start()
    upper = Way(lambda ready: ready, lambda texts: [t.upper() for t in texts],
                lambda found: [[t] for t in found])
    ways = {"upper": upper, "fail": Way(fail), "end": Way(lambda texts: os._exit(3))}
    return Loaded(ways, report=lambda: {"spun": spun[0]})
"""


def test_a_worker_measures_tells_of_failures_and_stands_still_while_it_is_not_asked(tmp_path):
    (tmp_path / "toy.py").write_text(TOY, encoding="utf-8")
    variables = {**os.environ, "PYTHONPATH": str(tmp_path)}
    worker = WorkerProcess(Path(sys.executable), tmp_path / "toy.log", variables)
    with closing_all({"toy": worker}):
        assert worker.ask("load", module="toy", options={})["ways"] == ["upper", "fail", "end"]
        with pytest.raises(PeerError, match="out of memory"):
            worker.ask("measure", way="fail", texts=["да"], seconds=0)
        assert worker.ask("labels", way="upper", texts=["да", "нет"])["labels"] == [["ДА"], ["НЕТ"]]
        measured = worker.ask("measure", way="upper", texts=["да", "нет"], seconds=0.05)
        assert (measured["seconds"] >= 0.05, measured["texts"] % 2) == (True, 0)
        first = worker.ask("report")["spun"]
        time.sleep(0.4)  # some four hundred turns of its thread, were it not stopped
        assert worker.ask("report")["spun"] - first < 100
        with pytest.raises(PeerError, match="exit code 3"):
            worker.ask("labels", way="end", texts=[])


# Rows that are lost or doubled

ROWS = 60


@pytest.fixture
def target(tmp_path, tiny_bundle, monkeypatch):
    monkeypatch.setattr("benchmarks.cluster.rows._EMPTY_EVERY", 7)
    monkeypatch.setattr("ov_emotions.cluster.worker.pin_threads", lambda _threads: ())
    source, target = tmp_path / "in", tmp_path / "out"
    assert write_rows(source, ["рад", "злость", 'слово, "слово"'], ROWS) == 9
    plan = make_plan(source, resolve_settings(str(tiny_bundle.folder), part_rows=8))
    with take_output(target, source, restart=False) as output:
        assert not any(outcome.error for outcome in map(PartWorker(plan, output, 1).do, plan.parts))
    return target


def test_a_part_that_is_lost_doubled_or_not_listed_is_noticed(target):
    assert check_rows(target, ROWS) == {"rows": 51, "lost": 0, "doubled": 0, "set_aside": 9}
    for extension in ("parquet", "csv", "jsonl"):
        part = min(target.glob(f"part-*.{extension}"))
        content, twin = part.read_bytes(), part.with_name(f"part-999999.{extension}")
        twin.write_bytes(content)
        with pytest.raises(DataError, match=r"'doubled': [1-9]"):
            check_rows(target, ROWS)
        twin.unlink()
        part.unlink()
        with pytest.raises(DataError, match=r"'lost': [1-9]"):
            check_rows(target, ROWS)
        part.write_bytes(content)
    min(target.glob("_bad/*")).unlink()
    with pytest.raises(DataError, match=r"'set_aside': [0-8]"):
        check_rows(target, ROWS)
