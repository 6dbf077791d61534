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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from ov_emotions.bundle import Bundle, stamp
from ov_emotions.errors import BundleIntegrityError, BundleSchemaError, InputError
from ov_emotions.serving.text_nodes import (
    at_least_one,
    node,
    pack_strings,
    string_constants,
    string_core,
)
from ov_emotions.serving.text_tokenizer import special_tokens, tokenizer_graph

if TYPE_CHECKING:
    import openvino as ov

LabelNames = Literal["ru", "en"]

TEXT_INPUT = "text"
TOKEN_INPUTS = ("input_ids", "attention_mask")
PROBABILITIES = "probabilities"
LABELS = "labels"


@dataclass(frozen=True)
class TextModelConfig:
    """What the served model takes and gives.

    :param names: whose names `labels` holds: `ru` are the manifest's Russian ones, `en` its
        identifiers.
    :param separator: between the names of one text.
    :param token_in: take `input_ids` and `attention_mask`, i64 [N, tokens], instead of `text`, and
        give `probabilities` alone, for callers who tokenise themselves.
    """

    names: LabelNames = "ru"
    separator: str = ", "
    token_in: bool = False

    def __post_init__(self) -> None:
        if self.names not in get_args(LabelNames):
            raise InputError(f"names must be 'ru' or 'en', not {self.names!r}")
        if not isinstance(self.separator, str) or not self.separator:
            raise InputError(f"separator must be a text that is not empty, not {self.separator!r}")


def label_names(bundle: Bundle, config: TextModelConfig) -> list[str]:
    """Choose the names that `labels` holds.

    :param bundle: whose labels.
    :param config: whose names, and what stands between them.
    :return: one a label, in the order of the outputs.
    :raises InputError: if the separator stands in one of them.
    """
    manifest = bundle.manifest
    russian = manifest.label_names_ru if config.names == "ru" else {}
    names = [russian.get(label) or label for label in manifest.labels]
    if taken := [name for name in names if config.separator in name]:
        raise InputError(
            f"the separator {config.separator!r} stands in the name {taken[0]!r}; choose another"
        )
    return names


def build_text_model(bundle: Bundle, config: TextModelConfig | None = None) -> ov.Model:
    """Put the served model of a bundle together.

    The same bundle and configuration give the same file, byte for byte, with the same OpenVINO.

    :param bundle: whose tokeniser, classifier and thresholds.
    :param config: what it takes and gives; texts and Russian names where None.
    :return: the model, its facts stamped.
    :raises InputError: if a name contains the separator, so that an answer could not be taken
        apart.
    :raises BundleError: if the bundle's model or tokeniser is of another kind.
    """
    import openvino as ov
    import openvino.opset15 as ops

    config = config or TextModelConfig()
    names = label_names(bundle, config)
    model, logits = _read_classifier(bundle)
    theirs = {op.get_name() for op in model.get_ops()}
    if config.token_in:
        parameters = [model.input(name).get_node() for name in TOKEN_INPUTS]
        for parameter in parameters:
            parameter.set_partial_shape(at_least_one(2))
        mask = parameters[1].output(0)
    else:
        graph = tokenizer_graph(bundle)
        parameters, mask = [graph.text], graph.attention_mask
        for name, output in zip(TOKEN_INPUTS, (graph.input_ids, mask), strict=True):
            for target in model.input(name).get_target_inputs():
                target.replace_source_output(output)
    scores = _probabilities(logits, mask, special_tokens(bundle))
    outputs = {PROBABILITIES: scores}
    if not config.token_in:
        thresholds = bundle.manifest.threshold_array()
        outputs[LABELS] = _labels(scores, thresholds, names, config.separator)
    results = []
    for name, output in outputs.items():
        output.set_names({name})
        results.append(ops.result(output))
    served = ov.Model(results, parameters, bundle.manifest.name)
    _name_nodes(served, theirs)
    stamp(served, bundle.manifest)
    _stamp_serving(served, bundle, config)
    return served


