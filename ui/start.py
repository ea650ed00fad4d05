"""Start the dashboard: one clear sentence when the port is taken or memory is short, else Streamlit.

`python -m ui.start [--port 8501] [--address 127.0.0.1] [--headless]`
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import logging
import os
import socket
import sys
import threading
from pathlib import Path

LOG = logging.getLogger("temper")
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


def prepare() -> None:
    """Load the libraries and the first page's model and data, while the browser is still on its way."""
    try:
        from core.data.handle import load_split
        from core.deploy.graph import template
        from core.models.samples import DEFAULT, load_sample
        from ui import home  # noqa: F401

        model, data = load_sample(DEFAULT)
        template(model)
        load_split(data, "evaluation")
        load_split(data, "calibration")
    except Exception:
        LOG.debug("while preparing the first page", exc_info=True)  # the page meets it too and has the words for it
    finally:
        gc.freeze()  # half a million objects of libraries that stay: a full collection would take 0.2 s each time
        gc.enable()


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
    os.chdir(APP.parent)
    gc.disable()  # until all is prepared: a third of the time that libraries take to load goes into collections
    from streamlit.web.cli import main as streamlit

    threading.Thread(target=prepare, name="prepare", daemon=True).start()
    command = ["run", str(APP), "--server.port", str(chosen.port), "--server.address", chosen.address]
    command += ["--server.headless", str(chosen.headless or no_display).lower()]
    streamlit(command, prog_name="streamlit")  # in this process, so that stopping it stops the server
    return 0


if __name__ == "__main__":
    sys.exit(main())
