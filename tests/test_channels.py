"""Which channels go together: small graphs with known answers, what removing them computes, an independent judge."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch_pruning
import torchvision
from torch import nn
from torch.nn import functional

from core.models.channels import dependencies, edited, multiply_adds
from core.models.export import exported
from core.models.graph import Graph, graph_of
from core.models.handle import graph_of_model
from core.models.samples import load_sample
from core.models.simplify import runner

SHAPE = (3, 16, 16)


def alive(module: nn.Module) -> nn.Module:
    """The module in evaluation mode, its norms as training would have left them: none of them does nothing."""
    generator = torch.Generator().manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight, norm.running_var):
                tensor.data.copy_(torch.rand(len(tensor), generator=generator) + 0.5)
            for tensor in (norm.bias, norm.running_mean):
                tensor.data.copy_(torch.rand(len(tensor), generator=generator) - 0.5)
    return module.eval().requires_grad_(False)


def graph(module: nn.Module, shape: tuple[int, ...] = SHAPE) -> Graph:
    return graph_of(exported(alive(module), torch.zeros(1, *shape)))


def groups(of: Graph) -> dict[tuple[str, ...], tuple[set[str], int, str]]:
    """By the layers that lose outputs: those that lose inputs, the number of channels, why they stay."""
    found = dependencies(of.structure, of.shapes).groups
    return {tuple(map(layer, g.outputs)): ({layer(i) for i in g.inputs}, g.size, g.whole) for g in found}


def layer(weight: str) -> str:
    return weight.removesuffix(".weight")


class Net(nn.Module):
    """Layers by name and how they are put together."""

    def __init__(self, forward, **layers: nn.Module):
        super().__init__()
        for name, one in layers.items():
            self.add_module(name, one)
        self.way = forward

    def forward(self, x):
        return self.way(self, x)


def conv(a: int, b: int, size: int = 3, **more) -> nn.Conv2d:
    return nn.Conv2d(a, b, size, padding=size // 2, **more)


def pooled(x):
    return functional.adaptive_avg_pool2d(x, 1).flatten(1)


def chain():
    return Net(
        lambda m, x: m.head(pooled(m.b(functional.relu(m.norm(m.a(x)))))),
        a=conv(3, 6), norm=nn.BatchNorm2d(6), b=conv(6, 8), head=nn.Linear(8, 4),
    )  # fmt: skip


def residual():
    def way(m, x):
        first = functional.relu(m.a(x))
        return m.head(pooled(m.c(functional.relu(m.b(first))) + first))

    return Net(way, a=conv(3, 8), b=conv(8, 5), c=conv(5, 8), head=nn.Linear(8, 4))


def joined():
    def way(m, x):
        return m.head(pooled(m.c(torch.cat([m.a(x), m.b(x)], 1))))

    return Net(way, a=conv(3, 4), b=conv(3, 6), c=conv(10, 5), head=nn.Linear(5, 4))


def depthwise():
    def way(m, x):
        return m.head(pooled(m.c(functional.relu6(m.norm(m.b(functional.relu6(m.a(x))))))))

    return Net(
        way, a=conv(3, 8), b=conv(8, 8, groups=8, bias=False), norm=nn.BatchNorm2d(8), c=conv(8, 6, 1),
        head=nn.Linear(6, 4),
    )  # fmt: skip


def multiplied():
    return Net(
        lambda m, x: m.head(pooled(m.b(m.a(x)))), a=conv(3, 4), b=conv(4, 8, groups=4), head=nn.Linear(8, 4)
    )  # fmt: skip


def flat():
    return Net(
        lambda m, x: m.head(functional.relu(m.b(functional.max_pool2d(m.a(x), 4).flatten(1)))),
        a=conv(3, 5), b=nn.Linear(5 * 16, 7), head=nn.Linear(7, 4),
    )  # fmt: skip


def reshaped():
    return Net(
        lambda m, x: m.head(m.b(functional.max_pool2d(m.a(x), 4).reshape(-1, 5, 16).mean(2))),
        a=conv(3, 5), b=nn.Linear(5, 7), head=nn.Linear(7, 4),
    )  # fmt: skip


def gated():
    def way(m, x):
        y = functional.hardswish(m.a(x))
        gate = torch.sigmoid(m.up(functional.relu(m.down(functional.adaptive_avg_pool2d(y, 1)))))
        return m.head(pooled(m.b(y * gate)))

    return Net(way, a=conv(3, 8), down=conv(8, 2, 1), up=conv(2, 8, 1), b=conv(8, 6), head=nn.Linear(6, 4))


def shared():
    def way(m, x):
        y = functional.pad(functional.relu(m.a(x)), (1, 1, 1, 1))
        return m.head(pooled(torch.cat([m.b(y), m.c(y)], 1)))

    return Net(way, a=conv(3, 7), b=conv(7, 4), c=conv(7, 3), head=nn.Linear(7, 4))


def grouped():
    return Net(
        lambda m, x: m.head(pooled(functional.relu(m.b(functional.relu(m.a(x)))))),
        a=conv(3, 8), b=conv(8, 12, groups=2), head=nn.Linear(12, 4),
    )  # fmt: skip


def varied():
    """Further operators that keep channels apart: an instance norm, learned slopes and scales, a mean, axes moved."""

    def way(m, x):
        y = functional.avg_pool2d(m.slope(m.norm(m.a(x))) * m.scale.factor[:, None, None], 2)
        return m.head((m.b(y).mean((2, 3)) - m.c(y.flatten(2).transpose(1, 2)).transpose(1, 2).amax(2)).relu())

    scale = nn.Module()
    scale.factor = nn.Parameter(torch.rand(8) + 0.5)
    return Net(way, a=conv(3, 8), norm=nn.InstanceNorm2d(8, affine=True), slope=nn.PReLU(8), scale=scale,
               b=conv(8, 6), c=nn.Linear(8, 6), head=nn.Linear(6, 4))  # fmt: skip


def attended():
    """A transformer's block: its stream is normalised over channels, the inside of its MLP is free."""

    def way(m, x):
        y = m.patch(x).flatten(2).transpose(1, 2)
        y = y + m.out(functional.softmax(m.q(y) @ m.k(y).transpose(1, 2), -1) @ m.v(y))
        y = y + m.down(functional.gelu(m.up(m.norm(y))))
        return m.head(y.mean(1))

    parts = {name: nn.Linear(8, 8) for name in ("q", "k", "v", "out")}
    return Net(way, patch=nn.Conv2d(3, 8, 4, 4), norm=nn.LayerNorm(8), up=nn.Linear(8, 20), down=nn.Linear(20, 8),
               head=nn.Linear(8, 4), **parts)  # fmt: skip


