"""What a served model is asked for, as a typed profile, and what OpenVINO Model Server gets to do.

A `ServingProfile` says what matters (latency or throughput), on how many cores, at which precision;
streams, requests, the bound of a batch, the server's workers and its memory follow from it. What a
rule rests on is said where it stands; a load test of your own may know better.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ov_emotions.errors import InputError
from ov_emotions.schema import Count, Flag, InferencePrecision, check_fields

if TYPE_CHECKING:
    from ov_emotions.manifest import Manifest

IMAGE = "openvino/model_server:2026.4.1"
"""The image that the rendered files name."""

GRPC_PORT = 9000
REST_PORT = 8000

Goal = Literal["latency", "throughput"]

DEFAULT_METRICS = (
    "ovms_current_requests",
    "ovms_requests_success",
    "ovms_requests_fail",
    "ovms_request_time_us",
    "ovms_streams",
    "ovms_inference_time_us",
    "ovms_wait_for_infer_req_time_us",
)
"""Metrics of single models that the server exposes once metrics are enabled."""

OPTIONAL_METRICS = ("ovms_infer_req_queue_size", "ovms_infer_req_active")
"""Metrics that are off until they are listed; a list replaces the default, so it names them all."""

METRICS = (*DEFAULT_METRICS, *OPTIONAL_METRICS)

CLIENTS = 64
"""Requests in flight that the server is made for where nobody says."""
MAX_REST_WORKERS = 10_000

MAX_BATCH = 256
"""Texts of one request: so many of the longest take some 250 MiB while they are computed."""

MAX_CORES = 1024

_NAME = re.compile(r"[A-Za-z0-9][\w.\-]*")
_POLICY = re.compile(r"all|latest:{0}|specific:{0}(,{0})*".format("[1-9][0-9]{0,17}"))
"""No longer number can name the folder of a version."""


@dataclass(frozen=True)
class VersionPolicy:
    """Which versions of the model the server loads.

    :param kind: "latest", "specific" or "all".
    :param numbers: how many for "latest" (one number), which for "specific", none for "all".
    """

    kind: Literal["latest", "specific", "all"] = "latest"
    numbers: tuple[int, ...] = (1,)

    @staticmethod
    def parse(text: str) -> VersionPolicy:
        """Read `latest:2`, `specific:1,3` or `all`.

        :raises InputError: if it is none of them.
        """
        if not _POLICY.fullmatch(text):
            raise InputError(
                f"{text!r} is no version policy: write latest:COUNT, specific:VERSION,... or all"
            )
        kind, _, numbers = text.partition(":")
        parts = tuple(int(number) for number in numbers.split(",")) if numbers else ()
        return VersionPolicy(kind, parts)  # type: ignore[arg-type]  # the pattern saw to it

    def config(self) -> dict[str, dict[str, int | list[int]]]:
        """Return the value of `model_version_policy`."""
        if self.kind == "latest":
            return {"latest": {"num_versions": self.numbers[0]}}
        if self.kind == "specific":
            return {"specific": {"versions": list(self.numbers)}}
        return {"all": {}}


@dataclass(frozen=True)
class ServingProfile:
    """One model on one server.

    :param goal: what matters: the time of one request, which is computed on all cores, or how many
        are answered, of which several are computed side by side on fewer cores each.
    :param cores: whole cores that the container has; 1 to 1024.
    :param precision: INFERENCE_PRECISION_HINT, the bundle's: "f32" or "bf16".
    :param concurrency: requests that clients keep in flight.
    :param exclusive_cores: the cores are this container's alone (a cpuset, or Kubernetes' static
        CPU manager): pin threads to them.
    :param name: of the model in URLs.
    :param base_path: its folder as the server sees it, or an s3:// address.
    :param token_model: list the model that takes token ids too, as NAME-tokens in the folder beside
        (`ovms build --token-in`).
    :param max_batch: texts of one request at most (default: 256, shared among the streams).
    :param versions: which versions are loaded.
    :param metrics: expose /metrics.
    :param cache: keep compiled models in /opt/cache of the container.
    :param tuned_streams: requests computed side by side, where that was measured.
    :param tuned_threads: CPU threads of all streams, where that was measured; `cores` at most.
    :raises InputError: if a value is out of range.
    """

    goal: Annotated[Goal, Flag(name="profile")]
    cores: Count
    precision: InferencePrecision = "f32"
    concurrency: Count | None = None
    exclusive_cores: bool = False
    name: str = "emotions"
    base_path: Annotated[str, Flag("PATH")] = "/models/emotions"
    token_model: bool = False
    max_batch: Count | None = None
    versions: VersionPolicy = field(default_factory=VersionPolicy)
    metrics: bool = True
    cache: bool = False
    tuned_streams: int | None = None
    tuned_threads: int | None = None

    def __post_init__(self) -> None:
        check_fields(self, InputError)
        if self.cores > MAX_CORES:
            raise InputError(f"cores is {self.cores}; it must lie between 1 and {MAX_CORES}")
        for name, value in (("streams", self.tuned_streams), ("threads", self.tuned_threads)):
            if value is not None and not 1 <= value <= self.cores:
                raise InputError(
                    f"the tuned {name} are {value}; they must lie between 1 and the cores, "
                    f"{self.cores}"
                )
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"the model's name is {self.name!r}; it becomes a part of URLs and must be made of "
                "letters, digits, dots, dashes and underscores"
            )
        if not self.base_path.startswith(("/", "s3://")) or self.base_path in ("/", "s3://"):
            raise InputError(
                f"base_path is {self.base_path!r}; it must be an absolute folder of the container "
                "or an s3:// address"
            )

    @property
    def models(self) -> dict[str, str]:
        """The folder by name of each model, the one that takes texts first."""
        found = {self.name: self.base_path}
        if self.token_model:
            found[f"{self.name}-tokens"] = f"{self.base_path.rstrip('/')}-tokens"
        return found

    @property
    def streams(self) -> int:
        """Requests that are computed side by side.

        For throughput one a core: in OpenVINO, two streams on two cores answered 1.5 times as many
        single texts as one stream of two threads (benchmarks/serving/graph.py measures it).
        """
        if self.tuned_streams is not None:
            return self.tuned_streams
        if self.goal == "latency":
            return 1
        return min(self.cores, self.concurrency or self.cores)

    @property
    def batch(self) -> int:
        """Texts of one request at most."""
        if self.max_batch is not None:
            return self.max_batch
        return max(16, MAX_BATCH // self.streams)

    @property
    def memory_mib(self) -> int:
        """What the container is given, for emotions-ru-small.

        Measured in OpenVINO 2026.4 with the largest requests of the longest texts: 700 MiB with one
        stream, 1,160 MiB with two, of which 300 and 390 are there before the first. Model Server
        with one stream took 508 MiB for 256 long texts. Versions that are loaded beside the one
        that answers, during a rollout one at least, only take the first part.
        """
        loaded = 288 + 96 * self.streams
        computing = -(-512 * self.streams * self.batch // MAX_BATCH)
        idle = max(1, self.versions.numbers[0] if self.versions.kind == "latest" else 2)
        return -(-len(self.models) * (loaded * (1 + idle) + computing) // 256) * 256

    @property
    def one_stream(self) -> bool:
        """Whether OpenVINO is told to hurry rather than how many streams to make."""
        return self.goal == "latency" and self.streams == 1

    @property
    def infer_requests(self) -> int:
        """The server's `nireq`: for each stream one request that runs and one that is loaded."""
        return 2 * self.streams

    @property
    def plugin_config(self) -> dict[str, str | int | bool]:
        """OpenVINO's CPU options; one of PERFORMANCE_HINT and NUM_STREAMS, never both."""
        hurry: dict[str, str | int | bool] = {"PERFORMANCE_HINT": "LATENCY"}
        return {
            "INFERENCE_PRECISION_HINT": self.precision,
            **(hurry if self.one_stream else {"NUM_STREAMS": self.streams}),
            "INFERENCE_NUM_THREADS": self.tuned_threads or self.cores,
            "ENABLE_CPU_PINNING": self.exclusive_cores,
        }

    def worker_arguments(self) -> list[str]:
        """Return the flags that let requests into the server, so that it measures their waiting.

        A REST worker or gRPC thread is held by a request until its answer is out. By default they
        are so few that clients queue before anything is counted, or are refused (gRPC).
        """
        clients = max(self.concurrency or CLIENTS, self.cores, 2)
        return [
            f"--rest_workers={min(clients, MAX_REST_WORKERS)}",
            f"--grpc_max_threads={8 * clients}",
            "--grpc_workers=1",
        ]

    def server_arguments(self, config_path: str = "/config/config.json") -> list[str]:
        """Return the command line of the server."""
        arguments = [
            f"--config_path={config_path}",
            f"--port={GRPC_PORT}",
            f"--rest_port={REST_PORT}",
            *self.worker_arguments(),
            "--file_system_poll_wait_seconds=1",
            "--log_level=INFO",
        ]
        return [*arguments, "--cache_dir=/opt/cache"] if self.cache else arguments


