"""What one visit remembers: the model, the recipe with its history, and the points visited.

The state lives under one key of the session and outlives page changes; the address bar mirrors it, so
that a link, also after a restart of the server, restores it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import streamlit as st

from core.errors import TemperError
from core.figures.trail import TrailPoint
from core.models.handle import ModelHandle
from core.models.samples import DEFAULT, load_sample, sample_ids
from core.recipe import Recipe, Step, from_link
from core.registry import method
from core.task import TaskKind

KEY = "sitting"
HISTORY_LIMIT = 200  # recipes that undo can reach
GRID = "sparsity=0:0.9:0.1;weight_bits=2,3,4,5,6,8,32"
TRAIL_LIMIT = 60  # points shown; older ones leave


def showcase(task: TaskKind = "multi-class") -> Recipe:
    """The recipe a first visit opens on: half the weights, four bits, calibrated; of numbers six bits, conformal."""
    if task == "regression":
        given = {"weight_bits": 6, "activation_bits": 8}
        return Recipe((Step.of("quantize", "uniform", given), Step.of("calibrate", "conformal")))
    return Recipe(
        (
            Step.of("prune", "magnitude-global", {"sparsity": 0.5}),
            Step.of("quantize", "uniform", {"weight_bits": 4, "activation_bits": 8}),
            Step.of("calibrate", "temperature"),
        )
    )


@dataclass
class Visit:
    """One point of the trail with the recipe that leads back to it."""

    point: TrailPoint
    recipe: Recipe


@dataclass
class Sitting:
    """The state of one visit."""

    model: str
    history: list[Recipe]
    cursor: int = 0
    trails: dict[str, list[Visit]] = field(default_factory=dict)
    notice: TemperError | None = None
    grid: str = GRID  # the axes of the Trade-offs page, as the command line writes them, `;` between two
    way: str = ""  # how the Trade-offs page finds recipes: "" by a grid
    revision: int = 0  # counts changes not made by a control, after which the controls must follow

    @property
    def recipe(self) -> Recipe:
        """The recipe in force."""
        return self.history[self.cursor]

    @property
    def trail(self) -> list[Visit]:
        """Points visited with the present model, in order of the first visit."""
        return self.trails.setdefault(self.model, [])

    @property
    def can_undo(self) -> bool:
        """Whether there is an earlier recipe."""
        return self.cursor > 0

    @property
    def can_redo(self) -> bool:
        """Whether an undone recipe can come back."""
        return self.cursor + 1 < len(self.history)

    def change(self, recipe: Recipe, by_control: bool = False) -> None:
        """Make `recipe` the one in force; undone recipes are dropped."""
        self.notice = None
        if not by_control:
            self.revision += 1
        if recipe != self.recipe:
            self.history = [*self.history[: self.cursor + 1], recipe][-HISTORY_LIMIT:]
            self.cursor = len(self.history) - 1

    def undo(self) -> None:
        """Go one recipe back."""
        self._move(-1)

    def redo(self) -> None:
        """Go one recipe forward again."""
        self._move(+1)

    def reset(self) -> None:
        """Back to the untouched model; undo brings the recipe back."""
        self.change(Recipe())

    def _move(self, by: int) -> None:
        self.cursor = min(max(self.cursor + by, 0), len(self.history) - 1)
        self.revision += 1
        self.notice = None

    def choose_model(self, model: str) -> None:
        """Apply the recipe in force to another model, without the steps that do not suit its task."""
        self.model = model
        task = kind_of(model)
        suiting = self.recipe.suiting(task)
        left = [method(step.kind, step.method).title for step in self.recipe.steps if step not in suiting.steps]
        apart = any(step.layers for step in suiting.steps)
        self.change(suiting.without_layers())
        self.revision += 1
        if left:
            said = f"{', '.join(left)} does not suit a {task} model and was left out."
            self.notice = TemperError(said, "Undo brings it back.")
        elif apart:
            said = "What single layers had of their own belongs to the other model and was left out."
            self.notice = TemperError(said, "Undo brings it back.")

    def visit(self, point: TrailPoint, recipe: Recipe) -> int:
        """Note a point, once, and return its place on the trail. The first one noted is the original."""
        for place, seen in enumerate(self.trail):
            if seen.point.recipe_fingerprint == point.recipe_fingerprint:
                self.trail[place] = Visit(point, recipe)
                return place
        self.trail.append(Visit(point, recipe))
        if len(self.trail) > TRAIL_LIMIT:
            del self.trail[1]  # the original stays
        return len(self.trail) - 1


def kind_of(model: str) -> TaskKind:
    """What a model is asked for; of one that cannot be read, which the page says in its place, the usual."""
    try:
        return load_sample(model)[1].task.kind
    except TemperError:
        return "multi-class"


def handle_of(model: str) -> ModelHandle | None:
    """A model's handle, None where its card cannot be read; the page says so."""
    try:
        return load_sample(model)[0]
    except TemperError:
        return None


def sitting() -> Sitting:
    """The present visit; the first call of a visit reads it from the link, or begins with the showcase."""
    if KEY not in st.session_state:
        st.session_state[KEY] = _from_link()
    found: Sitting = st.session_state[KEY]
    return found


def _from_link() -> Sitting:
    model, text = st.query_params.get("model"), st.query_params.get("recipe")
    fresh = Sitting(DEFAULT if DEFAULT in sample_ids() else next(iter(sample_ids()), DEFAULT), [showcase()])
    try:
        if model:
            task = load_sample(model)[1].task.kind
            fresh.model, fresh.history = model, [showcase(task)]
        if text:
            fresh.history = [from_link(text)]
        fresh.grid = st.query_params.get("grid") or GRID
        fresh.way = "search" if st.query_params.get("way") == "search" else ""
    except TemperError as error:
        fresh.notice = error
    return fresh


def mirror() -> None:
    """Write the state into the address bar."""
    wanted = link_parameters()
    if dict(st.query_params) != wanted:
        st.query_params.from_dict(wanted)


def link_parameters() -> dict[str, str]:
    """The query parameters that restore the present state."""
    now = sitting()
    grid = {} if now.grid == GRID else {"grid": now.grid}
    way = {"way": now.way} if now.way else {}
    return {"model": now.model, "recipe": now.recipe.to_link(), **grid, **way}
