"""Start the dashboard: one clear sentence when the port is taken or memory is short, else Streamlit.

`python -m ui.start [--port 8501] [--address 127.0.0.1] [--headless]`
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

APP = Path(__file__).resolve().parent.parent / "app.py"
PORT = 8501
NEEDED = 1_000_000_000  # bytes: libraries, one sample and its activations take about 0.7 GB


def port_is_free(address: str, port: int) -> bool:
    """Whether this address and port can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def free_memory() -> int | None:
    """Bytes that can be had without swapping, or None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def main() -> int:
    """Check what can be checked before starting, then run Streamlit until it stops."""
    options = argparse.ArgumentParser(description="Start the Temper dashboard.")
    options.add_argument("--port", type=int, default=int(os.environ.get("PORT") or PORT))
    options.add_argument("--address", default="127.0.0.1", help="0.0.0.0 lets other machines in")
    options.add_argument("--headless", action="store_true", help="do not open a browser")
    chosen = options.parse_args()
    if importlib.util.find_spec("streamlit") is None:
        print(
            "temper: Streamlit is not installed; run `make app`, or pip install -r requirements.txt.", file=sys.stderr
        )
        return 2
    if not 1 <= chosen.port <= 65535:
        print(f"temper: A port is a number from 1 to 65535; got {chosen.port}.", file=sys.stderr)
        return 2
    if not port_is_free(chosen.address, chosen.port):
        another = chosen.port + 1
        print(
            f"temper: Port {chosen.port} is in use. Open http://{chosen.address}:{chosen.port} if that is Temper, "
            f"or take another port: make app PORT={another}",
            file=sys.stderr,
        )
        return 2
    available = free_memory()
    if available is not None and available < NEEDED:
        print(
            f"temper: About {NEEDED // 10**6:,} MB of free memory are needed and {available // 10**6:,} MB are free; "
            "close other programs and start again.",
            file=sys.stderr,
        )
        return 2
    no_display = sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    command = [sys.executable, "-m", "streamlit", "run", str(APP), "--server.port", str(chosen.port)]
    command += ["--server.address", chosen.address, "--server.headless", str(chosen.headless or no_display).lower()]
    os.chdir(APP.parent)
    if os.name == "posix":
        os.execv(sys.executable, command)  # Streamlit takes this process over, so that stopping it stops the server
    try:
        return subprocess.call(command)
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
