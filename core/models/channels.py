"""Which channels of a model must go together, and what of each tensor goes with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from core.models.blocks import bypassed
from core.models.channel_walk import BATCH, Ids, Shape, Walk, value_shapes

Edits = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Member:
    """One axis of a tensor on which a group lies: `channel[i]` of the group is at place `at[i]` of the axis.

    `makes` tells whether the tensor is a layer's weight and the axis that of its outputs.
    """

    tensor: str
    axis: int
    at: Ids
    channel: Ids
    makes: bool = False


@dataclass(frozen=True)
class Group:
    """Channels made by the same layers, each removed from all `members` at once or not at all.

    `outputs` are the weights that lose outputs (an embedding: columns), `inputs` those that lose inputs; `channels`
    numbers the channels within the whole model, in the order of the first weight's outputs. `whole` is '' or why
    they must all stay.
    """

    outputs: tuple[str, ...]
    inputs: tuple[str, ...]
    channels: Ids
    members: tuple[Member, ...]
    whole: str = ""

    @property
    def size(self) -> int:
        """Number of channels."""
        return len(self.channels)


@dataclass(frozen=True)
class Cut:
    """What is left: by tensor the axes with the places that stay on them, and the edits of the structure."""

    kept: Mapping[str, tuple[tuple[int, Ids], ...]]
    edits: Edits


@dataclass(frozen=True)
class Dependencies:
    """The groups of a model in the order they run; `places` holds the channel of each place of a tensor's axis."""

    groups: tuple[Group, ...]
    places: Mapping[tuple[str, int], Ids]
    depthwise: Mapping[str, Ids]
    views: Mapping[str, tuple[list[int], int, Ids]]

    def without(self, channels: Ids) -> Cut:
        """The cut that removes these channels, of groups that need not stay whole."""
        kept: dict[str, list[tuple[int, Ids]]] = {}
        for (tensor, axis), held in self.places.items():
            stays = ~np.isin(held, channels)
            if not stays.all():
                kept.setdefault(tensor, []).append((axis, np.flatnonzero(stays)))
        edits: dict[str, tuple[int, ...]] = {}
        for weight, held in self.depthwise.items():
            left = int((~np.isin(held, channels)).sum())
            if left < len(held):
                edits[weight] = (left,)
        for name, (target, axis, held) in self.views.items():
            left = int((~np.isin(held, channels)).sum())
            if left < len(held) and target[axis] != -1:
                edits[name] = tuple(left if i == axis else length for i, length in enumerate(target))
        return Cut({name: tuple(axes) for name, axes in kept.items()}, tuple(sorted(edits.items())))


def dependencies(structure: onnx.ModelProto, shapes: Mapping[str, Shape]) -> Dependencies:
    """Follow every channel of a canonical structure whose tensors have these `shapes`.

    Residual sums, gates, norms, pooling, concatenation, flattening, depthwise and grouped convolutions are followed;
    what reaches another operator, the model's input or its outputs stays whole. See `Walk`.
    """
    from scipy.sparse import coo_array  # a tenth of a second, wanted here alone
    from scipy.sparse.csgraph import connected_components

    walk = Walk(structure, shapes)
    ends = [np.concatenate([pair[i] for pair in walk.pairs]) if walk.pairs else np.zeros(0, int) for i in (0, 1)]
    links = coo_array((np.ones(len(ends[0]), bool), (ends[0], ends[1])), shape=(walk.count, walk.count))
    label = connected_components(links, directed=False)[1].astype(np.int64) if walk.count else np.zeros(0, np.int64)
    places = {place: label[ids] for place, ids in walk.places.items()}
    whole: dict[int, str] = {}
    for ids, why in walk.frozen:
        for one in np.unique(label[ids]).tolist():
            whole.setdefault(one, why)
    return Dependencies(
        _groups(places, walk.makers, whole),
        places,
        {weight: label[ids] for weight, ids in walk.depthwise.items()},
        {name: (target, axis, label[ids]) for name, (target, axis, ids) in walk.views.items()},
    )


def _groups(
    places: Mapping[tuple[str, int], Ids], outputs: Mapping[str, int], whole: dict[int, str]
) -> tuple[Group, ...]:
    makers: dict[int, list[str]] = {}
    for weight, axis in outputs.items():
        for one in dict.fromkeys(places[weight, axis].tolist()):
            makers.setdefault(one, []).append(weight)
    alike: dict[tuple[tuple[str, ...], str], list[int]] = {}
    for one, made_by in makers.items():
        alike.setdefault((tuple(made_by), whole.get(one, "")), []).append(one)
    of = {one: (number, i) for number, ones in enumerate(alike.values()) for i, one in enumerate(ones)}
    members: list[list[Member]] = [[] for _ in alike]
    for (tensor, axis), held in places.items():
        found: dict[int, list[tuple[int, int]]] = {}
        for at, one in enumerate(held.tolist()):
            if one in of:
                number, channel = of[one]
                found.setdefault(number, []).append((at, channel))
        for number, pairs in found.items():
            at_, channel_ = np.array(pairs, np.int64).T
            members[number].append(Member(tensor, axis, at_, channel_, outputs.get(tensor) == axis))
    return tuple(
        Group(
            made_by,
            tuple(m.tensor for m in parts if m.axis == 1 and m.tensor in outputs and not m.makes),
            np.array(ones, np.int64),
            tuple(parts),
            why,
        )
        for ((made_by, why), ones), parts in zip(alike.items(), members, strict=True)
    )


def edited(structure: onnx.ModelProto, edits: Edits) -> onnx.ModelProto:
    """The structure with the numbers of channels that it states itself put right.

    An edit names a convolution's weight and gives its `group`, or a Reshape's output and gives its target; or it
    names the output of a residual sum whose block is gone, and gives the place of the input that is left of it.
    """
    if not edits:
        return structure
    proto, wanted = onnx.ModelProto(), dict(edits)
    proto.CopyFrom(structure)
    for node in proto.graph.node:
        if node.op_type == "Conv" and node.input[1] in wanted:
            next(a for a in node.attribute if a.name == "group").i = wanted[node.input[1]][0]
        elif node.op_type == "Reshape" and node.output[0] in wanted:
            name = f"{node.output[0]}/target"
            values = np.array(wanted[node.output[0]], np.int64)
            old = [t for t in proto.graph.initializer if t.name == name]
            for tensor in old:
                proto.graph.initializer.remove(tensor)
            proto.graph.initializer.append(numpy_helper.from_array(values, name))
            node.input[1] = name
    sums = {node.output[0] for node in proto.graph.node if node.op_type == "Add"} & wanted.keys()
    return bypassed(proto, {name: wanted[name][0] for name in sums}) if sums else proto


def multiply_adds(structure: onnx.ModelProto, shapes: Mapping[str, Shape]) -> int:
    """Multiply-adds of every layer for one example, from shapes alone."""
    seen, total = value_shapes(structure, shapes), 0
    turned = {n.output[0]: n.input[0] for n in structure.graph.node if n.op_type == "Transpose"}
    for node in structure.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            weight = turned.get(node.input[1], node.input[1])
            if weight in shapes and node.output[0] in seen:
                total += int(np.prod(seen[node.output[0]]) // BATCH * np.prod(shapes[weight][1:]))
    return total
