"""What tests of deployments ask of this machine."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest


def tool(name: str) -> str:
    """Find a program, beside this Python too; the test is skipped where it is not installed."""
    beside = Path(sys.executable).with_name(name)
    found = shutil.which(beside) or shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str | Path, cwd: Path | None = None) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of localhost, and its key."""
    certificate, key = folder / "tls.crt", folder / "tls.key"
    command = [tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    run(*command, "-keyout", key, "-out", certificate)
    return certificate, key


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
