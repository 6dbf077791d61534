"""Rows that a method made, and rewriting of many texts."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from random import Random

Report = Callable[[int, int, str], None]
"""Told the units done, their number, and what is being done."""

Rewriter = Callable[[str, Random], str | None]
"""Writes a text anew; None where it cannot be. Must be picklable."""

_CHUNK = 1000


@dataclass(frozen=True)
class NewRows:
    """What a method made.

    :param texts: one a row.
    :param positions: for each the position of the row that it was made from.
    :param not_made: per reason, how often no row could be made.
    :param facts: what else the manifest shall say of the method.
    """

    texts: list[str]
    positions: list[int]
    not_made: dict[str, int] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)


def chance(seed: int, *names: object) -> Random:
    """Return a generator of its own for a thing, so that no other thing's draws matter.

    :param seed: the run's.
    :param names: what the thing is.
    :return: a generator; the same for the same arguments on every machine.
    """
    return Random("/".join(map(str, (seed, *names))))


def chosen(positions: Sequence[int], share: float, seed: int, method: str) -> list[int]:
    """Draw the rows that a method works on.

    :param positions: of all rows it may work on.
    :param share: of them, how many.
    :param seed: the run's.
    :param method: its name.
    :return: some of the positions, in order.
    """
    if share == 1:
        return list(positions)
    return [i for i in positions if chance(seed, method, i).random() < share]


def rewrite(
    rewriter: Rewriter,
    texts: Sequence[str],
    positions: Sequence[int],
    *,
    method: str,
    seed: int,
    copies: int = 1,
    processes: int = 1,
    report: Report = lambda *_: None,
) -> NewRows:
    """Write texts anew.

    :param rewriter: called with each text and a generator of its own.
    :param texts: all texts of the split.
    :param positions: of those to rewrite.
    :param method: its name.
    :param seed: the run's.
    :param copies: how often each is rewritten.
    :param processes: how many work at once.
    :param report: told how far the work is.
    :return: the new rows, in the order of their positions.
    """
    tasks = [(i, copy, texts[i]) for i in positions for copy in range(copies)]
    chunks = [tasks[i : i + _CHUNK] for i in range(0, len(tasks), _CHUNK)]
    work = partial(_rewrite_chunk, rewriter, seed, method)
    written: list[list[str | None]] = []
    if processes == 1 or len(chunks) < 2:
        results = map(work, chunks)
        written = _collect(results, len(tasks), method, report)
    else:
        # Not forked: threads of other libraries would be left in an unknown state.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(processes, len(chunks)), mp_context=context) as pool:
            written = _collect(pool.map(work, chunks), len(tasks), method, report)
    new = list(zip(tasks, chain.from_iterable(written), strict=True))
    made = [(text, task[0]) for task, text in new if text is not None]
    return NewRows(
        [text for text, _ in made], [i for _, i in made], {"unchanged": len(new) - len(made)}
    )


def _collect(
    results: Iterable[list[str | None]], total: int, method: str, report: Report
) -> list[list[str | None]]:
    collected: list[list[str | None]] = []
    done = 0
    for part in results:
        collected.append(part)
        done += len(part)
        report(done, total, method)
    return collected


def _rewrite_chunk(
    rewriter: Rewriter, seed: int, method: str, tasks: list[tuple[int, int, str]]
) -> list[str | None]:
    written = []
    for i, copy, text in tasks:
        new = rewriter(text, chance(seed, method, i, copy))
        written.append(None if new == text else new)
    return written
