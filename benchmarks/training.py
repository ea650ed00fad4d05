"""An epoch of the training loop against a plain hand-written one in PyTorch, on the same network and examples."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from benchmarks.rows import Row, paired
from core.engine.network import Network
from core.engine.runtime import threads
from core.engine.transform import transform
from core.models.handle import build
from core.models.samples import load_sample
from core.recipe import Recipe, Step
from core.trainers._losses import of_labels
from core.trainers._training import everything
from core.training.examples import Examples, examples, order
from core.training.learner import Learner
from core.training.loop import Calls, learn
from core.training.plan import Plan

SAMPLE, EXAMPLES, BATCH, RATE = "fashion-resnet", 1_024, 64, 1e-4
CASES = {
    "fine-tuned in float": ((), False),
    "80 % sparse": ((Step.of("prune", "magnitude-global", {"sparsity": 0.8}),), False),
    "W4A32": ((Step.of("quantize", "uniform", {"weight_bits": 4, "activation_bits": 32}),), False),
    "W4A8": ((Step.of("quantize", "uniform", {"weight_bits": 4, "activation_bits": 8}),), False),
    "W4A8, scales learned": ((Step.of("quantize", "uniform", {"weight_bits": 4, "activation_bits": 8}),), True),
}


def rows() -> list[Row]:
    """One epoch each; ours keeps its state at every look, of which there are twenty at one example."""
    model, data = load_sample(SAMPLE)
    given = examples(data, 0, False, EXAMPLES)
    before = torch.get_num_threads()
    torch.set_num_threads(threads())
    try:
        plain = _plain(build(model), given)
        found = []
        for what, (steps, scales) in CASES.items():
            network = transform(model, data, Recipe(steps))[0]
            mine, theirs = paired(_ours(network, given, scales, data.modality, of_labels(data, {})), plain, rounds=5)
            baseline = f"a plain PyTorch loop in float, {EXAMPLES:,} examples, channels last, AdamW"
            found.append(Row(f"an epoch of {SAMPLE}, {what}", mine, theirs, baseline))
        return found
    finally:
        torch.set_num_threads(before)


def _ours(network: Network, given: Examples, scales: bool, modality: str, loss: object) -> Callable[[], object]:
    learner = Learner(network, everything(network), scales)
    few = Examples(given.x, given.y, given.x[:1], given.y[:1], False, given.rows)
    plan = Plan(1.0, BATCH, RATE, until=1.0)
    return lambda: learn(learner, few, modality, loss, plan, Calls())  # type: ignore[arg-type]


def _plain(module: torch.nn.Module, given: Examples) -> Callable[[], object]:
    module = module.requires_grad_(True).to(memory_format=torch.channels_last)
    taking = torch.optim.AdamW(module.parameters(), RATE, weight_decay=0.0)
    x = given.x.contiguous(memory_format=torch.channels_last)

    def epoch() -> None:
        module.train()
        rows = order(len(given.y), 0, 0)
        for start in range(0, len(rows) - BATCH + 1, BATCH):
            batch = rows[start : start + BATCH]
            taking.zero_grad(set_to_none=True)
            F.cross_entropy(module(x[batch]), given.y[batch]).backward()
            taking.step()

    return epoch
