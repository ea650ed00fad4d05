"""Train `breast-cancer`: a small multi-layer perceptron on scikit-learn's bundled table."""

import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from training import (  # noqa: E402
    ROOT,
    Schedule,
    save_split,
    save_weights,
    splits_alone,
    stratified_take,
    train,
    write_card,
)

HIDDEN = [48, 24]
CALIBRATION, EVALUATION = 140, 171  # of 569 patients; the other 258 fit the weights

SPLIT = (
    "Of 569 patients 258 fit the weights, 140 calibrate and 171 evaluate, each in the proportion of the classes. "
    "All of them are shipped."
)

if __name__ == "__main__":
    from core.models.architectures import TabularMLP

    table = load_breast_cancer()
    x, y = table.data.astype(np.float32), 1 - table.target  # class 1 is malignant, the one to find
    evaluation = stratified_take(y, EVALUATION, seed=30)
    rest = np.flatnonzero(~evaluation)
    calibration = rest[stratified_take(y[rest], CALIBRATION, seed=31)]
    fit = np.setdiff1d(rest, calibration)
    for name, places in (("fit", fit), ("calibration", calibration), ("evaluation", evaluation)):
        save_split(FOLDER, name, x[places], y[places])
    if splits_alone(FOLDER, SPLIT):
        sys.exit()
    mean, deviation = x[fit].mean(0), x[fit].std(0)
    schedule = Schedule(epochs=400, batch=32, rate=0.05, weight_decay=1e-4, warm_up_epochs=10, shift=0, seed=3)
    torch.manual_seed(schedule.seed)
    model = TabularMLP(x.shape[1], HIDDEN, 2)
    inputs = torch.from_numpy((x[fit] - mean) / deviation)
    labels = torch.from_numpy(y[fit]).long()
    train(model, inputs, labels, schedule, ROOT / ".work" / "breast-cancer.pt", pictures=False)
    save_weights(model, FOLDER)
    write_card(
        FOLDER,
        {
            "title": "Breast Cancer",
            "summary": "A small network that tells malignant from benign tumours by thirty measurements.",
            "task": {"kind": "binary", "positive": "malignant"},
            "architecture": "tabular-mlp",
            "arguments": {"features": x.shape[1], "hidden": HIDDEN, "classes": 2},
            "input_shape": [x.shape[1]],
            "classes": ["benign", "malignant"],
            "costs": {
                "false_alarm": 1,
                "miss": 10,
                "false_alarm_is": "a benign tumour is examined again",
                "miss_is": "a malignant tumour goes home untreated",
            },
            "preprocessing": {"scale": 1, "mean": mean.tolist(), "deviation": deviation.tolist()},
            "data": {
                "name": "Breast Cancer Wisconsin (Diagnostic)",
                "modality": "table",
                "licence": "CC BY 4.0",
                "attribution": "Wolberg, Mangasarian, Street and Street 1993, UCI Machine Learning Repository, "
                "doi 10.24432/C5DW2B; as bundled with scikit-learn",
                "features": [str(name) for name in table.feature_names],
                "split": SPLIT,
            },
            "training": {**asdict(schedule), "selection": "none: the weights after the last epoch"},
        },
    )
