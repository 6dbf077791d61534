"""What a server makes of a well-formed config.json: the rules that its schema cannot say.

Each rule yields findings in the order in which the server comes upon them. The server's behaviour
was recorded, for reloads and for starts; what was not recorded is not claimed.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ov_emotions.serving.profile import METRICS

Severity = Literal["error", "warning"]
Start = Literal["serves", "unserved", "exits"]

REFUSED_AS_JSON = 412
"""HTTP status of a reload whose file is no JSON, breaks the schema, or does not compile."""
REFUSED_PATH = 400
"""HTTP status of a reload that names a folder which is not there."""
REFUSED_MODEL = 500
"""HTTP status of a reload with a model that cannot be configured."""
TAKEN = 200
"""HTTP status of a reload."""

_MOST_REQUESTS = 100_000


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a configuration.

    :param severity: "error" where the server refuses, "warning" where it accepts and should not.
    :param rule: the kind of finding, for programs: a short name that stays.
    :param where: the place in the file, `model_config_list[0].config.nireq` say; empty for all of
        it.
    :param message: one sentence: what is wrong and what to do.
    :param status: the HTTP status with which a running server answers when it reloads the file: 200
        for an error that only matters at a start; None for a warning, or where it was not recorded.
    :param start: what a server does that starts with it: "serves", "unserved" where a model is not
        served or refuses a single text, or "exits".
    """

    severity: Severity
    rule: str
    where: str
    message: str
    status: int | None = None
    start: Start = "serves"

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        text = f"{self.severity}: {place}{self.message}"
        # Keys and paths are the file's: no line may break and no terminal obey them.
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def refused(
    rule: str, where: str, message: str, status: int | None, start: Start = "unserved"
) -> Finding:
    """Make an error."""
    return Finding("error", rule, where, message, status, start)


def accepted(rule: str, where: str, message: str, start: Start = "serves") -> Finding:
    """Make a warning: the server says nothing."""
    return Finding("warning", rule, where, message, None, start)


def shown(value: Any) -> str:
    """Write a value as JSON, cut to a length that fits a sentence."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Name the nearest of known names, as the end of a sentence."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _by_input(value: str | Mapping[str, Any] | None, where: str) -> list[tuple[str, str, Any]]:
    """List name, place and value of what is given once for all inputs, or for each."""
    if isinstance(value, Mapping):
        return [
            (name, f"{where}.{name}" if name else where, inner) for name, inner in value.items()
        ]
    return [] if value is None else [("", where, value)]


# Metrics

_KNOWN_METRICS = (
    *METRICS,
    "ovms_current_graphs",
    "ovms_requests_accepted",
    "ovms_requests_rejected",
    "ovms_responses",
    "ovms_graph_error",
    "ovms_graph_processing_time_us",
)


def check_metrics(metrics: Mapping[str, Any]) -> Iterator[Finding]:
    """Check the value of `monitoring.metrics`, empty where there is none."""
    where = "monitoring.metrics.metrics_list"
    listed: list[str] | None = metrics.get("metrics_list")
    if listed is None:
        return
    if not metrics["enable"]:
        yield accepted("metrics-off", where, "enable is false: none of them is exposed")
    elif not listed:
        problem = "it is empty: no metric is exposed; leave it out for the default"
        yield accepted("metrics-off", where, problem)
    for i, name in enumerate(listed):
        place = f"{where}[{i}]"
        if name not in _KNOWN_METRICS:
            problem = (
                f"there is no metric {shown(name)}: a start ends with an error, and a reload reads "
                f"the list no further{did_you_mean(name, _KNOWN_METRICS)}"
            )
            yield refused("metric-unknown", place, problem, TAKEN, "exits")
        elif name in listed[:i]:
            problem = f"{name} stands twice: the server reads the list no further"
            yield accepted("metric-twice", place, problem)


# Names, sizes and shapes of a model


def check_name(name: str, where: str) -> Iterator[Finding]:
    """Check a model's name."""
    if not name:
        problem = "it is empty: the model loads and no URL leads to it"
    elif not re.fullmatch(r"[\w.\-~]+", name, re.ASCII):
        problem = (
            f"{shown(name)} does not fit into /v2/models/NAME: the model loads and cannot be "
            "asked; use letters, digits, dots, dashes and underscores"
        )
    else:
        return
    yield accepted("name-url", where, problem, "unserved")


