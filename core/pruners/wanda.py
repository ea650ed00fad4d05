"""Wanda: a weight counts for its size times the size of what it reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.engine.context import Context
from core.engine.network import Network
from core.layers.gram import EXAMPLES, moments, unread
from core.layers.second_order import grouped, relative_error
from core.pruners._ranking import SPARSITY, ranks_within, remove, report
from core.registry import register


@register(
    kind="prune",
    name="wanda",
    title="Wanda",
    summary="Removes the weights of least magnitude times the norm of their input, the same share from every row.",
    reference="Sun et al. 2023, A simple and effective pruning approach for large language models, arXiv 2306.11695",
    parameters=(SPARSITY,),
)
def wanda(network: Network, values: Mapping[str, Any], context: Context) -> tuple[Network, dict[str, Any]]:
    """Zero in each row (output channel) the weights of least `|w| * ||x||_2`, x over 256 calibration examples.

    The paper ranks the rows of linear layers; a convolution's row is its filter and its inputs those of an unfolded
    patch, one norm for each channel and place in the kernel. Counts of two rows differ by at most one, so that the
    layer's share is met exactly; weights that are zero already go first. Layers without moments, such as embeddings,
    fall back to magnitude within the layer. `output_error` is, a layer, the share of its output's energy on those
    examples that the zeros change; `magnitude` in `fitted` says which layers fell back and why.
    """
    why: dict[str, str] = {}
    ranks = context.scores(network, f"wanda {context.data.fingerprint}", lambda: _ranks(network, context))
    pruned = remove(network, ranks, values["sparsity"], False, context.apart(network, "sparsity"))
    errors = {}
    treated = set()
    for place, (layer, seen) in enumerate(moments(network, context.data)):
        context.told(place / len(network.layers))
        treated.add(layer.weight)
        if seen.why and not seen.power.isfinite().all():
            why[layer.name] = seen.why
        if seen.second is not None:
            before, after = (grouped(one.tensors[layer.weight], len(seen.power)) for one in (network, pruned))
            errors[layer.name] = relative_error(after - before, before, seen.second)
    why |= {layer.name: unread(layer) for layer in network.layers if layer.weight not in treated}
    said = {"examples": EXAMPLES, "output_error": errors, "magnitude": why}
    return pruned, report(pruned) | said


def _ranks(network: Network, context: Context) -> dict[str, Tensor]:
    """Ranks of all weights, int32 of their tensors' shapes, by rows where the inputs' norms are known."""
    ranks = ranks_within({name: network.tensors[name].abs() for name in network.weight_names})
    for layer, seen in moments(network, context.data):
        if seen.power.isfinite().all():
            weight = network.tensors[layer.weight]
            size = grouped(weight, len(seen.power)).abs()
            rows = (size * seen.power.sqrt()[:, None]).flatten(0, 1), size.flatten(0, 1)
            ranks[layer.weight] = ranks_by_row(*rows).reshape(weight.shape)
    return ranks


def ranks_by_row(scores: Tensor, sizes: Tensor) -> Tensor:
    """Rank of every weight so that any number of the lowest takes equally many of every row, or one more.

    `scores` and `sizes` `(R, K)`: weights of size 0 come first whatever their row; equal scores go by size.
    """
    within = np.lexsort((sizes.numpy(), scores.numpy()), axis=1)
    place = np.empty_like(within)
    np.put_along_axis(place, within, np.arange(scores.shape[1])[None].repeat(len(scores), 0), 1)
    order = np.lexsort((scores.numpy().ravel(), place.ravel(), sizes.numpy().ravel() > 0))
    ranks = np.empty(order.size, np.int32)
    ranks[order] = np.arange(order.size, dtype=np.int32)
    return torch.from_numpy(ranks.reshape(scores.shape))
