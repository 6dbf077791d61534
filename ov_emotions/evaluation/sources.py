"""What can be evaluated: a bundle, a training checkpoint in torch, a model on a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ov_emotions.bundle import WEIGHTS_NAME, Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.errors import InputError
from ov_emotions.files import sha256_file

_CHECKPOINT_NAME = "checkpoint.json"
_CHECKPOINT_WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Source:
    """A model that is ready to be asked.

    :param classifier: gives probabilities.
    :param facts: model, weights_sha256 (None where it is not known), weights, inference_precision,
        thresholds and backend: what a result says of its model.
    """

    classifier: EmotionClassifier
    facts: dict[str, Any]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the columns."""
        return self.classifier.labels


@contextmanager
def open_source(
    given: str, precision: str | None = None, metadata_url: str | None = None
) -> Iterator[Source]:
    """Open what a user names, and close it after the block.

    :param given: the URL of a served model (`http://host:8000/emotions`, `grpc://…`), a checkpoint
        folder, or a bundle by shipped name, folder or Hub id.
    :param precision: f32 or bf16; None is the bundle's own, and f32 for a checkpoint.
    :param metadata_url: REST URL of a server that is asked over gRPC, for labels and thresholds.
    :return: yields the model.
    :raises InputError: if a precision is asked of a server.
    :raises OvEmotionsError: if it cannot be opened.
    """
    if "://" in given:
        opened = _open_server(given, precision, metadata_url)
    elif (Path(given) / _CHECKPOINT_NAME).is_file():
        opened = _open_checkpoint(Path(given), precision)
    else:
        opened = open_bundle(Bundle.load(given), precision)
    with opened as source:
        yield source


@contextmanager
def open_bundle(bundle: Bundle, precision: str | None = None) -> Iterator[Source]:
    """Open a bundle; see `open_source`."""
    manifest = bundle.manifest
    with EmotionClassifier(bundle, precision=precision) as classifier:
        yield Source(
            classifier,
            {
                "model": manifest.name,
                "weights_sha256": manifest.files[WEIGHTS_NAME],
                "weights": manifest.precision,
                "inference_precision": precision or manifest.inference_precision,
                "thresholds": {label: manifest.thresholds[label] for label in manifest.labels},
                "backend": "openvino",
            },
        )


@contextmanager
def _open_checkpoint(folder: Path, precision: str | None) -> Iterator[Source]:
    from ov_emotions.runtime.torch import CheckpointClassifier, TorchPrecision

    dtype: TorchPrecision = "bf16" if precision == "bf16" else "fp32"
    with CheckpointClassifier(folder, precision=dtype) as classifier:
        yield Source(
            classifier,
            {
                "model": folder.as_posix(),
                "weights_sha256": sha256_file(folder / _CHECKPOINT_WEIGHTS),
                "weights": dtype,
                "inference_precision": precision or "f32",
                "thresholds": classifier.thresholds,
                "backend": "torch",
            },
        )


@contextmanager
def _open_server(url: str, precision: str | None, metadata_url: str | None) -> Iterator[Source]:
    if precision is not None:
        raise InputError(f"{url} runs at the precision it was started with; leave out --precision")
    with EmotionClassifier.from_server(url, metadata_url=metadata_url) as classifier:
        yield Source(
            classifier,
            {
                "model": url,
                "weights_sha256": None,
                "weights": "served",
                "inference_precision": "server's",
                "thresholds": classifier.thresholds,
                "backend": "server",
            },
        )
