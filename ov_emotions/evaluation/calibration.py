"""A bundle's temperatures: fitted, measured, and written into it.

As in `thresholds`, `logits` and `probabilities` are float32, shape (rows, labels), and `targets`
int8, the same shape: 1, 0 or -1 for unknown, which is left out.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle
from ov_emotions.data.dataset import PreparedData
from ov_emotions.errors import ExportError
from ov_emotions.evaluation.run import open_bundle, predict_rows
from ov_emotions.metrics import expected_calibration_error
from ov_emotions.system import shared_core
from ov_emotions.thresholds import (
    TemperatureScope,
    apply_thresholds,
    fit_temperatures,
    mapped_thresholds,
    scale_logits,
    sigmoid,
)

FITTED_ON = "validation:thresholds"
"""Not the calibration part, which an INT8 model's activations were fitted to already."""

MEASURED_ON = "validation:selection"


def calibrate(
    bundle: Bundle, prepared: PreparedData, scope: TemperatureScope, output: Path | None = None
) -> dict[str, Any]:
    """Fit temperatures on `FITTED_ON`, measure on `MEASURED_ON`, and write a bundle with them.

    The figures after calibration are those of the bundle as written, run as a user would.

    :param output: folder of the bundle; None writes none.
    :return: plain values: temperatures by label, calibration before and after.
    :raises DataError: if a part is empty or has other labels.
    :raises ExportError: if a decision on the measured texts would change.
    """
    with open_bundle(bundle) as source:
        rows, logits = predict_rows(source, prepared, FITTED_ON)
        measured, before = predict_rows(source, prepared, MEASURED_ON)
    temperatures = fit_temperatures(logits, rows.targets, scope)
    labels = bundle.manifest.labels
    by_label = dict(zip(labels, temperatures.tolist(), strict=True))
    record = {
        "scope": scope,
        "temperatures": by_label,
        "fitted_on": FITTED_ON,
        "rows": len(rows),
        "folded_into": "logits of the IR",
    }
    with tempfile.TemporaryDirectory() as folder:
        draft = with_temperatures(bundle, Path(folder) / "draft", temperatures, record)
        with open_bundle(draft) as source:
            after = predict_rows(source, prepared, MEASURED_ON)[1]
        changed = int((_decisions(bundle, before) != _decisions(draft, after)).sum())
        if changed:
            raise ExportError(f"calibration would change {changed} decisions of {MEASURED_ON}")
        if output is not None:
            draft.save(output)
    return {
        "model": bundle.manifest.name,
        "fitted_on": FITTED_ON,
        "measured_on": MEASURED_ON,
        "scope": scope,
        "temperatures": by_label,
        "decisions_compared": int(after.size),
        "decisions_changed": changed,
        "before": calibration_facts(before, measured.targets, labels),
        "after": calibration_facts(after, measured.targets, labels),
    }


def _decisions(bundle: Bundle, logits: NDArray[np.float32]) -> NDArray[np.bool_]:
    return apply_thresholds(sigmoid(logits), bundle.manifest.threshold_array())


def with_temperatures(
    bundle: Bundle, output: Path, temperatures: NDArray[np.float64], record: dict[str, Any]
) -> Bundle:
    """Write a bundle whose IR divides its logits by temperatures.

    Whatever runs the IR (the classifier, Model Server, Triton) then gives calibrated
    probabilities; thresholds move along, so decisions and the figures taken of them stay. A bundle
    may be calibrated more than once: `provenance.temperature` lists the records.

    :raises ExportError: if the IR has no output `logits`.
    :raises BundleError: if the folder cannot be written.
    """
    manifest = bundle.manifest
    model = shared_core().read_model(bundle.model_path)
    scale_logits(model, 1 / temperatures)
    moved = mapped_thresholds(manifest.threshold_array(), temperatures)
    earlier = list(manifest.provenance.get("temperature", []))
    changed = manifest.replace(
        thresholds=dict(zip(manifest.labels, moved.tolist(), strict=True)),
        provenance={**manifest.provenance, "temperature": [*earlier, record]},
    )
    return bundle.write_changed(output, changed, model)


def calibration_facts(
    logits: NDArray[np.float32], targets: NDArray[np.int8], labels: tuple[str, ...]
) -> dict[str, Any]:
    """Measure calibration, as plain values: of all labels together and of each."""
    scores = sigmoid(logits)
    each = {label: reliability(scores[:, [i]], targets[:, [i]]) for i, label in enumerate(labels)}
    known = [entry["ece"] for entry in each.values() if entry["ece"] is not None]
    return {
        "log_loss": round(log_loss(logits, targets), 6),
        "mean_label_ece": round(float(np.mean(known)), 6) if known else None,
        "all": reliability(scores, targets),
        "labels": each,
    }


def reliability(
    probabilities: NDArray[np.float32], targets: NDArray[np.int8], bins: int = 15
) -> dict[str, Any]:
    """Say how often labels are there among texts with about the same probability.

    All columns are taken together; give one column for one label.

    :return: the diagram, by bins of equal width that hold any rows: `confidence`, the mean
        probability; `frequency`, the share of rows with the label; `rows`. And `ece`, the expected
        calibration error, in [0, 1]; None where nothing is known.
    """
    known = targets >= 0
    column, present = probabilities[known].astype(np.float64), targets[known] == 1
    if not len(column):
        return {"ece": None, "confidence": [], "frequency": [], "rows": []}
    place = np.minimum((column * bins).astype(np.int64), bins - 1)
    rows = np.bincount(place, minlength=bins)
    filled = rows > 0
    sums = (np.bincount(place, weights=w, minlength=bins)[filled] for w in (column, present))
    confidence, frequency = (np.round(total / rows[filled], 6).tolist() for total in sums)
    flat = probabilities[known][:, None], targets[known][:, None]
    return {
        "ece": round(float(expected_calibration_error(*flat, bins)[0]), 6),
        "confidence": confidence,
        "frequency": frequency,
        "rows": rows[filled].tolist(),
    }


def log_loss(logits: NDArray[np.float32], targets: NDArray[np.int8]) -> float:
    """Give the mean log-loss over known targets with finite logits, in nats."""
    usable = np.isfinite(logits) & (targets >= 0)
    wide = logits[usable].astype(np.float64)
    return float((np.logaddexp(0, wide) - wide * (targets[usable] == 1)).mean())
