"""Classwise calibration error, summed over classes."""

from scipy.sparse import csr_array

from core.metrics._bins import classwise, classwise_sum
from core.metrics._measure import Measure
from core.metrics._reduction import reduce
from core.registry import register
from core.types import Floats, Integers


def _cells(probabilities: Floats, labels: Integers) -> csr_array:
    return classwise(probabilities, labels)


def _totals(probabilities: Floats, labels: Integers) -> Floats:
    return reduce(probabilities, labels).classwise_totals()


register(
    kind="metric",
    name="classwise_ece_sum",
    title="Classwise ECE, sum",
    summary="The calibration error of each class's probability over 15 equally wide bins, summed over classes.",
    reference="Kumar et al. 2019, arXiv 1909.10155: marginal error, here absolute gaps, weight 1 a class",
)(Measure(_cells, classwise_sum, "fraction", higher_is_better=False, totals=_totals))
