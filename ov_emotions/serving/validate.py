"""Whether OpenVINO Model Server takes a config.json, and whether it does what it seems to say.

`validate` finds what the server would refuse (errors) and what it accepts without a word though it
is not what was meant (warnings). The server's own behaviour was recorded case by case; a test holds
this module to the record. What it cannot know from here, it is told: which devices the server has,
whether it was built with MediaPipe, and what lies in the folders that the file names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ov_emotions.errors import DataError
from ov_emotions.serving.config_files import (
    ModelFiles,
    check_path,
    check_versions,
    served_versions,
)
from ov_emotions.serving.config_findings import (
    REFUSED_MODEL,
    Finding,
    Severity,
    accepted,
    refused,
    shown,
)
from ov_emotions.serving.config_forms import config_form
from ov_emotions.serving.config_metrics import check_metrics
from ov_emotions.serving.config_plugin import as_text, check_plugin
from ov_emotions.serving.config_shapes import check_layout, check_shape

__all__ = ["Finding", "ServerTraits", "Severity", "validate", "validate_file", "validate_text"]

_COMPOSITE_DEVICES = ("AUTO", "MULTI", "HETERO", "BATCH")
_MOST_REQUESTS = 100_000


@dataclass(frozen=True)
class ServerTraits:
    """What differs between servers.

    :param devices: OpenVINO devices that it has.
    :param mediapipe: whether it was built with MediaPipe, as the published image is.
    """

    devices: tuple[str, ...] = ("CPU",)
    mediapipe: bool = True


DEFAULT_TRAITS = ServerTraits()


def validate_file(
    path: Path, traits: ServerTraits = DEFAULT_TRAITS, files: ModelFiles | None = None
) -> list[Finding]:
    """Check a file.

    :param path: of config.json.
    :param traits: the server's.
    :param files: what lies in the folders it names; they are not looked at if None.
    :return: the findings; none if all is well.
    :raises DataError: if the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return validate_text(data, traits, files)


def validate_text(
    data: bytes, traits: ServerTraits = DEFAULT_TRAITS, files: ModelFiles | None = None
) -> list[Finding]:
    """Check the content of a file.

    :param data: UTF-8 text.
    :param traits: the server's.
    :param files: what lies in the folders it names; they are not looked at if None.
    :return: the findings; none if all is well.
    """
    twice: list[str] = []
    try:
        config = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=lambda pairs: _first_of_each(pairs, twice),
            parse_constant=_not_a_number,
        )
        # Half of a surrogate pair is no character, for the server either.
        json.dumps(config, ensure_ascii=False).encode("utf-8")
        findings = validate(config, traits, files)
    except UnicodeDecodeError as error:
        return [refused("not-json", "", f"the file is not UTF-8 text: byte {error.start}")]
    except UnicodeEncodeError:
        return [refused("not-json", "", "a text holds half of a surrogate pair")]
    except RecursionError:
        return [refused("not-json", "", "the file is nested too deeply")]
    except ValueError as error:
        return [refused("not-json", "", f"the file is not valid JSON: {error}")]
    repeated = [
        accepted("key-twice", key, "the key stands twice in one object; the server takes the first")
        for key in twice
    ]
    return [*findings, *repeated]


