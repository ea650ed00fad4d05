"""Networks that read token ids: how many they know, and a float32 input in front of whole numbers.

Everything after reading gives a network float32, which holds ids exactly; a Cast inside makes them whole again.
"""

from __future__ import annotations

from typing import Any

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, fx, nn

from core.models.exact import reads_ids
from core.models.onnx_file import IDS

SHAPED = {"size", "sym_size", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones"}  # reads no values
CAST = "The network reads whole numbers; a cast was put before it, so that ids come as float32 like any other input."


def vocabulary_of(module: nn.Module) -> int:
    """Rows of the smallest table that the module looks up by what it reads, 0 where it looks nothing up."""
    if isinstance(module, fx.GraphModule):
        entry = next(node for node in module.graph.nodes if node.op == "placeholder")
        read, rows = {entry}, []
        for node in module.graph.nodes:
            called = getattr(node.target, "__name__", str(node.target))
            if read.isdisjoint(node.all_input_nodes) or called in SHAPED:
                continue
            if called == "embedding":
                rows += [_rows(module, table) for table in node.all_input_nodes[:1]]
            else:
                read.add(node)
        return min((n for n in rows if n), default=0)
    table = getattr(module, "embedding", None)  # of the samples' own
    return table.num_embeddings if isinstance(table, nn.Embedding) else 0


def _rows(module: fx.GraphModule, node: fx.Node) -> int:
    held: Any = module
    for part in str(node.target).split("."):
        held = getattr(held, part, None)
    return int(held.shape[0]) if isinstance(held, Tensor) and held.ndim == 2 else 0


def known_to(graph: onnx.GraphProto) -> int:
    """Rows of the smallest table that a graph looks up by what it reads, 0 where it reads no ids."""
    held = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    held |= {n.output[0]: list(a.t.dims) for n in graph.node if n.op_type == "Constant" for a in n.attribute[:1]}
    entry = next((value.name for value in graph.input if value.name not in held), "")
    named = onnx.GraphProto(node=graph.node, input=[value for value in graph.input if value.name == entry])
    if not entry or not reads_ids(named):
        return 0
    read, rows = {entry}, []
    for node in graph.node:
        if node.op_type == "Gather" and node.input[1] in read and len(held.get(node.input[0], ())) == 2:
            rows.append(held[node.input[0]][0])
        elif node.op_type not in ("Shape", "Size") and not read.isdisjoint(node.input):
            read.update(node.output)
    return min(rows, default=0)


def floating(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The model with a float32 input where it read whole numbers, and a note that says so."""
    held = {tensor.name for tensor in proto.graph.initializer}
    place = next(k for k, value in enumerate(proto.graph.input) if value.name not in held)
    kind = proto.graph.input[place].type.tensor_type.elem_type
    if kind not in IDS:
        return proto, ()
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    entry = made.graph.input[place]
    whole = entry.name
    entry.name, entry.type.tensor_type.elem_type = f"{whole}/float", TensorProto.FLOAT
    made.graph.node.insert(0, helper.make_node("Cast", [entry.name], [whole], to=kind))
    return made, (CAST,)


def whole_inputs(module: fx.GraphModule, entry: fx.Node, kind: torch.dtype) -> tuple[str, ...]:
    """Put a cast to whole numbers behind the module's input, in place; the note says so."""
    with module.graph.inserting_after(entry):
        cast = module.graph.call_method("to", (entry, kind))
    entry.replace_all_uses_with(cast, delete_user_cb=lambda user: user is not cast)
    module.graph.lint()
    module.recompile()
    return (CAST,)
