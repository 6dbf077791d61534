"""The machine and the process: CPU budget, memory, the one OpenVINO core, quiet third parties."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import logging
import os
import platform
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ov_emotions import __version__
from ov_emotions.errors import DeviceError, MissingExtraError

if TYPE_CHECKING:
    import openvino as ov


def require(module: str, *, extra: str) -> Any:
    """Import a module that an extra brings.

    :param module: dotted name.
    :param extra: the extra of this package that installs it.
    :return: the module.
    :raises MissingExtraError: if it is not installed, or if what is installed does not fit.
    """
    try:
        return importlib.import_module(module)
    except MissingExtraError:  # told by a module of ours
        raise
    except ModuleNotFoundError as error:
        missing = error.name or module
        raise MissingExtraError(
            f"this needs {missing}, which is not installed: pip install 'ov-emotions[{extra}]'"
        ) from error
    # What packages raise that find another one too old, too new, or built for something else.
    except (ImportError, AttributeError, RuntimeError, ValueError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MissingExtraError(
            f"{module} is installed, but does not work with what is installed beside it "
            f"({reason.rstrip('.')}): pip install --upgrade 'ov-emotions[{extra}]'"
        ) from error


_CPUINFO = Path("/proc/cpuinfo")
_TELLING_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
)


def _cpuinfo(key: str) -> str:
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return ""


def cpu_name() -> str:
    """Return the processor's model name as the system tells it."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_flags() -> tuple[str, ...]:
    """Return the instruction sets that matter to inference and that this processor has."""
    present = set(_cpuinfo("flags").split())
    return tuple(flag for flag in _TELLING_FLAGS if flag in present)


def available_cores() -> int:
    """Return the logical cores that this process may use, affinity included."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Machine:
    """The CPU as this process sees it.

    :param cpu: model name.
    :param logical_cores: of the machine.
    :param usable_logical_cores: that the scheduler may put this process on.
    :param usable_physical_cores: the same, siblings counted once; None where it cannot be told.
    :param cpu_quota: CPUs' worth of time that a control group allows; None for no limit.
    :param instructions: the instruction sets present that INT8 and BF16 models gain from.
    """

    cpu: str
    logical_cores: int
    usable_logical_cores: int
    usable_physical_cores: int | None
    cpu_quota: float | None
    instructions: tuple[str, ...]


def read_machine() -> Machine:
    """Ask the operating system.

    :return: what it said; less of it on other systems than Linux.
    """
    return Machine(
        cpu=cpu_name(),
        logical_cores=os.cpu_count() or 1,
        usable_logical_cores=available_cores(),
        usable_physical_cores=usable_physical_cores(),
        cpu_quota=cpu_quota(),
        instructions=cpu_flags(),
    )


def usable_physical_cores(cpuinfo: Path = Path("/proc/cpuinfo")) -> int | None:
    """Count the cores under the processors that this process may run on.

    :param cpuinfo: Linux's description of the processors.
    :return: their number; None where it cannot be told.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    usable = os.sched_getaffinity(0)
    cores = {
        (fields.get("physical id", "0"), fields["core id"])
        for number, fields in _processors(cpuinfo).items()
        if number in usable and "core id" in fields
    }
    return len(cores) or None