_RANGE = re.compile(r"([1-9]\d*)(?::([1-9]\d*))?")
_BOUND = re.compile(r"\(\s*1:\d+\s*(,\s*-1\s*)*\)")
_DIMENSION = r"\s*(-1|\d+|\d+:\d+)\s*"
_SHAPE = re.compile(rf"\(({_DIMENSION}(,{_DIMENSION})*)?\)")
_LAYOUT = re.compile(r"[NCHWD.?]*(:[NCHWD.?]*)?")


def check_batch(model: Mapping[str, Any], where: str) -> Iterator[Finding]:
    """Check how many texts a request may hold."""
    shape = model.get("shape")
    if "batch_size" not in model:
        shapes = list(shape.values()) if isinstance(shape, dict) else [shape]
        if not all(re.match(r"\(\s*[1-9]", text or "") for text in shapes):
            problem = (
                "nothing bounds the texts of one request, and memory grows with them: one large "
                'request can end the server; write "batch_size": "1:256"'
            )
            yield accepted("batch-unbounded", where, problem)
        return
    where, size = f"{where}.batch_size", str(model["batch_size"])
    found = _RANGE.fullmatch(size)
    start: Start = "serves"
    if shape is not None:
        problem = "it is ignored beside shape; leave one of them out"
    elif size == "0":
        problem = 'a start ends with an error, though a reload takes it; write "1:256"'
        yield refused("batch-size", where, problem, TAKEN, "exits")
        return
    elif size == "auto":
        problem = '"auto" is deprecated and loads the model anew at every new size; write "1:256"'
    elif size == "-1":
        problem = '-1 bounds nothing; write "1:256"'
    elif found is None:
        problem = f'{shown(size)} is no size: the server ignores it; write "1:256"'
    elif found[2] is None or int(found[1]) > 1:
        problem = f'requests of another number of texts than {size} are refused; write "1:256"'
        start = "serves" if found[1] == "1" else "unserved"
    else:
        return
    yield accepted("batch-size", where, problem, start)


def check_shape(shape: str | Mapping[str, str] | None, where: str) -> Iterator[Finding]:
    """Check the value of `shape`."""
    for _name, place, text in _by_input(shape, where):
        if _BOUND.fullmatch(text):
            continue
        if text == "auto":
            problem = "is deprecated and loads the model anew at every new shape; leave it out"
            yield accepted("shape", place, f'"auto" {problem}')
        elif not _SHAPE.fullmatch(text):
            problem = "is no shape: the server ignores it; leave it out, or write (-1,-1)"
            yield accepted("shape-ignored", place, f"{shown(text)} {problem}")
        else:
            problem = f"the model takes any shape, and with {text} refuses the others; leave it out"
            first = re.match(r"\(\s*(\d+)", text)
            single = first is None or int(first[1]) <= 1
            yield accepted("shape", place, problem, "serves" if single else "unserved")


def check_layout(
    layout: str | Mapping[str, str] | None, ranks: Mapping[str, int | None] | None, where: str
) -> Iterator[Finding]:
    """Check the value of `layout`: one text for all tensors, an object in a text, or one by tensor.

    :param ranks: the number of dimensions by input, where the model can be seen.
    """
    named: Any = layout
    if isinstance(layout, str) and layout.lstrip().startswith("{"):
        try:
            named = json.loads(layout)
        except ValueError:
            named = None
        if not isinstance(named, dict):
            problem = f"{shown(layout)} is no layout; leave it out"
            yield refused("layout", where, problem, REFUSED_MODEL)
            return
    for name, place, text in _by_input(named, where):
        plain = text.replace(" ", "").upper() if isinstance(text, str) else "no text"
        if not _LAYOUT.fullmatch(plain):
            problem = (
                f"{shown(text)} is no layout: it is made of N, C, H, W, D, ? and ..., with at most "
                "one colon; leave it out"
            )
            yield refused("layout", place, problem, REFUSED_MODEL)
            continue
        letters = plain.partition(":")[0]
        count = len(letters.replace("...", ""))
        # A layout without a name is that of the first input.
        rank = (ranks or {}).get(name or next(iter(ranks or {}), ""))
        if rank is None or not letters:
            continue
        if count > rank or (count < rank and "..." not in letters):
            problem = (
                f"{shown(text)} has {count} dimension(s) and the input {rank}: the model does not "
                "load; leave it out"
            )
            yield refused("layout", place, problem, None)


# Devices and their options


