"""What the tests of tuning share: small tunings in this thread, trials made by hand, pictures' situations."""

from __future__ import annotations

from sweeping import Here

from core.models.samples import load_sample
from core.recipe import Recipe, Step
from core.training.attempted import Attempted, Judged
from core.training.gain import with_training
from core.training.tuning import Tuning
from core.training.tuning_space import TuningSpace
from core.types import Interval, Quantity

PRUNED = Recipe((Step.of("prune", "magnitude-global", {"sparsity": 0.9}),))


def space_of(tuned=("rate", "batch", "augment"), epochs=6.0, base=PRUNED, name="fine-tune") -> TuningSpace:
    return TuningSpace.of(base, name, {"epochs": epochs, "rate": 1e-3, "batch": 16}, tuned)


def tuning_on(path, trials=8, pair=None, space=None) -> Tuning:
    model, data = pair or load_sample("breast-cancer")
    return Tuning(model, data, space or space_of(), trials, path)


def ran(tuning: Tuning) -> Tuning:
    tuning.run(Here())
    return tuning


def found(tuning: Tuning) -> list[tuple]:
    """What was tried and what was seen of it, without the time it took."""
    return [(t.recipe, t.curve, t.loss, t.stopped, t.error) for t in tuning.tried]


def made(number: int, curve: tuple[float, ...], loss: float | None, error: str = "") -> Attempted:
    """A trial whose curve is at equal distances."""
    recipe = with_training(PRUNED, "fine-tune", {"batch": (8, 16, 32, 64, 128, 256)[number % 6]})
    points = tuple((place / 20, value) for place, value in enumerate(curve))
    return Attempted(number, recipe, points, loss, loss is None and not error, error, 2.0 + number)


def falling(to: float, looks: int = 21) -> tuple[float, ...]:
    return tuple(1.0 - (1.0 - to) * place / 20 for place in range(looks))


FULL = [made(0, falling(0.5), 0.51), made(1, falling(0.4), 0.42), made(2, falling(1.6, 5), None),
        made(3, falling(0.7), 0.7), made(4, (), None, "The loss was no number.")]  # fmt: skip
CHANGE = {
    "nll": Quantity(-0.09, "nats", "measured", Interval(-0.12, -0.05), 170),
    "accuracy": Quantity(0.01, "fraction", "measured", Interval(-0.004, 0.02), 170),
}
VERDICT = Judged(
    {"nll": 0.4, "accuracy": 0.93}, {"nll": 0.6, "accuracy": 0.9}, {"nll": 0.51, "accuracy": 0.91}, CHANGE, 170
)
SITUATIONS = {
    "none yet": {"tried": [], "current": (), "judged": None, "loss": "nll"},
    "first under way": {"tried": [], "current": ((0.0, 1.0), (0.05, 0.9)), "judged": None, "loss": "nll"},
    "some": {"tried": FULL, "current": ((0.0, 1.0), (0.05, 0.9)), "judged": None, "loss": "nll"},
    "judged": {"tried": FULL, "current": (), "judged": VERDICT, "loss": "nll"},
    "numbers": {"tried": FULL[:2], "current": (), "judged": None, "loss": "rmse"},
    "only failed": {"tried": FULL[4:], "current": (), "judged": None, "loss": "nll"},
}  # fmt: skip
