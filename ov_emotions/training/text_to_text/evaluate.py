"""A text-to-text model scored on the splits of a prepared folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ov_emotions.data.dataset import PreparedData
from ov_emotions.errors import DataError
from ov_emotions.evaluation.results import Result, SplitScores
from ov_emotions.evaluation.run import read_rows, split_scores
from ov_emotions.files import sha256_file
from ov_emotions.system import environment
from ov_emotions.training.checkpoint import WEIGHTS_NAME
from ov_emotions.training.text_to_text.classifier import TextToTextClassifier


def evaluate_text_to_text(
    folder: Path, prepared: PreparedData, splits: Sequence[str], precision: str | None = None
) -> Result:
    """Let the model write about the splits as a user would, and score what it names.

    :param folder: the `best` folder of a run.
    :param prepared: the prepared data.
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
