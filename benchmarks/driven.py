"""Temper driven in headless Chromium: a server, its pages, and the moves of a slider timed inside the page.

Times of a move are taken from the key's own event to the change of the text, so that the driver's delay is not in
them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from core.recipe import Recipe, Step

ROOT = Path(__file__).resolve().parent.parent
MODEL = "fashion-resnet"
SLIDER = "Sparsity"
# Marks on the pages. Exact: the status says so and names the slider's value, and no number is old or an estimate.
STATUS, OPEN, STALE, MEASURED = ".t-status", ".t-open", ".t-stale", "Measured"
STUDIO_END = ".st-key-examples"
NAMED = " % sparse"  # after the slider's value, in the status
IDLE = "[data-testid=stApp][data-test-script-state=notRunning]"
EMPTY_NUMBER = "#number"

MOVES = 24
PACE = 1.5  # seconds between two moves of a person in a hurry
PATIENCE = 60_000  # ms
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
OURS = (sys.executable, "-m", "ui.start", "--headless", "--port")
PLAIN = (sys.executable, "-m", "streamlit", "run", "--server.headless", "true", "--server.address", "127.0.0.1",
         "--server.fileWatcherType", "none", "--browser.gatherUsageStats", "false")  # fmt: skip
EMPTY_APP = """import streamlit as st
value = st.slider("Sparsity", 0, 100, 20)
st.html(f"<span id='number'>{value}</span>")
"""
EMPTY_IS = "an empty Streamlit app, one slider and one number"
# Each move is a record: when the key went down, when a first new number stood there, and when the exact one did.
WATCH = """([status, open, stale, measured, named, empty]) => {
  const moves = window.moves = [];
  const text = mark => (mark && document.querySelector(mark)?.textContent) || "";
  document.addEventListener("keydown", event => {
    if (!event.key.startsWith("Arrow")) return;
    const value = Number(event.target.value) + (event.key === "ArrowRight" ? 1 : -1);
    moves.push({start: performance.now(), value: String(value), estimate: text(open), first: null, exact: null});
  }, true);
  new MutationObserver(() => {
    const move = moves.at(-1);
    if (!move || move.exact !== null) return;
    const now = performance.now() - move.start;
    if (empty) {
      if (text(empty) === move.value) move.first = move.exact = now;
      return;
    }
    const said = text(status), estimated = text(open);
    if (move.first === null && estimated.includes("≈") && estimated !== move.estimate) move.first = now;
    const there = said.includes(measured) && said.includes(move.value + named);
    if (there && !document.querySelector(`${open}, ${stale}`)) {
      move.exact = now;
      move.first ??= now;
    }
  }).observe(document.body, {subtree: true, childList: true, characterData: true, attributes: true});
}"""


@dataclass(frozen=True)
class Moves:
    """Milliseconds from key to number; None where the next key came before the number."""

    first: tuple[float | None, ...]
    exact: tuple[float | None, ...]


def median(values: Sequence[float | None]) -> float:
    """The median of those that came; not a number where none did."""
    came = [v for v in values if v is not None]
    return statistics.median(came) if came else float("nan")


def p95(values: Sequence[float | None]) -> float:
    """The 95th percentile of those that came, by the nearest rank."""
    came = sorted(v for v in values if v is not None)
    return came[min(len(came) - 1, int(0.95 * len(came)))] if came else float("nan")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _answers(address: str) -> bool:
    with (
        contextlib.suppress(urllib.error.URLError, OSError),
        urllib.request.urlopen(f"{address}/_stcore/health", timeout=1),
    ):
        return True
    return False


@contextmanager
def served(command: Sequence[str], cache: Path, root: Path = ROOT) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server that answers, with its own cache folder: its address and its process. `{port}` ends the command."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "TEMPER_CACHE": str(cache), "TEMPER_HOME": str(cache / "home")}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen([*command, str(port)], cwd=root, env=environment, **quiet)  # type: ignore[call-overload]
    try:
        until = time.monotonic() + PATIENCE / 1_000
        while not _answers(address):
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the server did not start: {' '.join(command)}")
            time.sleep(0.02)
        yield address, server
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Headless Chromium as installed on this machine."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise RuntimeError("install Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def visit(browser: Browser) -> Iterator[Page]:
    """A page in a context of its own."""
    context = context_of(browser)
    yield context.new_page()
    context.close()


def context_of(browser: Browser) -> BrowserContext:
    """A visitor of their own, at a usual window's size."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE)
    return context


def plain(folder: Path) -> list[str]:
    """The command of the empty app."""
    app = folder / "empty.py"
    app.write_text(EMPTY_APP, encoding="utf-8")
    return [*PLAIN, str(app), "--server.port"]


def recipe(sparsity: float, weight_bits: int) -> Recipe:
    """What the Studio is opened on; other weight bits make other points."""
    return Recipe(
        (
            Step.of("prune", "magnitude-global", {"sparsity": sparsity}),
            Step.of("quantize", "uniform", {"weight_bits": weight_bits, "activation_bits": 8}),
            Step.of("calibrate", "temperature"),
        )
    )


def open_studio(page: Page, address: str, of: Recipe) -> None:
    """Open the Studio on a recipe and wait until nothing runs."""
    page.goto(f"{address}/Studio?model={MODEL}&recipe={of.to_link()}")
    page.wait_for_selector(STUDIO_END)
    _still(page)


def _still(page: Page) -> None:
    page.wait_for_selector(IDLE)
    page.wait_for_function("([open, stale]) => !document.querySelector(`${open}, ${stale}`)", arg=[OPEN, STALE])


def watch(page: Page, empty: bool = False) -> None:
    """Begin to note moves in the page, and put the keyboard on the slider."""
    page.evaluate(WATCH, [STATUS, OPEN, STALE, MEASURED, NAMED, EMPTY_NUMBER if empty else ""])
    page.get_by_role("slider", name=SLIDER).focus()


def noted(page: Page, last: int) -> Moves:
    """The last moves noted in the page."""
    found = page.evaluate("() => window.moves")[-last:]
    return Moves(tuple(m["first"] for m in found), tuple(m["exact"] for m in found))


def one_by_one(page: Page, key: str, moves: int = MOVES) -> Moves:
    """Press a key, wait for the exact number and for the page to be still, and again."""
    for _ in range(moves):
        page.keyboard.press(key)
        page.wait_for_function("() => window.moves.at(-1).exact !== null")
        page.wait_for_selector(IDLE)
        page.wait_for_timeout(100)
    return noted(page, moves)


def at_a_pace(pages: Sequence[Page], moves: int = 20) -> Moves:
    """Every page is moved each `PACE` seconds, whether its number came or not.

    A number overtaken by the next key is missing from the medians, which are to be read beside how many came.
    """
    for _ in range(moves):
        due = time.monotonic() + PACE
        for page in pages:
            page.keyboard.press("ArrowRight")
        pages[0].wait_for_timeout(max(0.0, 1_000 * (due - time.monotonic())))
    for page in pages:
        _still(page)
    found = [noted(page, moves) for page in pages]
    return Moves(sum((f.first for f in found), ()), sum((f.exact for f in found), ()))
