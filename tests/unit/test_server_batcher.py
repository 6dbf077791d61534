"""Requests that share inferences: how they merge, wait, are refused, and go away."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")

from ov_emotions.errors import DeviceError
from ov_emotions.server.answers import ClientGoneError, RefusedError
from ov_emotions.server.batcher import Batcher, BatchLimits, BatchReport, Rate, token_ends

ROOMY = BatchLimits(tokens=1000, wait=0.0, queue_tokens=100_000, queue_requests=1000)


class Model:
    """Scores a text by its length; computes one batch at a time, when it may."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.may = threading.Event()
        self.may.set()
        self.begun = threading.Event()

    def __call__(self, texts: Sequence[str]) -> tuple[Any, list[bool | None]]:
        self.begun.set()
        assert self.may.wait(10)
        self.batches.append(list(texts))
        if "poison" in texts:
            raise DeviceError("no")
        return np.array([[len(text)] for text in texts], np.float32), [False] * len(texts)

    @asynccontextmanager
    async def busy(self, batcher: Batcher) -> AsyncIterator[asyncio.Task[Any]]:
        """Have it compute, so that what comes now has to wait."""
        self.may.clear()
        self.begun.clear()
        task = begin(batcher, ["first"])
        await begun(self)
        try:
            yield task
        finally:
            self.may.set()


async def ask(batcher: Batcher, texts: list[str], seconds: float = 10.0) -> list[float]:
    deadline = asyncio.get_running_loop().time() + seconds
    scores, truncated = await batcher.score(texts, deadline)
    assert len(truncated) == len(texts)
    return [float(row[0]) for row in scores]


def begin(batcher: Batcher, texts: list[str], seconds: float = 10.0) -> asyncio.Task[list[float]]:
    return asyncio.ensure_future(ask(batcher, texts, seconds))


def run(
    scenario: Callable[[Batcher, Model], Any], limits: BatchLimits = ROOMY, **options: Any
) -> Model:
    model = Model()
    batcher = Batcher(model, limits, **options)
    try:
        asyncio.run(scenario(batcher, model))
    finally:
        model.may.set()
        batcher.close(10)
    assert batcher.waiting_requests == 0
    assert batcher.waiting_tokens == 0
    return model


async def begun(model: Model) -> None:
    assert await asyncio.to_thread(model.begun.wait, 10)


def test_what_comes_while_it_computes_shares_the_next_batch_and_each_gets_its_own() -> None:
    async def scenario(batcher: Batcher, model: Model) -> None:
        async with model.busy(batcher) as first:
            others = [begin(batcher, ["x" * i] * 2) for i in range(1, 9)]
            await asyncio.sleep(0.01)
        assert await first == [5.0]
        assert await asyncio.gather(*others) == [[float(i)] * 2 for i in range(1, 9)]

    assert [len(batch) for batch in run(scenario).batches] == [1, 16]


def test_a_batch_keeps_to_its_tokens_and_requests_stay_whole() -> None:
    async def scenario(batcher: Batcher, model: Model) -> None:
        async with model.busy(batcher):
            tasks = [begin(batcher, ["x" * 100]) for _ in range(5)]
            await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)

    # A text of 100 characters counts as 28 tokens.
    limits = BatchLimits(tokens=60, wait=0, queue_tokens=10_000, queue_requests=10)
    assert [len(batch) for batch in run(scenario, limits).batches] == [1, 2, 2, 1]


def test_a_large_request_is_computed_in_parts_and_lets_small_ones_by() -> None:
    order: list[str] = []

    async def scenario(batcher: Batcher, model: Model) -> None:
        async def noted(name: str, texts: list[str]) -> list[float]:
            found = await ask(batcher, texts)
            order.append(name)
            return found

        async with model.busy(batcher):
            large = asyncio.ensure_future(noted("large", ["x" * i for i in range(50)]))
            await asyncio.sleep(0.01)
            small = asyncio.ensure_future(noted("small", ["y"]))
            await asyncio.sleep(0.01)
        assert await large == [float(i) for i in range(50)]
        assert await small == [1.0]

    limits = BatchLimits(tokens=100, wait=0, queue_tokens=10_000, queue_requests=10)
    assert len(run(scenario, limits).batches) > 4
    assert order == ["small", "large"]


def test_a_crowd_that_was_just_answered_is_waited_for_but_not_longer_than_told() -> None:
    async def scenario(batcher: Batcher, model: Model) -> None:
        async with model.busy(batcher):
            tasks = [begin(batcher, ["x"]) for _ in range(2)]
            await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)
        late = begin(batcher, ["late"])
        await asyncio.sleep(0.02)
        await asyncio.gather(late, ask(batcher, ["later"]))
        start = asyncio.get_running_loop().time()
        await ask(batcher, ["alone"])
        assert asyncio.get_running_loop().time() - start >= 0.25

    limits = BatchLimits(tokens=1000, wait=0.3, queue_tokens=10_000, queue_requests=10)
    batches = run(scenario, limits).batches
    assert batches == [["first"], ["x", "x"], ["late", "later"], ["alone"]]


