"""A model, a checkpoint or a server, scored on the splits of labelled data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.data.dataset import LabelledTexts, PreparedData
from ov_emotions.errors import DataError, InputError
from ov_emotions.evaluation.checklist import CheckListResult
from ov_emotions.evaluation.results import Result, SplitScores
from ov_emotions.files import sha256_file
from ov_emotions.manifest import CHECKLIST, WEIGHTS_NAME, threshold_array
from ov_emotions.metrics import LabelF1, bootstrap_intervals, score
from ov_emotions.schema import to_builtins
from ov_emotions.system import environment
from ov_emotions.thresholds import apply_thresholds

BOOTSTRAP_SAMPLES = 2000
BOOTSTRAP_SEED = 20261122

_CHECKPOINT_NAME = "checkpoint.json"
_CHECKPOINT_WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Source:
    """A model that is ready to be asked; closed after a `with` block.

    :param facts: model, weights_sha256 (None where it is not known), weights, inference_precision,
        thresholds and backend: what a result says of its model.
    """

    classifier: EmotionClassifier
    facts: dict[str, Any]

    @property
    def labels(self) -> tuple[str, ...]:
        return self.classifier.labels

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.classifier.close()


def open_source(
    given: str, precision: str | None = None, metadata_url: str | None = None
) -> Source:
    """Open what a user names.

    :param given: the URL of a served model (`http://host:8000/emotions`, `grpc://…`), a checkpoint
        folder, or a bundle by shipped name, folder or Hub id.
    :param precision: f32 or bf16; None is the bundle's own, and f32 for a checkpoint.
    :param metadata_url: REST URL of a server that is asked over gRPC, for labels and thresholds.
    :raises InputError: if a precision is asked of a server.
    :raises OvEmotionsError: if it cannot be opened.
    """
    if "://" in given:
        return _open_server(given, precision, metadata_url)
    if (Path(given) / _CHECKPOINT_NAME).is_file():
        return _open_checkpoint(Path(given), precision)
    return open_bundle(Bundle.load(given), precision)


def open_bundle(bundle: Bundle, precision: str | None = None) -> Source:
    """Open a bundle; see `open_source`."""
    manifest = bundle.manifest
    return Source(
        EmotionClassifier(bundle, precision=precision),
        {
            "model": manifest.name,
            "weights_sha256": manifest.files[WEIGHTS_NAME],
            "weights": manifest.precision,
            "inference_precision": precision or manifest.inference_precision,
            "thresholds": dict(manifest.thresholds),
            "backend": "openvino",
        },
    )


def _open_checkpoint(folder: Path, precision: str | None) -> Source:
    from ov_emotions.runtime.torch import CheckpointClassifier, TorchPrecision

    dtype: TorchPrecision = "bf16" if precision == "bf16" else "fp32"
    classifier = CheckpointClassifier(folder, precision=dtype)
    return Source(
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


def _open_server(url: str, precision: str | None, metadata_url: str | None) -> Source:
    if precision is not None:
        raise InputError(f"{url} runs at the precision it was started with; leave out --precision")
    classifier = EmotionClassifier.from_server(url, metadata_url=metadata_url)
    return Source(
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


@dataclass(frozen=True)
class Scored:
    """What a model said about the rows of a split.

    :param probabilities: float32, shape (rows, labels).
    :param predicted: bool, same shape: the decisions at the model's thresholds.
    """

    name: str
    data: LabelledTexts
    probabilities: NDArray[np.float32]
    predicted: NDArray[np.bool_]


def evaluate(
    bundle: Bundle, prepared: PreparedData, splits: Sequence[str], precision: str | None = None
) -> Result:
    """Classify the splits as a user would, at the bundle's own thresholds, and score the decisions.

    :param splits: names of splits, or `validation:PART`.
    :param precision: f32 or bf16; None is the one the bundle was approved at.
    :raises DataError: if a split does not exist, has other labels or annotates none.
    """
    with open_bundle(bundle, precision) as source:
        return evaluate_source(source, prepared, splits)[0]


def evaluate_source(
    source: Source, prepared: PreparedData, splits: Sequence[str]
) -> tuple[Result, list[Scored]]:
    """Do what `evaluate` does by any backend; give the decisions of every split too."""
    classifier = source.classifier
    cuts = threshold_array(classifier.labels, classifier.thresholds)
    found = []
    for name in splits:
        data = _rows_of(source, prepared, name)
        probabilities = classifier.predict_proba(list(data.texts))
        predicted = apply_thresholds(probabilities, cuts, classifier.task)
        found.append(Scored(name, data, probabilities, predicted))
    scores = {s.name: split_scores(s.data.targets, s.predicted, source.labels) for s in found}
    return Result(**source.facts, splits=scores), found


def split_scores(
    targets: NDArray[np.int8], predicted: NDArray[np.bool_], labels: Sequence[str], **more: Any
) -> SplitScores:
    """Score decisions, with bootstrap intervals; `more` are other fields of the scores."""
    scores = score(targets, predicted, labels).to_dict()
    scores["labels"] = {label: LabelF1(**entry) for label, entry in scores["labels"].items()}
    intervals = bootstrap_intervals(targets, predicted, BOOTSTRAP_SAMPLES, BOOTSTRAP_SEED)
    return SplitScores(**scores, intervals_95=intervals, **more)


def predict_rows(
    source: Source, prepared: PreparedData, name: str
) -> tuple[LabelledTexts, NDArray[np.float32]]:
    """Read rows of a split, or `validation:PART`, and ask a model for their logits.

    :return: the rows, and float32, shape (rows, labels).
    :raises DataError: if there is no such split, it has other labels or annotates none.
    """
    data = _rows_of(source, prepared, name)
    return data, source.classifier.predict_logits(list(data.texts))


def _rows_of(source: Source, prepared: PreparedData, name: str) -> LabelledTexts:
    data = read_rows(prepared, name)
    if data.label_set.labels != source.labels:
        raise DataError(
            f"{name} has other labels than {source.facts['model']}: "
            f"{', '.join(data.label_set.labels)} and not {', '.join(source.labels)}"
        )
    if not (data.targets >= 0).any():
        raise DataError(f"{name} of {prepared.folder} annotates no label, so nothing can be scored")
    return data


def read_rows(prepared: PreparedData, name: str) -> LabelledTexts:
    """Read the rows of a split, or `validation:PART`, that figures are taken on.

    :raises DataError: if there is no such split, or it is empty.
    """
    split, colon, part = name.partition(":")
    if colon and split != "validation":
        raise DataError(f"{name!r} names no split: only validation has parts, not {split!r}")
    data = prepared.validation_part(part) if colon else prepared.split(split)
    if not len(data):
        raise DataError(f"{name} of {prepared.folder} has no rows to score")
    return data


def data_facts(prepared: PreparedData) -> dict[str, Any]:
    """Describe the data that figures were taken on, and the machine, for JSON."""
    splits = prepared.manifest.splits
    return {
        "data": {
            "seed": prepared.manifest.seed,
            "splits": {
                name: {"rows": facts.rows, "sha256": facts.sha256} for name, facts in splits.items()
            },
        },
        "bootstrap": {"samples": BOOTSTRAP_SAMPLES, "seed": BOOTSTRAP_SEED},
        **environment("openvino", "openvino-tokenizers", "tokenizers", "numpy"),
    }


def record_metrics(bundle: Bundle, results: Sequence[Result]) -> Bundle:
    """Write figures into a bundle's manifest and model card; its folder is replaced.

    :param results: what `evaluate` gave, for this bundle and those it is compared with.
    :raises InputError: if none of the figures is of this bundle at its own inference precision, or
        some are of another model.
    """
    manifest = bundle.manifest
    own = (manifest.files[WEIGHTS_NAME], manifest.inference_precision)
    if own not in [(r.weights_sha256, r.inference_precision) for r in results]:
        raise InputError(
            f"none of the figures is of {bundle.folder} run in {manifest.inference_precision}"
        )
    for result in results:
        if result.model != manifest.name:
            raise InputError(f"figures of {result.model} do not belong to {manifest.name}")
    if len({result.weights for result in results}) < len(results):
        raise InputError("two of the figures are of weights of the same precision; record one")
    metrics = {result.weights: to_builtins(result.splits) for result in results}
    if CHECKLIST in manifest.metrics:
        metrics[CHECKLIST] = manifest.metrics[CHECKLIST]
    return bundle.write_changed(bundle.folder, manifest.replace(metrics=metrics))


def record_checklist(bundle: Bundle, source: Source, result: CheckListResult) -> Bundle:
    """Write what a check list says into a bundle's manifest and model card.

    Of each group in which a line failed, the first such line is kept.

    :param source: what the check list was run with.
    :raises InputError: if that is not this bundle at its own inference precision.
    """
    manifest = bundle.manifest
    own = (manifest.files[WEIGHTS_NAME], manifest.inference_precision)
    if own != (source.facts["weights_sha256"], source.facts["inference_precision"]):
        raise InputError(
            f"the check list was not run with {bundle.folder} in {manifest.inference_precision}"
        )
    first = {failure.group: failure for failure in reversed(result.failures)}
    record = {
        "file": result.file,
        "lines": result.lines,
        "passed": result.passed,
        "groups": [
            to_builtins(group)
            | ({"fails": to_builtins(first[group.name])} if group.name in first else {})
            for group in result.groups
        ],
    }
    changed = manifest.replace(metrics={**manifest.metrics, CHECKLIST: record})
    return bundle.write_changed(bundle.folder, changed)
