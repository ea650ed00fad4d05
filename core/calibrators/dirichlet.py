"""Dirichlet calibration, regularised."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from core.calibrators._fitted import FittedCalibrator
from core.calibrators._matrix import Penalty, fit_matrix, too_many
from core.registry import Param, register
from core.types import Integers

TITLE = "Dirichlet calibration"


@register(
    kind="calibrate",
    name="dirichlet",
    title="Dirichlet",
    summary="Mixes the logarithms of all classes' probabilities, held down by cross-validation; at most 20 classes.",
    reference="Kull et al. 2019, Beyond temperature scaling, arXiv 1910.12656",
    fits=lambda model: too_many(TITLE, len(model.classes)),
    parameters=(
        Param(
            "penalty",
            "Regularisation",
            "odir",
            "What is held down: off-diagonal weights and biases, or all parameters alike.",
            choices=("odir", "l2"),
            labels={"odir": "ODIR: off-diagonal and intercept", "l2": "L2: all parameters"},
        ),
    ),
)
def dirichlet(logits: NDArray[Any], labels: Integers, penalty: Penalty = "odir") -> FittedCalibrator:
    """Fit `softmax(W ln p + b)`, its regularisation's strength chosen inside these examples. Raises `TemperError`."""
    return fit_matrix(logits, labels, True, TITLE, penalty)
