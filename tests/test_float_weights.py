"""Float weights beside rounded activations stay float in the runtime, whatever its optimisers would do."""

import numpy as np
import onnxruntime
import pytest

from core.data.handle import load_split
from core.deploy.graph import INPUT, assemble
from core.engine.transform import transform
from core.models.samples import load_sample
from core.recipe import Recipe, Step

LEVELS = (onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)


def outputs(proto, inputs, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, options.log_severity_level = level, 3
    opened = onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    return opened.run(None, {INPUT: inputs})[0]


@pytest.mark.parametrize("sample", ["fashion-small", "diamonds"])
@pytest.mark.parametrize("given", [{"weight_bits": 32}, {"weight_bits": 16}, {"weight_bits": 4, "apart": 32}])
@pytest.mark.parametrize("compact", [False, True])
def test_optimised_equals_plain(sample, given, compact):
    model, data = load_sample(sample)
    plain, _ = transform(model, data, Recipe())
    second = [layer.name for layer in plain.layers][1]
    own = {second: {"weight_bits": given["apart"]}} if "apart" in given else {}
    step = Step.of("quantize", "uniform", {"weight_bits": given["weight_bits"], "activation_bits": 8}, own)
    network, _ = transform(model, data, Recipe((step,)))
    inputs = load_split(data, "evaluation").inputs[:200]
    fast, slow = (outputs(assemble(network, compact=compact), inputs, level) for level in LEVELS)
    # An activation on the edge of two levels may fall to the other side; rounding a layer's weights moves them all.
    assert np.median(np.abs(fast - slow)) < 1e-5 * np.abs(slow).max()
