"""From a person's model file, or a name, to the canonical graph, checked against the original on the same inputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import TemperError
from core.models import catalogue
from core.models.architectures import ARCHITECTURES
from core.models.catalogue import Reading
from core.models.export import exported
from core.models.graph import Graph, graph_of
from core.models.onnx_file import read_onnx
from core.models.programs import read_program
from core.models.simplify import observe
from core.models.states import PROGRAM, read_state

SUFFIXES = (".safetensors", ".pt", ".pth", ".pt2", ".onnx")
TOLERANCE = 1e-3  # of the largest logit: float32 sums in another order, through some hundred layers, stay below 1e-4


@dataclass(frozen=True)
class ModelWish:
    """What a person says about their model; None means: find out.

    `download` allows fetching a named model's published weights, once.
    """

    architecture: str | None = None
    input_shape: tuple[int, ...] | None = None
    download: bool = False


@dataclass(frozen=True)
class Incoming:
    """A model that was read: its graph, what it reads and writes, and how it compares with the original.

    `difference` is the largest deviation of the graph's logits from the original program's on the same noise, as a
    fraction of the largest logit.
    """

    graph: Graph
    input_shape: tuple[int, ...]
    classes: int
    architecture: str
    reading: Reading | None
    difference: float
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_model(given: str, wish: ModelWish) -> Incoming:
    """Read a model file, or `torchvision:NAME` and `timm:NAME` with their published weights. Raises `TemperError`."""
    if ":" in given and given.partition(":")[0] in ("torchvision", "timm"):
        return _named(given, wish)
    path = Path(given)
    if not path.is_file():
        raise TemperError(
            f"There is no model file at {given:.200}.", "Give a file, or a name such as torchvision:resnet18."
        )
    if path.suffix.lower() not in SUFFIXES:
        raise TemperError(
            f"A model file ends in {', '.join(SUFFIXES)}; got {path.name[-60:]}.",
            f"Where the model was made: {PROGRAM}",
        )
    if path.stat().st_size == 0:
        raise TemperError(f"{path.name} is empty.", "Copy it again.")
    if path.suffix.lower() == ".onnx":
        return _onnx(path, wish)
    if path.suffix.lower() == ".pt2":
        return _program(path, wish)
    return _state(path, wish)


def _state(path: Path, wish: ModelWish) -> Incoming:
    state = read_state(path)
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    name, module, notes = _module_for(path.name, shapes, wish)
    wrong = catalogue.mismatches(module, shapes)
    if wrong:
        more = f"; {len(wrong) - 4} more" if len(wrong) > 4 else ""
        raise TemperError(
            f"The tensors of {path.name} do not fit {name}: {'; '.join(wrong[:4])}{more}.",
            "Name the architecture it was trained as.",
        )
    module.load_state_dict(state, strict=False)
    known = catalogue.reading(name) if ":" in name else None
    shape = wish.input_shape or (known.input_shape if known else _input_of(name, module))
    return _from_module(module.eval(), shape, name, known, notes)


def _module_for(file: str, shapes: catalogue.Shapes, wish: ModelWish) -> tuple[str, nn.Module, tuple[str, ...]]:
    """The architecture asked for, or the one that the tensors' names and shapes tell."""
    if wish.architecture and wish.architecture not in ARCHITECTURES:
        return wish.architecture, _sized(wish.architecture, shapes, wish), ()
    own = catalogue.own(shapes)
    if own is not None:
        name, arguments = own
        return name, ARCHITECTURES[name](**arguments), ()
    fitting = []
    for name in [] if wish.architecture else catalogue.guess(shapes):
        head = catalogue.head_of(name)
        classes = shapes[head][0] if head is not None and head in shapes else 0
        if classes and not catalogue.mismatches(catalogue.weightless(name, classes), shapes):
            fitting.append(name)
    if fitting:
        others = f"; {len(fitting) - 1} more would fit, such as {fitting[1]}" if len(fitting) > 1 else ""
        note = f"Recognised as {fitting[0]} by the names and shapes of its tensors{others}."
        return fitting[0], _sized(fitting[0], shapes, wish), (note,)
    chain = catalogue.chain(shapes)
    if chain is not None:
        note = "Linear layers in a row; a state dict does not name their activation, so ReLU is assumed."
        return "linear layers with ReLU", chain, (note,)
    near = catalogue.guess(shapes)
    said = f"; the names look like {near[0]}, its shapes do not" if near else ""
    few = ", ".join(f"{name} {list(shape)}" for name, shape in list(shapes.items())[:3])
    raise TemperError(
        f"{file} holds {len(shapes):,} tensors ({few:.150}) of no known architecture{said}.",
        f"Name one, such as torchvision:resnet18, or export the program: {PROGRAM}",
    )


