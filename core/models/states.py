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
from torch import Tensor

from core.errors import TemperError

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
NESTED = ("state_dict", "model_state_dict", "model_state", "model", "net", "weights", "params", "ema_state_dict")
SAVE = "torch.save(model.state_dict(), 'weights.pt')"
SAFE = "from safetensors.torch import save_file; save_file(model.state_dict(), 'weights.safetensors')"
PROGRAM = "torch.export.save(torch.export.export(model.eval(), (example,)), 'model.pt2')"


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors by name, float32 where they were any kind of float. Raises `TemperError`."""
    found = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    tensors = {name: value for name, value in _flat(found, path).items() if value.numel() or value.ndim}
    if not tensors:
        raise TemperError(f"{path.name} holds no tensors: a state dict was expected.", f"Save one with: {SAVE}")
    for name, tensor in tensors.items():
        if tensor.is_sparse or tensor.is_quantized or tensor.is_complex():
            raise TemperError(f"{path.name}: {name} is {tensor.dtype}; dense float tensors were expected.", "")
    return {
        name: (tensor.float() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in _without_prefix(tensors).items()
    }


def _safetensors(path: Path) -> Mapping[str, Any]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise TemperError(
            f"{path.name} is no whole .safetensors file: {error!s:.120}.", "Save or copy it again."
        ) from error


def _pickled(path: Path) -> Any:
    _refuse_programs(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        said = str(error)
        if "weights_only" in said or "Unsupported" in said or "GLOBAL" in said:
            raise TemperError(
                f"{path.name} holds more than tensors, a whole model perhaps, and opening that would run its code.",
                f"Where the model was made, save its tensors alone: {SAVE}",
            ) from error
        raise TemperError(
            f"{path.name} is no whole PyTorch file: {said.splitlines()[0] if said else type(error).__name__:.120}.",
            f"Save it again with: {SAVE}",
        ) from error


def _refuse_programs(path: Path) -> None:
    """TorchScript executes what it holds; a `.pt2` under another name is read by its own reader."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise TemperError(f"{path.name} is damaged: {error!s:.100}.", f"Save it again with: {SAVE}") from error
    inner = [name.partition("/")[2] for name in names]
    if any(name.startswith("code/") or name == "constants.pkl" for name in inner):
        raise TemperError(
            f"{path.name} is a TorchScript program, which runs what it holds; tensors or an exported program were "
            "expected.",
            f"Where the model was made: {PROGRAM} or: {SAFE}",
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
    raise TemperError(f"{path.name} holds a {kind}, not a state dict.", f"Save one with: {SAVE}")


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
    if path.suffix != ".safetensors":
        return {}
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, 10_000_000)))
        return {str(k)[:80]: str(v)[:300] for k, v in (header.get("__metadata__") or {}).items()}
    except (OSError, ValueError, AttributeError):
        return {}
