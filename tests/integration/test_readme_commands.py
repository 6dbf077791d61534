"""Every command of the README runs, in order, laid out as a clone, on a small copy of the data.

The blocks are read out of README.md itself. A block that cannot run here has a mark before it,
`<!-- not run: why -->`, and is printed with its reason.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from raw_sets import FILES, write_raw

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"(?:<!-- not run: (.*?) -->\n)?```(shell|python)\n(.*?)```", re.DOTALL)
SIZES = (300, 300, 80, 80, 1200, 40, 60)
SERVERS = ("ov-emotions serve", "ov-emotions demo")
SMALL = {  # what a small copy of the data needs that the real data do not
    "ov-emotions convert finetuned/model ": " --rounds 1",
    "ov-emotions report ": " --rounds 1 --single-texts 4 --offline-texts 8",
    "ov-emotions train --base ": " --max-length 32 --max-rows 300",
    "ov-emotions distill ": " --max-length 32 --max-rows 300",
}
SECONDS = 240  # of one command


def blocks() -> Iterator[tuple[str, str | None, str]]:
    """Give kind, reason for not running, and text of every block."""
    for reason, kind, text in BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8")):
        yield kind, reason or None, text


def commands(text: str) -> list[str]:
    """Split a block into what is given to the shell at once: here-documents stay whole."""
    found: list[str] = []
    end: str | None = None
    joined = False
    for line in text.splitlines():
        if end is not None or joined:
            found[-1] += "\n" + line
        elif line.strip() and not line.lstrip().startswith("#"):
            found.append(line)
        if end is not None:
            end = None if line == end else end
            continue
        joined = line.rstrip().endswith("\\")
        if here := re.search(r"<<'(\w+)'", line):
            end = here[1]
    return found


@pytest.fixture
def clone(tmp_path, tiny_base):
    """A folder as a clone is, with a small `shared` folder beside it."""
    work = tmp_path / "ov_emotions"
    work.mkdir()
    for name in ("benchmarks", "ovms_config", "quantize", "tests", ".ci"):
        (work / name).symlink_to(ROOT / name)
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, work)
    (work / "ov_emotions").symlink_to(ROOT / "ov_emotions")
    write_raw(
        tmp_path / "shared" / "data",
        dict(zip(FILES, SIZES, strict=True)),
    )
    shutil.copytree(tiny_base, tmp_path / "shared" / "models" / "rubert-tiny2")
    return work


def environment(bin_folder: Path) -> dict[str, str]:
    """Make `ov-emotions` and `python` those of this interpreter."""
    bin_folder.mkdir()
    for name, call in (("ov-emotions", '-m ov_emotions "$@"'), ("python", '"$@"')):
        script = bin_folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {call}\n')
        script.chmod(0o755)
    known = {k: v for k, v in os.environ.items() if k != "OV_EMOTIONS_SHARED"}
    return known | {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers that it is ready."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=2).close()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    pytest.fail("the server was not ready after 60 seconds")


def stop(server: subprocess.Popen[bytes] | None) -> None:
    if server is not None:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) in (0, 143, -15)


@pytest.mark.parametrize(
    ("reason", "text"), [(reason, text) for _, reason, text in blocks() if reason]
)
def test_a_block_that_is_not_run_says_why(reason, text):
    assert len(reason.split()) >= 3, f"no reason is given for\n{text}"
    pytest.skip(f"{reason}: {text.splitlines()[0]}")


def test_every_command_runs_in_order(clone, tmp_path):
    with socket.socket() as free:
        if free.connect_ex(("127.0.0.1", 8000)) == 0:
            pytest.skip("port 8000, which the README names, is taken here")
    env = environment(tmp_path / "bin")
    server: subprocess.Popen[bytes] | None = None
    python = ""
    try:
        for kind, reason, text in blocks():
            if reason:
                continue
            if kind == "python":
                # One session, as a reader would have it: later blocks use names of earlier ones.
                python += text + "\n"
                run([sys.executable, "-c", python], clone, env, text)
                continue
            for command in commands(text):
                if command.startswith(SERVERS):
                    stop(server)
                    with (tmp_path / "server.log").open("ab") as log:
                        words = command.split("#")[0].split()
                        server = subprocess.Popen(words, cwd=clone, env=env, stdout=log, stderr=log)
                    wait_for(8000, server)
                    continue
                for start, more in SMALL.items():
                    if command.startswith(start):
                        command = command.split("  #")[0] + more
                run(["bash", "-euo", "pipefail", "-c", command], clone, env, command)
    finally:
        stop(server)


def run(argv: list[str], folder: Path, env: dict[str, str], told: str) -> None:
    """Run one thing, and show it with all that it said if it fails."""
    done = subprocess.run(
        argv, cwd=folder, env=env, capture_output=True, timeout=SECONDS, check=False
    )
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert done.returncode == 0, f"exit code {done.returncode} of\n{told}\n{said[-3000:]}"
