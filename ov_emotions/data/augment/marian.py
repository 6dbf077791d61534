"""Translation by Marian models, as OPUS-MT publishes them for transformers.

Junczys-Dowmunt et al., "Marian: Fast Neural Machine Translation in C++", 2018. The path was tried
on tiny Marian models with random weights; published weights were not at hand, so nothing is known
here of how well they paraphrase these texts.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ov_emotions.data.augment.config import AugmentConfig
from ov_emotions.data.augment.translations import Translations
from ov_emotions.errors import DataError
from ov_emotions.files import sha256_file
from ov_emotions.system import import_sentencepiece, quiet_transformers, require

EXTRA = "back-translation"

_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "vocab.json",
    "target_vocab.json",
    "source.spm",
    "target.spm",
)


class Marian:
    """One direction of translation.

    :param name: Hub id or folder.
    :param config: beams, lengths, batch size and device.
    :raises DataError: if there is no such model, or it is none of Marian's.
    :raises MissingExtraError: if transformers, torch, sentencepiece or sacremoses is not installed.
    """

    def __init__(self, name: str, config: AugmentConfig) -> None:
        self.name = name
        self._config = config
        import_sentencepiece(EXTRA)
        self._torch = require("torch", extra=EXTRA)
        transformers = require("transformers", extra=EXTRA)
        # The tokeniser would do without sacremoses, with a warning, and read punctuation otherwise.
        require("sacremoses", extra=EXTRA)
        with quiet_transformers():
            folder = _folder(name)
            try:
                self._tokenizer: Any = transformers.MarianTokenizer.from_pretrained(folder)
                model = transformers.MarianMTModel.from_pretrained(folder)
            except Exception as error:
                # Damaged files end in errors of many libraries.
                raise DataError(f"{name} cannot be loaded as a Marian model: {error}") from error
        if config.max_tokens > model.config.max_position_embeddings:
            raise DataError(
                f"max_tokens is {config.max_tokens}, and {name} reads at most "
                f"{model.config.max_position_embeddings} tokens"
            )
        self._device = _device(self._torch, config.device)
        self._model: Any = model.eval().to(self._device)
        self._options = copy.deepcopy(model.generation_config)
        self._options.update(num_beams=config.beams, max_length=config.max_tokens, do_sample=False)
        self.sha256 = _hash(folder)
        """Of all files that translations depend on."""

    def translate(self, texts: Sequence[str], report: Callable[[int, int], None]) -> dict[str, str]:
        """Translate texts, but for those that were translated before and are kept.

        :param texts: each is translated once.
        :param report: told how many of them are done.
        :return: the translation of each text that is not longer than `max_tokens`.
        :raises DataError: if translations cannot be kept.
        """
        kept = Translations(self._config.translations_folder / self._file_name())
        distinct = dict.fromkeys(texts)
        with quiet_transformers():  # texts that are too long are left out here, with no warning
            lengths = {
                text: len(self._tokenizer(text)["input_ids"])
                for text in distinct
                if text not in kept.known
            }
        left = [text for text, n in lengths.items() if n <= self._config.max_tokens]
        # Of about the same length, so that little is padded; the longest first, so that what does
        # not fit the memory fails at once.
        left.sort(key=lambda text: (-lengths[text], text))
        total = len(left) + sum(text in kept.known for text in distinct)
        size = self._config.batch_size
        for start in range(0, len(left), size):
            batch = left[start : start + size]
            report(total - len(left) + start, total)
            kept.add(dict(zip(batch, self._generate(batch), strict=True)))
        report(total, total)
        return {text: kept.known[text] for text in distinct if text in kept.known}

    def _generate(self, batch: list[str]) -> list[str]:
        tokens = self._tokenizer(batch, return_tensors="pt", padding=True)
        with self._torch.inference_mode(), quiet_transformers():
            ids = self._model.generate(**tokens.to(self._device), generation_config=self._options)
        return [str(t) for t in self._tokenizer.batch_decode(ids, skip_special_tokens=True)]

    def _file_name(self) -> str:
        options = f"{self.sha256} {self._config.beams} {self._config.max_tokens}"
        return f"{hashlib.sha256(options.encode()).hexdigest()[:32]}.jsonl"


def _folder(name: str) -> Path:
    """Find the files of a model, on the disk or on the Hub."""
    folder = Path(name)
    if not folder.is_dir():
        if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
            raise DataError(f"{name} is no folder; name the folder of a Marian model or its Hub id")
        hub = require("huggingface_hub", extra=EXTRA)
        try:
            folder = Path(
                hub.snapshot_download(name, allow_patterns=["*.json", "*.spm", *_WEIGHTS])
            )
        except Exception as error:
            raise DataError(
                f"{name} is no folder, and could not be had from the Hub "
                f"({type(error).__name__}); name the folder of a Marian model"
            ) from error
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{name} holds no readable config.json of a model") from error
    if kind != "marian":
        raise DataError(f"{name} is a model of type {kind}, not marian")
    return folder


_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def _hash(folder: Path) -> str:
    digest = hashlib.sha256()
    weights = next((n for n in _WEIGHTS if (folder / n).is_file()), None)
    for name in (*_FILES, *([weights] if weights else [])):
        if (folder / name).is_file():
            digest.update(f"{name} {sha256_file(folder / name)}\n".encode())
    return digest.hexdigest()


def _device(torch: Any, name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise DataError("device cuda was asked for, but there is no CUDA device; leave it at auto")
    return name
