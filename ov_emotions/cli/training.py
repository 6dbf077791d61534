"""`ov-emotions train` and `distill`: checkpoints from a prepared folder."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from ov_emotions.cli.bar import Bar
from ov_emotions.cli.frame import Answer, Given, UsageError, verb
from ov_emotions.cli.output import make_output_folder
from ov_emotions.progress import Progress, Tell
from ov_emotions.schema import Flag, to_builtins
from ov_emotions.system import require
from ov_emotions.training.settings import (
    BEST_NAME,
    DistillConfig,
    Text2TextConfig,
    TrainConfig,
    load_settings,
    preset_description,
    preset_names,
    preset_values,
)

T = TypeVar("T")
_INDENT = " " * 4
_FACTS_AS_JSON = {"json": "print the facts of the best checkpoint as JSON"}


@dataclass(frozen=True)
class FileOptions:
    """Where settings come from beside the flags.

    :param config: TOML file of settings.
    """

    config: Annotated[Path | None, Flag("FILE")] = None


@dataclass(frozen=True)
class TrainOptions(FileOptions):
    """Which kind of model is trained, and by which settings.

    :param task: train a classifier, or a model that writes the labels, which has flags of its own:
        --task text-to-text --help.
    :param preset: settings that come with the library.
    :param presets: list the presets, and end.
    """

    task: Literal["labels", "text-to-text"] = "labels"
    preset: Annotated[str | None, Flag("NAME")] = None
    presets: bool = False


@verb(texts={"json": "print the manifest of the best weights as JSON"}, config=True)
def train_text_to_text(config: Text2TextConfig, answer: Answer) -> int:
    """Fine-tune a T5-style model on a prepared folder to write the names of the emotions.

    A run that was stopped goes on when the same command is given again.
    """
    _prepare(config.output)
    from ov_emotions.training.text_to_text.run import train

    manifest = _train_with_bar(partial(train, config))
    outputs = manifest.outputs
    lines = [
        _sentences("best weights", config.output, manifest.to_dict()),
        f"outputs that name no label: {outputs['unparseable']} of {outputs['outputs']} "
        f"({outputs['unparseable_share']:.1%})",
    ]
    if manifest.left_out:
        lines.append(
            "not trained on, some label of theirs is not annotated: "
            + ", ".join(f"{count:,} rows of {name}" for name, count in manifest.left_out.items())
        )
    return answer.give(manifest.to_dict(), "\n".join(lines))


@verb(
    texts=_FACTS_AS_JSON,
    variants={("--task", "text-to-text"): train_text_to_text},
)
def train(options: TrainOptions, settings: Given[TrainConfig], answer: Answer) -> int:
    """Fine-tune a base encoder on a prepared folder.

    A run that was stopped goes on when the same command is given again. Every setting is a flag,
    and a key of the same name, with underscores, of a configuration file: a flag wins over the
    file, the file over the preset.

    Several GPUs: torchrun --nproc-per-node N -m ov_emotions train ...
    """
    if options.presets:
        presets = {name: preset_description(name) for name in preset_names()}
        lines = [
            f"{name}\n{textwrap.fill(text, 96, initial_indent=_INDENT, subsequent_indent=_INDENT)}"
            for name, text in presets.items()
        ]
        return answer.give(presets, "\n".join(lines))
    return _fit(TrainConfig, options, options.preset, settings, answer)


@verb(texts=_FACTS_AS_JSON)
def distill(options: FileOptions, settings: Given[DistillConfig], answer: Answer) -> int:
    """Train a small student on what larger or several teachers say.

    The student (--base) learns the mean of what its teachers say: of the training texts, of texts
    without labels (--unlabelled, --unlabelled-rows) and of texts recombined from training texts
    (--recombined-rows). Teachers are checkpoints or bundles; an INT8 bundle says nearly the same
    several times as fast. Texts that nearly equal a held-out one are left out. The defaults are
    those of `train --preset distill`.
    """
    return _fit(DistillConfig, options, None, settings, answer)


def _fit(
    kind: type[TrainConfig],
    options: FileOptions,
    preset: str | None,
    given: Mapping[str, Any],
    answer: Answer,
) -> int:
    """Train by a preset, a file and flags, and say what came of it."""
    if options.config is None:
        needed = [f.name for f in fields(kind) if f.default is MISSING]
        known = {*given, *(preset_values(preset) if preset else ())}
        if missing := ["--" + name.replace("_", "-") for name in needed if name not in known]:
            raise UsageError(f"the following arguments are required: {', '.join(missing)}")
    config = load_settings(kind, preset, options.config, given)
    _prepare(config.output)
    from ov_emotions.training.run import train

    facts = to_builtins(_train_with_bar(partial(train, config)))
    if os.environ.get("RANK", "0") != "0":  # one of several processes answers
        return 0
    return answer.give(facts, _sentences("best checkpoint", config.output, facts))


def _prepare(output: Path) -> None:
    """Make the run's folder, and see that what trains is installed."""
    make_output_folder(output)
    for module in ("torch", "transformers", "accelerate", "safetensors"):
        require(module, extra="train")


def _train_with_bar(train: Callable[[Tell], T]) -> T:
    """Train, showing how far the run is."""
    bar, last = Bar(), Progress(0)

    def tell(progress: Progress) -> None:
        nonlocal bar, last
        if progress.unit != last.unit or progress.done < last.done:  # other work has begun
            bar.clear()
            bar = Bar()
        bar(progress)
        last = progress

    try:
        return train(tell)
    except KeyboardInterrupt:
        bar.message("stopped; the same command goes on from the last saved state")
        raise
    finally:
        bar.clear()


def _sentences(what: str, run: Path, facts: Mapping[str, Any]) -> str:
    """Say in two lines what came of a run."""
    scores = facts["selection"]
    return (
        f"{what}: {run / BEST_NAME} (step {facts['step']}, {facts['precision']}, "
        f"{facts['device']})\n"
        f"on the selection part of validation: weighted F1 {scores['weighted_f1']:.3f}, "
        f"macro F1 {scores['macro_f1']:.3f}"
    )
