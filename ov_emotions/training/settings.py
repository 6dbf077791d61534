"""A run's settings as TOML: read from a preset and a file, and written with the run."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from ov_emotions.errors import TrainingError
from ov_emotions.files import write_text
from ov_emotions.schema import field_values, param_texts, read_toml
from ov_emotions.system import require
from ov_emotions.training.config import TrainConfig

CONFIG_NAME = "config.toml"
_PRESETS = Path(__file__).parent / "presets"


def preset_names() -> tuple[str, ...]:
    """Name the presets that come with the library, in alphabetical order."""
    return tuple(sorted(path.stem for path in _PRESETS.glob("*.toml")))


def preset_description(name: str) -> str:
    """Return what a preset says of itself: the first paragraph of its comment, on one line."""
    lines = (_PRESETS / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    head = lines[: next((i for i, line in enumerate(lines) if not line.strip("# ")), None)]
    return " ".join(line.lstrip("# ") for line in head)


def preset_values(name: str) -> dict[str, Any]:
    """Read a preset.

    :param name: of the preset.
    :return: the fields that it sets.
    :raises TrainingError: if there is none of that name.
    """
    if name not in preset_names():
        raise TrainingError(
            f"there is no preset {name!r}; choose one of {', '.join(preset_names())}"
        )
    return _read(_PRESETS / f"{name}.toml")


def load_settings(
    preset: str | None = None,
    file: Path | None = None,
    given: Mapping[str, Any] | None = None,
) -> TrainConfig:
    """Put settings together: what is given wins over the file, over the preset, over the defaults.

    Paths in a file are relative to where the command runs, as on the command line. A key wins as
    a whole, tables too.

    :param preset: name of one that comes with the library.
    :param file: a TOML file whose keys are the fields of `TrainConfig`.
    :param given: fields with their values.
    :return: the run.
    :raises TrainingError: for a preset that is not there, a file that cannot be read, a key that
        is unknown, a value of the wrong type or out of range, and settings that nobody gives.
    """
    values: dict[str, Any] = {}
    if preset is not None:
        values |= preset_values(preset)
    if file is not None:
        values |= _read(file)
    values |= given or {}
    missing = [f.name for f in fields(TrainConfig) if f.default is MISSING and f.name not in values]
    if missing:
        raise TrainingError(
            f"a run needs {', '.join(missing)}: as flags, or as keys of the file of --config"
        )
    return TrainConfig(**values)


def _read(path: Path) -> dict[str, Any]:
    table = read_toml(path, dict[str, Any], TrainingError)
    return field_values(TrainConfig, table, str(path), TrainingError)


def settings_text(config: TrainConfig) -> str:
    """Write every setting as commented TOML that `load_settings` reads back as the same run.

    :param config: the run.
    :return: the file's text.
    """
    writer = require("tomli_w", extra="train")
    texts = param_texts(TrainConfig.__doc__ or "")
    values = config.to_dict()
    # A table takes in every key after it, so tables come last.
    names = sorted(values, key=lambda name: isinstance(values[name], dict))
    blocks = []
    for name in names:
        comment = textwrap.fill(texts[name], 98, initial_indent="# ", subsequent_indent="# ")
        # TOML has no null: what is not set is shown as a comment.
        setting = (
            f"# {name} is not set\n"
            if values[name] is None
            else str(writer.dumps({name: values[name]}))
        )
        blocks.append(f"{comment}\n{setting}")
    return "\n".join(blocks)


def write_settings(output: Path, config: TrainConfig) -> None:
    """Write the resolved settings into a run's folder.

    :param output: the folder.
    :param config: the run.
    """
    write_text(output / CONFIG_NAME, settings_text(config))
