"""How a file stores a weight in few bits, and the operators that make it float again.

The values are bit for bit those that were evaluated: ONNX Runtime computes these operators once, when it loads.
"""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper
from torch import Tensor

from core.deploy.editor import Editor
from core.engine.grid import Grid, quantize
from core.engine.network import Network


def stored_weight(editor: Editor, name: str, network: Network, spelled: bool) -> str:
    """The weight in as few bits as a file can hold it, and back to float before it is read.

    Before a MatMul the way back is `spelled` out: ONNX Runtime takes a DequantizeLinear there for leave to
    round the activations to 8 bits (its MatMulNBits), which would be another network than the screen's.
    """
    grid = network.grids.get(name)
    if grid is not None and (spelled or not grid.integral):
        return _spelled(editor, name, network.tensors[name], grid)
    if grid is not None:
        return editor.integer_weight(name, network.tensors[name], grid, narrow=True)
    if name in network.half:
        half = editor.constant(f"{name}/half", halves(name, network))
        return editor.node("Cast", [half], f"{name}/float", to=TensorProto.FLOAT)
    return name


def halves(name: str, network: Network) -> np.ndarray:
    """A weight in 16 bits: float16 or bfloat16."""
    kind: Any = ml_dtypes.bfloat16 if name in network.brain else np.float16
    return network.tensors[name].numpy().astype(kind)


def _codes(values: Tensor, grid: Grid) -> np.ndarray:
    """The integers, in 4 bits where a grid that ONNX's integer operators do not know has so few."""
    kind: Any = np.int8 if grid.symmetric else np.uint8
    if not grid.integral and grid.bits <= 4:
        kind = ml_dtypes.int4 if grid.symmetric else ml_dtypes.uint4
    return quantize(values, grid).numpy().astype(kind)


def _spelled(editor: Editor, name: str, values: Tensor, grid: Grid) -> str:
    """`(q - zero_point) * scale`, or `levels[q] * scale`, in plain operators."""
    q = editor.constant(f"{name}/q", _codes(values, grid))
    shape = tuple(values.shape)
    if grid.levels is not None:
        whole = _looked_up(editor, q, grid, name)
    else:
        whole = editor.node("Cast", [q], f"{name}/whole", to=TensorProto.FLOAT)
        if grid.affine:
            zero = _spread(editor, f"{name}/zero_point", grid.zero_point.numpy().astype(np.float32), grid, shape)
            whole = editor.node("Sub", [whole, zero], f"{name}/centred")
    scale = _spread(editor, f"{name}/scale", grid.scale.numpy(), grid, shape)
    return editor.node("Mul", [whole, scale], f"{name}/spelled")


def _looked_up(editor: Editor, q: str, grid: Grid, name: str) -> str:
    """The level of every integer."""
    assert grid.levels is not None
    table = f"levels/{grid.levels.name}"
    if table not in {tensor.name for tensor in editor.initialisers}:
        editor.constant(table, grid.levels.values.numpy())
    places = editor.node("Cast", [q], f"{name}/places", to=TensorProto.INT32)
    return editor.node("Gather", [table, places], f"{name}/level", axis=0)


def _spread(editor: Editor, name: str, values: np.ndarray, grid: Grid, shape: tuple[int, ...]) -> str:
    """Scales or zero points, shaped to go with a weight of `shape`; those of blocks are repeated."""
    if not grid.group or values.ndim < 2:
        return editor.constant(name, values.reshape((-1, *[1] * (len(shape) - 1)) if values.ndim else ()))
    rows, blocks = values.shape
    columns = math.prod(shape) // rows
    made = editor.constant(name, values[:, :, None])
    for kind, argument, what in (
        ("Expand", [rows, blocks, grid.group], "each"),
        ("Reshape", [rows, blocks * grid.group], "flat"),
        ("Slice", [columns], "cut"),
        ("Reshape", list(shape), "spread"),
    ):
        if kind == "Slice" and columns == blocks * grid.group:
            continue
        said = editor.constant(f"{name}/{what}_to", np.array(argument, np.int64))
        inputs = [made, said]
        if kind == "Slice":
            start, axis = (editor.constant(f"{name}/cut_{i}", np.array([i], np.int64)) for i in (0, 1))
            inputs = [made, start, said, axis]
        made = editor.node(kind, inputs, f"{name}/{what}")
    return made


def picked_rows(editor: Editor, node: onnx.NodeProto, network: Network) -> None:
    """An embedding over its table as stored: the rows are picked first and only these become float.

    ONNX Runtime does not fold a DequantizeLinear of a constant, so that one before the Gather would turn the
    whole table into floats at every call. A Cast it folds, and Gather takes no 4-bit integers.
    """
    name, ids, output = node.input[0], node.input[1], node.output[0]
    rows = f"{output}/rows"
    values, grid = network.tensors[name], network.grids.get(name)

    def pick(stored: str, what: str) -> str:
        return editor.node("Gather", [stored, ids], f"{rows}/{what}", axis=0)

    if grid is None:
        half = editor.constant(f"{name}/half", halves(name, network))
        editor.node("Cast", [pick(half, "half")], output, to=TensorProto.FLOAT)
        return

    def own(part: np.ndarray, what: str) -> str:
        """A scale or zero point for every picked value."""
        if not part.ndim:
            return editor.constant(f"{name}/{what}", part)
        picked = pick(editor.constant(f"{name}/{what}", part.reshape(len(part), -1)), what)
        if not grid.group:
            return picked
        block = editor.constant(f"{name}/{what}_block", np.arange(values.shape[1]) // grid.group)
        return editor.node("Gather", [picked, block], f"{rows}/{what}_spread", axis=-1)

    narrow, wide = (ml_dtypes.int4, np.int8) if grid.symmetric else (ml_dtypes.uint4, np.uint8)
    q = editor.constant(f"{name}/q", quantize(values, grid).numpy().astype(narrow if grid.bits <= 4 else wide))
    if grid.bits <= 4:
        q = editor.node("Cast", [q], f"{name}/wide", to=helper.np_dtype_to_tensor_dtype(np.dtype(wide)))
    q = pick(q, "q")
    if grid.levels is not None:
        whole = _looked_up(editor, q, grid, rows)
    else:
        whole = editor.node("Cast", [q], f"{rows}/whole", to=TensorProto.FLOAT)
        if grid.affine:
            zero = own(grid.zero_point.numpy().astype(np.uint8), "zero_point")
            zero = editor.node("Cast", [zero], f"{rows}/zero_float", to=TensorProto.FLOAT)
            whole = editor.node("Sub", [whole, zero], f"{rows}/centred")
    editor.node("Mul", [whole, own(grid.scale.numpy(), "scale")], output)
