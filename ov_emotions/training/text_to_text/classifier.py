"""A text-to-text model as a classifier: it writes the labels, with PyTorch; and its scores."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from ov_emotions.classifier import TextClassifier
from ov_emotions.data.dataset import PreparedData
from ov_emotions.errors import DataError, InputError
from ov_emotions.evaluation.results import Result, SplitScores
from ov_emotions.evaluation.run import read_rows, split_scores
from ov_emotions.files import sha256_file
from ov_emotions.prediction import Prediction, Texts, as_texts, rank
from ov_emotions.schema import check_count
from ov_emotions.system import environment, require
from ov_emotions.training.checkpoint import WEIGHTS_NAME
from ov_emotions.training.text_to_text.targets import OutputCounts, Text2TextManifest

if TYPE_CHECKING:
    from ov_emotions.training.text_to_text.writer import LabelWriter, Written

logger = logging.getLogger(__name__)

_PRECISIONS = {"f32": "fp32", "bf16": "bf16"}


class TextToTextClassifier(TextClassifier):
    """Multi-label emotions of Russian texts, written out by a T5-style model.

    The labels of a text are those named in the output that the model finds most probable. Such a
    model gives no probability of a label: with `beams` above 1 a label's score is the share of the
    beams' probability that lies on outputs with this label, and with 1 it is 1 or 0. It is not
    calibrated, and there are no thresholds. Outputs that cannot be read count as no label; they
    are counted in `counts` and logged as a warning.

    A text without a letter or digit gets 0 for every label and never reaches the model. A long one
    is read from its beginning, and `Prediction.truncated` says so.
    """

    def __init__(self, writer: LabelWriter, manifest: Text2TextManifest) -> None:
        self._writer = writer
        self.manifest = manifest
        self._labels = manifest.labels
        self.counts = OutputCounts()
        self._lock = threading.Lock()

    @classmethod
    def from_pretrained(
        cls,
        folder: str | os.PathLike[str],
        *,
        device: str = "cpu",
        precision: str = "f32",
        beams: int | None = None,
        constrained: bool | None = None,
        threads: int | None = None,
        batch_tokens: int = 4096,
    ) -> TextToTextClassifier:
        """Load a classifier.

        :param folder: the `best` folder of `ov-emotions train --task text-to-text`.
        :param device: cpu, cuda, cuda:N or auto.
        :param precision: f32 or bf16.
        :param beams: width of the beam search; None is the folder's.
        :param constrained: whether nothing but labels can be written; None is as the folder says.
        :param threads: CPU threads of PyTorch in this process; None leaves them as they are.
        :param batch_tokens: source tokens of a batch at most, padding included.
        :raises CheckpointError: if the folder is no such folder, or damaged.
        :raises InputError: if an argument is of the wrong kind or out of range.
        :raises TrainingError: if there is no such device.
        :raises MissingExtraError: if the extra `train` is not installed.
        """
        if precision not in _PRECISIONS:
            raise InputError(f"precision must be f32 or bf16, not {precision!r}")
        for name, value in (("beams", beams), ("threads", threads), ("batch_tokens", batch_tokens)):
            if value is not None:
                check_count(name, value)
        manifest = Text2TextManifest.read(Path(folder))
        for module in ("torch", "transformers", "safetensors"):
            require(module, extra="train")
        import torch

        from ov_emotions.training.device import choose_device
        from ov_emotions.training.text_to_text import writer as loading

        target = manifest.target_format()
        tokenizer = loading.load_target_tokenizer(str(folder))
        model = loading.load_model(str(folder))
        loading.check_can_write(str(folder), model, tokenizer, target)
        options = msgspec.structs.replace(
            manifest,
            beams=manifest.beams if beams is None else beams,
            constrained=manifest.constrained if constrained is None else constrained,
        )
        chosen = choose_device(device, _PRECISIONS[precision])
        if threads is not None:
            torch.set_num_threads(threads)
        model.to(chosen.torch_device)
        return cls(
            loading.LabelWriter(model, tokenizer, target, options, chosen, batch_tokens), manifest
        )

    @property
    def label_names_ru(self) -> dict[str, str]:
        """Russian name by label; a copy."""
        return dict(self.manifest.label_names_ru)

    def predict_proba(self, texts: Texts) -> NDArray[np.float32]:
        """Give every label's share of the beams' probability: not calibrated, see the class.

        :return: float32, shape (texts, labels), in [0, 1]; columns are in the order of `labels`.
        :raises InputError: if something is not a text; the message names its position.
        """
        return self.write(as_texts(texts)).scores

    def write(self, texts: Sequence[str]) -> Written:
        """Let the model write, and count what cannot be read.

        :raises InputError: if something is not a text; the message names its position.
        """
        written = self._writer.write(as_texts(texts))
        counts = written.counts
        with self._lock:
            self.counts += counts
        if counts.unparseable:
            logger.warning(
                "%d of %d outputs name no label and count as none", counts.unparseable, len(texts)
            )
        return written

    def _predict(self, texts: Sequence[str]) -> list[Prediction]:
        written = self.write(texts)
        return rank(self.labels, written.predicted, written.scores, written.truncated.tolist())


def evaluate_text_to_text(
    folder: Path, prepared: PreparedData, splits: Sequence[str], precision: str | None = None
) -> Result:
    """Let the model write about the splits as a user would, and score what it names.

    :param splits: names of splits, or `validation:PART`.
    :param precision: f32 or bf16; None is f32.
    :return: what `ov_emotions.evaluation.evaluate` gives, and per split under `outputs` how many
        outputs there were and how many could not be read; these count as no label.
    :raises CheckpointError: if the folder cannot be used.
    :raises MissingExtraError: if the extra `train` is not installed.
    :raises DataError: if a split does not exist or has other labels.
    """
    classifier = TextToTextClassifier.from_pretrained(folder, precision=precision or "f32")
    results: dict[str, SplitScores] = {}
    for name in splits:
        data = read_rows(prepared, name)
        if data.label_set.labels != classifier.labels:
            raise DataError(f"{name} has other labels than {folder}")
        written = classifier.write(data.texts)
        results[name] = split_scores(
            data.targets,
            written.predicted,
            classifier.labels,
            outputs=written.counts.to_dict(),
        )
    return Result(
        model=folder.as_posix(),
        weights_sha256=sha256_file(folder / WEIGHTS_NAME),
        weights="fp32",
        inference_precision=precision or "f32",
        thresholds={},  # it decides by what it writes
        splits=results,
        provenance=environment("torch", "transformers", "tokenizers"),
    )