def processors_apart(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[int]:
    """Order the processors that this process may run on, so that siblings come last.

    :param cpuinfo: Linux's description of the processors.
    :return: their numbers: one of each physical core, then the second of each, and so on.
    """
    described = _processors(cpuinfo)
    taken: dict[tuple[str, str], int] = {}
    ranked = []
    for number in sorted(os.sched_getaffinity(0)):
        fields = described.get(number, {})
        core = fields.get("physical id", "0"), fields.get("core id", f"of {number}")
        ranked.append((taken.setdefault(core, 0), number))
        taken[core] += 1
    return [number for _, number in sorted(ranked)]


def _processors(path: Path) -> dict[int, dict[str, str]]:
    """Parse /proc/cpuinfo: the fields of each processor, by its number."""
    found: dict[int, dict[str, str]] = {}
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return found
    for block in text.split("\n\n"):
        pairs = (line.split(":", 1) for line in block.splitlines() if ":" in line)
        fields = {key.strip(): value.strip() for key, value in pairs}
        if fields.get("processor", "").isdecimal():
            found[int(fields["processor"])] = fields
    return found


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Find the smallest limit of this process's control group and of those above it.

    :param root: where /proc and /sys lie.
    :return: CPUs' worth of time; None for no limit.
    """
    base = root / "sys/fs/cgroup"
    limits = [_quota_v1(base / "cpu")]
    for group in _groups(root, base):
        try:
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
            limits.append(int(quota) / int(period))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return min((limit for limit in limits if limit is not None), default=None)


def _groups(root: Path, base: Path) -> list[Path]:
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    unified = next((line[3:] for line in lines if line.startswith("0::")), "/")
    group = base / unified.lstrip("/")
    return [group, *(parent for parent in group.parents if parent.is_relative_to(base))]


def _quota_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period = int((folder / "cpu.cfs_period_us").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None


@dataclass(frozen=True)
class CpuBudget:
    """The CPUs that a process may count on.

    :param cores: whole cores, at least 1: the smaller of what the scheduler allows and the quota.
    :param source: where the number comes from, in words.
    """

    cores: int
    source: str


def cpu_budget(machine: Machine | None = None) -> CpuBudget:
    """Find how many cores a server on this machine, in this container, may keep busy.

    Siblings of a physical core count once, because they share the units that multiply INT8. A
    cpuset shows in the affinity mask, a quota of a control group does not: the smaller one counts.

    :param machine: what was read already; asked for if None.
    :return: the budget.
    """
    machine = machine or read_machine()
    cores = machine.usable_physical_cores or machine.usable_logical_cores
    source = f"{cores} usable of {machine.logical_cores} logical cores, siblings counted once"
    # A quota is time on logical cores; a part of a core runs no thread of its own.
    if machine.cpu_quota is not None and machine.cpu_quota < cores:
        cores = max(1, int(machine.cpu_quota))
        source = f"a control group's quota of {machine.cpu_quota:g} CPUs"
    return CpuBudget(cores, source)


@dataclass(frozen=True)
class InferenceDefaults:
    """What to tell OpenVINO where the user says nothing; None leaves it to OpenVINO.

    :param threads: CPU threads at most.
    :param streams: inferences side by side.
    """

    threads: int | None
    streams: int | None


def inference_defaults(
    root: Path = Path("/"), cpuinfo: Path = Path("/proc/cpuinfo")
) -> InferenceDefaults:
    """Choose threads and streams by the machine.

    OpenVINO takes the cores of the affinity mask, and for latency one stream on one socket; that is
    left to it. A control group's quota it does not see: more threads than the quota pays for are
    stopped in turns, and the slowest ends an inference. Of several sockets, one stream would leave
    all but one idle: one stream each computes a single text as before, and lists on all of them.

    :param root: where /proc and /sys of the quota lie.
    :param cpuinfo: Linux's description of the processors.
    :return: the defaults.
    """
    quota = cpu_quota(root)
    if quota is not None and quota < available_cores():
        # Few cores of many: they need not be on one socket, and streams would split them further.
        return InferenceDefaults(threads=max(1, int(quota)), streams=None)
    sockets = usable_sockets(cpuinfo)
    return InferenceDefaults(threads=None, streams=sockets if sockets > 1 else None)


def usable_sockets(cpuinfo: Path = Path("/proc/cpuinfo")) -> int:
    """Count the sockets of the processors that this process may run on; 1 if it cannot be told."""
    if not hasattr(os, "sched_getaffinity"):
        return 1
    usable = os.sched_getaffinity(0)
    sockets = {
        fields.get("physical id", "0")
        for number, fields in _processors(cpuinfo).items()
        if number in usable
    }
    return max(1, len(sockets))


def environment(*packages: str) -> dict[str, Any]:
    """Describe the machine and the versions that a figure depends on.

    :param packages: distributions whose versions are recorded; absent ones are left out.
    :return: plain values for JSON.
    """
    versions = {"ov_emotions": __version__, "python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "machine": {"cpu": cpu_name(), "cores": available_cores(), "flags": list(cpu_flags())},
        "versions": versions,
    }


_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
_KIB = 1024


def resident_mb(process: int | None = None) -> float:
    """Return the resident memory of a process in 10^6 bytes.

    :param process: its number; None is this one, whose peak is told where nothing else is.
    :return: the memory; 0 where that of another process is not told.
    """
    if process is None:
        return _status("VmRSS")
    return _read(Path(f"/proc/{process}/status"), "VmRSS") or 0.0


def peak_mb() -> float:
    """Return the largest resident memory since the last `reset_peak`, in 10^6 bytes."""
    return _status("VmHWM")


def reset_peak() -> None:
    """Let the peak start anew, where the system allows it; elsewhere it is that of the process."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")


def _read(path: Path, field: str) -> float | None:
    with contextlib.suppress(OSError):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return round(int(value.split()[0]) * _KIB / 1e6, 1)
    return None


def _status(field: str) -> float:
    if (told := _read(_STATUS, field)) is not None:
        return told
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else _KIB) / 1e6, 1)


_lock = threading.Lock()
_core: ov.Core | None = None


