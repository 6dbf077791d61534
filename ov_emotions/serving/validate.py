"""What OpenVINO Model Server does with a config.json, at its start and when it reloads the file.

`validate` finds what the server would refuse (errors) and what it accepts without a word though it
is not what was meant (warnings). Its form is a JSON Schema, `config.schema.json`; what a schema
cannot say is in `config_rules`. The server's own behaviour was recorded case by case; tests hold
this to the records. What it cannot know from here, it is told: which devices the server has,
whether it was built with MediaPipe, and what lies in the folders that the file names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as resources
from pathlib import Path
from typing import Annotated, Any

from ov_emotions.errors import DataError
from ov_emotions.schema import Flag
from ov_emotions.serving.config_files import LocalFiles, check_path, check_versions, served_versions
from ov_emotions.serving.config_rules import (
    REFUSED_AS_JSON,
    REFUSED_MODEL,
    TAKEN,
    Finding,
    Start,
    accepted,
    check_batch,
    check_device,
    check_layout,
    check_metrics,
    check_name,
    check_plugin,
    check_requests,
    check_shape,
    did_you_mean,
    refused,
    shown,
)
from ov_emotions.system import require


@dataclass(frozen=True)
class ServerTraits:
    """What differs between servers.

    :param devices: a device of the server; repeatable.
    :param mediapipe: whether it was built with MediaPipe, as the published image is.
    """

    devices: Annotated[tuple[str, ...], Flag("NAME", name="device", each=True)] = ("CPU",)
    mediapipe: bool = True


DEFAULT_TRAITS = ServerTraits()


def start_verdict(findings: Sequence[Finding]) -> Start:
    """Say what a server does that starts with the file; `Finding.start` has the words."""
    starts = {finding.start for finding in findings}
    return "exits" if "exits" in starts else "unserved" if "unserved" in starts else "serves"


def reload_status(findings: Sequence[Finding]) -> int | None:
    """Say with which HTTP status a running server answers when it is told to reload the file.

    200 if it takes it; None if it refuses it with a status that was not recorded.
    """
    errors = [f.status for f in findings if f.severity == "error" and f.status != TAKEN]
    return errors[0] if errors else TAKEN


def validate_file(
    path: Path, traits: ServerTraits = DEFAULT_TRAITS, files: LocalFiles | None = None
) -> list[Finding]:
    """Check a file.

    :raises DataError: if the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return validate_text(data, traits, files)


def validate_text(
    data: bytes, traits: ServerTraits = DEFAULT_TRAITS, files: LocalFiles | None = None
) -> list[Finding]:
    """Check the content of a file."""
    twice: list[Finding] = []
    try:
        config = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=lambda pairs: _first_of_each(pairs, twice),
            parse_constant=_not_a_number,
        )
        # Half of a surrogate pair is no character, for the server either.
        json.dumps(config, ensure_ascii=False).encode("utf-8")
        return [*validate(config, traits, files), *twice]
    except UnicodeDecodeError as error:
        problem = f"the file is not UTF-8 text: byte {error.start}"
    except UnicodeEncodeError:
        problem = "a text holds half of a surrogate pair"
    except RecursionError:
        problem = "the file is nested too deeply"
    except ValueError as error:
        problem = f"the file is not valid JSON: {error}"
    return [_broken("not-json", "", problem)]


