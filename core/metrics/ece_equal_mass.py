"""Expected calibration error, equal-mass bins."""

from scipy.sparse import csr_array

from core.metrics._bins import BINS, expected_error, top_label
from core.metrics._measure import Measure
from core.registry import register
from core.types import Floats, Integers


def _cells(probabilities: Floats, labels: Integers) -> csr_array:
    return top_label(probabilities, labels, BINS, "mass")


register(
    kind="metric",
    name="ece_equal_mass",
    title="ECE, equal-mass bins",
    summary="The mean gap between confidence and accuracy over 15 bins that hold equally many examples.",
    reference="Nguyen and O'Connor 2015, arXiv 1508.05154",
)(Measure(_cells, expected_error, "fraction", higher_is_better=False))
