"""The served model: raw text in, emotions out, with no Python on either side.

One IR holds normaliser, tokeniser, INT8 classifier, sigmoid and thresholds. It takes `text`,
strings [N], and gives `probabilities`, f32 [N, labels], and `labels`, strings [N]: the names of
those whose probability reaches its threshold, the most probable first, joined; empty if none does.
A text without a letter or digit gets 0 for every label and no name, as in `EmotionClassifier`.

The facts of the bundle are in rt_info.model_info as texts, JSON where they are lists or mappings,
and the whole manifest as JSON under `manifest`. Model Server shows them in its metadata.

Differences from `EmotionClassifier`, by choice: of a text longer than `max_length` tokens it reads
the beginning, as `long_texts="truncate"` does (`window`, the classifier's default, has no fixed
graph). What else may differ is told in `text_tokenizer`, and measured by `text_check`. A request
without any text fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset15 as ops

from ov_emotions.bundle import Bundle
from ov_emotions.errors import BundleIntegrityError, BundleSchemaError, InputError
from ov_emotions.manifest import Manifest, stamp
from ov_emotions.runtime.models import WIDTHS
from ov_emotions.schema import LabelNames, Task
from ov_emotions.serving.settings import TextModelConfig
from ov_emotions.serving.text_nodes import (
    bounded,
    constant,
    node,
    pack_strings,
    string_constants,
    string_core,
)
from ov_emotions.serving.text_tokenizer import pad_id, special_tokens, tokenizer_graph

TEXT_INPUT = "text"
TOKEN_INPUTS = ("input_ids", "attention_mask")
PROBABILITIES = "probabilities"
LABELS = "labels"

_SMALL_WEIGHTS = 64 * 2**20
_OF_THE_CLASSIFIER = "ov_emotions_classifier"


def label_names(bundle: Bundle, names: LabelNames, separator: str) -> list[str]:
    """Choose the names that the output `labels` holds, one a label.

    :raises InputError: if the separator stands in one of them, so that an answer could not be
        taken apart.
    """
    russian = bundle.manifest.label_names_ru if names == "ru" else {}
    chosen = [russian.get(label) or label for label in bundle.manifest.labels]
    if taken := [name for name in chosen if separator in name]:
        raise InputError(
            f"the separator {separator!r} stands in the name {taken[0]!r}; choose another"
        )
    return chosen


def build_text_model(bundle: Bundle, config: TextModelConfig | None = None) -> ov.Model:
    """Put the served model of a bundle together.

    The same bundle and configuration give the same file, byte for byte, with the same OpenVINO.

    :raises InputError: if a name contains the separator, so that an answer could not be taken
        apart.
    :raises BundleError: if the bundle's model or tokeniser is of another kind.
    """
    config = config or TextModelConfig()
    names = label_names(bundle, config.names, config.separator)
    if config.token_in:
        shape = bounded(config.max_batch, bundle.manifest.max_length)
        parameters = [ops.parameter(shape, ov.Type.i64, name=name) for name in TOKEN_INPUTS]
        for parameter, name in zip(parameters, TOKEN_INPUTS, strict=True):
            parameter.output(0).set_names({name})
        ids, mask = (parameter.output(0) for parameter in parameters)
    else:
        graph = tokenizer_graph(bundle, config.max_batch)
        parameters, ids, mask = [graph.text], graph.input_ids, graph.attention_mask
    logits = _classify(bundle, ids, mask, _widths(bundle, config))
    scores = _probabilities(logits, mask, special_tokens(bundle), bundle.manifest.task)
    outputs = {PROBABILITIES: scores}
    if not config.token_in:
        outputs[LABELS] = _labels(scores, bundle.manifest, names, config.separator)
    results = []
    for name, output in outputs.items():
        output.set_names({name})
        results.append(ops.result(output))
    served = ov.Model(results, parameters, bundle.manifest.name)
    _name_nodes(served, "text")
    # A client of an input without a name of its own would see the node's.
    for port in (*served.inputs, *served.outputs):
        port.get_node().set_friendly_name(port.get_any_name())
    stamp(served, bundle.manifest)
    _stamp_serving(served, bundle, config)
    return served


def _widths(bundle: Bundle, config: TextModelConfig) -> list[int]:
    """Choose the widths for which the graph holds a copy of the classifier."""
    weights = bundle.model_path.with_suffix(".bin").stat().st_size
    if not (weights <= _SMALL_WEIGHTS if config.few_widths is None else config.few_widths):
        return []
    return [width for width in WIDTHS if width <= bundle.manifest.max_length]


def _classify(bundle: Bundle, ids: Any, mask: Any, widths: Sequence[int]) -> Any:
    """Run the classifier: logits, f32 [N, labels].

    A single text takes the copy for the first of the widths that it fits in; all else takes the
    copy of any shape. OpenVINO shares the weights of the copies, in the file and in memory.
    """
    if not widths:
        return _copy(bundle, ids, mask, None)

    def body(make: Callable[[Any, Any], Any], name: str) -> tuple[Any, list[Any], Any]:
        inputs = [
            ops.parameter(ov.PartialShape([-1, -1]), ov.Type.i64, name=n) for n in TOKEN_INPUTS
        ]
        result = ops.result(make(*(parameter.output(0) for parameter in inputs)))
        model = ov.Model([result], inputs, name)
        _name_nodes(model, name)
        return model, inputs, result

    width, *wider = widths
    fits = ops.less_equal(ops.shape_of(ids, "i64"), constant([1, width], np.int64))
    chosen = ops.if_op(ops.reduce_logical_and(fits, constant([0], np.int64)).output(0))
    then, then_inputs, then_result = body(
        lambda ids, mask: _copy(bundle, ids, mask, width), f"width{width}"
    )
    other, other_inputs, other_result = body(
        lambda ids, mask: _classify(bundle, ids, mask, wider), f"above{width}"
    )
    chosen.set_then_body(then)
    chosen.set_else_body(other)
    for output, *inputs in zip((ids, mask), then_inputs, other_inputs, strict=True):
        chosen.set_input(output, *inputs)
    return chosen.set_output(then_result, other_result)


def _copy(bundle: Bundle, ids: Any, mask: Any, width: int | None) -> Any:
    """Read the bundle's IR and connect it: the output that its logits come from."""
    try:
        model = string_core().read_model(bundle.model_path)
    except RuntimeError as error:
        raise BundleIntegrityError(
            f"{bundle.model_path} is not a model that OpenVINO reads: {error}"
        ) from error
    inputs = {name for port in model.inputs for name in port.get_names()}
    outputs = {name for port in model.outputs for name in port.get_names()}
    expected = set(bundle.manifest.inputs)
    if inputs != expected or "logits" not in outputs:
        raise BundleSchemaError(
            f"{bundle.model_path} takes {sorted(inputs)} and gives {sorted(outputs)}; a bundle's "
            f"model takes {sorted(expected)} and gives ['logits']"
        )
    for op in model.get_ops():
        op.get_rt_info()[_OF_THE_CLASSIFIER] = ""
    if width is not None:
        ids = _pad(ids, width, pad_id(bundle))
        mask = _pad(mask, width, 0)
    arrays = {"input_ids": ids, "attention_mask": mask}
    if "token_type_ids" in inputs:
        zero = constant(0, np.int64)
        arrays["token_type_ids"] = ops.broadcast(zero, ops.shape_of(ids)).output(0)
    for name in inputs:
        for target in model.input(name).get_target_inputs():
            target.replace_source_output(arrays[name])
    return model.output("logits").get_node().input_value(0)


