"""The tuning profile: settings that were measured to be fastest, and for what they hold."""

from __future__ import annotations

import hashlib
import os
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ov_emotions.errors import InputError
from ov_emotions.manifest import MODEL_NAME, WEIGHTS_NAME, Manifest
from ov_emotions.schema import Count, from_builtins, read_json, write_json
from ov_emotions.system import read_machine

SCHEMA_VERSION = 1

Goal = Literal["balanced", "latency", "throughput"]


@dataclass(frozen=True)
class Fingerprint:
    """What measured settings hold for; see `system.Machine`."""

    cpu: str
    logical_cores: int
    instructions: tuple[str, ...]
    openvino: str
    cpu_quota: float | None = None

    def differences(self, other: Fingerprint) -> list[str]:
        """Give a clause for each difference; none where the settings hold."""
        names = {
            "cpu": "CPU",
            "logical_cores": "usable cores",
            "cpu_quota": "CPU quota",
            "instructions": "instruction sets",
            "openvino": "OpenVINO",
        }
        ours, theirs = asdict(self), asdict(other)
        return [
            f"{names[key]} {_shown(ours[key])} instead of {_shown(theirs[key])}"
            for key in names
            if ours[key] != theirs[key]
        ]


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(value) or "none"
    return "none" if value is None else str(value)


@dataclass(frozen=True)
class Settings:
    """What can be chosen without changing an answer by more than rounding.

    :param threads: CPU threads that all streams share; at least 1.
    :param streams: inferences that run side by side; at least 1. With 1 the classifier has models
        beside it for lists and for single texts.
    :param batch_tokens: tokens of a batch at most, padding included; at least 1.
    :param chunk_size: texts that `stream` classifies together; at least 1.
    """

    threads: Count
    streams: Count
    batch_tokens: Count
    chunk_size: Count


@dataclass(frozen=True)
class TuningProfile:
    """Settings that were measured, for a model on a machine.

    :param model_sha256: of its weights and graph.
    :param goal: what they are best for: `latency` is one text, `throughput` a list, `balanced` the
        best for lists among those that are nearly best for one text.
    :param cores: whole cores that were to be kept busy.
    """

    model: str
    model_sha256: str
    goal: Goal
    fingerprint: Fingerprint
    cores: int
    settings: Settings
    schema_version: int = SCHEMA_VERSION

    def write(self, path: Path, measured: Any = None) -> None:
        """Write the profile as JSON; figures kept beside it are not read again."""
        write_json(path, self.to_dict() | ({} if measured is None else {"measured": measured}))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what is None is left out."""
        plain = asdict(self)
        known = {k: v for k, v in plain["fingerprint"].items() if v is not None}
        return plain | {"fingerprint": known}

    @staticmethod
    def read(path: str | os.PathLike[str]) -> TuningProfile:
        """Read what `ov-emotions bench` wrote.

        :raises InputError: if it is no profile, or of a newer library.
        """
        where = f"tuning profile {os.fspath(path)}"
        table = read_json(Path(path).expanduser(), dict[str, Any], InputError)
        version = table.get("schema_version")
        if version != SCHEMA_VERSION:
            raise InputError(
                f"{where} has schema_version {version!r}; this library reads {SCHEMA_VERSION}: "
                "run `ov-emotions bench` again"
            )
        table.pop("measured", None)
        return from_builtins(table, TuningProfile, where, InputError)

    def check_model(self, manifest: Manifest) -> None:
        """Refuse another model than the one that was measured."""
        if model_sha256(manifest) != self.model_sha256:
            raise InputError(
                f"the tuning profile was measured for {self.model}, and {manifest.name} is another "
                "model or another version of it; run `ov-emotions bench` for this one"
            )


def usable_settings(
    profile: TuningProfile | str | os.PathLike[str], manifest: Manifest
) -> Settings | None:
    """Give a profile's settings if they hold here.

    :return: the settings; None, after a warning, where the machine is another.
    :raises InputError: if the file is none, or the model another.
    """
    found = profile if isinstance(profile, TuningProfile) else TuningProfile.read(profile)
    found.check_model(manifest)
    differences = found.fingerprint.differences(fingerprint())
    if not differences:
        return found.settings
    warnings.warn(
        f"the tuning profile for {found.model} is not used, because it was measured with "
        f"{', '.join(differences)}; run `ov-emotions bench` here",
        stacklevel=3,
    )
    return None


def model_sha256(manifest: Manifest) -> str:
    """Identify a model by its graph and weights."""
    files = manifest.files
    return hashlib.sha256((files[MODEL_NAME] + files[WEIGHTS_NAME]).encode()).hexdigest()


def fingerprint() -> Fingerprint:
    """Describe this machine."""
    import openvino as ov

    machine = read_machine()
    return Fingerprint(
        cpu=machine.cpu,
        logical_cores=machine.usable_logical_cores,
        cpu_quota=machine.cpu_quota,
        instructions=machine.instructions,
        openvino=ov.__version__,
    )