@dataclass(frozen=True)
class Option:
    """The values of an option.

    :param pattern: of the text that OpenVINO reads; matched whole.
    :param wanted: the same in words.
    """

    pattern: str
    wanted: str


def _one_of(*texts: str) -> Option:
    return Option("|".join(texts), f"one of {', '.join(texts)}")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_BOOLEAN = Option(r"(?i:true|false|yes|no|on|off)|0|1|", "true or false")
_NATURAL = Option(r"\d+(\.\d+)?", "a number of at least 0")

_CHECKED = {
    "CPU_DENORMALS_OPTIMIZATION": _BOOLEAN,
    "DEVICE_ID": Option("", "left out, for there is one CPU"),
    "ENABLE_CPU_PINNING": _BOOLEAN,
    "ENABLE_CPU_RESERVATION": _BOOLEAN,
    "ENABLE_HYPER_THREADING": _BOOLEAN,
    "ENABLE_TENSOR_PARALLEL": _BOOLEAN,
    "EXECUTION_MODE_HINT": _one_of("PERFORMANCE", "ACCURACY"),
    "INFERENCE_NUM_THREADS": _NATURAL,
    "INFERENCE_PRECISION_HINT": Option("f32|bf16|f16|FP32|undefined|dynamic|", "f32, bf16 or f16"),
    "NUM_STREAMS": Option(r"AUTO|NUMA|-[12]|\d+(\.\d+)?", "a whole number, AUTO or NUMA"),
    "PERFORMANCE_HINT": _one_of("LATENCY", "THROUGHPUT", "CUMULATIVE_THROUGHPUT"),
    "PERFORMANCE_HINT_NUM_REQUESTS": _NATURAL,
    "PERF_COUNT": _BOOLEAN,
    "SCHEDULING_CORE_TYPE": _one_of("ANY_CORE", "PCORE_ONLY", "ECORE_ONLY"),
}
_LET_BE = _words("""
    CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE DYNAMIC_QUANTIZATION_GROUP_SIZE ENABLE_MMAP
    ENABLE_WEIGHTLESS KEY_CACHE_GROUP_SIZE KEY_CACHE_PRECISION KV_CACHE_PRECISION LOG_LEVEL
    MODEL_DISTRIBUTION_POLICY TBB_PARTITIONER VALUE_CACHE_GROUP_SIZE VALUE_CACHE_PRECISION
    WEIGHTS_PATH
""")
WRITABLE: Mapping[str, Option | None] = _CHECKED | dict.fromkeys(_LET_BE)
"""Options of the CPU that can be set (OpenVINO 2026.4); the values of the others are let be."""

READ_ONLY = _words("""
    AVAILABLE_DEVICES COMPATIBILITY_CHECK DEVICE_ARCHITECTURE DEVICE_TYPE EXECUTION_DEVICES
    FULL_DEVICE_NAME OPTIMIZATION_CAPABILITIES RANGE_FOR_ASYNC_INFER_REQUESTS RANGE_FOR_STREAMS
    SUPPORTED_PROPERTIES
""")
"""Properties that the server takes by name and OpenVINO then refuses to set."""

AUTO_OPTIONS = _words("""
    DEVICES_UTILIZATION_THRESHOLD DEVICE_BIND_BUFFER ENABLE_RUNTIME_FALLBACK
    ENABLE_STARTUP_FALLBACK EXECUTION_MODE_HINT FULL_DEVICE_NAME LOG_LEVEL LOW_POWER_DEVICE
    MODEL_PRIORITY MULTI_DEVICE_PRIORITIES OPTIMIZATION_CAPABILITIES PERFORMANCE_HINT
    PERFORMANCE_HINT_NUM_REQUESTS PERF_COUNT PERF_CURVE_TABLE SCHEDULE_POLICY SUPPORTED_PROPERTIES
""")
"""Options of AUTO, which knows none of the CPU's own (OpenVINO 2026.4)."""

_RENAMED = {
    "CPU_THROUGHPUT_STREAMS": "NUM_STREAMS",
    "GPU_THROUGHPUT_STREAMS": "NUM_STREAMS",
    "CPU_THREADS_NUM": "INFERENCE_NUM_THREADS",
}
_COMPOSITE_DEVICES = ("AUTO", "MULTI", "HETERO", "BATCH")


