"""Nodes of OpenVINO graphs that work on strings, and two guards that such graphs need.

The operations come from the extension library of openvino-tokenizers, which Model Server has
inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset15 as ops

from ov_emotions.system import shared_core

Outputs = list[Any]
"""Outputs of OpenVINO nodes. A ragged tensor of strings is five of them: where each row of pieces
begins and ends, where each piece begins and ends, and all bytes."""


def string_core() -> ov.Core:
    """Return the process's core, able to read and run the operations of the extension library."""
    import openvino_tokenizers

    core = shared_core()
    # A core that is older than the import does not know them yet; to add them twice does no harm.
    core.add_extension(str(openvino_tokenizers._ext_path))
    return core


def node(kind: str, inputs: Outputs, **attributes: Any) -> Outputs:
    """Make a node of the extension library."""
    from openvino_tokenizers import _get_factory

    outputs: Outputs = _get_factory().create(kind, list(inputs), attributes).outputs()
    return outputs


def constant(value: Any, kind: type[np.generic] = np.int32) -> Any:
    """Make a constant of a number, or of an array of them."""
    return ops.constant(np.array(value, dtype=kind)).output(0)


def bytes_constant(data: bytes) -> Any:
    """Make a constant of bytes, u8, shape [bytes]."""
    return ops.constant(np.frombuffer(data, dtype=np.uint8)).output(0)


def string_constants(texts: str | Sequence[str] | Sequence[bytes]) -> Outputs:
    """Make the constants in which the extension library takes strings.

    For one text its bytes; for several three: begins, ends, all bytes.
    """
    from openvino_tokenizers.utils import create_string_constant_node

    outputs: Outputs = create_string_constant_node(texts)
    return outputs


def pack_strings(strings: Outputs) -> Any:
    """Make one tensor of strings, shape [N], of begins, ends and all bytes."""
    return _opset("StringTensorPack", strings)[0]


def unpack_strings(text: Any) -> Outputs:
    """Take a tensor of strings, shape [N], apart: begins, ends, all bytes."""
    return _opset("StringTensorUnpack", text.outputs())


def _opset(kind: str, inputs: Outputs) -> Outputs:
    # The extension has operations of these names too, which are deprecated and would be taken.
    from openvino_tokenizers import _get_opset_factory

    outputs: Outputs = _get_opset_factory("opset15").create(kind, list(inputs)).outputs()
    return outputs


def bounded(*sizes: int) -> Any:
    """Give the shape of an input that is never empty, and never too large.

    A runtime refuses what does not fit it. Without the lower bound, OpenVINO leaves out operations
    whose input is empty (and on one thread all of them), and answers with the memory of the request
    before: its answers, or a crash. Without the upper one, one request can take all memory.

    :param sizes: the largest of each dimension.
    """
    return ov.PartialShape([ov.Dimension(1, size) for size in sizes])


def near_parameter(begins: Any, array: Any) -> Any:
    """Add nothing to an i64 array [N, tokens], in a way that leads straight to the parameter.

    OpenVINO's INT8 passes walk from the quantized layers upward, along every path there is, until
    they meet a parameter. Strings are three or five outputs side by side, so that there are many
    millions of paths through the tokeniser, and a compilation would take a minute.

    :param begins: where each text begins, i32 [N]; never below 0.
    """
    zeros = ops.convert(ops.minimum(begins, constant([0])), "i64")
    column = ops.unsqueeze(zeros, constant([1]))
    return ops.add(array, column).output(0)
