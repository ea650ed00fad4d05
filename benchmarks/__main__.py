"""`python -m benchmarks`: measure, print, and write benchmarks/RESULTS.md.

Every row is a ratio of medians, both sides taking turns in one run on one machine.
"""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils import prune as torch_prune

from benchmarks.coverage import coverage
from core.calibrators.temperature import optimal_temperature
from core.data.handle import load_split
from core.deploy.graph import assemble
from core.deploy.latency import latencies
from core.engine.compare import compare
from core.engine.evaluate import evaluate
from core.engine.memory import RESULTS, SCORES
from core.engine.network import load_network
from core.engine.runtime import predictor, run, threads
from core.engine.transform import transform
from core.models.handle import build
from core.models.samples import load_sample
from core.recipe import Recipe, Step

RESULTS_FILE = Path(__file__).with_name("RESULTS.md")
ROUNDS = 5


@dataclass(frozen=True)
class Row:
    """One measured ratio: ours over the baseline, both in milliseconds."""

    what: str
    ours: float
    baseline: float
    baseline_is: str

    @property
    def ratio(self) -> float:
        """Ours as a multiple of the baseline; below 1 is faster."""
        return self.ours / self.baseline


def paired(ours: Callable[[], object], baseline: Callable[[], object], rounds: int = ROUNDS) -> tuple[float, float]:
    """Median milliseconds of both, taking turns, after one uncounted turn each."""
    seen: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for place, call in enumerate((ours, baseline)):
            started = time.perf_counter()
            call()
            if turn:
                seen[place].append(1_000 * (time.perf_counter() - started))
    return statistics.median(seen[0]), statistics.median(seen[1])


def recipe(weight_bits: int, activation_bits: int, sparsity: float = 0.5) -> Recipe:
    """A pruned and quantized recipe, calibrated by temperature."""
    return Recipe(
        (
            Step.of("prune", "magnitude-global", {"sparsity": sparsity}),
            Step.of("quantize", "uniform", {"weight_bits": weight_bits, "activation_bits": activation_bits}),
            Step.of("calibrate", "temperature"),
        )
    )


