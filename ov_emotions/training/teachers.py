"""What teachers say of the training texts, and texts without labels that are drawn for them."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle, resolve
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.data.dataset import PreparedData
from ov_emotions.data.near_duplicates import NearDuplicateIndex
from ov_emotions.encoding import tokenize
from ov_emotions.errors import BundleError, CheckpointError, DataError, TrainingError
from ov_emotions.files import atomic_path, sha256_file
from ov_emotions.manifest import MANIFEST_NAME, TrainingSource
from ov_emotions.manifest import WEIGHTS_NAME as BUNDLE_WEIGHTS
from ov_emotions.normalize import normalize
from ov_emotions.progress import Progress, Tell
from ov_emotions.thresholds import sigmoid
from ov_emotions.training.checkpoint import (
    WEIGHTS_NAME,
    check_labels,
    load_tokenizer,
    read_checkpoint_facts,
)
from ov_emotions.training.device import choose_device
from ov_emotions.training.model import EmotionModel, predict_logits
from ov_emotions.training.settings import TrainConfig

_CHUNK = 4096
"""Texts that a bundle scores at a time, between two words about how far it is."""


@dataclass(frozen=True)
class DrawnTexts:
    """Texts that only teachers have an opinion on.

    :param held_out: how many were left out, because a held-out text is nearly the same.
    """

    unlabelled: tuple[str, ...] = ()
    recombined: tuple[str, ...] = ()
    held_out: int = 0

    @property
    def texts(self) -> tuple[str, ...]:
        """All of them."""
        return self.unlabelled + self.recombined

    def counts(self) -> dict[str, int]:
        """Count them, for the facts of a checkpoint."""
        return {
            "unlabelled": len(self.unlabelled),
            "recombined": len(self.recombined),
            "left_out_as_held_out": self.held_out,
        }

    def sources(self, config: TrainConfig) -> list[TrainingSource]:
        """Say where those come from that are not made of training texts."""
        source = TrainingSource(
            name="unlabelled",
            licence=config.unlabelled_licence,
            url=config.unlabelled_url,
            attribution=config.unlabelled_source,
            rows=len(self.unlabelled),
        )
        return [source] if self.unlabelled else []


def draw_texts(
    texts: Sequence[str], prepared: PreparedData, config: TrainConfig, tell: Tell | None = None
) -> DrawnTexts:
    """Draw the texts that a run's teachers label beside the training texts.

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
    index = NearDuplicateIndex(prepared.held_out_texts(), prepared.manifest.near_threshold)
    drawn = [normalize(text) for text in lines + joined]
    found = index.find(drawn, update=_telling(tell, "drawing texts for teachers"))
    kept = [bool(text) and match is None for text, match in zip(drawn, found, strict=True)]
    return DrawnTexts(
        tuple(compress(lines, kept)), tuple(compress(joined, kept[len(lines) :])), kept.count(False)
    )


def _telling(tell: Tell | None, note: str) -> Callable[[int, int], None]:
    if tell is None:
        return lambda *_: None
    return lambda done, total: tell(Progress(done, total, "texts", note))


def recombine(texts: Sequence[str], rows: int, rng: np.random.Generator) -> list[str]:
    """Make new texts of the beginning of one and the end of another.

    Both are cut at a word chosen at random, so that the new ones are as long as the old on
    average. They are not sensible, but they hold the words and turns of the domain in new company,
    and a teacher's opinion of them says more about the teacher than that of texts it has learned.
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


def find_teachers(config: TrainConfig, labels: tuple[str, ...]) -> list[Path]:
    """Look the teachers up, before anything that takes long.

    :raises TrainingError: if one is not there, or is no model.
    :raises CheckpointError: if one has other labels than the student.
    :raises DataError: if a file of texts for them is not there.
    """
    for path in config.unlabelled:
        if not path.is_file():
            raise DataError(f"unlabelled: there is no file {path}")
    folders = []
    for name in config.teachers:
        try:
            folder = resolve(name)
            if _is_bundle(folder):
                theirs = Bundle.load(folder).manifest.labels
            else:
                theirs = read_checkpoint_facts(folder).labels
        except (BundleError, CheckpointError) as error:
            raise TrainingError(f"teachers: {error}") from error
        check_labels(f"the teacher {name}", theirs, labels)
        folders.append(folder)
    return folders


def teach(
    texts: Sequence[str], folders: Sequence[Path], config: TrainConfig, tell: Tell | None = None
) -> NDArray[np.float32]:
    """Let the teachers in these folders score every text.

    :return: the mean of their probabilities, float32, shape (texts, labels).
    """
    scores = []
    for folder in folders:
        bundle = _is_bundle(folder)
        # A bundle runs in OpenVINO, as it is, whatever the student computes in.
        ways = "" if bundle else f"{config.device} {config.precision} {config.max_length}"
        kept = _kept(config, folder / (BUNDLE_WEIGHTS if bundle else WEIGHTS_NAME), ways, texts)
        if kept is not None and kept.is_file():
            scores.append(np.load(kept))
            continue
        report = _telling(tell, f"asking {folder.name}")
        scores.append(
            _ask_bundle(folder, texts, report)
            if bundle
            else ask_checkpoint(folder, texts, config, report)
        )
        if kept is not None:
            with atomic_path(kept) as path, path.open("wb") as file:
                np.save(file, scores[-1])
    mean: NDArray[np.float32] = np.mean(scores, axis=0, dtype=np.float32)
    return mean


def _is_bundle(folder: Path) -> bool:
    return (folder / MANIFEST_NAME).is_file()


def ask_checkpoint(
    folder: Path,
    texts: Sequence[str],
    config: TrainConfig,
    report: Callable[[int, int], None] = lambda *_: None,
) -> NDArray[np.float32]:
    """Score texts with a checkpoint.

    :return: probabilities, float32, shape (texts, labels).
    """
    device = choose_device(config.device, config.precision)
    # Its weights start random before they are read; whether a teacher is asked or what it said is
    # still known must not change the student's random numbers.
    with torch.random.fork_rng(devices=[]):
        teacher = EmotionModel.load(folder, config.attention).to(device.torch_device)
    ids = tokenize(load_tokenizer(str(folder)), texts, config.max_length)
    return sigmoid(predict_logits(teacher, ids, device, report=report))


def _ask_bundle(
    folder: Path, texts: Sequence[str], report: Callable[[int, int], None]
) -> NDArray[np.float32]:
    """Score with OpenVINO: a bundle in INT8 is several times as fast as its checkpoint."""
    # Like lengths together, as in one list.
    order = np.argsort([len(text) for text in texts], kind="stable")
    with EmotionClassifier(folder, long_texts="truncate") as classifier:
        found = np.zeros((len(texts), len(classifier.labels)), dtype=np.float32)
        for start in range(0, len(order), _CHUNK):
            part = order[start : start + _CHUNK]
            found[part] = classifier.predict_proba([texts[i] for i in part])
            report(min(start + _CHUNK, len(order)), len(order))
    return found


def _kept(config: TrainConfig, weights: Path, ways: str, texts: Sequence[str]) -> Path | None:
    """Name the file for what a teacher says of these texts, after all that it depends on."""
    if config.teacher_cache is None:
        return None
    digest = hashlib.sha256(sha256_file(weights).encode())
    digest.update(ways.encode())
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(4, "little") + encoded)
    return config.teacher_cache / f"{digest.hexdigest()[:32]}.npy"


def _read_lines(path: Path) -> list[str]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            return [line.strip() for line in file if line.strip()]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from error
