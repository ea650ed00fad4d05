"""How often the intervals of the estimate hold the exact result, over many recipes."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from core.engine.estimate import LOOKS, estimate, next_examples, stratify
from core.engine.evaluate import evaluate
from core.engine.memory import RESULTS
from core.models.samples import load_sample
from core.recipe import Recipe, Step

RECIPES = 200
SMALL_LOSS = 0.02  # the loss up to which the half-width has a target


@dataclass(frozen=True)
class Coverage:
    """Over `recipes`: the share whose exact accuracy lay inside at a look, and the half-widths there."""

    sample: str
    look: int
    recipes: int
    covered: float
    half_width: float
    half_width_small_loss: float


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


def coverage(sample: str, recipes: int = RECIPES) -> list[Coverage]:
    """Evaluate recipes exactly, replay the looks on each, and compare. One row a look, one for all looks."""
    model, data = load_sample(sample)
    original = evaluate(model, data, Recipe()).original
    labels, before = original.labels, original.predictions
    generator = np.random.default_rng(0)
    inside = np.zeros((recipes, len(LOOKS)), bool)
    width = np.zeros((recipes, len(LOOKS)))
    loss = np.zeros(recipes)
    for place in range(recipes):
        after = evaluate(model, data, draw(generator)).tempered.predictions
        loss[place] = (before == labels).mean() - (after == labels).mean()
        strata, seen = stratify(original, seed=place), np.zeros(original.n, bool)
        for look, budget in enumerate(LOOKS):
            changed = (np.where(seen, after, before) == labels) != original.correct
            seen[next_examples(strata, seen, changed, budget)] = True
            interval = estimate(strata, seen, before, np.where(seen, after, before), labels).change.interval
            assert interval is not None
            inside[place, look] = interval.low - 1e-9 <= -loss[place] <= interval.high + 1e-9
            width[place, look] = (interval.high - interval.low) / 2
        if place % 25 == 24:
            RESULTS.clear()
            print(f"{sample}: {place + 1} of {recipes} recipes", file=sys.stderr, flush=True)
    small = loss <= SMALL_LOSS
    rows = []
    for place, look in enumerate(LOOKS):
        widths = (float(np.median(width[:, place])), float(np.median(width[small, place])))
        rows.append(Coverage(sample, look, recipes, float(inside[:, place].mean()), *widths))
    return [*rows, Coverage(sample, 0, recipes, float(inside.all(1).mean()), float("nan"), float("nan"))]
