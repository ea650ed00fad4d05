"""The process whose memory is measured: imports NumPy and ONNX Runtime only, loads one ONNX file and runs it.

Its one argument is a JSON object; it prints its peak in bytes, and what it held before it loaded the model.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

CALLS = 3  # the first allocates; more show that nothing grows


def peak() -> int | None:
    """Bytes this process held at most.

    Not `ru_maxrss`: on Linux a new process inherits that figure from the one that started it, which is larger.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        import resource
    except ImportError:
        return None
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else 1024 * found


def main() -> None:
    """Load, run, tell."""
    task = json.loads(sys.argv[1])
    runtime = peak()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = task["threads"], 1
    options.log_severity_level = 3
    if task["simulate"]:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    opened = onnxruntime.InferenceSession(task["path"], options, ["CPUExecutionProvider"])
    inputs = {opened.get_inputs()[0].name: np.zeros(task["shape"], np.float32)}
    for _ in range(CALLS):
        opened.run(None, inputs)
    print(json.dumps([peak(), runtime]))


if __name__ == "__main__":
    main()
