"""torchao through exported programs (PT2E): the XNNPACK and x86 quantizers, and weights alone by its own specs."""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import MinMaxObserver, PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import (
    ComposableQuantizer,
    QuantizationAnnotation,
    QuantizationConfig,
    QuantizationSpec,
    Quantizer,
)
from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY
from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)
from torchao.testing.pt2e._xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config

from benchmarks.quality import torch_prune
from benchmarks.quality.made import Made, Missing, Offer, Variant
from benchmarks.quality.rows import Row
from benchmarks.quality.sized import Stored, integers, packed_bytes
from benchmarks.quality.subject import Subject

LIBRARY = "torchao PT2E"
READS = {  # where an operator takes its weight
    torch.ops.aten.conv2d.default: 1,
    torch.ops.aten.linear.default: 1,
    torch.ops.aten.embedding.default: 0,
}
BATCH = 64


def _limits(bits: int) -> tuple[int, int]:
    """The integers of `torch.intN`, but -127 to 127 at 8 bits, the library's own choice there."""
    return (-127, 127) if bits == 8 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


class _Weights(Quantizer):
    """Marks the weights of some operators alone, per channel and symmetric."""

    def __init__(self, bits: int, operators: tuple[object, ...]) -> None:
        super().__init__()
        low, high = _limits(bits)
        observer = PerChannelMinMaxObserver
        self.operators = operators
        self.spec = QuantizationSpec(torch.int8, observer, low, high, torch.per_channel_symmetric, 0, False)

    def annotate(self, model: GraphModule) -> GraphModule:
        """See `Quantizer`."""
        for node in model.graph.nodes:
            if node.target in self.operators and Q_ANNOTATION_KEY not in node.meta:
                weight = node.args[READS[node.target]]
                node.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation({weight: self.spec}, _annotated=True)
        return model

    def validate(self, model: GraphModule) -> None:
        """See `Quantizer`."""


def _quantizer(row: Row, name: str) -> Quantizer:
    bits = row.weight_bits
    if row.activation_bits == 32:
        return _Weights(bits, tuple(READS))
    low, high = _limits(bits)
    words = _Weights(bits, (torch.ops.aten.embedding.default,))
    if name == "x86":
        return ComposableQuantizer([words, X86InductorQuantizer().set_global(_x86(low, high))])
    config = get_symmetric_quantization_config(is_per_channel=True, weight_qmin=low, weight_qmax=high)
    if name == "XNNPACK, min-max":
        config = QuantizationConfig(
            *(_observed(spec) for spec in (config.input_activation, config.output_activation)), config.weight, None
        )
    return ComposableQuantizer([words, XNNPACKQuantizer().set_global(config)])


def _observed(spec: QuantizationSpec) -> QuantizationSpec:
    return QuantizationSpec(
        spec.dtype, MinMaxObserver.with_args(eps=2**-12), spec.quant_min, spec.quant_max, spec.qscheme, None, False
    )


def _x86(low: int, high: int) -> QuantizationConfig:
    """The x86 quantizer's own settings; fewer levels for weights where a row asks for fewer bits."""
    config = get_default_x86_inductor_quantization_config()
    if high == 127:
        return config
    weight = QuantizationSpec(torch.int8, PerChannelMinMaxObserver, low, high, torch.per_channel_symmetric, 0, False)
    return QuantizationConfig(config.input_activation, config.output_activation, weight, config.bias, config.is_qat)


def quantized(subject: Subject, row: Row, name: str, module: nn.Module) -> GraphModule:
    """The module exported, observed on the calibration inputs and converted."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        inputs = subject.inputs
        batch = torch.export.Dim("batch", min=2, max=100_000)
        exported = torch.export.export(module, (inputs[:4],), dynamic_shapes=({0: batch},)).module()
        prepared = prepare_pt2e(exported, _quantizer(row, name))
        for start in range(0, len(inputs), BATCH):
            prepared(inputs[start : start + BATCH])
        return convert_pt2e(prepared)


def _held(graph: GraphModule, node: object) -> torch.Tensor | None:
    """The tensor that a node reads from the module, if it is one."""
    if not isinstance(node, Node) or node.op != "get_attr":
        return None
    found: object = graph
    for part in str(node.target).split("."):
        found = getattr(found, part)
    return found if isinstance(found, torch.Tensor) else None


def size_of(graph: GraphModule, bits: int) -> tuple[int, bool]:
    """Packed bytes of a converted program, and whether every layer's weight is on a grid."""
    weights: list[Stored] = []
    used: set[object] = set()
    grids, whole = 0, True
    for node in graph.graph.nodes:
        target = str(node.target)
        if "dequantize_per" in target and (values := _held(graph, node.args[0])) is not None:
            scale, zero = (_held(graph, one) for one in node.args[1:3])
            shape = (-1, *[1] * (values.ndim - 1))
            count = 1 if scale is None else scale.numel()
            zero = torch.tensor(node.args[2]) if zero is None else zero.reshape(shape)
            weights.append(integers(values, zero, bits, count))
            used |= {one for one in node.args[:3] if isinstance(one, Node)}
        elif "quantize_per" in target and "dequantize" not in target:
            grids += 1
            used |= {one for one in node.args[1:3] if isinstance(one, Node)}
        elif "dequantize_per" in target:
            used |= {one for one in node.args[1:3] if isinstance(one, Node)}
        elif node.target in READS and _held(graph, node.args[READS[node.target]]) is not None:
            whole = False
    left = {n.target for n in graph.graph.nodes if n not in used and _held(graph, n) is not None}
    floats = [_held(graph, n) for n in graph.graph.nodes if n.target in left and n not in used]
    by_name = {id(one): one.numel() for one in floats if one is not None and one.is_floating_point()}
    return packed_bytes(weights, sum(by_name.values()), grids), whole


def offers(row: Row, subject: Subject) -> list[Offer]:
    """What the library can do for a row."""
    if not row.rounds:
        return [Missing(LIBRARY, "no training-free pruning of single weights or channels")]

    def make(name: str) -> Made:
        module = torch_prune.pruned(subject, row, name) if row.sparsity else subject.module()
        graph = quantized(subject, row, name, module)
        size, whole = size_of(graph, row.weight_bits)
        return Made(subject.logits(graph), size, whole, "" if whole else "some layers stayed float")

    before = ""
    if row.sparsity:  # the masks are those of torch.nn.utils.prune: torchao has none of its own
        before = "torch prune "
        names = {name: f"{torch_prune.HOW[name]}, then rounding to nearest" for name in torch_prune.HOW}
    elif row.activation_bits == 32:
        names = {"weights per channel": "rounding to nearest, a scale a channel"}
    else:
        names = {
            "XNNPACK": "rounding to nearest, activation ranges from histograms, the outputs rounded too",
            "XNNPACK, min-max": "rounding to nearest, activation ranges from their extremes, the outputs rounded too",
            "x86": "rounding to nearest, activation ranges from histograms, the outputs left float",
        }
    return [Variant(LIBRARY, before + name, how, lambda name=name: make(name)) for name, how in names.items()]