LOGITS = "they are the model's outputs"
KNOWN = {
    chain: {("a",): ({"b"}, 6, ""), ("b",): ({"head"}, 8, ""), ("head",): (set(), 4, LOGITS)},
    residual: {("a", "c"): ({"b", "head"}, 8, ""), ("b",): ({"c"}, 5, ""), ("head",): (set(), 4, LOGITS)},
    joined: {("a",): ({"c"}, 4, ""), ("b",): ({"c"}, 6, ""), ("c",): ({"head"}, 5, ""),
             ("head",): (set(), 4, LOGITS)},
    depthwise: {("a", "b"): ({"c"}, 8, ""), ("c",): ({"head"}, 6, ""), ("head",): (set(), 4, LOGITS)},
    multiplied: {("a", "b"): ({"head"}, 4, ""), ("head",): (set(), 4, LOGITS)},
    flat: {("a",): ({"b"}, 5, ""), ("b",): ({"head"}, 7, ""), ("head",): (set(), 4, LOGITS)},
    reshaped: {("a",): ({"b"}, 5, ""), ("b",): ({"head"}, 7, ""), ("head",): (set(), 4, LOGITS)},
    gated: {("a", "up"): ({"down", "b"}, 8, ""), ("down",): ({"up"}, 2, ""), ("b",): ({"head"}, 6, ""),
            ("head",): (set(), 4, LOGITS)},
    shared: {("a",): ({"b", "c"}, 7, ""), ("b",): ({"head"}, 4, ""), ("c",): ({"head"}, 3, ""),
             ("head",): (set(), 4, LOGITS)},
    varied: {("a",): ({"b", "c"}, 8, ""), ("b", "c"): ({"head"}, 6, ""), ("head",): (set(), 4, LOGITS)},
    grouped: {("a",): ({"b"}, 4, ""), ("b",): ({"head"}, 6, ""), ("head",): (set(), 4, LOGITS)},
}  # fmt: skip


@pytest.mark.parametrize("build", KNOWN, ids=lambda b: b.__name__)
def test_groups_are_those_one_finds_by_hand(build):
    assert groups(graph(build())) == KNOWN[build]


def test_attention_and_what_a_layer_norm_reads_stay_whole():
    found = groups(graph(attended()))
    free = {outputs for outputs, (_, _, why) in found.items() if not why}
    assert free == {("up",)}
    assert found["up",] == ({"down"}, 20, "")
    assert found["patch", "out", "down"][2] == "a layer norm averages over them"
    assert found["v",][2] == "two activations are multiplied, as in attention"


