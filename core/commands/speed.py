"""The command `latency`: original and tempered timed in turn, the share in time, and estimates for other devices."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from core.commands.pair import add_pair, chosen
from core.errors import TemperError

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from core.deploy.devices import Device
    from core.deploy.timings import Deadline, Speed
    from core.recipe import Recipe
    from core.types import Quantity

Progress = Callable[[float], None]
Print = Callable[[Any], None]


def add(commands: Any, read_recipe: Callable[[str], Recipe], progress: Progress, show: Print) -> None:
    """Add the command to the parsers in `commands`."""
    latency = commands.add_parser("latency", help="time a recipe beside the original, in turn in one run")
    add_pair(latency)
    latency.add_argument("--recipe", required=True, metavar="FILE|JSON", help="a recipe file, or the JSON itself")
    latency.add_argument("--threads", default="all", metavar="N", help="threads a call may use, or 'all'")
    latency.add_argument("--batch", default="1,8,32", metavar="SIZES", help="examples a call, such as 1,8,32")
    latency.add_argument("--seconds", type=float, default=30.0, metavar="S", help="time for measuring, at most")
    when = latency.add_mutually_exclusive_group()
    when.add_argument(
        "--fps", type=float, metavar="RATE", help="frames a second that one call each must keep up with"
    )
    when.add_argument("--deadline", type=float, metavar="MS", help="milliseconds a call may take")
    latency.add_argument("--device", action="append", default=[], metavar="NAME",
                         help="estimate for this device, or 'all'; give it again for more")  # fmt: skip
    latency.add_argument(
        "--peak", metavar="F,I,B[,O]",
        help="estimate for this machine beside the measurement: 10^9 float32 and int8 operations a second, GB/s of "
        "memory, microseconds a layer",
    )  # fmt: skip
    latency.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    latency.set_defaults(run=lambda options: _latency(options, read_recipe(options.recipe), progress, show))


def _latency(options: argparse.Namespace, recipe: Recipe, progress: Progress, show: Print) -> None:
    from core.deploy.devices import DEVICES, device, estimate, work
    from core.deploy.speed import Plan, measure
    from core.deploy.timings import SIDES, Deadline
    from core.engine.network import load_network
    from core.engine.transform import transform

    # What is asked for is checked before anything takes time.
    plan = Plan(_threads(options.threads), _batches(options.batch), seconds=options.seconds)
    deadline = None
    if options.fps is not None or options.deadline is not None:
        deadline = Deadline.at_rate(options.fps) if options.fps is not None else Deadline(options.deadline)
    devices = list(DEVICES) if "all" in options.device else [device(name) for name in options.device]
    if options.peak is not None:
        devices.append(_peak(options.peak))
    model, data = chosen(options)
    network, _ = transform(model, data, recipe)
    networks = dict(zip(SIDES, (load_network(model), network), strict=True))
    parts = {side: work(one) for side, one in networks.items()} if devices else {}
    estimates = [(one, {side: estimate(found, one) for side, found in parts.items()}) for one in devices]
    speed = measure(network, data, plan, progress)
    if options.json:
        named = {"model": model.id, "data": data.id, "recipe": recipe.to_dict()}
        show({**named, **speed.to_dict(deadline), "estimates": [_estimate(one, pair) for one, pair in estimates]})
        return
    print(f"{model.id}  {recipe.notation}  {speed.machine.processor}, {speed.machine.threads} of "
          f"{speed.machine.cores} threads")  # fmt: skip
    _print_speed(speed, deadline)
    for one, pair in estimates:
        _print_estimate(one, pair, speed)


def _threads(text: str) -> int | None:
    if text == "all":
        return None
    try:
        return int(text)
    except ValueError:
        raise TemperError(f"--threads takes a whole number or 'all'; got {text!r:.60}.") from None


def _batches(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise TemperError(f"--batch takes whole numbers such as 1,8,32; got {text!r:.60}.") from None


def _peak(text: str) -> Device:
    from core.deploy.devices import own_device

    try:
        given = [float(part) for part in text.split(",")]
    except ValueError:
        given = []
    if len(given) not in (3, 4):
        raise TemperError(
            "--peak takes 10^9 float32 and int8 operations a second, GB/s and, if known, microseconds a layer, such "
            f"as 100,400,20; got {text!r:.60}."
        )
    float32, int8, bandwidth = (1e9 * value for value in given[:3])
    return own_device(float32, int8, bandwidth, 1e-6 * given[3] if len(given) == 4 else 0.0, "This machine")


def _print_speed(speed: Speed, deadline: Deadline | None) -> None:
    from core.deploy.timings import QUANTILES, SIDES
    from core.figures.deadline import in_time
    from core.figures.speed import faster

    for batch in speed.batches:
        print(f"  {'one example' if batch == 1 else f'batch of {batch}'}: tempered is {faster(speed.ratio(batch))}")
        for side in SIDES:
            one = speed.of(side, batch)
            times = "  ".join(f"{name} {_ms(one.quantile(q))}" for name, q in QUANTILES.items())
            print(f"    {side:9} {times}  ({one.n} calls, {one.throughput.value:,.0f} examples/s)")
        for side in SIDES if deadline is not None else ():
            assert deadline is not None
            share, longest = speed.of(side, batch).within(deadline), speed.of(side, batch).longest
            low, high = (share.interval.low, share.interval.high) if share.interval else (0.0, 1.0)
            print(f"    {side:9} {in_time(share, deadline)} [{low:.4f}, {high:.4f}], longest {longest:.3g} ms")
    for side, held in speed.resident.items():
        said = (
            held.note or f"{(held.peak or 0) / 1e6:.1f} MB, of which the runtime {(held.runtime or 0) / 1e6:.1f} MB"
        )
        print(f"  memory    {side:9} {said}")
    print(f"  note      {speed.machine.integers}")
    if speed.note:
        print(f"  note      {speed.note}")


def _ms(one: Quantity) -> str:
    ends = f" [{one.interval.low:.3g}, {one.interval.high:.3g}]" if one.interval else ""
    return f"{one.value:.3g}{ends} ms"


def _print_estimate(one: Device, pair: dict[Any, Quantity], speed: Speed) -> None:
    print(f"  {one.title}")
    for side, found in pair.items():
        print(f"    {side:9} {found.value:.3g} ms, {found.note}")
        if one.name == "own" and 1 in speed.batches:
            measured = speed.of(side, 1).quantile(0.5).value or 0.0
            share = (found.value or 0.0) / measured if measured else 0.0
            print(
                f"    {side:9} {measured:.3g} ms measured at the median: {100 * share:.0f} % of the roofline's speed"
            )
    rates = f"{one.float32 / 1e9:,.0f} x 10^9 float32 and {one.int8 / 1e9:,.0f} x 10^9 int8 operations/s"
    print(f"    inputs    {rates}, {one.bandwidth / 1e9:,.1f} GB/s, {1e6 * one.overhead:g} us a layer")
    print(f"    source    {one.source}")


def _estimate(one: Device, pair: dict[Any, Quantity]) -> dict[str, Any]:
    return {
        "device": one.name, "title": one.title, "how": "estimated",
        "inputs": {"float32": one.float32, "int8": one.int8, "bandwidth": one.bandwidth, "overhead": one.overhead},
        "source": one.source, "derived": one.derived,
        **{side: {"value": found.value, "note": found.note} for side, found in pair.items()},
    }  # fmt: skip
