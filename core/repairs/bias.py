"""Bias correction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from core.engine.context import Context
from core.engine.network import Network, fold, load_network
from core.engine.observed import Observed
from core.models.torch_graph import Attributes
from core.registry import register
from core.repairs._observe import EXAMPLES, channel_means, examples


class _Outputs(Observed):
    """Notes the mean of each output channel of every biased layer, and moves it to the wanted one if any."""

    def __init__(self, network: Network, wanted: Mapping[str, Tensor] | None = None) -> None:
        super().__init__(network)
        self.biased = {layer.weight: layer.bias for layer in network.layers if layer.biased}
        self.wanted = wanted or {}
        self.means: dict[str, Tensor] = {}
        self.shifts: dict[str, Tensor] = {}

    def compute(self, kind: str, attributes: Attributes, names: list[str], given: list[Any]) -> Any:
        """See `GraphModule`."""
        made = super().compute(kind, attributes, names, given)
        bias = next((self.biased[name] for name in names if name in self.biased), None)
        if bias is None or kind not in ("Conv", "Gemm"):
            return made
        mean = channel_means(made)
        self.means[bias] = mean
        if bias not in self.wanted or self.wanted[bias].shape != mean.shape:
            return made
        shift = self.wanted[bias] - mean
        self.shifts[bias] = shift
        return made + shift.reshape(-1, *[1] * (made.ndim - 2))


def _scaled(means: Mapping[str, Tensor], network: Network) -> dict[str, Tensor]:
    """The original's means in the scale of a network whose channels were equalised."""
    fits = {
        name: factor for name, factor in network.rescaled.items() if means.get(name, factor[:0]).shape == factor.shape
    }
    return {name: (mean * fits[name]).float() if name in fits else mean for name, mean in means.items()}


@register(
    kind="repair",
    name="bias",
    title="Correct biases",
    summary="Shifts each layer's bias until its outputs have the original's means on calibration inputs again.",
    reference="Nagel et al. 2019, Data-free quantization, arXiv 1906.04721; Finkelstein et al. 2019, 1906.03193",
    parameters=(EXAMPLES,),
    after="quantize",
)
def bias(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Add to each bias the difference of mean outputs, original less tempered, layer after layer.

    Each layer is corrected with the layers before it corrected already. Layers without a bias, or that lost channels,
    stay as they are and are named. Rounding of activations is not part of the means.
    """
    network, original = fold(network), fold(load_network(network.model))
    inputs = examples(network, context.data, values["examples"])
    with torch.no_grad():
        reference = _Outputs(original)
        reference(inputs)
        module = _Outputs(network, _scaled(reference.means, network))
        module(inputs)
    left = [layer.name for layer in network.layers if layer.bias not in module.shifts]
    changed = {name: network.tensors[name] + shift for name, shift in module.shifts.items()}
    largest = max((float(shift.abs().max()) for shift in module.shifts.values()), default=0.0)
    learned = {"corrected": len(changed), "left": left, "largest_shift": round(largest, 5), "examples": len(inputs)}
    return network.with_tensors(changed), learned
