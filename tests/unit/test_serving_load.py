"""The load driver's arithmetic and schedules, on servers that are coroutines."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.common import renewed
from benchmarks.serving import noise
from benchmarks.serving.load import (
    NOT_SENT,
    Limits,
    Run,
    Send,
    closed_loop,
    error_kind,
    open_loop,
    run_precisely,
)
from benchmarks.serving.measure import Figures, Plan, knee, peak, ratios, summarise
from benchmarks.serving.noise import Others
from benchmarks.serving.table import README, closed_rows, for_readme
from ov_emotions.client.url import parse_url
from ov_emotions.errors import InputError, ServerError
from ov_emotions.quantization.timing import judge_noise


def one_at_a_time(seconds: float) -> Send:
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


def test_percentiles_are_of_all_rounds_together_and_spreads_of_each() -> None:
    found = summarise("closed", 4, [seen([1.0] * 90), seen([11.0] * 10, 2.0, timeout=3)])
    assert (found.requests, found.errors) == (100, {"timeout": 3})
    assert (found.p50_ms, found.p90_ms, found.p99_ms, found.max_ms) == (1.0, 2.0, 11.0, 11.0)
    assert found.mean_ms == 2.0
    assert found.throughput == {"median": 47.5, "min": 5.0, "max": 90.0}
    assert found.round_p50_ms == {"median": 6.0, "min": 1.0, "max": 11.0}
    assert found.driver_cpu == 0.25
    assert found.failed == pytest.approx(3 / 103)


def test_a_level_without_an_answer_has_no_latency() -> None:
    found = summarise("open", 10, [seen([], refused=5)])
    assert (found.p50_ms, found.p99_ms, found.round_p50_ms) == (None, None, None)
    assert (found.throughput["median"], found.power, found.failed) == (0.0, 0.0, 1.0)


def test_the_knee_is_where_throughput_over_latency_is_greatest() -> None:
    # One server of 10 ms behind 10 ms of network: more than two clients only wait longer.
    levels = [level(1, 50, 20), level(2, 100, 20), level(4, 100, 40), level(64, 100, 640)]
    assert (knee(levels[::-1]), peak(levels)) == (levels[1], 100)
    equal = [level(8, 100, 20), level(2, 100, 20)]
    assert knee(equal) == equal[1]


def test_a_level_at_which_requests_fail_is_neither_knee_nor_peak() -> None:
    levels = [level(1, 50, 20), level(2, 1000, 1, timeout=100)]
    assert (knee(levels), peak(levels)) == (levels[0], 50)
    assert knee([level(1, 10, 5, timeout=10)]) is None


def test_ratios_are_taken_round_by_round() -> None:
    ours = summarise("closed", 1, [seen([1.0] * 10), seen([3.0] * 30)])
    theirs = summarise("closed", 1, [seen([2.0] * 5), seen([1.0] * 10)])
    assert ratios(ours, theirs) == {
        "throughput": {"median": 2.5, "min": 2.0, "max": 3.0},
        "p50": {"median": 1.75, "min": 0.5, "max": 3.0},
    }
    assert ratios(ours, summarise("closed", 1, [seen([1.0]), seen([])])) is None


def test_a_closed_loop_asks_again_as_soon_as_it_was_answered() -> None:
    found = run_precisely(closed_loop(one_at_a_time(0.01), 4, Limits(seconds=0.3)))
    assert 8 <= len(found.latencies) <= 34
    # Four clients share one server, so each waits for three others.
    assert np.median(found.latencies) > 0.03
    assert len(found.lateness) == 0


def test_arrivals_keep_their_times_and_wait_for_nobody() -> None:
    sent = []

    async def send(_number: int) -> None:
        sent.append(time.perf_counter())
        await asyncio.sleep(0.2)

    found = run_precisely(open_loop(send, 100, Limits(seconds=0.3)))
    assert len(sent) == 30
    gaps = np.diff(sent)
    assert np.mean(gaps) == pytest.approx(0.01, rel=0.5)
    assert len(found.latencies) == 30
    assert 0.2 <= np.median(found.latencies) < 0.4


def test_the_wait_of_arrivals_at_a_slow_server_is_counted() -> None:
    # 50 requests a second arrive at a server that answers 25: the last waits as long as they came.
    found = run_precisely(open_loop(one_at_a_time(0.04), 50, Limits(seconds=0.6)))
    assert len(found.latencies) == 30
    assert found.latencies.max() > 0.5
    assert np.median(found.latencies) > 0.2
    closed = run_precisely(closed_loop(one_at_a_time(0.04), 1, Limits(seconds=0.3)))
    assert 2 * np.median(closed.latencies) < np.median(found.latencies), "it does not see that"


def test_a_driver_that_was_held_up_counts_from_the_time_it_should_have_sent() -> None:
    held = itertools.count()

    async def send(_number: int) -> None:
        if next(held) == 0:
            time.sleep(0.2)  # the whole process stands still

    found = run_precisely(open_loop(send, 100, Limits(seconds=0.2)))
    assert len(found.latencies) == 20
    assert np.median(found.latencies) > 0.05, "answered at once, but sent late"
    assert found.lateness.max() > 0.1


def test_arrivals_beyond_the_room_are_counted_and_not_sent() -> None:
    found = run_precisely(
        open_loop(one_at_a_time(0.1), 100, Limits(seconds=0.2, in_flight=2)),
    )
    assert found.errors[NOT_SENT] > 10
    assert len(found.latencies) + found.errors[NOT_SENT] == 20


def test_a_closed_loop_ends_after_so_many_requests_and_failures_are_counted() -> None:
    asked = []

    async def send(number: int) -> None:
        asked.append(number)
        await asyncio.sleep(0.001)
        if number % 2:
            raise ServerError("x refused the request (400): no")

    found = run_precisely(closed_loop(send, 3, Limits(seconds=60, requests=20)))
    assert sorted(asked) == list(range(20))
    assert len(found.latencies) == 10
    assert found.errors == {"refused 400": 10}


def test_an_unknown_complaint_is_a_wrong_answer() -> None:
    assert error_kind(ServerError("x gave probabilities of shape [1]")) == "wrong answer"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"clients": ()}, "at least one level"),
        ({"clients": (0,)}, "clients must be above 0"),
        ({"clients": (1000,)}, "512 at most"),
        ({"in_flight": 1000}, "512 at most"),
        ({"seconds": 0.0}, "seconds must be above 0"),
        ({"limit": float("nan")}, "limit must be above 0"),
        ({"rates": (-1.0,)}, "rates must be above 0"),
        ({"rounds": 0}, "rounds must be at least 1"),
    ],
)
def test_a_plan_that_makes_no_sense(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        replace(Plan(), **changes)  # type: ignore[arg-type]


def test_the_default_plan_of_the_shipped_models_ends_in_time() -> None:
    plan = Plan()
    targets = 2 * 2 * 3  # models, text or tokens, protocols
    assert plan.steps * targets * (plan.seconds + plan.warm_up) < plan.limit < 330


def test_the_readme_holds_the_table_of_the_committed_figures() -> None:
    text = README.read_text(encoding="utf-8")
    assert renewed(text, for_readme()) == text


def test_a_target_that_answered_nothing_has_a_row_all_the_same() -> None:
    answer = {
        "targets": [
            {
                "name": "x",
                "knee_clients": None,
                "peak_throughput": 0.0,
                "closed": [asdict(summarise("closed", 1, [seen([], timeout=2)]))],
            }
        ]
    }
    assert closed_rows(answer)[1] == ["x", "–", "–", "none", "–", "–", "–", "–", "–", "2 timeout"]


class Machine:
    """A made-up /proc: ticks by process, and which of them listens on port 8000."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "net").mkdir()
        heading = "  sl  local_address rem_address   st tx_queue"
        line = "0: 0100007F:1F40 00000000:0000 0A 0:0 00:0 0 0 0 4711 1"
        (folder / "net" / "tcp").write_text(f"{heading}\n{line}\n", encoding="ascii")

    def stat(self, busy: int, idle: int, stolen: int) -> None:
        text = f"cpu  {busy} 0 0 {idle} 0 0 0 {stolen} 0 0\n"
        (self.folder / "stat").write_text(text, encoding="ascii")

    def process(self, number: int, parent: int, ticks: int, *, name: str = "server (x)") -> Path:
        folder = self.folder / str(number)
        folder.mkdir(exist_ok=True)
        (folder / "comm").write_text(name, encoding="ascii")
        numbers = f"S {parent} 0 0 0 0 0 0 0 0 0 {ticks} 0 0 0 0"
        (folder / "stat").write_text(f"{number} ({name}) {numbers}", encoding="ascii")
        return folder

    def listens(self, folder: Path) -> None:
        (folder / "fd").mkdir()
        (folder / "fd" / "3").symlink_to("socket:[4711]")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(noise, "_PROC", tmp_path)
    machine = Machine(tmp_path)
    machine.stat(1000, 1000, 0)
    return machine


