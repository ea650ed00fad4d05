"""Read a state dict from `.safetensors`, `.pt` or `.pth` without running anything the file says."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from core.data.archive import shown
from core.errors import TemperError
from core.models.sentences import reason

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
NESTED = ("state_dict", "model_state_dict", "model_state", "model", "net", "weights", "params", "ema_state_dict")
SLACK = 50_000_000  # bytes that a zip may unpack to beyond twice its own
SAVE = "torch.save(model.state_dict(), 'weights.pt')"
SAFE = "from safetensors.torch import save_file; save_file(model.state_dict(), 'weights.safetensors')"
PROGRAM = "torch.export.save(torch.export.export(model.eval(), (example,)), 'model.pt2')"


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors by name, float32 where they were any kind of float. Raises `TemperError`."""
    found = _safetensors(path) if path.suffix.lower() == ".safetensors" else _pickled(path)
    tensors = {name: value for name, value in _flat(found, path).items() if value.numel() or value.ndim}
    if not tensors:
        raise TemperError(
            f"{shown(path.name)} holds no tensors: a state dict was expected.", f"Save one with: {SAVE}"
        )
    check_tensors(tensors, path)
    void = next((name for name, tensor in tensors.items() if not tensor.numel()), None)
    if void is not None:
        raise TemperError(
            f"{shown(path.name)}: {shown(void)} {list(tensors[void].shape)} holds no values.", f"Save it with: {SAVE}"
        )
    return {
        name: (tensor.float() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in _without_prefix(tensors).items()
    }


def check_tensors(tensors: Mapping[str, Any], path: Path) -> None:
    """Raise `TemperError` unless all are dense tensors in this memory that hold every value they claim to hold."""
    for name, tensor in tensors.items():
        plain = type(tensor) in (Tensor, nn.Parameter) and tensor.device.type == "cpu" and not tensor.is_nested
        if not plain or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
            kind = (
                f"of the kind {tensor.dtype}, {tensor.layout}, {tensor.device.type}"
                if isinstance(tensor, Tensor)
                else ""
            )
            raise TemperError(
                f"{shown(path.name)}: {shown(name)} is {kind or shown(type(tensor).__name__)}; dense float tensors "
                "were expected.",
                f"Save it again with: {SAVE}",
            )
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise TemperError(
                f"{shown(path.name)}: {shown(name)} {list(tensor.shape)} holds fewer values than it claims.",
                f"Save it again with: {SAVE}",
            )


def _safetensors(path: Path) -> Mapping[str, Any]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise TemperError(
            f"{shown(path.name)} is no whole .safetensors file: {reason(error, 120)}.", "Save or copy it again."
        ) from error


def _pickled(path: Path) -> Any:
    _refuse_programs(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        said = str(error)
        if any(word in said for word in ("WeightsUnpickler error: Unsupported", "GLOBAL", "GLOBALS")):
            raise TemperError(
                f"{shown(path.name)} holds more than tensors, a whole model perhaps, and opening that would run its "
                "code.",
                f"Where the model was made, save its tensors alone: {SAVE}",
            ) from error
        raise TemperError(f"{shown(path.name)} is no whole PyTorch file.", f"Save it again with: {SAVE}") from error


def _refuse_programs(path: Path) -> None:
    """TorchScript executes what it holds, a bomb unpacks to more than there is; neither reaches PyTorch."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise TemperError(
            f"{shown(path.name)} is damaged: {reason(error, 100)}.", f"Save it again with: {SAVE}"
        ) from error
    inner = [entry.filename.partition("/")[2] for entry in entries]
    if any(name.startswith("code/") or name == "constants.pkl" for name in inner):
        raise TemperError(
            f"{shown(path.name)} is a TorchScript program, which runs what it holds; tensors or an exported program "
            "were expected.",
            f"Where the model was made: {PROGRAM} or: {SAFE}",
        )
    if any(name.startswith("models/") for name in inner):
        raise TemperError(
            f"{shown(path.name)} is an exported program under another name.", "Give it a name that ends in .pt2."
        )
    if sum(entry.file_size for entry in entries) > 2 * path.stat().st_size + SLACK:  # PyTorch stores, never packs
        raise TemperError(
            f"{shown(path.name)} unpacks to far more than its size, which no PyTorch file does.",
            f"Save it again with: {SAVE}",
        )


def _flat(found: Any, path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, also of one inside a checkpoint."""
    for _ in range(3):
        if not isinstance(found, Mapping):
            break
        if any(isinstance(value, Tensor) for value in found.values()):
            return {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
        inner = next((found[name] for name in NESTED if isinstance(found.get(name), Mapping)), None)
        if inner is None:
            break
        found = inner
    kind = type(found).__name__
    raise TemperError(f"{shown(path.name)} holds a {shown(kind)}, not a state dict.", f"Save one with: {SAVE}")


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without what wrappers put before all of them; exponential averages' counters left out."""
    names = {name: name for name in tensors if name != "n_averaged"}
    for _ in PREFIXES:
        for prefix in PREFIXES:
            if names and all(name.startswith(prefix) for name in names.values()):
                names = {old: name.removeprefix(prefix) for old, name in names.items()}
    return {name: tensors[old] for old, name in names.items()}


def stated_facts(path: Path) -> dict[str, str]:
    """Text that a `.safetensors` file says of itself; empty for other files and where there is none."""
    if path.suffix.lower() != ".safetensors":
        return {}
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, 10_000_000)))
        return {str(k)[:80]: str(v)[:300] for k, v in (header.get("__metadata__") or {}).items()}
    except (OSError, ValueError, AttributeError):
        return {}
