"""An ONNX graph as a PyTorch module: one function an operator, tensors under their own names.

What Temper computes on is an ONNX graph; PyTorch's own formats, and whoever wants gradients, come through here.
Rounding is that of ONNX: half to even.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from torch import Tensor, nn

from core.errors import TemperError

Attributes = dict[str, Any]
Operator = Callable[..., Any]
INTEGERS = {np.dtype(np.int8): (-128, 127), np.dtype(np.uint8): (0, 255), np.dtype(np.int32): (-(2**31), 2**31 - 1)}


class GraphModule(nn.Module):
    """The graph of an ONNX model. Float constants of two values or more are parameters, the others buffers.

    `forward(x (N, ...))` returns the graph's one output, or a tuple of its outputs.
    """

    def __init__(self, proto: onnx.ModelProto) -> None:
        super().__init__()
        self.entry = proto.graph.input[0].name
        self.exits = [output.name for output in proto.graph.output]
        self.places: dict[str, str] = {}
        self.fixed: dict[str, Any] = {}  # whole numbers that operators take as arguments
        for tensor in proto.graph.initializer:
            self._hold(tensor)
        self.steps = [(n.op_type, list(n.input), list(n.output), _attributes(n)) for n in proto.graph.node]
        unknown = sorted({kind for kind, *_ in self.steps} - set(OPERATORS))
        if unknown:
            raise TemperError(f"PyTorch's format lacks the operators {', '.join(unknown[:5])} of this model here.")

        last = {name: place for place, (_, inputs, _, _) in enumerate(self.steps) for name in inputs}
        self.done: list[list[str]] = [[] for _ in self.steps]  # what nobody reads after a step
        for name, place in last.items():
            if name not in self.exits:
                self.done[place].append(name)

    def _hold(self, tensor: onnx.TensorProto) -> None:
        array = numpy_helper.to_array(tensor)
        brain = tensor.data_type == onnx.TensorProto.BFLOAT16  # NumPy holds it as a type of its own
        array = array.astype(np.float32) if brain else array
        if array.dtype == np.int64:
            self.fixed[tensor.name] = array.tolist()  # a number or a list, never a tensor to be traced
        if array.dtype.kind not in "fiub" or array.dtype.itemsize == 0:
            array = array.astype(np.int8)  # four-bit integers, a type of their own in NumPy
        value = torch.from_numpy(np.array(array))
        value = value.bfloat16() if brain else value
        owner: nn.Module = self
        *names, leaf = tensor.name.replace("/", "_").replace(":", "_").strip(".").split(".")
        path = []
        for part in names:
            part = part or "_"
            while part not in owner._modules and hasattr(owner, part):  # a module's own attribute
                part += "_"
            if part not in owner._modules:
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
            path.append(part)
        while hasattr(owner, leaf):
            leaf += "_"
        if value.is_floating_point() and value.numel() > 1:
            owner.register_parameter(leaf, nn.Parameter(value, requires_grad=False))
        else:
            owner.register_buffer(leaf, value)
        self.places[tensor.name] = ".".join([*path, leaf])

    def _held(self, name: str) -> Tensor:
        owner_name, _, leaf = self.places[name].rpartition(".")
        found: Tensor = getattr(self.get_submodule(owner_name), leaf)
        return found

    def compute(self, kind: str, attributes: Attributes, names: list[str], given: list[Any]) -> Any:
        """What a node makes of what it is given; `names` are those of its inputs."""
        return OPERATORS[kind](attributes, *given)

    def forward(self, x: Tensor) -> Any:
        """See the class."""
        values: dict[str, Any] = {self.entry: x}
        for place_, (kind, inputs, outputs, attributes) in enumerate(self.steps):
            given: list[Any] = []
            for place, name in enumerate(inputs):
                number = self.fixed.get(name)
                if number is not None and ((place and kind in LISTS) or kind == "Concat" or isinstance(number, int)):
                    given.append(number)
                elif not name:
                    given.append(None)
                else:
                    given.append(values[name] if name in values else self._held(name))
            made = self.compute(kind, attributes, inputs, given)
            made = made.to(x.device) if kind == "ConstantOfShape" and made.device != x.device else made
            for name, value in zip(outputs, made if isinstance(made, tuple) else [made], strict=False):
                values[name] = value
            for name in self.done[place_]:
                values.pop(name, None)
        found = tuple(values[name] for name in self.exits)
        return found[0] if len(found) == 1 else found


def _attributes(node: onnx.NodeProto) -> Attributes:
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in found.items()}


def _padded(x: Tensor, a: Attributes, kernel: list[int], value: float) -> tuple[Tensor, list[int]]:
    """The input padded where PyTorch cannot do so itself, and the padding it can do."""
    rank = x.ndim - 2
    pads = list(a.get("pads", [0] * 2 * rank))
    if a.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        strides, dilations = a.get("strides", [1] * rank), a.get("dilations", [1] * rank)
        pads = [0] * 2 * rank
        for i in range(rank):
            reach = (kernel[i] - 1) * dilations[i] + 1
            size = int(x.shape[2 + i])
            total = max((-(-size // strides[i]) - 1) * strides[i] + reach - size, 0)
            before = total // 2 if a["auto_pad"] == "SAME_UPPER" else total - total // 2
            pads[i], pads[rank + i] = before, total - before
    if pads[:rank] == pads[rank:]:
        return x, pads[:rank]
    sides = [side for i in reversed(range(rank)) for side in (pads[i], pads[rank + i])]
    return F.pad(x, sides, value=value), [0] * rank


def _conv(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    rank = weight.ndim - 2
    x, padding = _padded(x, a, list(weight.shape[2:]), 0.0)
    call: Any = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
    strides, dilations = a.get("strides", [1] * rank), a.get("dilations", [1] * rank)
    return call(x, weight, bias, strides, padding, dilations, a.get("group", 1))


def _gemm(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    x = x.T if a.get("transA") else x
    made = F.linear(x, weight) if a.get("transB") else x @ weight
    made = made * a["alpha"] if a.get("alpha", 1.0) != 1.0 else made
    return made if bias is None else made + bias * a.get("beta", 1.0)


def _max_pool(a: Attributes, x: Tensor) -> Tensor:
    kernel = a["kernel_shape"]
    x, padding = _padded(x, a, kernel, float("-inf"))
    rank = len(kernel)
    call: Any = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[rank - 1]
    strides, dilations = a.get("strides", [1] * rank), a.get("dilations", [1] * rank)
    return call(x, kernel, strides, padding, dilations, bool(a.get("ceil_mode", 0)))


def _average_pool(a: Attributes, x: Tensor) -> Tensor:
    kernel = a["kernel_shape"]
    counted = bool(a.get("count_include_pad", 0))
    x, padding = _padded(x, a, kernel, 0.0)
    rank = len(kernel)
    call: Any = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[rank - 1]
    return call(x, kernel, a.get("strides", [1] * rank), padding, bool(a.get("ceil_mode", 0)), counted)


def _norm(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, a.get("epsilon", 1e-5))


def _layer_norm(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.layer_norm(x, list(x.shape[a.get("axis", -1) :]), weight, bias, a.get("epsilon", 1e-5))


def _reduce(call: Callable[..., Tensor]) -> Operator:
    def reduced(a: Attributes, x: Tensor, axes: list[int] | None = None) -> Tensor:
        over = axes if axes is not None else a.get("axes") or list(range(x.ndim))
        return call(x, dim=list(over), keepdim=bool(a.get("keepdims", 1)))

    return reduced


def _reshape(a: Attributes, x: Tensor, shape: Any) -> Tensor:
    target = shape.tolist() if isinstance(shape, Tensor) else list(shape)
    kept = [x.shape[i] if length == 0 and not a.get("allowzero") else length for i, length in enumerate(target)]
    return x.reshape(kept)


def _flatten(a: Attributes, x: Tensor) -> Tensor:
    return torch.flatten(x, 1) if a.get("axis", 1) == 1 else x.reshape(int(np.prod(x.shape[: a["axis"]])), -1)


def _slice(_: Attributes, x: Tensor, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Tensor:
    begins, stops = list(starts), list(ends)
    for i, axis in enumerate(axes if axes is not None else range(len(begins))):
        step = steps[i] if steps is not None else 1
        place = [slice(None)] * x.ndim
        place[axis] = slice(begins[i], None if abs(stops[i]) >= 2**31 - 1 else stops[i], step)
        x = x.flip(axis)[tuple(place[:axis])] if step < 0 else x[tuple(place)]
    return x


def _gather(a: Attributes, x: Any, places: Any) -> Any:
    axis = a.get("axis", 0)
    if isinstance(x, list):  # a shape
        return x[places] if isinstance(places, int) else [x[int(place)] for place in places]
    if isinstance(places, int):
        return x.select(axis, places)
    flat = x.index_select(axis, torch.where(places < 0, places + x.shape[axis], places).reshape(-1))
    return flat.reshape(*x.shape[:axis], *places.shape, *x.shape[axis:][1:])


def _squeeze(a: Attributes, x: Tensor, axes: Any = None) -> Tensor:
    over = axes if axes is not None else a.get("axes")
    return x.squeeze() if over is None else x.squeeze(tuple(over))


def _unsqueeze(a: Attributes, x: Any, axes: Any = None) -> Any:
    if not isinstance(x, Tensor):  # a length of a shape
        return [x]
    for axis in sorted(axes if axes is not None else a["axes"]):
        x = x.unsqueeze(axis)
    return x


def _split(a: Attributes, x: Tensor, sizes: Any = None) -> tuple[Tensor, ...]:
    axis = a.get("axis", 0)
    sizes = sizes if sizes is not None else a.get("split")
    if sizes is None:
        return torch.chunk(x, int(a.get("num_outputs", 2)), axis)
    return torch.split(x, list(sizes), axis)


def _pad(a: Attributes, x: Tensor, pads: Any = None, value: Any = None, axes: Any = None) -> Tensor:
    sides = list(pads if pads is not None else a["pads"])
    half = len(sides) // 2
    over = [axis % x.ndim for axis in (axes if axes is not None else range(half))]
    by_axis = {axis: (sides[i], sides[half + i]) for i, axis in enumerate(over)}
    flat = [side for axis in reversed(range(x.ndim)) for side in by_axis.get(axis, (0, 0))]
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}[a.get("mode", "constant")]
    return F.pad(x, flat, mode, float(value) if value is not None and mode == "constant" else None)


def _along(values: Tensor, rank: int, axis: int) -> Tensor:
    if values.ndim == 0:
        return values
    shape = [1] * rank
    shape[axis] = -1
    return values.reshape(shape)


def _quantize(a: Attributes, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    axis = a.get("axis", 1)
    kind = torch.uint8 if zero is None else zero.dtype
    low, high = (0, 255) if kind == torch.uint8 else (-128, 127)
    shifted = torch.round(x / _along(scale, x.ndim, axis))
    if zero is not None:
        shifted = shifted + _along(zero.float(), x.ndim, axis)
    return shifted.clamp(low, high).to(kind)


def _dequantize(a: Attributes, q: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    axis = a.get("axis", 1)
    values = q.to(torch.int32)
    if zero is not None:
        values = values - _along(zero.to(torch.int32), q.ndim, axis)
    return values.float() * _along(scale, q.ndim, axis)


def _clip(a: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    smallest = low if low is not None else a.get("min")
    largest = high if high is not None else a.get("max")
    return torch.clamp(x, smallest, largest)


def _expand(_: Attributes, x: Tensor, shape: Any) -> Tensor:
    target = [int(v) if not isinstance(v, torch.SymInt) else v for v in shape]
    lengths = [1] * (len(target) - x.ndim) + list(x.shape)
    wanted = [length if want == 1 else want for length, want in zip(lengths, target, strict=True)]
    return x.expand(wanted)


def _constant_of_shape(a: Attributes, shape: Any) -> Tensor:
    value = numpy_helper.to_array(a["value"]) if "value" in a else np.zeros(1, np.float32)
    target = shape.tolist() if isinstance(shape, Tensor) else list(shape)
    return torch.full(target, value.item(), dtype=torch.from_numpy(np.array(value)).dtype)


def _cast(a: Attributes, x: Any) -> Tensor:
    kind = torch.from_numpy(np.zeros(0, helper.tensor_dtype_to_np_dtype(a["to"]))).dtype
    made: Tensor = x.to(kind)
    return made


def _shape(a: Attributes, x: Tensor) -> Any:
    return list(x.shape)[a.get("start", 0) : a.get("end")]


def _concat(a: Attributes, *parts: Any) -> Any:
    if any(isinstance(part, list | int | torch.SymInt) for part in parts):  # a shape in the making
        flat = [p.reshape(-1).tolist() if isinstance(p, Tensor) else p if isinstance(p, list) else [p] for p in parts]
        return [length for part in flat for length in part]
    return torch.cat(parts, a["axis"])


def _power(_: Attributes, x: Tensor, y: Tensor) -> Tensor:
    return x * x if y.numel() == 1 and float(y) == 2 else torch.pow(x, y)


def _plain(call: Callable[..., Any]) -> Operator:
    return lambda _, *given: call(*given)


LISTS = {"Reshape", "Slice", "Squeeze", "Unsqueeze", "Expand", "Pad", "ReduceMean", "ReduceSum", "ReduceMax",
         "ReduceMin", "ReduceL2", "Split", "Tile"}  # fmt: skip
OPERATORS: dict[str, Operator] = {
    "Conv": _conv, "Gemm": _gemm, "MatMul": _plain(torch.matmul), "Add": _plain(torch.add), "Sub": _plain(torch.sub),
    "Mul": _plain(torch.mul), "Div": _plain(torch.div), "Pow": _power, "Sqrt": _plain(torch.sqrt),
    "Neg": _plain(torch.neg), "Abs": _plain(torch.abs), "Exp": _plain(torch.exp), "Log": _plain(torch.log),
    "Erf": _plain(torch.erf), "Relu": _plain(torch.relu), "Sigmoid": _plain(torch.sigmoid),
    "Tanh": _plain(torch.tanh), "Reciprocal": _plain(torch.reciprocal), "Min": _plain(torch.minimum),
    "Max": _plain(torch.maximum), "Where": _plain(torch.where), "Equal": _plain(torch.eq),
    "Greater": _plain(torch.gt), "GreaterOrEqual": _plain(torch.ge), "Less": _plain(torch.lt),
    "LessOrEqual": _plain(torch.le), "Not": _plain(torch.logical_not), "And": _plain(torch.logical_and),
    "Or": _plain(torch.logical_or), "Xor": _plain(torch.logical_xor), "CastLike": _plain(lambda x, y: x.to(y.dtype)),
    "Floor": _plain(torch.floor), "Round": _plain(torch.round), "Identity": _plain(lambda x: x),
    "HardSwish": _plain(F.hardswish), "Softplus": _plain(F.softplus), "Mish": _plain(F.mish),
    "PRelu": _plain(lambda x, w: torch.where(x < 0, x * w, x)),
    "Clip": _clip, "LeakyRelu": lambda a, x: F.leaky_relu(x, a.get("alpha", 0.01)),
    "Elu": lambda a, x: F.elu(x, a.get("alpha", 1.0)),
    "HardSigmoid": lambda a, x: torch.clamp(x * a.get("alpha", 0.2) + a.get("beta", 0.5), 0, 1),
    "Gelu": lambda a, x: F.gelu(x, approximate=a.get("approximate", "none")),
    "Softmax": lambda a, x: torch.softmax(x, a.get("axis", -1)),
    "LogSoftmax": lambda a, x: torch.log_softmax(x, a.get("axis", -1)),
    "BatchNormalization": _norm, "LayerNormalization": _layer_norm,
    "GlobalAveragePool": _plain(lambda x: x.mean(tuple(range(2, x.ndim)), keepdim=True)),
    "GlobalMaxPool": _plain(lambda x: x.amax(tuple(range(2, x.ndim)), keepdim=True)),
    "AveragePool": _average_pool, "MaxPool": _max_pool, "ReduceMean": _reduce(torch.mean),
    "ReduceSum": _reduce(torch.sum), "ReduceMax": _reduce(torch.amax), "ReduceMin": _reduce(torch.amin),
    "ReduceL2": _reduce(torch.linalg.vector_norm), "Flatten": _flatten, "Reshape": _reshape,
    "Transpose": lambda a, x: x.permute(a.get("perm") or list(reversed(range(x.ndim)))), "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze, "Concat": _concat, "Split": _split, "Slice": _slice, "Gather": _gather,
    "Expand": _expand, "Pad": _pad, "Cast": _cast, "Shape": _shape,
    "Einsum": lambda a, *given: torch.einsum(a["equation"], *given),
    "ConstantOfShape": _constant_of_shape,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
}  # fmt: skip
