"""What the report says around its tables: how it was measured, made and can be repeated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ov_emotions.reports import format as fmt
from ov_emotions.reports.study import Candidate, Study

Facts = tuple[tuple[str, str], ...]


def with_ids(text: str, study: Study) -> Iterator[tuple[str, bool]]:
    """Split a sentence at the candidates' ids, so that they can be set as names.

    :return: yields pieces, and whether each is an id.
    """
    ids = sorted(
        (re.escape(fmt.clean(c.id).strip()) for c in study.candidates), key=len, reverse=True
    )
    # Between words only: an id "int8" is not found in "int8-mixed".
    pattern = re.compile(rf"(?<![\w/\-])({'|'.join(ids)})(?![\w/\-])")
    for i, piece in enumerate(pattern.split(text)):
        if piece:
            yield piece, i % 2 == 1


def subtitle(study: Study) -> str:
    """Say in a line what was studied, on what and when."""
    parts = [f"Quantization study of {study.model.name}"]
    if cpu := study.machine.get("cpu"):
        parts.append(str(cpu))
    if study.created:
        parts.append(study.created[:10])
    return " · ".join(parts)


def how_measured(study: Study) -> tuple[str, ...]:
    """Say how the figures came about, a paragraph each."""
    paragraphs = [_splits(study)] if not study.model.random_weights else []
    paragraphs += [*_timings(study), *_absent(study)]
    return tuple(paragraphs)


def _splits(study: Study) -> str:
    data, settings = study.data, study.settings
    roles = [f"{_named(study, data.choice_split)} to choose"]
    if data.thresholds_split:
        roles.insert(0, f"{_named(study, data.thresholds_split)} to fit thresholds")
    if data.calibration_split:
        roles.insert(0, f"{_named(study, data.calibration_split)} to calibrate")
    if data.final_split:
        roles.append(f"{_named(study, data.final_split)} to confirm the choice")
    samples = _count(settings.get("bootstrap_samples"))
    drawn = f"{samples} bootstrap samples" if samples else "a bootstrap"
    return (
        f"What served what: {fmt.joined(roles)}. Intervals are 95 % intervals of {drawn} of "
        "the rows. A change to the reference is paired: both models are scored on the same rows of "
        "each sample, so it is told more finely than either score."
    )


def _absent(study: Study) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for name, why in study.not_measured:
        by_reason.setdefault(why, []).append(name)
    return [f"Not measured: {fmt.joined(names)}, as {why}." for why, names in by_reason.items()]


def _named(study: Study, split: str) -> str:
    rows = study.data.rows.get(split)
    return split if rows is None else f"{split} ({fmt.plural(rows, 'row')})"


def _count(value: Any) -> str:
    return fmt.count(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _timings(study: Study) -> list[str]:
    if not any(c.latency or c.throughput for c in study.candidates):
        return ["Nothing was timed."]
    settings = study.settings
    rounds, starts = _count(settings.get("rounds")), _count(settings.get("starts"))
    single, offline = _count(settings.get("single_texts")), _count(settings.get("offline_texts"))
    threads = _count(settings.get("threads"))
    sentence = (
        f"Timings interleave the candidates in one run of {rounds or 'several'} rounds: each round "
        f"times every candidate{f', on {threads} threads' if threads else ''}. "
        f"Latency is that of {single or 'single'} texts, one at a time; throughput that of "
        f"{offline or 'many'} texts at once. A figure is the median of the rounds with the "
        "smallest and the largest. A ratio is taken within each round, so that what slows the "
        "machine for a while slows both sides of it."
    )
    if starts:
        sentence += f" Load, first inference and memory are of {starts} fresh processes."
    noise = [study.noise.sentence] if study.noise and study.noise.sentence.strip() else []
    return [sentence, *noise]


def facts(study: Study) -> Facts:
    """List what the figures depend on: model, data, machine, versions, settings."""
    model, data = study.model, study.data
    pairs: list[tuple[str, Any]] = [
        ("model", model.name),
        ("checkpoint", model.checkpoint),
        ("weights, SHA-256", model.weights_sha256),
        ("parameters", None if model.parameters is None else fmt.count(model.parameters)),
        ("data manifest, SHA-256", data.manifest_sha256),
        ("data seed", data.seed),
        *((_words(key), value) for key, value in study.machine.items()),
        *((key, value) for key, value in study.versions.items()),
        *((_words(key), value) for key, value in study.settings.items()),
    ]
    return tuple((key, _plain(value)) for key, value in pairs if value not in (None, "", [], {}))


def _words(key: str) -> str:
    return key.replace("_", " ")


def _plain(value: Any) -> str:
    """Write a free value of the JSON in a line."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(str(key))}: {_plain(item)}" for key, item in value.items())
    return json.dumps(value)


def recipes(study: Study) -> list[tuple[Candidate, Facts]]:
    """List how each quantized model was made; precisions of one recipe are one entry."""
    seen, found = set(), []
    for candidate in study.candidates:
        made = candidate.quantization
        key = candidate.recipe or candidate.id
        if made is None or key in seen:
            continue
        seen.add(key)
        found.append((candidate, tuple(_recipe_facts(made))))
    return found


def _recipe_facts(made: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Write the free facts in a flat list; what is said twice is written once."""
    seen: dict[str, str] = {}
    # What stands outermost first: it has the short name where two share one.
    for path, value in sorted(_leaves(made, ()), key=lambda leaf: len(leaf[0])):
        key = path[-1]
        name, text = "time" if key == "seconds" else _words(key), _recipe_value(key, value)
        if not text or seen.get(name) == text:
            continue
        name = _words(" ".join(path)) if name in seen else name
        seen[name] = text
        yield name, text


def _leaves(
    made: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in made.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, str(key)))
        elif key not in ("name", "description"):  # they are the entry's title
            yield (*path, str(key)), value


def _recipe_value(key: str, value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if key == "seconds":
            return fmt.duration(value)
        if key == "final_drop":
            return f"{value:.4f}".replace("-", "\N{MINUS SIGN}")
    if key == "reverted_operations" and isinstance(value, list | tuple):
        return f"{len(value)}: {_plain(value)}" if value else "0"
    return "" if value is None else _plain(value)


def how_to_repeat(study: Study) -> str:
    """Say what must be the same for the same figures."""
    said = (
        "The same command on the same data, with the same versions, gives the same scores and "
        "intervals up to rounding"
    )
    seeds = [f"{_words(k)} {v}" for k, v in study.settings.items() if k.endswith("seed")]
    if seeds:
        said += f" ({', '.join(seeds)})"
    return (
        said + "; timings are the machine's own. All figures are in study.json, beside this page."
    )
