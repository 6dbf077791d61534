"""From study JSON to a checked `Study`: what is amiss is told with its place."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from ov_emotions.errors import DataError
from ov_emotions.reports.study import (
    Candidate,
    Change,
    Data,
    Interval,
    LabelF1,
    Latency,
    Model,
    Noise,
    Quality,
    Scoring,
    Spread,
    Start,
    Step,
    Study,
)

SCHEMA = 1
KIND = "ov-emotions study"
_RUNTIMES = ("openvino", "torch-cpu", "torch-cuda")
_Item = TypeVar("_Item")


class _Node:
    """A value of the JSON and the path that leads to it."""

    def __init__(self, value: Any, where: str) -> None:
        self.value = value
        self.where = where

    def fail(self, problem: str) -> NoReturn:
        raise DataError(f"{self.where} {problem}")

    def _mapping(self) -> Mapping[str, Any]:
        if not isinstance(self.value, Mapping):
            self.fail(f"must be an object, not {self.value!r:.60}")
        return self.value

    def __getitem__(self, key: str) -> _Node:
        mapping = self._mapping()
        node = _Node(mapping.get(key), f"{self.where}.{key}")
        if key not in mapping:
            node.fail("is missing")
        return node

    def maybe(self, key: str, read: Callable[[_Node], _Item]) -> _Item | None:
        """Read a key that may be absent or null."""
        return None if self._mapping().get(key) is None else read(self[key])

    def each(self, read: Callable[[_Node], _Item]) -> tuple[_Item, ...]:
        if not isinstance(self.value, list | tuple):
            self.fail(f"must be a list, not {self.value!r:.60}")
        return tuple(read(_Node(v, f"{self.where}[{i}]")) for i, v in enumerate(self.value))

    def map(self, read: Callable[[_Node], _Item]) -> dict[str, _Item]:
        mapping = self._mapping()
        return {str(key): read(_Node(v, f"{self.where}.{key}")) for key, v in mapping.items()}

    def free(self) -> dict[str, Any]:
        return dict(self._mapping())

    def number(self) -> float:
        value = self.value
        # bool is an int to isinstance, though not to a reader of JSON.
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fail(f"must be a number, not {value!r:.60}")
        if not math.isfinite(value):
            self.fail(f"must be a finite number, not {value}")
        return float(value)

    def share(self) -> float:
        value = self.number()
        if not 0 <= value <= 1:
            self.fail(f"must lie in [0, 1], not be {value:g}")
        return value

    def count(self) -> int:
        value = self.number()
        if value < 0 or value != int(value):
            self.fail(f"must be a whole number that is not negative, not {value:g}")
        return int(value)

    def text(self) -> str:
        if not isinstance(self.value, str):
            self.fail(f"must be a text, not {self.value!r:.60}")
        return self.value

    def name(self) -> str:
        if not self.text().strip():
            self.fail("is blank")
        return self.text()

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            self.fail(f"must be true or false, not {self.value!r:.60}")
        return self.value

    def one_of(self, allowed: tuple[str, ...]) -> str:
        if self.text() not in allowed:
            self.fail(f"is {self.value!r:.60}; it must be one of {', '.join(allowed)}")
        return self.text()


def read_study(path: Path | str) -> dict[str, Any]:
    """Read study JSON and check that a report can be made of it.

    :param path: a file that the study wrote.
    :return: the parsed JSON.
    :raises DataError: if it cannot be read, is no study, or is newer than this library.
    """
    path = Path(path)
    try:
        study = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read the study {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON, so it is no study: {error}") from error
    parse_study(study, str(path))
    return dict(study)


def parse_study(study: Mapping[str, Any], where: str = "the study") -> Study:
    """Check study JSON and make it typed.

    :param study: the parsed JSON.
    :param where: what messages call it.
    :return: the study.
    :raises DataError: if it is no study, or a part is missing or of the wrong kind.
    """
    root = _Node(study, where)
    if not isinstance(study, Mapping) or study.get("kind") != KIND:
        root.fail(f'is not a quantization study: its "kind" must be "{KIND}"')
    if (schema := root["schema"].count()) != SCHEMA:
        remedy = "upgrade ov-emotions" if schema > SCHEMA else "make the study again"
        root.fail(f"has schema {schema}, and this library reads schema {SCHEMA}: {remedy}")
    candidates = root["candidates"].each(_candidate)
    reference = root["reference"].name()
    ids = [candidate.id for candidate in candidates]
    if double := {name for name in ids if ids.count(name) > 1}:
        root["candidates"].fail(f"holds the id {min(double)!r} twice")
    if reference not in ids:
        root["reference"].fail(f"is {reference!r}, which is not among the candidates")
    settings = root["settings"]
    if (max_drop := settings["max_drop"].number()) < 0:
        settings["max_drop"].fail(f"must not be negative, but is {max_drop:g}")
    return Study(
        command=root.maybe("command", _Node.text) or "",
        created=root.maybe("created", _Node.text) or "",
        model=_model(root["model"]),
        data=_data(root["data"]),
        settings=settings.free(),
        max_drop=max_drop,
        machine=root.maybe("machine", _Node.free) or {},
        versions=root.maybe("versions", _Node.free) or {},
        noise=root.maybe("noise", _noise),
        reference=reference,
        candidates=candidates,
        steps=root.maybe("steps", lambda node: node.each(_step)) or (),
        not_measured=root.maybe("not_measured", lambda node: node.each(_absent)) or (),
    )


def _model(node: _Node) -> Model:
    return Model(
        name=node["name"].name(),
        checkpoint=node.maybe("checkpoint", _Node.text) or "",
        weights_sha256=node.maybe("weights_sha256", _Node.text) or "",
        labels=node["labels"].each(_Node.name),
        label_names_ru=node.maybe("label_names_ru", lambda n: n.map(_Node.text)) or {},
        parameters=node.maybe("parameters", _Node.count),
        random_weights=node.maybe("random_weights", _Node.flag) or False,
    )


def _data(node: _Node) -> Data:
    rows = node.maybe("splits", lambda n: n.map(lambda split: split.maybe("rows", _Node.count)))
    return Data(
        choice_split=node["choice_split"].name(),
        final_split=node.maybe("final_split", _Node.name),
        thresholds_split=node.maybe("thresholds_split", _Node.text) or "",
        calibration_split=node.maybe("calibration_split", _Node.text) or "",
        rows={name: count for name, count in (rows or {}).items() if count is not None},
        manifest_sha256=node.maybe("manifest_sha256", _Node.text) or "",
        seed=node.maybe("seed", _Node.count),
    )


def _noise(node: _Node) -> Noise:
    return Noise(node["noisy"].flag(), node.maybe("sentence", _Node.text) or "")


def _absent(node: _Node) -> tuple[str, str]:
    return node["id"].name(), node["why"].text()


def _step(node: _Node) -> Step:
    return Step(
        node["step"].text(), node["seconds"].number(), node.maybe("peak_memory_mb", _Node.number)
    )


def _spread(node: _Node) -> Spread:
    """Read a spread of what is divided by, or drawn by its logarithm, so that it is not 0."""
    spread = _cost(node)
    if not spread.min:
        node["min"].fail("must be greater than 0")
    return spread


def _cost(node: _Node) -> Spread:
    spread = Spread(*(node[key].number() for key in ("median", "min", "max")))
    if not 0 <= spread.min <= spread.median <= spread.max:
        node.fail(
            f"must have 0 <= min <= median <= max, not {spread.min:g}, {spread.median:g} "
            f"and {spread.max:g}"
        )
    return spread


def _interval(node: _Node) -> Interval:
    return Interval(*(node[key].number() for key in ("value", "low", "high")))


def _pair(node: _Node) -> tuple[float, float]:
    numbers = node.each(_Node.number)
    if len(numbers) != 2:
        node.fail(f"must be two numbers, not {len(numbers)}")
    return numbers[0], numbers[1]


def _candidate(node: _Node) -> Candidate:
    ok = node["status"].one_of(("ok", "failed")) == "ok"
    ratios = node.maybe("ratios", lambda n: n)
    throughput = node.maybe("throughput", lambda n: n["texts_per_second"])
    return Candidate(
        id=node["id"].name(),
        recipe=node.maybe("recipe", _Node.text),
        runtime=node["runtime"].one_of(_RUNTIMES),
        description=node.maybe("description", _Node.text) or "",
        weights=node["weights"].name(),
        precision=node["precision"].name(),
        ok=ok,
        error=node.maybe("error", _Node.text),
        quantization=node.maybe("quantization", _Node.free),
        size_bytes=node.maybe("size_bytes", _Node.count),
        quality=node.maybe("quality", lambda n: n.map(_quality)) or {},
        start=node.maybe("start", _start),
        latency=node.maybe("latency", _latency),
        throughput=_spread(throughput) if throughput else None,
        p50_ratio=ratios.maybe("p50", _spread) if ratios else None,
        throughput_ratio=ratios.maybe("throughput", _spread) if ratios else None,
    )


def _latency(node: _Node) -> Latency:
    return Latency(
        _spread(node["p50_ms"]), node.maybe("p90_ms", _spread), node.maybe("p99_ms", _spread)
    )


def _start(node: _Node) -> Start:
    return Start(*(node.maybe(k, _cost) for k in ("load_s", "first_inference_ms", "rss_mb")))


def _quality(node: _Node) -> Quality:
    return Quality(
        rows=node["rows"].count(),
        frozen=_scoring(node["frozen"]),
        refitted=_scoring(node["refitted"]),
        ece=node.maybe("ece", _Node.share),
        changes=node.maybe("largest_changes", lambda n: n.each(_change)) or (),
    )


def _scoring(node: _Node) -> Scoring:
    intervals, difference = node["intervals_95"], node["difference"]
    label_intervals = intervals.maybe("labels", lambda n: n.map(_pair)) or {}
    labels = node["labels"].map(lambda n: n)
    return Scoring(
        weighted_f1=Interval(node["weighted_f1"].share(), *_pair(intervals["weighted_f1"])),
        macro_f1=Interval(node["macro_f1"].share(), *_pair(intervals["macro_f1"])),
        labels={name: _label(n, label_intervals.get(name)) for name, n in labels.items()},
        difference=_interval(difference["weighted_f1"]),
        macro_difference=_interval(difference["macro_f1"]),
        flipped=node["flipped"].share(),
        flipped_rows=node["flipped_rows"].share(),
    )


def _label(node: _Node, interval: tuple[float, float] | None) -> LabelF1:
    low, high = interval or (None, None)
    precision, recall, f1 = (node[key].share() for key in ("precision", "recall", "f1"))
    return LabelF1(
        precision, recall, f1, node["support"].count(), node["predicted"].count(), low, high
    )


def _change(node: _Node) -> Change:
    return Change(
        node["row"].count(),
        node["text"].text(),
        node["label"].text(),
        node["reference"].share(),
        node["candidate"].share(),
    )
