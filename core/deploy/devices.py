"""Latency on other devices, estimated by a roofline from figures that their makers publish: a lower bound.

A layer takes at least as long as its arithmetic at the device's peak, and at least as long as its bytes at the
memory's peak: `time = sum over layers of max(2 * multiply-adds / operations a second, bytes / bandwidth) + overhead`
(Williams et al. 2009, Roofline, doi 10.1145/1498765.1498785). One example a call; nothing is calibrated. Devices stay
below their peaks, so a measurement there is slower; it can be faster only where a runtime multiplies less (Winograd)
or caches keep the bytes from memory, and then the note gives the time of the arithmetic alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import onnx
from onnx import helper, numpy_helper

from core.deploy.graph import INPUT, assemble
from core.engine.network import Network
from core.errors import TemperError
from core.models.simplify import observe
from core.types import Quantity

WORDS = "estimate, a lower bound: roofline"
BYTES = {"float32": 4, "int8": 1}
MULTIPLYING = ("Conv", "Gemm", "MatMul")
GREATEST = 1e18  # operations or bytes a second: beyond any device


@dataclass(frozen=True)
class Device:
    """The inputs of the roofline.

    `float32` and `int8` are peak operations a second, a multiply-add being two; `bandwidth` bytes a second between
    processor and memory; `cache` bytes that stay near the processor, 0 where unknown; `overhead` seconds a layer,
    which no maker publishes: 0 keeps the estimate a bound. `source` says whose figures they are and `derived` how
    they follow. Raises `TemperError`.
    """

    name: str
    title: str
    float32: float
    int8: float
    bandwidth: float
    cache: float
    source: str
    derived: str
    overhead: float = 0.0

    def __post_init__(self) -> None:
        figures = {"float32 operations": self.float32, "int8 operations": self.int8, "bytes": self.bandwidth}
        for what, value in figures.items():
            if not (math.isfinite(value) and 0 < value <= GREATEST):
                raise TemperError(f"A device's {what} a second are a number above 0; got {value:g}.")
        if not (math.isfinite(self.overhead) and 0 <= self.overhead <= 1):
            raise TemperError(f"A layer's overhead is 0 to 1 second; got {self.overhead:g}.")

    def peak(self, dtype: str) -> float:
        """Operations a second in `float32` or `int8`."""
        return self.int8 if dtype == "int8" else self.float32


# Peaks are cores x clock x lanes x 2 operations of a multiply-add, with the highest clock stated for the part: what a
# device reaches for long is less, which keeps the estimate a lower bound.
DEVICES = (
    Device(
        "raspberry-pi-4", "Raspberry Pi 4, 4 cores",
        float32=4 * 1.8e9 * 4 * 2, int8=4 * 1.8e9 * 8 * 2, bandwidth=4 * 3.2e9, cache=1e6,
        source="Raspberry Pi 4 Model B product brief (BCM2711, 4 Cortex-A72, 1.8 GHz, LPDDR4-3200); Arm, Cortex-A72 "
        "Software Optimization Guide (UAN 0016)",
        derived="float32: 4 cores x 1.8 GHz x one 4-lane FMLA a cycle x 2; int8: one 8-lane SMLAL a cycle x 2, there "
        "being no dot product; memory: 32 bits x 3200 MT/s; cache: 1 MB shared L2",
    ),
    Device(
        "raspberry-pi-5", "Raspberry Pi 5, 4 cores",
        float32=4 * 2.4e9 * 8 * 2, int8=4 * 2.4e9 * 32 * 2, bandwidth=4 * 4.267e9, cache=4e6,
        source="Raspberry Pi 5 product brief (BCM2712, 4 Cortex-A76, 2.4 GHz, 512 kB L2 each, 2 MB L3, "
        "LPDDR4X-4267); Arm, Cortex-A76 Software Optimization Guide (PJDOC-466751330-7215)",
        derived="float32: 4 cores x 2.4 GHz x two 4-lane FMLA a cycle x 2; int8: two SDOT of 16 products a cycle "
        "x 2; memory: 32 bits x 4267 MT/s; cache: 4 x 512 kB L2 and 2 MB L3",
    ),
    Device(
        "laptop-avx2", "Laptop, Intel Core i5-8250U (AVX2), 4 cores",
        float32=4 * 3.4e9 * 16 * 2, int8=4 * 3.4e9 * 32 * 2, bandwidth=16 * 2.4e9, cache=7e6,
        source="Intel product specifications of the Core i5-8250U (4 cores, 3.40 GHz turbo, 6 MB cache, two channels "
        "of DDR4-2400); Intel 64 and IA-32 Architectures Optimization Reference Manual, Skylake client",
        derived="float32: 4 cores x 3.4 GHz x two 8-lane FMA a cycle x 2; int8: 32 products a cycle x 2, as "
        "VPMADDUBSW and VPMADDWD share two ports; memory: 2 x 64 bits x 2400 MT/s; cache: 6 MB L3, 4 x 256 kB L2",
    ),
    Device(
        "laptop-avx512-vnni", "Laptop, Intel Core i7-1165G7 (AVX-512 VNNI), 4 cores",
        float32=4 * 4.7e9 * 16 * 2, int8=4 * 4.7e9 * 64 * 2, bandwidth=16 * 4.267e9, cache=17e6,
        source="Intel product specifications of the Core i7-1165G7 (4 cores, 4.70 GHz turbo, 12 MB cache, "
        "LPDDR4X-4267); Intel 64 and IA-32 Architectures Optimization Reference Manual, Ice Lake client",
        derived="float32: 4 cores x 4.7 GHz x one 16-lane FMA a cycle x 2; int8: one VPDPBUSD of 64 products a cycle "
        "x 2; memory: 128 bits x 4267 MT/s; cache: 12 MB L3 and 4 x 1.25 MB L2",
    ),
    Device(
        "jetson-orin-nano", "Jetson Orin Nano 8 GB, its GPU",
        float32=1_024 * 0.625e9 * 2, int8=20e12, bandwidth=16 * 4.267e9, cache=4e6,
        source="NVIDIA Jetson Orin Nano Series data sheet (1,024 CUDA cores, 32 tensor cores, 625 MHz, 40 sparse "
        "INT8 TOPS, 128-bit LPDDR5, 68 GB/s), before the later Super mode",
        derived="float32: 1,024 cores x 625 MHz x 2, without TF32; int8: 20 TOPS, half of the sparse figure; memory: "
        "128 bits x 4267 MT/s; cache: at most 4 MB, the largest L2 of the family",
    ),
)  # fmt: skip


def device(name: str) -> Device:
    """A device of the table. Raises `TemperError` for an unknown name."""
    for known in DEVICES:
        if known.name == name:
            return known
    listed = ", ".join(known.name for known in DEVICES)
    raise TemperError(f"No device is called {name!r:.60}; there are: {listed}.")


def own_device(
    float32: float, int8: float, bandwidth: float, overhead: float = 0.0, title: str = "Your own figures"
) -> Device:
    """A device of one's own: peak operations a second, bytes a second, seconds a layer. Raises `TemperError`."""
    return Device("own", title, float32, int8, bandwidth, 0.0, "your own figures", "as given", overhead)


