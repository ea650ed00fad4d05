"""Expected calibration error, equal-width bins."""

from scipy.sparse import csr_array

from core.metrics._bins import BINS, expected_error, top_label
from core.metrics._measure import Measure
from core.registry import register
from core.types import Floats, Integers


def _cells(probabilities: Floats, labels: Integers) -> csr_array:
    return top_label(probabilities, labels, BINS, "width")


register(
    kind="metric",
    name="ece",
    title="ECE",
    summary="The mean gap between confidence and accuracy over 15 equally wide bins of confidence.",
    reference="Naeini et al. 2015, doi 10.1609/aaai.v29i1.9602; Guo et al. 2017, arXiv 1706.04599",
)(Measure(_cells, expected_error, "fraction", higher_is_better=False))
