"""Reports of use that other libraries send to their makers, switched off for this process.

OpenVINO and NNCF send theirs to Google Analytics unless the user opted out, from a child process
that is forked at import and at every conversion; MLflow, Ray and Gradio send their own. Nobody who
asks for an emotion was asked for that. What the user set elsewhere is neither read nor changed.
"""

from __future__ import annotations

import os
import sys


def keep_openvino_silent() -> None:
    """Make OpenVINO and NNCF find no sender, which both are made to work without.

    Does nothing where the program itself imported OpenVINO before: then that is its business.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def keep_ray_silent() -> None:
    """Set Ray's own switch before it is imported, unless the user set it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def keep_mlflow_silent() -> None:
    """Set MLflow's own switch before it is imported, unless the user set it."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def keep_gradio_silent() -> None:
    """Set the switches of Gradio, and of the Hub client that sends for it, before its import."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
