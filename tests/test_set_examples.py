"""Examples of conformal sets: the smallest, the largest, the missed, each list by hand."""

from __future__ import annotations

import numpy as np
import pytest

from core.calibration.set_examples import set_examples
from core.calibration.sets import Part, Rule, Sets
from core.errors import TemperError

P = np.array([[0.9, 0.05, 0.05], [0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.97, 0.02, 0.01], [0.4, 0.35, 0.25]])
INSIDE = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0], [1, 1, 1]], bool)
LABELS = np.array([0, 1, 0, 2, 2])
SETS = Sets(Rule("lac"), ("a", "b", "c"), (Part("all", 0.7, 50),), INSIDE, LABELS)


@pytest.mark.parametrize(("kind", "places"), [("smallest", [0, 1, 4]), ("largest", [4, 1, 0]), ("missed", [3, 2])])
def test_the_right_ones_come_first(kind, places):
    found = set_examples(SETS, P, kind, 9)
    assert [one.place for one in found] == places
    assert [one.held for one in found] == [kind != "missed"] * len(places)
    assert len(set_examples(SETS, P, kind, 1)) == 1


def test_classes_of_a_set_stand_by_their_probability():
    one = set_examples(SETS, P[:, ::-1], "largest", 1)[0]
    assert one.inside == (2, 1, 0) and one.truth == 2 and one.sure == 0.4


def test_other_examples_are_refused():
    with pytest.raises(TemperError, match="need as many probabilities"):
        set_examples(SETS, P[:3], "missed", 2)


def test_of_one_size_the_largest_begin_with_the_least_sure():
    alike = Sets(Rule("lac"), SETS.classes, SETS.parts, np.eye(3, dtype=bool)[LABELS], LABELS)
    orders = {kind: [one.place for one in set_examples(alike, P, kind, 9)] for kind in ("smallest", "largest")}
    assert orders == {"smallest": [3, 0, 1, 2, 4], "largest": [4, 2, 1, 0, 3]}
