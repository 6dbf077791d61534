"""What is trained: a base recipe, and changes to it, each by itself, over several seeds.

Every run is a process of its own; one that is done is not done again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import say
from ov_emotions.data.dataset import PreparedData
from ov_emotions.errors import TrainingError
from ov_emotions.files import atomic_path
from ov_emotions.schema import field_values, write_json
from ov_emotions.training.settings import TrainConfig

RESULT, PROBABILITIES, ERRORS = "result.json", "validation.npy", "errors.txt"


@dataclass(frozen=True)
class Change:
    """One row of the leaderboard.

    :param name: unique in the plan.
    :param group: what kind of change it is; rows of a group stand together.
    :param about: what it does, for readers.
    :param settings: fields of `TrainConfig` that differ from the base.
    :param augment: arguments of `ov-emotions data augment`, whose rows it learns from too.
    :param data: name of a prepared folder beside the others' that it learns from.
    """

    name: str
    group: str
    about: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    augment: tuple[str, ...] = ()
    data: str = ""


@dataclass(frozen=True)
class Plan:
    """A whole leaderboard.

    :param seeds: of every row's runs.
    :param base: the recipe that nothing was changed of.
    :param changes: the other rows.
    """

    seeds: tuple[int, ...]
    base: Change
    changes: tuple[Change, ...]

    @property
    def rows(self) -> tuple[Change, ...]:
        return (self.base, *self.changes)

    def config(self, change: Change, seed: int, data: Path, output: Path) -> TrainConfig:
        """Give the configuration of one run: base settings with the change's in their place."""
        table = {**self.base.settings, **change.settings}
        settings = field_values(TrainConfig, table, change.name, TrainingError)
        return TrainConfig(**{**settings, "data": data, "output": output, "seed": seed})


def read_plan(path: Path) -> Plan:
    """Read a plan: TOML with `seeds`, a table `base` and tables `change`.

    :raises ValueError: if two rows have one name.
    """
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    base = Change("base", "base", content["base"].pop("about"), content["base"])
    changes = tuple(
        Change(
            c["name"],
            c["group"],
            c["about"],
            c.get("set", {}),
            tuple(c.get("augment", ())),
            c.get("data", ""),
        )
        for c in content["change"]
    )
    names = [row.name for row in (base, *changes)]
    if len(set(names)) < len(names):
        raise ValueError(f"{path} names a row twice")
    return Plan(tuple(content["seeds"]), base, changes)


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

    def read(self) -> Plan:
        return read_plan(self.plan)

    def run(self, change: Change, seed: int) -> Path:
        return self.work / "runs" / f"{change.name}-{seed}"

    def prepared(self, change: Change) -> Path:
        """Name the prepared folder that a row learns from."""
        if change.augment:
            return self.work / "data" / change.name
        return self.data.with_name(change.data) if change.data else self.data

    def is_done(self, change: Change, seed: int) -> bool:
        return (self.run(change, seed) / RESULT).is_file()

    def result(self, change: Change, seed: int) -> tuple[dict[str, Any], NDArray[np.float32]]:
        """Read what a run left: its result, and its probabilities on validation."""
        folder = self.run(change, seed)
        result: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        return result, np.load(folder / PROBABILITIES)


def run_one(place: Place, change: Change, seed: int) -> None:
    """Train, and keep the minutes and what the model says of validation."""
    from ov_emotions.training.run import BEST_NAME, train
    from ov_emotions.training.teachers import ask_checkpoint

    folder = place.run(change, seed)
    config = place.read().config(change, seed, place.prepared(change), folder)
    started = time.perf_counter()
    facts = train(config)
    minutes = (time.perf_counter() - started) / 60
    validation = PreparedData.open(place.data).split("validation")
    probabilities = ask_checkpoint(folder / BEST_NAME, validation.texts, config)
    with atomic_path(folder / PROBABILITIES) as path, path.open("wb") as file:
        np.save(file, probabilities)
    result = {"minutes": round(minutes, 2), "rows": facts.training_rows, "steps": facts.step}
    write_json(folder / RESULT, result)


def run_all(place: Place, jobs: int) -> None:
    """Do every run that is not done yet, so many at a time; they share out the cores evenly."""
    plan = place.read()
    for change in plan.changes:
        if change.augment and not place.prepared(change).is_dir():
            words = ["data", "augment", str(place.data), "--output", str(place.prepared(change))]
            command = [sys.executable, "-m", "ov_emotions", *words, *change.augment]
            subprocess.run(command, check=True)
    runs = [(change, seed) for change in plan.rows for seed in plan.seeds]
    todo = [one for one in runs if not place.is_done(*one)]
    threads = max(1, len(os.sched_getaffinity(0)) // jobs)

    def work(one: tuple[Change, int]) -> None:
        change, seed = one
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
        state = f"failed, see {folder / ERRORS}" if done.returncode else "done"
        say(f"{change.name}, seed {seed}: {state} ({sum(place.is_done(*x) for x in todo)})")

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(work, todo))
