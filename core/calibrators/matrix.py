"""Matrix scaling, regularised."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from core.calibrators._fitted import FittedCalibrator
from core.calibrators._matrix import fit_matrix, too_many
from core.registry import register
from core.types import Integers

TITLE = "Matrix scaling"


@register(
    kind="calibrate",
    name="matrix",
    title="Matrix",
    summary="Mixes the logits of all classes, the mixing held down by cross-validation; at most 20 classes.",
    reference="Guo et al. 2017, arXiv 1706.04599; ODIR: Kull et al. 2019, arXiv 1910.12656",
    fits=lambda model: too_many(TITLE, len(model.classes)),
)
def matrix(logits: NDArray[Any], labels: Integers) -> FittedCalibrator:
    """Fit `softmax(W z + b)` with ODIR, its strength chosen inside these examples. Raises `TemperError`."""
    return fit_matrix(logits, labels, False, TITLE)
