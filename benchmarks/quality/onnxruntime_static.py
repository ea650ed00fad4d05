"""ONNX Runtime's static quantization: min-max, entropy and percentile ranges, weights per channel."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from benchmarks.quality.made import Made, Missing, Offer, Variant
from benchmarks.quality.rows import Row
from benchmarks.quality.sized import Stored, packed_bytes
from benchmarks.quality.subject import CHUNK, Subject
from core.data.handle import load_split
from core.deploy.graph import INPUT, assemble
from core.engine.network import load_network
from core.engine.runtime import session

LIBRARY = "ONNX Runtime static"
METHODS = {
    "min-max": (CalibrationMethod.MinMax, "the extremes of the activations"),
    "entropy": (CalibrationMethod.Entropy, "activation ranges of least Kullback-Leibler divergence"),
    "percentile": (CalibrationMethod.Percentile, "activation ranges that hold 99.999 % of the values"),
}
WEIGHTS = {8: QuantType.QInt8, 4: QuantType.QInt4}


class _Reader(CalibrationDataReader):
    def __init__(self, inputs: NDArray[np.float32], step: int = 64) -> None:
        self.parts: Iterator[NDArray[np.float32]] = iter(
            [inputs[start : start + step] for start in range(0, len(inputs), step)]
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next batch by the name of the graph's input, or None after the last."""
        part = next(self.parts, None)
        return None if part is None else {INPUT: part}


def _quantized(subject: Subject, row: Row, method: str) -> onnx.ModelProto:
    """The float graph of the model, batch-norm folded, as the library quantizes it."""
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
        given, made = Path(place) / "float.onnx", Path(place) / "quantized.onnx"
        onnx.save(assemble(load_network(subject.model)), given)
        quantize_static(
            given,
            made,
            _Reader(subject.inputs.numpy()),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=WEIGHTS[row.weight_bits],
            activation_type=QuantType.QUInt8,
            calibrate_method=METHODS[method][0],
        )
        return onnx.load(made)


def _bytes(subject: Subject, proto: onnx.ModelProto, bits: int) -> tuple[int, tuple[str, ...]]:
    """Packed bytes, and the layers whose weights are not on a grid of these bits.

    A bias in 32-bit integers takes what a float does; its scale follows from the others and is not counted.
    """
    held = {one.name: numpy_helper.to_array(one) for one in proto.graph.initializer}
    weights: list[Stored] = []
    used: set[str] = set()
    coarse, other, grids = [], 0, set()
    for node in proto.graph.node:
        if node.op_type == "QuantizeLinear":
            grids.add(tuple(node.input[1:]))
            used |= set(node.input[1:])
        if node.op_type != "DequantizeLinear" or node.input[0] not in held:
            used |= set(node.input[1:]) if node.op_type == "DequantizeLinear" else set()
            continue
        values, scale = held[node.input[0]], held[node.input[1]]
        zero = held[node.input[2]] if len(node.input) > 2 else np.zeros(1, np.int8)
        used |= set(node.input)
        if values.dtype == np.int32:
            other += values.size
            continue
        stored_bits = 4 if held[node.input[0]].dtype.itemsize == 1 and "int4" in str(values.dtype) else 8
        if stored_bits != bits:
            coarse.append(node.input[0].removesuffix(".weight_quantized"))
        shape = (-1, *[1] * (values.ndim - 1)) if zero.size > 1 else (1,) * values.ndim
        zero_points = zero.astype(np.int32).reshape(shape)
        shifted = zero.size if zero_points.any() else 0
        weights.append(Stored(values.astype(np.int32) != zero_points, stored_bits, scale.size, shifted))
    floats = [name for name in held if name not in used and held[name].dtype == np.float32]
    left = [layer.name for layer in load_network(subject.model).layers if layer.weight in floats]
    other += sum(held[name].size for name in floats)
    return packed_bytes(weights, other, len(grids)), tuple([*left, *coarse])


def offers(row: Row, subject: Subject) -> list[Offer]:
    """What the library can do for a row."""
    if row.prunes:
        return [Missing(LIBRARY, "it does not prune")]
    if row.activation_bits == 32:
        return [Missing(LIBRARY, "static quantization always rounds activations too")]

    def make(method: str) -> Made:
        proto = _quantized(subject, row, method)
        opened, inputs = session(proto), load_split(subject.data, "evaluation").inputs
        parts = [opened.run(None, {INPUT: inputs[at : at + CHUNK]})[0] for at in range(0, len(inputs), CHUNK)]
        size, left = _bytes(subject, proto, row.weight_bits)
        note = f"{', '.join(left)} not in {row.weight_bits} bits" if left else ""
        return Made(np.concatenate(parts), size, not left, note)

    return [Variant(LIBRARY, name, how, lambda name=name: make(name)) for name, (_, how) in METHODS.items()]
