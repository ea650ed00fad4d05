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

AXES_GIVEN = 18  # the operator version from which ReduceMax and ReduceMin take their axes as an input


def _array(name: str, values: np.ndarray) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, order="C"), name)


class Editor:
    """A graph in the making; every method returns the name of the value it makes."""

    def __init__(self, version: int) -> None:
        self.version = version  # of the operators
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

    def held(self, name: str, output: str) -> str:
        """The same values, behind a Clip that clips nothing, for a layer whose weights are float.

        ONNX Runtime's WeightBiasQuantization rounds a layer's float weights to 8 bits where it reads a
        DequantizeLinear and a QuantizeLinear follows; a Clip in between keeps them as they are, in any runtime.
        """
        ends = (np.finfo(np.float32).min, np.finfo(np.float32).max)
        low, high = (
            self.constant(f"{output}/{end}", np.array(value, np.float32))
            for end, value in zip(("least", "most"), ends, strict=True)
        )
        return self.node("Clip", [name, low, high], f"{output}/held")

    def round_dynamically(self, name: str, bits: int) -> str:
        """Each example on a grid of its own extremes, as DynamicQuantizeLinear has it for a tensor of one example.

        Plain operators over all axes but the first, so that no prediction depends on its company.
        """

        def number(what: str, value: float) -> str:
            return self.constant(f"{name}/{what}", np.array(value, np.float32))

        nothing, one, top = number("nothing", 0), number("one", 1), number("top", 2**bits - 1)
        flat = self.node("Flatten", [name], f"{name}/flat", axis=1)
        largest = self.node("Max", [self._extreme("ReduceMax", flat, f"{name}/largest"), nothing], f"{name}/high")
        least = self.node("Min", [self._extreme("ReduceMin", flat, f"{name}/least"), nothing], f"{name}/low")
        step = self.node("Div", [self.node("Sub", [largest, least], f"{name}/width"), top], f"{name}/step")
        moves = self.node("Greater", [step, nothing], f"{name}/moves")
        scale = self.node("Where", [moves, step, one], f"{name}/scale")
        shift = self.node("Div", [self.node("Neg", [least], f"{name}/below"), scale], f"{name}/shift")
        zero = self.node("Round", [shift], f"{name}/zero_point")
        level = self.node("Round", [self.node("Div", [flat, scale], f"{name}/scaled")], f"{name}/level")
        moved = self.node("Add", [level, zero], f"{name}/moved")
        q = self.node("Clip", [moved, nothing, top], f"{name}/q")
        rounded = self.node("Mul", [self.node("Sub", [q, zero], f"{name}/centred"), scale], f"{name}/rounded")
        shape = self.node("Shape", [name], f"{name}/shape")
        return self.node("Reshape", [rounded, shape], f"{name}/dynamic")

    def _extreme(self, kind: str, flat: str, output: str) -> str:
        """A row's largest or least value; from operator version 18 on the axes are an input."""
        if self.version < AXES_GIVEN:
            return self.node(kind, [flat], output, axes=[1], keepdims=1)
        return self.node(kind, [flat, self.constant(f"{output}_axes", np.array([1], np.int64))], output, keepdims=1)

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
