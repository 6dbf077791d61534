"""The checkpoint folder: weights in fp16, the tokeniser, and what is known of the run.

Read without torch, but for the weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta
from tokenizers import Tokenizer

from ov_emotions.errors import CheckpointError, MissingExtraError, first_line
from ov_emotions.files import best_inside
from ov_emotions.manifest import TrainingSource
from ov_emotions.normalize import build_normalizer
from ov_emotions.schema import Schema, read_json
from ov_emotions.system import quiet_transformers, require
from ov_emotions.training.settings import Activation, Pooling

CHECKPOINT_NAME, HEAD_NAME, TEXT2TEXT_NAME = "checkpoint.json", "head.json", "text2text.json"
WEIGHTS_NAME, TOKENIZER_NAME = "model.safetensors", "tokenizer.json"
VOCABULARIES = (
    *("vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "spm.model"),
    "sentencepiece.bpe.model",
)
"""Files that transformers makes a fast tokeniser of, where there is no tokenizer.json."""
_OFFSET_BY_PADDING = frozenset(
    {"camembert", "data2vec-text", "mpnet", "roberta", "xlm-roberta", "xlm-roberta-xl", "xmod"}
)
"""Model types that number positions from the padding token's id plus one on."""
_NO_BASE = {
    TEXT2TEXT_NAME: "writes the labels as text; go on with it by `train --task text-to-text`",
    "adapter_config.json": "is an adapter (PEFT), not a model: merge it into its base first, with "
    "peft's merge_and_unload, and save that with its tokeniser",
    "emotions.json": "is a bundle, which does not learn any more; start from the checkpoint that "
    "it was made of",
}
"""What a folder with such a file is, and what to do."""
MOST_UNKNOWN = 0.5
"""Share of words that may be unknown to a tokeniser; with more, it was made for other texts."""


@dataclass(frozen=True)
class HeadConfig:
    """What stands on top of the encoder; the settings of `TrainConfig` say what each is."""

    labels: int
    pooling: Pooling = "mean"
    dropout: float = 0.1
    hidden_size: int = 0
    activation: Activation = "gelu"
    hidden_dropout: float = 0.0


class DataFacts(Schema, frozen=True, kw_only=True):
    """The prepared data that a model learned from.

    :param manifest_sha256: of the folder's manifest.
    :param sources: the sets, earlier runs' too.
    :param seed: of the preparation.
    """

    manifest_sha256: str
    sources: tuple[TrainingSource, ...]
    seed: int | None = None


class RunFacts(Schema, frozen=True, kw_only=True):
    """What is told beside every model that a run wrote.

    :param earlier_training: how the model that it went on from was trained, if it did.
    :param selection: scores on the selection part of validation.
    """

    schema: Literal[1] = 1
    labels: Annotated[tuple[str, ...], Meta(min_length=1)]
    label_names_ru: dict[str, str]
    normalizer: str
    base_model: str
    training: dict[str, Any]
    earlier_training: dict[str, Any] | None = None
    training_rows: int | None = None
    data: DataFacts
    selection: dict[str, Any] | None = None
    step: int
    precision: str | None = None
    device: str | None = None
    provenance: dict[str, Any]

    def run_facts(self) -> dict[str, Any]:
        """Return how the model was trained, for one that goes on from it."""
        names = ("training", "earlier_training", "step", "precision", "device", "provenance")
        return {name: getattr(self, name) for name in names}


class CheckpointFacts(RunFacts, frozen=True, kw_only=True):
    """What checkpoint.json holds.

    :param thresholds: per label, fitted on their part of validation.
    :param max_length: tokens that training texts were cut to.
    :param drawn_rows: texts that only teachers labelled, by how they were made.
    :param random_weights: of a checkpoint that only memory and time are measured with.
    """

    thresholds: dict[str, float]
    max_length: int
    drawn_rows: dict[str, int] | None = None
    processes: int = 1
    random_weights: bool = False


def is_checkpoint(folder: str | Path) -> bool:
    """Say whether a folder holds what `ov-emotions train` wrote."""
    return (Path(folder) / CHECKPOINT_NAME).is_file()


def read_checkpoint_facts(folder: Path) -> CheckpointFacts:
    """Read and check `checkpoint.json`.

    :raises CheckpointError: if it is missing, malformed or of another schema.
    """
    path = folder / CHECKPOINT_NAME
    if not path.is_file():
        raise not_here(folder, CHECKPOINT_NAME, "`ov-emotions train`")
    return read_json(path, CheckpointFacts, CheckpointError)