def _first_of_each(pairs: list[tuple[str, Any]], twice: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            twice.append(key)
        found.setdefault(key, value)
    return found


def _not_a_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def validate(
    config: object, traits: ServerTraits = DEFAULT_TRAITS, files: ModelFiles | None = None
) -> list[Finding]:
    """Check a parsed configuration.

    :param config: what the JSON parsed to.
    :param traits: the server's.
    :param files: what lies in the folders it names; they are not looked at if None.
    :return: the findings, in the order in which the server comes upon them; none if all is well. A
        broken form hides the rest, as it does from the server.
    """
    broken = list(config_form(traits.mediapipe).check(config, ""))
    if broken or not isinstance(config, dict):
        return broken
    return list(_check_content(config, traits, files))


def _check_content(
    config: Mapping[str, Any], traits: ServerTraits, files: ModelFiles | None
) -> Iterator[Finding]:
    models: Sequence[Mapping[str, Any]] = [item["config"] for item in config["model_config_list"]]
    yield from check_metrics(config.get("monitoring", {}).get("metrics", {}))
    graphs = config.get("mediapipe_config_list") or config.get("pipeline_config_list")
    if not models and not graphs:
        yield accepted(
            "no-model", "model_config_list", "it is empty: the server starts and serves nothing"
        )
    seen: set[str] = set()
    for i, model in enumerate(models):
        where = f"model_config_list[{i}].config"
        yield from _check_model(model, where)
        if model["name"] in seen:
            yield refused(
                "name-twice",
                f"{where}.name",
                f"{shown(model['name'])} is the name of an earlier model; the server loads that "
                "one alone and reports a failure",
                REFUSED_MODEL,
            )
        else:
            yield from _check_loading(model, where, traits, files)
        seen.add(model["name"])


def _check_model(model: Mapping[str, Any], where: str) -> Iterator[Finding]:
    """Check what the server looks at before it touches a file."""
    yield from _check_name(model["name"], f"{where}.name")
    yield from _check_batch_size(model, where)
    yield from check_shape(model.get("shape"), f"{where}.shape")
    yield from check_layout(model.get("layout"), f"{where}.layout")
    device = model.get("target_device", "CPU")
    plugin = model.get("plugin_config", {})
    yield from check_plugin(plugin, f"{where}.plugin_config", cpu=device == "CPU")
    yield from _check_requests(model, where)
    if "base_path" not in model and "graph_path" not in model and "subconfig" not in model:
        yield accepted(
            "no-base-path",
            where,
            "base_path is missing: the server looks for versions in the folder of config.json and "
            "serves nothing; name the model's folder",
        )


def _check_name(name: str, where: str) -> Iterator[Finding]:
    if not name:
        yield accepted("name-url", where, "it is empty: the model loads and no URL leads to it")
    elif not re.fullmatch(r"[\w.\-~]+", name, re.ASCII):
        yield accepted(
            "name-url",
            where,
            f"{shown(name)} does not fit into /v2/models/NAME: the model loads and cannot be "
            "asked; use letters, digits, dots, dashes and underscores",
        )


def _check_batch_size(model: Mapping[str, Any], where: str) -> Iterator[Finding]:
    if "batch_size" not in model:
        return
    where = f"{where}.batch_size"
    size = str(model["batch_size"])
    if "shape" in model:
        yield accepted("batch-size", where, "it is ignored beside shape; leave both out")
    elif size == "auto":
        yield accepted(
            "batch-size",
            where,
            '"auto" is deprecated and loads the model anew at every new size; leave it out',
        )
    elif size in ("0", "-1"):
        yield accepted("batch-size", where, f"{size} says nothing; leave it out")
    elif re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", size):
        yield accepted(
            "batch-size",
            where,
            f"the model takes any number of texts, and with {size} refuses the others; leave it "
            "out",
        )
    else:
        yield accepted(
            "batch-size", where, f"{shown(size)} is no size: the server ignores it; leave it out"
        )


def _check_requests(model: Mapping[str, Any], where: str) -> Iterator[Finding]:
    count = model.get("nireq", 0)
    streams = as_text(model.get("plugin_config", {}).get("NUM_STREAMS", ""))
    if 0 < count <= _MOST_REQUESTS and streams.isdecimal() and count < int(streams):
        yield accepted(
            "nireq-below-streams",
            f"{where}.nireq",
            f"{count} requests cannot feed {streams} streams; take at least as many, or leave it "
            "out",
        )


def _check_loading(
    model: Mapping[str, Any], where: str, traits: ServerTraits, files: ModelFiles | None
) -> Iterator[Finding]:
    """Check what shows when the server loads the model."""
    path = model.get("base_path")
    policy = model.get("model_version_policy", {})
    if not policy.get("specific", {"versions": [1]})["versions"]:
        yield accepted(
            "version-missing",
            f"{where}.model_version_policy",
            "it names no version: the server starts and serves nothing",
        )
    if files is not None and path:
        yield from check_path(files, path, f"{where}.base_path")
        if files.kind(path) == "folder":
            yield from check_versions(files, path, policy, where)
            yield from _check_inputs(model, where, files, policy)
    if model.get("nireq", 0) > _MOST_REQUESTS:
        yield refused(
            "nireq-too-high",
            f"{where}.nireq",
            f"it is {model['nireq']}; the server takes at most {_MOST_REQUESTS}",
            REFUSED_MODEL,
        )
    yield from _check_device(model.get("target_device", "CPU"), f"{where}.target_device", traits)


def _check_inputs(
    model: Mapping[str, Any],
    where: str,
    files: ModelFiles,
    policy: Mapping[str, Mapping[str, object]],
) -> Iterator[Finding]:
    shape, path = model.get("shape"), model["base_path"]
    served = served_versions(policy, files.versions(path))
    inputs = files.inputs(path, served[-1]) if served and shape else None
    if inputs is None:
        return
    if isinstance(shape, str) and shape != "auto" and len(inputs) > 1:
        yield refused(
            "shape-inputs",
            f"{where}.shape",
            f"one shape cannot serve {len(inputs)} inputs; leave it out",
            REFUSED_MODEL,
        )
    for name in shape if isinstance(shape, dict) else ():
        if name not in inputs:
            yield refused(
                "shape-inputs",
                f"{where}.shape.{name}",
                f"the model has no such input; it has {', '.join(inputs)}",
                REFUSED_MODEL,
            )


def _check_device(device: str, where: str, traits: ServerTraits) -> Iterator[Finding]:
    for part in re.split(r"[:,]", device):
        name = re.sub(r"\(.*\)$|\.\d+$", "", part)
        if name not in _COMPOSITE_DEVICES and name not in traits.devices:
            yield refused(
                "device-absent",
                where,
                f"the server has no device {shown(name)}; it has {', '.join(traits.devices)}",
            )
    if device.startswith("BATCH"):
        yield accepted(
            "device-batch",
            where,
            "requests wait to be joined into a batch; on a CPU, streams do better: write CPU",
        )
