"""What training came to, kept beside a person's runs: a folder a training, written whole or not at all.

`trained.safetensors` and `trained.json` hold the end of it; `state.safetensors` and `state.json` where one stands
that is under way or was broken off. The JSON file is written last: without it, the tensors beside it do not count.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from core.engine.network import Network
from core.errors import TemperError
from core.home import home
from core.training.loop import Look, State

KEPT = 60  # trainings; the ones not used for the longest leave
FACTS = {"looks", "examples", "learned", "seconds", "note"}  # without which a training does not count as kept
Name = Literal["trained", "state"]


@cache
def _passing() -> Path:
    return Path(tempfile.mkdtemp(prefix="temper-trained-"))


def place(key: str) -> Path:
    """The folder of a training; it may not be there yet. Where nothing is to be kept it ends with the program."""
    return (home() or _passing()) / "trained" / key


def write(folder: Path, name: Name, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Keep tensors and facts under a name. Raises `TemperError` where the disk does not take them."""
    partial = folder / f".{name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        apart = {key: one.contiguous().to("cpu", copy=True) for key, one in tensors.items()}  # none shares memory
        partial.write_bytes(save(apart))
        partial.replace(folder / f"{name}.safetensors")
        partial.write_text(json.dumps(facts), "utf-8")
        partial.replace(folder / f"{name}.json")
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise TemperError(
            f"What was learned cannot be kept in {folder}: {error.strerror or error}.",
            "Make room there, or name another folder in TEMPER_HOME.",
        ) from error


def read(folder: Path, name: Name) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and facts, or None where there are none that can be read."""
    try:
        facts = json.loads((folder / f"{name}.json").read_text("utf-8"))
        tensors = load((folder / f"{name}.safetensors").read_bytes())
        (folder / f"{name}.json").touch()
        if not isinstance(facts, dict):
            return None
    except (OSError, ValueError, SafetensorError):
        return None
    return tensors, facts


def save_state(folder: Path, state: State, about: Mapping[str, Any]) -> None:
    """Write down where a training stands. Raises `TemperError` as `write`."""
    tensors = {f"now/{name}": tensor for name, tensor in state.tensors.items()}
    tensors |= {f"best/{name}": tensor for name, tensor in state.best.items()}
    numbers: dict[str, dict[str, Any]] = {}
    for which, moments in state.moments.get("state", {}).items():
        for name, value in moments.items():
            if isinstance(value, Tensor):
                tensors[f"moment/{which}/{name}"] = value
            else:
                numbers.setdefault(str(which), {})[name] = value
    facts = {
        **about,
        "step": state.step,
        "seconds": state.seconds,
        "best_loss": state.best_loss,
        "best_step": state.best_step,
        "looks": [asdict(look) for look in state.looks],
        "places": state.places,
        "groups": state.moments.get("param_groups", []),
        "numbers": numbers,
    }
    write(folder, "state", tensors, facts)


def load_state(folder: Path) -> State | None:
    """Where a training stood when it was written down, or None."""
    found = read(folder, "state")
    if found is None:
        return None
    tensors, facts = found
    try:
        part = {which: _under(tensors, f"{which}/") for which in ("now", "best", "moment")}
        moments: dict[int, dict[str, Any]] = {}
        for name, tensor in part["moment"].items():
            which, _, what = name.partition("/")
            moments.setdefault(int(which), {})[what] = tensor
        for number, values in facts["numbers"].items():
            moments.setdefault(int(number), {}).update(values)
        looks = [Look(**look) for look in facts["looks"]]
        kept = {"state": moments, "param_groups": facts["groups"]}
        best = (part["best"], facts["best_loss"], facts["best_step"])
        return State(facts["step"], facts["seconds"], looks, part["now"], *best, kept, facts.get("places", []))
    except (KeyError, TypeError, ValueError):
        return None


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def save_trained(folder: Path, network: Network, changed: frozenset[str], facts: Mapping[str, Any]) -> None:
    """Keep what a network has learned, and drop where it stood on the way. Raises `TemperError` as `write`."""
    tensors = {f"tensor/{name}": network.tensors[name] for name in changed & network.tensors.keys()}
    tensors |= {f"grid/{name}": grid.scale for name, grid in network.grids.items()}
    tensors |= {f"point/{name}": grid.scale for name, grid in network.activations.items()}
    write(folder, "trained", tensors, facts)
    drop_state(folder)
    _trim(folder.parent)


def drop_state(folder: Path) -> None:
    """Forget where a training stood on the way."""
    for suffix in ("json", "safetensors"):
        with contextlib.suppress(OSError):
            (folder / f"state.{suffix}").unlink()


def load_trained(folder: Path, network: Network) -> tuple[Network, dict[str, Any]] | None:
    """The network with what it learned in an earlier training, and the facts of that; None where there was none."""
    found = read(folder, "trained")
    if found is None:
        return None
    tensors, facts = found
    learned = _under(tensors, "tensor/")
    if (
        not learned
        or not facts.keys() >= FACTS
        or any(name not in network.tensors or network.tensors[name].shape != t.shape for name, t in learned.items())
    ):
        return None
    grids, points = _under(tensors, "grid/"), _under(tensors, "point/")
    network = network.with_tensors(learned)
    grown = {name: replace(grid, scale=grids.get(name, grid.scale)) for name, grid in network.grids.items()}
    places = {name: replace(grid, scale=points.get(name, grid.scale)) for name, grid in network.activations.items()}
    return replace(network, grids=grown, activations=places), facts


def _trim(folder: Path) -> None:
    def used(one: Path) -> float:
        times = [path.stat().st_mtime for path in one.glob("*.json")]
        return max(times, default=0.0)

    with contextlib.suppress(OSError):
        for old in sorted(folder.iterdir(), key=used, reverse=True)[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
