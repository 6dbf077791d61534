"""The output folder: who may write there, which parts stand, and how one comes to stand.

    part-000000.parquet     a part that is done
    _bad/part-000000.jsonl  its rows that were set aside: file, row, reason
    _plan.json              the plan
    _SUCCESS                the summary; there when every part is
    _work.XXXXXXXX/         what one run of the command has under way

Files are written in the folder of their run and moved into place. A run that takes over deletes the
folders of those before it, so that an actor which outlived its run cannot move anything any more.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ov_emotions.cluster.plan import Part
from ov_emotions.errors import DataError
from ov_emotions.files import folder_lock, write_text
from ov_emotions.texts import BadRow

PLAN_NAME = "_plan.json"
SUCCESS_NAME = "_SUCCESS"
SCRATCH_PREFIX = "ov-emotions-ray-"

_BAD = "_bad"
_SCRATCH_NAME = "scratch"
_OURS = re.compile(r"part-\d{6,}\.\w+|_bad|_plan\.json|_SUCCESS|_work\.[0-9a-f]{8}|\..*\.tmp")
_ATTEMPTS = 4


@dataclass(frozen=True)
class Output:
    """An output folder, as a run of the command or one of its actors sees it.

    :param folder: absolute.
    :param run: names the run.
    """

    folder: Path
    run: str

    @property
    def work(self) -> Path:
        """Where this run writes what is not whole yet."""
        return self.folder / f"_work.{self.run}"

    def is_done(self, part: Part) -> bool:
        """Tell whether a part stands."""
        return (self.folder / part.name).is_file()

    def count_bad(self, part: Part) -> int:
        """Count the rows of a part that stands which were set aside."""
        path = self.folder / _BAD / part.bad_name
        if not path.is_file():
            return 0
        with path.open("rb") as file:
            return sum(1 for _ in file)

    def begin(self, part: Part) -> bool:
        """Note that a part is begun; False after several tries that took their processes down."""
        for attempt in range(_ATTEMPTS):
            try:
                (self.work / f"{part.number}.{attempt}").touch(exist_ok=False)
            except FileExistsError:
                continue
            return True
        return False

    def temporary(self, part: Part) -> Path:
        """Name a new file to write a part to; its extension is that of the part."""
        return self.work / f"{secrets.token_hex(8)}.{part.name}"

    def commit(self, part: Part, written: Path, bad: Sequence[BadRow]) -> None:
        """Move a part into place, its bad rows first: when the part stands, they do.

        :raises OSError: if another run has taken over.
        """
        if bad:
            lines = written.with_suffix(".bad")
            with lines.open("w", encoding="utf-8", newline="\n") as file:
                for row in bad:
                    value = {"file": part.path, "row": row.row, "reason": row.reason}
                    # ASCII, because a reason may quote what is no UTF-8.
                    file.write(json.dumps(value) + "\n")
            (self.folder / _BAD).mkdir(exist_ok=True)
            lines.replace(self.folder / _BAD / part.bad_name)
        written.replace(self.folder / part.name)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Make a folder for a cluster's own files, which the next run deletes if we are killed.

        Its path is short, because sockets lie in it.
        """
        place = tempfile.gettempdir()
        scratch = tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=place if len(place) < 24 else "/tmp")  # noqa: S108, sockets' paths hold 107 bytes
        try:
            write_text(self.work / _SCRATCH_NAME, scratch)
            yield Path(scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def take_output(folder: Path, source: Path, *, restart: bool) -> Iterator[Output]:
    """Take an output folder for this run alone, and clear what earlier runs left half-done.

    :raises DataError: if it holds other things, cannot be written, or another run has it.
    """
    folder = folder.resolve()
    root = source.resolve()
    if folder == root or root in folder.parents:
        raise DataError(f"{folder} lies in the input; name a folder outside of it")
    try:
        if folder.exists() and not folder.is_dir():
            raise DataError(f"{folder} is a file; name a folder to write")
        folder.mkdir(parents=True, exist_ok=True)
        foreign = sorted(p.name for p in folder.iterdir() if not _OURS.fullmatch(p.name))
        if foreign:
            raise DataError(f"{folder} holds {foreign[0]!r} already; name a new or empty folder")
        with folder_lock(folder) as ours:
            if not ours:
                raise DataError(f"another classify-many writes to {folder}; wait for it")
            _clear(folder, everything=restart)
            output = Output(folder, secrets.token_hex(4))
            output.work.mkdir()
            try:
                yield output
            finally:
                shutil.rmtree(output.work, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"{error.filename or folder} cannot be read or written: {error.strerror or error}"
        ) from error


def _clear(folder: Path, *, everything: bool) -> None:
    for work in folder.glob("_work.*"):
        _clear_scratch(work)
        shutil.rmtree(work)
    for left in folder.glob(".*.tmp"):
        left.unlink(missing_ok=True)
    if everything:
        # The plan last: without it, parts that stand would belong to nothing.
        for path in sorted(folder.iterdir(), key=lambda path: path.name == PLAN_NAME):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif not (folder / PLAN_NAME).is_file() and any(folder.iterdir()):
        raise DataError(f"{folder} holds parts and no {PLAN_NAME}; --restart deletes them")


def _clear_scratch(work: Path) -> None:
    try:
        scratch = Path((work / _SCRATCH_NAME).read_text(encoding="utf-8"))
    except OSError:
        return
    if scratch.name.startswith(SCRATCH_PREFIX):
        shutil.rmtree(scratch, ignore_errors=True)
