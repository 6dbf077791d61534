"""/openapi.json is complete and true: schemathesis, which attacks by it, finds nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from live_server import live

from ov_emotions.classifier import EmotionClassifier

HERE = Path(__file__).parent
EXAMPLES = 8
PATHS = {
    "/v1/emotions": {"post"},
    "/v1/model": {"get"},
    "/metrics": {"get"},
    "/": {"post"},
    "/predict": {"post"},
    "/info": {"get"},
    "/health": {"get"},
    "/v2": {"get"},
    "/v2/health/live": {"get"},
    "/v2/health/ready": {"get"},
    "/v2/models/{name}": {"get"},
    "/v2/models/{name}/ready": {"get"},
    "/v2/models/{name}/infer": {"post"},
    "/v2/models/{name}/versions/{version}": {"get"},
    "/v2/models/{name}/versions/{version}/ready": {"get"},
    "/v2/models/{name}/versions/{version}/infer": {"post"},
}


def test_every_operation_is_described_with_its_errors(tiny_classifier: EmotionClassifier) -> None:
    with live(tiny_classifier) as server:
        told = httpx.get(f"{server.url}/openapi.json").json()
    assert {path: set(one) for path, one in told["paths"].items()} == PATHS
    for path in ("/v1/emotions", "/v2/models/{name}/infer"):
        answers = told["paths"][path]["post"]["responses"]
        assert set(answers) >= {
            "200",
            "400",
            "401",
            "408",
            "413",
            "415",
            "422",
            "429",
            "503",
            "504",
        }
        schema = told["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert schema["$ref"].rpartition("/")[2] in told["components"]["schemas"]
    texts = told["components"]["schemas"]["EmotionsRequest"]["properties"]["texts"]
    assert (texts["maxItems"], texts["items"]["maxLength"]) == (10_000, 20_000)


def test_schemathesis_finds_nothing(tiny_classifier: EmotionClassifier, tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("schemathesis")
    found = shutil.which(command) or shutil.which("schemathesis")
    if found is None:
        pytest.skip("schemathesis is not installed")
    small = {"max_texts": 20, "max_text_characters": 60}
    with live(tiny_classifier, **small) as server:
        done = subprocess.run(
            [
                *(found, f"--config-file={HERE / 'schemathesis.toml'}", "run"),
                f"{server.url}/openapi.json",
                *("--max-examples", str(EXAMPLES), "--phases", "examples,coverage,fuzzing"),
                *("--continue-on-failure", "--generation-database", "none", "--seed", "1"),
                "--no-color",
            ],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(HERE),
                "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert "Tested: 16" in done.stdout
