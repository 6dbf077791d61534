"""From an fp32 bundle to one that a recipe makes: calibrate, quantize, refit thresholds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from ov_emotions.bundle import Bundle, Manifest, write_bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.data.prepare import PreparedData
from ov_emotions.errors import AlreadyQuantizedError, QuantizationError
from ov_emotions.metrics import score
from ov_emotions.progress import Tell, counted
from ov_emotions.quantization.calibration import stratified_rows
from ov_emotions.quantization.embeddings import look_up_before_dequantizing
from ov_emotions.quantization.ptq import feed, quantize, refuse_quantized, search_alpha
from ov_emotions.quantization.recipe import PtqConfig, Recipe
from ov_emotions.system import shared_core
from ov_emotions.thresholds import apply_thresholds, fit_thresholds, sigmoid


def quantize_bundle(
    bundle: Bundle,
    prepared: PreparedData,
    output: Path,
    recipe: Recipe,
    precision: str | None = None,
    tell: Tell | None = None,
) -> Bundle:
    """Follow a recipe, and fit the thresholds anew at the precision that will be served.

    The calibration texts are a label-stratified sample of the validation part named
    `calibration`, tokenised as the bundle tokenises, one text a sample; the thresholds are fitted
    on the part named `thresholds`, on probabilities of the finished model itself. Accuracy control
    takes its metric on the part named `thresholds` too, at the thresholds of the fp32 bundle; NNCF
    measures in f32, so that it is taken once more at the precision that will be served.

    :param bundle: an fp32 bundle.
    :param prepared: the prepared data.
    :param output: folder of the new bundle; replaced.
    :param recipe: what to do.
    :param precision: INFERENCE_PRECISION_HINT that the bundle is approved at; None is the fp32
        bundle's.
    :param tell: told the calibration texts read; NNCF reads them several times.
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
    fitting = prepared.validation_part("thresholds")
    if fitting.label_set.labels != manifest.labels:
        raise QuantizationError(
            f"{prepared.folder} has the labels {', '.join(fitting.label_set.labels)}, "
            f"the bundle has {', '.join(manifest.labels)}"
        )
    model, record = _apply(bundle, prepared, recipe, tell)
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
    if not manifest.provenance.get("random_weights"):
        probabilities = _served(made, model, tokenizer_json, list(fitting.texts))
        fitted = fit_thresholds(probabilities, fitting.targets)
        thresholds = {label: float(t) for label, t in zip(manifest.labels, fitted, strict=True)}
        if recipe.accuracy_control:
            rows = record["validation_texts"]
            frozen = apply_thresholds(probabilities[:rows], manifest.threshold_array())
            metric = score(fitting.targets[:rows], frozen, manifest.labels).weighted_f1
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
    bundle: Bundle, prepared: PreparedData, recipe: Recipe, tell: Tell | None
) -> tuple[ov.Model, dict[str, Any]]:
    model = shared_core().read_model(bundle.model_path)
    # Here too, for the recipes that change nothing but what the manifest says.
    refuse_quantized(model)
    if recipe.compression:
        from ov_emotions.quantization.compression import compress_weights

        return compress_weights(model, recipe.compression)
    if not recipe.ptq:
        return model, {}
    texts = _Texts(bundle, prepared, recipe.ptq, tell)
    if recipe.accuracy_control:
        from ov_emotions.quantization.accuracy_control import (
            Validation,
            quantize_with_accuracy_control,
        )

        # Not the selection part: a model that was tuned on it would be chosen on it.
        rows = prepared.validation_part("thresholds")
        targets = rows.targets[: recipe.accuracy_control.validation_rows]
        ids = texts.tokenize(list(rows.texts[: len(targets)]))
        return quantize_with_accuracy_control(
            model,
            texts.calibration(),
            list(zip(ids, targets, strict=True)),
            Validation(bundle.manifest.threshold_array(), bundle.manifest.labels),
            recipe.ptq,
            recipe.accuracy_control,
        )
    if recipe.search:
        others = texts.others(recipe.search.rows)
        return search_alpha(
            model,
            texts.calibration(),
            recipe.ptq,
            recipe.search,
            lambda candidate: _probabilities(candidate, others),
        )
    return quantize(model, texts.calibration(), recipe.ptq)


class _Texts:
    """The calibration part of validation, tokenised as the bundle tokenises."""

    def __init__(
        self, bundle: Bundle, prepared: PreparedData, config: PtqConfig, tell: Tell | None
    ) -> None:
        self._tell = tell
        self._part = prepared.validation_part("calibration")
        _check_calibration_part(self._part, config)
        self._chosen = stratified_rows(self._part.targets, config.subset_size, config.seed)
        self._tokenizer = bundle.tokenizer()
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.enable_truncation(bundle.manifest.max_length)

    def tokenize(self, texts: list[str]) -> list[NDArray[np.int32]]:
        encoded = self._tokenizer.encode_batch_fast(texts)
        return [np.array(e.ids, dtype=np.int32) for e in encoded]

    def calibration(self) -> list[NDArray[np.int32]]:
        ids = self.tokenize([self._part.texts[i] for i in self._chosen])
        return _Counted(ids, self._tell)

    def others(self, count: int) -> list[NDArray[np.int32]]:
        """Texts of the part that do not calibrate."""
        rest = np.setdiff1d(np.arange(len(self._part)), self._chosen)[:count]
        if not len(rest):
            raise QuantizationError(
                "a search needs texts that do not calibrate, and the calibration part has none "
                "left; lower subset_size in the recipe"
            )
        return self.tokenize([self._part.texts[i] for i in rest])


class _Counted(list[NDArray[np.int32]]):
    """Texts that tell how many were read."""

    def __init__(self, texts: list[NDArray[np.int32]], tell: Tell | None) -> None:
        super().__init__(texts)
        self._tell = tell

    def __iter__(self) -> Iterator[NDArray[np.int32]]:
        return counted(
            super().__iter__(), self._tell, total=len(self), unit="texts", note="calibration"
        )


def _check_calibration_part(part: LabelledTexts, config: PtqConfig) -> None:
    if len(part) < config.subset_size:
        raise QuantizationError(
            f"the calibration part of validation has {len(part)} texts, the recipe asks for "
            f"{config.subset_size}; prepare more data, or lower subset_size (--subset-size, or in "
            "the recipe)"
        )
    absent = [
        label
        for i, label in enumerate(part.label_set.labels)
        if not (part.targets[:, i] == 1).any()
    ]
    if absent:
        raise QuantizationError(
            f"the calibration part of validation has no text with {', '.join(absent)}, so that "
            "ranges could not be told for it; prepare data that has"
        )


def _probabilities(model: ov.Model, ids: list[NDArray[np.int32]]) -> NDArray[np.float32]:
    compiled = shared_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return sigmoid(np.concatenate([compiled(feed(row))["logits"] for row in ids]))