def test_what_meets_the_input_or_is_split_stays_whole():
    meets = Net(lambda m, x: m.head(pooled(m.a(x) + x)), a=conv(3, 3), head=nn.Linear(3, 4))
    assert groups(graph(meets))["a",] == ({"head"}, 3, "they meet the model's input")

    def way(m, x):
        y, z = m.a(x).chunk(2, 1)
        return m.head(pooled(y + z))

    split = groups(graph(Net(way, a=conv(3, 6), head=nn.Linear(3, 4))))
    assert split["a",][2] in ("they are split into parts", "they are cut by their places")


def test_what_is_averaged_over_channels_stays_whole():
    def way(m, x):
        y = m.a(x)
        return m.head(pooled(m.b(y * torch.sigmoid(y.mean(1, keepdim=True)))))

    found = groups(graph(Net(way, a=conv(3, 6), b=conv(6, 5), head=nn.Linear(5, 4))))
    assert found["a",] == ({"b"}, 6, "ReduceMean reads them")
    assert found["b",][2] == ""


def test_a_tensor_that_an_unknown_operator_reads_stays_whole_elsewhere_too():
    def way(m, x):
        factor = m.scale.factor
        most = torch.softmax(factor, 0).amax()
        return m.head(pooled(m.a(x) * factor[:, None, None] + most))

    scale = nn.Module()
    scale.factor = nn.Parameter(torch.rand(6))
    found = groups(graph(Net(way, scale=scale, a=conv(3, 6), head=nn.Linear(6, 4))))
    assert found["a",] == ({"head"}, 6, "a softmax runs over them")


def test_members_name_every_tensor_of_a_group():
    of = graph(flat())
    group = dependencies(of.structure, of.shapes).groups[0]
    found = {(m.tensor, m.axis): m for m in group.members}
    assert set(found) == {("a.weight", 0), ("a.bias", 0), ("b.weight", 1)}
    inner = found["b.weight", 1]
    assert inner.at[inner.channel == 2].tolist() == list(range(2 * 16, 3 * 16)), "one channel is H x W inputs"


# --- removing computes what zeroing computes -----------------------------------------------------------------------


class Inverted(nn.Module):
    """A block of MobileNetV2 (Sandler et al. 2018)."""

    def __init__(self, a: int, b: int, stride: int):
        super().__init__()
        self.adds = a == b and stride == 1
        self.body = nn.Sequential(
            conv(a, 3 * a, 1, bias=False), nn.BatchNorm2d(3 * a), nn.ReLU6(),
            conv(3 * a, 3 * a, groups=3 * a, stride=stride, bias=False), nn.BatchNorm2d(3 * a), nn.ReLU6(),
            conv(3 * a, b, 1, bias=False), nn.BatchNorm2d(b),
        )  # fmt: skip

    def forward(self, x):
        return x + self.body(x) if self.adds else self.body(x)


def mobile():
    return nn.Sequential(conv(3, 8), Inverted(8, 8, 1), Inverted(8, 12, 2), Inverted(12, 12, 1),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4))  # fmt: skip


def dense():
    def way(m, x):
        y = m.stem(x)
        for i in range(3):
            y = torch.cat([y, m.get_submodule(f"conv{i}")(functional.relu(m.get_submodule(f"norm{i}")(y)))], 1)
        return m.head(pooled(functional.relu(m.norm(y))))

    layers = {f"conv{i}": conv(6 + 4 * i, 4, bias=False) for i in range(3)}
    norms = {f"norm{i}": nn.BatchNorm2d(6 + 4 * i) for i in range(3)}
    return Net(way, stem=conv(3, 6), **layers, **norms, norm=nn.BatchNorm2d(18), head=nn.Linear(18, 4))


def torchvision_model(name: str):
    torch.manual_seed(0)
    return getattr(torchvision.models, name)(weights=None, num_classes=10)


def chosen(found, share: float = 0.4) -> np.ndarray:
    """Some channels of every group that can shrink, at least one of each left."""
    random = np.random.default_rng(0)
    picks = [random.permutation(g.channels)[: int(share * g.size)] for g in found.groups if not g.whole]
    return np.concatenate(picks)


def zeroed(of: Graph, found, gone: np.ndarray, side: str) -> Graph:
    """The graph at full size with the columns that read these channels zero, or all that makes them."""
    tensors = {name: array.copy() for name, array in of.tensors.items()}
    weights = {name for group in found.groups for name in group.outputs}
    for (name, axis), held in found.places.items():
        reads = name in weights and axis == 1
        if reads == (side == "read") and not name.endswith((".running_mean", ".running_var")):
            np.moveaxis(tensors[name], axis, 0)[np.isin(held, gone)] = 0
    return Graph(of.structure, tensors)


