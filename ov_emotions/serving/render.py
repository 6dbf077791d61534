"""config.json of OpenVINO Model Server and the reasons for each of its values, from a profile."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ov_emotions.files import write_text
from ov_emotions.serving.profile import (
    DEFAULT_METRICS,
    IMAGE,
    OPTIONAL_METRICS,
    ServingProfile,
)

CONFIG_NAME = "config.json"
NOTES_NAME = "config.md"


@dataclass(frozen=True)
class Setting:
    """One value of the configuration and why it is what it is.

    :param key: its dotted place.
    :param value: what stands there.
    :param why: the reason, one or two sentences.
    """

    key: str
    value: Any
    why: str


def render_config(profile: ServingProfile) -> str:
    """Render config.json."""
    models = [
        {
            "name": name,
            "base_path": path,
            "batch_size": f"1:{profile.batch}",
            "model_version_policy": profile.versions.config(),
            "target_device": "CPU",
            "nireq": profile.infer_requests,
            "plugin_config": profile.plugin_config,
        }
        for name, path in profile.models.items()
    ]
    config: dict[str, Any] = {"model_config_list": [{"config": model} for model in models]}
    if profile.metrics:
        listed = [*DEFAULT_METRICS, *OPTIONAL_METRICS]
        config["monitoring"] = {"metrics": {"enable": True, "metrics_list": listed}}
    return json.dumps(config, indent=2) + "\n"


def settings(profile: ServingProfile) -> list[Setting]:
    """Say why each value of config.json is what it is."""
    return [
        Setting("name", profile.name, "What stands in URLs: `/v2/models/" + profile.name + "`."),
        Setting("base_path", profile.base_path, _base_path(profile)),
        Setting(
            "batch_size",
            f"1:{profile.batch}",
            "Memory grows with the texts of a request: without a bound, one large request ends the "
            "server. A larger one gets status 400 with the bound in its message, and the client "
            "of this library splits by it. "
            + (
                f"With {profile.streams} streams, as many such requests may be computed at once."
                if profile.streams > 1
                else "256 of the longest texts fit into the memory that the files give."
            ),
        ),
        Setting("model_version_policy", profile.versions.config(), _versions(profile)),
        Setting("target_device", "CPU", "The model was quantized and measured for CPUs."),
        Setting(
            "nireq",
            profile.infer_requests,
            f"Two for each of the {profile.streams} stream(s): one is computed, the next is "
            "loaded. More would hide waiting inside the server; so it shows in "
            "`ovms_wait_for_infer_req_time_us`. Never below the streams.",
        ),
        *_plugin_settings(profile),
        *_metric_settings(profile),
    ]


def _base_path(profile: ServingProfile) -> str:
    if profile.base_path.startswith("s3://"):
        return (
            "The folder of the numbered versions in the object store. Credentials come from the "
            "environment, never from here."
        )
    return "The folder of the numbered versions inside the container, mounted read-only."


def _versions(profile: ServingProfile) -> str:
    if profile.versions.kind == "all":
        return "Every version stays loaded: memory grows with each that is published."
    if profile.versions.kind == "specific":
        return "Exactly these: a new one is not picked up until this file names it."
    if profile.versions.numbers == (1,):
        return (
            "The newest alone. A version published beside it is loaded first and takes over when "
            "it is ready; the old one is unloaded then."
        )
    return (
        "The newest few, each in memory: requests without a version go to the newest, and an older "
        "one can still be asked for by number."
    )


def _plugin_settings(profile: ServingProfile) -> list[Setting]:
    key = "plugin_config."
    precision = Setting(
        key + "INFERENCE_PRECISION_HINT",
        profile.precision,
        "The precision at which the bundle was measured. Unsaid, a CPU with AMX or AVX512_BF16 "
        "runs the float parts in BF16 and the probabilities come back rounded.",
    )
    if profile.one_stream:
        spread = Setting(
            key + "PERFORMANCE_HINT",
            "LATENCY",
            "One request at a time on all cores: the shortest answer. NUM_STREAMS is left out, "
            "because the two contradict each other.",
        )
    else:
        spread = Setting(
            key + "NUM_STREAMS",
            profile.streams,
            (
                "Requests computed side by side, as the tuning profile found best. "
                if profile.tuned_streams is not None
                else "Requests computed side by side: one a core"
                + ("" if profile.concurrency is None else f", at most {profile.concurrency}")
                + ". One text gains little from a second core, another text all of it. "
            )
            + "PERFORMANCE_HINT is left out, because the two contradict each other.",
        )
    threads = Setting(
        key + "INFERENCE_NUM_THREADS",
        profile.cores,
        "The CPU budget, said aloud: a thread more than the container has cores is throttled, and "
        "the slowest thread sets the time of a request.",
    )
    pinning = Setting(
        key + "ENABLE_CPU_PINNING",
        profile.exclusive_cores,
        "The cores are this container's alone, so threads stay on theirs."
        if profile.exclusive_cores
        else "Two containers that pin would pin to the same first cores. Say --exclusive-cores "
        "where a cpuset gives this one its own.",
    )
    return [precision, spread, threads, pinning]


def _metric_settings(profile: ServingProfile) -> list[Setting]:
    if not profile.metrics:
        return []
    return [
        Setting("monitoring.metrics.enable", True, "Off unless it is said; `/metrics` needs it."),
        Setting(
            "monitoring.metrics.metrics_list",
            [*DEFAULT_METRICS, *OPTIONAL_METRICS],
            "A list replaces the default one. Those of single models, and "
            + " and ".join(f"`{name}`" for name in OPTIONAL_METRICS)
            + ", which are off unless listed. The server reads it once, at its start.",
        ),
    ]


_LEFT_OUT = """## Left out on purpose

