"""`python -m core calibrate`: every confidence calibration and every measure, on logits alone."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any


def add(commands: Any, print_json: Callable[[Any], None]) -> None:
    """Add the command."""
    calibrate = commands.add_parser("calibrate", help="fit and judge every confidence calibration on logits")
    calibrate.add_argument("--logits", required=True, metavar="FILE", type=Path, help="an .npz or .csv file")
    calibrate.add_argument(
        "--as", dest="stated", choices=("logits", "probabilities"), default="", help="what the file holds"
    )
    calibrate.add_argument("--measure", default="nll", metavar="METRIC", help="what methods are ranked by")
    calibrate.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    calibrate.set_defaults(run=lambda options: _calibrate(options, print_json))


def _calibrate(options: argparse.Namespace, print_json: Callable[[Any], None]) -> None:
    from core.calibrate import calibrate_arrays, cross_fitted_arrays, read_logits_file
    from core.logits_csv import read_logits_csv
    from core.registry import method

    csv = options.logits.suffix.lower() == ".csv"
    arrays = (read_logits_csv if csv else read_logits_file)(options.logits, options.stated)
    judge: Callable[..., dict[str, Any]] = cross_fitted_arrays if "logits" in arrays else calibrate_arrays
    found = judge(**arrays, compare=options.measure)
    if options.json:
        print_json(found)
        return
    if "cross_fitted" in found:
        print(f"one split: each of {found['cross_fitted']} parts is judged by a fit on the others")
    higher = method("metric", options.measure).function.higher_is_better
    fitted = {name: row for name, row in found["methods"].items() if "error" not in row}
    order = sorted(fitted, key=lambda name: fitted[name][options.measure], reverse=higher)
    names = ["accuracy", "ece", "nll", "brier"]
    names += [options.measure] if options.measure not in names else []
    heads = {"accuracy": "accuracy", "ece": "ECE", "nll": "NLL", "brier": "Brier"}
    print(f"{'':22}" + "".join(f"{heads.get(name, name):>9} " for name in names) + f" change of {options.measure}")
    for name in ("before", *order):
        row = found["before"] if name == "before" else fitted[name]
        text = f"{name:22}" + "".join(f"{row[one]:{max(9, len(heads.get(one, one)))}.4f} " for one in names)
        if name != "before":
            low, high = row["change"]["interval"]
            text += f" {row['change']['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"
            text += f", {row['flips']:,} predictions change" if row["flips"] else ""
        print(text)
    for name, row in found["methods"].items():
        if "error" in row:
            print(f"{name:22}{row['error']}")
