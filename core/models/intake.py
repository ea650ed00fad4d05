"""From a person's model file, or a name, to the canonical graph, checked against the original on the same inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.calibrators._fitted import softmax
from core.data.archive import shown
from core.data.intake import MOST_INPUT
from core.errors import TemperError
from core.models import catalogue
from core.models.architectures import ARCHITECTURES
from core.models.catalogue import Reading
from core.models.export import exported
from core.models.graph import Graph, graph_of
from core.models.onnx_file import SOFTMAX, read_onnx, without_softmax
from core.models.programs import read_program
from core.models.published import published
from core.models.sentences import reason, swollen
from core.models.simplify import runner
from core.models.states import PROGRAM, read_state

SUFFIXES = (".safetensors", ".pt", ".pth", ".pt2", ".onnx")
TOLERANCE = 1e-3  # of the largest logit: float32 sums in another order, through some hundred layers, stay below 1e-4
COMPARED = (4, 1)  # examples at a time: other numbers than those the graph is made from
MORE = "Give a smaller model, or allow more with TEMPER_LOAD_MEMORY (gigabytes)."
Floats = NDArray[np.float32]
Run = Callable[[Floats], Floats]
Maker = Callable[[], nn.Module]


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
    name = shown(given if ":" in given else Path(given).name)
    try:
        if given.partition(":")[0] in ("torchvision", "timm") and ":" in given:
            return _named(given, wish)
        return _read(Path(given), wish)
    except TemperError:
        raise
    except Exception as error:
        if not swollen(error):
            raise
        raise TemperError(f"Reading {name} needs more memory than there is.", MORE) from error


def _read(path: Path, wish: ModelWish) -> Incoming:
    suffix, name = path.suffix.lower(), shown(path.name)
    try:
        if path.is_dir():
            raise TemperError(f"{name} is a folder; a model file was expected.", "Give the file inside it.")
        size = path.stat().st_size if path.is_file() else None
    except (OSError, ValueError) as error:  # a name too long, a folder that may not be entered
        raise TemperError(f"{name} cannot be opened: {reason(error)}.", "Check the path.") from error
    if size is None:
        raise TemperError(
            f"There is no model file at {shown(path, 200)}.", "Give a file, or a name such as torchvision:resnet18."
        )
    if suffix not in SUFFIXES:
        raise TemperError(
            f"A model file ends in {', '.join(SUFFIXES)}; got {name}.", f"Where the model was made: {PROGRAM}"
        )
    if size == 0:
        raise TemperError(f"{name} is empty.", "Copy it again.")
    return (
        _onnx(path, wish) if suffix == ".onnx" else _program(path, wish) if suffix == ".pt2" else _state(path, wish)
    )


def _state(path: Path, wish: ModelWish) -> Incoming:
    state = read_state(path)
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    name, make, notes = _module_for(shown(path.name), shapes, wish)
    with torch.device("meta"):  # a name and a shape may claim more memory than the file's own tensors take
        wrong = catalogue.mismatches(make(), shapes)
    whole = [n for n, t in state.items() if not t.is_floating_point() and not n.endswith(catalogue.COUNTER)]
    wrong += [f"{n} holds {state[n].dtype}, no floats" for n in whole if n.endswith(("weight", "bias"))]
    if wrong:
        more = f"; {len(wrong) - 4:,} more" if len(wrong) > 4 else ""
        raise TemperError(
            f"The tensors of {shown(path.name)} do not fit {name}: "
            f"{'; '.join(shown(line, 70) for line in wrong[:4])}{more}.",
            "Name the architecture it was trained as.",
        )
    module = make()
    module.load_state_dict(state, strict=False)
    known = catalogue.reading(name) if ":" in name else None
    shape = wish.input_shape or (known.input_shape if known else _input_of(name, module))
    return _from_module(module.eval(), shape, name, known, notes)


def _module_for(file: str, shapes: catalogue.Shapes, wish: ModelWish) -> tuple[str, Maker, tuple[str, ...]]:
    """The architecture asked for, or the one that the tensors' names and shapes tell, and what makes it."""
    if wish.architecture and wish.architecture not in ARCHITECTURES:
        return wish.architecture, _sized(wish.architecture, shapes, wish), ()
    own = catalogue.own(shapes)
    if own is not None:
        name, arguments = own
        return name, partial(ARCHITECTURES[name], **arguments), ()
    fitting = []
    for name in [] if wish.architecture else catalogue.guess(shapes):
        head = catalogue.head_of(name)
        classes = shapes[head][0] if head is not None and shapes.get(head) else 0
        if classes and not catalogue.mismatches(catalogue.weightless(name, classes), shapes):
            fitting.append(name)
    if fitting:
        others = f"; {len(fitting) - 1} more would fit, such as {fitting[1]}" if len(fitting) > 1 else ""
        note = f"Recognised as {fitting[0]} by the names and shapes of its tensors{others}."
        return fitting[0], _sized(fitting[0], shapes, wish), (note,)
    row = catalogue.chain(shapes)
    if row is not None and not wish.architecture:
        order = shown(", ".join(row.order), 80)
        note = f"Linear layers in a row ({order}); a state dict does not name their activation, so ReLU is assumed."
        return "linear layers with ReLU", partial(_chain, shapes), (note,)
    near = catalogue.guess(shapes)
    said = f"; the names look like {near[0]}, its shapes do not" if near else ""
    few = ", ".join(f"{shown(name, 40)} {list(shape)}" for name, shape in list(shapes.items())[:3])
    raise TemperError(
        f"{file} holds {len(shapes):,} tensors ({few:.150}) of no known architecture{said}.",
        f"Name one, such as torchvision:resnet18, or export the program: {PROGRAM}",
    )


