"""The trainings in a grid of recipes: which different ones there are, which were not run here, how long one takes."""

from __future__ import annotations

from dataclasses import replace

from core.data.handle import DataHandle
from core.engine.transform import transform
from core.errors import TemperError
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.sweeps.plan import Plan
from core.training.kept import KEPT
from core.training.pace import Paced
from core.training.permit import Permit, Untrained, permitted

MOST = KEPT // 2  # trainings of a sweep: of those that are kept, half stay a person's own
REHEARSED = 30.0  # seconds that the rehearsal fills with epochs, as a training of the usual length would be


def trainings_of(plan: Plan) -> list[Recipe]:
    """A recipe that ends with a training for each different one of the grid, in the order of a sweep."""
    found: dict[str, Recipe] = {}
    for place in plan.order():
        for one in _trainings(plan.recipes[place]):
            found.setdefault(one.fingerprint, one)
    return list(found.values())


def _trainings(recipe: Recipe) -> list[Recipe]:
    steps = recipe.without("calibrate").simplified().steps
    return [replace(recipe, steps=steps[: place + 1]) for place, step in enumerate(steps) if step.kind == "train"]


def missing_of(model: ModelHandle, data: DataHandle, trainings: list[Recipe]) -> list[Recipe]:
    """Those that were not run on this machine. Nothing is trained."""
    found = []
    for one in trainings:
        try:
            transform(model, data, one)
        except Untrained:
            found.append(one)
        except TemperError:  # the point itself says what is wrong with it
            continue
    return found


def points_with(plan: Plan, trainings: list[Recipe]) -> int:
    """How many points of the grid hold one of these trainings."""
    names = {one.fingerprint for one in trainings}
    return sum(any(one.fingerprint in names for one in _trainings(recipe)) for recipe in plan.recipes.values())


def epochs_of(recipe: Recipe) -> float:
    """The epochs of a recipe's last training, as far as it goes."""
    values = recipe.only("train").steps[-1].values
    return float(str(values["epochs"])) * float(str(values["until"]))


def seconds_of(model: ModelHandle, data: DataHandle, recipe: Recipe) -> float:
    """About how long a recipe's training takes on this machine, by a rehearsal of some seconds; nothing is kept."""
    try:
        with permitted(Permit(seconds=REHEARSED)):
            transform(model, data, recipe)
    except Paced as found:
        return REHEARSED * epochs_of(recipe) / found.epochs
    return 0.0
