"""Measure latency where the format runs here, and say in words why not where it does not."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from core import fingerprint
from core.data.handle import DataHandle, load_split
from core.deploy.graph import INPUT, OUTPUT, assemble
from core.engine.lane import lane
from core.engine.memory import RESULTS
from core.engine.network import Network, load_network
from core.engine.runtime import integer_kernels_exact, session, threads
from core.types import Latency

BATCH = 32
ROUNDS = 5  # turns each model has; in every turn its session is opened anew, and alone
WARM_UP, CALLS = 20, 60  # calls of one image a turn: uncounted, counted
BATCH_WARM_UP, BATCH_CALLS = 5, 15


def words(network: Network) -> str:
    """Why the network's format has no speed of its own here, or nothing where it has one.

    Only float32 and 8-bit symmetric weights with 8-bit activations have kernels of their own in ONNX
    Runtime on a processor. Fewer channels are faster in float32, however their weights are stored.
    """
    if network.dynamic:
        return "Simulated: scales that each example sets anew are computed as float here, and take time of their own."
    if network.activation_bits <= 8 and any(not grid.integral for grid in network.grids.values()):
        return "Simulated: no integer kernel here reads these weights; they are computed as float."
    bits = {grid.bits for grid in network.grids.values()}
    if network.grids and bits == {8} and network.activation_bits == 8:
        if not all(grid.symmetric for grid in network.grids.values()):
            return "No integer kernel here takes affine weights; symmetric W8A8 runs as int8."
        if not integer_kernels_exact():
            return "This processor's int8 kernels are not exact, so they are not used: simulated in float."
        return ""
    if network.grids and network.activation_bits <= 8:
        return _of_integers(network)
    if (network.grids or network.half) and not _smaller_in_float(network):
        return f"Simulated: {_stored(network)} weights are computed as float here, so no speed-up from this format."
    if network.activation_bits < 32:
        return "Simulated: float weights are computed as float here, so no speed-up from this format."
    if network.masks and not network.shrunk:
        return "Simulated: zeros are multiplied like other weights, so no speed-up from this format here."
    return ""


def carried(network: Network) -> bool:
    """Whether a format without a kernel of its own leaves in 8-bit integers that int8 kernels run here.

    So do fewer than 8 bits with symmetric weights. The integer kernels here refuse affine weights.
    """
    formats = [(grid.bits, grid.symmetric and grid.integral) for grid in network.grids.values()]
    if (
        not formats
        or network.activation_bits > 8
        or network.dynamic
        or not all(symmetric for _, symmetric in formats)
    ):
        return False
    return min(*(bits for bits, _ in formats), network.activation_bits) < 8 and integer_kernels_exact()


def _of_integers(network: Network) -> str:
    """Why integers of which some have fewer than 8 bits, weights and activations both, have no speed of their own."""
    low, high = min(grid.bits for grid in network.grids.values()), max(grid.bits for grid in network.grids.values())
    weights = f"{low}-bit" if low == high else f"{low}- to {high}-bit"
    activations = f"{network.activation_bits}-bit"
    if not carried(network):
        why = (
            "no integer kernel here takes affine weights; symmetric W8A8 runs as int8"
            if integer_kernels_exact()
            else "this processor's int8 kernels are not exact, so they are not used"
        )
        return f"Simulated: W{high}A{network.activation_bits} has no kernel of its own here, and {why}."
    if network.activation_bits == 8:
        which, gets = f"{weights} weights", "at that size and speed"
    elif low == 8:
        which, gets = f"{activations} activations", "at about that speed"  # clipping them takes time too
    else:
        both = f"{weights} weights and {activations} activations"
        which = f"{weights} weights and activations" if weights == activations else both
        gets = "at that size and about that speed"
    return (
        f"Simulated: {which} have no kernel of their own here; the ONNX file carries them in 8-bit integers, {gets}: "
        "see Export."
    )


def _smaller_in_float(network: Network) -> bool:
    """Whether the network lost channels or blocks and computes in float32: then that is a speed of its own."""
    return network.shrunk and network.activation_bits == 32


def _stored(network: Network) -> str:
    if network.grids:
        return f"{max(grid.bits for grid in network.grids.values())}-bit"
    return "bfloat16" if network.brain else "half-precision"


def kernel(network: Network) -> str:
    """Names the kernels a network's format runs in here, `float`, `int8-channel` or `int8-tensor`; else ''.

    A network with fewer channels or blocks has a speed of its own, so its name tells its shapes too.
    """
    if words(network):
        return ""
    name = "float"
    if network.activations:
        name = "int8-channel" if any(grid.axis is not None for grid in network.grids.values()) else "int8-tensor"
        floats = [one.name for one in network.layers if one.kind != "embedding" and one.weight not in network.grids]
        name += f"-{fingerprint.of_json(floats)[:12]}" if floats else ""
    if network.shrunk:
        shapes = [list(network.tensors[weight].shape) for weight in network.weight_names]
        name += f"-{fingerprint.of_json(shapes)[:12]}"
    return name


def integer_layers(proto: onnx.ModelProto) -> int:
    """How many convolutions and linear layers ONNX Runtime runs in integers on this machine."""
    with tempfile.TemporaryDirectory() as place:
        path = str(Path(place) / "optimised.onnx")
        session(proto, save_optimised=path)
        nodes = onnx.load(path).graph.node
    return sum(node.op_type in ("QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat") for node in nodes)


def multiplying(network: Network) -> int:
    """How many of the layers multiply: an embedding only looks up."""
    return sum(layer.kind != "embedding" for layer in network.layers)


def latencies(network: Network, data: DataHandle) -> tuple[Latency, Latency]:
    """Latency of the original and of the network, measured in turn in one run while nothing else computes.

    The network's number is for its format: it does not depend on the values of the weights, so it is
    measured once a format and remembered. Without a kernel it is None, with the words that say why.
    """
    note, ran_by = words(network), kernel(network)
    original_key, key = _keys(network)
    if note or ran_by == "float":
        original = RESULTS.remember(
            original_key, lambda: _measure([load_network(network.model)], data)[0], lambda _: 500
        )
        if not note:
            return original, original
        return original, Latency(None, None, None, batch_size=BATCH, threads=threads(), note=note)
    pair = RESULTS.remember(key, lambda: _measure([load_network(network.model), network], data), lambda _: 1_000)
    RESULTS.put(original_key, pair[0], 500)
    notes, layers = [], multiplying(network)
    if network.masks:
        through = "int8" if network.activations else "the smaller network"
        notes.append(f"Zeros are multiplied like other weights: the speed is that of {through}.")
    if network.activations:
        inside = RESULTS.remember(("integer layers", *key), lambda: integer_layers(assemble(network)), lambda _: 500)
        if inside < layers:
            notes.append(f"{inside} of {layers} layers run in integers here.")
    if not network.activations and (network.grids or network.half):
        notes.append(
            f"The {_stored(network)} weights are computed as float: the speed is that of the smaller network."
        )
    return pair[0], replace(pair[1], note=" ".join(notes))


def known(network: Network, data: DataHandle) -> tuple[Latency, Latency] | None:
    """What `latencies` gives where it need not measure, as after an earlier point of this format; else None."""
    return latencies(network, data) if RESULTS.get(_keys(network)[1]) is not None else None


def _keys(network: Network) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of what is measured once: the original, and the network's format, the original's where it has none."""
    of = ("latency", network.model.fingerprint)
    return (*of, "float"), (*of, kernel(network) or "float")


