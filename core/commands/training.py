"""What commands that train share: the options that name a training, its values, a job followed to its end."""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import TemperError

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from core.jobs.steered import Steered
    from core.recipe import Recipe

POLL = 0.2  # seconds between two looks at how it goes


def add_training(parser: argparse.ArgumentParser) -> None:
    """The options that name a way of training, what it trains and its settings."""
    parser.add_argument("--how", default="fine-tune", metavar="NAME", help="a way of training that 'methods' lists")
    parser.add_argument("--recipe", metavar="FILE|JSON", help="what is trained; the untouched model by default")
    parser.add_argument("--rate", type=float, metavar="R", help="the highest rate, such as 0.001")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
                        help="another parameter of the way of training; repeatable")  # fmt: skip


def base_of(options: argparse.Namespace, read: Callable[[str], Any]) -> Recipe:
    """The recipe that is trained. Raises `TemperError` where there is nothing to recover."""
    from core.recipe import Recipe

    base: Recipe = read(options.recipe) if options.recipe else Recipe()
    if options.how == "recover" and not base.without("calibrate", "train").simplified().steps:
        raise TemperError("Nothing was compressed, so there is nothing to recover.", "Give --recipe, or fine-tune.")
    return base


def values_of(options: argparse.Namespace, parameters: Any) -> dict[str, Any]:
    """The values that `--set`, `--epochs` and `--rate` give. Raises `TemperError`."""
    names = {param.name for param in parameters}
    values: dict[str, Any] = {}
    for text in options.settings:
        name, equals, given = text.partition("=")
        if not equals or name not in names:
            raise TemperError(
                f"--set is written as NAME=VALUE with one of {', '.join(sorted(names))}; got {text:.60}."
            )
        try:
            values[name] = json.loads(given)
        except ValueError:
            values[name] = given
    for name in ("epochs", "rate"):
        if getattr(options, name) is not None:
            values[name] = getattr(options, name)
    return values


def checked_file(path: Path | None) -> None:
    """Raises `TemperError` where a file could not be written at `path`."""
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise TemperError(f"{path} must be a file in a folder that is there.")


def followed(job: Steered, told: Callable[[], None], leave: Callable[[], bool] = lambda: False) -> None:
    """Run a job on one worker process, calling `told` every fifth of a second and once at its end.

    At Ctrl-C `leave` says whether the job was asked to end by itself; where it was not, the job is cancelled. Raises
    `KeyboardInterrupt` then, and what the job raises.
    """
    from core.jobs.workers import workers

    failed: list[BaseException] = []
    job.ready()

    def work() -> None:
        try:
            with workers(1) as hands:
                job.run(hands)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work, name="followed", daemon=True)
    thread.start()
    while thread.is_alive():
        try:
            thread.join(POLL)
            told()
        except KeyboardInterrupt:
            if not leave():
                job.cancel()
                thread.join()
                raise
    if failed:
        raise failed[0]
