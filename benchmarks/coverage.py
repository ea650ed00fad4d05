"""How often the intervals of the estimate hold the exact result, over many recipes."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from playwright.sync_api import sync_playwright

from core.engine.estimate import LOOKS, Estimate
from core.engine.evaluate import evaluate
from core.engine.look import Watch, ground
from core.engine.meaning import meaning
from core.engine.memory import RESULTS
from core.engine.statistics import wilson
from core.figures.theme import layout, note, palette
from core.models.samples import load_sample
from core.recipe import Recipe, Step
from core.registry import method
from core.task import Task
from core.types import Outcome, Quantity

SAMPLES = {
    "fashion-resnet": LOOKS,
    "fashion-small": LOOKS,
    "breast-cancer": (60, 110),
    "diamonds": LOOKS,
}  # too small for the usual looks
RECIPES = 200
SMALL_LOSS = 0.02  # of accuracy, or of the original's RMSE: the loss up to which the half-width has a target
SLACK = 1e-9
TITLES = {"flips": "Flips", "recall": "Recall of a class"}


def measures(task: Task) -> tuple[str, ...]:
    """What is estimated of a task's models."""
    return (*task.facts.stated, "flips", "recall") if task.decides else task.facts.stated


def unit(measure: str) -> str:
    """A measure's registered unit."""
    return {"flips": "predictions", "recall": "fraction"}.get(measure) or method("metric", measure).function.unit


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
    after = replace(original, logits=logits, predicted=meaning(original.task, logits))
    found = {name: method("metric", name).function.of(after) for name in original.task.facts.stated}
    if original.task.decides:
        classes, labels = len(original.classes), original.labels
        found["flips"] = (after.predictions != original.predictions).sum()
        found["recall"] = np.bincount(labels, after.correct, classes) / np.maximum(np.bincount(labels), 1)
    return {name: np.asarray(value, float) for name, value in found.items()}


def _quantities(found: Estimate, measure: str) -> list[Quantity]:
    if measure == "recall":
        return list(found.recalls)
    return [found.flips] if measure == "flips" and found.flips else [found.values[measure]]


def replay(sample: str, recipes: int = RECIPES, looks: tuple[int, ...] = LOOKS) -> Iterator[Seen]:
    """Evaluate recipes exactly and replay the looks on each, with strata shuffled anew."""
    model, data = load_sample(sample)
    original = evaluate(model, data, Recipe()).original
    names, lead = measures(original.task), original.task.facts.headline
    known = method("metric", lead).function.of(original)
    generator = np.random.default_rng(0)
    for place in range(recipes):
        logits = evaluate(model, data, draw(generator)).uncalibrated.logits
        watch = Watch.of(original, on=ground(original, seed=place))
        low: dict[str, list] = {name: [] for name in names}
        high: dict[str, list] = {name: [] for name in names}
        for budget in looks:
            watch.fill(lambda chunk: chunk, logits, min(budget, original.n), None)
            found = watch.estimate()
            for name in names:
                intervals = [q.interval for q in _quantities(found, name)]
                low[name].append([i.low for i in intervals if i])
                high[name].append([i.high for i in intervals if i])
        exact = exact_values(original, logits)
        yield Seen(
            float(known - exact[lead] if original.task.decides else exact[lead] / known - 1),
            {name: np.array(values) for name, values in low.items()},
            {name: np.array(values) for name, values in high.items()},
            exact,
        )
        if place % 25 == 24:
            RESULTS.clear()
            print(f"{sample}: {place + 1} of {recipes} recipes", file=sys.stderr, flush=True)


def coverage(sample: str, recipes: int = RECIPES) -> list[Coverage]:
    """One row a measure and look, and one for all looks of a measure together."""
    looks = SAMPLES[sample]
    every = list(replay(sample, recipes, looks))
    small = np.array([seen.loss <= SMALL_LOSS for seen in every])
    rows = []
    for name in every[0].exact:
        low, high = (np.stack([getattr(seen, end)[name] for seen in every]) for end in ("low", "high"))
        exact = np.stack([np.atleast_1d(seen.exact[name]) for seen in every])[:, None]
        inside = (low - SLACK <= exact) & (exact <= high + SLACK)
        width = ((high - low) / 2).mean(2)
        for place, look in enumerate(looks):
            widths = (float(np.median(width[:, place])), float(np.median(width[small, place])))
            rows.append(Coverage(sample, name, look, recipes, float(inside[:, place].mean()), *widths))
        rows.append(Coverage(sample, name, 0, recipes, float(inside.all(1).mean()), float("nan"), float("nan")))
    return rows


def picture(rows: list[Coverage], path: Path) -> None:
    """Draw the share held by all looks together, with Wilson's interval, and save it as a PNG by a browser."""
    p = palette("light")
    figure = go.Figure()
    symbols = ("circle", "square", "diamond", "triangle-up")
    colours = (p.tempered, p.original, p.green, p.purple)
    names = list(dict.fromkeys(row.measure for row in rows))[::-1]
    for place, sample in enumerate(dict.fromkeys(row.sample for row in rows)):
        some = [row for row in rows if row.sample == sample and not row.look]
        low, high = wilson(
            np.array([r.covered * r.recipes for r in some]), np.array([r.recipes for r in some], float)
        )
        held = np.array([r.covered for r in some])
        figure.add_scatter(
            x=100 * held, y=[names.index(row.measure) - 0.18 * (place - 1.5) for row in some], name=sample,
            mode="markers", marker={"symbol": symbols[place], "size": 10, "color": colours[place]}, uid=sample,
            error_x={"array": 100 * (high - held), "arrayminus": 100 * (held - low), "thickness": 1.3, "width": 0},
        )  # fmt: skip
    titles = [TITLES.get(name) or method("metric", name).title for name in names]
    layout(
        figure, "light", 36 * len(names) + 120, margin=(170, 30, 70, 50), showlegend=True,
        xaxis={"range": [84, 100.6], "ticksuffix": " %", "title": {"text": "exact values inside all intervals"}},
        yaxis={"tickvals": list(range(len(names))), "ticktext": titles, "range": [-0.6, len(names) - 0.4]},
        legend={"y": 1.02}, shapes=[{"type": "line", "x0": 95, "x1": 95, "yref": "paper", "y0": 0, "y1": 1,
                                      "line": {"color": p.muted, "width": 1, "dash": "dot"}}],
    )  # fmt: skip
    note(figure, "<b>The intervals keep their word: 95 % promised</b>", "light", 0, 1 + 48 / (36 * len(names)),
         anchor=("left", "bottom"))  # fmt: skip
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        print("no Chromium: the picture is left as it was", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = Path(folder) / "coverage.html"
        figure.update_layout(paper_bgcolor=p.background)
        figure.write_html(page_file, include_plotlyjs=True, config={"displayModeBar": False})
        browser = playwright.chromium.launch(executable_path=found, args=["--headless", "--no-sandbox"])
        page = browser.new_page(viewport={"width": 860, "height": 36 * len(names) + 140}, device_scale_factor=2)
        page.goto(page_file.as_uri())
        page.wait_for_selector(".main-svg")
        page.screenshot(path=path)
        browser.close()
