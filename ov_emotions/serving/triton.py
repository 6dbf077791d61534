"""A bundle in a model repository of NVIDIA Triton, and its config.pbtxt.

config.pbtxt says what Triton has to know of a model, and holds the facts that clients read.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import openvino as ov
import openvino.opset13 as ops

from ov_emotions.bundle import Bundle
from ov_emotions.errors import BundleError, BundleIntegrityError, RepositoryError
from ov_emotions.manifest import HASH_KEY, MODEL_INPUTS, MODEL_NAME, model_info, stamp
from ov_emotions.serving.repository import Layout, Published, publish_version, read_text
from ov_emotions.serving.settings import TritonConfig
from ov_emotions.serving.text_model import label_names
from ov_emotions.system import shared_core

CONFIG_NAME = "config.pbtxt"
BUNDLE_FOLDER = "bundle"
MODEL_PY = '''\
"""Triton's Python backend looks for TritonPythonModel here."""

from ov_emotions.serving.triton_model import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''

_TAKES = re.compile(r'key: "input", value: \{ string_value: "(\w+)" \}')


def facts(bundle: Bundle, config: TritonConfig) -> dict[str, str]:
    """Collect the facts that clients verify and that the served model obeys."""
    manifest = bundle.manifest
    found: dict[str, object] = {
        **model_info(manifest),
        HASH_KEY: manifest.sha256,
        **config.facts(config.long_texts),
    }
    return {
        key: fact if isinstance(fact, str) else json.dumps(fact, ensure_ascii=False)
        for key, fact in found.items()
    }


def render_config(bundle: Bundle, config: TritonConfig) -> str:
    """Write config.pbtxt."""
    labels = len(bundle.manifest.labels)
    if config.takes == "text":
        inputs = [("text", "TYPE_STRING", "-1")]
        outputs = [("probabilities", "TYPE_FP32", f"-1, {labels}"), ("labels", "TYPE_STRING", "-1")]
    else:
        # The OpenVINO backend asks the model's own inputs, of which another may be.
        names = bundle.manifest.inputs if config.backend == "openvino" else MODEL_INPUTS
        inputs = [(name, "TYPE_INT64", "-1, -1") for name in names]
        outputs = [("probabilities", "TYPE_FP32", f"-1, {labels}")]
    parameters = facts(bundle, config) | _runtime(bundle, config)
    lines = [
        "# Written by `ov-emotions triton build`.",
        f"name: {_quoted(config.name)}",
        f"backend: {_quoted(config.backend)}",
        "# The first dimension is the batch, as with OpenVINO Model Server.",
        "max_batch_size: 0",
        *(_tensor("input", *tensor) for tensor in inputs),
        *(_tensor("output", *tensor) for tensor in outputs),
        f"instance_group [ {{ kind: KIND_CPU, count: {config.instances} }} ]",
        "version_policy: { latest: { num_versions: 1 } }",
        *(
            f"parameters {{ key: {_quoted(key)}, value: {{ string_value: {_quoted(text)} }} }}"
            for key, text in parameters.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def _runtime(bundle: Bundle, config: TritonConfig) -> dict[str, str]:
    """Settings of the runtime; the OpenVINO backend reads those in capitals."""
    if config.backend == "python":
        return {} if config.threads is None else {"threads": str(config.threads)}
    settings = {"PERFORMANCE_HINT": "LATENCY"}
    if config.threads is not None:
        settings["INFERENCE_NUM_THREADS"] = str(config.threads)
    if bundle.manifest.inference_precision == "bf16":
        settings["HINT_BF16"] = "YES"
    return settings


def _tensor(role: str, name: str, datatype: str, dims: str) -> str:
    return f"{role} [ {{ name: {_quoted(name)}, data_type: {datatype}, dims: [ {dims} ] }} ]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def build_repository(
    bundle: Bundle, repository: str | os.PathLike[str], config: TritonConfig | None = None
) -> Published:
    """Publish a bundle as the next version of a model; the same once more changes nothing.

    config.pbtxt, which holds the facts of the newest version only, is replaced just before the
    version appears: to go back to an older bundle, publish that bundle again.

    :raises RepositoryError: see `publish_version`.
    :raises InputError: if a label's name contains the separator.
    :raises BundleError: if the bundle's model is of another kind.
    """
    config = config or TritonConfig()
    label_names(bundle, config.names, config.separator)
    described = Path(repository) / config.name / CONFIG_NAME
    layout = Layout(
        write=lambda folder: _fill(bundle, folder, config),
        refuse=lambda _newest: _check_config(described, config),
        beside={CONFIG_NAME: render_config(bundle, config)},
    )
    return publish_version(repository, config.name, layout)


def _check_config(described: Path, config: TritonConfig) -> None:
    told = read_text(described)
    if told is None:
        return
    if f'backend: "{config.backend}"' not in told:
        raise RepositoryError(
            f"{described} is not of a model for the {config.backend} backend: clients would "
            "break; publish under another name"
        )
    takes = _TAKES.search(told)
    if takes is not None and takes[1] != config.takes:
        raise RepositoryError(
            f"{described} is of a model that takes {takes[1]}, not {config.takes}: clients would "
            "break; publish under another name"
        )


def _fill(bundle: Bundle, folder: Path, config: TritonConfig) -> None:
    if config.backend == "openvino":
        _save_token_model(bundle, folder)
        return
    (folder / "model.py").write_text(MODEL_PY, encoding="utf-8")
    try:
        bundle.save(folder / BUNDLE_FOLDER)
    except BundleError as error:
        raise RepositoryError(str(error)) from error


def _save_token_model(bundle: Bundle, folder: Path) -> None:
    """Write the bundle's IR with probabilities behind it; its tokeniser stays with the caller."""
    try:
        model = shared_core().read_model(bundle.model_path)
        logits = model.output("logits").get_node().input_value(0)
    except RuntimeError as error:
        raise BundleIntegrityError(
            f"{bundle.model_path} is not a bundle's model that OpenVINO reads: {error}"
        ) from error
    multi_label = bundle.manifest.task == "multi_label"
    probabilities = ops.sigmoid(logits) if multi_label else ops.softmax(logits, axis=1)
    probabilities.output(0).set_names({"probabilities"})
    probabilities.set_friendly_name("probabilities")
    served = ov.Model([ops.result(probabilities)], model.get_parameters(), bundle.manifest.name)
    stamp(served, bundle.manifest)
    ov.save_model(served, folder / MODEL_NAME, compress_to_fp16=False)
