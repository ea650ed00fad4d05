"""Attention heads that leave: what remains computes what the whole network does with those heads silenced."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import prune, quantize, recipe

from core.data.handle import load_split
from core.deploy.check import ship
from core.deploy.graph import assemble, structure
from core.engine.context import Context
from core.engine.evaluate import evaluate
from core.engine.network import load_network
from core.engine.runtime import predictor
from core.engine.transform import transform
from core.errors import TemperError
from core.figures.takeaway import remains
from core.layers.gradients import by_example
from core.layers.layerwise import layerwise
from core.models.heads import attentions
from core.models.samples import load_sample
from core.pruners.heads import _importances, _least
from core.recipe import Step
from core.registry import method, methods


@pytest.fixture(scope="module")
def texts():
    return load_sample("sentiment")


@pytest.fixture(scope="module")
def importances(texts):
    network = load_network(texts[0])
    return _importances(network, Context(texts[1], 0), attentions(structure(network), network.shapes))


def heads(share: float) -> Step:
    return Step.of("prune", "heads", {"sparsity": share})


def logits(network, inputs):
    return predictor(assemble(network))(inputs)


def test_the_heads_of_every_attention_are_found(texts):
    network = load_network(texts[0])
    found = attentions(structure(network), network.shapes)
    assert [(one.heads, one.width) for one in found] == [(4, 14)] * 2
    for i, one in enumerate(found):
        names = [f"blocks.{i}.attention.{part}.weight" for part in ("query", "key", "value")]
        assert list(one.inputs) == names and one.output == f"blocks.{i}.attention.out.weight"
        assert len(one.parts) == 7, "four weights and three biases"


@pytest.mark.parametrize("share", [0.25, 0.5, 0.95])
def test_what_remains_computes_what_silent_heads_do(share, texts, importances):
    model, data = texts
    network = load_network(model)
    smaller, (said,) = transform(model, data, recipe(heads(share)))
    found = attentions(structure(network), network.shapes)
    gone = _least([importances[one.output] for one in found], share)
    assert sum(map(len, gone)) == min(round(share * 8), 6), "each attention keeps one"
    silent = {}
    for one, places in zip(found, gone, strict=True):
        silent[one.output] = network.tensors[one.output].clone()
        for head in places:
            silent[one.output][:, head * 14 : (head + 1) * 14] = 0
        assert said["heads"][one.output.removesuffix(".weight")] == [4, 4 - len(places)]
        left = (4 - len(places)) * 14
        assert [smaller.tensors[name].shape[0] for name in one.inputs] == [left] * 3
    inputs = load_split(data, "evaluation").inputs[:32]
    expected = logits(network.with_tensors(silent), inputs)
    np.testing.assert_allclose(logits(smaller, inputs), expected, atol=1e-5 * np.abs(expected).max())
    assert said["parameters"][1] == said["parameters"][0] - sum(map(len, gone)) * (4 * 14 * 56 + 3 * 14)


def test_importance_is_the_change_of_the_loss_as_a_head_fades(texts):
    """By finite differences of the loss over the gate, on a network whose gate is the weights that read the head."""
    model, data = texts
    network, context = load_network(model), Context(data, 0)
    one = attentions(structure(network), network.shapes)[1]
    (gradient,) = (found[one.output] for found in by_example(network, context, (one.output,), 1))
    split = load_split(data, "calibration")

    def loss(gate: float) -> float:
        faded = network.tensors[one.output].clone()
        faded[:, 14:28] *= gate
        made = logits(network.with_tensors({one.output: faded}), split.inputs[:1]).astype(np.float64)
        return float(np.log(np.exp(made[0]).sum()) - made[0, split.y[0]])

    slope = float((gradient * network.tensors[one.output])[:, 14:28].sum())
    assert slope == pytest.approx((loss(1.01) - loss(0.99)) / 0.02, rel=0.02, abs=1e-5)


def test_the_least_go_first_and_what_has_no_gradient_stays():
    scores = [torch.tensor([0.1, 0.5, 0.3]), torch.zeros(4), torch.tensor([0.2, torch.nan])]
    assert [places.tolist() for places in _least(scores, 0.2)] == [[0, 2], [], []]
    assert [places.tolist() for places in _least(scores, 0.9)] == [[0, 2], [], []]
    assert [places.tolist() for places in _least(scores, 0.11)] == [[0], [], []]


def test_steps_before_and_after_work_on_what_is_there(texts):
    model, data = texts
    inputs = load_split(data, "evaluation").inputs[:3]
    for steps in (
        (heads(0.5), heads(0.5), prune(0.5)),
        (Step.of("prune", "blocks", {"sparsity": 0.25}), heads(0.5), quantize(8, 8)),
    ):
        network, _ = transform(model, data, recipe(*steps))
        assert all(network.tensors[name].shape == mask.shape for name, mask in network.masks.items())
        assert np.isfinite(logits(network, inputs)).all()
    with pytest.raises(TemperError, match="after quantization"):
        transform(model, data, recipe(quantize(8, 8), heads(0.5)))


def test_where_there_are_none_it_is_said_and_nothing_changes(small):
    model, data = small
    assert "no attention" in method("prune", "heads").why_not(model)
    network, (said,) = transform(model, data, recipe(heads(0.5)))
    assert said["warning"] and network.shapes == load_network(model).shapes


def test_the_ledger_the_layers_and_the_words_agree(texts):
    model, data = texts
    made = recipe(heads(0.5))
    result, found = evaluate(model, data, made), layerwise(model, data, made)
    assert made.notation == "50 % of heads"
    assert found.packed == result.bytes.packed < found.original_packed == result.original_bytes.packed
    assert all(layer.sqnr_db is None for layer in found.layers) and not found.gone
    assert remains(result).startswith("4 of 8 attention heads are gone: ")


@pytest.mark.parametrize("name", [m.name for m in methods("format")])
def test_every_format_carries_the_fewer_heads(name, texts):
    model, data = texts
    try:
        made = ship(model, data, recipe(heads(0.5), quantize(8, 32)), name)
    except TemperError as error:
        assert "use ONNX" in error.message
        return
    assert made.checked.verified, made.checked
