"""A model's graph changed so that it takes rows of several texts.

Three places of an encoder know where a text begins and ends: the mask of its attention, its
positions, and what makes one vector of a text's tokens. The first two become inputs. Before the
third, the texts are taken apart again, so that whatever pooling a model has gets what it always
got. All else computes each token for itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from ov_emotions.system import import_openvino, shared_core

_ATTENTION = "ScaledDotProductAttention"
_MASK_PORT = 3


class UnpackableError(Exception):
    """The graph is of a kind that cannot be packed; the text says why."""


def pack_graph(model: Any, max_length: int) -> Any:
    """Make a model with the inputs of `PackedBatch`.

    :param model: an `openvino.Model` with the inputs input_ids and attention_mask; taken apart.
    :param max_length: tokens of the longest window.
    :raises UnpackableError: if the graph has other parts than are known here. That a graph can be
        packed does not prove that it says the same then; compare.
    """
    ov = import_openvino()
    ops = ov.opset13
    ids, mask = _input(model, "input_ids"), _input(model, "attention_mask")
    attention = [node for node in model.get_ordered_ops() if node.get_type_name() == _ATTENTION]
    if not attention:
        raise UnpackableError("it has no attention of a known kind")
    _check_masks(attention, ids, mask, max_length)
    tables = _position_tables(model, ids, max_length)
    numbers = _position_numbers(ids, tables[0].input_value(1), max_length)
    hidden = _last_hidden(model, mask, attention)
    width = hidden.get_output_partial_shape(0)[2].get_length()

    added = []
    for name in ("positions", "segments", "places"):
        parameter = ops.parameter([-1, -1], np.int32, name=name)
        parameter.output(0).set_names({name})
        added.append(parameter)
    positions, segments, places = added
    places_of_tokens = ops.gather(ops.constant(numbers), positions, ops.constant(np.int32(0)))
    for table in tables:
        table.input(1).replace_source_output(places_of_tokens.output(0))
    same = ops.equal(
        ops.unsqueeze(segments, ops.constant(np.int32(2))),
        ops.unsqueeze(segments, ops.constant(np.int32(1))),
    )
    allowed = ops.unsqueeze(same, ops.constant(np.int32(1)))
    for node in attention:
        node.input(_MASK_PORT).replace_source_output(allowed.output(0))
    users = list(hidden.output(0).get_target_inputs())
    flat = ops.reshape(hidden, ops.constant(np.array([-1, width], dtype=np.int64)), False)
    apart = ops.gather(flat, places, ops.constant(np.int32(0)))
    for user in users:
        user.replace_source_output(apart.output(0))
    for parameter in model.get_parameters():
        if "token_type_ids" in parameter.output(0).get_names():
            none = ops.multiply(ids, ops.constant(np.int64(0))).output(0)
            for user in parameter.output(0).get_target_inputs():
                user.replace_source_output(none)
    return ov.Model(list(model.get_results()), [ids, mask, *added], model.get_friendly_name())


def _input(model: Any, name: str) -> Any:
    for parameter in model.get_parameters():
        if name in parameter.output(0).get_names():
            return parameter
    raise UnpackableError(f"it has no input {name}")


def _position_tables(model: Any, ids: Any, max_length: int) -> list[Any]:
    """Find the lookups of positions: all have the same indices, and those are not the texts'."""
    words = _after([ids], through="Convert")
    found = []
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Gather":
            continue
        table, index = (source.get_node() for source in node.input_values()[:2])
        shape = table.get_output_partial_shape(0)
        is_table = shape.rank.is_static and shape.rank.get_length() == 2 and shape.is_static
        if is_table and shape[0].get_length() >= max_length and _name(index) not in words:
            found.append(node)
    sources = {_name(node.input_value(1).get_node()) for node in found}
    if len(sources) != 1:
        raise UnpackableError(f"its positions come from {len(sources)} places, not from one")
    return found


def _check_masks(attention: list[Any], ids: Any, mask: Any, max_length: int) -> None:
    """See that every token may look at all tokens of its text, and that nothing else is said."""
    ov = import_openvino()
    sources = {}
    for node in attention:
        masked = node.get_input_size() > _MASK_PORT
        if not masked or node.input_value(_MASK_PORT).get_element_type() != ov.Type.boolean:
            raise UnpackableError("its attention is not masked by yes and no")
        source = node.input_value(_MASK_PORT)
        sources[_name(source.get_node())] = source
    present = np.ones((1, max_length), dtype=np.int64)
    present[0, max_length - max_length // 4 :] = 0
    for source in sources.values():
        allowed = _ask(source, {ids: _text(max_length), mask: present})
        if allowed.shape[-1] != max_length or (allowed != (present > 0)).any():
            raise UnpackableError("its attention does not look at the whole text alike")


def _position_numbers(ids: Any, source: Any, max_length: int) -> Any:
    """Ask the graph which positions it looks up for a text that fills a window."""
    found = _ask(source, {ids: _text(max_length)}).reshape(-1)
    if len(found) != max_length:
        raise UnpackableError("it has not one position a token")
    return found.astype(np.int32)


def _text(tokens: int) -> Any:
    # Any token that is no padding will do; those that are have the lowest numbers.
    return np.full((1, tokens), tokens, dtype=np.int64)


def _ask(source: Any, inputs: dict[Any, Any]) -> Any:
    """Compute what comes out at a place of the graph."""
    ov = import_openvino()
    try:
        asked = ov.Model([source], list(inputs), "asked")
        # In this thread: an executor that stays behind would be one that a forked child waits for.
        compiled = shared_core().compile_model(asked, "CPU", {"NUM_STREAMS": 0})
        return compiled(list(inputs.values()))[0]
    except RuntimeError as error:
        raise UnpackableError("its masks or positions depend on more than they should") from error


def _last_hidden(model: Any, mask: Any, attention: list[Any]) -> Any:
    """Find the tokens' last states, from which a text's vector is made."""
    after_attention = _after(attention[-1:])
    # The masks of attention will be no longer what they are; pooling is what else knows the mask.
    of_mask = _after([mask], but={_name(node) for node in attention})
    candidates = [
        node
        for node in model.get_ordered_ops()
        if _name(node) in after_attention
        and _name(node) not in of_mask
        and _is_states(node.get_output_partial_shape(0))
    ]
    if not candidates:
        raise UnpackableError("its attention is followed by no states of tokens")
    hidden = candidates[-1]
    # Nothing may pass it by.
    beside = _after(attention, but={_name(hidden)})
    if any(_name(result) in beside for result in model.get_results()):
        raise UnpackableError("what it makes of a text has other sources than its last states")
    return hidden


def _is_states(shape: Any) -> bool:
    """Tell whether this is the shape (texts, tokens, numbers)."""
    dimensions = list(shape) if shape.rank.is_static else []
    return [dimension.is_dynamic for dimension in dimensions] == [True, True, False]


def _after(
    nodes: Iterable[Any], *, through: str | None = None, but: Collection[str] = ()
) -> set[str]:
    """Name all nodes that depend on these, and these; names are unique in a process.

    :param through: follow only nodes of this type.
    :param but: nodes that nothing is followed through.
    """
    found: set[str] = set()
    ahead = list(nodes)
    while ahead:
        node = ahead.pop()
        if _name(node) in found or _name(node) in but:
            continue
        found.add(_name(node))
        for output in node.outputs():
            users = (user.get_node() for user in output.get_target_inputs())
            ahead += [u for u in users if through in (None, u.get_type_name())]
    return found


def _name(node: Any) -> str:
    return str(node.get_name())
