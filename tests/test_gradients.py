"""Gradients over the calibration split: held against PyTorch's own on the module they came from, and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from test_channels import alive, conv
from torch import nn

from core import fingerprint
from core.data.handle import DataHandle, Preprocessing, SplitHandle
from core.engine.context import Context
from core.engine.memory import SCORES
from core.engine.network import load_network
from core.layers import gradients as module_of
from core.layers.gradients import by_example, gradients
from core.models.export import exported
from core.models.graph import graph_of, save_structure
from core.models.samples import load_sample
from core.task import Task, task_of_classes


class Tiny(nn.Module):
    """A residual sum, a batch-norm and a linear layer."""

    def __init__(self, outputs: int = 3):
        super().__init__()
        self.stem, self.norm, self.inner = conv(2, 4), nn.BatchNorm2d(4), conv(4, 4)
        self.head = nn.Linear(4, outputs)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        return self.head((x + torch.relu(self.inner(x))).mean((2, 3)))


@pytest.fixture
def made(tmp_path):
    """A model of a module and a data handle of these inputs and labels; there is no evaluation split."""

    def of(module: nn.Module, inputs: np.ndarray, y: np.ndarray, task: Task):
        SCORES.clear()
        graph = graph_of(exported(alive(module), torch.zeros(1, *inputs.shape[1:])))
        weights, structure, split = (tmp_path / name for name in ("weights.safetensors", "graph.onnx", "cal.npz"))
        save_file({name: torch.from_numpy(array.copy()) for name, array in graph.tensors.items()}, weights)
        save_structure(graph, structure)
        model = replace(
            load_sample("fashion-small")[0], id="own", architecture="own", weights=weights, graph=structure,
            input_shape=inputs.shape[1:], weights_fingerprint=fingerprint.of_file(weights),
            graph_fingerprint=fingerprint.of_file(structure),
        )  # fmt: skip
        pictures = inputs.ndim == 4
        np.savez(split, x=inputs.transpose(0, 2, 3, 1) if pictures else inputs, y=y)
        plain = Preprocessing(1.0, (0.0,) * inputs.shape[1], (1.0,) * inputs.shape[1])
        here = SplitHandle("calibration", split, len(inputs), fingerprint.of_file(split))
        kind = "pictures" if pictures else "table"
        return load_network(model), Context(DataHandle("own", "Own", kind, task, plain, (here,), "none", "none"), 0)

    return of


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def by_autograd(module: nn.Module, loss, inputs: np.ndarray, y: np.ndarray, names: tuple[str, ...]):
    """Mean gradient, and mean squared gradient, of each parameter."""
    module.eval().requires_grad_(True)
    every = []
    for i in range(len(inputs)):
        value = loss(module(torch.from_numpy(inputs[i : i + 1])), torch.from_numpy(y[i : i + 1]))
        every.append(torch.autograd.grad(value, [module.get_parameter(name) for name in names]))
    stacked = [torch.stack(one) for one in zip(*every, strict=True)]
    return [one.mean(0) for one in stacked], [one.square().mean(0) for one in stacked]


def gaussian(outputs, y):
    return -torch.distributions.Normal(outputs[:, 0], outputs[:, 1].exp()).log_prob(y).mean()


THREE = task_of_classes(["a", "b", "c"])
ONE, TWO = (Task("regression", outputs=outputs) for outputs in (("value",), ("value", "log_scale")))
CASES = {
    "classes": (3, THREE, F.cross_entropy),
    "numbers": (1, ONE, lambda outputs, y: (outputs[:, 0] - y).square().mean() / 2),  # times the variance: below
    "intervals": (2, TWO, gaussian),
}


@pytest.mark.parametrize("case", CASES)
def test_they_are_those_of_the_module_itself(case, made):
    torch.manual_seed(0)
    outputs, task, loss = CASES[case]
    module, inputs = Tiny(outputs), noise(11, 2, 6, 6)
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 11) if task.decides else rng.standard_normal(11) * 3
    network, context = made(module, inputs, y, task)
    found = gradients(network, context)
    assert found.examples == 11 and not found.why
    assert tuple(found.mean) == network.weight_names
    scale = float(np.var(y)) if case == "numbers" else 1.0
    mean, fisher = by_autograd(module, loss, inputs, y, network.weight_names)
    for name, one, squared in zip(network.weight_names, mean, fisher, strict=True):
        # float32 sums over 36 places in another order
        torch.testing.assert_close(found.mean[name], (one / scale).float(), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(found.fisher[name], (squared / scale**2).float(), rtol=1e-4, atol=1e-7)


def test_a_linear_layer_by_hand(made):
    """Of a softmax over `W x + b` the gradient is `(p - 1_y) x`."""
    layer, inputs = nn.Linear(4, 3), noise(6, 4)
    y = np.array([0, 1, 2, 0, 1, 2])
    network, context = made(nn.Sequential(layer), inputs, y, THREE)
    x = torch.from_numpy(inputs)
    with torch.no_grad():
        wrong = layer(x).softmax(1) - F.one_hot(torch.from_numpy(y), 3)
    each = wrong[:, :, None] * x[:, None]
    (name,) = network.weight_names
    found = gradients(network, context)
    torch.testing.assert_close(found.mean[name], each.mean(0), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found.fisher[name], each.square().mean(0), rtol=1e-5, atol=1e-7)


def test_an_embeddings_unread_rows_have_none():
    model, data = load_sample("sentiment")
    network = load_network(model)
    layer = next(one for one in network.layers if one.kind == "embedding")
    (found,) = list(by_example(network, Context(data, 0), (layer.weight,), 1))
    read = found[layer.weight].any(1)
    assert 0 < int(read.sum()) < len(read) / 4


def test_batch_norm_scales_have_theirs_too(made):
    module, inputs, y = Tiny(), noise(3, 2, 6, 6), np.array([0, 1, 2])
    network, context = made(module, inputs, y, THREE)
    norm = network.layers[0].norm
    names = (f"{norm}.weight", f"{norm}.bias")
    mean, _ = by_autograd(module, F.cross_entropy, inputs, y, names)
    found = list(by_example(network, context, names))
    for name, one in zip(names, mean, strict=True):
        torch.testing.assert_close(torch.stack([part[name] for part in found]).mean(0), one, rtol=1e-4, atol=1e-6)


def test_the_examples_are_bounded_by_number_and_by_work(made, monkeypatch):
    network, context = made(Tiny(), noise(50, 2, 6, 6), np.arange(50) % 3, THREE)
    assert gradients(network, context, 7).examples == 7
    monkeypatch.setattr(module_of, "WORK", 1)
    assert gradients(network, context).examples == module_of.LEAST


def test_layers_without_gradients_say_why(made):
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    nn.init.constant_(module[0].bias, -100.0)  # no unit ever fires
    network, context = made(module, noise(6, 4), np.arange(6) % 3, THREE)
    found = gradients(network, context)
    assert found.why == dict.fromkeys(("0", "2"), "its gradients are all zero on the calibration examples")
    assert not found.mean and not found.fisher
    with torch.no_grad():
        module[0].bias[:] = torch.nan
    found = gradients(*made(module, noise(6, 4), np.arange(6) % 3, THREE))
    assert set(found.why.values()) == {"its gradients are not all finite numbers on the calibration examples"}


def test_nothing_is_written_to_and_twice_is_the_same():
    model, data = load_sample("breast-cancer")
    network = load_network(model)
    before = {name: tensor.clone() for name, tensor in network.tensors.items()}
    first = gradients(network, Context(data, 0), 20)
    SCORES.clear()
    second = gradients(network, Context(data, 0), 20)
    for name in network.weight_names:
        assert torch.equal(first.fisher[name], second.fisher[name])
    assert all(torch.equal(network.tensors[name], one) for name, one in before.items())
    assert not any(tensor.requires_grad for tensor in network.tensors.values())
