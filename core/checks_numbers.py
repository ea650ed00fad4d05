"""Do a network for numbers and its data belong together? Checked on the calibration split, as `core.checks` does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.checks import (
    BETTER,
    CHECKED,
    TRIED,
    Check,
    Normalisation,
    Offer,
    by_numbers,
    evenly,
    explained,
    kinds_of,
    line_through,
    outputs_of,
    predictor_of,
    repeatable,
)
from core.data.intake import Examples
from core.data.texts import Tokens
from core.models.compare import Incoming
from core.types import Floats

Z90 = 1.6448536269514722  # half the width of a normal 90 % interval, in standard deviations
SURE = 2.0  # standard errors by which a network must be better than always the mean
EXPONENT = 50.0  # the log of a deviation is held within this, as everywhere


def checks_of_numbers(
    model: Incoming, x: NDArray[Any], y: Floats, found: Examples, chosen: Normalisation, unit: str
) -> tuple[Check, ...]:
    """What was checked, in the order a person would ask. Raises `TemperError` for outputs that are not finite."""
    part = evenly(len(x), CHECKED)
    predict = predictor_of(model)
    inputs, truths = chosen.preprocessing.apply(x[part], found.modality), y[part]
    outputs = outputs_of(predict, inputs)
    values = outputs[:, 0].astype(np.float64)
    meant = "the value" if outputs.shape[1] == 1 else "the value and the log of its standard deviation"

    def others() -> list[tuple[str, float]]:
        few = evenly(len(x), TRIED)
        if chosen.tried or isinstance(chosen.preprocessing, Tokens):
            return list(chosen.tried)
        return by_numbers(predict, kinds_of(x, model, None), x[few], y[few], found.modality)

    belongs = _belongs(values, truths, found, chosen, others())
    low, middle, high = np.quantile(found.y, [0, 0.5, 1])
    of = f" {unit}" if unit else ""
    return (
        Check("Same as the original", True, f"outputs equal the file's own to {model.difference:.0e} of the largest"),
        Check("Finite", True, f"every output of {len(part):,} calibration examples is a finite number"),
        repeatable(predict, inputs, outputs),
        Check("Outputs", None, f"{model.classes}, read as {meant}"),
        belongs,
        _doubt(outputs, truths) if belongs.ok else Check("Intervals", None, "not judged before the values are right"),
        Check(
            "Target", None, f"{found.target} runs from {low:,.6g} to {high:,.6g}{of}, half of it below {middle:,.6g}"
        ),
    )


def _belongs(
    values: Floats, truths: Floats, found: Examples, chosen: Normalisation, others: list[tuple[str, float]]
) -> Check:
    """No better than always the mean, or far from the best straight line? Then the likeliest causes, tested."""
    n, plain = len(truths), explained(values, truths)
    gains = (truths - truths.mean()) ** 2 - (truths - values) ** 2
    sure = float(gains.mean()) > SURE * float(gains.std()) / math.sqrt(n)
    intercept, slope, line = line_through(values, truths)
    scaled = slope > 0 and line > max(plain, 0.0) + BETTER
    said = f"R2 is {plain:.3g} on {n:,} calibration examples; always the mean: 0"
    if sure and not scaled:
        return Check("Belong together", True, said)
    causes, offers = [], []
    if scaled:
        causes.append(
            f"values and truths lie near a straight line (R2 {line:.3g}), as if the target had been scaled in "
            f"training: actual = output × {slope:.4g} + {intercept:.4g}. If you know the mean and deviation it was "
            "scaled by, give those (--target-scale mean;deviation)"
        )
        offers.append(Offer({"target_scale": f"{intercept:.6g};{slope:.6g}"}, line))
    best = max(others, key=lambda pair: pair[1], default=("", 0.0))
    if best[1] > max(plain, line, 0.0) + BETTER and best[0] != chosen.name:
        causes.append(f"normalisation '{best[0]}' would give an R2 of {best[1]:.3g}")
        offers.append(Offer({"normalise": best[0]}, best[1]))
    if slope < 0 and line > BETTER:
        causes.append("values fall where truths rise: is the sign of the target turned?")
    reason = "so this is no better than the mean" if not sure else "which a straight line would improve"
    tested = "; ".join(causes) or "neither another normalisation nor a scale of the target does better"
    return Check("Belong together", False, f"{said}, {reason}. Tested: {tested}", tuple(offers))


def _doubt(outputs: NDArray[np.float32], truths: Floats) -> Check:
    """What the network says of its own errors."""
    if outputs.shape[1] == 1:
        return Check("Intervals", None, "the network states none; a confidence calibration gives it some")
    values, scale = outputs.astype(np.float64).T
    width = Z90 * np.exp(np.clip(scale, -EXPONENT, EXPONENT))
    held = float((np.abs(truths - values) <= width).mean())
    odd = held < 0.5 or held > 0.999
    more = "; is its second output the log of a standard deviation?" if odd else ""
    return Check(
        "Intervals", False if odd else None,
        f"the 90 % intervals that the network states hold {100 * held:.1f} % of {len(truths):,} calibration "
        f"examples{more}",
    )  # fmt: skip
