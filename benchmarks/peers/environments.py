"""Virtual environments for the peers, made anew where one is missing."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

from benchmarks.peers.plan import ENVIRONMENTS, TORCH, Environment


def python_of(work: Path, name: str) -> Path:
    """Return an environment's Python.

    :param work: folder of the benchmark.
    :param name: of the environment.
    :return: the path, whether or not it is there.
    """
    return work / "venvs" / name / "bin" / "python"


def make_environments(work: Path) -> dict[str, str]:
    """Make those that are missing.

    :param work: folder of the benchmark.
    :return: why, by name, for those that could not be made.
    """
    failed = {}
    for name, environment in ENVIRONMENTS.items():
        done = work / "venvs" / name / "complete"
        if done.is_file() and done.read_text(encoding="utf-8") == repr(environment):
            print(f"{name}: is there")
            continue
        print(f"{name}: installing", flush=True)
        try:
            _make(python_of(work, name), environment)
        except subprocess.CalledProcessError as error:
            failed[name] = f"pip could not install {' '.join(environment.requirements)}: {error}"
            print(failed[name], flush=True)
            continue
        done.write_text(repr(environment), encoding="utf-8")
    return failed


def _make(python: Path, environment: Environment) -> None:
    # Isolated: nothing of the environment that this runs in shows through.
    venv.create(python.parents[1], with_pip=True, clear=True)
    install = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    if environment.torch:
        cpu, default = TORCH
        if subprocess.call([*install, cpu], stderr=subprocess.DEVNULL):
            subprocess.run([*install, default], check=True)
    subprocess.run([*install, *environment.requirements], check=True)
