"""Isotonic regression of each class's probability."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.calibrators._fitted import Curves, FittedCalibrator, check, softmax
from core.calibrators._rest import mapped_classes, together
from core.registry import register
from core.types import Floats, Integers


@register(
    kind="calibrate",
    name="isotonic",
    title="Isotonic",
    summary="Maps each class's probability by a rising step function, so that predictions may change.",
    reference="Zadrozny and Elkan 2002, doi 10.1145/775047.775151",
)
def isotonic(logits: NDArray[Any], labels: Integers) -> FittedCalibrator:
    """Fit one isotonic map a class, one against the rest, and normalise. Raises `TemperError`.

    With two classes the map of class 1 is fitted and class 0 takes the complement. A row that all maps
    send to zero becomes uniform.
    """
    from sklearn.isotonic import IsotonicRegression

    probabilities = softmax(check(logits, labels))
    classes = probabilities.shape[1]
    fitted_classes = mapped_classes(classes)
    maps = [
        IsotonicRegression(out_of_bounds="clip", y_min=0, y_max=1).fit(
            probabilities[:, c], (labels == c).astype(np.float64)
        )
        for c in fitted_classes
    ]

    def calibrated(new: NDArray[Any]) -> Floats:
        raw = softmax(new)
        return together(np.stack([one.predict(raw[:, c]) for one, c in zip(maps, fitted_classes, strict=True)], 1))

    knots = tuple((one.X_thresholds_.astype(np.float64), one.y_thresholds_.astype(np.float64)) for one in maps)
    return FittedCalibrator(calibrated, {"levels": [len(one.X_thresholds_) for one in maps]}, Curves(knots))
