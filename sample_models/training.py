"""What the samples' `train.py` scripts share: reading IDX files, a resumable training loop, saving a sample.

Run a script from the repository's root, for example
`python sample_models/fashion-resnet/train.py --idx /usr/share/datasets/fashion-mnist`. With `--splits-only` a script
writes its sample's splits again, and what the card says of them, and trains nothing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
FASHION_CALIBRATION = 5_000  # training images set aside, 500 of each class
FASHION_SHIPPED = 12_000  # of the 55,000 that fit the weights, 1,200 of each class
SPLITS = ("fit", "calibration", "evaluation")


def read_idx(folder: Path, name: str) -> NDArray[np.uint8]:
    """Read one IDX file, gzipped or not, as an array with the file's own shape."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists():
            raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            rank = raw[3]
            shape = np.frombuffer(raw, ">i4", rank, 4)
            return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)
    raise SystemExit(f"{folder} holds no {name}[.gz]: give --idx a folder with the four Fashion-MNIST IDX files.")


def stratified_take(labels: NDArray[np.integer], count: int, seed: int) -> NDArray[np.bool_]:
    """Mark `count` examples, drawn in proportion to the classes. Returns a mask of shape `(N,)`."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    taken = np.zeros(len(labels), bool)
    taken[order[np.linspace(0, len(labels) - 1, count).round().astype(int)]] = True
    return taken


def share_of(strata: NDArray[np.integer], count: int, seed: int) -> NDArray[np.int64]:
    """Sorted places `(count,)` of what is shipped of a large fit split, each stratum `(N,)` in proportion."""
    from core.data.splits import stratified_part

    return stratified_part(strata.astype(np.int64), count, seed)


def options_of(folder: Path) -> argparse.ArgumentParser:
    """What every script can be asked."""
    options = argparse.ArgumentParser(description=f"Train {folder.name} and write its splits and its card.")
    options.add_argument(
        "--splits-only", action="store_true", help="write the splits and what the card says of them; train nothing"
    )
    return options


def splits_alone(folder: Path, split: str) -> bool:
    """Whether only the splits, which lie there already, are wanted: the card then states them and nothing is trained.

    `split` is the card's sentence on them. Weights, graph and figures stay as they are.
    """
    if not options_of(folder).parse_known_args()[0].splits_only:
        return False
    path = folder / "card.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    card["data"]["split"] = split
    card["splits"] = {name: split_entry(folder, name) for name in SPLITS}
    path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(card["splits"]))
    return True


@dataclass(frozen=True)
class FashionSplits:
    """Fashion-MNIST as uint8 pictures `(N, 28, 28)`: 55,000 to fit, 5,000 to calibrate, 10,000 to evaluate."""

    fit: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    calibration: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    evaluation: tuple[NDArray[np.uint8], NDArray[np.uint8]]


def fashion_splits(folder: Path) -> FashionSplits:
    """Read the IDX files and set the calibration split aside before anything is trained."""
    x, y = read_idx(folder, "train-images-idx3-ubyte"), read_idx(folder, "train-labels-idx1-ubyte")
    held = stratified_take(y, FASHION_CALIBRATION, seed=20)
    return FashionSplits(
        (x[~held], y[~held]),
        (x[held], y[held]),
        (read_idx(folder, "t10k-images-idx3-ubyte"), read_idx(folder, "t10k-labels-idx1-ubyte")),
    )


def augment(x: Tensor, shift: int, generator: torch.Generator) -> Tensor:
    """Flip half of the pictures `(N, 1, H, W)` left to right and move each by up to `shift` pixels."""
    flip = torch.rand(len(x), generator=generator) < 0.5
    x = torch.where(flip[:, None, None, None], x.flip(3), x)
    if shift == 0:
        return x
    shifts = torch.randint(0, 2 * shift + 1, (len(x), 2), generator=generator)
    padded = F.pad(x, (shift, shift, shift, shift), value=float(x.min()))
    rows = shifts[:, :1] + torch.arange(x.shape[2])
    columns = shifts[:, 1:] + torch.arange(x.shape[3])
    return padded[torch.arange(len(x))[:, None, None], 0, rows[:, :, None], columns[:, None, :]][:, None]


@dataclass(frozen=True)
class Schedule:
    """How long and how hard to train: SGD with Nesterov momentum, one warm-up, cosine decay to zero."""

    epochs: int
    batch: int
    rate: float
    weight_decay: float
    warm_up_epochs: float = 2.0
    shift: int = 2  # pixels a training picture is moved at most
    seed: int = 0


def train(model: nn.Module, x: Tensor, y: Tensor, schedule: Schedule, checkpoint: Path, pictures: bool) -> nn.Module:
    """Minimise cross-entropy and return the model as it stands after the last epoch.

    Nothing is selected on held-out data. A checkpoint is written after every epoch; started again,
    the loop goes on from it. Pictures are augmented and trained in bfloat16 autocast.
    """
    torch.manual_seed(schedule.seed)
    optimiser = torch.optim.SGD(
        model.parameters(), lr=schedule.rate, momentum=0.9, nesterov=True, weight_decay=schedule.weight_decay
    )
    per_epoch = math.ceil(len(x) / schedule.batch)
    done = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        done = int(state["epoch"])
        print(f"resuming after epoch {done}", flush=True)
    started = time.monotonic()
    for epoch in range(done, schedule.epochs):
        generator = torch.Generator().manual_seed(schedule.seed * 1_000 + epoch)
        order = torch.randperm(len(x), generator=generator)
        model.train()
        total_loss, right = 0.0, 0
        for step in range(per_epoch):
            progress = (epoch + step / per_epoch) / schedule.epochs
            warm = schedule.warm_up_epochs / schedule.epochs
            factor = (
                progress / warm if progress < warm else 0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm)))
            )
            for group in optimiser.param_groups:
                group["lr"] = schedule.rate * max(factor, 1e-4)
            chosen = order[step * schedule.batch : (step + 1) * schedule.batch]
            inputs, labels = x[chosen], y[chosen]
            if pictures:
                inputs = augment(inputs, schedule.shift, generator).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=pictures):
                logits = model(inputs)
            loss = F.cross_entropy(logits.float(), labels)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            total_loss += loss.item() * len(chosen)
            right += int((logits.argmax(1) == labels).sum())
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = checkpoint.with_suffix(".partial")
        torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "epoch": epoch + 1}, partial)
        partial.replace(checkpoint)
        if pictures or (epoch + 1) % 50 == 0:
            spent = time.monotonic() - started
            left = spent / (epoch + 1 - done) * (schedule.epochs - epoch - 1)
            print(
                f"epoch {epoch + 1}/{schedule.epochs}  loss {total_loss / len(x):.4f}  "
                f"fit accuracy {right / len(x):.4f}  {left / 60:.1f} min left",
                flush=True,
            )
    return model.eval()


def save_weights(model: nn.Module, folder: Path) -> None:
    """Write `weights.safetensors`: float32, contiguous, without batch counters."""
    state = {
        name: value.detach().float().contiguous()
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    save_file(state, folder / "weights.safetensors")


def save_split(folder: Path, name: str, x: NDArray, y: NDArray, **more: NDArray) -> None:
    """Write one labelled split as a compressed `.npz`: `x`, `y` and arrays that no network reads.

    Classes are kept as int64, amounts as float32.
    """
    kind = np.float32 if y.dtype.kind == "f" else np.int64
    np.savez_compressed(folder / f"{name}.npz", x=x, y=y.astype(kind), **more)


def split_entry(folder: Path, name: str) -> dict[str, object]:
    """A split's entry in the card."""
    from core import fingerprint

    path = folder / f"{name}.npz"
    with np.load(path, allow_pickle=False) as arrays:
        return {"file": path.name, "n": len(arrays["y"]), "fingerprint": fingerprint.of_file(path)}


