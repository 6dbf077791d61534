"""What the Hub and its libraries read of a bundle: the model card, and optimum's folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files as resources
from operator import itemgetter
from pathlib import Path
from string import Template
from typing import Any

from tokenizers import Tokenizer

from ov_emotions.errors import BundleError
from ov_emotions.files import atomic_folder, replaceable
from ov_emotions.manifest import (
    CARD_NAME,
    CHECKLIST,
    HUB_ID,
    MODEL_NAME,
    TOKENIZER_NAME,
    WEIGHTS_NAME,
    Manifest,
)
from ov_emotions.normalize import NO_NORMALIZER
from ov_emotions.schema import to_builtins, to_json

# Identifiers that the Hub knows; it takes "other" for the rest.
_HUB_LICENCES = ("mit", "apache-2.0", "cc-by-4.0", "cc-by-sa-4.0", "cc0-1.0", "bsd-3-clause")

_WEAK = 0.9
"""Groups of a check list that pass less often than this are told."""


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
        misread=_misread(manifest),
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


def _misread(manifest: Manifest) -> str:
    """Name the groups of a check list that are read worst, each with a line; "" without one."""
    record = manifest.metrics.get(CHECKLIST)
    if not isinstance(record, Mapping):
        return ""
    share = record["passed"] / record["lines"]
    told = (
        f"\n\n## What it misreads\n\nOf the {record['lines']} lines of the check list "
        f"`{record['file']}`, {record['passed']} ({share:.1%}) are read as they should be."
    )
    weak = [one for one in record["groups"] if one["passed"] < _WEAK * one["lines"]]
    if not weak:
        return f"{told} No group is below {_WEAK:.0%}."
    weak.sort(key=lambda one: one["passed"] / one["lines"])
    rows = [
        (
            one["name"],
            f"{one['passed']} of {one['lines']}",
            one["fails"]["text"],
            ", ".join(one["fails"]["found"]) or "none",
        )
        for one in weak
    ]
    table = _table(("group", "passed", "a line that fails", "labels found"), rows)
    return f"{told} Groups below {_WEAK:.0%}:\n\n{table}"


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


# A folder for optimum-intel and transformers

_OPTIMUM_FILES = (
    *("openvino_model.xml", "openvino_model.bin", "config.json"),
    *("tokenizer.json", "tokenizer_config.json", "README.md"),
)
_SPECIAL = {
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}


def save_optimum(source: Path, manifest: Manifest, tokenizer: Tokenizer, folder: Path) -> None:
    """Write what `OVModelForSequenceClassification.from_pretrained` reads, equal in logits.

    The thresholds, which transformers has no place for, stand in config.json as `thresholds`;
    transformers does not window long texts.

    :param source: the bundle's folder.
    :param folder: a new folder, an empty one, or one that was written so, which is replaced.
    :raises BundleError: if the folder holds other things or cannot be written.
    """
    target = replaceable(folder, _OPTIMUM_FILES, "a model for optimum")
    try:
        with atomic_folder(target) as temporary:
            for name, written in (
                (MODEL_NAME, "openvino_model.xml"),
                (WEIGHTS_NAME, "openvino_model.bin"),
                (TOKENIZER_NAME, "tokenizer.json"),
                (CARD_NAME, "README.md"),
            ):
                shutil.copyfile(source / name, temporary / written)
            for name, facts in (
                ("config.json", _config(manifest)),
                ("tokenizer_config.json", _tokenizer_config(manifest, tokenizer)),
            ):
                (temporary / name).write_text(to_json(facts), encoding="utf-8")
    except OSError as error:
        raise BundleError(f"cannot write {target}: {error}") from error


def _config(manifest: Manifest) -> dict[str, Any]:
    origin = manifest.provenance.get("converted_from") or {}
    return {
        "architectures": origin.get("architectures") or ["BertForSequenceClassification"],
        "model_type": origin.get("model_type") or "bert",
        "id2label": {str(i): label for i, label in enumerate(manifest.labels)},
        "label2id": {label: i for i, label in enumerate(manifest.labels)},
        "problem_type": f"{manifest.task}_classification",
        "max_position_embeddings": manifest.max_length,
        "thresholds": dict(manifest.thresholds),
    }


def _tokenizer_config(manifest: Manifest, tokenizer: Tokenizer) -> dict[str, Any]:
    named = {
        role: next((token for token in tokens if tokenizer.token_to_id(token) is not None), None)
        for role, tokens in _SPECIAL.items()
    }
    padding = tokenizer.padding or {}
    named["pad_token"] = padding.get("pad_token") or named["pad_token"]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": manifest.max_length,
        "model_input_names": list(manifest.inputs),
        **{role: token for role, token in named.items() if token is not None},
    }
