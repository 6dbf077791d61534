"""From an fp32 bundle to one that a recipe makes: calibrate, quantize, refit thresholds."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle, write_bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.data.dataset import LabelledTexts, PreparedData
from ov_emotions.encoding import Ids, tokenize
from ov_emotions.errors import AlreadyQuantizedError, QuantizationError
from ov_emotions.manifest import Manifest
from ov_emotions.metrics import score
from ov_emotions.progress import Tell, counted
from ov_emotions.quantization.accuracy_control import Validation, quantize_with_accuracy_control
from ov_emotions.quantization.ptq import (
    compile_exactly,
    compress_weights,
    feed,
    look_up_before_dequantizing,
    quantize,
    refuse_quantized,
    search_alpha,
    stratified_rows,
)
from ov_emotions.quantization.recipe import PtqConfig, Recipe
from ov_emotions.system import shared_core
from ov_emotions.thresholds import apply_thresholds, fit_thresholds, to_probabilities

_LOGGER = logging.getLogger(__name__)


def quantize_bundle(
    bundle: Bundle,
    data: PreparedData | None,
    output: Path,
    recipe: Recipe,
    precision: str | None = None,
    tell: Tell | None = None,
    *,
    fit: bool = True,
) -> Bundle:
    """Follow a recipe, and fit the thresholds anew at the precision that will be served.

    The calibration texts are a label-stratified sample of the validation part named
    `calibration`, tokenised as the bundle tokenises, one text a sample; the thresholds are fitted
    on the part named `thresholds`, on probabilities of the finished model itself. Accuracy control
    takes its metric on the part named `thresholds` too, at the thresholds of the fp32 bundle; NNCF
    measures in f32, so that it is taken once more at the precision that will be served.

    :param data: None for a recipe that does not calibrate, and thresholds as they are.
    :param output: folder of the new bundle; replaced.
    :param precision: INFERENCE_PRECISION_HINT that the bundle is approved at; None is the fp32
        bundle's.
    :param tell: told the calibration texts read; NNCF reads them several times.
    :param fit: False leaves the thresholds as they are. Those of a single-label model that has
        none, and of random weights, are left in any case.
    :return: the new bundle; its metrics are empty until it is evaluated.
    :raises AlreadyQuantizedError: if the bundle is not fp32, by its manifest or by its model.
    :raises QuantizationError: if NNCF fails, or the data do not do for it.
    """
    manifest = bundle.manifest
    if manifest.precision != "fp32":
        raise AlreadyQuantizedError(
            f"{bundle.folder} has {manifest.precision} weights; give the fp32 bundle or the "
            "checkpoint that it came from"
        )
    if data is None and recipe.ptq is not None:
        raise QuantizationError(f"{recipe.name} calibrates, which needs data")
    if data is not None and data.label_set.labels != manifest.labels:
        raise QuantizationError(
            f"{data.folder} has the labels {', '.join(data.label_set.labels)}, "
            f"the bundle has {', '.join(manifest.labels)}"
        )
    model, record = _apply(bundle, data, recipe, tell)
    look_up_before_dequantizing(model)
    record = {"recipe": recipe.to_dict(), **record}
    tokenizer_json = bundle.tokenizer().to_str()
    made = manifest.replace(
        precision=recipe.weights,
        inference_precision=precision or manifest.inference_precision,
        metrics={},
    )
    thresholds = dict(manifest.thresholds)
    # There is nothing to fit to random weights, and a large model would take minutes over it.
    fit &= bool(thresholds) and not manifest.provenance.get("random_weights")
    if data is not None and (fit or recipe.accuracy_control):
        part = data.validation_part("thresholds")
        probabilities = _served(made, model, tokenizer_json, list(part.texts))
        if fit:
            fitted = fit_thresholds(probabilities, part.targets)
            thresholds = dict(zip(manifest.labels, fitted.tolist(), strict=True))
        if recipe.accuracy_control:
            rows = record["validation_texts"]
            cuts = manifest.threshold_array()
            frozen = apply_thresholds(probabilities[:rows], cuts, manifest.task)
            metric = score(part.targets[:rows], frozen, manifest.labels).weighted_f1
            record |= {
                "served_precision": made.inference_precision,
                "served_metric": round(metric, 6),
                "served_drop": round(record["initial_metric"] - metric, 6),
            }
    final = made.replace(
        thresholds=thresholds,
        provenance={**manifest.provenance, "quantization": record},
    )
    return write_bundle(output, final, model, tokenizer_json)


def _served(
    manifest: Manifest, model: ov.Model, tokenizer_json: str, texts: list[str]
) -> NDArray[np.float32]:
    """Ask the finished model as a bundle, at the precision that it will be served at."""
    with tempfile.TemporaryDirectory() as folder:
        draft = write_bundle(Path(folder) / "draft", manifest, model, tokenizer_json)
        with EmotionClassifier(draft) as classifier:
            return classifier.predict_proba(texts)


def _apply(
    bundle: Bundle, data: PreparedData | None, recipe: Recipe, tell: Tell | None
) -> tuple[ov.Model, dict[str, Any]]:
    model = shared_core().read_model(bundle.model_path)
    # Here too, for the recipes that change nothing but what the manifest says.
    refuse_quantized(model)
    if recipe.compression:
        return compress_weights(model, recipe.compression)
    if recipe.ptq is None or data is None:
        return model, {}
    manifest = bundle.manifest
    part = _calibration_part(data, recipe.ptq)
    chosen = stratified_rows(part.targets, recipe.ptq.subset_size, recipe.ptq.seed)
    ids = _Counted(filter(len, _tokenized(bundle, part.select(chosen).texts)), tell)
    if recipe.accuracy_control:
        # Not the selection part: a model that was tuned on it would be chosen on it.
        rows = data.validation_part("thresholds")
        targets = rows.targets[: recipe.accuracy_control.validation_rows]
        tokens = _tokenized(bundle, rows.texts[: len(targets)])
        return quantize_with_accuracy_control(
            model,
            ids,
            list(zip(tokens, targets, strict=True)),
            Validation(manifest.threshold_array(), manifest.labels, manifest.task),
            recipe.ptq,
            recipe.accuracy_control,
        )
    if recipe.search:
        rest = np.setdiff1d(np.arange(len(part)), chosen)[: recipe.search.rows]
        if not len(rest):
            raise QuantizationError(
                "a search needs texts that do not calibrate, and the calibration part has none "
                "left; lower subset_size (--subset-size, or in the recipe)"
            )
        others = list(filter(len, _tokenized(bundle, part.select(rest).texts)))

        def probabilities(candidate: ov.Model) -> NDArray[np.float32]:
            compiled = compile_exactly(candidate)
            logits = np.concatenate([compiled(feed(row))["logits"] for row in others])
            return to_probabilities(logits, manifest.task)

        return search_alpha(model, ids, recipe.ptq, recipe.search, probabilities)
    return quantize(model, ids, recipe.ptq)


def _calibration_part(data: PreparedData, config: PtqConfig) -> LabelledTexts:
    """Read the part; warn of few texts, and of labels whose texts none of them shows."""
    part = data.validation_part("calibration")
    if not len(part):
        raise QuantizationError("the calibration part of validation has no texts; give more data")
    if len(part) < config.subset_size:
        _LOGGER.warning(
            "the calibration part of validation has %d texts, where the recipe asks for %d: INT8 "
            "ranges of fewer texts are less certain",
            len(part),
            config.subset_size,
        )
    shown = (part.targets == 1).any(axis=0)
    if not shown.all():
        labels = zip(part.label_set.labels, shown, strict=True)
        _LOGGER.warning(
            "no text that INT8 ranges are told by has %s; what it takes may be clipped",
            ", ".join(label for label, there in labels if not there),
        )
    return part


def _tokenized(bundle: Bundle, texts: Sequence[str]) -> list[Ids]:
    return tokenize(bundle.tokenizer(), texts, bundle.manifest.max_length)


class _Counted(list[Ids]):
    """Texts that tell how many were read."""

    def __init__(self, texts: Iterable[Ids], tell: Tell | None) -> None:
        super().__init__(texts)
        self._tell = tell

    def __iter__(self) -> Iterator[Ids]:
        return counted(
            super().__iter__(), self._tell, total=len(self), unit="texts", note="calibration"
        )
