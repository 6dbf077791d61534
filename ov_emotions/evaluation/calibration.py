"""A bundle's temperatures: fitted, measured, and written into it."""

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
from ov_emotions.thresholds import (
    TemperatureScope,
    apply_thresholds,
    calibration_facts,
    fit_temperatures,
    sigmoid,
    with_temperatures,
)

FITTED_ON = "validation:thresholds"
"""Not the calibration part, which an INT8 model's activations were fitted to already."""

MEASURED_ON = "validation:selection"


def calibrate(
    bundle: Bundle, prepared: PreparedData, scope: TemperatureScope, output: Path | None = None
) -> dict[str, Any]:
    """Fit temperatures on `FITTED_ON`, measure on `MEASURED_ON`, and write a bundle with them.

    The figures after calibration are those of the bundle as written, run as a user would.

    :param bundle: the model.
    :param prepared: the prepared data.
    :param scope: one temperature for all labels, or one each.
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
    by_label = {name: float(t) for name, t in zip(labels, temperatures, strict=True)}
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