def _chain(shapes: catalogue.Shapes) -> nn.Module:
    made = catalogue.chain(shapes)
    assert made is not None
    return made


def _sized(name: str, shapes: catalogue.Shapes, wish: ModelWish) -> Maker:
    head = catalogue.head_of(name)
    if head is None or not shapes.get(head):
        raise TemperError(
            f"The file has no {head or 'classification head'}, which {name:.60} needs.",
            "Name the architecture it was trained as.",
        )
    return partial(catalogue.built, name, shapes[head][0], wish.input_shape)


def _input_of(name: str, module: nn.Module) -> tuple[int, ...]:
    if name == "residual-net":
        return (1, 28, 28)
    first = next(p for p in module.parameters() if p.ndim == 2)
    return (first.shape[1],)


def _named(name: str, wish: ModelWish) -> Incoming:
    module, labels = published(name, wish.download)
    known = catalogue.reading(name)
    shape = wish.input_shape or (known.input_shape if known else (3, 224, 224))
    found = _from_module(module.eval(), shape, name, known, (f"Published weights of {name}.",))
    return replace(found, labels=labels)


def _program(path: Path, wish: ModelWish) -> Incoming:
    module = read_program(path)
    entries = [node for node in module.graph.nodes if node.op == "placeholder"]
    value = entries[0].meta.get("val") if len(entries) == 1 else None
    if not isinstance(value, Tensor) or value.dtype != torch.float32 or value.ndim not in (2, 3, 4):
        raise TemperError(
            f"{shown(path.name)} takes {len(entries)} inputs; one float32 tensor (N, ...) was expected.",
            f"Export it again: {PROGRAM}",
        )
    first, *rest = value.shape
    fixed = int(first) if isinstance(first, int) else 0
    stated = [int(length) if isinstance(length, int) else 0 for length in rest]
    shape = _input_shape(path, stated, fixed, wish)
    return _from_module(module, shape, "an exported program", None, (), fixed)


def _input_shape(path: Path, stated: list[int], fixed: int, wish: ModelWish) -> tuple[int, ...]:
    """One example's shape: the file's own, with what it leaves open taken from the wish."""
    shape = wish.input_shape or tuple(stated)
    if len(shape) != len(stated) or any(0 < length != given for length, given in zip(stated, shape, strict=True)):
        raise TemperError(
            f"{shown(path.name)} reads inputs of {stated}; {list(shape)} was asked for.",
            "Leave --input-shape out, or export the model for that size.",
        )
    if min(shape) < 1:
        raise TemperError(
            f"{shown(path.name)} leaves its input's size open {stated}.", "Say it: --input-shape 3,224,224"
        )
    if fixed < 0 or math.prod(shape) * max(1, fixed) > MOST_INPUT:
        raise TemperError(
            f"{shown(path.name)} reads {max(1, fixed):,} examples of {list(shape)} at once; the most are "
            f"{MOST_INPUT:,} values.",
            "Export it for a smaller input or batch.",
        )
    return shape


def _from_module(
    module: nn.Module,
    shape: tuple[int, ...],
    name: str,
    known: Reading | None,
    notes: tuple[str, ...],
    fixed: int = 0,
) -> Incoming:
    def original(inputs: Floats) -> Floats:
        with torch.no_grad():
            found = module(torch.from_numpy(inputs))
        if not isinstance(found, Tensor):
            raise TemperError(
                f"{name} gives a {type(found).__name__}; one tensor of logits (N, classes) was expected.", ""
            )
        return found.numpy()

    with _runs(name, shape):
        example = _noise(fixed or 2, shape)
        first = original(example)
        proto, more = without_softmax(exported(module, torch.from_numpy(example)))
        graph = graph_of(proto, fixed)
    return _compared(graph, original, first, shape, fixed, name, known, (*notes, *more))


