"""The folders that a configuration names, as the server would see them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from xml.etree import ElementTree

from ov_emotions.serving.config_rules import REFUSED_PATH, Finding, accepted, refused


@dataclass(frozen=True)
class LocalFiles:
    """Files of this machine, under the paths that a container, the server, has for them.

    :param mounts: folder of this machine by folder of the container; with none, paths are taken as
        they stand.
    :param base: what relative paths start from: the folder of config.json.
    """

    mounts: Mapping[str, Path] = field(default_factory=dict)
    base: Path = Path()

    def kind(self, path: str) -> Literal["folder", "file", "missing", "unknown"]:
        """Tell what lies at a path; "unknown" where that cannot be said from here."""
        local = self._local(path)
        if local is None:
            return "unknown"
        return "folder" if local.is_dir() else "file" if local.exists() else "missing"

    def versions(self, path: str) -> list[int]:
        """List the versions in a model's folder, ascending."""
        local = self._local(path)
        names = [entry.name for entry in local.iterdir() if entry.is_dir()] if local else []
        return sorted(int(name) for name in names if re.fullmatch(r"[1-9][0-9]*", name))

    def models(self, path: str, version: int) -> list[str]:
        """List the files of a version."""
        local = self._local(path)
        return sorted(entry.name for entry in (local / str(version)).iterdir()) if local else []

    def inputs(self, path: str, version: int) -> dict[str, int | None] | None:
        """Give the number of dimensions by input of a version; None what cannot be told."""
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


def served_versions(policy: Mapping[str, Mapping[str, Any]], found: Sequence[int]) -> list[int]:
    """Tell which of the versions that lie there a server would load, both ascending.

    :param policy: a well-formed `model_version_policy`; empty for the default, the newest one.
    """
    if "all" in policy:
        return list(found)
    if "specific" in policy:
        return [version for version in found if version in policy["specific"]["versions"]]
    return list(found[-policy.get("latest", {"num_versions": 1})["num_versions"] :])


def check_path(files: LocalFiles, path: str, where: str) -> Iterator[Finding]:
    """Check the value of `base_path`."""
    kind = files.kind(path)
    if ".." in PurePosixPath(path).parts:
        yield refused("path-dots", where, f"{path} leads upward, which the server refuses", None)
    elif kind == "missing":
        yield refused("path-missing", where, f"there is no folder {path}", REFUSED_PATH)
    elif kind == "file":
        problem = (
            f"{path} is a file: the server loads it under a version of its own choosing and never "
            "sees a new one; name the folder of the numbered versions"
        )
        yield accepted("path-file", where, problem)
    elif kind == "folder" and not files.versions(path):
        problem = (
            f"{path} holds no folder named by a whole number above 0: the server starts and serves "
            "nothing; publish a model there"
        )
        yield accepted("no-version", where, problem, "unserved")


def check_versions(
    files: LocalFiles, path: str, policy: Mapping[str, Mapping[str, Any]], where: str
) -> Iterator[Finding]:
    """Check the versions that the policy picks of a folder that is there."""
    found = files.versions(path)
    served = served_versions(policy, found)
    wanted = policy.get("specific", {}).get("versions", [])
    missing = [version for version in wanted if version not in found]
    if missing and found:
        problem = (
            f"{path} has no version {', '.join(map(str, missing))}: the server says nothing and "
            f"leaves it out; there are {', '.join(map(str, found))}"
        )
        place = f"{where}.model_version_policy"
        yield accepted("version-missing", place, problem, "serves" if served else "unserved")
    for version in served:
        folder, names = f"{path}/{version}", files.models(path, version)
        models = [name for name in names if name.endswith(".xml")]
        if not models and not any(name.endswith((".onnx", ".pb", ".tflite")) for name in names):
            yield refused("no-model", where, f"{folder} holds no model", None)
        if len(models) > 1:
            problem = (
                f"{folder} holds {', '.join(models)}: the server takes whichever the file system "
                "lists first; leave one of them"
            )
            yield accepted("several-models", where, problem)
        for name in models:
            if name.removesuffix(".xml") + ".bin" not in names:
                yield refused("no-weights", where, f"{folder} holds {name} without its .bin", None)
