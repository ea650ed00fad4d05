"""Where peers are wrong: each case with the truth worked out by brute force, and what is said here beside it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from test_calibrators import fit, made
from torchmetrics.functional.classification import multiclass_calibration_error

from core.calibrators._fitted import softmax
from core.registry import method


def value(name: str, p: np.ndarray, y: np.ndarray) -> float:
    return method("metric", name).function.value(p, y)


def test_a_confidence_of_one_belongs_to_the_last_bin():
    """torchmetrics 1.9 gives exactly 1.0 a bin of its own: gaps of opposite sign there no longer cancel."""
    sure, often = np.array([1.0] * 50 + [0.95] * 50), np.array([1] * 40 + [0] * 10 + [1] * 50)
    p, y = np.stack([1 - sure, sure], 1), often
    inside = (sure > 14 / 15) & (sure <= 1.0)  # the last of 15 right-closed bins holds all hundred
    assert inside.all()
    truth = abs(often.mean() - sure.mean())
    assert value("ece", p, y) == value("mce", p, y) == pytest.approx(truth, abs=1e-12) == 0.075
    theirs = [
        float(multiclass_calibration_error(torch.from_numpy(p), torch.from_numpy(y), 2, n_bins=15, norm=norm))
        for norm in ("l1", "max")
    ]
    apart = [abs(often[:50].mean() - 1.0), abs(often[50:].mean() - 0.95)]
    assert theirs == pytest.approx([sum(apart) / 2, max(apart)], abs=1e-6), "if this fails the peer was mended"


def test_a_temperature_of_single_precision_probabilities_is_found():
    """netcal 1.4's scaling of float32 probabilities stays at 1 without a word; that of float64 is near the truth."""
    from netcal.scaling import TemperatureScaling  # here, because importing it takes seconds

    logits, labels = made(2_000, 4, seed=11, truth=0.4)
    grid = np.linspace(0.5, 5, 4_501)
    rows = np.arange(len(labels))
    losses = [-np.log(softmax(logits / t)[rows, labels]).mean() for t in grid[::25]]
    near = grid[25 * int(np.argmin(losses))]
    fine = grid[np.abs(grid - near) < 0.03]
    truth = fine[int(np.argmin([-np.log(softmax(logits / t)[rows, labels]).mean() for t in fine]))]
    assert truth > 2
    for kind in (np.float32, np.float64):
        assert fit("temperature", logits.astype(kind), labels).fitted["temperature"] == pytest.approx(truth, abs=1e-3)
    theirs = {}
    for kind in (np.float32, np.float64):
        peer = TemperatureScaling()
        peer.fit(softmax(logits).astype(kind), labels)
        theirs[kind] = 1 / float(np.asarray(peer.temperature).reshape(-1)[0])
    assert theirs[np.float64] == pytest.approx(truth, rel=0.02)
    assert theirs[np.float32] == pytest.approx(1.0, abs=1e-6), "if this fails the peer was mended"


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_smooth_ece_keeps_all_of_the_mass_at_its_ends(end):
    """relplot 1.0 loses half of a kernel that sits at 0 or 1; reflection keeps it, as the sum over images shows.

    All examples stand at one confidence, and a fifth of them is wrong: whatever the kernel, the smoothed error is
    that fifth, as long as the kernel's mass stays between 0 and 1.
    """
    from core.metrics.ece_smooth import FINE, smooth_error

    gaps = np.zeros(FINE)
    gaps[-1 if end else 0] = 0.2  # a mean gap of 0.2 in the outermost cell
    found = float(smooth_error(gaps))
    centre, grid = (FINE - 0.5) / FINE if end else 0.5 / FINE, (np.arange(FINE) + 0.5) / FINE
    density = sum(
        np.exp(-0.5 * ((grid - image) / found) ** 2)
        for k in range(-3, 4)
        for image in (centre + 2 * k, 2 * k - centre)
    ) / (found * math.sqrt(2 * math.pi))  # fmt: skip
    assert density.mean() == pytest.approx(1, abs=1e-9), "the reflected kernel keeps its mass"
    assert found == pytest.approx(0.2 * density.mean(), abs=1e-6)
    halved = np.exp(-0.5 * ((grid - centre) / found) ** 2) / (found * math.sqrt(2 * math.pi))
    assert halved.mean() == pytest.approx(0.5, abs=0.001), "one kernel without its reflections has half"


def test_saturated_confidences_have_the_error_that_counting_gives():
    y = np.arange(500) % 5 == 0  # a fifth of class 1
    p = np.tile([1.0, 0.0], (500, 1))  # surely of class 0
    for name in ("ece", "ece_equal_mass", "ece_smooth", "ks_calibration", "mce"):
        assert value(name, p, y.astype(int)) == pytest.approx(0.2, abs=2e-4), name