@dataclass(frozen=True)
class Work:
    """One layer's work for one example: multiply-adds, bytes of `weights` and of what goes in and out, numbers."""

    name: str
    multiply_adds: int
    weights: int
    values: int
    dtype: str

    @property
    def bytes(self) -> int:
        """Bytes that it reads and writes, each once."""
        return (self.weights + self.values) * BYTES[self.dtype]

    def seconds(self, on: Device) -> tuple[float, float]:
        """By arithmetic and by memory, in seconds; the layer takes at least the longer."""
        return 2 * self.multiply_adds / on.peak(self.dtype), self.bytes / on.bandwidth


def work(network: Network) -> tuple[Work, ...]:
    """The layers' work in the order they run, and that of products of two activations (attention).

    Shapes are observed by running the network's graph on one example. Convolutions and linear layers with symmetric
    8-bit weights and 8-bit activations count as int8, all else as float32; everything between them counts as free.
    """
    plain = replace(network, grids={}, activations={}, activation_bits=32, half=frozenset())
    proto = assemble(plain)
    held = {tensor.name: tensor for tensor in proto.graph.initializer}
    turned = {node.output[0]: node.input[0] for node in proto.graph.node if node.op_type == "Transpose"}
    nodes = [node for node in proto.graph.node if node.op_type in MULTIPLYING]
    sizes = _observed(proto, {name for node in nodes for name in (*node.input[:2], node.output[0])} - held.keys())
    found = []
    for node in nodes:
        first, second, output = node.input[0], node.input[1], node.output[0]
        weight = turned.get(second, second)
        if weight in held:
            shape = numpy_helper.to_array(held[weight]).shape
            count, inner, values = math.prod(shape), math.prod(shape[1:]), _size(sizes, first) + _size(sizes, output)
        else:
            inner = sizes[first][-1]
            count, values = 0, sum(_size(sizes, name) for name in (first, second, output))
        adds = _size(sizes, output) * inner
        name = weight.removesuffix(".weight") if weight in held else output
        found.append(Work(name, adds, count, values, _dtype(network, weight)))
    return tuple(found)


def _observed(proto: onnx.ModelProto, wanted: Iterable[str]) -> dict[str, tuple[int, ...]]:
    shown = onnx.ModelProto()
    shown.CopyFrom(proto)
    ends = {value.name for value in (*shown.graph.output, *shown.graph.input)}
    names = sorted(wanted)
    shown.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in ends)
    shapes = {name: tuple(array.shape) for name, array in observe(shown, 1, set(names) - {INPUT}).items()}
    entry = next(value for value in proto.graph.input if value.name == INPUT)
    return shapes | {INPUT: (1, *(length.dim_value for length in entry.type.tensor_type.shape.dim[1:]))}


def _size(shapes: dict[str, tuple[int, ...]], name: str) -> int:
    return math.prod(shapes[name])


def _dtype(network: Network, weight: str) -> str:
    """What a runtime with int8 kernels computes this layer in; this machine's own kernels do not matter here."""
    grid = network.grids.get(weight)
    integer = grid is not None and grid.symmetric and grid.integral  # fewer bits ride in 8
    return "int8" if integer and network.activations else "float32"


def estimate(parts: Iterable[Work], on: Device) -> Quantity:
    """Milliseconds for one example, at least, on a device. `note` starts with `WORDS` and names what limits it."""
    parts = tuple(parts)
    both, fixed = [one.seconds(on) for one in parts], on.overhead * len(parts)
    total = sum(max(pair) for pair in both) + fixed
    by_memory = sum(memory for arithmetic, memory in both if memory > arithmetic)
    note = f"{WORDS}; {100 * by_memory / total if total else 0:.0f} % of it in layers that memory bounds"
    if by_memory and (not on.cache or sum(one.weights * BYTES[one.dtype] for one in parts) <= on.cache):
        alone = 1_000 * (sum(arithmetic for arithmetic, _ in both) + fixed)
        note += f", {alone:.3g} ms if caches hold what they read"
    return Quantity(1_000 * total, "ms", "estimated", None, None, note)
