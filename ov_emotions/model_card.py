"""A bundle's README.md: the model card, generated from the manifest and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ov_emotions.manifest import Manifest

# Identifiers that the Hub knows; it takes "other" for the rest.
_HUB_LICENCES = ("mit", "apache-2.0", "cc-by-4.0", "cc-by-sa-4.0", "cc0-1.0", "bsd-3-clause")
_HUB_ID = re.compile(r"[\w.\-]+/[\w.\-]+")

_USE = """```python
from ov_emotions import EmotionClassifier

classifier = EmotionClassifier.from_pretrained("path/to/this/folder")
print(classifier("текст без знаков препинания").labels)
```"""

_LIMITS = """Made for Russian text as speech recognition writes it: the normaliser takes case and
punctuation away before the model sees anything. Scores are probabilities of what annotators would
say about a text, not facts about a person. A text may have several labels or none: none means that
no label reached its threshold{neutral}. A text without letters or digits
gets 0 for every label and never reaches the model."""


def render_card(manifest: Manifest) -> str:
    """Render the model card.

    :param manifest: the facts.
    :return: Markdown with the YAML header that the Hub reads.
    """
    sections = [
        _header(manifest),
        f"# {manifest.name}",
        f"Multi-label emotion classification of Russian text: a {manifest.precision} OpenVINO "
        f"model, fine-tuned from {manifest.base_model} ({manifest.base_licence}). "
        f"Licence: {manifest.licence}.",
        "## Use",
        _USE,
        "## Labels",
        _labels(manifest),
        f"Texts longer than {manifest.max_length} tokens are read in windows. Normaliser: "
        f"`{manifest.normalizer}`. Approved at inference precision "
        f"`{manifest.inference_precision}`.",
        "## Measured",
        *_metrics(manifest),
        "## Training data",
        _table(
            ("set", "rows", "licence", "attribution"),
            (
                (_linked(s.name, s.url), str(s.rows), s.licence, s.attribution)
                for s in manifest.training_data
            ),
        ),
        "## Limits",
        _LIMITS.format(
            neutral=", which is not the same as neutral" if "neutral" in manifest.labels else ""
        ),
        "## Provenance",
        f"```json\n{json.dumps(manifest.provenance, ensure_ascii=False, indent=2)}\n```",
    ]
    return "\n\n".join(sections) + "\n"


def _header(manifest: Manifest) -> str:
    licence = manifest.licence.lower()
    lines = [
        "---",
        "language: ru",
        f"license: {licence if licence in _HUB_LICENCES else 'other'}",
        "library_name: ov-emotions",
        "pipeline_tag: text-classification",
        "tags: [emotions, openvino, multi-label]",
    ]
    if _HUB_ID.fullmatch(manifest.base_model):
        lines.append(f"base_model: {manifest.base_model}")
    return "\n".join([*lines, "---"])


def _linked(name: str, url: str) -> str:
    return f"[{name}]({url})" if url.startswith(("http://", "https://")) else name


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _labels(manifest: Manifest) -> str:
    return _table(
        ("label", "in Russian", "threshold"),
        (
            (label, manifest.label_names_ru.get(label, ""), f"{manifest.thresholds[label]:.3f}")
            for label in manifest.labels
        ),
    )


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)


def _metrics(manifest: Manifest) -> list[str]:
    rows, per_label = [], []
    for precision, splits in manifest.metrics.items():
        for split, scores in splits.items() if isinstance(splits, Mapping) else ():
            if not isinstance(scores, Mapping):
                continue
            facts = [_number(scores.get(key)) for key in ("rows", "weighted_f1", "macro_f1")]
            rows.append([split, precision, *facts])
            labels = scores.get("labels") or {}
            f1s = [_number(labels.get(label, {}).get("f1")) for label in manifest.labels]
            per_label.append([split, precision, *f1s])
    if not rows:
        return ["Nothing yet."]
    rows.sort(key=lambda row: row[0])
    per_label.sort(key=lambda row: row[0])
    return [
        _table(("split", "precision", "rows", "weighted F1", "macro F1"), rows),
        "F1 by label (empty where the split does not annotate the label):",
        _table(("split", "precision", *manifest.labels), per_label),
    ]