def cut(of: Graph, found, gone: np.ndarray) -> Graph:
    left = found.without(gone)
    tensors = dict(of.tensors)
    for name, axes in left.kept.items():
        for axis, kept in axes:
            tensors[name] = np.ascontiguousarray(np.take(tensors[name], kept, axis))
    return Graph(edited(of.structure, left.edits), tensors)


def logits(of: Graph, inputs: np.ndarray) -> np.ndarray:
    return runner(of.whole(), "input", "logits")(inputs)


SMALL = [*KNOWN, attended, mobile, dense]
LARGE = ["resnet18", "mobilenet_v2", "densenet121", "mobilenet_v3_small", "regnet_x_400mf", "shufflenet_v2_x0_5"]


@pytest.mark.parametrize("build", [*SMALL, *LARGE], ids=lambda b: b if isinstance(b, str) else b.__name__)
def test_removing_computes_what_zeroing_computes(build):
    shape = (3, 64, 64) if isinstance(build, str) else SHAPE
    torch.manual_seed(0)
    of = graph(torchvision_model(build) if isinstance(build, str) else build(), shape)
    found = dependencies(of.structure, of.shapes)
    gone = chosen(found)
    smaller = cut(of, found, gone)
    inputs = np.random.default_rng(0).standard_normal((3, *shape)).astype(np.float32)
    seen, before = logits(smaller, inputs), logits(of, inputs)
    assert sum(a.size for a in smaller.tensors.values()) < 0.9 * sum(a.size for a in of.tensors.values())
    assert np.abs(seen - before).max() > 1e-3 * np.abs(before).max(), "the channels did something"
    for side in ("read", "made"):
        expected = logits(zeroed(of, found, gone, side), inputs)
        # float32 sums of the same numbers in another order, some 100 layers deep: relative 6e-8 x sqrt(1e5) at worst
        np.testing.assert_allclose(seen, expected, rtol=0, atol=2e-5 * max(np.abs(expected).max(), 1e-3))
    assert multiply_adds(smaller.structure, smaller.shapes) == smaller.multiply_adds()


def test_the_sample_too():
    of = graph_of_model(load_sample("fashion-resnet")[0])
    found = dependencies(of.structure, of.shapes)
    gone = chosen(found)
    inputs = np.random.default_rng(0).standard_normal((8, 1, 28, 28)).astype(np.float32)
    expected = logits(zeroed(of, found, gone, "made"), inputs)
    np.testing.assert_allclose(logits(cut(of, found, gone), inputs), expected, atol=2e-5 * np.abs(expected).max())


def test_a_smaller_graph_can_shrink_again():
    of = graph(grouped())
    for _ in range(2):
        found = dependencies(of.structure, of.shapes)
        of = cut(of, found, np.array([g.channels[0] for g in found.groups if not g.whole]))
    assert of.tensors["b.weight"].shape == (8, 2, 3, 3), "the same places go from both groups"
    assert logits(of, np.zeros((2, *SHAPE), np.float32)).shape == (2, 4)


# --- an independent judge ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121"])
def test_groups_and_function_equal_torch_pruning(name):
    module = alive(torchvision_model(name))
    names = {one: path for path, one in module.named_modules()}
    inputs = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32))
    of = graph(copy.deepcopy(module), (3, 64, 64))
    found = dependencies(of.structure, of.shapes)
    judge = torch_pruning.DependencyGraph().build_dependency(module.requires_grad_(True), inputs)
    gone = []
    for group in found.groups:
        if group.whole:
            continue
        first = module.get_submodule(layer(group.outputs[0]))
        picked = [0, 2, 5]
        theirs = judge.get_pruning_group(first, torch_pruning.prune_conv_out_channels, picked)
        sides: dict[str, set[str]] = {"out": set(), "in": set()}
        for dependency, _ in theirs:
            one = dependency.target.module
            if isinstance(one, nn.Conv2d | nn.Linear):
                both = isinstance(one, nn.Conv2d) and one.groups > 1
                side = "out" if both or judge.is_out_channel_pruning_fn(dependency.handler) else "in"
                sides[side].add(names[one])
        assert sides == {"out": set(map(layer, group.outputs)), "in": set(map(layer, group.inputs))}
        theirs.prune()
        gone += group.channels[picked].tolist()
    with torch.no_grad():
        expected = module(inputs).numpy()
    seen = logits(cut(of, found, np.array(gone)), inputs.numpy())
    np.testing.assert_allclose(seen, expected, atol=2e-5 * np.abs(expected).max())