def _pad(array: Any, width: int, value: int) -> Any:
    """Pad one row to a width that the compiler knows, i64 [1, width]."""
    row = ops.reshape(array, constant([-1], np.int64), special_zero=False)
    longer = ops.concat([row, constant([value] * width, np.int64)], 0)
    first, last, step, axis = (constant([n], np.int64) for n in (0, width, 1, 0))
    cut = ops.slice(longer, first, last, step, axis)
    return ops.reshape(cut, constant([1, width], np.int64), special_zero=False).output(0)


def _probabilities(logits: Any, mask: Any, special: int, task: Task) -> Any:
    """Sigmoid or softmax; 0 where a text has no token of its own, f32 [N, labels]."""
    tokens = ops.reduce_sum(ops.convert(mask, "i32"), constant([1], np.int64), keep_dims=True)
    some = ops.greater(tokens, constant(special, np.int32))
    scores = ops.sigmoid(logits) if task == "multi_label" else ops.softmax(logits, axis=1)
    # Selected rather than multiplied: a row of padding alone may have logits that are no numbers.
    return ops.select(some, scores, constant(0, np.float32)).output(0)


def _labels(scores: Any, manifest: Manifest, names: list[str], separator: str) -> Any:
    """Join the names of the labels that are present, strings [N]."""
    thresholds = constant(manifest.threshold_array(), np.float32)
    reached = ops.greater_equal(scores, thresholds)
    if manifest.task == "single_label":
        highest = ops.reduce_max(scores, constant([1], np.int64), keep_dims=True)
        reached = ops.logical_and(reached, ops.greater_equal(scores, highest))
        # A text without a token of its own has only zeros, and no label.
        reached = ops.logical_and(reached, ops.greater(scores, constant(0, np.float32)))
    count = len(names)
    # Those that do not reach it go behind all that do. Stable, so that of two equal ones the
    # earlier label comes first, as in the classifier.
    ranked = ops.topk(
        ops.select(reached, scores, constant(-1, np.float32)),
        constant(count, np.int32),
        axis=1,
        mode="max",
        sort="value",
        index_element_type="i32",
        stable=True,
    )
    # The first name stands alone, the others bring the separator along; the last word is skipped.
    vocabulary = [*names, *(separator + name for name in names), ""]
    shift = constant([[0] + [count] * (count - 1)], np.int32)
    present = ops.greater_equal(ranked.output(0), constant(0, np.float32))
    if manifest.task == "single_label":
        first = constant([[True] + [False] * (count - 1)], np.bool_)
        present = ops.logical_and(present, first)
    skipped = constant(2 * count, np.int32)
    words = ops.select(present, ops.add(ranked.output(1), shift), skipped)
    skip = constant([2 * count], np.int32)
    inputs = [words.output(0), *string_constants(vocabulary), skip]
    *ragged, characters = node("VocabDecoder", inputs)
    return pack_strings([*node("FuzeRagged", ragged), characters])


def _name_nodes(model: Any, prefix: str) -> None:
    """Give the nodes around the classifier names that do not depend on what ran before."""
    for position, op in enumerate(model.get_ordered_ops()):
        if _OF_THE_CLASSIFIER in (info := op.get_rt_info()):
            del info[_OF_THE_CLASSIFIER]
        else:
            op.set_friendly_name(f"{prefix}/{position}/{op.get_type_name()}")


def _stamp_serving(model: Any, bundle: Bundle, config: TextModelConfig) -> None:
    manifest = json.loads(bundle.manifest.to_json())
    facts = {
        "manifest": json.dumps(manifest, ensure_ascii=False, separators=(",", ":")),
        "batch_size": f"1:{config.max_batch}",
        **config.facts("truncate"),
    }
    for key, text in facts.items():
        model.set_rt_info(text, ["model_info", key])
