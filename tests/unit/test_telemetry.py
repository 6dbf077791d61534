"""No report of use leaves a process that asked us for an emotion."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ov_emotions.bundle import Bundle

# A report needs a child process, a connection or a request; Python tells of each.
WATCH = """
import sys, threading
def told(event, arguments):
    if event in ("os.fork", "socket.connect", "socket.getaddrinfo", "urllib.Request"):
        sys.stderr.write(f"{event} {arguments}\\n")
sys.addaudithook(told)
"""
PREDICTION = f"""
{WATCH}
from ov_emotions import EmotionClassifier
assert EmotionClassifier(sys.argv[1])("какая радость").labels == ("joy",)
assert len(threading.enumerate()) == 1, threading.enumerate()
"""
CONVERSION = f"""
{WATCH}
import ov_emotions
from ov_emotions.quantization.ptq import compress_weights
from ov_emotions.quantization.recipe import Compression
from ov_emotions.system import shared_core
compress_weights(shared_core().read_model(sys.argv[1] + "/model.xml"), Compression())
import openvino, torch
openvino.convert_model(torch.nn.Identity(), example_input=torch.zeros(2, 2))
"""


def _run(program: str, bundle: Bundle, home: Path) -> subprocess.CompletedProcess[str]:
    # Their own tests' and CI's switches would hide what a user sees.
    ours = {k: v for k, v in os.environ.items() if k not in ("CI", "TF_BUILD", "JENKINS_URL")}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(bundle.folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**ours, "HOME": str(home)},
    )


def test_a_prediction_sends_nothing_and_writes_nothing_into_the_home(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    done = _run(PREDICTION, tiny_bundle, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "intel").exists()


def test_compression_and_conversion_send_nothing(tiny_bundle: Bundle, tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="quantization needs nncf", exc_type=ImportError)
    pytest.importorskip("torch", reason="conversion needs torch", exc_type=ImportError)
    done = _run(CONVERSION, tiny_bundle, tmp_path)
    assert done.returncode == 0, done.stderr
    # Triton and others may look the machine over in a child; a sender would connect.
    assert "socket" not in done.stderr
    assert "urllib" not in done.stderr
    assert not (tmp_path / "intel").exists()


def test_what_the_program_imported_before_us_stays(tiny_bundle: Bundle, tmp_path: Path) -> None:
    program = """
import types, sys
own = sys.modules["openvino_telemetry"] = types.ModuleType("openvino_telemetry")
import ov_emotions
assert sys.modules["openvino_telemetry"] is own
"""
    assert _run(program, tiny_bundle, tmp_path).returncode == 0


@pytest.mark.parametrize(("before", "after"), [(None, "true"), ("false", "false")])
def test_mlflow_is_silenced_unless_the_user_set_its_switch(
    monkeypatch: pytest.MonkeyPatch, before: str | None, after: str
) -> None:
    from ov_emotions.system import keep_silent

    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", before or "")
    if before is None:
        monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY")
    keep_silent("mlflow")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == after