def test_other_processes_are_noise_and_driver_and_server_are_not(machine: Machine) -> None:
    machine.listens(machine.process(50, 1, 100))
    for number, parent in ((os.getpid(), 1), (51, 50), (60, 1)):
        machine.process(number, parent, 100)
    others = Others([parse_url("http://127.0.0.1:8000/emotions")])
    assert others.seen
    machine.stat(1180, 1200, 20)
    for number, parent, ticks in ((os.getpid(), 1, 130), (50, 1, 140), (51, 50, 150)):
        machine.process(number, parent, ticks)
    # 180 ticks were used: 30 by the driver, 40 and 50 by the server and its child.
    assert others.since() == ((0, 0), (400, 20 + 60))
    judged = judge_noise({}, *others.since())
    assert judged["noisy"]
    assert "20.0 % of the processor was held by others" in judged["sentence"]


@pytest.mark.parametrize("name", ["docker-proxy", None])
def test_a_server_in_a_container_cannot_be_told_from_other_processes(
    machine: Machine, name: str | None
) -> None:
    if name is not None:
        machine.listens(machine.process(50, 1, 100, name=name))
    others = Others([parse_url("grpc://localhost:8000/emotions")])
    machine.stat(2000, 1000, 10)
    assert (others.seen, others.since()[1]) == (False, (1010, 10))
