"""What peers need, made where it is missing: virtual environments, and the weights in each form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from benchmarks.common import CHECKPOINTS, ROOT, SEED
from benchmarks.peers.plan import ENVIRONMENTS, LARGE, SMALL, TORCH, WORKERS, Environment
from ov_emotions.bundle import Bundle
from ov_emotions.data.dataset import PreparedData
from ov_emotions.quantization.ptq import stratified_rows

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


def _checkpoint(work: Path, model: str) -> Path:
    return CHECKPOINTS[SMALL] if model == SMALL else work / model / "checkpoint"


def model_facts(work: Path, model: str) -> dict[str, Any]:
    """Read what every peer of a model is told; thresholds are the bundle's, for all alike."""
    manifest = Bundle.load(work / model / "int8").manifest
    config = json.loads((_checkpoint(work, model) / "config.json").read_text(encoding="utf-8"))
    shape = ("hidden_size", "intermediate_size", "num_hidden_layers")
    return {
        "labels": list(manifest.labels),
        "thresholds": [manifest.thresholds[label] for label in manifest.labels],
        "max_length": manifest.max_length,
        "pad_id": config["pad_token_id"],
        "precision": manifest.inference_precision,
        "config": {key: config[key] for key in shape},
    }


def make_artefacts(work: Path, model: str, data: Path) -> dict[str, str]:
    """Make what is missing of a model; say why, by artefact, for those that could not be made.

    :param data: prepared folder; calibration texts come from its validation split.
    """
    folder, checkpoint = work / model, _checkpoint(work, model)
    folder.mkdir(parents=True, exist_ok=True)
    subset, calibration = CALIBRATION_TEXTS[model], folder / "calibration.json"

    def run(environment: str, *arguments: object) -> None:
        own = environment == "own"
        python = sys.executable if own else str(python_of(work, environment))
        variables = peer_variables(work) | ({"PYTHONPATH": str(ROOT)} if own else {})
        subprocess.run([python, *map(str, arguments)], check=True, cwd=ROOT, env=variables)

    def random_checkpoint() -> None:
        if model == LARGE:
            tokenizer = ("--tokenizer", CHECKPOINTS["emotions-ru-tiny"])
            run("own", "-m", "benchmarks.random_checkpoint", *tokenizer, "--output", checkpoint)

    def int8() -> None:
        if model == SMALL:
            Bundle.load(SMALL).save(folder / "int8")
            return
        tool, fp32, given = ("-m", "ov_emotions"), folder / "fp32", ("--data", data)
        run("own", *tool, "export", checkpoint, fp32, *given)
        run("own", *tool, "quantize", fp32, folder / "int8", *given, "--subset-size", subset)

    def calibration_texts() -> None:
        part = PreparedData.open(data).validation_part("calibration")
        texts = [part.texts[i] for i in stratified_rows(part.targets, subset, SEED)]
        calibration.write_text(json.dumps(texts, ensure_ascii=False), encoding="utf-8")

    def transformers() -> None:
        run("torch", WORKERS / "convert.py", checkpoint, folder / "transformers")

    def onnx_int8() -> None:
        facts, given = model_facts(work, model), folder / "transformers"
        files = (given / "onnx" / "model.onnx", folder / "onnx-int8", given / "tokenizer.json")
        lengths = (facts["max_length"], facts["pad_id"])
        run("onnxruntime", WORKERS / "quantize_onnx.py", *files, calibration, *lengths)

    def optimum() -> None:
        files = (folder / "transformers", folder / "optimum", calibration)
        length = model_facts(work, model)["max_length"]
        run("optimum", WORKERS / "quantize_optimum.py", *files, length)

    failed = {}
    # By the file that is there then; each may need those before it.
    for target, make in (
        ("checkpoint/checkpoint.json", random_checkpoint),
        ("int8/model.xml", int8),
        ("calibration.json", calibration_texts),
        ("transformers/onnx/model.onnx", transformers),
        ("onnx-int8/static.onnx", onnx_int8),
        ("optimum/int8/openvino_model.xml", optimum),
    ):
        if (folder / target).exists():
            continue
        print(f"{model}: making {target}", flush=True)
        try:
            make()
        except subprocess.CalledProcessError as error:
            failed[target] = f"{Path(error.cmd[1]).name} failed with exit code {error.returncode}"
            print(failed[target], flush=True)
    return failed
