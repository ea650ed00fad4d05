"""How long each layer takes of one inference: ONNX Runtime's own profile of the very graph, summed by layer."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from core import fingerprint
from core.data.handle import DataHandle, load_split
from core.deploy.graph import INPUT, OUTPUT, assemble
from core.engine.lane import lane
from core.engine.network import Network, load_network
from core.engine.runtime import Progress, session, threads
from core.models.layers import NORM_PARTS, Layer
from core.types import Floats

TURNS = 3  # of each network; in every turn its session is opened anew, and alone
WARM_UP, CALLS, LEAST = 10, 100, 5  # calls a turn: uncounted, counted at most and at least
SECONDS = 0.5  # of a turn, unless the fewest calls take longer
REST = ""  # the owner of what belongs to no layer
LAID_OUT = "_nchwc"  # what ONNX Runtime adds to the name of a tensor in blocks of channels
TOKEN = "_token_"  # before the number that it adds to the name of a node it made of several
ENDING = "_kernel_time"  # of the profile's events that are a node's own time


@dataclass(frozen=True)
class LayerTimes:
    """Microseconds of one call of one example by layer, and `rest`, of all that belongs to none.

    Each is the mean of the middle half of `calls`: as robust as a median, and finer than the profile's ticks of one
    microsecond. Between the nodes there is time that no node has; it is left out.
    """

    layers: Mapping[str, float]
    rest: float
    calls: int
    threads: int

    @property
    def total(self) -> float:
        """All of them."""
        return sum(self.layers.values()) + self.rest

    def share(self, layer: str) -> float:
        """A layer's fraction of the time."""
        return self.layers.get(layer, 0.0) / self.total if self.total else 0.0


@dataclass(frozen=True)
class Times:
    """Both networks, measured in turn in one run."""

    original: LayerTimes
    tempered: LayerTimes


def key(network: Network, data: DataHandle) -> tuple[str, ...]:
    """Names a measurement: a network's format and shapes, not the values of its weights."""
    formats = []
    for layer in network.layers:
        grid = network.grids.get(layer.weight)
        stated = None if grid is None else [grid.symmetric, grid.axis, grid.bits, grid.group, grid.levels is None]
        formats.append([layer.name, list(network.tensors[layer.weight].shape), stated])
    points = sorted((name, grid.bits) for name, grid in network.activations.items())
    named = fingerprint.of_json([formats, points, network.activation_bits, network.dynamic])
    return "layer times", network.model.fingerprint, data.fingerprint, named


def layer_times(network: Network, data: DataHandle, progress: Progress | None = None) -> Times:
    """Profile the original and the network in turn, one example a call, while nothing else computes.

    The fraction done goes to `progress`, which may raise to abandon.
    """
    x = load_split(data, "evaluation").inputs[:1]
    both = (load_network(network.model), network)
    protos = [assemble(one) for one in both]
    seen: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])
    for turn in range(TURNS):
        for place in (0, 1) if turn % 2 == 0 else (1, 0):
            seen[place].extend(_turn(protos[place], both[place].layers, x))
            if progress is not None:
                progress((2 * turn + (place == (turn + 1) % 2) + 1) / (2 * TURNS))
    return Times(*(_summary(calls, one.layers) for calls, one in zip(seen, both, strict=True)))


def _turn(proto: onnx.ModelProto, layers: tuple[Layer, ...], x: NDArray[np.float32]) -> list[dict[str, float]]:
    """Microseconds by layer of each counted call."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "optimised.onnx"
        with lane():
            opened = session(proto, save_optimised=str(path), profile=str(Path(place) / "profile"))
            begun, done = time.perf_counter(), 0
            while done < WARM_UP + CALLS:
                opened.run([OUTPUT], {INPUT: x})
                done += 1
                if time.perf_counter() - begun > SECONDS and done >= 2 * LEAST:
                    break
            profile = Path(opened.end_profiling())
            del opened  # its waiting threads spin, which would slow whoever computes next
        warm = min(WARM_UP, done - LEAST)
        events = json.loads(profile.read_text("utf-8"))
        owners = owners_of(onnx.load(str(path)), proto, layers)
    return by_call(events, owners)[warm:]


def by_call(events: list[dict[str, Any]], owners: Mapping[str, str]) -> list[dict[str, float]]:
    """Microseconds of each call by owner, from the events of a profile."""
    calls = sorted((e["ts"], e["ts"] + e["dur"]) for e in events if e.get("name") == "model_run")
    found: list[dict[str, float]] = [{} for _ in calls]
    starts = [begin for begin, _ in calls]
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith(ENDING):
            continue
        call = int(np.searchsorted(starts, event["ts"], "right")) - 1
        if call >= 0:
            owner = owners.get(event["name"].removesuffix(ENDING), REST)
            found[call][owner] = found[call].get(owner, 0.0) + event["dur"]
    return found


def owners_of(optimised: onnx.ModelProto, proto: onnx.ModelProto, layers: tuple[Layer, ...]) -> dict[str, str]:
    """The layer that each node of the optimised graph belongs to, by the node's name.

    A fused node keeps a layer's weight, its scales or its bias among its inputs, whatever became of the rest; where a
    convolution's were all laid out anew, the node is named after the tensor it makes. Nodes that read no layer's
    tensors, such as sums, pooling and attention, belong to none.
    """
    owner: dict[str, str] = {}
    for layer in layers:
        norm = [f"{layer.norm}.{part}" for part in NORM_PARTS] if layer.norm else []
        owner |= dict.fromkeys([layer.weight, layer.bias, *norm], layer.name)
    constants = {one.name for one in proto.graph.initializer}
    for name in [*constants]:
        if (base := name.rpartition("/")[0]) in owner:
            owner[name] = owner[base]
    for node in proto.graph.node:  # what is made of a layer's constants alone is computed once, before the first call
        if node.op_type == "Constant" or (node.input and set(node.input) <= constants):
            constants |= set(node.output)
            belongs = next((owner[name] for name in node.input if name in owner), None)
            if belongs is not None:
                owner |= dict.fromkeys(node.output, belongs)
    made = {output: node for node in proto.graph.node for output in node.output}

    def behind(tensor: str) -> str | None:
        """The layer whose node makes a tensor, seen through what has one input, such as an activation."""
        while (node := made.get(tensor)) is not None:
            if mine := next((owner[name] for name in node.input if name in owner), None):
                return mine
            varying = [name for name in node.input if name not in constants]
            if len(varying) != 1:
                return None
            tensor = varying[0]
        return None

    found, named = {}, {node.name: node for node in proto.graph.node}
    for node in optimised.graph.node:
        mine = next((owner[name] for name in node.input if name in owner), None)
        if mine is None and node.op_type == "Conv":
            mine = behind(node.name.removesuffix(LAID_OUT))
        if mine is None and (given := named.get(node.name.partition(TOKEN)[0])) is not None:
            mine = next((owner[name] for name in given.input if name in owner), None)
        if mine is not None:
            found[node.name] = mine
    return found


def _summary(calls: list[dict[str, float]], layers: tuple[Layer, ...]) -> LayerTimes:
    def middle(owner: str) -> float:
        return middle_mean(np.array([call.get(owner, 0.0) for call in calls]))

    return LayerTimes({layer.name: middle(layer.name) for layer in layers}, middle(REST), len(calls), threads())


def middle_mean(values: Floats) -> float:
    """The mean of the middle half."""
    ordered = np.sort(values)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())
