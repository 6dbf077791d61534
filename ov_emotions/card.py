"""The model card: a template filled from a bundle's manifest and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files as resources
from operator import itemgetter
from string import Template
from typing import Any

from ov_emotions.bundle import HUB_ID, Manifest
from ov_emotions.normalize import NO_NORMALIZER
from ov_emotions.schema import to_builtins

# Identifiers that the Hub knows; it takes "other" for the rest.
_HUB_LICENCES = ("mit", "apache-2.0", "cc-by-4.0", "cc-by-sa-4.0", "cc0-1.0", "bsd-3-clause")


def render_card(manifest: Manifest) -> str:
    """Fill the template, `model_card.md`; the result has the YAML header that the Hub reads."""
    licence = manifest.licence.lower()
    on_hub = HUB_ID.fullmatch(manifest.base_model)
    task = manifest.task.replace("_", "-")
    names, thresholds = manifest.label_names_ru, manifest.thresholds
    template = resources("ov_emotions").joinpath("model_card.md").read_text("utf-8")
    return Template(template).substitute(
        to_builtins(manifest),
        hub_licence=licence if licence in _HUB_LICENCES else "other",
        hub_base=f"\nbase_model: {manifest.base_model}" if on_hub else "",
        task=task,
        kind=task.capitalize(),
        label_table=_table(
            ("label", "in Russian", "threshold"),
            (
                (label, names.get(label, ""), _number(thresholds.get(label)))
                for label in manifest.labels
            ),
        ),
        measured="\n\n".join(filter(None, (_adapted(manifest), _metrics(manifest)))),
        data_table=_table(
            ("set", "rows", "licence", "attribution"),
            (
                (_linked(s.name, s.url), str(s.rows), s.licence, s.attribution)
                for s in manifest.training_data
            ),
        ),
        limits=_limits(manifest),
        provenance=json.dumps(to_builtins(manifest.provenance), ensure_ascii=False, indent=2),
    )


def _limits(manifest: Manifest) -> str:
    if manifest.normalizer == NO_NORMALIZER:
        made_for = "Made for Russian text."
        empty = "A text of which the tokeniser makes nothing"
    else:
        made_for = (
            "Made for Russian text as speech recognition writes it: the normaliser takes case and\n"
            "punctuation away before the model sees anything."
        )
        empty = "A text without letters or digits"
    several = "A text has one label, or none where that label does not reach its threshold."
    if manifest.task == "multi_label":
        neutral = ", which is not the same as neutral" if "neutral" in manifest.labels else ""
        several = (
            "A text may have several labels or none: none means that\n"
            f"no label reached its threshold{neutral}."
        )
    return (
        f"{made_for} Scores are probabilities of what annotators would\n"
        f"say about a text, not facts about a person. {several} {empty}\n"
        "gets 0 for every label and never reaches the model."
    )


def _linked(name: str, url: str) -> str:
    return f"[{name}]({url})" if url.startswith(("http://", "https://")) else name


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _adapted(manifest: Manifest) -> str:
    """Say what `adapt` did, for the card; the figures are cross-validated, and no split's."""
    record = manifest.provenance.get("adapted")
    if not isinstance(record, Mapping):
        return ""
    before, after = (
        "{:.3f} ({:.3f} to {:.3f})".format(side["macro_f1"], *side["intervals_95"]["macro_f1"])
        for side in (record["before"], record["after"])
    )
    return (
        f"Adapted from {record['from']} to {record['rows']} texts ({record['method']}). Macro F1 "
        f"on these, each decided by a fit to the others: {before} before, {after} after."
    )


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)


def _metrics(manifest: Manifest) -> str:
    rows, per_label = [], []
    for precision, splits in manifest.metrics.items():
        for split, scores in splits.items() if isinstance(splits, Mapping) else ():
            if isinstance(scores, Mapping):
                labels = scores.get("labels") or {}
                means = [scores.get(key) for key in ("rows", "weighted_f1", "macro_f1")]
                f1s = [labels.get(label, {}).get("f1") for label in manifest.labels]
                rows.append([split, precision, *map(_number, means)])
                per_label.append([split, precision, *map(_number, f1s)])
    if not rows:
        return "Nothing was measured."
    rows.sort(key=itemgetter(0))
    per_label.sort(key=itemgetter(0))
    return "\n\n".join(
        (
            _table(("split", "precision", "rows", "weighted F1", "macro F1"), rows),
            "F1 by label (empty where the split does not annotate the label):",
            _table(("split", "precision", *manifest.labels), per_label),
        )
    )
