"""Set-up on a fresh machine with Python alone: a virtual environment, the library, a first run.

    python3 .ci/bootstrap.py try       install the library and classify a text
    python3 .ci/bootstrap.py install   install the development extras as well
    python3 .ci/bootstrap.py test      the same, then run the tests; further arguments go to pytest

The environment is made in .venv beside this project, or where OV_EMOTIONS_VENV says.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = Path(os.environ.get("OV_EMOTIONS_VENV", ROOT / ".venv"))
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
TORCH = "2.13.0"
CONSTRAINTS = ROOT / ".ci" / "constraints.txt"
EXAMPLE = "ну наконец-то доехали я так рада вас всех видеть"


def run(*command: str | Path) -> None:
    """Run a command, shown first; stop with its exit code if it fails."""
    words = [str(word) for word in command]
    print("+", " ".join(words), flush=True)
    code = subprocess.call(words, cwd=ROOT)
    if code:
        raise SystemExit(code)


def pip(*arguments: str) -> None:
    """Run pip inside the environment."""
    run(PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *arguments)


def make_environment() -> None:
    """Create the virtual environment where there is none."""
    if sys.version_info < (3, 11):
        raise SystemExit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}")
    if not PYTHON.exists():
        print(f"+ creating {VENV}", flush=True)
        venv.create(VENV, with_pip=True)


def install_torch() -> None:
    """Install a CPU build of torch where the package index has one, else the default build."""
    probe = "import torch"
    if subprocess.call([PYTHON, "-c", probe], stderr=subprocess.DEVNULL) == 0:
        return
    cpu = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    if subprocess.call([*cpu, f"torch=={TORCH}+cpu"], stderr=subprocess.DEVNULL) != 0:
        print("+ no CPU build of torch in the index: taking the default build", flush=True)
        pip(f"torch=={TORCH}")


def install() -> None:
    """Install the library, editable, with the development extras."""
    make_environment()
    install_torch()
    # The same versions at every run; users have only the bounds of pyproject.toml.
    pip("--constraint", str(CONSTRAINTS), "--editable", ".[dev]")


def main(arguments: list[str]) -> None:
    """Run the verb that was asked for."""
    verb = arguments[0] if arguments else ""
    if verb == "try":
        make_environment()
        pip(".")
        run(BIN / "ov-emotions", "classify", EXAMPLE)
    elif verb == "install":
        install()
    elif verb == "test":
        install()
        # Two at a time: tests wait much, and two models of each kind fit into the memory of most.
        # In the order of the folders: by number of tests, the longest file would come last, alone.
        two = ("--numprocesses=2", "--dist=loadfile", "--no-loadscope-reorder")
        run(PYTHON, "-m", "pytest", *two, *arguments[1:])
    else:
        print(__doc__, file=sys.stderr)
        raise SystemExit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
