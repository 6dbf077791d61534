"""Texts rewritten by sequence-to-sequence models: translated, there and back, or paraphrased.

Back-translation: Sennrich, Haddow and Birch, "Improving Neural Machine Translation Models with
Monolingual Data", 2016; for classification, Xie et al., "Unsupervised Data Augmentation for
Consistency Training", 2020. Marian: Junczys-Dowmunt et al., "Marian: Fast Neural Machine
Translation in C++", 2018.

All of it was tried on tiny models with random weights; published weights were not at hand, so
nothing is known here of how well they translate or paraphrase these texts.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ov_emotions.data.augment.rows import NewRows
from ov_emotions.data.settings import AugmentConfig, Rewriting
from ov_emotions.errors import DataError
from ov_emotions.files import sha256_file
from ov_emotions.normalize import normalize
from ov_emotions.progress import Progress, Tell
from ov_emotions.system import import_sentencepiece, quiet_transformers, require

EXTRA = "back-translation"

_LENGTHS = (0.5, 2.0)
"""Words of the result by those of the text: models that lose the thread repeat or drop parts."""

# What the output of a Marian model depends on; of other kinds, every file of these kinds.
_MARIAN_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "vocab.json",
    "target_vocab.json",
    "source.spm",
    "target.spm",
)
_FILES = ("*.json", "*.spm", "*.model", "*.txt")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


def keep_in(folder: Path | None, output: Path) -> Path:
    """Name the folder where translations are kept: that asked for, or one beside the output."""
    return folder or output.with_name(f"{output.name}.translations")


def back_translate(
    texts: Sequence[str], positions: Sequence[int], config: AugmentConfig, tell: Tell
) -> NewRows:
    """Translate the texts at some positions to English and back to Russian.

    :return: what came back, where it differs from the text and is about as long.
    :raises DataError: if a model is missing, or translations cannot be kept.
    """
    kept = keep_in(config.translations, config.output)
    # Both before hours of work, to see that they are there.
    forward = Translator(config.forward_model, config, kept, prefix="")
    backward = Translator(config.backward_model, config, kept, prefix="")
    english = forward.translate([texts[i] for i in positions], tell, "to English")
    russian = backward.translate(list(english.values()), tell, "back to Russian")
    results = {text: russian[there] for text, there in english.items() if there in russian}
    rows = _new_rows(texts, positions, results)
    rows.facts.update(forward_sha256=forward.sha256, backward_sha256=backward.sha256)
    return rows


def paraphrase(
    texts: Sequence[str], positions: Sequence[int], config: AugmentConfig, tell: Tell
) -> NewRows:
    """Have a model say the texts at some positions in other words; see `back_translate`."""
    assert config.model is not None
    model = Translator(config.model, config, keep_in(config.translations, config.output))
    results = model.translate([texts[i] for i in positions], tell, "paraphrasing")
    rows = _new_rows(texts, positions, results)
    rows.facts.update(sha256=model.sha256)
    return rows


def _new_rows(
    texts: Sequence[str], positions: Sequence[int], results: Mapping[str, str]
) -> NewRows:
    rows = NewRows([], [], {"too_long": 0, "unchanged": 0, "length_differs": 0})
    for i in positions:
        result = results.get(texts[i])
        if result is None:
            rows.not_made["too_long"] += 1
        elif reason := fault(texts[i], result):
            rows.not_made[reason] += 1
        else:
            rows.texts.append(result)
            rows.positions.append(i)
    return rows


def fault(text: str, result: str) -> str | None:
    """Say why what was made of a text makes no row; None where it does."""
    before, after = normalize(text).split(), normalize(result).split()
    if before == after:
        return "unchanged"
    low, high = _LENGTHS
    # One word more or less is no sign in a short text.
    if not low * len(before) - 1 <= len(after) <= high * len(before) + 1:
        return "length_differs"
    return None


class Translator:
    """A sequence-to-sequence model that rewrites texts, and what it has written so far.

    :param name: Hub id or folder.
    :param search: beams, lengths, batch size and device.
    :param folder: where its results are kept.
    :param prefix: put before each text (default: that of `search`).
    :param language: token of the language to write in, of models that know several.
    :raises DataError: if there is no such model, or it is of another kind.
    """

    def __init__(
        self,
        name: str,
        search: Rewriting,
        folder: Path,
        *,
        prefix: str | None = None,
        language: str | None = None,
    ) -> None:
        self.name = name
        self._search = search
        self._kept_in = folder
        self._prefix = search.prefix if prefix is None else prefix
        self._language = language
        import_sentencepiece(EXTRA)
        self._torch = require("torch", extra=EXTRA)
        transformers = require("transformers", extra=EXTRA)
        with quiet_transformers():
            files, kind = _find(name)
            try:
                if kind == "marian":
                    # It would do without, with a warning, and read punctuation otherwise.
                    require("sacremoses", extra=EXTRA)
                    tokenizer = transformers.MarianTokenizer.from_pretrained(files)
                else:
                    tokenizer = transformers.AutoTokenizer.from_pretrained(files)
                model = transformers.AutoModelForSeq2SeqLM.from_pretrained(files)
            except ImportError:
                raise
            except Exception as error:
                # Damaged files end in errors of many libraries.
                raise DataError(f"{name} cannot be loaded as a {kind} model: {error}") from error
        longest = getattr(model.config, "max_position_embeddings", None)
        if longest is not None and search.max_tokens > longest:
            raise DataError(
                f"max_tokens is {search.max_tokens}, and {name} reads at most {longest} tokens"
            )
        self._device = _device(self._torch, search.device)
        self._tokenizer: Any = tokenizer
        self._model: Any = model.eval().to(self._device)
        self._options = copy.deepcopy(model.generation_config)
        self._options.update(
            num_beams=search.beams,
            max_length=search.max_tokens,
            max_new_tokens=None,
            do_sample=False,
        )
        if language is not None:
            self._options.update(forced_bos_token_id=_language_id(tokenizer, language, name))
        self.sha256 = _hash(files, kind)
        """Of all files that results depend on."""

    def facts(self) -> dict[str, Any]:
        """Say what wrote the texts, for a manifest."""
        return {
            **({"language": self._language} if self._language else {}),
            "model": self.name,
            "sha256": self.sha256,
            "beams": self._search.beams,
            "max_tokens": self._search.max_tokens,
        }

    def translate(self, texts: Sequence[str], tell: Tell, note: str) -> dict[str, str]:
        """Rewrite each text once, but for those whose result is kept.

        :param note: what is done, for `tell`.
        :return: the result for each text that is not longer than `max_tokens`.
        :raises DataError: if results cannot be kept.
        """
        kept = Translations(self._kept_in / self._file_name())
        distinct = dict.fromkeys(texts)
        with quiet_transformers():  # texts that are too long are left out here, with no warning
            lengths = {
                text: len(self._tokenizer(self._prefix + text)["input_ids"])
                for text in distinct
                if text not in kept.known
            }
        left = [text for text, n in lengths.items() if n <= self._search.max_tokens]
        # Of about the same length, so that little is padded; the longest first, so that what does
        # not fit the memory fails at once.
        left.sort(key=lambda text: (-lengths[text], text))
        before = sum(text in kept.known for text in distinct)
        total, size = before + len(left), self._search.batch_size
        for start in range(0, len(left), size):
            batch = left[start : start + size]
            tell(Progress(before + start, total, "texts", note))
            kept.add(dict(zip(batch, self._generate(batch), strict=True)))
        tell(Progress(total, total, "texts", note))
        return {text: kept.known[text] for text in distinct if text in kept.known}

    def _generate(self, batch: list[str]) -> list[str]:
        given = [self._prefix + text for text in batch]
        tokens = self._tokenizer(given, return_tensors="pt", padding=True)
        with self._torch.inference_mode(), quiet_transformers():
            ids = self._model.generate(**tokens.to(self._device), generation_config=self._options)
        return [str(t) for t in self._tokenizer.batch_decode(ids, skip_special_tokens=True)]

    def _file_name(self) -> str:
        options = f"{self.sha256} {self._search.beams} {self._search.max_tokens}"
        if self._prefix or self._language:
            options += f" {self._prefix} {self._language}"
        return f"{hashlib.sha256(options.encode()).hexdigest()[:32]}.jsonl"


def _find(name: str) -> tuple[Path, str]:
    """Find the files of a model, on the disk or on the Hub, and its kind."""
    folder = Path(name)
    if not folder.is_dir():
        if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
            raise DataError(
                f"{name} is no folder; name the folder of a sequence-to-sequence model or its "
                "Hub id"
            )
        hub = require("huggingface_hub", extra=EXTRA)
        try:
            folder = Path(hub.snapshot_download(name, allow_patterns=[*_FILES, *_WEIGHTS]))
        except Exception as error:
            raise DataError(
                f"{name} is no folder, and could not be had from the Hub "
                f"({type(error).__name__}); name the folder of a model"
            ) from error
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = str(config["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{name} holds no readable config.json of a model") from error
    if not config.get("is_encoder_decoder", kind == "marian"):
        raise DataError(f"{name} is a model of type {kind}, which does not write texts from texts")
    return folder, kind


def _language_id(tokenizer: Any, language: str, name: str) -> int:
    """Look up the token that a text in a language begins with."""
    token = f"__{language}__" if hasattr(tokenizer, "get_lang_id") else language  # as M2M has it
    number = tokenizer.convert_tokens_to_ids(token)
    if number is None or number == tokenizer.unk_token_id:
        raise DataError(f"{name} has no token {token!r}, so it cannot write in {language}")
    return int(number)


def _hash(folder: Path, kind: str) -> str:
    names = list(_MARIAN_FILES)
    if kind != "marian":
        names = sorted(path.name for pattern in _FILES for path in folder.glob(pattern))
    weights = [sorted(path.name for path in folder.glob(pattern)) for pattern in _WEIGHTS]
    names += next(filter(None, weights), [])  # the same in two formats is there for others
    digest = hashlib.sha256()
    for name in names:
        if (folder / name).is_file():
            digest.update(f"{name} {sha256_file(folder / name)}\n".encode())
    return digest.hexdigest()


def _device(torch: Any, name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise DataError("device cuda was asked for, but there is no CUDA device; leave it at auto")
    return name


class _Entry(msgspec.Struct):
    text: str
    translation: str


class Translations:
    """What one model has translated with one set of options.

    The file has a JSON object a line and is only ever appended to. A kill may leave an unfinished
    last line, which is cut off when the file is opened again.

    :raises DataError: if it cannot be read, or holds what was not written here.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.known: dict[str, str] = {}
        """The translation of each text."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._read()
        except OSError as error:
            raise DataError(f"{path} cannot be used for translations: {error.strerror}") from error

    def _read(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("r+b") as file:
            content = file.read()
            whole = content[: content.rfind(b"\n") + 1]
            if len(whole) < len(content):
                file.truncate(len(whole))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                entry = msgspec.json.decode(line, type=_Entry)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise DataError(
                    f"{self._path} line {number} is no translation; delete the file to start anew"
                ) from error
            self.known[entry.text] = entry.translation

    def add(self, translations: Mapping[str, str]) -> None:
        """Keep more of them, on the disk as well."""
        lines = "".join(
            json.dumps({"text": text, "translation": translation}, ensure_ascii=False) + "\n"
            for text, translation in translations.items()
        )
        try:
            with self._path.open("ab") as file:
                file.write(lines.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DataError(
                f"{self._path} cannot be written: {error.strerror}; what was translated before is "
                "kept, and the same command goes on from there"
            ) from error
        self.known.update(translations)
