"""Run a graph that is being read, on noise, in one thread and as it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import onnx
import onnxruntime

from core.models.exact import reads_ids
from core.models.plain import Array


def observe(proto: onnx.ModelProto, batch: int, wanted: Iterable[str]) -> dict[str, Array]:
    """Run the graph on noise of a batch size, or on the id 1, and return some of its tensors."""
    entry = proto.graph.input[0]
    shape = [batch, *(length.dim_value for length in entry.type.tensor_type.shape.dim[1:])]
    noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return run(proto, {entry.name: np.ones_like(noise) if reads_ids(proto.graph) else noise}, wanted)


def run(proto: onnx.ModelProto, inputs: dict[str, Array], wanted: Iterable[str]) -> dict[str, Array]:
    """Some of a graph's tensors for these inputs. Raises whatever ONNX Runtime raises."""
    names = list(wanted)
    if not names:  # ONNX Runtime would take none for all
        return {}
    return dict(zip(names, _session(proto).run(names, inputs), strict=True))


def runner(proto: onnx.ModelProto, entry: str, output: str) -> Callable[[Array], Array]:
    """One output of a model as a function of its one input."""
    session = _session(proto)
    return lambda inputs: np.asarray(session.run([output], {entry: inputs})[0])


def _session(proto: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
