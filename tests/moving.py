"""What the tests of transfer share: experiments made of numbers, for every situation of their chart."""

from __future__ import annotations

from core.training.labelled import WAYS, Judged, Labelled


def labelled(
    counts: tuple[int, ...], seeds: int = 1, by: float = 0.2, wanted: int | None = None, measure: str = "accuracy"
) -> Labelled:
    """Values that grow with the examples; what had learned before is `by` ahead at first and level at the end."""
    points = []
    for place, count in enumerate(counts):
        for seed in range(seeds):
            for way in WAYS:
                ahead = 0.0 if way.name == "scratch" else by / (1 + 3 * place)
                value = 0.4 + 0.12 * place + ahead + 0.01 * seed
                points.append(Judged(way.name, count, seed, value, value - 0.03, value + 0.03))
    before = Judged("before", 0, 0, 0.1, 0.08, 0.13)
    unit = "fraction" if measure == "accuracy" else "US dollars"
    n = len(points) if wanted is None else wanted
    return Labelled(tuple(points), before, measure, unit, 450, max(counts, default=898), 100, n)


LABELLED = {
    "one seed": {"found": labelled((10, 50, 250, 898))},
    "three seeds": {"found": labelled((10, 50, 250, 898), 3)},
    "no difference": {"found": labelled((10, 898), by=0.0)},
    "under way": {"found": labelled((10,), wanted=12)},
    "nothing yet": {"found": labelled((), wanted=12)},
    "prices": {"found": labelled((10, 12_000), measure="rmse")},
}
