"""What is measured: environments, models, and each peer with what it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT

WORK = ROOT / "runs" / "peers"
WORKERS = Path(__file__).parent / "workers"

TORCH = ("torch==2.13.0+cpu", "torch==2.13.0")
"""The CPU build where the package index has one, else the default build."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment of one or several peers.

    :param torch: whether torch goes in first, as the CPU build.
    :param requirements: what pip is given.
    """

    requirements: tuple[str, ...]
    torch: bool = False


ENVIRONMENTS = {
    # The peers that share one need the same packages.
    "ours": Environment(("--editable", str(ROOT))),
    "torch": Environment(("transformers>=5.0,<5.6", "onnx", "onnxscript"), torch=True),
    "onnxruntime": Environment(("onnxruntime", "onnx", "tokenizers", "numpy")),
    # 2.2 requires torchvision, which has no build for every CPU torch.
    "optimum": Environment(("optimum-intel[openvino]==2.1.0", "nncf>=3"), torch=True),
    "infinity": Environment(("infinity-emb[server,torch,optimum]==0.0.78",), torch=True),
}

SMALL, LARGE = "emotions-ru-small", "roberta-large-random"


@dataclass(frozen=True)
class Peer:
    """One row of the table.

    :param name: of the row, unique.
    :param about: what it is, for the page.
    :param environment: whose Python runs it.
    :param module: of the workers' folder.
    :param way: of the module.
    :param worker: peers that name the same worker share its process and its loaded model.
    :param options: beside labels, thresholds and lengths, as the module says; paths are relative
        to the model's folder.
    :param kind: `ours`, `earlier` (the earlier projects' path), `limit` or `peer`.
    :param single_way: for single texts, where that is another way.
    """

    name: str
    about: str
    environment: str
    module: str
    way: str
    worker: str
    options: dict[str, Any] = field(default_factory=dict)
    kind: str = "peer"
    single_way: str | None = None


_SORTED = "batches of 64, sorted by length first"
_GIVEN = "batches of 64 in the given order, padded to their longest"
_PIPELINE = "the same model in transformers' text-classification pipeline, batch size 64"


def _torch(worker: str, dtype: str, *peers: tuple[str, str, str], **options: Any) -> list[Peer]:
    """Make the peers of one worker of torch: name, about and way of each."""
    ways = list(dict.fromkeys(way for _, _, way in peers))
    facts = {"model": "transformers", "dtype": dtype, "ways": ways, **options}
    return [
        Peer(name, about, "torch", "torch_peer", way, worker, facts,
             "earlier" if way == "padded" else "peer")
        for name, about, way in peers
    ]  # fmt: skip


def _batched(
    worker: str, environment: str, options: dict[str, Any], *more: tuple[str, str, str]
) -> list[Peer]:
    """Make the peers of a worker that takes batches: in the given order, and sorted."""
    ways = ((worker, _GIVEN, "dynamic"), (f"{worker}, sorted", _SORTED, "sorted"), *more)
    module = "onnx_peer" if environment == "onnxruntime" else "optimum_peer"
    return [
        Peer(name, about, environment, module, way, worker, options) for name, about, way in ways
    ]


def _onnx(kind: str, model: str) -> list[Peer]:
    options = {"model": model, "tokenizer": "transformers/tokenizer.json"}
    return _batched(f"ONNX Runtime {kind}", "onnxruntime", options)


def _optimum(precision: str) -> list[Peer]:
    worker = f"optimum-intel {precision}"
    options = {"model": f"optimum/{precision.lower()}"}
    return _batched(worker, "optimum", options, (f"{worker}, pipeline", _PIPELINE, "pipeline"))


PEERS: tuple[Peer, ...] = (
    Peer(
        "EmotionClassifier INT8",
        "this library with its defaults: strings in, predictions out",
        "ours",
        "ours",
        "default",
        "ours",
        {"model": "int8"},
        "ours",
    ),
    Peer(
        "bare IR INT8 (limit)",
        "the same IR fed ready arrays, sorted by length, without padding, by an AsyncInferQueue; "
        "tokenising, thresholds and results are not in its time",
        "ours",
        "bare",
        "offline",
        "bare",
        {"model": "int8/model.xml", "tokenizer": "int8/tokenizer.json"},
        "limit",
        "single",
    ),
    *_torch(
        "torch fp32",
        "float32",
        (
            "earlier projects' path",
            "transformers, torch fp32, batches of 64, padded to 32 tokens and cut there",
            "padded",
        ),
        ("torch fp32", _GIVEN, "dynamic"),
        (
            "transformers pipeline",
            "text-classification, torch fp32, batch size 64",
            "pipeline",
        ),
    ),
    *_torch(
        "torch bf16",
        "bfloat16",
        ("torch bf16", _GIVEN, "dynamic"),
        ("torch bf16, sorted", _SORTED, "sorted"),
    ),
    *_torch(
        "torch.compile",
        "float32",
        ("torch.compile", f"fp32, dynamic shapes; {_GIVEN}", "dynamic"),
        compile=True,
    ),
    *_onnx("fp32", "transformers/onnx/model.onnx"),
    *_onnx("INT8 dynamic", "onnx-int8/dynamic.onnx"),
    *_onnx("INT8 static", "onnx-int8/static.onnx"),
    *_optimum("fp32"),
    *_optimum("INT8"),
    Peer(
        "infinity-emb server",
        "torch fp32 behind HTTP on loopback, 4 requests of 64 texts at a time",
        "infinity",
        "infinity_peer",
        "server",
        "infinity",
        {"model": "transformers"},
    ),
)
