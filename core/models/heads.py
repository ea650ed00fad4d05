"""Attention heads that can leave a graph one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from core.models.channel_walk import Ids, Shape, attribute, value_shapes
from core.models.channels import Cut

THROUGH = {"Add", "Sub", "Mul", "Div", "Where", "Cast", "Identity"}  # between the product of q and k and its softmax


@dataclass(frozen=True)
class Attention:
    """One attention: `inputs` are the weights of queries, keys and values, `output` that of what mixes the heads.

    `parts` are the tensors and axes, of `heads * width` places, that hold the heads one after another; `views` the
    targets of the reshapes that state them, with the axis and the places a head takes there.
    """

    inputs: tuple[str, ...]
    output: str
    heads: int
    width: int
    parts: tuple[tuple[str, int], ...]
    views: tuple[tuple[str, tuple[int, ...], int, int], ...]

    def without(self, gone: Ids) -> Cut:
        """The cut that removes these heads, some of `range(heads)` and not all."""
        kept = np.flatnonzero(~np.isin(np.repeat(np.arange(self.heads), self.width), gone))
        left = self.heads - len(gone)
        edits = [
            (name, tuple(left * size if i == axis else length for i, length in enumerate(target)))
            for name, target, axis, size in self.views
            if target[axis] != -1
        ]
        held: dict[str, tuple[tuple[int, Ids], ...]] = {tensor: ((axis, kept),) for tensor, axis in self.parts}
        return Cut(held, tuple(edits))


def attentions(structure: onnx.ModelProto, shapes: Mapping[str, Shape]) -> tuple[Attention, ...]:
    """The attentions of a canonical structure whose tensors have these `shapes`, in the order they run.

    Found are those of queries, keys and values that a layer each makes, split into `(N, positions, heads, width)` by
    a reshape, and mixed by one layer. Packed projections and heads that share keys are not.
    """
    walk = _Graph(structure, shapes)
    found = (walk.attention(node) for node in structure.graph.node if node.op_type == "MatMul")
    return tuple(one for one in found if one is not None)


@dataclass(frozen=True)
class _Split:
    """What one operand of attention's products comes from."""

    weight: str
    parts: tuple[tuple[str, int], ...]
    view: tuple[str, tuple[int, ...], int, int]
    heads: int
    width: int


class _Graph:
    """Looks from node to node."""

    def __init__(self, structure: onnx.ModelProto, shapes: Mapping[str, Shape]) -> None:
        self.tensors, self.shapes = shapes, value_shapes(structure, shapes)
        nodes = structure.graph.node
        self.made = {name: node for node in nodes for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.turned = {n.output[0]: n.input[0] for n in nodes if n.op_type == "Transpose" and n.input[0] in shapes}
        self.small = {t.name: t for t in structure.graph.initializer}

    def attention(self, node: onnx.NodeProto) -> Attention | None:
        """The attention whose heads' outputs a product of two activations makes, or None."""
        softmax = self.made.get(node.input[0])
        scores = self._product(softmax.input[0]) if softmax is not None and softmax.op_type == "Softmax" else None
        if scores is None or len(self.shapes.get(node.output[0], ())) != 4:
            return None
        splits = [self._split(name) for name in (*scores.input, node.input[1])]
        after = self._joined(node)
        if after is None or any(one is None for one in splits):
            return None
        output, view = after
        first, *others = [one for one in splits if one is not None]
        heads, width = first.heads, first.width
        fits = all((one.heads, one.width) == (heads, width) for one in others)
        if not fits or self.tensors[output][1] != heads * width:
            return None
        parts = (*(part for one in (first, *others) for part in one.parts), (output, 1))
        views = (*(one.view for one in (first, *others)), (*view, width))
        names = tuple(one.weight for one in (first, *others))
        return Attention(names, output, heads, width, parts, views) if len(set(names)) == 3 else None

    def _constant(self, name: str) -> bool:
        return name in self.tensors or name in self.small or name in self.turned

    def _single(self, name: str) -> bool:
        return len(self.readers.get(name, ())) == 1

    def _product(self, name: str) -> onnx.NodeProto | None:
        """The product of queries and keys behind the softmax; what meets it on the way is the same for every head."""
        node = self.made.get(name)
        if node is None or not self._single(name) or len(self.shapes.get(name, ())) != 4:
            return None
        if node.op_type == "MatMul":
            return None if any(self._constant(one) for one in node.input) else node
        if node.op_type not in THROUGH:
            return None
        shape, found = self.shapes[name], None
        for one in node.input:
            own = self.shapes.get(one, shape)
            further = self._product(one) if own == shape and not self._constant(one) else None
            if further is not None:
                found = further
            elif len(own) > 2 and own[-3] != 1:
                return None
        return found

    def _split(self, name: str) -> _Split | None:
        """Back from an operand `(N, heads, ., .)` to the layer that makes it."""
        axis = 1
        while (node := self.made.get(name)) is not None and self._single(name):
            if node.op_type == "Transpose":
                axis = list(attribute(node, "perm", range(4)[::-1]))[axis]
            elif node.op_type == "Reshape":
                return self._view(node) if axis == 2 else None
            elif node.op_type not in ("Mul", "Div") or not self._scalar(node.input[1]):
                return None
            name = node.input[0]
        return None

    def _scalar(self, name: str) -> bool:
        return self._constant(name) and int(np.prod(self.shapes.get(name, (2,)))) == 1

    def _view(self, node: onnx.NodeProto) -> _Split | None:
        """The layer whose outputs a reshape splits into heads."""
        given, wanted = self.shapes.get(node.input[0], ()), self.shapes.get(node.output[0], ())
        target = self._target(node)
        if len(wanted) != 4 or given != (*wanted[:2], wanted[2] * wanted[3]) or target is None:
            return None
        name, parts = node.input[0], []
        while (made := self.made.get(name)) is not None and self._single(name):
            if made.op_type == "Add":
                bias = [one for one in made.input if one in self.tensors and self.tensors[one] == given[-1:]]
                rest = [one for one in made.input if one not in bias]
                if len(bias) != 1:
                    return None
                parts.append((bias[0], 0))
                name = rest[0]
            else:
                weight = self.turned.get(made.input[1], "") if made.op_type == "MatMul" else ""
                if not weight:
                    return None
                view = (node.output[0], target, 2, 1)
                return _Split(weight, ((weight, 0), *parts), view, wanted[2], wanted[3])
        return None

    def _joined(self, node: onnx.NodeProto) -> tuple[str, tuple[str, tuple[int, ...], int]] | None:
        """On from the heads' outputs to the layer that mixes them: its weight and the reshape that joins them."""
        steps = []
        for _ in range(3):
            if not self._single(node.output[0]):
                return None
            node = self.readers[node.output[0]][0]
            steps.append(node)
        turn, view, mix = steps
        if (turn.op_type, view.op_type, mix.op_type) != ("Transpose", "Reshape", "MatMul"):
            return None
        weight, target = self.turned.get(mix.input[1], ""), self._target(view)
        before, after = (self.shapes.get(one, ()) for one in (turn.output[0], view.output[0]))
        joined = list(attribute(turn, "perm", ())) == [0, 2, 1, 3] and after == (*before[:2], before[2] * before[3])
        return (weight, (view.output[0], target, 2)) if joined and weight and target is not None else None

    def _target(self, node: onnx.NodeProto) -> tuple[int, ...] | None:
        if node.input[1] not in self.small:
            return None
        return tuple(int(length) for length in numpy_helper.to_array(self.small[node.input[1]]))
