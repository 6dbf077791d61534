"""The Dockerfiles: linted, held to what they promise, and run as far as no engine is needed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_kserve import Reply, http_server
from machine import run, tool

from ov_emotions.serving.profile import IMAGE, ServingProfile

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "ovms_config" / "containers"
NAMES = ("server.Dockerfile", "ovms.Dockerfile")

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"{FOLDER} is not part of an install")


def instructions(name: str) -> list[tuple[str, str]]:
    """Instruction and argument of each line, continued lines joined."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = [line.partition(" ") for line in joined.splitlines() if line.strip()]
    return [(word, rest) for word, _, rest in found]


def last_stage(name: str) -> list[tuple[str, str]]:
    found = instructions(name)
    start = max(i for i, (word, _) in enumerate(found) if word == "FROM")
    return found[start:]


def health(name: str) -> list[str]:
    [(_, rest)] = [one for one in last_stage(name) if one[0] == "HEALTHCHECK"]
    command: list[str] = json.loads(rest[rest.index("[") :])
    return command


@pytest.mark.parametrize("name", NAMES)
def test_hadolint_finds_nothing(name):
    run(tool("hadolint"), "--failure-threshold", "style", FOLDER / name)


@pytest.mark.parametrize("name", NAMES)
def test_the_base_image_is_pinned_to_a_release(name):
    images = [rest for word, rest in instructions(name) if word == "ARG" and "_IMAGE=" in rest]
    assert len(images) == 1
    variable, _, image = images[0].partition("=")
    assert re.fullmatch(r"[\w./]+:\d+\.\d+\.\d+[\w.\-]*", image), image
    bases = {rest.split()[0] for word, rest in instructions(name) if word == "FROM"}
    assert bases == {f"${{{variable}}}"}
    if name == "ovms.Dockerfile":
        assert image == IMAGE


@pytest.mark.parametrize("name", NAMES)
def test_the_result_runs_without_rights_and_checks_its_health(name):
    words = [word for word, _ in last_stage(name)]
    users = [rest for word, rest in last_stage(name) if word == "USER"]
    assert users == ["5000:5000"]
    assert words.index("USER") < words.index("HEALTHCHECK")
    assert "EXPOSE" in words
    assert not {"curl", "wget"} & set(re.findall(r"\w+", " ".join(health(name))))
    assert not any(word == "ADD" for word in words)


def test_what_the_image_installs_and_starts_is_there():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (FOLDER / "server.Dockerfile").read_text(encoding="utf-8")
    extras = set(re.findall(r"\$\{wheel\}\[(\w+)\]", text))
    assert extras == {"server"} <= set(project["optional-dependencies"])
    [entry] = [rest for word, rest in last_stage("server.Dockerfile") if word == "ENTRYPOINT"]
    command = json.loads(entry)
    assert command[0] in project["scripts"]

    from ov_emotions.cli.main import read_arguments

    _, _, values, _ = read_arguments(command[1:])
    assert (values["settings"].host, values["settings"].port) == ("0.0.0.0", 8000)


def test_model_server_is_started_as_everywhere_else():
    [rest] = [rest for word, rest in last_stage("ovms.Dockerfile") if word == "CMD"]
    assert json.loads(rest) == ServingProfile("latency", 4).server_arguments()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (404, False)])
def test_the_health_check_sees_whether_a_server_is_ready(name, status, healthy):
    asked: list[str] = []

    def rule(request: Any) -> Reply:
        asked.append(request.path)
        return Reply(status)

    command = health(name)
    if command[0] == "bash" and shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    with http_server(rule) as (port, _):
        words = [re.sub(r"(127\.0\.0\.1[:/])8000", rf"\g<1>{port}", word) for word in command]
        words[0] = sys.executable if words[0] == "python" else words[0]
        assert words != command
        code = subprocess.run(words, capture_output=True, check=False, timeout=20).returncode
    assert (code == 0) is healthy
    assert asked == [
        "/v2/health/ready" if name == "server.Dockerfile" else "/v2/models/emotions/ready"
    ]


def test_the_live_server_is_healthy_to_its_own_check(tiny_classifier):
    from live_server import live

    with live(tiny_classifier) as server:
        words = [word.replace(":8000", f":{server.port}") for word in health("server.Dockerfile")]
        words[0] = sys.executable
        assert subprocess.run(words, check=False, timeout=20).returncode == 0


def test_compose_runs_the_server_read_only_and_without_rights():
    loaded = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
    server = loaded["services"]["emotions"]
    assert server["read_only"] is True
    assert server["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in server["ports"])

    from ov_emotions.cli.main import read_arguments

    _, _, values, _ = read_arguments(["serve", *server["command"]])
    assert values["settings"].threads == 4