def _read_classifier(bundle: Bundle) -> tuple[Any, Any]:
    """Read the bundle's IR: the model, and the output that its logits come from."""
    try:
        model = string_core().read_model(bundle.model_path)
    except RuntimeError as error:
        raise BundleIntegrityError(
            f"{bundle.model_path} is not a model that OpenVINO reads: {error}"
        ) from error
    inputs = {name for port in model.inputs for name in port.get_names()}
    outputs = {name for port in model.outputs for name in port.get_names()}
    if inputs != set(TOKEN_INPUTS) or "logits" not in outputs:
        raise BundleSchemaError(
            f"{bundle.model_path} takes {sorted(inputs)} and gives {sorted(outputs)}; a bundle's "
            f"model takes {sorted(TOKEN_INPUTS)} and gives ['logits']"
        )
    return model, model.output("logits").get_node().input_value(0)


def _constant(value: Any, kind: type[np.generic]) -> Any:
    import openvino.opset15 as ops

    return ops.constant(np.array(value, dtype=kind))


def _probabilities(logits: Any, mask: Any, special: int) -> Any:
    """Sigmoid of the logits; 0 where a text has no token of its own, f32 [N, labels]."""
    import openvino.opset15 as ops

    tokens = ops.reduce_sum(ops.convert(mask, "i32"), _constant([1], np.int64), keep_dims=True)
    some = ops.greater(tokens, _constant(special, np.int32))
    # Selected rather than multiplied: a row of padding alone may have logits that are no numbers.
    return ops.select(some, ops.sigmoid(logits), _constant(0, np.float32)).output(0)


def _labels(scores: Any, thresholds: Any, names: list[str], separator: str) -> Any:
    """Join the names of the labels that reach their threshold, strings [N]."""
    import openvino.opset15 as ops

    count = len(names)
    reached = ops.greater_equal(scores, _constant(thresholds, np.float32))
    # Those that do not reach it go behind all that do. Stable, so that of two equal ones the
    # earlier label comes first, as in the classifier.
    ranked = ops.topk(
        ops.select(reached, scores, _constant(-1, np.float32)),
        _constant(count, np.int32),
        axis=1,
        mode="max",
        sort="value",
        index_element_type="i32",
        stable=True,
    )
    # The first name stands alone, the others bring the separator along; the last word is skipped.
    vocabulary = [*names, *(separator + name for name in names), ""]
    shift = _constant([[0] + [count] * (count - 1)], np.int32)
    present = ops.greater_equal(ranked.output(0), _constant(0, np.float32))
    skipped = _constant(2 * count, np.int32)
    words = ops.select(present, ops.add(ranked.output(1), shift), skipped)
    skip = _constant([2 * count], np.int32)
    inputs = [words.output(0), *string_constants(vocabulary), skip.output(0)]
    *ragged, characters = node("VocabDecoder", inputs)
    return pack_strings([*node("FuzeRagged", ragged), characters])


def _name_nodes(model: Any, kept: set[str]) -> None:
    """Give the nodes around the classifier names that do not depend on what ran before."""
    for position, op in enumerate(model.get_ordered_ops()):
        if op.get_name() not in kept:
            op.set_friendly_name(f"text/{position}/{op.get_type_name()}")
    # A client of an input without a name of its own would see the node's.
    for port in (*model.inputs, *model.outputs):
        port.get_node().set_friendly_name(port.get_any_name())


def _stamp_serving(model: Any, bundle: Bundle, config: TextModelConfig) -> None:
    manifest = json.loads(bundle.manifest.to_json())
    facts = {
        "input": "tokens" if config.token_in else "text",
        "manifest": json.dumps(manifest, ensure_ascii=False, separators=(",", ":")),
    }
    if not config.token_in:
        facts["long_texts"] = "truncate"
        facts["label_names"] = config.names
        facts["separator"] = config.separator
    for key, text in facts.items():
        model.set_rt_info(text, ["model_info", key])
