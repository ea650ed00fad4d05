"""What you see is what you ship: an artifact is opened again and compared, example by example, with the screen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from core.data.handle import DataHandle, load_split
from core.deploy.graph import INPUT, assemble, template
from core.engine.evaluate import calibrator, evaluate
from core.engine.lane import lane, rest
from core.engine.memory import RESULTS
from core.engine.runtime import session, usual_chunk
from core.engine.transform import transform
from core.errors import TemperError
from core.formats._artifact import Format, Opened, Parts, finished, opened_graph
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.registry import Method, method, methods
from core.task import LEVEL, LEVELS, Task
from core.types import Floats, Outcome

SAME = 1e-4  # difference in a probability: float32 sums in another order stay below 1e-5 on the samples
# Where a file computes in another order than the screen, isotonic maps steepen the last bits. Over every format, W2
# to W16 and A4 to A32, the samples showed one other prediction in 10,000 and mean differences of at most 6e-5. Deep
# networks with rounded activations stray further by nature: how far is measured for each (`_other_order`).
RECOMPUTED_SHARE, RECOMPUTED_MEAN = 0.001, 5e-4
TIE = 1e-7  # difference of two probabilities that float32 cannot tell apart
TRACED = 20  # examples whose inner values are compared where a disagreement starts
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Place:
    """A tensor inside the graph and its largest difference, as a fraction of its largest value."""

    name: str
    difference: float


@dataclass(frozen=True)
class Figure:
    """A metric by name: of the file and of the screen, in `unit`."""

    name: str
    file: float
    screen: float
    unit: str


@dataclass(frozen=True)
class Checked:
    """An artifact beside the screen on all `n` evaluation examples.

    `agree` counts equal predictions; `largest` and `mean` are differences of probabilities or, of numbers, of the
    values and interval ends as a share of the truths' standard deviation, equal meaning no further than `SAME` apart.
    `verified` holds where they are within the tolerance that `stated` puts in words; else `starts` names where inside
    the graph it begins, as far as the format lets one look. `figures` are metrics of the file beside the screen's,
    with their units; `seconds` are those of the artifact's own pass.
    """

    format: str
    size: int
    n: int
    agree: int
    largest: float
    mean: float
    figures: tuple[Figure, ...]
    verified: bool
    stated: str
    starts: Place | None
    seconds: float


@dataclass(frozen=True)
class Artifact:
    """A file's bytes, its name, and its check."""

    method: Method
    file: str
    content: bytes
    checked: Checked


def parts_of(model: ModelHandle, data: DataHandle, recipe: Recipe) -> Parts:
    """What every format is made from. Raises `TemperError`."""
    network, _ = transform(model, data, recipe)
    fitted = calibrator(model, data, recipe)
    return Parts(network, fitted.form if fitted else None, data, recipe.simplified())


def offered(parts: Parts) -> list[tuple[Method, str]]:
    """Every format with '' or the reason why this network cannot leave in it."""
    return [(found, declaration(found).fits(parts)) for found in methods("format")]


def declaration(of: Method) -> Format:
    """What a format can do."""
    found: Format = of.function()
    return found


def ship(
    model: ModelHandle, data: DataHandle, recipe: Recipe, name: str, progress: Progress | None = None
) -> Artifact:
    """Make the artifact in a format and check it on the whole evaluation split, once. Raises `TemperError`."""
    key = ("artifact", model.fingerprint, data.fingerprint, recipe.fingerprint, name)
    return RESULTS.remember(key, lambda: _ship(model, data, recipe, name, progress), lambda found: len(found.content))


def shipped(model: ModelHandle, data: DataHandle, recipe: Recipe, name: str) -> Artifact | None:
    """The artifact, if it was made and checked already."""
    found: Artifact | None = RESULTS.get(("artifact", model.fingerprint, data.fingerprint, recipe.fingerprint, name))
    return found


def _ship(model: ModelHandle, data: DataHandle, recipe: Recipe, name: str, progress: Progress | None) -> Artifact:
    chosen = method("format", name)
    form, parts = declaration(chosen), parts_of(model, data, recipe)
    why_not = form.fits(parts)
    if why_not:
        raise TemperError(why_not)
    screen = evaluate(model, data, recipe).tempered
    content = form.make(parts)
    checked = check(name, content, parts, screen, progress)
    file = f"{model.id}-{parts.recipe.fingerprint[:8]}{'-float' if name == 'onnx-float' else ''}{form.ending}"
    return Artifact(chosen, file, content, checked)