def _first_of_each(pairs: list[tuple[str, Any]], twice: list[Finding]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            first = found[key]
            problem = (
                f"the key stands twice in one object; the server takes the first, {shown(first)}"
            )
            start: Start = "serves" if first == value else "unserved"
            twice.append(accepted("key-twice", key, problem, start))
        found.setdefault(key, value)
    return found


def _not_a_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def validate(
    config: object, traits: ServerTraits = DEFAULT_TRAITS, files: LocalFiles | None = None
) -> list[Finding]:
    """Check a parsed configuration.

    The findings come in the order in which the server comes upon them. A broken form hides the
    rest, as it does from the server; folders are not looked at where `files` is None.

    :raises MissingExtraError: without the extra `ovms`.
    """
    broken = [finding for error in _schema().iter_errors(config) for finding in _sentences(error)]
    if isinstance(config, dict) and "mediapipe_config_list" in config and not traits.mediapipe:
        reason = "this server was built without MediaPipe and refuses the whole file; leave it out"
        broken.append(_broken("key-unknown", "mediapipe_config_list", reason))
    if broken or not isinstance(config, dict):
        return broken
    return list(_check_content(config, traits, files))


@cache
def _schema() -> Any:
    """Return the checker of the file's form."""
    jsonschema = require("jsonschema", extra="ovms")
    text = (resources("ov_emotions.serving") / "config.schema.json").read_text(encoding="utf-8")
    draft = jsonschema.Draft202012Validator
    # Of JSON Schema's integers are 1.0 and 10^30 too; the server has 64 bits, and a type for them.
    types = draft.TYPE_CHECKER.redefine(
        "integer",
        lambda _checker, value: (
            isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**64
        ),
    )
    return jsonschema.validators.extend(draft, type_checker=types)(json.loads(text))


def _broken(rule: str, where: str, message: str) -> Finding:
    return refused(rule, where, message, REFUSED_AS_JSON, "exits")


def _sentences(error: Any) -> Iterator[Finding]:
    """Tell an error of the schema by its place in the file."""
    where = ""
    for step in error.absolute_path:
        where += f"[{step}]" if isinstance(step, int) else f".{step}" if where else step
    value, form = error.instance, error.schema
    if error.validator == "additionalProperties":
        known = form.get("properties", {})
        for key in value:
            if key not in known:
                reason = form.get("x-gone", {}).get(key) or (
                    "there is no such key, and the server refuses the whole file"
                    + (did_you_mean(key, known) or f": allowed are {', '.join(known)}")
                )
                yield _broken("key-unknown", f"{where}.{key}" if where else key, reason)
    elif error.validator == "required":
        missing = next(key for key in form["required"] if key not in value and key in error.message)
        yield _broken("key-missing", where, f"{shown(missing)} is missing")
    else:
        message = f"it is {shown(value)}; it must be {form['description']}"
        yield _broken("value", where, message)


def _check_content(
    config: Mapping[str, Any], traits: ServerTraits, files: LocalFiles | None
) -> Iterator[Finding]:
    models: Sequence[Mapping[str, Any]] = [item["config"] for item in config["model_config_list"]]
    yield from check_metrics(config.get("monitoring", {}).get("metrics", {}))
    graphs = config.get("mediapipe_config_list") or config.get("pipeline_config_list")
    if not models and not graphs:
        problem = "it is empty: the server starts and serves nothing"
        yield accepted("no-model", "model_config_list", problem, "unserved")
    seen: set[str] = set()
    for i, model in enumerate(models):
        where = f"model_config_list[{i}].config"
        yield from _check_model(model, where, traits, files, first=model["name"] not in seen)
        if model["name"] in seen:
            problem = (
                f"{shown(model['name'])} is the name of an earlier model; the server loads that "
                "one alone and reports a failure"
            )
            yield refused("name-twice", f"{where}.name", problem, REFUSED_MODEL, "serves")
        seen.add(model["name"])


def _check_model(
    model: Mapping[str, Any],
    where: str,
    traits: ServerTraits,
    files: LocalFiles | None,
    *,
    first: bool,
) -> Iterator[Finding]:
    """Check a model; one whose name an earlier one has is never loaded."""
    device = model.get("target_device", "CPU")
    ranks = _ranks(model, files)
    yield from check_name(model["name"], f"{where}.name")
    yield from check_batch(model, where)
    yield from check_shape(model.get("shape"), f"{where}.shape")
    yield from check_layout(model.get("layout"), ranks, f"{where}.layout")
    yield from check_plugin(model.get("plugin_config", {}), f"{where}.plugin_config", device)
    if not {"base_path", "graph_path", "subconfig"} & model.keys():
        problem = (
            "base_path is missing: the server looks for versions in the folder of config.json and "
            "serves nothing; name the model's folder"
        )
        yield accepted("no-base-path", where, problem, "unserved")
    if first:
        yield from _check_folder(model, where, files, ranks)
        yield from check_requests(model, where)
        yield from check_device(device, f"{where}.target_device", traits.devices)


def _ranks(model: Mapping[str, Any], files: LocalFiles | None) -> Mapping[str, int | None] | None:
    """Give the number of dimensions by input of the model that would be loaded, if it is seen."""
    path = model.get("base_path")
    if files is None or not path or files.kind(path) != "folder":
        return None
    served = served_versions(model.get("model_version_policy", {}), files.versions(path))
    return files.inputs(path, served[-1]) if served else None


def _check_folder(
    model: Mapping[str, Any],
    where: str,
    files: LocalFiles | None,
    ranks: Mapping[str, int | None] | None,
) -> Iterator[Finding]:
    """Check what shows when the server loads the model."""
    path, shape = model.get("base_path"), model.get("shape")
    policy = model.get("model_version_policy", {})
    if not policy.get("specific", {"versions": [1]})["versions"]:
        problem = "it names no version: the server starts and serves nothing"
        yield accepted("version-missing", f"{where}.model_version_policy", problem, "unserved")
    if files is not None and path:
        yield from check_path(files, path, f"{where}.base_path")
        if files.kind(path) == "folder":
            yield from check_versions(files, path, policy, where)
    if ranks is None or shape is None:
        return
    if isinstance(shape, str) and shape != "auto" and len(ranks) > 1:
        problem = f"one shape cannot serve {len(ranks)} inputs; leave it out"
        yield refused("shape-inputs", f"{where}.shape", problem, REFUSED_MODEL)
    for name in shape if isinstance(shape, dict) else ():
        if name not in ranks:
            problem = f"the model has no such input; it has {', '.join(ranks)}"
            yield refused("shape-inputs", f"{where}.shape.{name}", problem, REFUSED_MODEL)
