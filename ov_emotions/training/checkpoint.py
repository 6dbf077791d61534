"""The checkpoint folder: weights in fp16, the tokeniser, and what is known of the run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from ov_emotions.errors import CheckpointError
from ov_emotions.files import atomic_folder, write_json
from ov_emotions.system import require
from ov_emotions.training.facts import read_facts
from ov_emotions.training.prune import with_asr_normalizer

if TYPE_CHECKING:
    from ov_emotions.training.model import EmotionModel

CHECKPOINT_SCHEMA = 1
CHECKPOINT_NAME = "checkpoint.json"
_NEEDED = (
    "labels",
    "label_names_ru",
    "thresholds",
    "normalizer",
    "max_length",
    "base_model",
    "training",
    "data",
    "step",
    "provenance",
)


def load_tokenizer(base: str) -> Tokenizer:
    """Load a base model's tokeniser and put the normaliser inside.

    :param base: folder or Hub id.
    :return: a tokeniser without padding and truncation.
    :raises CheckpointError: if there is none, or only a slow one.
    """
    path = Path(base) / "tokenizer.json"
    try:
        if path.is_file():
            tokenizer = Tokenizer.from_file(str(path))
        else:
            loaded = require("transformers", extra="train").AutoTokenizer.from_pretrained(base)
            tokenizer = Tokenizer.from_str(loaded.backend_tokenizer.to_str())
    except Exception as error:  # tokenizers raises bare Exception
        raise CheckpointError(f"cannot load a fast tokeniser of {base}: {error}") from error
    return with_asr_normalizer(tokenizer)


def save_checkpoint(
    folder: Path, model: EmotionModel, tokenizer: Tokenizer, facts: dict[str, Any]
) -> None:
    """Write a checkpoint folder as a whole.

    :param folder: where; replaced.
    :param model: the weights.
    :param tokenizer: with its normaliser inside.
    :param facts: what `checkpoint.json` shall hold.
    """
    with atomic_folder(folder) as temporary:
        model.save(temporary)
        (temporary / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
        write_json(temporary / CHECKPOINT_NAME, facts)


def read_checkpoint_facts(folder: Path) -> dict[str, Any]:
    """Read and check `checkpoint.json`.

    :param folder: a checkpoint folder.
    :return: its facts.
    :raises CheckpointError: if it is missing, malformed or of another schema.
    """
    what = "a checkpoint of `ov-emotions train`"
    return read_facts(folder / CHECKPOINT_NAME, what, CHECKPOINT_SCHEMA, _NEEDED)
