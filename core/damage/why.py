"""Why one example is called otherwise: the same score explained in the original and in the tempered network.

How far the two maps are apart is held against what little noise in the weights does, and against weights drawn anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from core import fingerprint
from core.damage.cka import alike, jitter, redraw
from core.damage.flipped import lead, ways
from core.damage.unusual import feature_names
from core.data.handle import DataHandle, Modality, load_split
from core.data.texts import Tokens, pad_of
from core.engine.network import Network, fold, load_network
from core.engine.numbers import worst
from core.engine.transform import transform
from core.errors import TemperError
from core.explainers._subject import Attribution, Subject, Told, weights_for
from core.jobs.background import Named, named
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.registry import Method, method, methods
from core.types import Floats, Integers, Result

DRAWS = 3  # of the noise, and of weights drawn anew


@dataclass(frozen=True)
class Distance:
    """How far two maps are apart.

    `rank` is 1 less Spearman's rank correlation, 0 to 2, None where a map is constant. `moved` is the share of
    attribution that lies elsewhere, 0 to 1, None where a map is all zero: each map is divided by the sum of its
    absolute values, and a part's positive and negative attribution are two places.
    """

    rank: float | None
    moved: float | None


@dataclass(frozen=True)
class Why:
    """One example explained by one method in both networks.

    `target` is the class whose score is explained, None of a number; `label` names it. `parts` names columns or
    words; pictures have none, and `picture` is theirs, in grey. `inside` are the parts that are there, as
    padding is not.
    `before` and `after` are the scores of the networks as they run. `noise` and `redrawn` are distances from the
    original's map, one a draw; none of the latter where nobody asked.
    """

    place: int
    method: str
    values: Mapping[str, Any]
    target: int | None
    label: str
    unit: str
    parts: tuple[str, ...]
    inside: NDArray[np.bool_]
    of: Modality
    picture: Floats | None
    original: Attribution
    tempered: Attribution
    before: float
    after: float
    between: Distance
    noise: tuple[Distance, ...]
    redrawn: tuple[Distance, ...]

    @property
    def title(self) -> str:
        """The method's title."""
        return method("explain", self.method).title

    @property
    def words(self) -> bool:
        """Whether the parts are words of a text."""
        return self.of == "text"

    @property
    def drift(self) -> float:
        """By how much the score that the method worked on misses the tempered network's own, where it rounds more."""
        return self.tempered.through - self.after


def distance(one: Floats, other: Floats, inside: NDArray[np.bool_] | None = None) -> Distance:
    """How far two maps of one shape are apart, over the parts `inside`."""
    a, b = (values[inside] if inside is not None else values.reshape(-1) for values in (one, other))
    rank = None
    if len(a) > 1 and np.ptp(a) > 0 and np.ptp(b) > 0:
        rank = float(1 - stats.spearmanr(a, b).statistic)
    sizes = float(np.abs(a).sum()), float(np.abs(b).sum())
    moved = float(0.5 * np.abs(a / sizes[0] - b / sizes[1]).sum()) if min(sizes) > 0 else None
    return Distance(rank, moved)


def explainers(model: ModelHandle, data: DataHandle) -> dict[str, str]:
    """Methods of the model's task by name, with why one does not suit the model, '' where it does."""
    return {one.name: one.why_not(model) for one in methods("explain", data.task.kind)}


def telling(result: Result, limit: int) -> tuple[Integers, bool]:
    """Places of the examples most worth explaining, and whether they flipped.

    Flips before confidence calibration, those of which the original was surest first; where none flips, the examples
    whose probability of the original's class moved most. Of numbers the predictions that moved most.
    """
    before, after = result.original, result.uncalibrated
    if not before.task.decides:
        return np.array([one.place for one in worst(result, limit, "moved")], np.int64), False
    flips = np.concatenate(list(ways(_uncalibrated(result)).values()))
    if len(flips):
        return flips[np.argsort(-lead(before)[flips], kind="stable")][:limit], True
    rows = np.arange(before.n)
    moved = np.abs(after.probabilities[rows, before.predictions] - before.confidence)
    order = np.argsort(-moved, kind="stable")[:limit]
    return order[moved[order] > 0], False


def _uncalibrated(result: Result) -> Result:
    return Result(
        result.model, result.data, result.original, result.uncalibrated, result.uncalibrated, result.original_bytes,
        result.bytes, (),
    )  # fmt: skip