def make_profile(
    manifest: Manifest, tuning_profile: Path | None, **given: Any
) -> tuple[ServingProfile, str]:
    """Make the profile of a bundle's model, and say where its cores come from.

    :param tuning_profile: what `ov-emotions bench` wrote on the machine that will serve.
    :param given: fields of the profile, which win over what was measured.
    :raises InputError: if a value is out of range, or the tuning profile is of another model or
        machine.
    """
    from ov_emotions.system import CpuBudget, cpu_budget
    from ov_emotions.tuning.profile import TuningProfile

    cores = given.get("cores")
    budget = CpuBudget(cores, "given") if cores else None
    found: dict[str, Any] = {"goal": "latency", "precision": manifest.inference_precision}
    if tuning_profile is not None:
        tuned = TuningProfile.read(tuning_profile)
        tuned.check_model(manifest)
        if cores and cores != tuned.cores:
            raise InputError(
                f"{tuning_profile} was measured on {tuned.cores} core(s), not on {cores}; leave "
                "--cores out, or run `ov-emotions bench` on a machine like the server's"
            )
        machine = tuned.fingerprint
        source = f"measured on {machine.cpu} with OpenVINO {machine.openvino}"
        budget = budget or CpuBudget(tuned.cores, source)
        found |= {
            "goal": "throughput" if tuned.goal == "throughput" else "latency",
            "tuned_streams": tuned.settings.streams,
            "tuned_threads": tuned.settings.threads,
        }
    budget = budget or cpu_budget()
    if "name" in given:
        found["base_path"] = f"/models/{given['name']}"
    return ServingProfile(**{**found, **given, "cores": budget.cores}), budget.source