def _sized(name: str, shapes: catalogue.Shapes, wish: ModelWish) -> nn.Module:
    head = catalogue.head_of(name)
    if head is None or head not in shapes:
        raise TemperError(
            f"The file has no {head or 'classification head'}, which {name} needs.",
            "Name the architecture it was trained as.",
        )
    return catalogue.built(name, shapes[head][0], wish.input_shape)


def _input_of(name: str, module: nn.Module) -> tuple[int, ...]:
    if name == "residual-net":
        return (1, 28, 28)
    first = next(p for p in module.parameters() if p.ndim == 2)
    return (first.shape[1],)


def _named(name: str, wish: ModelWish) -> Incoming:
    """An architecture with its published weights, from this machine's cache or, when agreed to, downloaded."""
    library, _, short = name.partition(":")
    known = catalogue.reading(name)
    try:
        module, labels = _torchvision(short, wish) if library == "torchvision" else _timm(short, wish)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise TemperError(
            f"The published weights of {name} could not be had: {str(error).splitlines()[0]:.150}.",
            "Check the connection, or load a file.",
        ) from error
    shape = wish.input_shape or (known.input_shape if known else (3, 224, 224))
    found = _from_module(module.eval(), shape, name, known, (f"Published weights of {name}.",))
    return Incoming(**{**vars(found), "labels": labels})


def _torchvision(short: str, wish: ModelWish) -> tuple[nn.Module, tuple[str, ...]]:
    catalogue.weightless(f"torchvision:{short}", 10)  # says so where there is no such name
    from torchvision import models

    weights: Any = models.get_model_weights(short).DEFAULT
    file = Path(torch.hub.get_dir()) / "checkpoints" / str(weights.url).rpartition("/")[2]
    if not file.exists() and not wish.download:
        raise TemperError(
            f"The published weights of torchvision:{short} are not on this machine.",
            f"Allow the download (--download), or put the file at {file}.",
        )
    module = models.get_model(short, weights=None)
    state = read_state(file) if file.exists() else weights.get_state_dict(check_hash=True, progress=False)
    module.load_state_dict(state)
    return module, tuple(weights.meta.get("categories", ()))


def _timm(short: str, wish: ModelWish) -> tuple[nn.Module, tuple[str, ...]]:
    import os

    import timm

    catalogue.weightless(f"timm:{short}", 10)
    before = os.environ.get("HF_HUB_OFFLINE")
    if not wish.download:
        os.environ["HF_HUB_OFFLINE"] = "1"  # this process ends after the model; nothing else reads it
    try:
        return timm.create_model(short, pretrained=True), ()
    except Exception as error:
        if wish.download:
            raise
        raise TemperError(
            f"The published weights of timm:{short} are not on this machine.", "Allow the download (--download)."
        ) from error
    finally:
        if before is None:
            os.environ.pop("HF_HUB_OFFLINE", None)


def _program(path: Path, wish: ModelWish) -> Incoming:
    module = read_program(path)
    entries = [node for node in module.graph.nodes if node.op == "placeholder"]
    value = entries[0].meta.get("val") if len(entries) == 1 else None
    if not isinstance(value, Tensor) or value.dtype != torch.float32 or value.ndim not in (2, 3, 4):
        raise TemperError(
            f"{path.name} takes {len(entries)} inputs; one float32 tensor (N, ...) was expected.",
            f"Export it again: {PROGRAM}",
        )
    first, *rest = value.shape
    fixed = int(first) if isinstance(first, int) else 0
    shape = wish.input_shape or tuple(int(length) for length in rest if isinstance(length, int))
    if len(shape) != len(rest):
        raise TemperError(f"{path.name} leaves its input's size open.", "Say it: --input-shape 3,224,224")
    return _from_module(module, shape, "an exported program", None, (), fixed)


