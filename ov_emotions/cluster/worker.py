"""One part done: read, classified, written beside the columns of its source, moved into place."""

from __future__ import annotations

import os
import platform
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec import structs

from ov_emotions.bundle import Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.cluster.output import Output
from ov_emotions.cluster.plan import Part, Plan
from ov_emotions.errors import ClusterError, DataError, OvEmotionsError
from ov_emotions.files import sha256_file
from ov_emotions.manifest import MANIFEST_NAME
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
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0ov-emotions-processors-{'-'.join(map(str, mine))}")
        except OSError:
            claim.close()
            continue
        claim.detach()  # open as long as the process lives
        for task in Path("/proc/self/task").iterdir():
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.sched_setaffinity(int(task.name), mine)
        return mine
    return ()


@dataclass(frozen=True)
class Outcome:
    """What became of a part.

    :param rows: in it.
    :param host: where.
    :param process: which.
    :param bad: rows that were set aside.
    :param error: why it was not done; empty if it was.
    :param fatal: whether the other parts would fare no better.
    """

    rows: int
    host: str
    process: int
    bad: int = 0
    error: str = ""
    fatal: bool = False


class PartWorker:
    """Does parts with one classifier, which is loaded at the first."""

    def __init__(self, plan: Plan, output: Output, threads: int) -> None:
        self.plan = plan
        self.output = output
        self.threads = threads
        self._classifier: EmotionClassifier | None = None

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Do a part as Ray Data asks for it: a table with one row in, a table with one row out."""
        (number,) = batch["part"].tolist()
        outcome = self.do(self.plan.parts[number])
        return {name: [value] for name, value in asdict(outcome).items()}

    def do(self, part: Part) -> Outcome:
        """Do a part, and tell of what prevented it rather than raise."""
        facts: dict[str, Any]
        try:
            if not self.output.begin(part):
                first, last = part.start.row + 1, part.start.row + part.rows
                raise DataError(
                    f"the process that classified rows {first} to {last} of {part.path} died "
                    "every time"
                )
            # It stands already where the process died between its commit and its answer.
            done = self.output.is_done(part)
            facts = {"bad": self.output.count_bad(part) if done else self._do(part)}
        except DataError as error:
            facts = {"error": str(error)}
        except (OvEmotionsError, OSError) as error:
            facts = {"error": str(error), "fatal": True}
        return Outcome(part.rows, platform.node(), os.getpid(), **facts)

    def _do(self, part: Part) -> int:
        stream = partial(self._loaded().stream, chunk_size=CHUNK_ROWS)
        settings = self.plan.settings
        table = open_table(Path(self.plan.source, part.path), settings.reading)
        bad: list[BadRow] = []
        good = 0

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
                for row, prediction in answered(rows, stream, bad.append):
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
