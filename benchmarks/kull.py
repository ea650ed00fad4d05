"""Confidence calibrations on data like those of Kull et al. 2019 (arXiv 1910.12656): made, miscalibrated by class.

`python -m benchmarks.kull [DRAWS]`: many data sets whose class-wise distortions are known, each with a calibration
split of 1,500 and an evaluation split of 4,000 examples. Printed are the mean rank of each calibration by NLL and by
classwise ECE, as in their tables 3 and 4 a low rank being good, and how often each pair comes in the order that the
paper finds: Dirichlet before vector before temperature before none, and matrix with ODIR before none. A few minutes.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.stats import rankdata

from core.calibrators._fitted import softmax
from core.metrics._reduction import reduce
from core.registry import method
from core.types import Floats, Integers

NAMES = ("dirichlet", "matrix", "vector", "temperature", "ensemble", "isotonic", "histogram", "none")
ORDER = (("dirichlet", "vector"), ("vector", "temperature"), ("temperature", "none"), ("matrix", "none"))
BY = ("nll", "classwise_ece_mean")
KNOWN, JUDGED = 1_500, 4_000


def distorted(seed: int) -> tuple[Floats, Integers]:
    """Logits `(KNOWN + JUDGED, C)` of 3 to 8 classes and labels drawn from what they were before a distortion.

    Each class is sharpened by another factor, shifted, and mixed up with its neighbours, as a Dirichlet map does.
    """
    random = np.random.default_rng(seed)
    classes = int(random.integers(3, 9))
    honest = 1.5 * random.normal(size=(KNOWN + JUDGED, classes))
    labels = (softmax(honest).cumsum(1) < random.random((len(honest), 1))).sum(1).clip(0, classes - 1)
    mixing = np.diag(random.uniform(1, 3, classes)) + 0.3 * random.normal(size=(classes, classes))
    return honest @ mixing + 0.7 * random.normal(size=classes), labels


def judged(seed: int) -> dict[str, dict[str, float]]:
    """The measures of every calibration on the evaluation part of one data set."""
    logits, labels = distorted(seed)
    known, new = slice(None, KNOWN), slice(KNOWN, None)
    found = {"none": reduce(softmax(logits[new]), labels[new]).measures()}
    for name in NAMES[:-1]:
        fit = method("calibrate", name).function(logits[known], labels[known])
        found[name] = reduce(fit.probabilities(logits[new]), labels[new]).measures()
    return found


def main(draws: int) -> None:
    """Judge and print."""
    rows = [judged(seed) for seed in range(draws)]
    for by in BY:
        values = np.array([[row[name][by] for name in NAMES] for row in rows])
        ranks = np.array([rankdata(row) for row in values]).mean(0)
        told = ", ".join(f"{NAMES[k]} {ranks[k]:.2f}" for k in np.argsort(ranks))
        print(f"{by}, mean rank over {draws} data sets: {told}")
        for better, worse in ORDER:
            wins = int((values[:, NAMES.index(better)] < values[:, NAMES.index(worse)]).sum())
            print(f"  {better} before {worse}: {wins} of {draws}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
