"""What is trained: a base recipe, and changes to it, each by itself."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ov_emotions.errors import TrainingError
from ov_emotions.schema import field_values
from ov_emotions.training.settings import TrainConfig


@dataclass(frozen=True)
class Change:
    """One row of the leaderboard.

    :param name: unique in the plan.
    :param group: what kind of change it is; rows of a group stand together.
    :param about: what it does, for readers.
    :param settings: fields of `TrainConfig` that differ from the base.
    :param augment: arguments of `ov-emotions data augment`, whose rows it learns from too.
    """

    name: str
    group: str
    about: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    augment: tuple[str, ...] = ()


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
        """Return the base and all changes."""
        return (self.base, *self.changes)

    def config(self, change: Change, seed: int, data: Path, output: Path) -> TrainConfig:
        """Complete the configuration of one run.

        :param change: the row.
        :param seed: of the run.
        :param data: prepared folder.
        :param output: folder of the run.
        :return: base settings with those of the change in their place.
        """
        table = {**self.base.settings, **change.settings}
        settings = field_values(TrainConfig, table, change.name, TrainingError)
        return TrainConfig(**{**settings, "data": data, "output": output, "seed": seed})


def read_plan(path: Path) -> Plan:
    """Read a plan.

    :param path: TOML with `seeds`, a table `base` and tables `change`.
    :return: the plan.
    :raises ValueError: if two rows have one name.
    """
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    base = Change("base", "base", content["base"].pop("about"), content["base"])
    changes = tuple(
        Change(c["name"], c["group"], c["about"], c.get("set", {}), tuple(c.get("augment", ())))
        for c in content["change"]
    )
    names = [row.name for row in (base, *changes)]
    if len(set(names)) < len(names):
        raise ValueError(f"{path} names a row twice")
    return Plan(tuple(content["seeds"]), base, changes)
