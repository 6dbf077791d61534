"""What NNCF does to a model: INT8 by calibration, weights alone made small, embeddings by rows."""

from __future__ import annotations

import io
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from ov_emotions.encoding import Ids, pad
from ov_emotions.errors import AlreadyQuantizedError, QuantizationError
from ov_emotions.quantization.recipe import AlphaSearch, Compression, PtqConfig
from ov_emotions.system import core_for_others, require, shared_core

Probabilities = Callable[[ov.Model], NDArray[np.float32]]
"""Runs a model on texts kept apart for a comparison: float32, shape (texts, labels)."""

_LOW = ("i8", "u8", "i4", "u4", "nf4", "f8e4m3", "f8e5m2")


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def quiet_nncf() -> Iterator[list[str]]:
    """Keep NNCF's log, progress bars and tables off standard output; errors are still logged.

    Its models are compiled by this process's one core. Yields the list that its messages are
    collected in, for what it tells nowhere else.
    """
    # Imported first: its log handler keeps the standard output that it finds at import.
    require("nncf", extra="quantize")
    log = logging.getLogger("nncf")
    collector, level = _Collector(), log.level
    levels = {handler: handler.level for handler in log.handlers}
    log.setLevel(logging.INFO)
    for handler in levels:
        handler.setLevel(logging.ERROR)
    log.addHandler(collector)
    try:
        # Its bars have no switch; they go to what standard output is when they start.
        with redirect_stdout(io.StringIO()), core_for_others():
            yield collector.messages
    finally:
        log.removeHandler(collector)
        for handler, previous in levels.items():
            handler.setLevel(previous)
        log.setLevel(level)


def is_quantized(model: ov.Model) -> bool:
    """Tell whether a model holds quantizers or low-precision weights."""
    return count_fake_quantize(model) > 0 or _has_weights(model, _LOW)


def count_fake_quantize(model: ov.Model) -> int:
    """Count the quantizers of activations that a model holds."""
    return sum(node.get_type_name() == "FakeQuantize" for node in model.get_ops())


def _has_weights(model: ov.Model, kinds: Sequence[str]) -> bool:
    # Masks and flags are small integers too; weights are matrices, converted before their use.
    return any(
        node.get_output_element_type(0).get_type_name() in kinds
        and len(node.get_output_shape(0)) >= 2
        and any(
            consumer.get_node().get_type_name() == "Convert"
            for consumer in node.output(0).get_target_inputs()
        )
        for node in model.get_ops()
        if node.get_type_name() == "Constant"
    )


def refuse_quantized(model: ov.Model) -> None:
    """Refuse a model whose weights are no longer fp32, whatever its manifest says.

    :raises AlreadyQuantizedError: if it was quantized, or its weights were rounded to 16 bits.
    """
    if is_quantized(model):
        raise AlreadyQuantizedError(
            "the model is already quantized; quantize the fp32 bundle it came from"
        )
    if _has_weights(model, ("f16", "bf16")):
        raise AlreadyQuantizedError(
            "the model's weights are 16-bit floats; quantize the fp32 bundle it came from"
        )


def embedding_names(model: ov.Model) -> list[str]:
    """Name the operations that look rows up in a table of fp32 weights."""
    return [
        node.get_friendly_name()
        for node in model.get_ops()
        if node.get_type_name() == "Gather"
        and node.input_value(0).get_node().get_type_name() == "Constant"
        and len(node.input_value(0).get_partial_shape()) == 2
    ]


@dataclass
class NncfWork:
    """NNCF at work on a model: the library, what it said, and what a record tells of it."""

    nncf: Any
    messages: list[str]
    record: dict[str, Any] = field(default_factory=dict)


@contextmanager
def nncf_work(what: str) -> Iterator[NncfWork]:
    """Have NNCF do something, silently and timed.

    :raises QuantizationError: if it fails.
    """
    with warnings.catch_warnings(), quiet_nncf() as messages:
        warnings.simplefilter("ignore")
        work = NncfWork(require("nncf", extra="quantize"), messages)
        started = time.monotonic()
        try:
            yield work
        except Exception as error:  # NNCF raises whatever its graph passes meet
            raise QuantizationError(f"NNCF could not {what}: {error}") from error
        work.record = {
            "seconds": round(time.monotonic() - started, 1),
            "nncf": work.nncf.__version__,
            "openvino": ov.__version__,
        }