def test_a_lone_client_never_waits_for_company() -> None:
    async def scenario(batcher: Batcher, _model: Model) -> None:
        start = asyncio.get_running_loop().time()
        for _ in range(5):
            await ask(batcher, ["x"])
        assert asyncio.get_running_loop().time() - start < 0.9

    run(scenario, BatchLimits(tokens=1000, wait=1.0, queue_tokens=10_000, queue_requests=10))


def test_a_crowd_is_computed_side_by_side_and_a_lone_request_with_all_cores() -> None:
    side = Model()

    async def scenario(batcher: Batcher, model: Model) -> None:
        async with model.busy(batcher) as first:
            assert await asyncio.gather(ask(batcher, ["xx"]), ask(batcher, ["x"])) == [[2], [1]]
            assert not first.done()
        assert await first == [5]
        assert await ask(batcher, ["alone"]) == [5]

    whole = run(scenario, BatchLimits(1000, 0.05, 10_000, 10), beside=side, sides=2)
    assert whole.batches == [["first"], ["alone"]]
    assert sorted(text for batch in side.batches for text in batch) == ["x", "xx"]


def test_parts_that_are_computed_side_by_side_are_put_together_in_order() -> None:
    class Uneven(Model):
        def __call__(self, texts: Sequence[str]) -> tuple[Any, list[bool | None]]:
            time.sleep(0.01 * (len(texts[0]) % 3))
            return super().__call__(texts)

    async def scenario(batcher: Batcher, _model: Model) -> None:
        for _ in range(3):
            assert await ask(batcher, ["x" * i for i in range(60)]) == list(range(60))

    run(scenario, BatchLimits(60, 0, 10_000, 10), beside=Uneven(), sides=2)


@pytest.mark.parametrize(
    "limits",
    [
        BatchLimits(tokens=1000, wait=0, queue_tokens=10_000, queue_requests=2),
        BatchLimits(tokens=1000, wait=0, queue_tokens=60, queue_requests=100),
    ],
)
def test_a_full_queue_refuses_with_the_time_to_come_back(limits: BatchLimits) -> None:
    async def scenario(batcher: Batcher, model: Model) -> None:
        async with model.busy(batcher):
            tasks = [begin(batcher, ["x" * 100]) for _ in range(2)]
            await asyncio.sleep(0.01)
            with pytest.raises(RefusedError, match="2 requests wait already") as error:
                await ask(batcher, ["x" * 100])
            assert error.value.status == 429
            assert int(error.value.headers["Retry-After"]) >= 1
        await asyncio.gather(*tasks)

    run(scenario, limits)


def test_a_request_larger_than_the_queue_is_taken_where_nothing_waits() -> None:
    async def scenario(batcher: Batcher, _model: Model) -> None:
        assert len(await ask(batcher, ["x" * 100] * 20)) == 20

    run(scenario, BatchLimits(tokens=60, wait=0, queue_tokens=60, queue_requests=2))


def test_a_request_that_is_too_late_is_told_and_not_computed() -> None:
    async def scenario(batcher: Batcher, model: Model) -> None:
        async with model.busy(batcher) as first:
            with pytest.raises(RefusedError, match="still waited in the queue") as error:
                await ask(batcher, ["late"], seconds=0.05)
            assert error.value.status == 504
        await first
        await ask(batcher, ["next"])

    assert run(scenario).batches == [["first"], ["next"]]


def test_a_request_that_is_too_late_while_it_is_computed_is_told_so() -> None:
    async def scenario(batcher: Batcher, model: Model) -> None:
        model.may.clear()
        with pytest.raises(RefusedError, match="still was being computed"):
            await ask(batcher, ["slow"], seconds=0.05)
        model.may.set()
        assert await ask(batcher, ["next"]) == [4.0]

    run(scenario)


def test_what_nobody_waits_for_any_more_is_not_computed() -> None:
    async def scenario(batcher: Batcher, model: Model) -> None:
        async with model.busy(batcher) as first:
            gone: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            deadline = asyncio.get_running_loop().time() + 10
            leaving = asyncio.ensure_future(batcher.score(["leaves"], deadline, gone))
            cancelled = begin(batcher, ["cancelled"])
            stays = begin(batcher, ["stays"])
            await asyncio.sleep(0.01)
            gone.set_exception(ClientGoneError())
            cancelled.cancel()
            with pytest.raises(ClientGoneError):
                await leaving
            assert batcher.waiting_requests == 1
        await asyncio.gather(first, stays)

    assert run(scenario).batches == [["first"], ["stays"]]


