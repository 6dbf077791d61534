"""A real NVIDIA Triton server on loopback, with its Python backend and this project's wheel.

The binaries come from the wheel `nvidia-pytriton`, without its Python dependencies, into a virtual
environment of their own: Triton 2.51 needs numpy below 2 in the Python that it runs models with.
It is made once, in a cache folder; OV_EMOTIONS_TRITON names another place for it.
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib.metadata
import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

from machine import free_port

ROOT = Path(__file__).resolve().parents[2]
PYTRITON = "nvidia-pytriton==0.7.0"
STUB = "triton_python_backend_stub"
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


class NoTritonError(Exception):
    """The server cannot be had on this machine; the message says why."""


class TritonEnvironment:
    """Where the server's files are, and the Python that it runs models with."""

    def __init__(self, folder: Path, backends: Path) -> None:
        packages = folder / "lib" / f"python{MINOR}" / "site-packages"
        self.folder = folder
        self.server = packages / "pytriton" / "tritonserver"
        self.backends = backends
        self.libraries = packages / "nvidia_pytriton.libs"

    def make_backends(self) -> None:
        """Put the part that embeds this Python beside the backend that starts it."""
        shutil.copytree(self.server / "backends" / "python", self.backends / "python")
        stub = self.server / "python_backend_stubs" / MINOR / STUB
        shutil.copy(stub, self.backends / "python" / STUB)
        (self.backends / "python" / STUB).chmod(0o755)

    def variables(self) -> dict[str, str]:
        # The backend's Python ignores PYTHONPATH; it finds its packages by the first python3 in
        # PATH, as an activated environment has it.
        libraries = f"{self.libraries}:{sysconfig.get_config_var('LIBDIR')}"
        return {
            **{key: os.environ[key] for key in ("HOME", "TMPDIR", "LANG") if key in os.environ},
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "LD_LIBRARY_PATH": libraries,
        }


def find_triton(temporary: Path) -> TritonEnvironment:
    """Find the environment, or make it; NoTritonError where it cannot be had."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise NoTritonError("the wheel with Triton is for Linux on x86-64")
    library = sysconfig.get_config_var("INSTSONAME") or ""
    try:
        ctypes.CDLL(str(Path(sysconfig.get_config_var("LIBDIR")) / library))
    except OSError as error:
        raise NoTritonError(
            f"Triton embeds Python, and this one has no shared library ({library})"
        ) from error
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ov_emotions"
    folder = Path(os.environ.get("OV_EMOTIONS_TRITON", cache / f"triton-py{MINOR}"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(folder)
    environment = TritonEnvironment(folder, temporary / "backends")
    environment.make_backends()
    return environment


def _install(folder: Path) -> None:
    done = folder / "complete"
    wanted = " ".join([PYTRITON, *_dependencies()])
    if not done.is_file() or done.read_text() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        _pip(folder, "--no-deps", PYTRITON)
        _pip(folder, "hatchling", *_dependencies())
        done.write_text(wanted)
    # The project as it is now, as a wheel: it is what a user of the Python backend installs.
    problem = _try_pip(folder, "--no-deps", "--no-build-isolation", "--force-reinstall", str(ROOT))
    assert not problem, f"the project does not install: {problem}"


def _dependencies() -> list[str]:
    names = ("openvino", "openvino-tokenizers", "tokenizers", "msgspec")
    return ["numpy<2", *(f"{name}=={importlib.metadata.version(name)}" for name in names)]


def _pip(folder: Path, *arguments: str) -> None:
    if problem := _try_pip(folder, *arguments):
        raise NoTritonError(f"Triton cannot be installed: {problem}")


def _try_pip(folder: Path, *arguments: str) -> str:
    """Install; what went wrong, or nothing."""
    command = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install"]
    done = subprocess.run(
        [*command, "--quiet", *arguments], capture_output=True, text=True, check=False, timeout=600
    )
    return done.stderr.strip()[-500:] or "pip failed" if done.returncode else ""


class TritonServer:
    """A server process for a model repository; it can be killed and started again."""

    def __init__(self, environment: TritonEnvironment, repository: Path, log: Path) -> None:
        self._environment = environment
        self._repository = repository
        self._log = log
        self._http, self._grpc = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, protocol: str, model: str = "emotions") -> str:
        port = self._grpc if protocol == "grpc" else self._http
        return f"{protocol}://127.0.0.1:{port}/{model}"

    def start(self, *, wait: bool = True) -> None:
        command = [
            self._environment.server / "bin" / "tritonserver",
            f"--model-repository={self._repository}",
            f"--backend-directory={self._environment.backends}",
            f"--http-port={self._http}",
            f"--grpc-port={self._grpc}",
            "--http-address=127.0.0.1",
            "--grpc-address=127.0.0.1",
            "--allow-metrics=false",
            "--model-control-mode=explicit",
            "--load-model=*",
            "--exit-timeout-secs=5",
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env=self._environment.variables(),
                start_new_session=True,
            )
        if wait:
            self.wait()

    def wait(self) -> None:
        assert self._process is not None
        end = time.monotonic() + 60
        while time.monotonic() < end:
            assert self._process.poll() is None, f"the server ended:\n{self.log()}"
            try:
                address = f"http://127.0.0.1:{self._http}/v2/health/ready"
                with urllib.request.urlopen(address, timeout=2):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"the server is not ready after a minute:\n{self.log()}")

    def load(self, model: str = "emotions") -> None:
        """Have the server look at the model's folder again."""
        address = f"http://127.0.0.1:{self._http}/v2/repository/models/{model}/load"
        request = urllib.request.Request(address, data=b"{}", method="POST")
        try:
            with urllib.request.urlopen(request, timeout=60):
                pass
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error.read().decode()}\n{self.log()}") from error

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the server and the processes of its models."""
        if self._process is None:
            return
        if how is signal.SIGTERM and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                how = signal.SIGKILL
        if how is not signal.SIGTERM:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)
        self._process = None

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]
