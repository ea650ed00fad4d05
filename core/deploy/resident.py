"""How much memory a model takes: a fresh process loads and runs it and says what it held at its peak.

It imports NumPy and ONNX Runtime only, as a program that uses the file would.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from core.deploy.timings import Resident

SECONDS = 120.0  # a model that takes longer to load and run a few times is not waited for


def resident(model: bytes, shape: tuple[int, ...], threads: int, simulate: bool) -> Resident:
    """Peak memory of a process that loads `model` (an ONNX file) and runs it on inputs of `shape`, batch included."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.onnx"
        path.write_bytes(model)
        task = json.dumps({"path": str(path), "shape": shape, "threads": threads, "simulate": simulate})
        # -P: the modules beside the script bear everyday names, which must not hide others.
        command = [sys.executable, "-P", str(Path(__file__).with_name("_resident.py")), task]
        try:
            done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=True)
            peak, runtime = json.loads(done.stdout)
        except subprocess.TimeoutExpired:
            return Resident(None, None, f"Loading and running it took longer than {SECONDS:.0f} seconds.")
        except (subprocess.CalledProcessError, OSError, ValueError):
            return Resident(None, None, "The process that was to measure memory ended early.")
    if peak is None:
        return Resident(None, None, "This system does not tell how much memory a process holds.")
    return Resident(peak, runtime)
