"""config.pbtxt: what Triton has to know of a model, and the facts that clients read there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal, get_args

from ov_emotions.bundle import Bundle, model_info
from ov_emotions.encoding import LongTexts
from ov_emotions.errors import InputError
from ov_emotions.serving.profile import MAX_CORES
from ov_emotions.serving.publishing import MODEL_NAME

TritonBackend = Literal["python", "openvino"]
LabelNames = Literal["ru", "en"]

HASH_KEY = "manifest_sha256"


@dataclass(frozen=True)
class TritonConfig:
    """How Triton shall serve a bundle.

    :param backend: `python` takes texts (or, with `token_in`, token ids) and needs the ov-emotions
        wheel in the server's Python (with numpy below 2, for Triton 2.51 at least: its Python
        backend misreads texts otherwise);
        `openvino` takes token ids and needs Triton's OpenVINO backend, which knows no strings and
        cannot be told to compute in f32 where the CPU would rather use bf16.
    :param name: of the model on the server.
    :param names: whose names the output `labels` of the Python backend holds: the manifest's
        Russian ones, or its identifiers.
    :param separator: between the names of one text.
    :param long_texts: what the Python backend does with long texts; see `EmotionClassifier`.
    :param instances: copies of the model, each in a process of its own with the Python backend;
        each works on one request at a time.
    :param threads: CPU threads of each copy at most; None leaves it to OpenVINO, all cores.
    :param token_in: have the Python backend take token ids, from callers who tokenise themselves,
        and give probabilities without names; the OpenVINO backend does so in any case.
    :raises InputError: if a value makes no sense.
    """

    backend: TritonBackend = "python"
    name: str = "emotions"
    names: LabelNames = "ru"
    separator: str = ", "
    long_texts: LongTexts = "window"
    instances: int = 1
    threads: int | None = None
    token_in: bool = False

    @property
    def takes(self) -> Literal["text", "tokens"]:
        """What goes into the served model."""
        return "tokens" if self.token_in or self.backend == "openvino" else "text"

    def __post_init__(self) -> None:
        for name, kind in (
            ("backend", TritonBackend),
            ("names", LabelNames),
            ("long_texts", LongTexts),
        ):
            if getattr(self, name) not in get_args(kind):
                choices = " or ".join(repr(choice) for choice in get_args(kind))
                raise InputError(f"{name} must be {choices}, not {getattr(self, name)!r}")
        if not isinstance(self.name, str) or not MODEL_NAME.fullmatch(self.name):
            raise InputError(
                f"{self.name!r} cannot name a model: use up to 100 letters, digits, dots, dashes "
                "and underscores, the first a letter or digit"
            )
        if not isinstance(self.separator, str) or not self.separator:
            raise InputError(f"separator must be a text that is not empty, not {self.separator!r}")
        for name in ("instances", "threads"):
            value = getattr(self, name)
            if name == "threads" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{name} must be a whole number of at least 1, not {value!r}")
            if value > MAX_CORES:
                raise InputError(f"{name} is {value}; it must be at most {MAX_CORES}")


def label_names(bundle: Bundle, config: TritonConfig) -> list[str]:
    """Choose what the labels are called in answers.

    :param bundle: whose labels.
    :param config: in which language, with what between them.
    :return: a name a label, in the order of the labels.
    :raises InputError: if a name contains the separator.
    """
    russian = bundle.manifest.label_names_ru if config.names == "ru" else {}
    names = [russian.get(label) or label for label in bundle.manifest.labels]
    if taken := [name for name in names if config.separator in name]:
        raise InputError(
            f"the separator {config.separator!r} stands in the name {taken[0]!r}; choose another"
        )
    return names


def facts(bundle: Bundle, config: TritonConfig) -> dict[str, str]:
    """Collect the facts that clients verify and that the served model obeys.

    :param bundle: whose facts.
    :param config: how it is served.
    :return: texts by key, JSON where they are lists or mappings: those that `stamp` writes into an
        IR, the manifest's hash, and how texts are served.
    """
    manifest = bundle.manifest
    found: dict[str, object] = {
        **model_info(manifest),
        HASH_KEY: json.loads(manifest.to_json())[HASH_KEY],
        "input": config.takes,
    }
    if config.takes == "text":
        found |= {
            "long_texts": config.long_texts,
            "label_names": config.names,
            "separator": config.separator,
        }
    return {
        key: fact if isinstance(fact, str) else json.dumps(fact, ensure_ascii=False)
        for key, fact in found.items()
    }


def render_config(bundle: Bundle, config: TritonConfig) -> str:
    """Write config.pbtxt.

    :param bundle: to serve.
    :param config: how.
    :return: protobuf text format, the same for the same arguments.
    """
    labels = len(bundle.manifest.labels)
    if config.takes == "text":
        inputs = [("text", "TYPE_STRING", "-1")]
        outputs = [("probabilities", "TYPE_FP32", f"-1, {labels}"), ("labels", "TYPE_STRING", "-1")]
    else:
        inputs = [(name, "TYPE_INT64", "-1, -1") for name in ("input_ids", "attention_mask")]
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
