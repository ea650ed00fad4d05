"""The cells of a grid of recipes: what is known of each, the place it stands for, and its shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.sweeps.front import Spot
from core.sweeps.plan import Axis, Place, Plan

DEEPEST = 0.17  # share of a cell that these may take
PANEL = 450  # px: the cells' width in a narrow chart
At = tuple[int, int]  # row and column of a cell
Box = tuple[float, float, float, float]  # left, right, top, bottom


@dataclass(frozen=True)
class Grid:
    """The cells of a slice: what is known of each and the place each stands for."""

    across: Axis
    down: Axis | None
    places: Mapping[At, Place]
    spots: Mapping[At, Spot]

    @property
    def rows(self) -> int:
        """How many rows of cells."""
        return len(self.down.values) if self.down else 1

    @property
    def columns(self) -> int:
        """How many columns of cells."""
        return len(self.across.values)

    @property
    def height(self) -> int:
        """Of all rows together, px."""
        return min(max(48 * self.rows, 96), 376)

    def inset(self, pixels: float) -> tuple[float, float]:
        """About so many pixels as shares of a cell's width and height."""
        wide, tall = pixels * self.columns / (1.3 * PANEL), pixels * self.rows / self.height
        return min(wide, DEEPEST), min(tall, DEEPEST)

    def where(self, places: Iterable[Place]) -> list[At]:
        """The cells of these places, of those that are drawn."""
        wanted = set(places)
        return [cell for cell, place in self.places.items() if place in wanted]


def grid_of(plan: Plan, spots: Mapping[Place, Spot], across: int, down: int) -> Grid:
    """The cells of two axes, the others at the index that the spots share; one axis makes one row."""
    single = len(plan.axes) == 1
    across = 0 if single else across
    rows = 1 if single else len(plan.axes[down].values)
    fixed = list(next(iter(spots), (0,) * len(plan.axes)))
    places = {}
    for row in range(rows):
        for column in range(len(plan.axes[across].values)):
            place = list(fixed)
            if not single:
                place[down] = row
            place[across] = column
            places[row, column] = tuple(place)
    found = {cell: spots[place] for cell, place in places.items() if place in spots}
    return Grid(plan.axes[across], None if single else plan.axes[down], places, found)


def box(cell: At, wide: float, tall: float) -> Box:
    """Left, right, top, bottom of a box around a cell's middle."""
    row, column = cell
    return column - wide, column + wide, row - tall, row + tall


def frame(cell: At, wide: float, tall: float) -> list[Box]:
    """Four strips along a cell's edges: what is left between them is a smaller cell."""
    left, right, top, bottom = box(cell, 0.5, 0.5)
    return [
        (left, right, top, top + tall),
        (left, right, bottom - tall, bottom),
        (left, left + wide, top, bottom),
        (right - wide, right, top, bottom),
    ]


def path(boxes: Sequence[Box]) -> dict[str, list[float | None]]:
    """Boxes as one line with gaps."""
    x: list[float | None] = []
    y: list[float | None] = []
    for left, right, top, bottom in boxes:
        x += [left, right, right, left, left, None]
        y += [top, top, bottom, bottom, top, None]
    return {"x": x, "y": y}
