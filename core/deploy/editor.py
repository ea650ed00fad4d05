"""Collects the nodes and constants of one quantized ONNX graph."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from core.engine.grid import Grid, quantize


def _array(name: str, values: np.ndarray) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, order="C"), name)


class Editor:
    """A graph in the making; every method returns the name of the value it makes."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: list[TensorProto] = []

    def constant(self, name: str, values: np.ndarray) -> str:
        """An initialiser."""
        self.initialisers.append(_array(name, values))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """One operator with one output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], f"{output}/{kind}", **attributes))
        return output

    def round_activation(self, name: str, grid: Grid) -> str:
        """QuantizeLinear, a clip where fewer than 8 bits are used, DequantizeLinear."""
        scale = self.constant(f"{name}/scale", grid.scale.numpy())
        zero = self.constant(f"{name}/zero_point", grid.zero_point.numpy().astype(np.uint8))
        q = self.node("QuantizeLinear", [name, scale, zero], f"{name}/q")
        if grid.bits < 8:
            low = self.constant(f"{name}/low", np.array(grid.low, np.uint8))
            high = self.constant(f"{name}/high", np.array(grid.high, np.uint8))
            q = self.node("Clip", [q, low, high], f"{name}/clipped")
        return self.node("DequantizeLinear", [q, scale, zero], f"{name}/dq")

    def integer_weight(self, name: str, values: Tensor, grid: Grid, narrow: bool = False) -> str:
        """The weight as integers behind a DequantizeLinear: 8 bits each, 4 where `narrow` and they fit."""
        kind: Any = np.int8 if grid.symmetric else np.uint8
        if narrow and grid.bits <= 4:
            kind = ml_dtypes.int4 if grid.symmetric else ml_dtypes.uint4
        q = self.constant(f"{name}/q", quantize(values, grid).numpy().astype(kind))
        scale = self.constant(f"{name}/scale", grid.scale.numpy())
        zero = self.constant(f"{name}/zero_point", grid.zero_point.numpy().astype(kind))
        extra = {} if grid.axis is None else {"axis": grid.axis}
        return self.node("DequantizeLinear", [q, scale, zero], f"{name}/dq", **extra)

    def integer_bias(self, name: str, values: Tensor, inner: Grid, weight: Grid) -> str:
        """The bias as 32-bit integers on the grid of the accumulator: input scale times weight scale."""
        scale = inner.scale * weight.scale
        q = torch.round(values.double() / scale.double()).clamp(-(2**31), 2**31 - 1)
        stored = self.constant(f"{name}/q", q.numpy().astype(np.int32))
        scale_name = self.constant(f"{name}/scale", scale.numpy())
        zero = self.constant(f"{name}/zero_point", np.zeros(tuple(scale.shape), np.int32))
        extra = {} if weight.axis is None else {"axis": 0}
        return self.node("DequantizeLinear", [stored, scale_name, zero], f"{name}/dq", **extra)
