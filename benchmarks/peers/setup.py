"""What peers need, made where it is missing: virtual environments, and the weights in each form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import ROOT, SEED
from benchmarks.peers.plan import ENVIRONMENTS, LARGE, SMALL, TORCH, WORKERS, Environment
from ov_emotions.bundle import Bundle
from ov_emotions.data.dataset import PreparedData
from ov_emotions.quantization.ptq import stratified_rows

CHECKPOINTS = ROOT / "quantize" / "checkpoints"
CALIBRATION_TEXTS = {SMALL: 300, LARGE: 16}
"""Random weights have no accuracy to keep: a few texts do."""


def python_of(work: Path, name: str) -> Path:
    """Name an environment's Python, whether or not it is there."""
    return work / "venvs" / name / "bin" / "python"


def make_environments(work: Path) -> dict[str, str]:
    """Make environments that are missing; say why, by name, for those that could not be made."""
    failed = {}
    for name, environment in ENVIRONMENTS.items():
        done = work / "venvs" / name / "complete"
        if done.is_file() and done.read_text(encoding="utf-8") == repr(environment):
            print(f"{name}: is there")
            continue
        print(f"{name}: installing", flush=True)
        try:
            _make(python_of(work, name), environment)
        except subprocess.CalledProcessError as error:
            failed[name] = f"pip could not install {' '.join(environment.requirements)}: {error}"
            print(failed[name], flush=True)
            continue
        done.write_text(repr(environment), encoding="utf-8")
    return failed


def _make(python: Path, environment: Environment) -> None:
    # Isolated: nothing of the environment that this runs in shows through.
    venv.create(python.parents[1], with_pip=True, clear=True)
    install = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    if environment.torch:
        cpu, default = TORCH
        if subprocess.call([*install, cpu], stderr=subprocess.DEVNULL):
            subprocess.run([*install, default], check=True)
    subprocess.run([*install, *environment.requirements], check=True)


@dataclass(frozen=True)
class _Place:
    work: Path
    model: str
    data: Path

    @property
    def folder(self) -> Path:
        return self.work / self.model

    @property
    def checkpoint(self) -> Path:
        return CHECKPOINTS / SMALL if self.model == SMALL else self.folder / "checkpoint"


def peer_variables(work: Path) -> dict[str, str]:
    """Give the variables that peers run with: no hub is asked, and caches lie in the folder."""
    ours = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {
        **ours,
        "HF_HUB_OFFLINE": "1",
        "HF_MODULES_CACHE": str(work / "hf"),
        "TORCHINDUCTOR_CACHE_DIR": str(work / "inductor"),
        "TOKENIZERS_PARALLELISM": "true",
    }


def make_artefacts(work: Path, model: str, data: Path) -> dict[str, str]:
    """Make what is missing of a model; say why, by artefact, for those that could not be made.

    :param data: prepared folder; calibration texts come from its validation split.
    """
    place = _Place(work, model, data)
    place.folder.mkdir(parents=True, exist_ok=True)
    failed = {}
    for target, make in _STEPS.items():
        if (place.folder / target).exists() or (make is _random_checkpoint and model == SMALL):
            continue
        print(f"{model}: making {target}", flush=True)
        try:
            make(place)
        except subprocess.CalledProcessError as error:
            failed[target] = (
                f"{Path(str(error.cmd[1])).name} failed with exit code {error.returncode}"
            )
            print(failed[target], flush=True)
    return failed


def _run(place: _Place, python: str | Path, *arguments: str | Path) -> None:
    variables = peer_variables(place.work)
    if str(python) == sys.executable:
        variables["PYTHONPATH"] = str(ROOT)
    words = [str(python), *map(str, arguments)]
    subprocess.run(words, check=True, cwd=ROOT, env=variables)


def _random_checkpoint(place: _Place) -> None:
    script = ROOT / "benchmarks" / "random_checkpoint.py"
    tokenizer = CHECKPOINTS / "emotions-ru-tiny"
    _run(place, sys.executable, script, "--tokenizer", tokenizer, "--output", place.checkpoint)


def _int8(place: _Place) -> None:
    if place.model == SMALL:
        Bundle.load(SMALL).save(place.folder / "int8")
        return
    tool = (sys.executable, "-m", "ov_emotions")
    fp32 = place.folder / "fp32"
    _run(place, *tool, "export", place.checkpoint, fp32, "--data", place.data)
    subset = ("--subset-size", str(CALIBRATION_TEXTS[place.model]))
    _run(place, *tool, "quantize", fp32, place.folder / "int8", "--data", place.data, *subset)


def _calibration(place: _Place) -> None:
    part = PreparedData.open(place.data).validation_part("calibration")
    rows = stratified_rows(part.targets, CALIBRATION_TEXTS[place.model], SEED)
    texts = json.dumps([part.texts[i] for i in rows], ensure_ascii=False)
    (place.folder / "calibration.json").write_text(texts, encoding="utf-8")


def model_facts(work: Path, model: str) -> dict[str, object]:
    """Read what every peer of a model is told; thresholds are the bundle's, for all alike."""
    manifest = Bundle.load(work / model / "int8").manifest
    config = json.loads(
        (_Place(work, model, work).checkpoint / "config.json").read_text(encoding="utf-8")
    )
    return {
        "labels": list(manifest.labels),
        "thresholds": [manifest.thresholds[label] for label in manifest.labels],
        "max_length": manifest.max_length,
        "pad_id": config["pad_token_id"],
        "precision": manifest.inference_precision,
        "config": {
            key: config[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers")
        },
    }


def _transformers(place: _Place) -> None:
    python = python_of(place.work, "torch")
    _run(place, python, WORKERS / "convert.py", place.checkpoint, place.folder / "transformers")


def _onnx_int8(place: _Place) -> None:
    facts, converted = model_facts(place.work, place.model), place.folder / "transformers"
    given = [converted / "onnx" / "model.onnx", place.folder / "onnx-int8"]
    given += [converted / "tokenizer.json", place.folder / "calibration.json"]
    lengths = [str(facts["max_length"]), str(facts["pad_id"])]
    python = python_of(place.work, "onnxruntime")
    _run(place, python, WORKERS / "quantize_onnx.py", *given, *lengths)


def _optimum(place: _Place) -> None:
    given = [place.folder / name for name in ("transformers", "optimum", "calibration.json")]
    length = str(model_facts(place.work, place.model)["max_length"])
    python = python_of(place.work, "optimum")
    _run(place, python, WORKERS / "quantize_optimum.py", *given, length)


_STEPS: dict[str, Callable[[_Place], None]] = {
    "checkpoint/checkpoint.json": _random_checkpoint,
    "int8/model.xml": _int8,
    "calibration.json": _calibration,
    "transformers/onnx/model.onnx": _transformers,
    "onnx-int8/static.onnx": _onnx_int8,
    "optimum/int8/openvino_model.xml": _optimum,
}
"""What is made, by the file that is there then; each may need those before it."""