def _measure(networks: list[Network], data: DataHandle) -> list[Latency]:
    images = load_split(data, "evaluation").inputs
    one, many = images[:1], images[np.arange(BATCH) % len(images)]
    protos = [assemble(network) for network in networks]
    single: list[list[float]] = [[] for _ in networks]
    batch: list[list[float]] = [[] for _ in networks]
    with lane():
        for _ in range(ROUNDS):
            for place, proto in enumerate(protos):
                opened = session(proto)
                single[place] += _timed(opened, one, WARM_UP, CALLS)
                batch[place] += _timed(opened, many, BATCH_WARM_UP, BATCH_CALLS)
                del opened  # a session's waiting threads spin, which would slow the next model's turn
    found = []
    for calls, batches in zip(single, batch, strict=True):
        p50, p95 = np.percentile(calls, [50, 95]).tolist()
        batch_p50, batch_p95 = np.percentile(batches, [50, 95]).tolist()
        found.append(Latency(p50, p95, batch_p50, batch_p95, BATCH, threads()))
    return found


def _timed(opened: onnxruntime.InferenceSession, x: NDArray[np.float32], warm: int, calls: int) -> list[float]:
    """Milliseconds of each counted call."""
    seen = []
    for call in range(warm + calls):
        started = time.perf_counter()
        opened.run([OUTPUT], {INPUT: x})
        if call >= warm:
            seen.append(1_000 * (time.perf_counter() - started))
    return seen