def same_network(model: ModelHandle, data: DataHandle, recipe: Recipe) -> bool:
    """Whether the recipe leaves the network as it is, such as one that only calibrates confidence."""
    return transform(model, data, recipe)[0].identity == load_network(model).identity


def why(
    model: ModelHandle, data: DataHandle, recipe: Recipe, place: int, name: str, values: Mapping[str, Any],
    sanity: bool = False, told: Told | None = None,
) -> Why:  # fmt: skip
    """Explain one evaluation example in both networks, in noise and, for `sanity`, in weights drawn anew.

    The target is the class that the original calls, before confidence calibration. Raises `TemperError` for an
    example that is not there, or a method that does not suit the model.
    """
    declared = method("explain", name)
    _check(declared, model, data, place)
    values = declared.complete(values)
    row = load_split(data, "evaluation").inputs[place]
    original, tempered = load_network(model), transform(model, data, recipe)[0]
    unit = np.eye(len(weights_for(data.task)))
    first = [Subject(original, data, each).scores(row[None])[0] for each in unit]
    target = int(np.argmax(first)) if data.task.decides else None
    weights = weights_for(data.task, target or 0)
    seeds = [recipe.seed + draw for draw in range(DRAWS)]
    networks: list[Network] = [original, tempered, *(jitter(fold(original), seed) for seed in seeds),
                               *(redraw(fold(original), seed) for seed in seeds if sanity)]  # fmt: skip
    maps = []
    for turn, network in enumerate(networks):

        def share(fraction: float, turn: int = turn) -> None:
            if told is not None:
                told((turn + fraction) / len(networks))

        share(0.0)
        maps.append(declared.function(Subject(network, data, weights), row, values, share))
    inside = _inside(data, row, maps[0].values.shape)
    apart = [distance(maps[0].values, one.values, inside) for one in maps[1:]]
    before, after = (float(Subject(one, data, weights).scores(row[None])[0]) for one in networks[:2])
    return Why(
        place, name, values, target, data.classes[target] if target is not None else data.task.target,
        "logits" if data.task.decides else data.task.unit, _parts(data, place, row),
        inside, data.modality, row.mean(0).astype(np.float64) if data.modality == "pictures" else None,
        maps[0], maps[1], before, after, apart[0], tuple(apart[1 : 1 + DRAWS]), tuple(apart[1 + DRAWS :]),
    )  # fmt: skip


def asked(
    model: ModelHandle, data: DataHandle, recipe: Recipe, place: int, name: str, values: Mapping[str, Any],
    sanity: bool = False,
) -> Named:  # fmt: skip
    """The same as work in the background, at work or at rest; the same for every visit of this process."""
    bare = recipe.without("calibrate").simplified()
    complete = method("explain", name).complete(values)
    given = fingerprint.of_json([place, name, complete, sanity])
    key = ("why", model.fingerprint, data.fingerprint, bare.fingerprint, given)
    return named(key, lambda told: why(model, data, bare, place, name, complete, sanity, told))


def asked_alike(model: ModelHandle, data: DataHandle, recipe: Recipe) -> Named:
    """The comparison of layers as work in the background."""
    bare = recipe.without("calibrate").simplified()
    key = ("layers alike", model.fingerprint, data.fingerprint, bare.fingerprint)
    return named(key, lambda told: alike(model, data, bare, told))


def _check(declared: Method, model: ModelHandle, data: DataHandle, place: int) -> None:
    reason = declared.why_not(model)
    if reason:
        suiting = [name for name, unsuited in explainers(model, data).items() if not unsuited]
        raise TemperError(f"{declared.title} does not suit '{model.id}': {reason}.", f"Take {', '.join(suiting)}.")
    n = data.split("evaluation").n
    if not 0 <= place < n:
        raise TemperError(f"An example's number must be from 0 to {n - 1:,}; got {place:,}.")


def _inside(data: DataHandle, row: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if data.modality != "text":
        return np.ones(shape, bool)
    assert isinstance(data.preprocessing, Tokens)
    return row != pad_of(data.preprocessing)


def _parts(data: DataHandle, place: int, row: NDArray[np.float32]) -> tuple[str, ...]:
    if data.modality == "pictures":
        return ()
    if data.modality == "table":
        return feature_names(data)
    tokens = data.preprocessing
    assert isinstance(tokens, Tokens)
    text = str(load_split(data, "evaluation").x[place])
    return tuple(text[a:b] for a, b in tokens.pieces(text))