def quantize(
    model: ov.Model, ids: Sequence[Ids], config: PtqConfig
) -> tuple[ov.Model, dict[str, Any]]:
    """Quantize an fp32 IR, which is left as it is, by calibration texts.

    SmoothQuant is of Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization
    for Large Language Models" (2023).

    :return: the quantized IR, and the record of what was done.
    :raises AlreadyQuantizedError: if the model was quantized before.
    :raises QuantizationError: if there are no texts, or NNCF fails.
    """
    check_calibration(model, ids)
    with nncf_work("quantize the model") as work:
        quantized = work.nncf.quantize(
            model.clone(),
            work.nncf.Dataset(ids, feed),
            advanced_parameters=advanced_parameters(work.nncf, config),
            **nncf_arguments(work.nncf, model, len(ids), config),
        )
    return quantized, {
        **config.to_dict(),
        "calibration_texts": len(ids),
        "fake_quantize_operations": count_fake_quantize(quantized),
        **work.record,
    }


def check_calibration(model: ov.Model, ids: Sequence[Ids]) -> None:
    """Refuse a model or a calibration subset that cannot be quantized with."""
    refuse_quantized(model)
    if not ids:
        raise QuantizationError("there are no calibration texts")


def nncf_arguments(
    nncf: Any, model: ov.Model, subset_size: int, config: PtqConfig
) -> dict[str, Any]:
    """Give the arguments that NNCF's plain and accuracy-controlled quantization share."""
    return {
        "preset": nncf.QuantizationPreset(config.preset),
        "model_type": nncf.ModelType.TRANSFORMER,
        "target_device": nncf.TargetDevice.CPU,
        "subset_size": subset_size,
        "ignored_scope": nncf.IgnoredScope(
            names=[] if config.embeddings else embedding_names(model)
        ),
    }


def advanced_parameters(nncf: Any, config: PtqConfig) -> Any:
    """Give NNCF's `AdvancedQuantizationParameters`; its two functions name them differently."""
    smooth = nncf.quantization.advanced_parameters.AdvancedSmoothQuantParameters
    alphas = smooth(matmul=config.smooth_quant_alpha)
    return nncf.AdvancedQuantizationParameters(smooth_quant_alphas=alphas)


def feed(ids: Ids) -> dict[str, NDArray[np.generic]]:
    """Make a model's inputs of one text: `input_ids` and `attention_mask`, shape (1, tokens)."""
    return pad([ids], 0).inputs()


def compile_exactly(model: ov.Model) -> ov.CompiledModel:
    """Compile a model to compute in f32, whatever the CPU would rather."""
    return shared_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def search_alpha(
    model: ov.Model,
    ids: Sequence[Ids],
    config: PtqConfig,
    search: AlphaSearch,
    probabilities: Probabilities,
) -> tuple[ov.Model, dict[str, Any]]:
    """Quantize with several SmoothQuant alphas and keep the model that differs least from fp32.

    :param probabilities: runs a model on the texts that they are compared on.
    :return: the best model, and its record with the mean absolute difference by alpha.
    """
    reference = probabilities(model)
    best: tuple[float, ov.Model, dict[str, Any]] | None = None
    differences: dict[str, float] = {}
    seconds = 0.0
    for alpha in search.alphas:
        candidate, record = quantize(model, ids, replace(config, smooth_quant_alpha=alpha))
        difference = float(np.abs(probabilities(candidate) - reference).mean())
        differences[f"{alpha:g}"] = round(difference, 6)
        seconds += record["seconds"]
        if best is None or difference < best[0]:
            best = (difference, candidate, record)
    assert best is not None  # a search without alphas is refused when it is made
    found = {"alpha_search": differences, "search_texts": len(reference)}
    return best[1], best[2] | found | {"seconds": round(seconds, 1)}


_SMALLEST_GROUP = 8
"""Rows of 312, which small encoders have, divide by 8 and by no larger power of two."""