def _from_module(
    module: nn.Module,
    shape: tuple[int, ...],
    name: str,
    known: Reading | None,
    notes: tuple[str, ...],
    fixed: int = 0,
) -> Incoming:
    generator = torch.Generator().manual_seed(0)
    example = torch.randn(fixed or 2, *shape, generator=generator)
    try:
        with torch.no_grad():
            expected = module(example)
        graph = graph_of(exported(module, example), fixed)
    except TemperError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        raise _unreadable(name, shape, error) from error
    if not isinstance(expected, Tensor):
        raise TemperError(
            f"{name} gives a {type(expected).__name__}; one tensor of logits (N, classes) was expected.", ""
        )
    return _compared(graph, example.numpy(), expected.numpy(), shape, name, known, notes)


def _unreadable(name: str, shape: tuple[int, ...], error: Exception) -> TemperError:
    said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return TemperError(
        f"{name} could not be run on an input of {list(shape)}, any number at a time: {said:.160}.",
        "Check the input's size, and export it with a batch that may vary: "
        "dynamic_shapes=({0: torch.export.Dim('batch')},)",
    )


def _onnx(path: Path, wish: ModelWish) -> Incoming:
    proto, notes = read_onnx(path)
    held = {tensor.name for tensor in proto.graph.initializer}
    entry = next(value for value in proto.graph.input if value.name not in held)
    lengths = [length.dim_value for length in entry.type.tensor_type.shape.dim]
    shape = wish.input_shape or tuple(lengths[1:])
    if not all(shape) or len(shape) != len(lengths) - 1:
        raise TemperError(
            f"{path.name} leaves its input's size open {lengths[1:]}.", "Say it: --input-shape 3,224,224"
        )
    for place, length in enumerate(shape, 1):
        entry.type.tensor_type.shape.dim[place].dim_value = length
    try:
        output = proto.graph.output[0].name
        example = np.random.default_rng(0).standard_normal((lengths[0] or 2, *shape)).astype(np.float32)
        expected = _outcome(proto, entry.name, example, output)
        graph = graph_of(proto, lengths[0])
    except MemoryError:
        raise
    except Exception as error:
        raise _unreadable(path.name, shape, error) from error
    return _compared(graph, example, expected, shape, "an ONNX graph", None, notes)


def _outcome(proto: Any, entry: str, example: np.ndarray, output: str) -> np.ndarray:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    return np.asarray(session.run([output], {entry: example})[0])


def _compared(
    graph: Graph, example: np.ndarray, expected: np.ndarray, shape: tuple[int, ...], name: str,
    known: Reading | None, notes: tuple[str, ...],
) -> Incoming:  # fmt: skip
    """The graph beside the original on the same inputs. Raises `TemperError` where they part or give no logits."""
    if expected.ndim != 2 or expected.shape[1] < 2 or expected.dtype != np.float32:
        raise TemperError(
            f"{name} gives {expected.dtype} of {list(expected.shape)} for {len(example)} examples; logits of two "
            "classes or more, float32 (N, classes), were expected.",
            "Export the network up to its logits.",
        )
    broken = [n for n, values in graph.tensors.items() if not np.isfinite(values).all()]
    if broken:
        more = f", and so do {len(broken) - 1} more" if broken[1:] else ""
        raise TemperError(
            f"{name}: the tensor {broken[0]} holds NaN or infinite values{more}.",
            "Train or save it again: nothing can be measured with these.",
        )
    if not np.isfinite(expected).all():
        raise TemperError(f"{name} gives NaN or infinite logits on ordinary noise.", "Check its weights.")
    if not graph.layers:
        raise TemperError(
            f"{name} has no convolution and no linear layer: there is nothing to prune or quantize.", ""
        )
    found = _outcome(graph.whole(), "input", example, "logits")
    difference = float(np.abs(found - expected).max() / max(1e-6, np.abs(expected).max()))
    if difference > TOLERANCE:
        raise TemperError(
            f"Temper's graph of {name} differs from the original by {difference:.1%} of its largest logit.",
            "Please report this model; until then load it in another format.",
        )
    observe(graph.whole(), 3, ["logits"])  # another batch than the one compared
    return Incoming(graph, shape, expected.shape[1], name, known, difference, (), notes)