def not_here(folder: Path, name: str, writer: str) -> CheckpointError:
    """Say that a folder is not what it is taken for, and which one may be meant."""
    return CheckpointError(
        f"{folder} is not a checkpoint of {writer}: it has no {name}{best_inside(folder)}"
    )


def read_head(folder: Path) -> HeadConfig:
    """Read a checkpoint's `head.json`.

    :raises CheckpointError: if it is missing or holds something else.
    """
    return read_json(folder / HEAD_NAME, HeadConfig, CheckpointError)


def check_base(base: str) -> None:
    """Refuse, from its files alone, a folder that training cannot start from.

    :param base: folder or Hub id; of an id nothing is known yet.
    :raises CheckpointError: says what the folder is, and what to give.
    """
    folder = Path(base)
    if not folder.is_dir():
        if folder.exists() or base.startswith((".", "/", "~")) or base.count("/") > 1:
            raise CheckpointError(f"there is no folder {base}, and no model of the Hub is so named")
        return
    for name, what in _NO_BASE.items():
        if (folder / name).is_file():
            raise CheckpointError(f"{base} {what}")
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{base} is no model: it has no config.json{best_inside(folder)}")
    if not any((folder / name).is_file() for name in (TOKENIZER_NAME, *VOCABULARIES)):
        raise CheckpointError(
            f"{base} has no tokeniser ({TOKENIZER_NAME}); save it there with "
            "`tokenizer.save_pretrained`"
        )


def plain_tokenizer(base: str) -> Tokenizer:
    """Load the fast tokeniser of a folder or Hub id as it is.

    :raises CheckpointError: if there is none, or only a slow one.
    """
    path = Path(base) / TOKENIZER_NAME
    try:
        if path.is_file():
            return Tokenizer.from_file(str(path))
        auto = require("transformers", extra="train").AutoTokenizer
        with quiet_transformers():
            loaded = auto.from_pretrained(base)
        backend = getattr(loaded, "backend_tokenizer", None)
        found = None if backend is None else Tokenizer.from_str(backend.to_str())
    except MissingExtraError:
        raise
    except Exception as error:  # tokenizers raises bare Exception
        raise CheckpointError(
            f"cannot load the tokeniser of {base}: {first_line(error)}"
        ) from error
    if found is None:
        raise CheckpointError(
            f"{base} has a slow tokeniser only ({type(loaded).__name__}); one that the "
            f"tokenizers library runs is needed ({TOKENIZER_NAME})"
        )
    return found


def load_tokenizer(base: str) -> Tokenizer:
    """Load the tokeniser of a folder or Hub id, with the normaliser inside.

    :return: a tokeniser without padding and truncation.
    :raises CheckpointError: if there is none, or only a slow one.
    """
    return with_asr_normalizer(plain_tokenizer(base))


def with_asr_normalizer(tokenizer: Tokenizer) -> Tokenizer:
    """Put the current normaliser inside a tokeniser and switch off padding and truncation."""
    tokenizer.normalizer = build_normalizer()
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # As in classification: a text that spells "[SEP]" is normalised like any other.
    tokenizer.encode_special_tokens = True
    return tokenizer


def unknown_share(tokenizer: Tokenizer, texts: Iterable[str]) -> float:
    """Tell which share of the words of texts holds a token for what is unknown."""
    model = json.loads(tokenizer.to_str())["model"]
    unknown, token = model.get("unk_id"), model.get("unk_token")
    if token is not None:
        unknown = tokenizer.token_to_id(token)
    words = [word for text in texts for word in text.split() if word.isalpha()]
    if unknown is None or not words:  # a tokeniser of bytes knows all
        return 0.0
    encodings = tokenizer.encode_batch_fast(words, add_special_tokens=False)
    return sum(unknown in encoding.ids for encoding in encodings) / len(words)


def token_limit(encoder: Mapping[str, Any], default: int) -> int:
    """Tell how many tokens an encoder reads at most, special tokens included.

    :param encoder: its `config.json`.
    :param default: for an encoder that sets no limit.
    """
    positions = encoder.get("max_position_embeddings")
    if positions is None:
        return default
    if encoder.get("model_type") in _OFFSET_BY_PADDING:
        positions -= int(encoder.get("pad_token_id") or 0) + 1
    return int(positions)


def check_labels(where: str, theirs: Sequence[str], ours: Sequence[str]) -> None:
    """Refuse a model that answers with other labels than a run's data have.

    :raises CheckpointError: names both.
    """
    if tuple(theirs) != tuple(ours):
        raise CheckpointError(
            f"{where} has the labels {', '.join(theirs)}; this run has {', '.join(ours)}"
        )
