"""Rows that a method makes: rewritten or repeated, and screened for what is already there."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from random import Random

from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.data.near_duplicates import NearDuplicateIndex
from ov_emotions.errors import InputError
from ov_emotions.normalize import normalize
from ov_emotions.progress import Progress, Tell, counted

Rewriter = Callable[[str, Random], str | None]
"""Writes a text anew; None where it cannot be. Must be picklable."""

_CHUNK = 1000


@dataclass(frozen=True)
class NewRows:
    """What a method made.

    :param positions: for each text the position of the row that it was made from.
    :param not_made: per reason, how often no row could be made.
    :param facts: what else the manifest shall say of the method.
    """

    texts: list[str]
    positions: list[int]
    not_made: dict[str, int] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)


def chance(seed: int, *names: object) -> Random:
    """Return a generator of its own for what is named, so that nothing else's draws matter.

    It is the same for the same arguments on every machine.
    """
    return Random("/".join(map(str, (seed, *names))))


def chosen(positions: Sequence[int], share: float, seed: int, method: str) -> list[int]:
    """Draw a share of the rows that a method may work on; they keep their order."""
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
    tell: Tell,
) -> NewRows:
    """Write texts anew, each with a generator of its own.

    :param texts: all texts of the split.
    :param positions: of those to rewrite; the new rows have their order.
    :param copies: how often each is rewritten.
    """
    tasks = [(i, copy, texts[i]) for i in positions for copy in range(copies)]
    chunks = [tasks[i : i + _CHUNK] for i in range(0, len(tasks), _CHUNK)]
    work = partial(_rewrite_chunk, rewriter, seed, method)
    rows = NewRows([], [], {"unchanged": 0})
    with ExitStack() as stack:
        results: Iterator[list[str | None]] = map(work, chunks)
        if processes > 1 and len(chunks) > 1:
            # Not forked: threads of other libraries would be left in an unknown state.
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(min(processes, len(chunks)), mp_context=context)
            results = stack.enter_context(pool).map(work, chunks)
        written = counted(chain.from_iterable(results), tell, total=len(tasks), note=method)
        for (i, _, _), text in zip(tasks, written, strict=True):
            if text is None:
                rows.not_made["unchanged"] += 1
            else:
                rows.texts.append(text)
                rows.positions.append(i)
    return rows


def _rewrite_chunk(
    rewriter: Rewriter, seed: int, method: str, tasks: list[tuple[int, int, str]]
) -> list[str | None]:
    written = []
    for i, copy, text in tasks:
        new = rewriter(text, chance(seed, method, i, copy))
        written.append(None if new == text else new)
    return written


def oversample(
    data: LabelledTexts, positions: Sequence[int], factors: Mapping[str, float], seed: int
) -> NewRows:
    """Repeat the rows at some positions.

    :param factors: per label, how many times over its rows shall stand in the split, themselves
        included; a row with several takes the largest. A fraction is the chance of one more.
    :raises InputError: if there is no such label.
    """
    labels = data.label_set.labels
    if unknown := [label for label in factors if label not in labels]:
        raise InputError(f"oversample names {unknown[0]!r}; the labels are {', '.join(labels)}")
    columns = [(data.label_set.index(label), factor) for label, factor in factors.items()]
    repeated: list[int] = []
    for i in positions:
        factor = max((f for column, f in columns if data.targets[i, column] == 1), default=1.0)
        whole = int(factor)
        more = chance(seed, "oversample", i).random() < factor - whole
        repeated += [i] * (whole - 1 + more)
    return NewRows([data.texts[i] for i in repeated], repeated)


REASONS = (
    "empty_after_normalising",
    "equal_to_held_out",
    "near_equal_to_held_out",
    "equal_to_training",
    "near_equal_to_training",
    "equal_to_new",
)


class Screen:
    """Lets through the new rows that neither repeat a held-out text nor a training row.

    A new row may be nearly equal to the row it was made from, and to others that were made; that is
    what most methods are for. It may not be nearly equal to any other row.

    :param held_out: normalised texts of all splits but train.
    :param train: the training rows.
    :param threshold: Jaccard similarity from which two texts count as nearly equal.
    """

    def __init__(self, held_out: list[str], train: LabelledTexts, threshold: float) -> None:
        texts = [normalize(text) for text in train.texts]
        # Rows that were made earlier have no place of their own here, only what they repeat.
        self._place: dict[int, int] = {}
        references = list(held_out)
        for i, text in enumerate(texts):
            if not train.augmentations[i]:
                self._place[i] = len(references)
                references.append(text)
        self._held_out_rows = len(held_out)
        self._held_out = frozenset(held_out)
        self._train = frozenset(texts)
        self._new: set[str] = set()
        self._index = NearDuplicateIndex(references, threshold)

    def keep(self, rows: NewRows, *, repeats: bool, tell: Tell) -> tuple[NewRows, dict[str, int]]:
        """Leave out of a method's rows what repeats; say per reason how many those are.

        :param repeats: whether the rows are to equal training rows, so that only held-out texts
            count.
        """
        texts = [normalize(text) for text in rows.texts]
        own = [self._place[i] for i in rows.positions]
        near = self._index.find(
            texts, own, lambda done, n: tell(Progress(done, n, note="near duplicates"))
        )
        dropped = dict.fromkeys(REASONS, 0)
        kept: list[int] = []
        for i, (text, match) in enumerate(zip(texts, near, strict=True)):
            if reason := self._reason(text, match, repeats):
                dropped[reason] += 1
                continue
            kept.append(i)
            if not repeats:
                self._new.add(text)
        left = NewRows([rows.texts[i] for i in kept], [rows.positions[i] for i in kept])
        return left, dropped

    def _reason(self, text: str, match: int | None, repeats: bool) -> str | None:
        if not text:
            return "empty_after_normalising"
        if text in self._held_out:
            return "equal_to_held_out"
        if match is not None and match < self._held_out_rows:
            return "near_equal_to_held_out"
        if repeats:
            return None
        if text in self._train:
            return "equal_to_training"
        if match is not None:
            return "near_equal_to_training"
        return "equal_to_new" if text in self._new else None
