"""The way back: a bundle as the folder that optimum-intel and transformers read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ov_emotions.bundle import CARD_NAME, MODEL_NAME, TOKENIZER_NAME, WEIGHTS_NAME, Bundle
from ov_emotions.errors import BundleError
from ov_emotions.files import atomic_folder

_HAS_OURS = (
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


def save_optimum(bundle: Bundle, folder: Path) -> None:
    """Write what `OVModelForSequenceClassification.from_pretrained` reads, equal in logits.

    The thresholds, which transformers has no place for, stand in config.json as `thresholds`;
    transformers does not window long texts.

    :param bundle: the model.
    :param folder: a new folder, an empty one, or one that was written so, which is replaced.
    :raises BundleError: if the folder holds other things or cannot be written.
    """
    target = folder.absolute()
    if target.is_dir():
        foreign = sorted(path.name for path in target.iterdir() if path.name not in _HAS_OURS)
        if foreign:
            raise BundleError(f"{target} holds {foreign[0]!r}; give a new or empty folder")
    elif target.exists():
        raise BundleError(f"{target} is a file; give a folder")
    try:
        with atomic_folder(target) as temporary:
            for name, written in (
                (MODEL_NAME, "openvino_model.xml"),
                (WEIGHTS_NAME, "openvino_model.bin"),
                (TOKENIZER_NAME, "tokenizer.json"),
                (CARD_NAME, "README.md"),
            ):
                shutil.copyfile(bundle.folder / name, temporary / written)
            for name, facts in (
                ("config.json", _config(bundle)),
                ("tokenizer_config.json", _tokenizer_config(bundle)),
            ):
                text = json.dumps(facts, ensure_ascii=False, indent=2)
                (temporary / name).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise BundleError(f"cannot write {target}: {error}") from error


def _config(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
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


def _tokenizer_config(bundle: Bundle) -> dict[str, Any]:
    tokenizer = bundle.tokenizer()
    named = {
        role: next((token for token in tokens if tokenizer.token_to_id(token) is not None), None)
        for role, tokens in _SPECIAL.items()
    }
    padding = tokenizer.padding or {}
    named["pad_token"] = padding.get("pad_token") or named["pad_token"]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": bundle.manifest.max_length,
        "model_input_names": list(bundle.manifest.inputs),
        **{role: token for role, token in named.items() if token is not None},
    }