def test_the_rest_of_a_large_request_is_not_computed_once_its_client_is_gone() -> None:
    async def scenario(batcher: Batcher, model: Model) -> None:
        model.may.clear()
        task = begin(batcher, ["x" * 100] * 20)
        await begun(model)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        model.may.set()
        await ask(batcher, ["next"])

    limits = BatchLimits(tokens=60, wait=0, queue_tokens=1000, queue_requests=2)
    assert [len(batch) for batch in run(scenario, limits).batches] == [2, 1]


def test_a_request_that_breaks_the_model_fails_alone() -> None:
    async def scenario(batcher: Batcher, model: Model) -> None:
        async with model.busy(batcher):
            tasks = [begin(batcher, [text]) for text in ("a", "poison", "ab")]
            await asyncio.sleep(0.01)
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert found[0] == [1.0]
        assert isinstance(found[1], DeviceError)
        assert found[2] == [2.0]

    run(scenario)


def test_a_large_request_that_fails_in_its_first_part_is_over() -> None:
    async def scenario(batcher: Batcher, _model: Model) -> None:
        with pytest.raises(DeviceError):
            await ask(batcher, ["poison", *["x" * 100] * 20])
        await ask(batcher, ["next"])

    limits = BatchLimits(tokens=60, wait=0, queue_tokens=1000, queue_requests=2)
    assert [len(batch) for batch in run(scenario, limits).batches] == [3, 1]


def test_at_the_end_what_was_taken_is_computed_and_what_comes_is_refused() -> None:
    async def scenario(batcher: Batcher, model: Model) -> None:
        async with model.busy(batcher) as first:
            taken = begin(batcher, ["taken"])
            await asyncio.sleep(0.01)
            batcher.drain()
            with pytest.raises(RefusedError, match="stopping") as error:
                await ask(batcher, ["new"])
            assert error.value.status == 503
        assert await first == [5.0]
        assert await taken == [5.0]

    run(scenario)


def test_every_batch_is_reported() -> None:
    reports: list[BatchReport] = []

    async def scenario(batcher: Batcher, model: Model) -> None:
        async with model.busy(batcher):
            tasks = [begin(batcher, ["x" * 8] * 3) for _ in range(2)]
            await asyncio.sleep(0.03)
        await asyncio.gather(*tasks)

    run(scenario, report=reports.append)
    assert [(r.requests, r.texts, r.tokens) for r in reports] == [(1, 1, 4), (2, 6, 30)]
    assert reports[1].waited >= 0.03
    assert all(report.seconds >= 0 for report in reports)