def as_text(value: Any) -> str:
    """Write a text, number or truth value as the server passes it on to OpenVINO."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:f}" if isinstance(value, float) else str(value)


def check_plugin(plugin: Mapping[str, Any], where: str, device: str = "CPU") -> Iterator[Finding]:
    """Check the value of `plugin_config`; unknown names come before wrong values, as in the server.

    The options of other devices than CPU and AUTO are not known here, and are let be.
    """
    known = {"CPU": (*WRITABLE, *READ_ONLY), "AUTO": AUTO_OPTIONS}.get(device)
    for key in plugin:
        if key in _RENAMED:
            problem = f"the name is deprecated; write {_RENAMED[key]} instead"
            yield accepted("plugin-renamed", f"{where}.{key}", problem)
        elif known is not None and key not in known:
            problem = f"{device} has no such option, and the server does not load the model"
            problem += did_you_mean(key, known)
            yield refused("plugin-unknown", f"{where}.{key}", problem, REFUSED_MODEL)
    # As the server does with names and values of old.
    options: dict[str, str] = {}
    for key, value in plugin.items():
        text = as_text(value)
        if key in _RENAMED and text.endswith("_THROUGHPUT_AUTO"):
            options["PERFORMANCE_HINT"] = "THROUGHPUT"
        else:
            options[_RENAMED.get(key, key)] = text
    if device == "CPU":
        for key in plugin:
            name = _RENAMED.get(key, key)
            if name in options:
                yield from _check_value(name, options[name], f"{where}.{key}")
        if options.get("INFERENCE_PRECISION_HINT", "") in ("", "undefined", "dynamic"):
            problem = (
                "INFERENCE_PRECISION_HINT is not said: a CPU with AMX or AVX512_BF16 then runs in "
                "BF16 and rounds the probabilities; write the precision that the bundle was "
                "measured at"
            )
            yield accepted("precision-unsaid", where, problem)
    if "PERFORMANCE_HINT" in options and "NUM_STREAMS" in options:
        problem = "PERFORMANCE_HINT and NUM_STREAMS contradict each other; keep one of them"
        yield accepted("hint-and-streams", where, problem)
    streams, threads = options.get("NUM_STREAMS", ""), options.get("INFERENCE_NUM_THREADS", "")
    if streams.isdecimal() and threads.isdecimal() and int(streams) > int(threads) > 0:
        problem = f"{streams} streams share {threads} threads; take no more streams than threads"
        yield accepted("streams-above-threads", f"{where}.NUM_STREAMS", problem)


def _check_value(key: str, text: str, where: str) -> Iterator[Finding]:
    if key in READ_ONLY:
        problem = "this can be read but not set: the model does not compile"
        yield refused("plugin-read-only", where, problem, REFUSED_AS_JSON)
    option = WRITABLE.get(key)
    if option is not None and not re.fullmatch(option.pattern, text):
        problem = f"it is {shown(text)}; it must be {option.wanted}, or the model does not compile"
        yield refused("plugin-value", where, problem, REFUSED_AS_JSON)
    if key == "ENABLE_CPU_RESERVATION" and text.lower() in ("true", "yes", "on", "1"):
        problem = "a loaded model keeps its cores, and the next version finds none; leave it out"
        yield accepted("plugin-reservation", where, problem)


def check_requests(model: Mapping[str, Any], where: str) -> Iterator[Finding]:
    """Check `nireq`."""
    where, count = f"{where}.nireq", model.get("nireq", 0)
    streams = as_text(model.get("plugin_config", {}).get("NUM_STREAMS", ""))
    if count > _MOST_REQUESTS:
        problem = f"it is {count}; the server takes at most {_MOST_REQUESTS}"
        yield refused("nireq-too-high", where, problem, REFUSED_MODEL)
    elif count and streams.isdecimal() and count < int(streams):
        problem = f"{count} requests cannot feed {streams} streams; take at least as many"
        yield accepted("nireq-below-streams", where, f"{problem}, or leave it out")


def check_device(device: str, where: str, devices: Sequence[str]) -> Iterator[Finding]:
    """Check `target_device` against the devices that the server has."""
    for part in re.split(r"[:,]", device):
        name = re.sub(r"\(.*\)$|\.\d+$", "", part)
        if name not in _COMPOSITE_DEVICES and name not in devices:
            problem = f"the server has no device {shown(name)}; it has {', '.join(devices)}"
            yield refused("device-absent", where, problem, REFUSED_AS_JSON)
    if device.startswith("BATCH"):
        problem = "requests wait to be joined into a batch; on a CPU, streams do better: write CPU"
        yield accepted("device-batch", where, problem)
