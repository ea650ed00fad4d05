"""`python -m core sensitivity`: each layer alone at few bits, and what is foretold of that without evaluation."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from core.commands.pair import add_pair, chosen

Progress = Callable[[float], None]
Print = Callable[[Any], None]


def add(commands: Any, progress: Progress, print_json: Print) -> None:
    """Add the command."""
    layers = commands.add_parser("sensitivity", help="round each layer's weights alone and evaluate")
    add_pair(layers)
    layers.add_argument("--bits", metavar="BITS", help="weight bits to try, such as 2,3,4,8")
    layers.add_argument("--fisher", action="store_true", help="also what Fisher information foretells of each")
    layers.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    layers.set_defaults(run=lambda options: _sensitivity(options, progress, print_json))


def _sensitivity(options: argparse.Namespace, progress: Progress, print_json: Print) -> None:
    from core.layers.sensitivity import BITS, sensitivity
    from core.layers.sensitivity_text import bits_from_text, table

    bits = BITS if options.bits is None else bits_from_text(options.bits)
    model, data = chosen(options)
    found = sensitivity(model, data, bits, progress)
    plain, text = found.to_dict(), table(found)
    if options.fisher:
        from core.layers.foretold import agreement, foretold, information

        told = foretold(information(model, data), model, data, found.bits)
        for effect in plain["effects"]:
            effect["foretold_nats"] = told.values.get((effect["layer"], effect["bits"]))
        agreed = {name: agreement(found, told.values, name) for name in found.values}
        plain["fisher"] = {
            "examples": told.examples,
            "rank_correlation": {name: {"rho": one.rho, "n": one.n} for name, one in agreed.items()},
        }
        lines = [f"foretold by Fisher information of {told.examples} calibration examples, nats:"]
        lines += [f"{layer:24} {width:4}  {value:.3g}" for (layer, width), value in told.values.items()]
        lines += [
            f"rank correlation of Fisher information and the loss of {name}, n = {one.n}: "
            + ("none" if one.rho is None else f"{one.rho:+.2f}")
            for name, one in agreed.items()
        ]
        text = "\n".join([text, *lines])
    print_json(plain) if options.json else print(text)
