"""What the tests of numbers share: heteroscedastic prices and outcomes made of arrays."""

from __future__ import annotations

import numpy as np

from core.calibrators.conformal import conformal
from core.engine.numbers import stated
from core.task import Task
from core.types import Ledger, Outcome, Provenance, Result

PRICES = Task("regression", target="price", unit="US dollars", outputs=("value", "log_scale"))
ONLY_VALUES = Task("regression", target="", unit="", outputs=("value",))
SIZE = Ledger(1_000, 400, 10, 0, 20, 500, 450)


def made(n: int, seed: int, stated_share: float = 1.0, scale: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Outputs float32 `(N, 2 or 1)` and labels `(N,)`: normal errors whose deviation varies by example.

    The network states `stated_share` of the true deviation.
    """
    generator = np.random.default_rng(seed)
    value = generator.normal(20, 8, n).astype(np.float32)
    deviation = np.exp(generator.normal(0.0, 0.7, n))
    labels = value + deviation * generator.normal(size=n)
    outputs = np.stack([value, np.log(deviation * stated_share)], 1).astype(np.float32)
    return (outputs if scale else outputs[:, :1]), labels


def prices(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Log-normal prices, and what an over-confident network says of them."""
    generator = np.random.default_rng(seed)
    typical = np.exp(generator.normal(12.2, 0.5, n))
    labels = typical * np.exp(generator.normal(0, 0.22, n))
    value = typical * np.exp(generator.normal(0, 0.05, n))
    return np.stack([value, np.log(0.16 * value)], 1).astype(np.float32), labels


def outcome(
    outputs: np.ndarray, labels: np.ndarray, predicted: np.ndarray | None = None, recipe: str = "r"
) -> Outcome:
    task = PRICES if outputs.shape[1] == 2 else ONLY_VALUES
    predicted = stated(outputs) if predicted is None else predicted
    return Outcome(outputs, predicted, labels, task, Provenance("m", "d", "r", "test", 0.0))


def result(original: Outcome, tempered: Outcome, uncalibrated: Outcome | None = None) -> Result:
    return Result("m", "d", original, uncalibrated or tempered, tempered, SIZE, SIZE, ())


def _three(n: int, noise: float, scale: bool = True, calibrate: bool = True) -> tuple[Outcome, Outcome, Outcome]:
    """Original, tempered before and after conformal calibration, on prices."""
    (outputs, labels), (known, truths) = prices(n, seed=1), prices(500, seed=2)
    columns = 2 if scale else 1
    generator = np.random.default_rng(3)

    def tempered(given: np.ndarray) -> np.ndarray:
        after = given.copy()
        after[:, 0] *= np.exp(generator.normal(0.02, noise, len(given)))
        return after[:, :columns]

    original, moved = outcome(outputs[:, :columns], labels), outcome(tempered(outputs), labels)
    if not calibrate:
        return original, moved, moved
    fitted = conformal(tempered(known), truths)
    return original, moved, outcome(moved.logits.copy(), labels, fitted.probabilities(moved.logits))


def _plain(values: np.ndarray, labels: np.ndarray) -> Outcome:
    return outcome(values.astype(np.float32)[:, None], labels)


_FEW = np.random.default_rng(5).normal(0.01, 0.002, 25)
SITUATIONS = {
    "prices, calibrated": _three(3_000, 0.15),
    "prices, not calibrated": _three(3_000, 0.15, calibrate=False),
    "values only": _three(400, 0.15, scale=False, calibrate=False),
    "values only, calibrated": _three(400, 0.15, scale=False),
    "few, tiny, unchanged": (_plain(_FEW * 1.1, _FEW),) * 3,
    "constant after": (_plain(_FEW, _FEW), *[_plain(np.zeros(25), _FEW)] * 2),
    "all one": (_plain(np.full(30, 4.0), np.full(30, 4.0)),) * 3,
    "wild after": (_plain(_FEW, _FEW - 0.001), *[_plain(_FEW * np.logspace(-3, 6, 25), _FEW - 0.001)] * 2),
    "one example": (_plain(np.array([2.0]), np.array([3.0])),) * 3,
}
