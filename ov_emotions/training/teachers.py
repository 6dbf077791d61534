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

from ov_emotions.bundle import MANIFEST_NAME, Bundle, resolve
from ov_emotions.bundle import WEIGHTS_NAME as BUNDLE_WEIGHTS
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.data.near_duplicates import NearDuplicateIndex
from ov_emotions.data.prepare import PreparedData
from ov_emotions.errors import BundleError, CheckpointError, DataError, TrainingError
from ov_emotions.files import atomic_path, sha256_file
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
from ov_emotions.training.examples import tokenize
from ov_emotions.training.model import EmotionModel, predict_logits
from ov_emotions.training.settings import TrainConfig

_CHUNK = 4096
"""Texts that a bundle scores at a time, between two words about how far it is."""


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


def draw_texts(
    texts: Sequence[str], prepared: PreparedData, config: TrainConfig, tell: Tell | None = None
) -> DrawnTexts:
    """Draw the texts that a run's teachers label beside the training texts.

    :param texts: the training texts.
    :param prepared: whose held-out texts, and what nearly equals them, must not be among them.
    :param config: says how many of which, and the seed.
    :param tell: told how many are compared with the held-out ones.
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
    drawn = lines + joined
    kept = [False] * len(drawn)
    for start in range(0, len(drawn), _CHUNK):
        part = [normalize(text) for text in drawn[start : start + _CHUNK]]
        for i, (read, match) in enumerate(zip(part, index.find(part), strict=True), start):
            kept[i] = bool(read) and match is None  # nor what is empty
        if tell:
            done = min(start + _CHUNK, len(drawn))
            tell(Progress(done, len(drawn), "texts", "drawing texts for teachers"))
    return DrawnTexts(
        tuple(compress(lines, kept)), tuple(compress(joined, kept[len(lines) :])), kept.count(False)
    )


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


@dataclass(frozen=True)
class Teacher:
    """A checkpoint or bundle whose opinion is learned.

    :param name: as the settings have it.
    :param folder: where it lies.
    :param is_bundle: whether OpenVINO runs it.
    """

    name: str
    folder: Path
    is_bundle: bool

    @property
    def weights(self) -> Path:
        """The file that its opinion depends on."""
        return self.folder / (BUNDLE_WEIGHTS if self.is_bundle else WEIGHTS_NAME)


def find_teachers(config: TrainConfig, labels: tuple[str, ...]) -> list[Teacher]:
    """Look the teachers up, before anything that takes long.

    :param config: names them, and the files of texts without labels.
    :param labels: of the student; the teachers must have the same.
    :return: the teachers.
    :raises TrainingError: if one is not there, or is no model.
    :raises CheckpointError: if one has other labels.
    :raises DataError: if a file of texts is not there.
    """
    for path in config.unlabelled:
        if not path.is_file():
            raise DataError(f"unlabelled: there is no file {path}")
    teachers = []
    for name in config.teachers:
        try:
            folder = resolve(name)
        except BundleError as error:
            raise TrainingError(f"teachers: {error}") from error
        is_bundle = (folder / MANIFEST_NAME).is_file()
        try:
            theirs = (
                Bundle.load(folder).manifest.labels
                if is_bundle
                else read_checkpoint_facts(folder).labels
            )
        except CheckpointError as error:
            raise TrainingError(f"teachers: {error}") from error
        check_labels(f"the teacher {name}", theirs, labels)
        teachers.append(Teacher(name, folder, is_bundle))
    return teachers


def teach(
    texts: Sequence[str],
    teachers: Sequence[Teacher],
    config: TrainConfig,
    tell: Tell | None = None,
) -> NDArray[np.float32]:
    """Let the teachers score every text.

    :param texts: raw texts.
    :param teachers: at least one.
    :param config: says where what they said is kept, and how checkpoints compute.
    :param tell: told how many texts each has scored.
    :return: the mean of their probabilities, float32, shape (texts, labels).
    """
    scores = []
    for teacher in teachers:
        kept = _kept(config, teacher.weights, texts)
        if kept is not None and kept.is_file():
            scores.append(np.load(kept))
            continue

        def told(done: int, total: int, name: str = teacher.name) -> None:
            if tell:
                tell(Progress(done, total, "texts", f"asking {name}"))

        ask = _ask_bundle if teacher.is_bundle else ask_checkpoint
        scores.append(ask(teacher.folder, texts, config, told))
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(kept) as path, path.open("wb") as file:
                np.save(file, scores[-1])
    mean: NDArray[np.float32] = np.mean(scores, axis=0, dtype=np.float32)
    return mean


def ask_checkpoint(
    folder: Path,
    texts: Sequence[str],
    config: TrainConfig,
    report: Callable[[int, int], None] = lambda *_: None,
) -> NDArray[np.float32]:
    """Score texts with a checkpoint.

    :param folder: the checkpoint.
    :param texts: raw texts.
    :param config: says on which device, in which precision, and where texts are cut.
    :param report: told how many texts are scored, of how many.
    :return: probabilities, float32, shape (texts, labels).
    """
    device = choose_device(config.device, config.precision)
    # Its weights start random before they are read; whether a teacher is asked or what it said is
    # still known must not change the student's random numbers.
    with torch.random.fork_rng(devices=[]):
        teacher = EmotionModel.load(folder, config.attention).to(device.torch_device)
    ids = tokenize(load_tokenizer(str(folder)), list(texts), config.max_length)
    return sigmoid(predict_logits(teacher, ids, device, report=report))


def _ask_bundle(
    folder: Path, texts: Sequence[str], _config: TrainConfig, report: Callable[[int, int], None]
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


def _read_lines(path: Path) -> list[str]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            return [line.strip() for line in file if line.strip()]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from error
