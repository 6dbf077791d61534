"""Bundles written anew with other thresholds, or with a temperature inside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle, write_bundle
from ov_emotions.errors import ExportError
from ov_emotions.runtime import shared_core
from ov_emotions.temperature import mapped_thresholds

if TYPE_CHECKING:
    import openvino as ov


def with_thresholds(
    bundle: Bundle, output: Path, thresholds: NDArray[np.float32], record: dict[str, Any]
) -> Bundle:
    """Write a bundle with other thresholds, and without the figures taken at the old ones.

    :param bundle: the model.
    :param output: a new or empty folder, or an older bundle, which is replaced.
    :param thresholds: float32, shape (labels,), in (0, 1).
    :param record: how they were fitted; `provenance.thresholds` says so.
    :return: the bundle as written.
    :raises BundleError: if the folder cannot be written.
    """
    manifest = bundle.manifest
    changed = replace(
        manifest,
        thresholds=_by_label(manifest.labels, thresholds),
        metrics={},
        provenance={**manifest.provenance, "thresholds": record},
    )
    model = shared_core().read_model(bundle.model_path)
    return write_bundle(output, changed, model, bundle.tokenizer().to_str())


def with_temperatures(
    bundle: Bundle, output: Path, temperatures: NDArray[np.float64], record: dict[str, Any]
) -> Bundle:
    """Write a bundle whose IR divides its logits by temperatures.

    Whatever runs the IR (the classifier, Model Server, Triton) then gives calibrated
    probabilities; thresholds move along, so decisions and the figures taken of them stay.

    :param bundle: the model.
    :param output: a new or empty folder, or an older bundle, which is replaced.
    :param temperatures: float64, shape (labels,), above 0.
    :param record: how they were fitted; added to the list `provenance.temperature`, for a bundle
        may be calibrated more than once.
    :return: the bundle as written.
    :raises ExportError: if the IR has no output `logits`.
    :raises BundleError: if the folder cannot be written.
    """
    manifest = bundle.manifest
    model = shared_core().read_model(bundle.model_path)
    _scale_logits(model, 1 / temperatures)
    moved = mapped_thresholds(manifest.threshold_array(), temperatures)
    earlier = list(manifest.provenance.get("temperature", []))
    changed = replace(
        manifest,
        thresholds=_by_label(manifest.labels, moved),
        provenance={**manifest.provenance, "temperature": [*earlier, record]},
    )
    return write_bundle(output, changed, model, bundle.tokenizer().to_str())


def _scale_logits(model: ov.Model, factors: NDArray[np.float64]) -> None:
    from openvino import opset13 as ops

    for result in model.get_results():
        source = result.input_value(0)
        names = source.get_names()
        if "logits" not in names:
            continue
        source.set_names(set())
        scaled = ops.multiply(source, ops.constant(factors[None].astype(np.float32)))
        scaled.set_friendly_name("calibrated_logits")
        scaled.output(0).set_names(names)
        result.input(0).replace_source_output(scaled.output(0))
        model.validate_nodes_and_infer_types()
        return
    raise ExportError("the IR has no output called logits to calibrate")


def _by_label(labels: tuple[str, ...], values: NDArray[np.float32]) -> dict[str, float]:
    return {label: float(value) for label, value in zip(labels, values, strict=True)}
