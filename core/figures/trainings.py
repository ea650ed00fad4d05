"""Trainings side by side: what each was asked, and what it came to on calibration examples."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from core.figures import said
from core.recipe import Recipe
from core.registry import Param, Value, method
from core.task import Task
from core.training.training import Progress

SAID = ("epochs", "until", "teacher")  # settings that a recipe's notation names
CLEAR = ("start", "layers", "loss", "optimiser")  # settings whose values say what they are of
STATES = {"ready": "not begun", "queued": "waiting", "cancelled": "paused", "failed": "stopped"}


def named_training(recipe: Recipe) -> str:
    """A recipe's notation with the settings of its training that are not the usual ones, to tell it from others."""
    name, other = recipe.without("calibrate").notation, unusual(recipe)
    return f"{name}, {other}" if other else name


def unusual(recipe: Recipe) -> str:
    """The settings of the last training that differ from the usual ones, such as 'adapters, focal, rank 8'."""
    step = recipe.only("train").steps[-1]
    declared, values = method(step.kind, step.method), step.values
    found = []
    for param in declared.parameters:
        value = values[param.name]
        resting = param.shown_when is not None and values[param.shown_when[0]] != param.shown_when[1]
        if value != param.default and param.name not in SAID and not resting:
            said_so = _said(param, value)
            found.append(said_so if param.name in CLEAR else f"{param.title.lower()} {said_so}")
    return ", ".join([*found, *([f"seed {recipe.seed}"] if recipe.seed else [])])


def _said(param: Param, value: Value) -> str:
    return param.label(value).lower() if param.labels else f"{value:g}" if isinstance(value, float) else str(value)


def trainings_table(rows: Sequence[tuple[Recipe, Progress, float | None]], task: Task) -> pd.DataFrame:
    """A row a training, by what was asked, how far it is, and the seconds asked for."""
    lead = task.facts.headline if task.decides else "rmse"
    measures = (lead, "ece") if task.decides else (lead,)
    found = []
    for asked, standing, seconds in rows:
        looks, recipe = standing.looks, standing.recipe or asked
        row: dict[str, object] = {
            "Training": recipe.without("calibrate").notation,
            "Settings": unusual(recipe) or "the usual ones",
        }
        for name in measures:
            unit = task.unit_of(said.unit_of(name))
            title = f"{said.title(name)}, {said.shown_unit(unit)}".removesuffix(", ")
            shown = (("before", looks[0]), ("after", looks[-1])) if looks else ()
            for which, look in shown[-1:] if name == "ece" else shown:
                value = said.factor(unit) * look.values["calibration"][name]
                row[f"{title} {which}"] = round(value, 1) if unit == "fraction" else float(f"{value:.4g}")
        row["Took, s"] = round(looks[-1].seconds, 1) if looks else None
        row["Asked"] = f"{seconds:g} s" if seconds else "epochs"
        row["State"] = STATES.get(standing.state, standing.state)
        found.append(row)
    return pd.DataFrame(found)
