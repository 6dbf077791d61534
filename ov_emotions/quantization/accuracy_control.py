"""INT8 with accuracy control: NNCF returns single operations to float until the metric is back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from ov_emotions.encoding import Ids, pad
from ov_emotions.errors import QuantizationError
from ov_emotions.metrics import score
from ov_emotions.quantization.ptq import (
    advanced_parameters,
    check_calibration,
    compile_exactly,
    count_fake_quantize,
    feed,
    nncf_arguments,
    nncf_work,
)
from ov_emotions.quantization.recipe import AccuracyControl, PtqConfig
from ov_emotions.schema import Task
from ov_emotions.thresholds import apply_thresholds, to_probabilities

Item = tuple[Ids, NDArray[np.int8]]
"""One validation text: token ids, shape (tokens,); targets, shape (labels,)."""

_TRIAL_ITEMS = 8
_BATCH = 32
_TOLERANCE = 1e-6


@dataclass
class Validation:
    """What NNCF asks after every change: how good a model is on given items.

    :param thresholds: float32, shape (labels,): fitted on other rows, and frozen.
    :param answers: how many items, and the weighted F1, of every call so far.
    """

    thresholds: NDArray[np.float32]
    labels: Sequence[str]
    task: Task = "multi_label"
    answers: list[tuple[int, float]] = field(default_factory=list)

    def __call__(
        self, compiled: ov.CompiledModel, items: Iterable[Item]
    ) -> tuple[float, list[list[NDArray[np.float32]]]]:
        """Score a model that NNCF compiled (in f32).

        The logits of every item are returned beside the metric: with a bare number NNCF would rank
        operations by calls on single items, whose F1 is noise.

        :return: weighted F1; per item a list with its logits, float32, shape (1, labels).
        """
        ids, targets = zip(*items, strict=True)
        logits = _logits(compiled, ids)
        probabilities = to_probabilities(logits, self.task)
        predicted = apply_thresholds(probabilities, self.thresholds, self.task)
        metric = score(np.stack(targets), predicted, self.labels).weighted_f1
        self.answers.append((len(targets), metric))
        return metric, [[row[np.newaxis]] for row in logits]

    def try_on(self, model: ov.Model, items: Sequence[Item]) -> None:
        """Run once before NNCF does, which swallows an exception of its first call."""
        if not items:
            raise QuantizationError("there are no validation texts for accuracy control")
        try:
            metric, outputs = self(compile_exactly(model), items[:_TRIAL_ITEMS])
        except Exception as error:  # whatever it is, NNCF would not show it
            raise QuantizationError(f"the validation of accuracy control fails: {error}") from error
        self.answers.clear()
        if not np.isfinite([metric, *(row[0].sum() for row in outputs)]).all():
            raise QuantizationError("the validation of accuracy control gives no finite numbers")


def _logits(compiled: ov.CompiledModel, ids: Sequence[Ids]) -> NDArray[np.float32]:
    """Run texts of equal length together: no padding, so each answers as it would alone."""
    by_length: dict[int, list[int]] = {}
    for position, row in enumerate(ids):
        by_length.setdefault(len(row), []).append(position)
    found: dict[int, NDArray[np.float32]] = {}
    for positions in by_length.values():
        for start in range(0, len(positions), _BATCH):
            batch = positions[start : start + _BATCH]
            fed = pad([ids[i] for i in batch], 0).inputs()
            found.update(zip(batch, np.array(compiled(fed)["logits"], np.float32), strict=True))
    return np.stack([found[i] for i in range(len(ids))])


def quantize_with_accuracy_control(
    model: ov.Model,
    ids: Sequence[Ids],
    items: Sequence[Item],
    validation: Validation,
    config: PtqConfig,
    control: AccuracyControl,
) -> tuple[ov.Model, dict[str, Any]]:
    """Quantize an fp32 IR, then return operations to float until the metric is within `max_drop`.

    :param ids: the calibration texts.
    :param items: the validation texts.
    :return: the IR, and the record: what was returned to float, in how many iterations, and the
        drop that was left, all in f32 as NNCF measures.
    :raises AlreadyQuantizedError: if the model was quantized before.
    :raises QuantizationError: if the validation or NNCF fails.
    """
    check_calibration(model, ids)
    validation.try_on(model, items)
    with nncf_work("quantize the model") as work:
        nncf = work.nncf
        modes = nncf.quantization.advanced_parameters.RestoreMode
        quantized = nncf.quantize_with_accuracy_control(
            model.clone(),
            nncf.Dataset(ids, feed),
            nncf.Dataset(items, lambda item: feed(item[0])),
            validation,
            max_drop=control.max_drop,
            drop_type=nncf.DropType.ABSOLUTE,
            advanced_quantization_parameters=advanced_parameters(nncf, config),
            advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
                max_num_iterations=control.max_iterations,
                ranking_subset_size=min(control.ranking_subset_size, len(items)),
                restore_mode=modes.ACTIVATIONS_AND_WEIGHTS
                if control.restore == "all"
                else modes.ONLY_ACTIVATIONS,
            ),
            **nncf_arguments(nncf, model, len(ids), config),
        )
    final = validation(compile_exactly(quantized), items)[0]
    # Of the first model, of plain INT8, after every step, and the one just taken.
    initial, plain, *steps, _ = [m for count, m in validation.answers if count == len(items)]
    if final < plain - _TOLERANCE:
        raise QuantizationError(
            f"accuracy control made the metric worse than plain INT8: {final:.4f}, not {plain:.4f}"
        )
    return quantized, {
        **config.to_dict(),
        "calibration_texts": len(ids),
        "fake_quantize_operations": count_fake_quantize(quantized),
        **_told(work.messages),
        "max_drop": control.max_drop,
        "validation_texts": len(items),
        "initial_metric": round(initial, 6),
        "plain_metric": round(plain, 6),
        "final_metric": round(final, 6),
        "plain_drop": round(initial - plain, 6),
        "drop_after_each_step": [round(initial - metric, 6) for metric in steps],
        "final_drop": round(initial - final, 6),
        "reached": initial - final <= control.max_drop,
        **work.record,
    }


_REVERTED = re.compile(r"Reverted \d+ operations to the floating-point [^\n]*\n(.*)", re.DOTALL)
_IN_THE_END = re.compile(r"\d+ out of \d+ were reverted back [^\n]*:\n(.*)", re.DOTALL)
_TOTAL = re.compile(r"Total number of quantized operations in the model: (\d+)")


def _told(messages: Sequence[str]) -> dict[str, Any]:
    """Read what was returned to float from NNCF's messages, the only place where it tells."""
    steps, ends, totals = (
        [found[1] for message in messages if (found := pattern.match(message))]
        for pattern in (_REVERTED, _IN_THE_END, _TOTAL)
    )
    # Without a closing list every step stands: NNCF went through all operations.
    names = ends[-1] if ends else "\n".join(steps)
    rankings = sum(message.startswith("Re-calculating ranking") for message in messages)
    return {
        "reverted_operations": sorted({name.strip() for name in names.split("\n") if name.strip()}),
        "iterations": len(steps),
        "rankings": rankings + bool(steps),
        "quantized_operations": int(totals[-1]) if totals else None,
    }