def _onnx(path: Path, wish: ModelWish) -> Incoming:
    whole = read_onnx(path)
    held = {tensor.name for tensor in whole.graph.initializer}
    entry = next(value for value in whole.graph.input if value.name not in held)
    fixed, *stated = [max(0, length.dim_value) for length in entry.type.tensor_type.shape.dim]
    shape = _input_shape(path, stated, fixed, wish)
    for place, length in enumerate(shape, 1):
        entry.type.tensor_type.shape.dim[place].dim_value = length
    output = whole.graph.output[0].name
    with _runs(shown(path.name), shape):
        original = runner(whole, entry.name, output)
        first = original(_noise(fixed or 2, shape))
        proto, notes = without_softmax(whole)
        graph = graph_of(proto, fixed)
    return _compared(graph, original, first, shape, fixed, "an ONNX graph", None, notes)


@contextmanager
def _runs(name: str, shape: tuple[int, ...]) -> Iterator[None]:
    """Turn whatever a library says while it runs or converts a network into one sentence."""
    try:
        yield
    except TemperError:
        raise
    except Exception as error:
        if swollen(error):
            raise
        raise TemperError(
            f"{name} could not be run on an input of {list(shape)}, any number at a time: {reason(error)}.",
            "Check the input's size, and export it with a batch that may vary: "
            "dynamic_shapes=({0: torch.export.Dim('batch')},)",
        ) from error


def _noise(rows: int, shape: tuple[int, ...], seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal((rows, *shape)).astype(np.float32)


def _compared(
    graph: Graph, original: Run, first: Floats, shape: tuple[int, ...], fixed: int, name: str,
    known: Reading | None, notes: tuple[str, ...],
) -> Incoming:  # fmt: skip
    """The graph beside the original on the same inputs. Raises `TemperError` where they part or give no logits.

    `first` is what the original gave for `_noise(fixed or 2, shape)`. The graph runs on other numbers of examples
    than those it was made from; an original that takes a fixed number gets them part by part.
    """
    if first.ndim != 2 or first.shape[1] < 2 or first.dtype != np.float32 or len(first) != (fixed or 2):
        raise TemperError(
            f"{name} gives {first.dtype} of {list(first.shape)} for {fixed or 2} examples; logits of two "
            "classes or more, float32 (N, classes), were expected.",
            "Export the network up to its logits.",
        )
    broken = [n for n, values in graph.tensors.items() if not np.isfinite(values).all()]
    if broken:
        more = f", and so do {len(broken) - 1:,} more" if broken[1:] else ""
        raise TemperError(
            f"{name}: the tensor {shown(broken[0])} holds NaN or infinite values{more}.",
            "Train or save it again: nothing can be measured with these.",
        )
    if not np.isfinite(first).all():
        raise TemperError(f"{name} gives NaN or infinite logits on ordinary noise.", "Check its weights.")
    if not graph.layers:
        raise TemperError(
            f"{name} has no convolution and no linear layer: there is nothing to prune or quantize.", ""
        )
    largest = max(1e-6, float(np.abs(first).max()))
    with _runs(name, shape):
        if float(np.abs(original(_noise(fixed or 2, shape)) - first).max()) > TOLERANCE * largest:
            raise TemperError(
                f"{name} gives different logits for the same input: dropout or noise is still switched on.",
                "Call model.eval() before it is exported.",
            )
        run, difference = runner(graph.whole(), "input", "logits"), 0.0
        for rows in (2 * fixed, 1) if fixed else COMPARED:
            inputs = _noise(max(rows, fixed), shape, seed=1)
            step = fixed or rows
            expected = np.concatenate([original(inputs[i : i + step]) for i in range(0, len(inputs), step)])[:rows]
            found = run(inputs[:rows])
            if SOFTMAX in notes:
                found = softmax(found)
            apart = np.abs(found - expected).max() if found.shape == expected.shape else np.inf
            difference = max(difference, float(apart) / largest)
    if not difference <= TOLERANCE:
        raise TemperError(
            f"Temper's graph of {name} differs from the original by {difference:.1%} of its largest logit"
            + (f"; the file is made for {fixed:,} examples at a time." if fixed else "."),
            "Export it with a batch that may vary: dynamic_shapes=({0: torch.export.Dim('batch')},)"
            if fixed
            else "Please report this model; until then load it in another format.",
        )
    return Incoming(graph, shape, first.shape[1], name, known, difference, (), notes)
