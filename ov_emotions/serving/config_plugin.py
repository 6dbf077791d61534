"""`plugin_config`: the options of OpenVINO's CPU plugin that a server takes, and their values."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ov_emotions.serving.config_findings import (
    REFUSED_MODEL,
    Finding,
    accepted,
    refused,
    shown,
)


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


_BOOLEAN = Option(r"(?i:true|false|yes|no|on|off)|0|1|", "true or false")
_NATURAL = Option(r"\d+(\.\d+)?", "a number of at least 0")

WRITABLE: Mapping[str, Option | None] = {
    "CPU_DENORMALS_OPTIMIZATION": _BOOLEAN,
    "CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE": None,
    "DEVICE_ID": Option("", "left out, for there is one CPU"),
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": None,
    "ENABLE_CPU_PINNING": _BOOLEAN,
    "ENABLE_CPU_RESERVATION": _BOOLEAN,
    "ENABLE_HYPER_THREADING": _BOOLEAN,
    "ENABLE_MMAP": None,
    "ENABLE_TENSOR_PARALLEL": _BOOLEAN,
    "ENABLE_WEIGHTLESS": None,
    "EXECUTION_MODE_HINT": _one_of("PERFORMANCE", "ACCURACY"),
    "INFERENCE_NUM_THREADS": _NATURAL,
    "INFERENCE_PRECISION_HINT": Option("f32|bf16|f16|FP32|undefined|dynamic|", "f32, bf16 or f16"),
    "KEY_CACHE_GROUP_SIZE": None,
    "KEY_CACHE_PRECISION": None,
    "KV_CACHE_PRECISION": None,
    "LOG_LEVEL": None,
    "MODEL_DISTRIBUTION_POLICY": None,
    "NUM_STREAMS": Option(r"AUTO|NUMA|-?\d+(\.\d+)?", "a whole number, AUTO or NUMA"),
    "PERFORMANCE_HINT": _one_of("LATENCY", "THROUGHPUT", "CUMULATIVE_THROUGHPUT"),
    "PERFORMANCE_HINT_NUM_REQUESTS": _NATURAL,
    "PERF_COUNT": _BOOLEAN,
    "SCHEDULING_CORE_TYPE": _one_of("ANY_CORE", "PCORE_ONLY", "ECORE_ONLY"),
    "TBB_PARTITIONER": None,
    "VALUE_CACHE_GROUP_SIZE": None,
    "VALUE_CACHE_PRECISION": None,
    "WEIGHTS_PATH": None,
}
"""Options that can be set (OpenVINO 2026.4); the values of the others are let be."""

READ_ONLY = (
    "AVAILABLE_DEVICES",
    "COMPATIBILITY_CHECK",
    "DEVICE_ARCHITECTURE",
    "DEVICE_TYPE",
    "EXECUTION_DEVICES",
    "FULL_DEVICE_NAME",
    "OPTIMIZATION_CAPABILITIES",
    "RANGE_FOR_ASYNC_INFER_REQUESTS",
    "RANGE_FOR_STREAMS",
    "SUPPORTED_PROPERTIES",
)
"""Properties that the server takes by name and OpenVINO then refuses to set."""

_RENAMED = {
    "CPU_THROUGHPUT_STREAMS": "NUM_STREAMS",
    "GPU_THROUGHPUT_STREAMS": "NUM_STREAMS",
    "CPU_THREADS_NUM": "INFERENCE_NUM_THREADS",
}


def as_text(value: Any) -> str:
    """Write a value as the server passes it on.

    :param value: a text, a number or a truth value.
    :return: the text that OpenVINO reads.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:f}" if isinstance(value, float) else str(value)


def check_plugin(plugin: Mapping[str, Any], where: str, cpu: bool) -> Iterator[Finding]:
    """Check the options of one model.

    :param plugin: the value of `plugin_config`.
    :param where: its place.
    :param cpu: whether the target is the CPU alone; the options of other devices are not known
        here, and their names and values are let be.
    :return: yields the findings; unknown names come before wrong values, as in the server.
    """
    for key in plugin:
        if key in _RENAMED:
            yield accepted(
                "plugin-renamed",
                f"{where}.{key}",
                f"the name is deprecated; write {_RENAMED[key]} instead",
            )
        elif cpu and key not in WRITABLE and key not in READ_ONLY:
            yield refused("plugin-unknown", f"{where}.{key}", _unknown(key), REFUSED_MODEL)
    translated = {key: _translate(key, value) for key, value in plugin.items()}
    options = dict(translated.values())
    if cpu:
        for key, (option, text) in translated.items():
            yield from _check_value(option, text, f"{where}.{key}")
        yield from _check_precision(options, where)
    yield from _check_together(options, where)


def _translate(key: str, value: Any) -> tuple[str, str]:
    """Do as the server does with names and values of old."""
    text = as_text(value)
    if key in _RENAMED and text.endswith("_THROUGHPUT_AUTO"):
        return "PERFORMANCE_HINT", "THROUGHPUT"
    return _RENAMED.get(key, key), text


def _unknown(key: str) -> str:
    near = difflib.get_close_matches(key, WRITABLE, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"the CPU has no such option, and the server does not load the model{hint}"


def _check_value(key: str, text: str, where: str) -> Iterator[Finding]:
    if key in READ_ONLY:
        yield refused(
            "plugin-read-only", where, "this can be read but not set: the model does not compile"
        )
    option = WRITABLE.get(key)
    if option is not None and not re.fullmatch(option.pattern, text):
        yield refused(
            "plugin-value",
            where,
            f"it is {shown(text)}; it must be {option.wanted}, or the model does not compile",
        )
    if key == "ENABLE_CPU_RESERVATION" and text.lower() in ("true", "yes", "on", "1"):
        yield accepted(
            "plugin-reservation",
            where,
            "a loaded model keeps its cores, and the next version finds none; leave it out",
        )


def _check_precision(options: Mapping[str, str], where: str) -> Iterator[Finding]:
    if options.get("INFERENCE_PRECISION_HINT", "undefined") in ("", "undefined", "dynamic"):
        yield accepted(
            "precision-unsaid",
            where,
            "INFERENCE_PRECISION_HINT is not said: a CPU with AMX or AVX512_BF16 then runs in BF16 "
            "and rounds the probabilities; write the precision that the bundle was measured at",
        )


def _check_together(options: Mapping[str, str], where: str) -> Iterator[Finding]:
    if "PERFORMANCE_HINT" in options and "NUM_STREAMS" in options:
        yield accepted(
            "hint-and-streams",
            where,
            "PERFORMANCE_HINT and NUM_STREAMS contradict each other; keep one of them",
        )
    streams, threads = options.get("NUM_STREAMS", ""), options.get("INFERENCE_NUM_THREADS", "")
    if streams.isdecimal() and threads.isdecimal() and int(streams) > int(threads) > 0:
        yield accepted(
            "streams-above-threads",
            f"{where}.NUM_STREAMS",
            f"{streams} streams share {threads} threads; take fewer streams than threads",
        )
