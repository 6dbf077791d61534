"""A run's folder: what is written there, by one run at a time, and what a run needs to go on."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from safetensors import SafetensorError
from transformers import TrainingArguments

from ov_emotions.data.dataset import MANIFEST_NAME
from ov_emotions.errors import TrainingError, first_line
from ov_emotions.files import sha256_file, write_text
from ov_emotions.schema import Schema, read_json, write_json
from ov_emotions.training.settings import BEST_NAME, CONFIG_NAME, RunConfig, settings_text

RUN_NAME, LOCK_NAME, STATE_NAME = "run.json", ".lock", "trainer_state.json"
HISTORY_JSON, HISTORY_CSV = "history.json", "history.csv"
SAVED = "checkpoint-"
"""How the names of the folders begin in which the Trainer saves its state."""
_NOT_OF_THE_MODEL = ("teacher_cache", "track", "tracking_uri", "experiment", "run_name")
"""Settings that may change when a run goes on: they do not touch what it learns."""


class RunState(Schema, frozen=True, kw_only=True):
    """What run.json holds: what a run that goes on must agree with.

    :param data: hash of the prepared data's manifest.
    :param processes: that share the run.
    """

    schema: Literal[1] = 1
    settings: dict[str, Any]
    data: str
    processes: int
    finished: bool = False


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what a write can fail with, a full disk above all, into one sentence.

    :raises TrainingError: if it fails; what stood there before is intact.
    """
    try:
        yield
    # A full disk is an OSError of Python's own files, but not of torch's and safetensors' writers.
    except (OSError, RuntimeError, SafetensorError) as error:
        # Torch fails once more when it closes the file; the first error says why.
        cause: BaseException = error
        while cause.__context__ is not None:
            cause = cause.__context__
        folder = next(parent for parent in path.absolute().parents if parent.is_dir())
        full = not isinstance(cause, OSError) and shutil.disk_usage(folder).free < 1 << 20
        why = "no space left on the device" if full else first_line(cause)
        raise TrainingError(
            f"{path} could not be written ({why}); what was there before is "
            "intact. Make room, and give the same command again to go on"
        ) from error


@contextlib.contextmanager
def run_folder(config: RunConfig, args: TrainingArguments, facts_name: str) -> Iterator[bool]:
    """Hold a run's folder, and clear what a killed run left half-written there.

    Of several processes the one that writes does; the others begin when it has.

    :param facts_name: the file of a best checkpoint that is written last, with its `step`.
    :return: yields whether the run has ended already.
    :raises TrainingError: if another process trains there, or the folder belongs to a run with
        other settings, which are named, or data.
    """
    with contextlib.ExitStack() as held:
        if args.should_save:
            held.enter_context(_locked(config.output))
            _settle(config.output, facts_name)
        wait(args)
        yield _has_ended(config.output, _state(config, args))


@contextlib.contextmanager
def _locked(output: Path) -> Iterator[None]:
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    lock = FileLock(output / LOCK_NAME, timeout=0)
    with writing(output / LOCK_NAME):
        try:
            lock.acquire()
        except Timeout:
            raise TrainingError(
                f"another process trains in {output}; wait for it, or choose another output folder"
            ) from None
    try:
        yield
    finally:
        lock.release()


def _settle(output: Path, facts_name: str) -> None:
    """Put back a best checkpoint that a kill caught between its two renames; delete the rest."""

    def step(folder: Path) -> int:
        try:
            return int(json.loads((folder / facts_name).read_text(encoding="utf-8"))["step"])
        except (OSError, ValueError, KeyError, TypeError):
            return -1

    best = output / BEST_NAME
    left = list(output.glob(f".{BEST_NAME}.*.tmp"))
    # The facts are written last: a folder that has them is whole.
    whole = [folder for folder in left if step(folder) >= 0]
    if whole and not best.exists():
        max(whole, key=step).replace(best)
    for folder in (*left, *(f for f in output.glob(f"{SAVED}*") if not _is_whole(f))):
        shutil.rmtree(folder, ignore_errors=True)
    for file in output.glob(".*.tmp"):
        file.unlink(missing_ok=True)


def _is_whole(saved: Path) -> bool:
    try:  # the Trainer writes this file last
        return isinstance(json.loads((saved / STATE_NAME).read_text(encoding="utf-8")), dict)
    except (OSError, ValueError):
        return False


def last_saved(output: Path) -> Path | None:
    """Return the folder of the last state that was saved whole."""
    folders = [folder for folder in output.glob(f"{SAVED}*") if _is_whole(folder)]
    return max(folders, key=lambda f: int(f.name.removeprefix(SAVED)), default=None)


def _state(config: RunConfig, args: TrainingArguments) -> RunState:
    return RunState(
        settings=config.to_dict(),
        data=sha256_file(config.data / MANIFEST_NAME),
        processes=args.world_size,
    )


def _has_ended(output: Path, state: RunState) -> bool:
    """Compare a run with the one whose folder it goes on in."""
    if (output / "state.pt").is_file():
        raise TrainingError(
            f"{output} holds a run of an older version of this library, which cannot go on; choose "
            "another output folder, or delete state.pt to start it anew"
        )
    path = output / RUN_NAME
    if not path.is_file():
        return False
    there = read_json(path, RunState, TrainingError)
    names = sorted((there.settings.keys() | state.settings.keys()) - set(_NOT_OF_THE_MODEL))
    pairs = [(name, there.settings.get(name), state.settings.get(name)) for name in names]
    what = ""
    if other := [f"{name} was {old!r}, is {new!r}" for name, old, new in pairs if old != new]:
        what = f"with other settings ({'; '.join(other)})"
    elif there.data != state.data:
        what = f"on other data than {state.settings['data']} now holds"
    elif there.processes != state.processes:
        what = f"of {there.processes} processes, and there are {state.processes}"
    if what:
        raise TrainingError(f"{output} belongs to a run {what}; choose another output folder")
    return there.finished


def begin(config: RunConfig, args: TrainingArguments) -> None:
    """Write the resolved settings, and what a run that goes on must agree with."""
    if args.should_save:
        with writing(config.output / CONFIG_NAME):
            write_text(config.output / CONFIG_NAME, settings_text(config))
            write_json(config.output / RUN_NAME, _state(config, args))


def finish(config: RunConfig, args: TrainingArguments) -> None:
    """Note that a run has ended, when all its processes have."""
    wait(args)
    if args.should_save:
        path = config.output / RUN_NAME
        with writing(path):
            write_json(path, read_json(path, RunState, TrainingError).replace(finished=True))


def wait(args: TrainingArguments) -> None:
    """Wait until all processes have come this far."""
    state: Any = args.distributed_state
    if args.world_size > 1:
        state.wait_for_everyone()


def write_history(output: Path, history: list[dict[str, Any]]) -> None:
    """Write one row an evaluation, as JSON and as CSV."""
    with writing(output / HISTORY_JSON):
        write_json(output / HISTORY_JSON, history)
        table = io.StringIO()
        writer = csv.DictWriter(table, list(history[0]) if history else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        write_text(output / HISTORY_CSV, table.getvalue())
