"""How often the intervals of the estimate hold the exact result, over many recipes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from core.calibrators._fitted import softmax
from core.engine.estimate import LOOKS, Estimate
from core.engine.evaluate import evaluate
from core.engine.look import Watch, ground
from core.engine.memory import RESULTS
from core.engine.weighting import ESTIMATED
from core.metrics._measure import Measure
from core.models.samples import load_sample
from core.recipe import Recipe, Step
from core.registry import method
from core.types import Outcome, Quantity

RECIPES = 200
SMALL_LOSS = 0.02  # the loss up to which the half-width has a target
MEASURES = ("accuracy", "flips", "macro_f1", "ece", "nll", "brier", "recall")
SLACK = 1e-9


@dataclass(frozen=True)
class Coverage:
    """Over `recipes`: the share whose exact value lay inside, and the median half-widths.

    `look` is the number of examples seen, or 0 for all looks of a recipe together. For `recall` the share is over
    recipes and classes.
    """

    sample: str
    measure: str
    look: int
    recipes: int
    covered: float
    half_width: float
    half_width_small_loss: float


@dataclass(frozen=True)
class Seen:
    """One recipe at its looks: its loss, and for each measure `(looks, ...)` intervals and the exact value."""

    loss: float
    low: dict[str, np.ndarray]
    high: dict[str, np.ndarray]
    exact: dict[str, np.ndarray]


def draw(generator: np.random.Generator) -> Recipe:
    """A recipe of the kind people try: up to 75 % sparse, 3 to 8 weight bits, 6 to 8 activation bits."""
    steps = []
    if generator.random() < 0.6:
        criterion = ("magnitude-global", "magnitude-layer", "random")[generator.choice(3, p=[0.7, 0.25, 0.05])]
        steps.append(Step.of("prune", criterion, {"sparsity": round(float(generator.uniform(0.05, 0.75)), 2)}))
    if generator.random() < 0.8 or not steps:
        given = {
            "weight_bits": int(generator.choice([8, 6, 5, 4, 3])),
            "activation_bits": int(generator.choice([8, 7, 6])),
            "granularity": str(generator.choice(["channel", "tensor"])),
            "range": str(generator.choice(["minmax", "mse", "percentile"])),
        }
        steps.append(Step.of("quantize", "uniform", given))
    return Recipe(tuple(steps))


def exact_values(original: Outcome, logits: np.ndarray) -> dict[str, np.ndarray]:
    """Every measure of these logits on the whole set."""
    probabilities, labels = softmax(logits), original.labels
    right = probabilities.argmax(1) == labels
    found = {"accuracy": right.mean(), "flips": (probabilities.argmax(1) != original.predictions).sum()}
    for name in ESTIMATED:
        measure: Measure = method("metric", name).function
        found[name] = measure.value(probabilities, labels)
    classes = logits.shape[1]
    size = np.maximum(np.bincount(labels, minlength=classes), 1)
    recall = np.bincount(labels, right, classes) / size
    return {name: np.asarray(value, float) for name, value in found.items()} | {"recall": recall}


def _quantities(found: Estimate, measure: str) -> list[Quantity]:
    if measure == "recall":
        return list(found.recalls)
    return [{"accuracy": found.accuracy, "flips": found.flips, **found.values}[measure]]


def replay(sample: str, recipes: int = RECIPES, looks: tuple[int, ...] = LOOKS) -> Iterator[Seen]:
    """Evaluate recipes exactly and replay the looks on each, with strata shuffled anew."""
    model, data = load_sample(sample)
    original = evaluate(model, data, Recipe()).original
    generator = np.random.default_rng(0)
    for place in range(recipes):
        logits = evaluate(model, data, draw(generator)).uncalibrated.logits
        watch = Watch.of(original, on=ground(original, seed=place))
        low: dict[str, list] = {name: [] for name in MEASURES}
        high: dict[str, list] = {name: [] for name in MEASURES}
        for budget in looks:
            watch.fill(lambda chunk: chunk, logits, min(budget, original.n), None)
            found = watch.estimate()
            for name in MEASURES:
                intervals = [q.interval for q in _quantities(found, name)]
                low[name].append([i.low for i in intervals if i])
                high[name].append([i.high for i in intervals if i])
        exact = exact_values(original, logits)
        yield Seen(
            float(original.correct.mean() - exact["accuracy"]),
            {name: np.array(values) for name, values in low.items()},
            {name: np.array(values) for name, values in high.items()},
            exact,
        )
        if place % 25 == 24:
            RESULTS.clear()
            print(f"{sample}: {place + 1} of {recipes} recipes", file=sys.stderr, flush=True)


def coverage(sample: str, recipes: int = RECIPES, looks: tuple[int, ...] = LOOKS) -> list[Coverage]:
    """One row a measure and look, and one for all looks of a measure together."""
    every = list(replay(sample, recipes, looks))
    small = np.array([seen.loss <= SMALL_LOSS for seen in every])
    rows = []
    for name in MEASURES:
        low, high = (np.stack([getattr(seen, end)[name] for seen in every]) for end in ("low", "high"))
        exact = np.stack([np.atleast_1d(seen.exact[name]) for seen in every])[:, None]
        inside = (low - SLACK <= exact) & (exact <= high + SLACK)
        width = ((high - low) / 2).mean(2)
        for place, look in enumerate(looks):
            widths = (float(np.median(width[:, place])), float(np.median(width[small, place])))
            rows.append(Coverage(sample, name, look, recipes, float(inside[:, place].mean()), *widths))
        rows.append(Coverage(sample, name, 0, recipes, float(inside.all(1).mean()), float("nan"), float("nan")))
    return rows


if __name__ == "__main__":
    for row in coverage(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else RECIPES):
        print(f"{row.sample:15} {row.measure:9} {row.look:6} {row.covered:6.3f} {row.half_width:8.4f} "
              f"{row.half_width_small_loss:8.4f}")  # fmt: skip