def check(name: str, content: bytes, parts: Parts, screen: Outcome, progress: Progress | None = None) -> Checked:
    """Open the bytes as somebody else would, run every evaluation example, compare with the screen's outcome."""
    form = declaration(method("format", name))
    opened = form.open(content, parts)
    inputs = load_split(parts.data, "evaluation").inputs
    started = time.perf_counter()
    given = _run(opened, inputs, usual_chunk(parts.network.model.input_shape), progress)
    seconds = time.perf_counter() - started
    apart, agreeing = _compared(given, screen)
    agree = int(agreeing.sum())
    largest, mean = float(apart.max()), float(apart.mean())
    if form.recomputes(parts):
        share, average = RECOMPUTED_SHARE, RECOMPUTED_MEAN
        why = "as sums are taken in another order than the screen's"
        if parts.network.activations:
            other = _other_order(parts, inputs, screen)
            share, average = max(share, 2 * other[0]), max(average, 2 * other[1])
            why = (
                "as rounded activations are sensitive to the order of sums: this network's own screen, computed in "
                f"float, differs in {100 * other[0]:.2g} % and by {other[1]:.1e}"
            )
        verified = screen.n - agree <= max(1, share * screen.n) and mean <= average
        most = f"at most {100 * share:.2g} % of predictions other"
        stated = f"{most} and {_what(screen.task)} {average:.1e} apart on average, {why}"
    else:
        verified = agree == screen.n and largest <= SAME
        stated = f"every prediction equal, no {_what(screen.task)} apart by more than {SAME:g}"
    starts = None if verified else _starts(opened, parts, inputs[:TRACED])
    return Checked(
        name, len(content), screen.n, agree, largest, mean, _figures(given, screen), verified, stated, starts, seconds
    )


def _other_order(parts: Parts, inputs: NDArray[np.float32], screen: Outcome) -> tuple[float, float]:
    """How far the screen's own graph strays when the runtime computes it in float instead of by integer kernels.

    A value within a last bit of a boundary then lands on the next level, and deep networks carry that on. Returns the
    share of other predictions and the mean over examples of the largest difference of a probability. No file that
    recomputes can be expected to come closer, so a tolerance below this would test the luck of the last bits.
    """
    opened = opened_graph(finished(assemble(parts.network), parts), simulate=True)
    apart, agreeing = _compared(_run(opened, inputs, usual_chunk(parts.network.model.input_shape), None), screen)
    return float(1 - agreeing.mean()), float(apart.mean())


def _what(task: Task) -> str:
    return "probability" if task.decides else "number or end of its interval, in standard deviations of the truths,"


def _compared(given: Floats, screen: Outcome) -> tuple[Floats, NDArray[np.bool_]]:
    """How far each example's outputs are apart at most `(n,)`, and whether its prediction equals the screen's.

    Where the screen ties to float32's last digit, either class will do.
    """
    if screen.task.decides:
        theirs = screen.probabilities[np.arange(screen.n), given.argmax(1)]
        return np.abs(given - screen.probabilities).max(1), theirs >= screen.confidence - TIE
    half = screen.predicted[:, 1 + LEVELS.index(LEVEL)]
    shown = np.stack([screen.values, screen.values - half, screen.values + half], 1)
    apart = np.abs(given - shown).max(1) / (float(screen.labels.std()) or 1.0)
    return apart, apart <= SAME


def _figures(given: Floats, screen: Outcome) -> tuple[Figure, ...]:
    """What leads the task and what speaks of its confidence: of the file, and of the screen."""
    predicted, names = given, ("accuracy", "ece")
    if not screen.task.decides:
        predicted, names = np.zeros_like(screen.predicted), ("rmse", "coverage")
        predicted[:, 0], predicted[:, 1 + LEVELS.index(LEVEL)] = given[:, 0], (given[:, 2] - given[:, 1]) / 2
    file, found = replace(screen, predicted=predicted), []
    for name in names:
        measure = method("metric", name).function
        found.append(Figure(name, measure.of(file), measure.of(screen), screen.task.unit_of(measure.unit)))
    return tuple(found)


def _run(opened: Opened, inputs: NDArray[np.float32], chunk: int, progress: Progress | None) -> Floats:
    found = []
    for start in range(0, len(inputs), chunk):
        with lane():
            given = opened.predict(inputs[start : start + chunk])
        rest()
        found.append(given)
        if progress is not None:
            progress(min(1.0, (start + chunk) / len(inputs)))
    return np.concatenate(found)


def _starts(opened: Opened, parts: Parts, inputs: NDArray[np.float32]) -> Place | None:
    """The first tensor of the forward pass whose values part, or None where the format lets nobody look inside."""
    if opened.graph is None:
        return None
    points = [name for name in template(parts.network.model, parts.network.edits).points if name != INPUT]
    ours, theirs = assemble(parts.network), onnx.ModelProto()
    theirs.CopyFrom(opened.graph)
    seen = []
    for proto in (ours, theirs):
        made = {name for node in proto.graph.node for name in node.output}
        shown = [name for name in points if name in made]
        proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in shown)
        seen.append(dict(zip(shown, session(proto).run(shown, {INPUT: inputs}), strict=True)))
    for name in points:
        if name in seen[0] and name in seen[1]:
            size = max(float(np.abs(seen[0][name]).max()), 1e-12)
            difference = float(np.abs(seen[0][name] - seen[1][name]).max()) / size
            if difference > SAME:
                return Place(name, difference)
    return None
