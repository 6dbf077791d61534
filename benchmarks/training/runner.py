"""Runs of the plan, each in a process of its own; one that is done is not done again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.training.plan import Change, Plan
from ov_emotions.data.dataset import PreparedData
from ov_emotions.files import atomic_path, write_json

RESULT, PROBABILITIES, ERRORS = "result.json", "validation.npy", "errors.txt"


@dataclass(frozen=True)
class Place:
    """Where things lie.

    :param plan: the plan's file.
    :param data: prepared folder.
    :param work: folder that the runs are kept in.
    """

    plan: Path
    data: Path
    work: Path

    def run(self, change: Change, seed: int) -> Path:
        """Name the folder of one run."""
        return self.work / "runs" / f"{change.name}-{seed}"

    def prepared(self, change: Change) -> Path:
        """Name the prepared folder that a row learns from."""
        return self.work / "data" / change.name if change.augment else self.data


def run_one(place: Place, plan: Plan, change: Change, seed: int) -> None:
    """Train, and keep the minutes and what the model says of validation.

    :param place: where.
    :param plan: the plan.
    :param change: the row.
    :param seed: of the run.
    """
    from ov_emotions.training.run import BEST_NAME, train
    from ov_emotions.training.settings import TrainConfig
    from ov_emotions.training.teachers import ask_checkpoint

    folder = place.run(change, seed)
    config: TrainConfig = plan.config(change, seed, place.prepared(change), folder)
    started = time.perf_counter()
    facts = train(config)
    minutes = (time.perf_counter() - started) / 60
    validation = PreparedData.open(place.data).split("validation")
    probabilities = ask_checkpoint(folder / BEST_NAME, validation.texts, config)
    with atomic_path(folder / PROBABILITIES) as path, path.open("wb") as file:
        np.save(file, probabilities)
    write_json(
        folder / RESULT,
        {"minutes": round(minutes, 2), "rows": facts.training_rows, "steps": facts.step},
    )


def augment(place: Place, change: Change) -> None:
    """Make the prepared folder with a row's augmented texts, if it has some and there is none.

    :param place: where.
    :param change: the row.
    """
    folder = place.prepared(change)
    if not change.augment or folder.is_dir():
        return
    command = [sys.executable, "-m", "ov_emotions", "data", "augment", str(place.data)]
    subprocess.run([*command, "--output", str(folder), *change.augment], check=True)


def run_all(place: Place, plan: Plan, jobs: int) -> None:
    """Do every run that is not done yet.

    :param place: where.
    :param plan: the plan.
    :param jobs: runs at a time; the cores are shared out evenly.
    """
    for change in plan.changes:
        augment(place, change)
    todo = [
        (change, seed)
        for change in plan.rows
        for seed in plan.seeds
        if not (place.run(change, seed) / RESULT).is_file()
    ]
    threads = max(1, len(os.sched_getaffinity(0)) // jobs)

    def work(item: tuple[Change, int]) -> None:
        change, seed = item
        command = [sys.executable, "-m", "benchmarks.training", "one", change.name, str(seed)]
        for flag, path in (("plan", place.plan), ("data", place.data), ("work", place.work)):
            command += [f"--{flag}", str(path)]
        folder = place.run(change, seed)
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            command,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            (folder / ERRORS).write_text(done.stderr, encoding="utf-8")
        finished = sum((place.run(c, s) / RESULT).is_file() for c, s in todo)
        state = f"failed, see {folder / ERRORS}" if done.returncode else "done"
        print(f"{change.name}, seed {seed}: {state} ({finished} of {len(todo)})", file=sys.stderr)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(work, todo))


def read_run(place: Place, change: Change, seed: int) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """Read what a run left.

    :param place: where.
    :param change: the row.
    :param seed: of the run.
    :return: its result, and its probabilities on validation.
    """
    folder = place.run(change, seed)
    result: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    return result, np.load(folder / PROBABILITIES)
