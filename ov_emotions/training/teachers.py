"""What teachers say of the training texts, and texts without labels that are drawn for them."""

from __future__ import annotations

import gzip
import hashlib
import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ov_emotions.bundle import MANIFEST_NAME, Bundle, resolve
from ov_emotions.bundle import WEIGHTS_NAME as BUNDLE_WEIGHTS
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.data.near_duplicates import NearDuplicateIndex
from ov_emotions.data.prepare import PreparedData
from ov_emotions.errors import DataError, TrainingError
from ov_emotions.files import atomic_path, sha256_file
from ov_emotions.normalize import normalize
from ov_emotions.thresholds import sigmoid
from ov_emotions.training.batches import tokenize
from ov_emotions.training.checkpoint import load_tokenizer, read_checkpoint_facts
from ov_emotions.training.config import TrainConfig
from ov_emotions.training.device import choose_device, predict_logits
from ov_emotions.training.model import WEIGHTS_NAME, EmotionModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DrawnTexts:
    """Texts that only teachers have an opinion on.

    :param unlabelled: from text files.
    :param recombined: the beginning of one training text and the end of another.
    :param held_out: drawn texts that were left out, because a held-out text is nearly the same.
    """

    unlabelled: tuple[str, ...] = ()
    recombined: tuple[str, ...] = ()
    held_out: int = 0

    @property
    def texts(self) -> tuple[str, ...]:
        """All of them."""
        return self.unlabelled + self.recombined


def draw_texts(texts: Sequence[str], prepared: PreparedData, config: TrainConfig) -> DrawnTexts:
    """Draw the texts that a run's teachers label beside the training texts.

    :param texts: the training texts.
    :param prepared: whose held-out texts, and what nearly equals them, must not be among them.
    :param config: says how many of which, and the seed.
    :return: the texts; fewer than asked for where the files hold fewer or some were left out.
    :raises DataError: if a file cannot be read.
    """
    if not (config.unlabelled_rows or config.recombined_rows):
        return DrawnTexts()
    rng = np.random.default_rng(config.seed)
    lines: list[str] = []
    if config.unlabelled_rows:
        pool = sorted({line for path in config.unlabelled for line in _read_lines(path)})
        rows = rng.choice(len(pool), min(config.unlabelled_rows, len(pool)), replace=False)
        lines = [pool[i] for i in rows]
    joined = recombine(texts, config.recombined_rows, rng)
    # By the same measure as the training texts were.
    index = NearDuplicateIndex(prepared.held_out_texts(), prepared.manifest["near_threshold"])
    kept = _not_held_out(lines, index), _not_held_out(joined, index)
    dropped = len(lines) + len(joined) - sum(map(len, kept))
    return DrawnTexts(tuple(kept[0]), tuple(kept[1]), dropped)


def recombine(texts: Sequence[str], rows: int, rng: np.random.Generator) -> list[str]:
    """Make new texts of the beginning of one and the end of another.

    Both are cut at a word chosen at random, so that the new ones are as long as the old on
    average. They are not sensible, but they hold the words and turns of the domain in new company,
    and a teacher's opinion of them says more about the teacher than that of texts it has learned.

    :param texts: to cut.
    :param rows: how many to make.
    :param rng: chooses the pairs and the cuts.
    :return: the texts.
    """
    words = [text.split() for text in texts]
    made = []
    for first, second, *cuts in zip(
        rng.integers(0, len(words), rows),
        rng.integers(0, len(words), rows),
        rng.random(rows),
        rng.random(rows),
        strict=True,
    ):
        begin, end = words[first], words[second]
        head = begin[: round(cuts[0] * len(begin))]
        tail = end[round(cuts[1] * len(end)) :]
        made.append(" ".join(head + tail) or " ".join(begin))
    return made


def teach(
    texts: Sequence[str], labels: tuple[str, ...], config: TrainConfig
) -> NDArray[np.float32]:
    """Let the teachers score every text.

    :param texts: raw texts.
    :param labels: of the student; the teachers must have the same.
    :param config: names the teachers, and where what they said is kept.
    :return: the mean of their probabilities, float32, shape (texts, labels).
    :raises BundleError: if there is no such teacher.
    :raises TrainingError: if a teacher has other labels.
    """
    folders = [resolve(str(teacher)) for teacher in config.teachers]
    for folder in folders:
        _check_labels(folder, labels)
    scores = []
    for folder in folders:
        is_bundle = (folder / MANIFEST_NAME).is_file()
        kept = _kept(config, folder / (BUNDLE_WEIGHTS if is_bundle else WEIGHTS_NAME), texts)
        if kept is not None and kept.is_file():
            scores.append(np.load(kept))
            continue
        scores.append(
            _ask_bundle(folder, texts) if is_bundle else ask_checkpoint(folder, texts, config)
        )
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(kept) as path, path.open("wb") as file:
                np.save(file, scores[-1])
    mean: NDArray[np.float32] = np.mean(scores, axis=0, dtype=np.float32)
    return mean


def ask_checkpoint(folder: Path, texts: Sequence[str], config: TrainConfig) -> NDArray[np.float32]:
    """Score texts with a checkpoint.

    :param folder: the checkpoint.
    :param texts: raw texts.
    :param config: says on which device, in which precision, and where texts are cut.
    :return: probabilities, float32, shape (texts, labels).
    """
    device = choose_device(config.device, config.precision)
    # Its weights start random before they are read; whether a teacher is asked or what it said is
    # still known must not change the student's random numbers.
    with torch.random.fork_rng(devices=[]):
        teacher = EmotionModel.load(folder).to(device.torch_device)
    ids = tokenize(load_tokenizer(str(folder)), list(texts), config.max_length)
    return sigmoid(predict_logits(teacher, ids, int(teacher.config.pad_token_id or 0), device))


def _ask_bundle(folder: Path, texts: Sequence[str]) -> NDArray[np.float32]:
    """Score with OpenVINO: a bundle in INT8 is several times as fast as its checkpoint."""
    with EmotionClassifier(folder, long_texts="truncate") as classifier:
        return classifier.predict_proba(list(texts))


def _check_labels(folder: Path, ours: tuple[str, ...]) -> None:
    if (folder / MANIFEST_NAME).is_file():
        theirs = Bundle.load(folder).manifest.labels
    else:
        theirs = tuple(read_checkpoint_facts(folder)["labels"])
    if theirs != ours:
        raise TrainingError(
            f"the teacher {folder} has the labels {', '.join(theirs)}; "
            f"this run has {', '.join(ours)}"
        )


def _kept(config: TrainConfig, weights: Path, texts: Sequence[str]) -> Path | None:
    """Name the file for what a teacher says of these texts, after all that it depends on."""
    if config.teacher_cache is None:
        return None
    digest = hashlib.sha256(sha256_file(weights).encode())
    digest.update(f"{config.device} {config.precision} {config.max_length}".encode())
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(4, "little") + encoded)
    return config.teacher_cache / f"{digest.hexdigest()[:32]}.npy"


def _not_held_out(texts: Sequence[str], held_out: NearDuplicateIndex) -> list[str]:
    """Leave out what equals or nearly equals a validation or test text, and what is empty."""
    normalized = [normalize(text) for text in texts]
    return [
        text
        for text, read, match in zip(texts, normalized, held_out.find(normalized), strict=True)
        if read and match is None
    ]


def _read_lines(path: Path) -> list[str]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            return [line.strip() for line in file if line.strip()]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from error