def save_graph(model: nn.Module, folder: Path, input_shape: tuple[int, ...]) -> None:
    """Write `graph.onnx`, the structure that everything but training computes on."""
    from core.models.export import exported
    from core.models.graph import graph_of, save_structure

    graph = graph_of(exported(model, torch.zeros(2, *input_shape)))
    stored = load_file(folder / "weights.safetensors")
    if graph.shapes != {name: tuple(tensor.shape) for name, tensor in stored.items()}:
        raise ValueError(f"The graph of {folder.name} names other tensors than its weights.")
    save_structure(graph, folder / "graph.onnx")


def climatology(rate: float, labels: NDArray[np.integer], brier: float) -> dict[str, float]:
    """What always forecasting `rate` for class 1 scores on `labels`, and the skill of a model that scores `brier`.

    Brier scores are summed over the two classes; the skill is `1 - brier / climatology's` and 0 for no gain.
    """
    score = 2 * float(np.mean((rate - labels) ** 2))
    return {"brier": round(score, 6), "brier_skill": round(1 - brier / score, 6)}


def stated(folder: Path, facts: dict[str, object]) -> dict[str, object]:
    """The given facts, then what is read off the files themselves; writes `graph.onnx`."""
    from core import fingerprint
    from core.models.architectures import ARCHITECTURES

    card = dict(facts)
    card["weights"] = {
        "file": "weights.safetensors",
        "fingerprint": fingerprint.of_file(folder / "weights.safetensors"),
    }
    module = ARCHITECTURES[card["architecture"]](**card["arguments"])
    save_graph(module.eval(), folder, tuple(card["input_shape"]))
    card["graph"] = {"file": "graph.onnx", "fingerprint": fingerprint.of_file(folder / "graph.onnx")}
    card["splits"] = {name: split_entry(folder, name) for name in SPLITS}
    return card


