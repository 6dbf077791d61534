"""Tables of embeddings that stay in INT8 while the model runs."""

from __future__ import annotations

import openvino as ov
from openvino import opset13 as ops


def look_up_before_dequantizing(model: ov.Model) -> int:
    """Dequantize the rows that a batch looks up, instead of the table that they stand in.

    NNCF writes an INT8 table, its dequantization and then the lookup. The runtime folds the first
    two when it compiles, so that every compiled model holds the table in fp32, four times as large.
    The other way round, the table is mapped from the file, and outputs are equal to the bit.

    :param model: changed in place.
    :return: how many tables were changed.
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
