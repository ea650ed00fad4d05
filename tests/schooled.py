"""Made looks at trainings for the figure tests."""

from core.task import Task, task_of_classes
from core.training.loop import Look

THREE = task_of_classes(("ant", "bee", "cat"))
PRICES = Task("regression", (), 1, "price", "US dollars", ("value",))
ORIGINAL = {"nll": 0.31, "accuracy": 0.93, "ece": 0.04}
ERRORS = {"rmse": 529.0, "mae": 260.0}


def _look(step: int, values: dict[str, float], factor: float) -> Look:
    fit = {name: value * factor for name, value in values.items()}
    sets = {"held back": {"loss": 0.5}, "fit": fit, "calibration": values}
    return Look(step, step / 100, 0.1 * step, 1e-3, sets, step % 2 == 0)


CLASSES = [
    _look(step, {"nll": 0.6 - step / 1_000, "accuracy": 0.8 + step / 1_000, "ece": 0.08 - step / 4_000}, 0.9)
    for step in (0, 30, 60, 90)
]
NUMBERS = [_look(step, {"rmse": 900.0 - step, "mae": 500.0 - step}, 0.95) for step in (0, 50, 100)]
SITUATIONS = {
    "under way": {"looks": CLASSES, "original": ORIGINAL, "task": THREE, "done": 0.45, "epochs": 2.0},
    "done": {"looks": CLASSES, "original": ORIGINAL, "task": THREE},
    "just begun": {"looks": CLASSES[:1], "original": ORIGINAL, "task": THREE, "done": 0.0},
    "nothing moves": {"looks": [CLASSES[0]] * 3, "original": ORIGINAL, "task": THREE},
    "numbers": {"looks": NUMBERS, "original": ERRORS, "task": PRICES},
}
