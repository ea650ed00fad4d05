"""A person's model by every format that fits it: the graph's logits are the original's, at any number of examples."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torchvision
from conftest import SAMPLES, prune, quantize, recipe
from hostile_models import BATCH, cnn, mlp, onnx_file, program, saved, settled
from safetensors.torch import save_file
from torch import nn

from core import fingerprint
from core.data.handle import DataHandle, Preprocessing, SplitHandle, load_split
from core.deploy.graph import assemble
from core.engine.evaluate import evaluate
from core.engine.network import fold, load_network
from core.engine.runtime import predictor
from core.errors import TemperError
from core.models import catalogue
from core.models.graph import save_structure
from core.models.handle import ModelHandle, build
from core.models.intake import Incoming, ModelWish, read_model
from core.models.samples import SHIPPED, load_sample
from core.recipe import Recipe
from core.task import task_of_classes

warnings.filterwarnings("ignore", category=DeprecationWarning)


def vit() -> nn.Module:
    torch.manual_seed(0)
    sizes = dict(image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=10)
    module = torchvision.models.VisionTransformer(**sizes)
    nn.init.normal_(module.heads[0].weight, std=0.3)  # torchvision begins with zeros
    return module.eval()


def resnet18() -> nn.Module:
    torch.manual_seed(0)
    return settled(torchvision.models.resnet18(num_classes=10), (3, 64, 64))


def mobilenet() -> nn.Module:
    torch.manual_seed(0)
    return settled(torchvision.models.mobilenet_v2(num_classes=10), (3, 64, 64))


class Plain(nn.Module):
    """Matrix products and sums instead of linear layers; a softmax at the end."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Parameter(torch.randn(6, 8)), nn.Parameter(torch.randn(8, 3))
        self.bias = nn.Parameter(torch.randn(8))

    def forward(self, x):
        return torch.softmax(torch.relu(x @ self.one + self.bias) @ self.two, 1)


MODELS = {"mlp": (mlp, (6,)), "cnn": (cnn, (3, 12, 12)), "vit": (vit, (3, 32, 32)),
          "resnet18": (resnet18, (3, 64, 64)), "mobilenet": (mobilenet, (3, 64, 64))}  # fmt: skip
N = 12  # examples of a split
LAYERS = {"mlp": 2, "cnn": 2, "vit": 10, "resnet18": 21, "mobilenet": 53}
STATE = ("safetensors", "pt", "pth-legacy", "checkpoint")
WAYS = {
    "mlp": (*STATE, "pt2", "pt2-fixed", "onnx-11", "onnx-13", "onnx-17", "onnx-fixed", "dynamo"),
    "cnn": ("pt2", "pt2-fixed", "pt2-one", "onnx-11", "onnx-13", "onnx-17", "onnx-fixed", "onnx-one", "dynamo"),
    "vit": ("pt2", "pt2-fixed", "pt2-one", "onnx-17", "onnx-fixed", "onnx-one", "dynamo"),
    "resnet18": ("safetensors", "checkpoint", "pt2", "pt2-one", "onnx-11", "onnx-fixed"),
    "mobilenet": ("pt", "pt2", "onnx-17", "onnx-one"),
}


@dataclass(frozen=True)
class Brought:
    module: nn.Module
    shape: tuple[int, ...]
    way: str
    found: Incoming
    path: Path


def made(folder: Path, way: str, module: nn.Module, shape: tuple[int, ...]) -> Path:
    kind, _, more = way.partition("-")
    example = torch.randn(1 if more == "one" else 2, *shape)
    if kind == "safetensors":
        save_file(module.state_dict(), folder / "model.safetensors")
        return folder / "model.safetensors"
    if kind in ("pt", "pth"):
        return saved(folder / f"model.{kind}", module.state_dict(), more != "legacy")
    if kind == "checkpoint":
        state = {f"module.{name}": value for name, value in module.state_dict().items()}
        return saved(folder / "model.pth", {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}})
    if kind == "pt2":
        return program(folder / "model.pt2", module, example, fixed=bool(more))
    if kind == "dynamo":
        path = folder / "model.onnx"
        torch.onnx.export(module, (example,), str(path), dynamo=True, dynamic_shapes=({0: BATCH},),
                          external_data=False, verbose=False)  # fmt: skip
        return path
    return onnx_file(
        folder / "model.onnx", module, example, int(more) if more.isdigit() else 14, more in ("fixed", "one")
    )


