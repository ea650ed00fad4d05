"""What `damage --why` prints: examples explained in both networks, and how alike their layers are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from core.damage.cka import Alike, alike
from core.damage.why import Distance, Why, explainers, same_network, telling, why
from core.data.handle import DataHandle
from core.errors import TemperError
from core.figures import because, cka
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.types import Result

MOST = 100  # examples explained
PARTS = 5  # of an example that are printed; the JSON holds all of columns and words
Progress = Callable[[float], None]


def reasons_of(
    model: ModelHandle, data: DataHandle, recipe: Recipe, result: Result, count: int, progress: Progress
) -> dict[str, Any]:
    """The examples most worth explaining by every method that suits the model, and the layers' similarity.

    Raises `TemperError` unless `count` lies between 1 and `MOST`.
    """
    if not 1 <= count <= MOST:
        raise TemperError(f"--why takes a number of examples from 1 to {MOST}; got {count}.", "Leave it out for 3.")
    if same_network(model, data, recipe):
        return {"flipped": False, "examples": [], "layers": None}
    places, flipped = telling(result, count)
    names = [name for name, unsuited in explainers(model, data).items() if not unsuited]
    work = [(int(place), name) for place in places for name in names]
    found = []
    for turn, (place, name) in enumerate(work):

        def share(fraction: float, turn: int = turn) -> None:
            progress((turn + fraction) / (len(work) + 1))

        found.append(why(model, data, recipe, place, name, {}, True, share))
    layers = alike(model, data, recipe, lambda fraction: progress((len(work) + fraction) / (len(work) + 1)))
    return {"flipped": flipped, "examples": [_example(one) for one in found], "layers": _layers(layers)}


def lines_of(reasons: Mapping[str, Any]) -> Iterator[str]:
    """The same as lines to read."""
    for one in reasons["examples"]:
        yield f"  why     example {one['example']}, {one['title']}: {one['finding']}"
        if "parts" in one:
            parts = (f"{part['name']} {part['original']:+.3g} -> {part['result']:+.3g}" for part in one["parts"])
            yield f"          {', '.join(list(parts)[:PARTS])}"
    if reasons["layers"]:
        yield f"  layers  {reasons['layers']['finding']}"


def _example(found: Why) -> dict[str, Any]:
    from core.figures.attribution_bars import ranked

    before, after = found.original, found.tempered
    sums = None if before.total is None else {
        "original": before.total, "original_gap": before.gap, "result": after.total, "result_gap": after.gap,
    }  # fmt: skip
    parts = [
        {
            "name": found.parts[k],
            "place": int(k),
            "original": float(before.values[k]),
            "result": float(after.values[k]),
        }
        for k in (ranked(found) if found.parts else ())
    ]
    return {
        "example": found.place, "method": found.method, "title": found.title, "parameters": dict(found.values),
        "target": found.label, "unit": found.unit, "score": {"original": found.before, "result": found.after},
        "explained_score": {"original": before.through, "result": after.through}, "completeness": sums,
        "distance": _distance(found.between), "noise": [_distance(one) for one in found.noise],
        "weights_drawn_anew": [_distance(one) for one in found.redrawn], "finding": because.sentence(found),
        "sanity": because.sanity(found), **({"parts": parts} if parts else {}),
    }  # fmt: skip


def _distance(one: Distance) -> dict[str, float | None]:
    return {"moved": one.moved, "rank_correlation": None if one.rank is None else 1 - one.rank}


def _layers(found: Alike) -> dict[str, Any]:
    return {
        "n": found.n, "finding": cka.sentence(found), "gone": list(found.gone),
        "cka": [
            {"layer": one.name, "unbiased": one.unbiased, "plain": one.plain, "weights_drawn_anew": one.redrawn}
            for one in found.layers
        ],
    }  # fmt: skip
