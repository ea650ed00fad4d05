"""From a person's model file, or a name, to the canonical graph, checked against the original on the same inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from core.data.archive import shown
from core.data.intake import MOST_INPUT
from core.errors import TemperError
from core.models import catalogue
from core.models.architectures import ARCHITECTURES
from core.models.catalogue import Reading
from core.models.compare import Floats, Incoming, Noise, compared, runs
from core.models.export import exported
from core.models.graph import graph_of
from core.models.ids import floating, known_to, vocabulary_of, whole_inputs
from core.models.onnx_file import ONE, read_onnx, without_softmax
from core.models.programs import read_program
from core.models.published import published
from core.models.sentences import reason, swollen
from core.models.simplify import runner
from core.models.states import PROGRAM, read_state

SUFFIXES = (".safetensors", ".pt", ".pth", ".pt2", ".onnx")
MORE = "Give a smaller model, or allow more with TEMPER_LOAD_MEMORY (gigabytes)."
Maker = Callable[[], nn.Module]


@dataclass(frozen=True)
class ModelWish:
    """What a person says about their model; None means: find out.

    `download` allows fetching a named model's published weights, once.
    """

    architecture: str | None = None
    input_shape: tuple[int, ...] | None = None
    download: bool = False


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
        note = f"A state dict does not name its attention heads, so {arguments.get('heads')} are assumed."
        return name, partial(ARCHITECTURES[name], **arguments), (note,) if "heads" in arguments else ()
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
    if name == "text-transformer":
        return (module.get_parameter("positions").shape[0],)
    if name == "text-bag":
        raise TemperError("A text-bag reads texts of any length.", "Say how many pieces: --input-shape 256")
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
    if len(entries) > 1:
        names = ", ".join(shown(node.name, 30) for node in entries[:3])
        raise TemperError(f"{shown(path.name)} takes {len(entries)} inputs ({names}); one was expected.", ONE)
    ids = isinstance(value, Tensor) and value.dtype in (torch.int64, torch.int32) and value.ndim == 2
    floats = isinstance(value, Tensor) and value.dtype == torch.float32 and value.ndim in (2, 3, 4)
    if value is None or not (ids or floats):
        raise TemperError(
            f"{shown(path.name)} takes neither a float32 tensor (N, ...) nor token ids (N, L).",
            f"Export it again: {PROGRAM}",
        )
    notes = whole_inputs(module, entries[0], value.dtype) if ids else ()
    first, *rest = value.shape
    fixed = int(first) if isinstance(first, int) else 0
    stated = [int(length) if isinstance(length, int) else 0 for length in rest]
    shape = _input_shape(path, stated, fixed, wish)
    return _from_module(module, shape, "an exported program", None, notes, fixed)


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
            f"{shown(path.name)} leaves its input's size open {stated}.",
            "Say it: --input-shape 3,224,224; for texts the number of pieces, such as --input-shape 128",
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

    noise = Noise(shape, vocabulary_of(module))
    with runs(name, shape):
        example = noise(fixed or 2)
        first = original(example)
        proto, more = without_softmax(exported(module, torch.from_numpy(example)))
        graph = graph_of(proto, fixed)
    return compared(graph, original, first, noise, fixed, name, known, (*notes, *more))


def _onnx(path: Path, wish: ModelWish) -> Incoming:
    whole = read_onnx(path)
    held = {tensor.name for tensor in whole.graph.initializer}
    entry = next(value for value in whole.graph.input if value.name not in held)
    fixed, *stated = [max(0, length.dim_value) for length in entry.type.tensor_type.shape.dim]
    shape = _input_shape(path, stated, fixed, wish)
    for place, length in enumerate(shape, 1):
        entry.type.tensor_type.shape.dim[place].dim_value = length
    output = whole.graph.output[0].name
    whole, cast = floating(whole)
    entry = next(value for value in whole.graph.input if value.name not in held)
    noise = Noise(shape, known_to(whole.graph))
    with runs(shown(path.name), shape):
        original = runner(whole, entry.name, output)
        first = original(noise(fixed or 2))
        proto, notes = without_softmax(whole)
        graph = graph_of(proto, fixed)
    return compared(graph, original, first, noise, fixed, "an ONNX graph", None, (*cast, *notes))
