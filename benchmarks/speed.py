"""The engine's speed against a bare pass, against other back ends, and against what a person would write today."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn.utils import prune as torch_prune

from benchmarks.rows import ROUNDS, Row, paired
from core.calibrators.temperature import optimal_temperature
from core.data.handle import load_split
from core.deploy.graph import INPUT, OUTPUT, assemble
from core.deploy.latency import latencies
from core.engine.compare import compare
from core.engine.evaluate import evaluate
from core.engine.network import load_network
from core.engine.runtime import predictor, run, session, threads
from core.engine.transform import transform
from core.models.handle import build
from core.models.samples import load_sample
from core.recipe import Recipe, Step


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
    fresh = iter(np.linspace(0.3, 0.7, 400))

    def bare() -> object:
        return run(predictor(proto), inputs)

    def point(weight_bits: int, activation_bits: int, calibrated: bool = True) -> Callable[[], object]:
        def new() -> object:
            of = recipe(weight_bits, activation_bits, float(round(next(fresh), 4)))
            return evaluate(model, data, of if calibrated else of.without("calibrate"))

        return new

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
        return _torch_pass(module, inputs)

    compiled: list[torch.nn.Module] = []

    def by_compiler() -> object:
        if not compiled:
            compiled.append(torch.compile(build(model).to(memory_format=torch.channels_last)))
        return _torch_pass(compiled[0], inputs)

    fed = _weights_as_inputs(proto)

    def by_inputs() -> object:
        return [fed(inputs[i : i + 100]) for i in range(0, len(inputs), 100)]

    def by_hand() -> float:
        """What a person writes today: torch.nn.utils.prune, a rounding loop, a full evaluation."""
        torch.set_num_threads(threads())
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
        torch.set_num_threads(1)
        return right / len(inputs)

    found = []
    evaluate(model, data, Recipe())

    def add(
        what: str, ours: Callable[[], object], baseline: Callable[[], object], name: str, rounds: int = ROUNDS
    ) -> None:
        found.append(Row(what, *paired(ours, baseline, rounds), name))
        print(f"{found[-1].ratio:8.3f}  {what}", file=sys.stderr, flush=True)

    one_pass = "one bare float pass over 10,000 images"
    add("a new W32A32 point, exact", point(32, 32, calibrated=False), bare, one_pass)
    add("the same with calibration, which passes over 5,000 more", point(32, 32), bare, one_pass)
    add("a new W4A8 point, exact", point(4, 8, calibrated=False), bare, one_pass)
    add("a new W4A8 point, exact, with calibration", point(4, 8), bare, one_pass)
    add("one bare float pass", bare, eager, "the same pass in eager PyTorch, channels last", 3)
    try:
        add("one bare float pass", bare, by_compiler, "the same pass by torch.compile, after compiling", 3)
    except Exception as error:  # torch.compile needs a C++ compiler
        print(f"torch.compile left out: {type(error).__name__}", file=sys.stderr)
    add("one bare float pass, opening its session", bare, by_inputs, "the same pass with the weights as inputs", 3)
    add("opening a session", lambda: predictor(proto), bare, one_pass)
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


def _torch_pass(module: torch.nn.Module, inputs: np.ndarray) -> list[torch.Tensor]:
    """Outputs of all inputs in chunks of 100, channels last, on every core."""
    torch.set_num_threads(threads())
    try:
        with torch.inference_mode():
            chunks = (torch.from_numpy(inputs[i : i + 100].copy()) for i in range(0, len(inputs), 100))
            return [module(x.contiguous(memory_format=torch.channels_last)) for x in chunks]
    finally:
        torch.set_num_threads(1)


def _weights_as_inputs(proto: onnx.ModelProto) -> Callable[[np.ndarray], np.ndarray]:
    """A session opened once, whose weights are fed with every call."""
    fed = onnx.ModelProto()
    fed.CopyFrom(proto)
    weights = {one.name: numpy_helper.to_array(one) for one in proto.graph.initializer if len(one.dims) > 1}
    kept = [one for one in proto.graph.initializer if one.name not in weights]
    del fed.graph.initializer[:]
    fed.graph.initializer.extend(kept)
    fed.graph.input.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in weights.items()
    )
    opened = session(fed)
    return lambda x: opened.run([OUTPUT], {INPUT: x, **weights})[0]


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
