"""Run a network's ONNX graph through ONNX Runtime: the back end of every number on the screen."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import cache

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from core.deploy.graph import INPUT, OUTPUT

# Torch only handles weights here; the networks run in ONNX Runtime. A second pool of threads on the same cores gains
# nothing on tensors of this size and costs much where others compute too.
torch.set_num_threads(1)

CHUNK = 100  # examples a call: activations of small networks then stay in the second-level cache
ROOM = 8 * 2**20  # bytes of inputs a call: a network's activations are some ten to fifty times as many
Progress = Callable[[float], None]


def threads() -> int:
    """Cores this process may use; `TEMPER_THREADS` says another number."""
    named = os.environ.get("TEMPER_THREADS", "")
    if named.isdigit() and int(named):
        return int(named)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def session(
    proto: onnx.ModelProto, simulate: bool | None = None, save_optimised: str = "", cores: int | None = None,
    profile: str = "",
) -> onnxruntime.InferenceSession:  # fmt: skip
    """An inference session on this machine's processor, each call on all its cores or on `cores`.

    With `simulate`, quantized layers are computed in float from their rounded values instead of by
    integer kernels; by default that happens only where the integer kernels are not exact. With `profile`, the
    beginning of a file's path, the time of every node is noted until `end_profiling`.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores or threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.optimized_model_filepath = save_optimised
    options.enable_profiling = bool(profile)
    if profile:
        options.profile_file_prefix = profile
    if simulate if simulate is not None else not integer_kernels_exact():
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])


@cache
def integer_kernels_exact() -> bool:
    """Whether unsigned x signed 8-bit products are summed without saturation here.

    x86 processors without VNNI add two products in 16 bits: 255 * 127 * 2 does not fit. One layer
    with such values, run both ways, tells.
    """
    rows, depth = 16, 64
    scale, zero = np.float32(1), np.uint8(0)
    constants = {
        "s": scale, "zu": zero, "zi": np.int8(0), "out": np.float32(depth * 255 * 127 / 255),
        "w": np.full((depth, rows), 127, np.int8), "zo": zero,
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", [INPUT, "s", "zu"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "zu"], ["x"]),
        helper.make_node("DequantizeLinear", ["w", "s", "zi"], ["wd"]),
        helper.make_node("MatMul", ["x", "wd"], ["y"]),
        helper.make_node("QuantizeLinear", ["y", "out", "zo"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "out", "zo"], [OUTPUT]),
    ]
    graph = helper.make_graph(
        nodes,
        "probe",
        [helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, [rows, depth])],
        [helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, [rows, rows])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = np.full((rows, depth), 255, np.float32)
    integer, simulated = (session(proto, simulate=way).run(None, {INPUT: x})[0] for way in (False, True))
    return bool(np.array_equal(integer, simulated))


def usual_chunk(shape: tuple[int, ...]) -> int:
    """How many examples of this shape a call takes at most, so that large pictures do not fill the memory."""
    return max(1, min(CHUNK, ROOM // (4 * math.prod(shape))))


def predictor(proto: onnx.ModelProto) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """A function from inputs `(n, ...)` to logits `(n, C)`, both float32, of one chunk."""
    opened = session(proto)
    return lambda inputs: opened.run([OUTPUT], {INPUT: inputs})[0]


def run(
    predict: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    inputs: NDArray[np.float32],
    progress: Progress | None = None,
    chunk: int = CHUNK,
) -> NDArray[np.float32]:
    """Logits `(N, C)` float32 of `inputs` `(N, ...)`, in chunks.

    `progress` is called with the fraction done after each chunk; an exception it raises ends the run.
    """
    parts = []
    for start in range(0, len(inputs), chunk):
        parts.append(predict(inputs[start : start + chunk]))
        if progress is not None:
            progress(min(1.0, (start + chunk) / len(inputs)))
    return np.concatenate(parts)