def compress_weights(model: ov.Model, config: Compression) -> tuple[ov.Model, dict[str, Any]]:
    """Compress the weights of an fp32 IR, which is left as it is.

    :return: the compressed IR, and the record of what was done.
    :raises AlreadyQuantizedError: if the model was quantized before.
    :raises QuantizationError: if NNCF fails.
    """
    refuse_quantized(model)
    with nncf_work("compress the weights") as work:
        four_bit = {}
        if config.mode.startswith("int4"):
            advanced = work.nncf.quantization.advanced_parameters
            four_bit = {
                "ratio": config.ratio,
                "group_size": config.group_size,
                "advanced_parameters": advanced.AdvancedCompressionParameters(
                    group_size_fallback_mode=advanced.GroupSizeFallbackMode.ADJUST,
                    min_adjusted_group_size=_SMALLEST_GROUP,
                ),
            }
        compressed = work.nncf.compress_weights(
            model.clone(), mode=work.nncf.CompressWeightsMode(config.mode), **four_bit
        )
    return compressed, {
        "mode": config.mode,
        "ratio": config.ratio,
        "group_size": config.group_size,
        **work.record,
    }


def look_up_before_dequantizing(model: ov.Model) -> int:
    """Dequantize the rows that a batch looks up, instead of the table that they stand in.

    NNCF writes an INT8 table, its dequantization and then the lookup. The runtime folds the first
    two when it compiles, so that every compiled model holds the table in fp32, four times as large.
    The other way round, the table is mapped from the file, and outputs are equal to the bit.

    :return: how many tables of the model were changed.
    """
    changed = 0
    for gather in [node for node in model.get_ops() if node.get_type_name() == "Gather"]:
        scaled = gather.input_value(0).get_node()
        if scaled.get_type_name() != "Multiply":
            continue
        converted, scale = (source.get_node() for source in scaled.input_values())
        if converted.get_type_name() != "Convert":
            continue
        table = converted.input_value(0).get_node()
        axis = gather.input_value(2).get_node()
        if not _is_table(table) or not _by_row(scale, table):
            continue
        if axis.get_type_name() != "Constant" or axis.data.any():
            continue
        name = gather.get_friendly_name()
        rows = ops.gather(table, gather.input_value(1), axis, name=f"{name}/table")
        scales = ops.gather(scale, gather.input_value(1), axis, name=f"{name}/scale")
        found = ops.multiply(
            ops.convert(rows, scale.get_output_element_type(0).to_string()), scales, name=name
        )
        for target in list(gather.output(0).get_target_inputs()):
            target.replace_source_output(found.output(0))
        changed += 1
    if changed:
        model.validate_nodes_and_infer_types()
    return changed


def _is_table(node: ov.Node) -> bool:
    return (
        node.get_type_name() == "Constant"
        and node.get_output_element_type(0) in (ov.Type.i8, ov.Type.u8)
        and len(node.get_output_shape(0)) == 2
    )


def _by_row(scale: ov.Node, table: ov.Node) -> bool:
    """Tell whether there is one number a row, which alone can be looked up beside it."""
    rows = table.get_output_shape(0)[0]
    return scale.get_type_name() == "Constant" and list(scale.get_output_shape(0)) == [rows, 1]


def stratified_rows(targets: NDArray[np.int8], size: int, seed: int) -> NDArray[np.int64]:
    """Choose rows so that rare labels are calibrated too.

    Labels take turns, the rarest first; each turn draws one more of the label's rows. A sample in
    proportion would hold five fear rows in three hundred, and activations peak on rare content.

    :param targets: int8, shape (rows, labels): 1, 0 or -1.
    :param size: rows to choose; all rows if there are fewer.
    :return: int64, sorted row positions without repetition.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(targets))
    if size >= len(targets):
        return np.sort(order)
    counts = (targets == 1).sum(axis=0)
    queues = [
        [int(row) for row in order if targets[row, label] == 1]
        for label in np.argsort(counts, kind="stable")
    ]
    # Rows without any present label belong to no queue; they take turns as one of their own.
    queues.append([int(row) for row in order if not (targets[row] == 1).any()])
    chosen: dict[int, None] = {}
    while len(chosen) < size:
        for queue in queues:
            while queue and queue[0] in chosen:
                queue.pop(0)
            if queue and len(chosen) < size:
                chosen[queue.pop(0)] = None
    return np.sort(np.array(list(chosen), dtype=np.int64))
