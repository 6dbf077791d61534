"""From an fp32 bundle to an INT8 bundle: calibrate, quantize, refit thresholds."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from ov_emotions.bundle import Bundle, write_bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.data.prepare import PreparedData
from ov_emotions.errors import AlreadyQuantizedError, QuantizationError
from ov_emotions.quantization.calibration import stratified_rows
from ov_emotions.quantization.ptq import PtqConfig, quantize
from ov_emotions.runtime import shared_core
from ov_emotions.thresholds import fit_thresholds


def quantize_bundle(
    bundle: Bundle, prepared: PreparedData, output: Path, config: PtqConfig
) -> Bundle:
    """Quantize a bundle to INT8 and fit its thresholds anew.

    The calibration texts are a label-stratified sample of the validation part named
    `calibration`, tokenised as the bundle tokenises, one text a sample; the thresholds are fitted
    on the part named `thresholds`, on probabilities of the INT8 model itself.

    :param bundle: an fp32 bundle.
    :param prepared: the prepared data.
    :param output: folder of the new bundle; replaced.
    :param config: how to quantize.
    :return: the INT8 bundle; its metrics are empty until it is evaluated.
    :raises AlreadyQuantizedError: if the bundle is not fp32.
    :raises QuantizationError: if NNCF fails, or the data have other labels.
    """
    manifest = bundle.manifest
    if manifest.precision != "fp32":
        raise AlreadyQuantizedError(
            f"{bundle.folder} is already quantized ({manifest.precision}); "
            "quantize the fp32 bundle it came from"
        )
    calibration = prepared.validation_part("calibration")
    fitting = prepared.validation_part("thresholds")
    if fitting.label_set.labels != manifest.labels:
        raise QuantizationError(
            f"{prepared.folder} has the labels {', '.join(fitting.label_set.labels)}, "
            f"the bundle has {', '.join(manifest.labels)}"
        )
    tokenizer = bundle.tokenizer()
    tokenizer.encode_special_tokens = True
    tokenizer.enable_truncation(manifest.max_length)
    rows = stratified_rows(calibration.targets, config.subset_size, config.seed)
    texts = [calibration.texts[i] for i in rows]
    ids = [np.array(e.ids, dtype=np.int32) for e in tokenizer.encode_batch_fast(texts)]
    model, record = quantize(shared_core().read_model(bundle.model_path), ids, config)

    tokenizer_json = bundle.tokenizer().to_str()
    quantized = replace(manifest, precision="int8", metrics={})
    with tempfile.TemporaryDirectory() as folder:
        draft = write_bundle(Path(folder) / "draft", quantized, model, tokenizer_json)
        probabilities = EmotionClassifier(draft).predict_proba(list(fitting.texts))
    thresholds = fit_thresholds(probabilities, fitting.targets)
    final = replace(
        quantized,
        thresholds={n: float(t) for n, t in zip(manifest.labels, thresholds, strict=True)},
        provenance={**manifest.provenance, "quantization": record},
    )
    return write_bundle(output, final, model, tokenizer_json)