def rows() -> list[Row]:
    """Every row of the report, in order."""
    model, data = load_sample("fashion-resnet")
    inputs = load_split(data, "evaluation").inputs
    labels = load_split(data, "evaluation").y
    proto = assemble(load_network(model))
    fresh = iter(np.linspace(0.3, 0.7, 200))

    def bare() -> object:
        return run(predictor(proto), inputs)

    def point(weight_bits: int, activation_bits: int) -> Callable[[], object]:
        return lambda: evaluate(model, data, recipe(weight_bits, activation_bits, float(round(next(fresh), 4))))

    class Shown(Exception):  # noqa: N818  (not an error: it ends the run at the first estimate)
        """Raised by the first look."""

    def first(weight_bits: int, activation_bits: int) -> Callable[[], object]:
        def until() -> None:
            def look(_: object) -> None:
                raise Shown

            with contextlib.suppress(Shown):
                evaluate(model, data, recipe(weight_bits, activation_bits, float(round(next(fresh), 4))), look=look)

        return until

    def eager() -> object:
        module = build(model).to(memory_format=torch.channels_last)
        with torch.inference_mode():
            chunks = (torch.from_numpy(inputs[i : i + 100].copy()) for i in range(0, len(inputs), 100))
            return [module(x.contiguous(memory_format=torch.channels_last)) for x in chunks]

    def by_hand() -> float:
        """What a person writes today: torch.nn.utils.prune, a rounding loop, a full evaluation."""
        module = build(model).requires_grad_(True)
        layers = [m for m in module.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
        torch_prune.global_unstructured([(m, "weight") for m in layers], torch_prune.L1Unstructured, amount=0.5)
        right = 0
        with torch.inference_mode():
            for layer in layers:
                torch_prune.remove(layer, "weight")
                scale = layer.weight.abs().amax(tuple(range(1, layer.weight.ndim)), keepdim=True) / 7
                layer.weight.copy_((layer.weight / scale).round().clamp(-7, 7) * scale)
            for start in range(0, len(inputs), 100):
                x = torch.from_numpy(inputs[start : start + 100].copy())
                right += int((module(x).argmax(1).numpy() == labels[start : start + 100]).sum())
        return right / len(inputs)

    found = []
    evaluate(model, data, Recipe())

    def add(
        what: str, ours: Callable[[], object], baseline: Callable[[], object], name: str, rounds: int = ROUNDS
    ) -> None:
        found.append(Row(what, *paired(ours, baseline, rounds), name))
        print(f"{found[-1].ratio:8.3f}  {what}", file=sys.stderr, flush=True)

    one_pass = "one bare float pass over 10,000 images"
    add("a new W32A32 point, exact, with calibration", point(32, 32), bare, one_pass)
    add("a new W4A8 point, exact, with calibration", point(4, 8), bare, one_pass)
    add("one bare float pass", bare, eager, "the same pass in eager PyTorch, channels last", 3)
    again = recipe(4, 8)
    evaluate(model, data, again)
    add("first estimate of a new W4A8 point", first(4, 8), bare, one_pass)
    add("first estimate of a new W32A32 point", first(32, 32), bare, one_pass)
    add("a visited point", lambda: compare(evaluate(model, data, again)), bare, one_pass)
    add(
        "a new W4A8 point, exact",
        point(4, 8),
        by_hand,
        "torch.nn.utils.prune, a rounding loop and a full evaluation",
        3,
    )

    def pruned() -> object:
        return transform(
            model, data, Recipe((Step.of("prune", "magnitude-global", {"sparsity": float(next(fresh))}),))
        )

    def torch_pruned() -> None:
        module = build(model).requires_grad_(True)
        layers = [m for m in module.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
        torch_prune.global_unstructured([(m, "weight") for m in layers], torch_prune.L1Unstructured, amount=0.5)

    add("another global sparsity", pruned, torch_pruned, "torch.nn.utils.prune.global_unstructured", 15)
    outcome = evaluate(model, data, Recipe()).original
    logits = outcome.logits.astype(np.float64)
    add("temperature fit, 10,000 x 10", lambda: optimal_temperature(logits, labels), lambda: _lbfgs(logits, labels),
        "the usual torch L-BFGS, 50 iterations")  # fmt: skip
    network, _ = transform(model, data, Recipe((Step.of("quantize", "uniform"),)))
    original, tempered = latencies(network, data)
    if tempered.p50 and original.p50 and tempered.batch and original.batch:
        found.append(Row("int8 artifact, one image, p50", tempered.p50, original.p50, "its float artifact"))
        found.append(Row("int8 artifact, batch of 32, p50", tempered.batch, original.batch, "its float artifact"))
    return found


def _lbfgs(logits: np.ndarray, labels: np.ndarray) -> float:
    z, y = torch.from_numpy(logits), torch.from_numpy(labels)
    log_t = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([log_t], lr=0.01, max_iter=50)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(z / log_t.exp(), y)
        loss.backward()
        return loss

    optimiser.step(closure)
    return float(log_t.exp())


def processor() -> str:
    """The processor's name, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    """Measure every row and write the report."""
    os.environ["TEMPER_CACHE"] = ""  # nothing kept from yesterday
    RESULTS.clear()
    SCORES.clear()
    lines = [
        "# Measured ratios",
        "",
        f"`make bench` on {processor()}, {threads()} threads, Python {platform.python_version()}, "
        f"torch {torch.__version__}. Medians of both sides taking turns in one run; below 1 is faster.",
        "",
        "| what | ratio | ours, ms | baseline, ms | baseline |",
        "|---|---:|---:|---:|---|",
    ]
    lines += [f"| {r.what} | {r.ratio:.3f} | {r.ours:.2f} | {r.baseline:.2f} | {r.baseline_is} |" for r in rows()]
    lines += [
        "",
        "## Estimates",
        "",
        "How often the interval shown held the exact accuracy of this set, and its median half-width in points;",
        "looks share the 5 % between them, so that all of them together should hold 95 %.",
        "",
        "| sample | examples seen | recipes | held | half-width | where the loss is at most 2 points |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in (row for sample in ("fashion-resnet", "fashion-small") for row in coverage(sample)):
        widths = [f"{100 * w:.2f}" if row.look else "" for w in (row.half_width, row.half_width_small_loss)]
        seen = f"{row.look:,}" if row.look else "all looks"
        lines.append(
            f"| {row.sample} | {seen} | {row.recipes} | {100 * row.covered:.1f} % | {widths[0]} | {widths[1]} |"
        )
    text = "\n".join(lines) + "\n"
    RESULTS_FILE.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