@pytest.fixture(scope="module", params=list(MODELS))
def original(request):
    make, shape = MODELS[request.param]
    return request.param, make(), shape


@pytest.fixture(scope="module")
def brought(original, tmp_path_factory):
    """One model by every way that fits it, each read once."""
    name, module, shape = original
    found = []
    for way in WAYS[name]:
        path = made(tmp_path_factory.mktemp("model"), way, module, shape)
        found.append(Brought(module, shape, way, read_model(str(path), ModelWish(input_shape=shape)), path))
    return found


def logits(proto: onnx.ModelProto, x: np.ndarray, entry: str = "input") -> np.ndarray:
    return onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {entry: x})[0]


def near(found: np.ndarray, expected: np.ndarray, tolerance: float = 2e-5) -> bool:
    return found.shape == expected.shape and np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def test_the_logits_are_the_originals(brought):
    for one in brought:
        for rows in (1, 2, 5):
            x = torch.randn(rows, *one.shape)
            with torch.no_grad():
                expected = one.module(x).numpy()
            assert near(logits(one.found.graph.whole(), x.numpy()), expected), (one.way, rows)
        assert one.found.input_shape == one.shape and one.found.difference < 1e-4


def test_the_layers_are_the_modules(original, brought):
    name, module, _ = original
    kinds = {n: m for n, m in module.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    for one in brought:
        layers, shapes = one.found.graph.layers, one.found.graph.shapes
        assert len(layers) == LAYERS[name], one.way
        for layer in layers:
            if layer.name.endswith(("self_attention.in_proj", "self_attention")):
                assert layer.kind == "linear" and shapes[layer.weight] == (96, 32)
                continue
            if one.way == "dynamo" and layer.name not in kinds:
                continue  # that exporter makes names up
            assert layer.name in kinds, (one.way, layer.name)
            assert layer.kind == ("convolution" if isinstance(kinds[layer.name], nn.Conv2d) else "linear")
            assert shapes[layer.weight] == tuple(kinds[layer.name].weight.shape), "output channels first"
        if not one.way.startswith(("onnx", "dynamo")):  # PyTorch's ONNX exporters fold batch-norms themselves
            norms = {n for n, m in module.named_modules() if isinstance(m, nn.BatchNorm2d)}
            assert {layer.norm for layer in layers if layer.norm} == norms, one.way
            for norm in norms:
                assert np.array_equal(
                    one.found.graph.tensors[f"{norm}.weight"], module.state_dict()[f"{norm}.weight"]
                )


def kept(one: Incoming, folder: Path) -> tuple[ModelHandle, DataHandle]:
    """Handles of an incoming model with examples that it labels itself, some of them wrongly."""
    folder.mkdir()
    save_structure(one.graph, folder / "graph.onnx")
    save_file(
        {name: torch.from_numpy(values) for name, values in one.graph.tensors.items()}, folder / "w.safetensors"
    )
    splits = []
    for seed, name in enumerate(("calibration", "evaluation")):
        x = np.random.default_rng(seed).standard_normal((N, *one.input_shape)).astype(np.float32)
        y = logits(one.graph.whole(), x).argmax(1)
        x = x.transpose(0, 2, 3, 1) if x.ndim == 4 else x
        np.savez(folder / f"{name}.npz", x=x, y=np.where(np.arange(N) < 3, 0, y))
        splits.append(SplitHandle(name, folder / f"{name}.npz", N, fingerprint.of_file(folder / f"{name}.npz")))
    classes = tuple(f"class {i}" for i in range(one.classes))
    channels, kind = one.input_shape[0], "pictures" if len(one.input_shape) == 3 else "table"
    model = ModelHandle(
        "m", "M", one.architecture, (), one.input_shape, classes, folder / "w.safetensors",
        fingerprint.of_file(folder / "w.safetensors"), folder / "graph.onnx",
        fingerprint.of_file(folder / "graph.onnx"), own=True,
    )  # fmt: skip
    scaling = Preprocessing(1.0, (0.0,) * channels, (1.0,) * channels)
    return model, DataHandle("d", "D", kind, task_of_classes(classes), scaling, tuple(splits), "", "")


def test_recipes_work_on_what_was_brought(brought, tmp_path):
    few = ("pt2",) if len(brought[0].found.graph.layers) > 12 else ("pt2", "onnx-fixed", "dynamo", "checkpoint")
    for one in [one for one in brought if one.way in few]:
        model, data = kept(one.found, tmp_path / one.way)
        x = np.random.default_rng(9).standard_normal((5, *one.shape)).astype(np.float32)
        expected = logits(one.found.graph.whole(), x)
        for network in (load_network(model), fold(load_network(model))):
            assert near(predictor(assemble(network))(x), expected, 1e-4), one.way
        for steps in ((), (quantize(32, 32),), (quantize(8, 8),), (quantize(4, 32),), (prune(0.5),)):
            outcomes = evaluate(model, data, recipe(*steps))
            assert np.isfinite(outcomes.tempered.logits).all(), (one.way, steps)
            same = near(outcomes.tempered.logits, outcomes.original.logits, 1e-4)
            assert same == (not Recipe(tuple(steps)).simplified().steps), (one.way, steps)
        assert near(evaluate(model, data, Recipe()).original.logits,
                    logits(one.found.graph.whole(), data_of(data)), 1e-4)  # fmt: skip


def data_of(data: DataHandle) -> np.ndarray:
    loaded = load_split(data, "evaluation")
    return data.preprocessing.apply(loaded.x, data.modality)


# State dicts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_a_samples_weights_as_a_persons_file(name):
    model, _ = load_sample(name)
    shape = model.input_shape if model.architecture == "text-bag" else None  # any length, no file tells it
    found = read_model(str(SHIPPED / name / "weights.safetensors"), ModelWish(input_shape=shape))
    assert found.architecture == model.architecture and found.classes == (len(model.classes) or 2)
    x = torch.randn(4, *model.input_shape) * 100
    if found.vocabulary:
        x = torch.randint(0, found.vocabulary, x.shape).float()
    with torch.no_grad():
        assert near(logits(found.graph.whole(), x.numpy()), build(model)(x).numpy())


def test_a_name_is_recognised_from_tensors(tmp_path):
    import timm

    module = timm.create_model("test_vit", num_classes=7).eval()
    found = read_model(str(saved(tmp_path / "m.pt", {"model": module.state_dict()})), ModelWish())
    assert found.architecture.startswith("timm:test_vit") and found.classes == 7
    assert "Recognised as timm:test_vit" in found.notes[0] and found.reading is not None
    x = torch.randn(2, *found.input_shape)
    with torch.no_grad():
        assert near(logits(found.graph.whole(), x.numpy()), module(x).numpy())


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def test_guesses_and_heads():
    with torch.device("meta"):
        shapes = shapes_of(torchvision.models.resnet18(num_classes=5))
    assert catalogue.guess(shapes)[0] == "torchvision:resnet18"
    assert catalogue.head_of("torchvision:resnet18") in ("fc.weight", "fc.bias")
    assert catalogue.head_of("timm:test_vit") in ("head.weight", "head.bias")
    assert catalogue.guess({**shapes, "more": (1,)}) == ()


def test_mismatches_are_named_key_by_key(tmp_path):
    state = resnet18().state_dict()
    del state["bn1.bias"]
    state["layer1.0.conv1.weight"] = torch.zeros(64, 64, 1, 1)
    state["extra"] = torch.ones(2)
    with pytest.raises(TemperError) as caught:
        read_model(str(saved(tmp_path / "m.pt", state)), ModelWish(architecture="torchvision:resnet18"))
    for part in (
        "bn1.bias is missing",
        "extra is not expected",
        "layer1.0.conv1.weight is [64, 64, 1, 1] instead of",
    ):
        assert part in caught.value.message


def test_unknown_architectures_name_near_ones(tmp_path):
    path = saved(tmp_path / "m.pt", resnet18().state_dict())
    with pytest.raises(TemperError, match=r"Did you mean .*torchvision:resnet18"):
        read_model(str(path), ModelWish(architecture="torchvision:resnet-18"))
    with pytest.raises(TemperError, match="no known architecture"):
        read_model(str(saved(path, cnn().state_dict())), ModelWish())


def test_the_order_of_a_row_of_layers(tmp_path):
    """A file lists '10.weight' before '2.weight'; equal sizes would let a wrong order pass unseen."""
    torch.manual_seed(0)
    layers = [layer for _ in range(7) for layer in (nn.Linear(6, 6), nn.ReLU())][:-1]
    module = nn.Sequential(*layers).eval()
    save_file(module.state_dict(), tmp_path / "m.safetensors")
    found = read_model(str(tmp_path / "m.safetensors"), ModelWish())
    assert "(0, 2, 4, 6, 8, 10, 12)" in found.notes[0]
    x = torch.randn(5, 6)
    with torch.no_grad():
        assert near(logits(found.graph.whole(), x.numpy()), module(x).numpy())


def test_names_with_their_published_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for name in ("torchvision:resnet18", "timm:test_vit"):
        with pytest.raises(TemperError, match="not on this machine") as caught:
            read_model(name, ModelWish())
        assert "--download" in caught.value.hint
    weights = torchvision.models.get_model_weights("resnet18").DEFAULT
    torch.manual_seed(0)
    module = settled(torchvision.models.resnet18(), (3, 64, 64))
    path = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    path.parent.mkdir(parents=True)
    saved(path, module.state_dict())
    found = read_model("torchvision:resnet18", ModelWish(input_shape=(3, 64, 64)))
    assert found.classes == 1000 and found.labels[0] == "tench" and found.reading.input_shape == (3, 224, 224)


# Graphs written in other ways -------------------------------------------------------------------------------------


def test_products_and_sums_with_a_softmax(tmp_path):
    module = Plain().eval()
    for path in (onnx_file(tmp_path / "m.onnx", module, torch.randn(2, 6)),
                 program(tmp_path / "m.pt2", module, torch.randn(2, 6))):  # fmt: skip
        found = read_model(str(path), ModelWish())
        assert any("softmax" in note for note in found.notes)
        x = torch.randn(5, 6)
        with torch.no_grad():
            inner = torch.relu(x @ module.one + module.bias) @ module.two
        assert near(logits(found.graph.whole(), x.numpy()), inner.numpy())
        assert [found.graph.shapes[layer.weight] for layer in found.graph.layers] == [(8, 6), (3, 8)]
        assert not found.graph.skipped, "a bias belongs to its layer"


class Shuffled(nn.Module):
    """Sizes from sizes, a table looked up, weights normalised: as ShuffleNet, relative positions and NFNet do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.linear = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(4, 3)
        self.register_buffer("order", torch.randperm(4))

    def forward(self, x):
        weight = self.conv.weight
        weight = nn.functional.batch_norm(weight.reshape(1, 8, -1), None, None, training=True).reshape_as(weight)
        x = nn.functional.conv2d(x, weight, self.conv.bias, padding=1)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, -1, h, w)
        one, _ = x.chunk(2, dim=1)
        return self.linear(one.mean((2, 3))[:, self.order])


@pytest.mark.parametrize("fixed", [False, True])
def test_networks_that_compute_with_sizes_and_tables(fixed, tmp_path):
    module = Shuffled().eval()
    found = read_model(str(program(tmp_path / "m.pt2", module, torch.randn(2, 3, 6, 6), fixed)), ModelWish())
    x = torch.randn(5, 3, 6, 6)
    with torch.no_grad():
        assert near(logits(found.graph.whole(), x.numpy()), module(x).numpy())


class Average(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x):
        return self.linear(x - x.mean(0, keepdim=True))


def test_a_network_that_looks_at_its_neighbours_is_still_the_same_network(tmp_path):
    torch.manual_seed(0)
    found = read_model(str(program(tmp_path / "m.pt2", Average().eval(), torch.randn(4, 6))), ModelWish())
    assert found.difference < 1e-4
    with pytest.raises(TemperError, match=r"made for 4 examples|could not be run"):
        read_model(str(program(tmp_path / "m.pt2", Average().eval(), torch.randn(4, 6), fixed=True)), ModelWish())


def test_the_size_asked_for_must_be_the_files(tmp_path):
    path = onnx_file(tmp_path / "m.onnx", cnn(), torch.randn(2, 3, 12, 12))
    with pytest.raises(TemperError, match=r"reads inputs of \[3, 12, 12\]; \[3, 14, 14\] was asked for"):
        read_model(str(path), ModelWish(input_shape=(3, 14, 14)))
    with pytest.raises(TemperError, match=r"\[6\] was asked for"):
        read_model(str(path), ModelWish(input_shape=(6,)))
