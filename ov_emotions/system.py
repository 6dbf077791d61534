"""The machine and the process: CPU budget, memory, the one OpenVINO core, quiet third parties."""

from __future__ import annotations

import ctypes
import importlib
import os
import platform
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ov_emotions import __version__
from ov_emotions.errors import DeviceError, MissingExtraError, first_line

if TYPE_CHECKING:
    import openvino as ov


def require(module: str, *, extra: str) -> Any:
    """Import a module that an extra of this package brings.

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
        reason = first_line(error)
        raise MissingExtraError(
            f"{module} is installed, but does not work with what is installed beside it "
            f"({reason.rstrip('.')}): pip install --upgrade 'ov-emotions[{extra}]'"
        ) from error


_CPUINFO = Path("/proc/cpuinfo")
_TELLING_FLAGS = (
    *("avx2", "avx512f", "avx512_vnni", "avx_vnni"),
    *("avx512_bf16", "amx_tile", "amx_int8", "amx_bf16"),
)


def _processors() -> dict[int, dict[str, str]]:
    """Parse /proc/cpuinfo: the fields of each processor, by its number."""
    found: dict[int, dict[str, str]] = {}
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return found
    for block in text.split("\n\n"):
        pairs = (line.split(":", 1) for line in block.splitlines() if ":" in line)
        fields = {key.strip(): value.strip() for key, value in pairs}
        if fields.get("processor", "").isdecimal():
            found[int(fields["processor"])] = fields
    return found


def _usable() -> set[int]:
    """Return the processors that the scheduler may put this process on."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _usable_fields() -> list[dict[str, str]]:
    usable = _usable()
    return [fields for number, fields in _processors().items() if number in usable]


def cpu_name() -> str:
    """Return the processor's model name as the system tells it."""
    first = next(iter(_processors().values()), {})
    return first.get("model name") or platform.processor() or platform.machine()


def cpu_flags() -> tuple[str, ...]:
    """Return the instruction sets that matter to inference and that this processor has."""
    first = next(iter(_processors().values()), {})
    present = first.get("flags", "").split()
    return tuple(flag for flag in _TELLING_FLAGS if flag in present)


def available_cores() -> int:
    """Return the logical cores that this process may use, affinity included."""
    return len(_usable())


@dataclass(frozen=True)
class Machine:
    """The CPU as this process sees it.

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
    """Ask the operating system; others than Linux tell less."""
    return Machine(
        cpu=cpu_name(),
        logical_cores=os.cpu_count() or 1,
        usable_logical_cores=available_cores(),
        usable_physical_cores=usable_physical_cores(),
        cpu_quota=cpu_quota(),
        instructions=cpu_flags(),
    )


def usable_physical_cores() -> int | None:
    """Count the cores that this process may run on; None where it cannot be told."""
    cores = {
        (fields.get("physical id", "0"), fields["core id"])
        for fields in _usable_fields()
        if "core id" in fields
    }
    return len(cores) or None


def usable_sockets() -> int:
    """Count the sockets of the processors that this process may run on; 1 if it cannot be told."""
    return len({fields.get("physical id", "0") for fields in _usable_fields()}) or 1


def processors_apart() -> list[int]:
    """Order the processors that this process may run on, so that siblings come last.

    :return: their numbers: one of each physical core, then the second of each, and so on.
    """
    described = _processors()
    taken: Counter[tuple[str, str]] = Counter()
    ranked = []
    for number in sorted(_usable()):
        fields = described.get(number, {})
        core = fields.get("physical id", "0"), fields.get("core id", f"of {number}")
        ranked.append((taken[core], number))
        taken[core] += 1
    return [number for _, number in sorted(ranked)]


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

    :param cores: whole ones, at least 1.
    :param source: where the number comes from, in words.
    """

    cores: int
    source: str


def cpu_budget(machine: Machine | None = None) -> CpuBudget:
    """Find how many cores a server on this machine, in this container, may keep busy.

    Siblings of a physical core count once, because they share the units that multiply INT8. A
    cpuset shows in the affinity mask, a quota of a control group does not: the smaller one counts.
    """
    machine = machine or read_machine()
    cores = machine.usable_physical_cores or machine.usable_logical_cores
    source = f"{cores} usable of {machine.logical_cores} logical cores, siblings counted once"
    # A quota is time on logical cores; a part of a core runs no thread of its own.
    if machine.cpu_quota is not None and machine.cpu_quota < cores:
        cores = max(1, int(machine.cpu_quota))
        source = f"a control group's quota of {machine.cpu_quota:g} CPUs"
    return CpuBudget(cores, source)


def inference_defaults() -> tuple[int | None, int | None]:
    """Choose OpenVINO's threads and streams by the machine; None leaves them to OpenVINO.

    OpenVINO takes the cores of the affinity mask, and for latency one stream on one socket; that is
    left to it. A control group's quota it does not see: more threads than the quota pays for are
    stopped in turns, and the slowest ends an inference. Of several sockets, one stream would leave
    all but one idle: one stream each computes a single text as before, and lists on all of them.
    """
    quota = cpu_quota()
    if quota is not None and quota < available_cores():
        # Few cores of many: they need not be on one socket, and streams would split them further.
        return max(1, int(quota)), None
    sockets = usable_sockets()
    return None, sockets if sockets > 1 else None


def environment(*packages: str) -> dict[str, Any]:
    """Describe the machine and the versions that a figure depends on.

    :param packages: distributions whose versions are recorded; absent ones are left out.
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


_KIB = 1024


def resident_mb(process: int | None = None) -> float:
    """Return the resident memory of a process in 10^6 bytes.

    :param process: its number; None is this one, whose peak is told where nothing else is.
    :return: the memory; 0 where that of another process is not told.
    """
    if process is None:
        return _own_memory("VmRSS")
    return _memory(str(process), "VmRSS") or 0.0


def peak_mb() -> float:
    """Return the largest resident memory since the last `reset_peak`, in 10^6 bytes."""
    return _own_memory("VmHWM")


def reset_peak() -> None:
    """Let the peak start anew, where the system allows it; elsewhere it is that of the process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _memory(process: str, field: str) -> float | None:
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return round(int(value.split()[0]) * _KIB / 1e6, 1)
    return None


def _own_memory(field: str) -> float:
    if (told := _memory("self", field)) is not None:
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
    also loads the plugin once. Set no properties on it, pass them where a model is compiled.
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


_SILENT = {
    "ray": {"RAY_USAGE_STATS_ENABLED": "0"},
    "mlflow": {"MLFLOW_DISABLE_TELEMETRY": "true"},
    # The Hub client sends for Gradio.
    "gradio": {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"},
}


def keep_silent(package: str) -> None:
    """Set a package's own switch of its reports of use before its import, unless the user did."""
    for name, value in _SILENT[package].items():
        os.environ.setdefault(name, value)


_KEPT: list[object] = []


@contextmanager
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
    """Import Gradio with its reports of use off, and without the warnings of what it imports."""
    keep_silent("gradio")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return require("gradio", extra="demo")
