"""Give an artifact that predicts numbers the screen's value and interval, as the last nodes of the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from core.calibrators._fitted import Widths
from core.calibrators._widths import STEEPEST, raw_widths
from core.deploy.graph import OUTPUT
from core.task import LEVEL, LEVELS

VALUE = "value"
INTERVAL = "interval"


def add_numbers_head(proto: onnx.ModelProto, form: Widths | None, states_scale: bool) -> None:
    """Add the outputs `value` `(N, 1)` and `interval` `(N, 2)` float32, low and high at `LEVEL`; the raw ones stay.

    `states_scale` tells whether the network has a second column, the log of its standard deviation. Without a
    calibration the interval is Gaussian where it has, and of no width where it has not. The interval is computed in
    float64, where no stated deviation overflows.
    """
    widths = form or raw_widths(states_scale)
    assert states_scale or not widths.scaled, "widths in deviations need a network that states one"
    nodes, held = proto.graph.node, proto.graph.initializer

    def constant(name: str, values: Any, kind: Any = np.float64) -> str:
        held.append(numpy_helper.from_array(np.asarray(values, kind), f"head/{name}"))
        return f"head/{name}"

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], f"head/{output}/{kind}", **attributes))
        return output

    node("Gather", [OUTPUT, constant("first", [0], np.int64)], VALUE, axis=1)
    wide = node("Cast", [VALUE], "head/wide", to=TensorProto.DOUBLE)
    factor = float(widths.factors[LEVELS.index(LEVEL)])
    ends = constant("ends", [[-factor, factor]])
    if widths.scaled:
        log = node("Gather", [OUTPUT, constant("second", [1], np.int64)], "head/log", axis=1)
        log = node("Cast", [log], "head/log_wide", to=TensorProto.DOUBLE)
        held_in = node("Clip", [log, constant("least", -STEEPEST), constant("most", STEEPEST)], "head/held")
        ends = node("Mul", [node("Exp", [held_in], "head/deviation"), ends], "head/ends_scaled")
    node("Cast", [node("Add", [wide, ends], "head/interval_wide")], INTERVAL, to=TensorProto.FLOAT)
    for name, columns in ((VALUE, 1), (INTERVAL, 2)):
        proto.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", columns]))
