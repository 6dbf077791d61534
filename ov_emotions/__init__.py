"""Emotions in Russian text, several at once, on a CPU."""

from __future__ import annotations

import importlib
import sys

from ov_emotions.errors import (
    AlreadyQuantizedError,
    BundleError,
    BundleIntegrityError,
    BundleNotFoundError,
    BundleSchemaError,
    CheckpointError,
    ClusterError,
    DataError,
    DeviceError,
    ExportError,
    InputError,
    MissingColumnError,
    MissingExtraError,
    OvEmotionsError,
    QuantizationError,
    RepositoryError,
    ServerError,
    ServerMismatchError,
    ServerUnavailableError,
    TrainingError,
)

TYPE_CHECKING = False  # typing takes as long to import as all the rest of this
if TYPE_CHECKING:
    from typing import Any

    from ov_emotions.adaptation import adapt
    from ov_emotions.bundle import Bundle
    from ov_emotions.classifier import EmotionClassifier
    from ov_emotions.conversion.run import convert
    from ov_emotions.prediction import Prediction

__version__ = "0.1.0"

# OpenVINO and NNCF send reports of use to Google Analytics unless they find no sender, which both
# are made to work without. It is hidden before any module imports OpenVINO; where the program
# itself imported it before, that is its business.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

__all__ = [
    "AlreadyQuantizedError",
    "Bundle",
    "BundleError",
    "BundleIntegrityError",
    "BundleNotFoundError",
    "BundleSchemaError",
    "CheckpointError",
    "ClusterError",
    "DataError",
    "DeviceError",
    "EmotionClassifier",
    "ExportError",
    "InputError",
    "MissingColumnError",
    "MissingExtraError",
    "OvEmotionsError",
    "Prediction",
    "QuantizationError",
    "RepositoryError",
    "ServerError",
    "ServerMismatchError",
    "ServerUnavailableError",
    "TrainingError",
    "__version__",
    "adapt",
    "convert",
]

# Imported at first use: OpenVINO takes a moment that `ov-emotions --help` need not wait for.
_LAZY = {
    "adapt": "ov_emotions.adaptation",
    "Bundle": "ov_emotions.bundle",
    "convert": "ov_emotions.conversion.run",
    "EmotionClassifier": "ov_emotions.classifier",
    "Prediction": "ov_emotions.prediction",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
