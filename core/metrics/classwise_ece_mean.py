"""Classwise calibration error, averaged over classes."""

from scipy.sparse import csr_array

from core.metrics._bins import classwise, classwise_mean
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
    name="classwise_ece_mean",
    title="Classwise ECE, mean",
    summary="The calibration error of each class's probability over 15 equally wide bins, averaged over classes.",
    reference="Kull et al. 2019, arXiv 1910.12656, averages over classes",
)(Measure(_cells, classwise_mean, "fraction", higher_is_better=False, totals=_totals))
