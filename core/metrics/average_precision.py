"""Average precision: the area under the precision-recall curve as a sum of steps."""

import numpy as np

from core.metrics._measure import Measure, divided
from core.metrics._ranking import cells, falling, ranked
from core.registry import register
from core.types import Floats, Integers


def _total(sums: Floats) -> Floats:
    """Inside a bin the classes are taken as evenly mixed.

    The j-th of a bin's p positives then has on average j m / (p + 1) of its m negatives before it, so that its
    precision is (a + j) / (c + r j) with a positives and c examples in earlier bins and r = 1 + m / (p + 1). The
    sum over j is taken as the integral from 1/2 to p + 1/2, which fractions of examples suit as well.
    """
    negatives, positives = falling(sums)
    a = np.cumsum(positives, -1) - positives
    c = a + np.cumsum(negatives, -1) - negatives
    r = 1 + negatives / (positives + 1)
    logs = np.log((c + r * (positives + 0.5)) / (c + r * 0.5))
    inside = positives / r + (a - c / r) / r * logs
    return np.clip(divided(inside.sum(-1), positives.sum(-1)), 0.0, 1.0)


def _exact(predicted: Floats, labels: Integers) -> float:
    caught, alarms = ranked(predicted, labels)
    if not len(labels) or caught[-1] == 0:
        return 0.0  # the base rate of a set without positives
    steps = np.diff(caught, prepend=0)
    return float((steps * caught / (caught + alarms)).sum() / caught[-1])


register(
    kind="metric",
    name="average_precision",
    title="Average precision",
    summary="Mean precision over the positive examples, each at its own score; random scores give the base rate.",
    reference="Davis and Goadrich 2006, doi 10.1145/1143844.1143874",
    tasks=("binary",),
)(Measure(cells, _total, "area, 0 to 1", higher_is_better=True, exact=_exact, one_sided=True, most=1.0))
