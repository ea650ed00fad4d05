"""BBQ of many classes at once against BBQ class by class, written apart, ties and rare classes included."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import betaln

from core.calibrators._fitted import softmax
from core.calibrators.bbq import averaged_all, bbq

LEAST = 1e-9  # of the largest weight, from which a binning counts


def slowly(p: np.ndarray, hits: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The average's value at each of `at`, by a loop over binnings, bins and examples."""
    n, rising = len(p), np.sort(p, kind="stable")
    truth = hits[np.argsort(p, kind="stable")]
    root, seen = n ** (1 / 3), {}
    for number in range(max(1, int(root / 10)), min(n, max(2, int(np.ceil(root * 10)))) + 1):
        begins = sorted({round(k * n / number) for k in range(1, number)})
        begins = (0, *(b for b in begins if 0 < b < n and rising[b - 1] < rising[b]))
        edges = [rising[b - 1] + (rising[b] - rising[b - 1]) / 2 for b in begins[1:]]
        edges = [e if e > rising[b - 1] else rising[b] for e, b in zip(edges, begins[1:], strict=True)]
        score, means = 0.0, []
        for low, high, begin, end in zip([0.0, *edges], [*edges, 1.0], begins, [*begins[1:], n], strict=True):
            middle = min(max((low + high) / 2, 1e-9), 1 - 1e-9)
            a, b = 2 / len(begins) * middle, 2 / len(begins) * (1 - middle)
            h, size = truth[begin:end].sum(), end - begin
            score += betaln(h + a, size - h + b) - betaln(a, b)
            means.append((h + a) / (size + a + b))
        seen[begins] = (score, edges, means)
    best = max(score for score, _, _ in seen.values())
    total, weight = np.zeros(len(at)), 0.0
    for score, edges, means in seen.values():
        if np.exp(score - best) >= LEAST:
            total += np.exp(score - best) * np.array(means)[np.searchsorted(edges, at, "right")]
            weight += np.exp(score - best)
    return total / weight


@pytest.mark.parametrize(("n", "classes", "digits"), [(90, 70, 0), (90, 5, 2), (12, 3, 0), (200, 2, 0)])
def test_all_classes_at_once_are_each_class_alone(n, classes, digits):
    generator = np.random.default_rng(n + classes)
    logits = 2 * generator.normal(size=(n, classes))
    if digits:
        logits = np.round(logits)  # equal probabilities
        logits[: n // 2] = logits[n // 2 :]
    p, labels = softmax(logits), generator.integers(0, min(classes, 40), n)
    shown = list(range(classes))
    for one, (edges, values, bins) in zip(shown, averaged_all(p, labels, shown), strict=True):
        at = np.concatenate([p[:, one], generator.random(50)])
        # Sums of some 10,000 roundings of gamma functions below 1,000: 1e-9 of the weights, and so of the values.
        np.testing.assert_allclose(
            values[np.searchsorted(edges, at, "right")], slowly(p[:, one], labels == one, at), rtol=1e-8, atol=1e-14
        )
        assert len(edges) == len(values) - 1 and (np.diff(edges) > 0).all() and 1 <= bins <= n


def test_the_registered_method_takes_them():
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(90, 3)), np.arange(90) % 3
    fit = bbq(logits, labels)
    p = softmax(logits)
    by_class = np.stack([slowly(p[:, c], labels == c, p[:, c]) for c in range(3)], 1)
    np.testing.assert_allclose(fit.probabilities(logits), by_class / by_class.sum(1, keepdims=True), rtol=1e-8)