def test_event_loops_of_several_threads_share_it() -> None:
    model = Model()
    batcher = Batcher(model, ROOMY)
    found: list[list[float]] = []
    threads = [
        threading.Thread(target=lambda: found.append(asyncio.run(ask(batcher, ["abc"]))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    batcher.close(10)
    assert found == [[3.0]] * 4


def test_an_event_loop_that_ended_does_not_stop_it() -> None:
    model = Model()
    batcher = Batcher(model, ROOMY)
    model.may.clear()

    async def leave() -> None:
        task = begin(batcher, ["x"])
        await begun(model)
        task.cancel()

    asyncio.run(leave())
    model.may.set()
    assert asyncio.run(ask(batcher, ["four"])) == [4.0]
    batcher.close(10)


# --- what fits the deadline ---------------------------------------------------------------------

TOKEN_SECONDS = 0.0001  # of the model below, so 10,000 tokens a second


class Paced(Model):
    """Takes time as a real model does: by the token."""

    def __call__(self, texts: Sequence[str]) -> tuple[Any, list[bool | None]]:
        time.sleep(TOKEN_SECONDS * float(token_ends(texts)[-1]))
        return super().__call__(texts)


def paced(scenario: Callable[[Batcher], Any], rate: float = 1 / TOKEN_SECONDS) -> None:
    limits = BatchLimits(tokens=400, wait=0, queue_tokens=1_000_000, queue_requests=1000)
    batcher = Batcher(Paced(), limits, None, rate)
    try:
        asyncio.run(scenario(batcher))
    finally:
        batcher.close(20)


LARGE = ["x" * 68] * 100  # 20 tokens each: 2,000, which take 0.2 s


def test_of_large_requests_at_once_those_that_fit_are_answered_and_the_rest_refused_at_once() -> (
    None
):
    async def scenario(batcher: Batcher) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()

        async def one() -> tuple[str, float]:
            try:
                await ask(batcher, LARGE, 1.0)
            except RefusedError as error:
                assert error.status == 429
                assert int(error.headers["Retry-After"]) >= 1
                return "refused", loop.time() - start
            return "answered", loop.time() - start

        found = await asyncio.gather(*(one() for _ in range(12)))
        answered = [took for what, took in found if what == "answered"]
        assert len(answered) in (4, 5), found  # 0.9 s of work, and what was done meanwhile
        assert max(answered) < 1.0
        assert max(took for what, took in found if what == "refused") < 0.1
        # One after another, not all of them at the end.
        assert min(answered) < 0.5

    paced(scenario)


def test_what_was_taken_before_the_rate_was_known_is_told_as_soon_as_it_is() -> None:
    async def scenario(batcher: Batcher) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()

        async def one() -> tuple[bool, float]:
            try:
                await ask(batcher, LARGE, 1.5)
            except RefusedError:
                return False, loop.time() - start
            return True, loop.time() - start

        found = await asyncio.gather(*(one() for _ in range(20)))
        answered = [took for well, took in found if well]
        assert len(answered) >= 5, found
        told = [took for well, took in found if not well]
        assert sum(took < 0.6 for took in told) >= 8, found

    paced(scenario, rate=0)


def test_the_time_to_come_back_is_when_the_request_would_fit() -> None:
    async def scenario(batcher: Batcher) -> None:
        first = [begin(batcher, LARGE * 5, 10.0) for _ in range(3)]
        await asyncio.sleep(0.01)
        with pytest.raises(RefusedError) as error:
            await ask(batcher, LARGE, 1.0)  # 3 s of others and 0.2 s of its own; 0.9 s may be had
        assert error.value.headers["Retry-After"] == "3"
        for task in first:
            task.cancel()

    paced(scenario)


def test_what_cannot_be_done_in_time_even_alone_is_refused_with_how_much_can() -> None:
    async def scenario(batcher: Batcher) -> None:
        with pytest.raises(RefusedError, match="send 450 at most") as error:
            await ask(batcher, LARGE * 10, 1.0)
        assert (error.value.status, error.value.reason) == (413, "too_slow")
        assert "Retry-After" not in error.value.headers
        assert len(await ask(batcher, LARGE * 4, 1.0)) == 400

    paced(scenario)


def test_a_rate_that_is_old_does_not_keep_large_requests_out_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ov_emotions.server.batcher._FRESH", 0.2)

    async def scenario(batcher: Batcher) -> None:
        with pytest.raises(RefusedError) as error:
            await ask(batcher, LARGE, 1.0)
        assert error.value.reason == "too_slow"
        await asyncio.sleep(0.3)
        # Tried, for the machine may be faster by now; it is, and that is learnt.
        assert len(await ask(batcher, LARGE, 10.0)) == 100
        assert batcher.rate > 1000
        assert len(await ask(batcher, LARGE, 1.0)) == 100

    paced(scenario, rate=100)


def test_small_requests_pass_a_large_one_only_as_long_as_it_is_in_time() -> None:
    async def scenario(batcher: Batcher) -> None:
        loop = asyncio.get_running_loop()
        large = begin(batcher, LARGE * 3, 0.8)  # 0.6 s of 0.8
        await asyncio.sleep(0.02)
        start, waits = loop.time(), []
        while not large.done():
            await ask(batcher, ["x" * 68] * 5, 5.0)
            waits.append(loop.time() - start)
            start = loop.time()
        assert len(await large) == 300
        assert min(waits) < 0.2, "none got past"

    paced(scenario)


def test_the_rate_is_learnt_of_full_batches_and_not_of_cold_or_small_ones() -> None:
    rate = Rate(1000)
    rate.learn(1000, 10.0)  # models are compiled
    rate.learn(1000, 5.0)
    assert rate.value == 0
    rate.learn(10, 0.01)
    assert rate.value == pytest.approx(1000)
    rate.learn(1000, 0.2)
    assert rate.value == pytest.approx(5000)
    rate.learn(10, 0.1)  # small ones are slower, and say nothing of full ones
    assert rate.value == pytest.approx(5000)
    for _ in range(200):
        rate.learn(1000, 1.0)
    assert rate.value == pytest.approx(1000, rel=0.01)


def test_a_large_request_that_can_no_longer_be_in_time_makes_room_for_others() -> None:
    async def scenario(batcher: Batcher) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        # It was thought to be ten times as fast.
        late = begin(batcher, LARGE * 10, 0.5)
        await asyncio.sleep(0.01)
        other = begin(batcher, LARGE, 5.0)
        with pytest.raises(RefusedError) as error:
            await late
        assert error.value.status == 504
        assert loop.time() - start < 0.4, "it was told before its deadline"
        await other

    paced(scenario, rate=10 / TOKEN_SECONDS)
