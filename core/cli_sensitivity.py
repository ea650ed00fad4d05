"""The command `sensitivity`: each layer's weights rounded alone, the whole evaluation split predicted again."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from core.cli_pair import add_pair, chosen

Progress = Callable[[float], None]
Print = Callable[[Any], None]


def add(commands: Any, progress: Progress, show: Print) -> None:
    """Add the command to the parsers in `commands`."""
    layers = commands.add_parser("sensitivity", help="round each layer's weights alone and evaluate")
    add_pair(layers)
    layers.add_argument("--bits", metavar="BITS", help="weight bits to try, such as 2,3,4,8")
    layers.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    layers.set_defaults(run=lambda options: _sensitivity(options, progress, show))


def _sensitivity(options: argparse.Namespace, progress: Progress, show: Print) -> None:
    from core.engine.sensitivity import BITS, sensitivity
    from core.engine.sensitivity_text import bits_from_text, table

    bits = BITS if options.bits is None else bits_from_text(options.bits)
    model, data = chosen(options)
    found = sensitivity(model, data, bits, progress)
    show(found.to_dict()) if options.json else print(table(found))
