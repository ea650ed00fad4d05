"""Made courses of recipes for the figure tests."""

from core.layers.course import Course, Stage, Turned
from core.recipe import Recipe, Step
from core.types import Interval, Quantity

STEPS = (
    Step.of("prune", "magnitude-global", {"sparsity": 0.8}),
    Step.of("repair", "batch-norm"),
    Step.of("quantize", "uniform", {"weight_bits": 4}),
)


def _of(value: float, unit: str, half: float) -> Quantity:
    return Quantity(value, unit, "measured", Interval(value - half, value + half), 900)


def _stages(values: tuple[float, ...], unit: str, half: float) -> tuple[Stage, ...]:
    found = [Stage(None, Recipe(), _of(values[0], unit, half), None, 400_000)]
    for place, value in enumerate(values[1:], 1):
        moved, size = _of(value - values[place - 1], unit, half), 400_000 // place**2
        found.append(Stage(STEPS[place - 1], Recipe(STEPS[:place]), _of(value, unit, half), moved, size))
    return tuple(found)


CLASSES, NUMBERS = _stages((0.93, 0.46, 0.92, 0.91), "fraction", 0.01), _stages((550.0, 900.0), "US dollars", 20.0)
OTHER = Stage(STEPS[0], Recipe(STEPS[::2][::-1]), _of(0.1, "fraction", 0.01), _of(-0.81, "fraction", 0.01), 50_000)
ALIKE = Stage(STEPS[0], Recipe(STEPS[::2][::-1]), _of(0.91, "fraction", 0.01), _of(0.0, "fraction", 0.01), 50_000)
SITUATIONS = {
    case: {"found": found}
    for case, found in {
        "worse the other way": Course("accuracy", CLASSES, Turned(OTHER, ("Re-estimate batch-norm",))),
        "alike the other way": Course("accuracy", CLASSES, Turned(ALIKE)),
        "no other way": Course("accuracy", CLASSES, Turned(None, (), "It cannot be pruned any more.")),
        "one order": Course("rmse", NUMBERS, None),
        "nothing moved": Course("accuracy", _stages((0.93, 0.93, 0.93), "fraction", 0.0), None),
    }.items()
}
