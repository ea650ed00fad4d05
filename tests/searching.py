"""What the tests of searches share: a search in this thread, trials made by hand, pictures' situations."""

from __future__ import annotations

from pathlib import Path

from sweeping import Here

from core.models.samples import load_sample
from core.recipe import Recipe, Step
from core.search.budgets import goal_of, original_bytes
from core.search.goal import Goal, Tried
from core.search.search import Search
from core.search.space import Space
from core.sweeps.front import Spot
from core.types import Interval, Quantity


def search_on(path: Path | None, trials: int = 8, seed: int = 0, lost: float = 2.0, **more) -> Search:
    """A search of the smallest sample for half the bytes."""
    model, data = more.pop("pair", None) or load_sample("breast-cancer")
    goal = more.pop("goal", None) or goal_of(model, data, original_bytes(model) // 2, lost)
    space = more.pop("space", None) or Space.of(model, data.task.kind)
    return Search(model, data, space, goal, trials, seed=seed, path=path, **more)


def recipes(search: Search) -> list[Recipe]:
    return [one.spot.recipe for one in search.tried]


def found(search: Search) -> list[tuple]:
    """What was tried and what was seen of it, without the time it took."""
    return [(t.spot.recipe, t.spot.packed, dict(t.spot.values), t.lost, t.spread) for t in search.tried]


def ran(search: Search) -> Search:
    search.run(Here())
    return search


def made(number: int, accuracy: float, packed: int, before: float = 0.93, error: str = "", n: int = 2_500) -> Tried:
    """A trial of an original of 1,000 kB."""
    recipe = Recipe((Step.of("prune", "magnitude-global", {"sparsity": round(0.01 * (number + 1), 2)}),))
    if error:
        return Tried(Spot((number,), recipe, error=error), Spot((), Recipe()))

    def values(value: float) -> dict[str, Quantity]:
        return {"accuracy": Quantity(value, "fraction", "measured", Interval(value - 0.01, value + 0.01), n)}

    original = Spot((), Recipe(), values(before), n, 1_000_000, 1_001_000)
    change = accuracy - before
    return Tried(
        Spot((number,), recipe, values(accuracy), n, packed, packed + 1_000),
        original,
        Quantity(change, "fraction", "measured", Interval(change - 0.004, change + 0.004), n),
        lost=-change,
        spread=0.002,
        seconds=1.0,
    )


GOAL = Goal("accuracy", 500_000, 0.005)
TRIALS = [made(j, 0.93 - 0.0005 * j**2, 800_000 // (j + 1)) for j in range(9)]
VERDICT = made(1, 0.926, 400_000, before=0.931, n=10_000)
SITUATIONS = {
    case: {"tried": tried, "goal": goal, "judged": judged, "original": tried[0].original}
    for case, tried, goal, judged in [
        ("one", TRIALS[:1], GOAL, {}),
        ("judged", TRIALS, GOAL, {VERDICT.spot.recipe.fingerprint: VERDICT}),
        ("nothing within", TRIALS, Goal("accuracy", 10, 0.0), {}),
        ("no budget", [*TRIALS, made(20, 0.1, 9_000), made(21, 0, 0, error="It cannot run.")], Goal("accuracy"), {}),
    ]
}