def write_card(folder: Path, facts: dict[str, object]) -> None:
    """Write `card.json`: the given facts, then everything that can be recomputed from the files."""
    from core.engine.evaluate import evaluate
    from core.models.architectures import multiply_adds
    from core.models.handle import build, example_input, parameter_count
    from core.models.samples import load_sample
    from core.recipe import Recipe
    from core.registry import methods

    card = stated(folder, facts)
    path = folder / "card.json"
    path.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    model, data = load_sample(folder.name)
    outcome = evaluate(model, data, Recipe()).original
    card["parameters"] = parameter_count(model)
    card["multiply_adds"] = multiply_adds(build(model), example_input(model))
    card["figures"] = {m.name: round(m.function.of(outcome), 6) for m in methods("metric", data.task.kind)}
    if "climatology" in card:
        card["climatology"] |= climatology(card["climatology"]["rate"], outcome.labels, card["figures"]["brier"])
        print(json.dumps(card["climatology"]))
    path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(card["figures"], indent=2))


def train_fashion(folder: Path, title: str, summary: str, widths: list[int], schedule: Schedule) -> None:
    """Train a residual net on Fashion-MNIST and write its weights, the shipped splits and its card."""
    from core.models.architectures import ResidualNet

    options = options_of(folder)
    options.add_argument("--idx", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    splits = fashion_splits(options.parse_args().idx)
    x, y = splits.fit
    shipped = share_of(y, FASHION_SHIPPED, seed=21)
    save_split(folder, "fit", x[shipped], y[shipped])
    save_split(folder, "calibration", *splits.calibration)
    save_split(folder, "evaluation", *splits.evaluation)
    split = (
        "The 10,000 test images evaluate. Of the 60,000 training images 5,000, an equal share of each class, are set "
        "aside to calibrate and never trained on; 55,000 fit the weights. 12,000 of those, an equal share of each "
        "class drawn with a fixed seed, are shipped as the fit split."
    )
    if splits_alone(folder, split):
        return
    mean, deviation = pixel_statistics(x)
    inputs = ((torch.from_numpy(x.copy()).float() / 255 - mean) / deviation)[:, None]
    labels = torch.from_numpy(y.copy()).long()
    torch.manual_seed(schedule.seed)
    model = ResidualNet(widths, len(FASHION_CLASSES)).to(memory_format=torch.channels_last)
    train(model, inputs, labels, schedule, ROOT / ".work" / f"{folder.name}.pt", pictures=True)
    save_weights(model, folder)
    write_card(
        folder,
        {
            "title": title,
            "summary": summary,
            "task": {"kind": "multi-class"},
            "architecture": "residual-net",
            "arguments": {"widths": widths, "classes": len(FASHION_CLASSES)},
            "input_shape": [1, 28, 28],
            "classes": list(FASHION_CLASSES),
            "preprocessing": {"scale": 255, "mean": [mean], "deviation": [deviation]},
            "data": {
                "name": "Fashion-MNIST",
                "modality": "pictures",
                "licence": "MIT, copyright 2017 Zalando SE",
                "attribution": "Xiao, Rasul and Vollgraf 2017, Fashion-MNIST, arXiv 1708.07747",
                "split": split,
            },
            "training": {**asdict(schedule), "selection": "none: the weights after the last epoch"},
        },
    )


def pixel_statistics(x: NDArray[np.uint8]) -> tuple[float, float]:
    """Mean and standard deviation of all pixels on a 0 to 1 scale, to four digits."""
    scaled = x.astype(np.float64) / 255
    return round(float(scaled.mean()), 4), round(float(scaled.std()), 4)
