from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ov_emotions.errors import InputError
from ov_emotions.serving.config_rules import as_text
from ov_emotions.serving.profile import ServingProfile, VersionPolicy
from ov_emotions.serving.render import render_config, render_notes
from ov_emotions.serving.validate import validate_text
from ov_emotions.system import available_cores, shared_core

PROFILES = [
    ServingProfile(goal, cores, concurrency=concurrency, metrics=metrics)
    for goal in ("latency", "throughput")
    for cores in (1, 2, 3, 8, 64)
    for concurrency in (None, 1, 2, 100)
    for metrics in (True, False)
]


def model_of(profile: ServingProfile) -> dict[str, Any]:
    model: dict[str, Any] = json.loads(render_config(profile))["model_config_list"][0]["config"]
    return model


@pytest.mark.parametrize("profile", PROFILES, ids=str)
def test_a_profile_renders_what_the_validator_finds_nothing_in(profile):
    assert validate_text(render_config(profile).encode()) == []
    assert 1 <= profile.streams <= min(profile.cores, profile.concurrency or 1000)
    assert profile.infer_requests >= profile.streams
    plugin = model_of(profile)["plugin_config"]
    assert ("NUM_STREAMS" in plugin) != ("PERFORMANCE_HINT" in plugin)
    assert plugin["INFERENCE_PRECISION_HINT"] == profile.precision
    assert plugin["INFERENCE_NUM_THREADS"] == profile.cores


@pytest.mark.parametrize(
    ("profile", "streams", "batch", "memory"),
    [
        (ServingProfile("latency", 8), 1, 256, 1280),
        (ServingProfile("latency", 8, max_batch=64), 1, 64, 1024),
        (ServingProfile("latency", 8, token_model=True), 1, 256, 2560),
        (ServingProfile("latency", 8, versions=VersionPolicy("latest", (3,))), 1, 256, 2048),
        (ServingProfile("throughput", 2), 2, 128, 1536),
        (ServingProfile("throughput", 8), 8, 32, 2816),
        (ServingProfile("throughput", 8, concurrency=3), 3, 85, 1792),
        (ServingProfile("throughput", 1), 1, 256, 1280),
    ],
)
def test_streams_bound_and_memory_follow_from_the_goal(profile, streams, batch, memory):
    assert (profile.streams, profile.batch, profile.memory_mib) == (streams, batch, memory)
    assert model_of(profile)["batch_size"] == f"1:{batch}"


@pytest.mark.parametrize(
    ("concurrency", "cores", "rest", "grpc"),
    [(None, 4, 64, 512), (200, 4, 200, 1600), (1, 1, 2, 16), (50_000, 4, 10_000, 400_000)],
)
def test_the_server_lets_in_as_many_requests_as_are_in_flight(concurrency, cores, rest, grpc):
    arguments = ServingProfile("latency", cores, concurrency=concurrency).server_arguments()
    assert {f"--rest_workers={rest}", f"--grpc_max_threads={grpc}"} <= set(arguments)


@pytest.mark.parametrize("goal", ["latency", "throughput"])
def test_openvino_compiles_a_model_with_the_options(goal, tiny_model):
    profile = ServingProfile(goal, 2)
    options = {key: as_text(value) for key, value in profile.plugin_config.items()}
    compiled = shared_core().compile_model(tiny_model, "CPU", options)
    assert compiled.get_property("NUM_STREAMS") == profile.streams
    assert compiled.get_property("INFERENCE_NUM_THREADS") == min(profile.cores, available_cores())


TUNED = ServingProfile("throughput", 4, tuned_streams=2, tuned_threads=3)


@pytest.mark.parametrize("profile", [*PROFILES[::7], TUNED], ids=str)
def test_the_notes_give_every_value_and_a_reason(profile):
    def leaves(value: Any, key: str) -> dict[str, Any]:
        if not isinstance(value, dict) or key.endswith("model_version_policy"):
            return {key: value}
        inner = [leaves(v, f"{key}.{k}" if key else k) for k, v in value.items()]
        return {k: v for found in inner for k, v in found.items()}

    config = json.loads(render_config(profile))
    monitoring = {k: v for k, v in config.items() if k == "monitoring"}
    rows = re.findall(r"^\| `([\w.]+)` \| `(.+)` \| \S.* \|$", render_notes(profile), re.MULTILINE)
    told = {key: json.loads(value) for key, value in rows}
    assert told == leaves({**model_of(profile), **monitoring}, "")


@pytest.mark.parametrize(
    "text", ["", "latest", "latest:", "latest:0", "latest:1,2", "specific:0", "all:1", "newest:1"]
)
def test_what_is_no_version_policy_is_one_sentence(text):
    with pytest.raises(InputError, match="latest:COUNT, specific:VERSION"):
        VersionPolicy.parse(text)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"goal": "speed"}, "goal: .*latency, throughput"),
        ({"cores": 0}, "cores: "),
        ({"precision": "int8"}, "precision: .*f32, bf16"),
        ({"concurrency": 0}, "concurrency: "),
        ({"name": "a/b"}, "part of URLs"),
        ({"base_path": "models"}, "absolute folder"),
    ],
)
def test_a_profile_refuses_what_makes_no_sense(values, message):
    with pytest.raises(InputError, match=message) as caught:
        ServingProfile(**{"goal": "latency", "cores": 2, **values})
    assert "\n" not in str(caught.value)


def test_the_cache_is_a_flag_of_the_server():
    with_cache = ServingProfile("latency", 2, cache=True).server_arguments()
    assert "--cache_dir=/opt/cache" in with_cache
    assert "--grpc_workers=1" in with_cache
    assert not any("cache" in a for a in ServingProfile("latency", 2).server_arguments())
