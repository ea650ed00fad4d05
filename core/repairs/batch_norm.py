"""Batch-norm re-estimation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from core.engine.context import Context
from core.engine.network import Network
from core.engine.observed import Observed
from core.errors import TemperError
from core.models.handle import weights_of
from core.models.torch_graph import Attributes
from core.registry import register
from core.repairs._observe import EXAMPLES, examples

NORM = "BatchNormalization"
VARIANCE = ".running_var"
NONE = "This network has no batch-norm to re-estimate."


class _Renewed(Observed):
    """Normalises by the statistics of what it is given, and keeps them by the tensors that should hold them."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.found: dict[str, Tensor] = {}

    def compute(self, kind: str, attributes: Attributes, names: list[str], given: list[Any]) -> Any:
        """See `GraphModule`."""
        if kind != NORM:
            return super().compute(kind, attributes, names, given)
        x, weight, bias = given[:3]
        over = [axis for axis in range(x.ndim) if axis != 1]
        mean, variance = x.mean(over), x.var(over, correction=0)
        self.found[names[3]], self.found[names[4]] = mean, variance
        return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, attributes.get("epsilon", 1e-5))


@register(
    kind="repair",
    name="batch-norm",
    title="Re-estimate batch-norm",
    summary="Measures means and variances anew on calibration inputs, where removing weights has moved them.",
    reference="Li et al. 2020, EagleEye, arXiv 2007.02491; Sun et al. 2019, Hybrid 8-bit floating point training "
    "(batch-norm re-tuning), NeurIPS",
    parameters=(EXAMPLES,),
    after="prune",
    fits=lambda model: "" if any(name.endswith(VARIANCE) for name in weights_of(model)) else NONE,
)
def batch_norm(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Replace every batch-norm's running mean and variance by those of calibration inputs, in one pass.

    Each norm sees what the renewed norms before it let through. Raises `TemperError` where batch-norm is folded
    already. A network without any is returned as it is, with a warning.
    """
    if network.folded:
        raise TemperError(
            "Batch-norm can be re-estimated only before quantization and equalisation: they fold it into the layers.",
            "Put this step before them.",
        )
    if not any(name.endswith(VARIANCE) for name in network.tensors):
        return network, {"norms": 0, "warning": NONE}
    inputs = examples(network, context.data, values["examples"])
    module = _Renewed(network)
    with torch.no_grad():
        module(inputs)
    renewed = dict(module.found)
    return network.with_tensors(renewed), {"norms": len(renewed) // 2, "examples": len(inputs)}
