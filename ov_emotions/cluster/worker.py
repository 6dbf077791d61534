"""One part done: read, classified, written beside the columns of its source, moved into place."""

from __future__ import annotations

import os
import platform
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec import structs

from ov_emotions.bundle import MANIFEST_NAME, Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.cluster.output import Output
from ov_emotions.cluster.plan import Part, Plan
from ov_emotions.errors import ClusterError, DataError, OvEmotionsError
from ov_emotions.files import sha256_file
from ov_emotions.prediction import Prediction
from ov_emotions.system import processors_apart
from ov_emotions.texts import BadRow, answered, open_table
from ov_emotions.texts.writing import free, open_writer

CHUNK_ROWS = 1024
"""Rows that are classified together; a part of what the answers depend on."""


def pin_threads(threads: int) -> tuple[int, ...]:
    """Keep all threads of this process, and those to come, to processors that no sibling has.

    Processes of this function on a machine share its processors out among themselves, without a
    file: each holds an abstract socket a share, which the kernel takes back when the process ends.
    """
    if sys.platform != "linux":
        return ()
    usable = processors_apart()
    for share in range(len(usable) // threads):
        mine = tuple(sorted(usable[share * threads : (share + 1) * threads]))
        if _claim("-".join(map(str, mine))):
            _set_affinity(mine)
            return mine
    return ()


def _claim(share: str) -> bool:
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0ov-emotions-processors-{share}")
    except OSError:
        claim.close()
        return False
    claim.detach()  # open as long as the process lives
    return True


def _set_affinity(processors: tuple[int, ...]) -> None:
    for task in Path("/proc/self/task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), processors)
        except ProcessLookupError:  # it has ended meanwhile
            continue


@dataclass(frozen=True)
class Outcome:
    """What became of a part.

    :param part: its number.
    :param rows: in it.
    :param bad: of them, set aside.
    :param seconds: it took.
    :param host: where.
    :param process: which.
    :param error: why it was not done; empty if it was.
    :param fatal: whether the other parts would fare no better.
    """

    part: int
    rows: int = 0
    bad: int = 0
    seconds: float = 0.0
    host: str = ""
    process: int = 0
    error: str = ""
    fatal: bool = False


class PartWorker:
    """Does parts with one classifier, which is loaded at the first."""

    def __init__(self, plan: Plan, output: Output, threads: int) -> None:
        self.plan = plan
        self.output = output
        self.threads = threads
        self._classifier: EmotionClassifier | None = None

    def __call__(self, part: Part) -> Outcome:
        """Do a part, and tell of what prevented it rather than raise."""
        started = time.perf_counter()
        try:
            if not self.output.begin(part):
                raise DataError(f"the process that classified {_named(part)} died every time")
            # It stands already where the process died between its commit and its answer.
            done = self.output.is_done(part)
            bad = self.output.count_bad(part) if done else self._do(part)
        except DataError as error:
            return self._outcome(part, error=str(error))
        except (OvEmotionsError, OSError) as error:
            return self._outcome(part, error=str(error), fatal=True)
        return self._outcome(part, bad=bad, seconds=time.perf_counter() - started)

    def _outcome(self, part: Part, **facts: Any) -> Outcome:
        return Outcome(part.number, part.rows, host=platform.node(), process=os.getpid(), **facts)

    def _do(self, part: Part) -> int:
        classifier = self._loaded()
        settings = self.plan.settings
        table = open_table(Path(self.plan.source, part.path), settings.reading)
        bad: list[BadRow] = []
        good = 0

        def classify(texts: Iterator[str]) -> Iterator[Prediction]:
            return classifier.stream(texts, chunk_size=CHUNK_ROWS)

        added = settings.added()
        names = added.columns(cells=part.format != "jsonl")
        rows = (
            row if isinstance(row, BadRow) else structs.replace(row, source=part.path)
            for found in islice(table.rows(start=part.start), part.rows)
            for row in [free(found, names)]
        )
        temporary = self.output.temporary(part)
        try:
            with (
                temporary.open("wb") as file,
                open_writer(file, part.format, [table], added) as writer,
            ):
                for row, prediction in answered(rows, classify, bad.append):
                    writer.write(row, prediction)
                    good += 1
            if good + len(bad) != part.rows:
                raise DataError(
                    f"{table.path} has changed since the plan was made: {good + len(bad):,} rows "
                    f"where {part.rows:,} were"
                )
            self.output.commit(part, temporary, bad)
        finally:
            temporary.unlink(missing_ok=True)
        return len(bad)

    def _loaded(self) -> EmotionClassifier:
        if self._classifier is None:
            # Before anything starts threads of its own.
            pin_threads(self.threads)
            settings = self.plan.settings
            bundle = Bundle.load(settings.model)
            if sha256_file(bundle.folder / MANIFEST_NAME) != settings.model_sha256:
                raise ClusterError(
                    f"{platform.node()} has another model under the name {settings.model}"
                )
            self._classifier = EmotionClassifier(
                bundle,
                threads=self.threads,
                precision=settings.precision,
                thresholds=settings.thresholds,
                long_texts="truncate" if settings.long_texts == "truncate" else "window",
            )
            # All its models at once, so that a row's digits depend on nothing that came before.
            self._classifier.warm_up()
        return self._classifier


def _named(part: Part) -> str:
    first = part.start.row + 1
    return f"rows {first} to {part.start.row + part.rows} of {part.path}"


class BatchWorker(PartWorker):
    """The same as Ray Data calls it: a table with one row in, a table with one row out."""

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:  # type: ignore[override]
        """Do the part of a batch."""
        (number,) = batch["part"].tolist()
        outcome = super().__call__(self.plan.parts[number])
        return {name: [value] for name, value in asdict(outcome).items()}