| key | why |
| --- | --- |
| `shape` | The model takes texts of any length, and `batch_size` bounds their number. "auto" is \
deprecated and loads the model anew at every new shape. |
| `layout` | Nothing here is an image. |
| `allow_cache` | Only models with shape "auto" need it. |
| `precision`, `stateful`, `mean`, `scale` | The server refuses the whole file. |
"""


def render_notes(profile: ServingProfile, budget: str = "given") -> str:
    """Render the page that explains config.json."""
    rows = "\n".join(
        f"| `{setting.key}` | `{json.dumps(setting.value)}` | {setting.why} |"
        for setting in settings(profile)
    )
    arguments = "\n".join(f"    {argument}" for argument in profile.server_arguments())
    lines = [
        "# Why config.json is what it is",
        f"Profile {profile.goal}, {profile.cores} core(s) ({budget}), for `{IMAGE}`. JSON has no "
        "comments, so they stand here. Both files come from `ov-emotions ovms render`.",
        *(
            [
                "Two models are listed, with the same values: one that takes texts and "
                f"`{profile.name}-tokens`, which takes token ids (`ov-emotions ovms build "
                "--token-in`)."
            ]
            if profile.token_model
            else []
        ),
        f"| key | value | why |\n| --- | --- | --- |\n{rows}",
        _LEFT_OUT.rstrip(),
        "## The server's command line",
        arguments,
        "`rest_workers` and `grpc_max_threads` are as many as requests may be in flight "
        "(`--concurrency`; 64 unless it is said), eight threads each for gRPC: with the defaults, "
        "REST requests wait before the server counts them, so that no metric shows it, and gRPC "
        "requests are refused with RESOURCE_EXHAUSTED. "
        "`grpc_workers` is one: more of them only help with thousands of connections. Models and "
        "this file are looked at every second; publish a version by rename, as `ov-emotions ovms "
        "build` does, for a half-written one would be loaded too."
        + (
            ""
            if profile.cache
            else " No `cache_dir`: these models load in seconds, and a cache needs a folder to "
            "write to (`--cache` says otherwise)."
        ),
    ]
    return "\n\n".join(lines) + "\n"


def write_config(folder: Path, profile: ServingProfile, budget: str = "given") -> list[Path]:
    """Write config.json and config.md.

    :raises OSError: if one cannot be written.
    """
    texts = {CONFIG_NAME: render_config(profile), NOTES_NAME: render_notes(profile, budget)}
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]
