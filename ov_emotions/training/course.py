"""The course of a run: what its folder holds, how far it is, what it must agree with to go on."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import logging
import math
import shutil
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState
from typing_extensions import override

from ov_emotions.errors import TrainingError
from ov_emotions.files import write_text
from ov_emotions.metrics import Scores
from ov_emotions.progress import Progress, Tell
from ov_emotions.schema import Schema, read_json, write_json
from ov_emotions.training.examples import LengthBatches
from ov_emotions.training.settings import BEST_NAME, RunConfig

logger = logging.getLogger(__name__)

RUN_NAME, LOCK_NAME, STATE_NAME = "run.json", ".lock", "trainer_state.json"
HISTORY_JSON, HISTORY_CSV = "history.json", "history.csv"
SAVED = "checkpoint-"
"""How the names of the folders begin in which the Trainer saves its state."""
_NOT_OF_THE_MODEL = ("teacher_cache", "track", "tracking_uri", "experiment", "run_name")
"""Settings that may change when a run goes on: they do not touch what it learns."""
_SAVE_EVERY_SECONDS = 120.0
_MEAN_OVER = 100
_COLUMNS = ("epoch", "step", "loss", "weighted_f1", "macro_f1", "unparseable_share")

Found = TypeVar("Found")
"""What an evaluation finds beside the scores, for the best weights to be kept with."""


@dataclass(frozen=True)
class Evaluation(Generic[Found]):
    """How good the model in its present state is on the selection part.

    :param scores: there.
    :param value: what the best weights have most of.
    :param found: what is kept with them.
    :param also: further numbers for the history.
    """

    scores: Scores
    value: float
    found: Found
    also: Mapping[str, float] = field(default_factory=dict)


class RunState(Schema, frozen=True, kw_only=True):
    """What run.json holds: what a run that goes on must agree with.

    :param settings: of the run.
    :param data: hash of the prepared data's manifest.
    :param processes: that share the run.
    :param finished: whether it has ended.
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


def first_line(error: BaseException) -> str:
    """Return the beginning of an error's message, or its kind where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def run_folder(output: Path, facts_name: str) -> Iterator[None]:
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


def check_resumable(output: Path, state: RunState) -> bool:
    """Compare a run with the one whose folder it goes on in.

    :raises TrainingError: if it belongs to a run with other settings, which are named, or data.
    """
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


class Course(TrainerCallback, ExportableState):
    """How far a run has come; says when to score, to save and to stop."""

    def __init__(self, config: RunConfig, batches: LengthBatches, tell: Tell | None) -> None:
        self.batches = batches
        self.tell = tell
        self.patience = config.patience
        accumulated = getattr(config, "accumulation_steps", 1)
        self.steps_per_epoch = math.ceil(len(batches) / accumulated)
        self.total = self.steps_per_epoch * config.epochs
        self.every = math.ceil(self.steps_per_epoch / config.evaluations_per_epoch)
        self.best, self.since_best = -1.0, 0
        self.history: list[dict[str, Any]] = []
        self.losses: deque[float] = deque(maxlen=_MEAN_OVER)
        self.step_loss = 0.0
        self._saved = time.monotonic()

    def state(self) -> dict[str, Any]:
        """Return what the Trainer saves with its own state."""
        names = ("best", "since_best", "history")
        kept = {name: getattr(self, name) for name in names} | {"losses": list(self.losses)}
        return {"args": {}, "attributes": kept}

    @override
    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Go on from what was saved."""
        kept = state.stateful_callbacks.get(type(self).__name__, {}).get("attributes", {})
        if kept:
            self.best, self.since_best = kept["best"], kept["since_best"]
            # The Trainer sorts what it saves; the table keeps its columns' order.
            self.history = [{k: row[k] for k in _COLUMNS if k in row} for row in kept["history"]]
            self.losses.extend(kept["losses"])

    @override
    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Choose the epoch's order of rows."""
        self.batches.set_epoch(state.global_step // self.steps_per_epoch)

    @override
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take in a step's loss; say what comes next."""
        self.losses.append(self.step_loss)
        self.step_loss = 0.0
        in_epoch = state.global_step % self.steps_per_epoch
        control.should_evaluate = in_epoch == 0 or in_epoch % self.every == 0
        due = time.monotonic() - self._saved > _SAVE_EVERY_SECONDS
        control.should_save = due or (in_epoch == 0 and state.global_step < self.total)
        note = f"loss {self.mean_loss:.4f}"
        if self.history:
            latest = self.history[-1]
            note += f"  F1 {latest['weighted_f1']:.4f}/{latest['macro_f1']:.4f}"
        if self.tell:
            self.tell(Progress(state.global_step, self.total, "steps", note))

    @override
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the time."""
        self._saved = time.monotonic()

    @property
    def mean_loss(self) -> float:
        """Of the latest steps."""
        return float(np.mean(self.losses))

    def take_in(self, evaluation: Evaluation[Any], step: int) -> bool:
        """Add an evaluation to the history."""
        scores = evaluation.scores
        self.history.append(
            {
                "epoch": (step - 1) // self.steps_per_epoch,
                "step": step,
                "loss": round(self.mean_loss, 5),
                "weighted_f1": round(scores.weighted_f1, 5),
                "macro_f1": round(scores.macro_f1, 5),
                **{name: round(number, 5) for name, number in evaluation.also.items()},
            }
        )
        logger.info("%s", self.history[-1])
        better = evaluation.value > self.best
        self.best, self.since_best = (
            (evaluation.value, 0) if better else (self.best, self.since_best + 1)
        )
        return better


class WeightAverage(TrainerCallback):
    """An exponential moving average of a model's weights; its decay is reached as steps go by."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model = model
        self._decay = decay
        self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @override
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take in the weights after a step."""
        # Early on the average would be mostly the start; let its memory grow with the steps.
        decay = min(self._decay, (1 + state.global_step) / (10 + state.global_step))
        with torch.no_grad():
            for name, value in self._model.state_dict().items():
                if value.is_floating_point():
                    self.weights[name].lerp_(value, 1 - decay)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Go on from saved weights."""
        for name, value in weights.items():
            self.weights[name].copy_(value)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averaged weights into the model for the length of a block."""
        own = {k: v.detach().clone() for k, v in self._model.state_dict().items()}
        self._model.load_state_dict(self.weights)
        try:
            yield
        finally:
            self._model.load_state_dict(own)


def write_history(output: Path, history: list[dict[str, Any]]) -> None:
    """Write one row an evaluation, as JSON and as CSV."""
    with writing(output / HISTORY_JSON):
        write_json(output / HISTORY_JSON, history)
        table = io.StringIO()
        writer = csv.DictWriter(table, list(history[0]) if history else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        write_text(output / HISTORY_CSV, table.getvalue())
