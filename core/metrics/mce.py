"""Maximum calibration error."""

from scipy.sparse import csr_array

from core.metrics._bins import BINS, greatest_error, top_label
from core.metrics._measure import Measure
from core.registry import register
from core.types import Floats, Integers


def _cells(probabilities: Floats, labels: Integers) -> csr_array:
    return top_label(probabilities, labels, BINS, "width")


register(
    kind="metric",
    name="mce",
    title="MCE",
    summary="The largest gap between confidence and accuracy of any of 15 equally wide bins.",
    reference="Naeini et al. 2015, doi 10.1609/aaai.v29i1.9602; Guo et al. 2017, arXiv 1706.04599",
)(Measure(_cells, greatest_error, "fraction", higher_is_better=False))
