"""config.json of OpenVINO Model Server and the reasons for each of its values, from a profile."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ov_emotions.serving.profile import (
    IMAGE,
    METRICS,
    OPTIONAL_METRICS,
    ServingProfile,
    VersionPolicy,
)

CONFIG_NAME = "config.json"
NOTES_NAME = "config.md"


def render_config(profile: ServingProfile) -> str:
    """Render config.json; the same profile always gives the same text."""
    models = [{"config": _model(profile, name)} for name in profile.models]
    return json.dumps({"model_config_list": models, **_monitoring(profile)}, indent=2) + "\n"


def _model(profile: ServingProfile, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "base_path": profile.models[name],
        "batch_size": f"1:{profile.batch}",
        "model_version_policy": profile.versions.config(),
        "target_device": "CPU",
        "nireq": profile.infer_requests,
        "plugin_config": profile.plugin_config,
    }


def _monitoring(profile: ServingProfile) -> dict[str, Any]:
    if not profile.metrics:
        return {}
    return {"monitoring": {"metrics": {"enable": True, "metrics_list": list(METRICS)}}}


def reasons(profile: ServingProfile) -> dict[str, str]:
    """Say why each value of config.json is what it is, by its dotted key."""
    plugin = "plugin_config."
    return {
        "name": f"What stands in URLs: `/v2/models/{profile.name}`.",
        "base_path": (
            "The folder of the numbered versions in the object store. Credentials come from the "
            "environment, never from here."
            if profile.base_path.startswith("s3://")
            else "The folder of the numbered versions inside the container, mounted read-only."
        ),
        "batch_size": "Memory grows with the texts of a request: without a bound, one large "
        "request ends the server. A larger one gets status 400 with the bound in its message, and "
        "the client of this library splits by it. "
        + (
            f"With {profile.streams} streams, as many such requests may be computed at once."
            if profile.streams > 1
            else "256 of the longest texts fit into the memory that the files give."
        ),
        "model_version_policy": _versions(profile.versions),
        "target_device": "The model was quantized and measured for CPUs.",
        "nireq": f"Two for each of the {profile.streams} stream(s): one is computed, the next is "
        "loaded. More would hide waiting inside the server; so it shows in "
        "`ovms_wait_for_infer_req_time_us`. Never below the streams.",
        plugin + "INFERENCE_PRECISION_HINT": "The precision at which the bundle was measured. "
        "Unsaid, a CPU with AMX or AVX512_BF16 runs the float parts in BF16 and the probabilities "
        "come back rounded.",
        plugin + "PERFORMANCE_HINT": "One request at a time on all cores: the shortest answer. "
        "NUM_STREAMS is left out, because the two contradict each other.",
        plugin + "NUM_STREAMS": _streams(profile)
        + "PERFORMANCE_HINT is left out, because the two contradict each other.",
        plugin + "INFERENCE_NUM_THREADS": "The CPU budget, said aloud: a thread more than the "
        "container has cores is throttled, and the slowest thread sets the time of a request.",
        plugin + "ENABLE_CPU_PINNING": (
            "The cores are this container's alone, so threads stay on theirs."
            if profile.exclusive_cores
            else "Two containers that pin would pin to the same first cores. Say "
            "--exclusive-cores where a cpuset gives this one its own."
        ),
        "monitoring.metrics.enable": "Off unless it is said; `/metrics` needs it.",
        "monitoring.metrics.metrics_list": "A list replaces the default one. Those of single "
        f"models, and {' and '.join(f'`{name}`' for name in OPTIONAL_METRICS)}, which are off "
        "unless listed. The server reads it once, at its start.",
    }


def _versions(policy: VersionPolicy) -> str:
    if policy.kind == "all":
        return "Every version stays loaded: memory grows with each that is published."
    if policy.kind == "specific":
        return "Exactly these: a new one is not picked up until this file names it."
    if policy.numbers == (1,):
        return (
            "The newest alone. A version published beside it is loaded first and takes over when "
            "it is ready; the old one is unloaded then."
        )
    return (
        "The newest few, each in memory: requests without a version go to the newest, and an older "
        "one can still be asked for by number."
    )


def _streams(profile: ServingProfile) -> str:
    if profile.tuned_streams is not None:
        return "Requests computed side by side, as the tuning profile found best. "
    most = "" if profile.concurrency is None else f", at most {profile.concurrency}"
    return (
        f"Requests computed side by side: one a core{most}. One text gains little from a second "
        "core, another text all of it. "
    )


def _rows(profile: ServingProfile) -> Iterator[str]:
    """Give a row of the table for each value of config.json, of the first model."""
    why = reasons(profile)

    def leaves(value: Mapping[str, Any], place: str) -> Iterator[tuple[str, Any]]:
        for key, inner in value.items():
            if place + key in why:
                yield place + key, inner
            else:
                yield from leaves(inner, f"{place}{key}.")

    config = {**_model(profile, profile.name), **_monitoring(profile)}
    for key, value in leaves(config, ""):
        yield f"| `{key}` | `{json.dumps(value)}` | {why[key]} |"


_NOTES = """\
# Why config.json is what it is

Profile {goal}, {cores} core(s) ({budget}), for `{image}`. JSON has no comments, so they stand \
here. Both files come from `ov-emotions ovms render`.

{models}| key | value | why |
| --- | --- | --- |
{rows}

## Left out on purpose

| key | why |
| --- | --- |
| `shape` | The model takes texts of any length, and `batch_size` bounds their number. "auto" is \
deprecated and loads the model anew at every new shape. |
| `layout` | Nothing here is an image. |
| `allow_cache` | Only models with shape "auto" need it. |
| `precision`, `stateful`, `mean`, `scale` | The server refuses the whole file. |

## The server's command line

{arguments}

`rest_workers` and `grpc_max_threads` are as many as requests may be in flight (`--concurrency`; \
64 unless it is said), eight threads each for gRPC: with the defaults, REST requests wait before \
the server counts them, so that no metric shows it, and gRPC requests are refused with \
RESOURCE_EXHAUSTED. `grpc_workers` is one: more of them only help with thousands of connections. \
Models and this file are looked at every second; publish a version by rename, as `ov-emotions \
ovms build` does, for a half-written one would be loaded too.{cache}
"""


def render_notes(profile: ServingProfile, budget: str = "given") -> str:
    """Render the page that explains config.json.

    :param budget: where the number of cores comes from.
    """
    models = (
        "Two models are listed, with the same values: one that takes texts and "
        f"`{profile.name}-tokens`, which takes token ids (`ov-emotions ovms build --token-in`).\n\n"
    )
    no_cache = (
        " No `cache_dir`: these models load in seconds, and a cache needs a folder to write to "
        "(`--cache` says otherwise)."
    )
    return _NOTES.format(
        goal=profile.goal,
        cores=profile.cores,
        budget=budget,
        image=IMAGE,
        models=models if profile.token_model else "",
        rows="\n".join(_rows(profile)),
        arguments="\n".join(f"    {argument}" for argument in profile.server_arguments()),
        cache="" if profile.cache else no_cache,
    )


def render_files(profile: ServingProfile, budget: str = "given") -> dict[str, str]:
    """Render config.json and config.md, by name."""
    return {CONFIG_NAME: render_config(profile), NOTES_NAME: render_notes(profile, budget)}