def import_openvino() -> Any:
    """Import OpenVINO without its model converter, which takes as long as the rest of it.

    The converter comes with the first use of `openvino.convert_model` or `openvino.tools`, as if
    it had been there. Changes nothing where the program itself imported OpenVINO before.

    :return: the module.
    """
    converter = "openvino.tools.ovc"
    with _lock:
        if "openvino" in sys.modules or converter in sys.modules:
            return importlib.import_module("openvino")
        # OpenVINO takes the ImportError that this raises for a converter that is not installed.
        sys.modules[converter] = None  # type: ignore[assignment]
        try:
            module = importlib.import_module("openvino")
        except (ImportError, OSError) as error:
            raise DeviceError(
                f"OpenVINO cannot be imported ({error}): pip install --upgrade ov-emotions"
            ) from error
        finally:
            del sys.modules[converter]

    def load(name: str) -> Any:
        if name in ("convert_model", "tools"):
            ovc = importlib.import_module(converter)
            vars(module)["convert_model"] = ovc.convert_model
            return vars(module)[name]
        raise AttributeError(f"module 'openvino' has no attribute {name!r}")

    vars(module)["__getattr__"] = load
    return module


def shared_core() -> ov.Core:
    """Return the core that everything in this process shares; it is never let go of.

    OpenVINO's CPU plugin gives the thread that loads it a signal stack of its own, and takes that
    back when its core goes. Two cores that go in the order in which they came leave the thread with
    a stack that is no longer there, and the next signal, Ctrl-C say, crashes the process. One core
    also loads the plugin once.

    :return: the core; set no properties on it, pass them where a model is compiled.
    """
    global _core
    openvino = import_openvino()
    with _lock:
        if _core is None:
            _core = openvino.Core()
        return _core


def core_after_fork() -> ov.Core | None:
    """Return the core that a forked child has of its parent, if there is one.

    To be called in the child before there is a second thread.
    """
    global _lock
    _lock = threading.Lock()  # a thread of the parent may have held the old one
    return _core


@contextmanager
def core_for_others() -> Iterator[None]:
    """Let `openvino.Core` and `openvino.compile_model`, which make a core a call, share ours.

    For the length of a block in which another library compiles models: NNCF's accuracy control
    holds several at a time and lets them go in the order in which they came.
    """
    import openvino as ov

    core = shared_core()
    own = ov.Core, ov.compile_model

    def compile_model(
        model: Any, device_name: str = "AUTO", config: Mapping[str, Any] | None = None
    ) -> ov.CompiledModel:
        return core.compile_model(model, device_name, dict(config or {}))

    ov.Core, ov.compile_model = lambda: core, compile_model
    try:
        yield
    finally:
        ov.Core, ov.compile_model = own


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


_KEPT: list[object] = []


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Switch off transformers' progress bars and advisory messages; errors are still logged."""
    log = require("transformers.utils.logging", extra="train")
    bars, level = log.is_progress_bar_enabled(), log.get_verbosity()
    log.disable_progress_bar()
    log.set_verbosity_error()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def import_sentencepiece(extra: str) -> None:
    """Import `sentencepiece` before anything else does.

    The types of its wrapper bring deprecation warnings on import; where warnings are errors, they
    end the interpreter. At exit, the wrapper's destructor can run after the types that it needs are
    gone, and the process that did its work well ends with a segmentation fault.

    :param extra: the extra that installs it.
    :raises MissingExtraError: if it is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        require("sentencepiece", extra=extra)
    capsule = getattr(sys.modules.get("swig_runtime_data4"), "type_pointer_capsule", None)
    if capsule is not None and not _KEPT:
        _KEPT.append(capsule)
        # One reference more than there are, so that it is never destroyed.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(capsule))


def import_gradio() -> Any:
    """Import Gradio with its reports of use off, and without the warnings of what it imports.

    :return: the module.
    :raises MissingExtraError: if it is not installed.
    """
    keep_gradio_silent()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return require("gradio", extra="demo")


class _Collector(logging.Handler):
    """Keeps the messages of a logger."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextlib.contextmanager
def quiet_nncf() -> Iterator[list[str]]:
    """Keep NNCF's log, progress bars and tables off standard output; errors are still logged.

    Its models are compiled by this process's one core.

    :return: yields the list that its messages are collected in, for what it tells nowhere else.
    """
    # Imported first: its log handler keeps the standard output that it finds at import.
    require("nncf", extra="quantize")
    log = logging.getLogger("nncf")
    collector, level = _Collector(), log.level
    levels = {handler: handler.level for handler in log.handlers}
    log.setLevel(logging.INFO)
    for handler in levels:
        handler.setLevel(logging.ERROR)
    log.addHandler(collector)
    try:
        # Its bars have no switch; they go to what standard output is when they start.
        with contextlib.redirect_stdout(io.StringIO()), core_for_others():
            yield collector.messages
    finally:
        log.removeHandler(collector)
        for handler, previous in levels.items():
            handler.setLevel(previous)
        log.setLevel(level)
