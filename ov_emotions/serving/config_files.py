"""The folders that a configuration names, as the server would see them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol
from xml.etree import ElementTree

from ov_emotions.serving.config_rules import REFUSED_PATH, Finding, accepted, refused

Kind = Literal["folder", "file", "missing", "unknown"]


class ModelFiles(Protocol):
    """What a check asks of a file system; every path is one that the server sees."""

    def kind(self, path: str) -> Kind:
        """Tell what lies at a path; "unknown" where that cannot be said from here."""
        ...

    def versions(self, path: str) -> Sequence[int]:
        """List the versions in a model's folder, ascending."""
        ...

    def models(self, path: str, version: int) -> Sequence[str]:
        """List the files of a version."""
        ...

    def inputs(self, path: str, version: int) -> Mapping[str, int | None] | None:
        """Give the number of dimensions by input of a version; None what cannot be told."""
        ...


@dataclass(frozen=True)
class LocalFiles:
    """Files of this machine, under the paths that a container has for them.

    :param mounts: folder of this machine by folder of the container; with none, paths are taken as
        they stand.
    :param base: what relative paths start from: the folder of config.json.
    """

    mounts: Mapping[str, Path] = field(default_factory=dict)
    base: Path = Path()

    def kind(self, path: str) -> Kind:
        """See `ModelFiles.kind`."""
        local = self._local(path)
        if local is None:
            return "unknown"
        return "folder" if local.is_dir() else "file" if local.exists() else "missing"

    def versions(self, path: str) -> list[int]:
        """See `ModelFiles.versions`."""
        local = self._local(path)
        names = [entry.name for entry in local.iterdir() if entry.is_dir()] if local else []
        return sorted(int(name) for name in names if re.fullmatch(r"[1-9][0-9]*", name))

    def models(self, path: str, version: int) -> list[str]:
        """See `ModelFiles.models`."""
        local = self._local(path)
        return sorted(entry.name for entry in (local / str(version)).iterdir()) if local else []

    def inputs(self, path: str, version: int) -> dict[str, int | None] | None:
        """See `ModelFiles.inputs`."""
        local = self._local(path)
        found = sorted((local / str(version)).glob("*.xml")) if local else []
        try:
            # Read as XML: reading the model takes the runtime and its tokenizer extension.
            layers = ElementTree.parse(found[0]).findall("layers/layer")  # noqa: S314
        except (IndexError, OSError, ElementTree.ParseError):
            return None
        ranks: dict[str, int | None] = {}
        for layer in layers:
            if layer.get("type") == "Parameter":
                port, data = layer.find("output/port"), layer.find("data")
                names = port.get("names") if port is not None else None
                shape = data.get("shape") if data is not None else None
                name = (names or layer.get("name") or "").split(",")[0]
                ranks[name] = shape.count(",") + 1 if shape else None
        return ranks

    def _local(self, path: str) -> Path | None:
        if "://" in path:
            return None
        pure = PurePosixPath(path)
        if not pure.is_absolute():
            return self.base / path
        if not self.mounts:
            return Path(path)
        for inside, outside in self.mounts.items():
            if pure.is_relative_to(inside):
                return outside / pure.relative_to(inside)
        return None


def served_versions(policy: Mapping[str, Mapping[str, object]], found: Sequence[int]) -> list[int]:
    """Tell which versions a server would load."""
    if "all" in policy:
        return list(found)
    if "specific" in policy:
        wanted = policy["specific"]["versions"]
        return [version for version in found if isinstance(wanted, list) and version in wanted]
    count = policy.get("latest", {"num_versions": 1})["num_versions"]
    return list(found[-count:]) if isinstance(count, int) else []


def check_path(files: ModelFiles, path: str, where: str) -> Iterator[Finding]:
    """Check a model's folder."""
    kind = files.kind(path)
    if ".." in PurePosixPath(path).parts:
        yield refused("path-dots", where, f"{path} leads upward, which the server refuses", None)
    elif kind == "missing":
        yield refused("path-missing", where, f"there is no folder {path}", REFUSED_PATH)
    elif kind == "file":
        yield accepted(
            "path-file",
            where,
            f"{path} is a file: the server loads it under a version of its own choosing and never "
            "sees a new one; name the folder of the numbered versions",
        )
    elif kind == "folder" and not files.versions(path):
        yield accepted(
            "no-version",
            where,
            f"{path} holds no folder named by a whole number above 0: the server starts and serves "
            "nothing; publish a model there",
            "unserved",
        )


def check_versions(
    files: ModelFiles, path: str, policy: Mapping[str, Mapping[str, object]], where: str
) -> Iterator[Finding]:
    """Check the versions that the policy picks."""
    found = files.versions(path)
    wanted = policy.get("specific", {}).get("versions", [])
    missing = [v for v in wanted if v not in found] if isinstance(wanted, list) else []
    if missing and found:
        yield accepted(
            "version-missing",
            f"{where}.model_version_policy",
            f"{path} has no version {', '.join(map(str, missing))}: the server says nothing and "
            f"leaves it out; there are {', '.join(map(str, found))}",
            "serves" if served_versions(policy, found) else "unserved",
        )
    for version in served_versions(policy, found):
        yield from _check_files(files.models(path, version), f"{path}/{version}", where)


def _check_files(names: Sequence[str], folder: str, where: str) -> Iterator[Finding]:
    models = [name for name in names if name.endswith(".xml")]
    if not models and not any(name.endswith((".onnx", ".pb", ".tflite")) for name in names):
        yield refused("no-model", where, f"{folder} holds no model", None)
    if len(models) > 1:
        yield accepted(
            "several-models",
            where,
            f"{folder} holds {', '.join(models)}: the server takes whichever the file system lists "
            "first; leave one of them",
        )
    for name in models:
        if name.removesuffix(".xml") + ".bin" not in names:
            yield refused("no-weights", where, f"{folder} holds {name} without its .bin", None)
