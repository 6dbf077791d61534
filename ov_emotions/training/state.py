"""What a run leaves in its folder so that it can go on: the state file, the lock, whole writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError

from ov_emotions.errors import TrainingError
from ov_emotions.files import atomic_path
from ov_emotions.training.checkpoint import CHECKPOINT_NAME

STATE_NAME = "state.pt"
BEST_NAME = "best"
LOCK_NAME = ".lock"


@dataclass
class Progress:
    """How far a run is; part of the resume state."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float = -1.0
    since_best: int = 0
    finished: bool = False
    losses: list[float] = field(default_factory=list)
    """Of the latest steps; their mean is what is reported."""
    history: list[dict[str, Any]] = field(default_factory=list)


def first_line(error: BaseException) -> str:
    """Return the beginning of an error's message, or its kind where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what a write can fail with, a full disk above all, into one sentence.

    :param path: what is written, through `atomic_path` or `atomic_folder`.
    :raises TrainingError: if it fails; what stood there before is intact.
    """
    try:
        yield
    # A full disk is an OSError of Python's own files, but not of torch's and safetensors' writers.
    except (OSError, RuntimeError, SafetensorError) as error:
        # Torch fails once more when it closes the file; the first error says why.
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        raise TrainingError(
            f"{path} could not be written ({first_line(cause)}); what was there before is "
            "intact. Make room, and give the same command again to go on"
        ) from error


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Replace the state file as a whole.

    :param path: the file.
    :param state: tensors and plain values.
    :raises TrainingError: if it cannot be written; the earlier one is intact.
    """
    with writing(path), atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(state, file)


def read_state(path: Path) -> dict[str, Any]:
    """Read what `write_state` wrote.

    :param path: the file.
    :return: the state, its tensors on the CPU.
    :raises TrainingError: if it is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise TypeError("it holds no state")
    except Exception as error:  # torch raises many kinds for a damaged file
        raise TrainingError(
            f"{path} cannot be read ({first_line(error)}); delete it to start the run "
            f"anew. The best checkpoint so far, if there is one, is intact in {path.parent}"
        ) from error
    return state


@contextmanager
def run_folder(output: Path, facts_name: str = CHECKPOINT_NAME) -> Iterator[None]:
    """Hold a run's folder, and clear what a killed run left half-written there.

    :param output: the folder; made if need be.
    :param facts_name: the file of a best checkpoint that is written last, with its `step`.
    :raises TrainingError: if another process trains there.
    """
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
        _settle(output, facts_name)
        yield
    finally:
        lock.release()


def _settle(output: Path, facts_name: str) -> None:
    """Put back a best checkpoint that a kill caught between its two renames; delete the rest."""
    best = output / BEST_NAME
    left = list(output.glob(f".{BEST_NAME}.*.tmp"))
    # The facts are written last: a folder that has them is whole.
    whole = [folder / facts_name for folder in left if (folder / facts_name).is_file()]
    if whole and not best.exists():
        max(whole, key=_step).parent.replace(best)
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    for file in output.glob(".*.tmp"):
        file.unlink(missing_ok=True)


def _step(facts: Path) -> int:
    try:
        return int(json.loads(facts.read_text(encoding="utf-8"))["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return -1
