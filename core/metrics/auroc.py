"""Area under the receiver operating characteristic."""

import numpy as np

from core.metrics._measure import Measure
from core.metrics._ranking import cells, falling, ranked
from core.registry import register
from core.types import Floats, Integers

NOTHING = 0.5  # where one class is absent there is no pair to rank: as good as chance


def _total(sums: Floats) -> Floats:
    negatives, positives = falling(sums)
    above = np.cumsum(positives, -1) - positives / 2  # of one bin half the pairs are taken as ranked right
    pairs = negatives.sum(-1) * positives.sum(-1)
    return np.divide((negatives * above).sum(-1), pairs, out=np.full(pairs.shape, NOTHING), where=pairs > 0)


def _exact(predicted: Floats, labels: Integers) -> float:
    caught, alarms = ranked(predicted, labels)
    if not len(labels) or caught[-1] == 0 or alarms[-1] == 0:
        return NOTHING
    tp, fp = np.r_[0, caught].astype(np.float64), np.r_[0, alarms].astype(np.float64)
    return float(np.trapezoid(tp, fp) / (tp[-1] * fp[-1]))


register(
    kind="metric",
    name="auroc",
    title="AUROC",
    summary="How often a random positive example scores above a random negative one, ties half; 0.5 for one class.",
    reference="Hanley and McNeil 1982, doi 10.1148/radiology.143.1.7063747; Fawcett 2006",
    tasks=("binary",),
)(Measure(cells, _total, "area, 0 to 1", higher_is_better=True, exact=_exact, one_sided=True, most=1.0))
