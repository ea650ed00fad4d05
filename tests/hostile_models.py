"""Valid and hostile model files, made on demand; a canary shows whether opening one of them ran code."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from damage import sentence
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import Tensor, nn

from core.errors import TemperError
from core.models.intake import Incoming, ModelWish, read_model

BATCH = torch.export.Dim("batch")
F = TensorProto.FLOAT


def judged(path: Path | str, wish: ModelWish | None = None) -> Incoming | TemperError:
    """Read it: what comes back is a model that equals its original, or an error of one short sentence."""
    try:
        found = read_model(str(path), wish or ModelWish())
    except TemperError as error:
        return sentence(error)
    assert found.difference <= 1e-3 and found.classes >= 2 and found.graph.layers
    assert all(np.isfinite(values).all() for values in found.graph.tensors.values())
    return found


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def settled(module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """Batch-norms that have seen noise, so that the logits of an untrained network are of ordinary size."""
    with torch.no_grad():
        module.train()
        for _ in range(3):
            module(torch.randn(8, *shape))
    return module.eval()


def cnn() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return settled(nn.Sequential(*layers, nn.Linear(8, 4)), (3, 12, 12))


def program(path: Path, module: nn.Module, example: Tensor, fixed: bool = False) -> Path:
    made = torch.export.export(module, (example,), dynamic_shapes=None if fixed else ({0: BATCH},))
    torch.export.save(made, str(path))
    return path


def onnx_file(path: Path, module: nn.Module, example: Tensor, opset: int = 17, fixed: bool = False) -> Path:
    torch.onnx.export(
        module, (example,), str(path), dynamo=False, opset_version=opset, input_names=["x"],
        dynamic_axes=None if fixed else {"x": {0: "n"}},
    )  # fmt: skip
    return path


def _pt2(folder: Path) -> Path:
    return program(folder / "model.pt2", mlp(), torch.randn(2, 6))


def _onnx(folder: Path) -> Path:
    return onnx_file(folder / "model.onnx", mlp(), torch.randn(2, 6))


def _safetensors(folder: Path) -> Path:
    save_file(mlp().state_dict(), folder / "model.safetensors")
    return folder / "model.safetensors"


def saved(path: Path, value: object, zipped: bool = True) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


VALID: dict[str, Callable[[Path], Path]] = {
    "safetensors": _safetensors,
    "pt": lambda folder: saved(folder / "model.pt", mlp().state_dict()),
    "pth-legacy": lambda folder: saved(folder / "model.pth", mlp().state_dict(), zipped=False),
    "pt2": _pt2,
    "onnx": _onnx,
}


class Payload:
    """Touches the canary when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None], method: int = zipfile.ZIP_STORED) -> Path:
    """The archive with its entries changed."""
    held = entries(path)
    change(held)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in held.items():
            archive.writestr(name, content)
    return path


def added(path: Path, name: str, content: bytes) -> Path:
    """The archive with an entry put in or replaced, under the folder of its other entries."""
    root = next(iter(entries(path))).partition("/")[0]
    return rewritten(path, lambda held: held.update({f"{root}/{name}": content}))


def with_json(path: Path, ending: str, change: Callable[[dict], None]) -> Path:
    """The archive with one of its JSON entries changed."""

    def edit(held: dict[str, bytes]) -> None:
        name = next(name for name in held if name.endswith(ending))
        given = json.loads(held[name])
        change(given)
        held[name] = json.dumps(given).encode()

    return rewritten(path, edit)


def pickled(value: object) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def network(nodes, constants=None, inputs=None, outputs=None, opset: int = 17) -> onnx.ModelProto:
    """An ONNX model from nodes `(type, inputs, outputs, attributes)`."""
    made = [helper.make_node(kind, a, b, **(more[0] if more else {})) for kind, a, b, *more in nodes]
    graph = helper.make_graph(
        made, "g",
        [helper.make_tensor_value_info("x", F, ["n", 4])] if inputs is None else inputs,
        [helper.make_tensor_value_info("y", F, ["n", 3])] if outputs is None else outputs,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {"w": generator.normal(size=(3, 4)).astype("f4"), "b": generator.normal(size=3).astype("f4")}


GEMM = ("Gemm", ["x", "w", "b"], ["y"], {"transB": 1})


def written(path: Path, proto: onnx.ModelProto) -> Path:
    path.write_bytes(proto.SerializeToString())
    return path


def declared(name: str, dims: list[int], raw: bytes = b"\0\0\0\0") -> TensorProto:
    """A tensor that claims to be larger than its bytes."""
    return TensorProto(name=name, dims=dims, data_type=F, raw_data=raw)
