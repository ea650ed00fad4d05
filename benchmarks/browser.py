"""`python -m benchmarks.browser`: what a person waits for, and what a session holds, in headless Chromium.

Times of a move are taken inside the page, from the key's own event to the change of the text, so that the driver's
delay is not in them. The baseline is the least that Streamlit can do: one slider and one number.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from benchmarks.rows import Row
from core.recipe import Recipe, Step

ROOT = Path(__file__).resolve().parent.parent
MODEL = "fashion-resnet"
SLIDER = "Sparsity"
# Marks on the pages. Exact: the status says so and names the slider's value, and no number is old or an estimate.
STATUS, OPEN, STALE, MEASURED = ".t-status", ".t-open", ".t-stale", "Measured"
HOME_TEXT, HOME_NUMBER, STUDIO_END = ".t-lead", ".t-take", ".st-key-examples"
NAMED = " % sparse"  # after the slider's value, in the status
IDLE = "[data-testid=stApp][data-test-script-state=notRunning]"
EMPTY_NUMBER = "#number"

MOVES = 24
PACE = 1.5  # seconds between two moves of a person in a hurry
COLD_STARTS = 3
SESSIONS = 20
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
# A signal empties the rubbish before memory is read; beside that the module runs as itself.
COLLECTING = (
    "import gc, runpy, signal, sys\n"
    "signal.signal(signal.SIGUSR1, lambda *_: gc.collect())\n"
    "module, sys.argv = sys.argv[1], sys.argv[1:]\n"
    "runpy.run_module(module, run_name='__main__', alter_sys=True)\n"
)
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


@dataclass(frozen=True)
class Start:
    """Milliseconds from starting the process to each stage of the first page."""

    answers: float
    text: float
    number: float


@dataclass(frozen=True)
class Memory:
    """Resident bytes of the server: one session after work, and what each idle session added."""

    one: int
    each: int
    sessions: int


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
    environment = {**os.environ, "TEMPER_CACHE": str(cache)}
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
    context = _context(browser)
    yield context.new_page()
    context.close()


def _context(browser: Browser) -> BrowserContext:
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


def cold(browser: Browser, command: Sequence[str], cache: Path, text: str, number: str, root: Path = ROOT) -> Start:
    """Start a server and open its first page as soon as it answers."""
    started = time.monotonic()

    def since() -> float:
        return 1_000 * (time.monotonic() - started)

    with served(command, cache, root) as (address, _), visit(browser) as page:
        answers = since()
        page.goto(address, wait_until="commit")
        page.wait_for_selector(text, state="attached")
        shown = since()
        page.wait_for_selector(number, state="attached")
        return Start(answers, shown, since())


def cold_starts(
    browser: Browser, folder: Path, rounds: int = COLD_STARTS
) -> list[tuple[str, list[Start], list[Start]]]:
    """Cold starts in turn with the empty app: nothing kept on disk, then everything kept there."""
    found: list[tuple[str, list[Start], list[Start]]] = [("nothing kept", [], []), ("kept on disk", [], [])]
    for turn in range(rounds):
        for _, ours, empty in found:
            ours.append(cold(browser, OURS, folder / f"cold-{turn}", HOME_TEXT, HOME_NUMBER))
            empty.append(cold(browser, plain(folder), folder / "none", EMPTY_NUMBER, EMPTY_NUMBER))
    return found


def rows() -> list[Row]:
    """Every timed line: moves of one person, of two at once, and the cold start."""
    with tempfile.TemporaryDirectory() as place, chromium() as browser:
        folder = Path(place)
        empty = _empty_moves(browser, folder)
        with served(OURS, folder / "moves") as (address, _):
            found = [*_moves(browser, address, empty), *_two_people(browser, address)]
        return [*found, *_starts(browser, folder)]


def _empty_moves(browser: Browser, folder: Path) -> tuple[float | None, ...]:
    with served(plain(folder), folder / "none") as (address, _), visit(browser) as page:
        page.goto(address)
        page.wait_for_selector(EMPTY_NUMBER)
        watch(page, empty=True)
        return one_by_one(page, "ArrowRight").exact


def _moves(browser: Browser, address: str, empty: Sequence[float | None]) -> Iterator[Row]:
    """One person: up the slider, where every point is new, and back. What the server did ahead counts as done."""
    with visit(browser) as page:
        open_studio(page, address, recipe(0.3, 4))
        watch(page)
        new = one_by_one(page, "ArrowRight")
        back = one_by_one(page, "ArrowLeft")
    for name, of in (
        ("a new point, key to first number", new.first),
        ("a new point, key to exact number", new.exact),
        ("a visited point, key to number", back.exact),
    ):
        yield Row(f"{name}, median", median(of), median(empty), EMPTY_IS)
        yield Row(f"{name}, p95", p95(of), p95(empty), EMPTY_IS)


def _two_people(browser: Browser, address: str) -> Iterator[Row]:
    """Two people in a hurry, on points of their own, against one."""
    with visit(browser) as page:
        open_studio(page, address, recipe(0.3, 5))
        watch(page)
        alone = at_a_pace([page])
    with visit(browser) as one, visit(browser) as two:
        for page, bits in ((one, 6), (two, 7)):
            open_studio(page, address, recipe(0.3, bits))
            watch(page)
        both = at_a_pace([one, two])
    for name, of, beside in (("first", both.first, alone.first), ("exact", both.exact, alone.exact)):
        said = f"one person alone; {_came(of)} of both's came, {_came(beside)} of one's"
        what = f"two people at once, key to {name} number"
        yield Row(f"{what}, median", median(of), median(beside), said)
        yield Row(f"{what}, p95", p95(of), p95(beside), said)


def _starts(browser: Browser, folder: Path) -> Iterator[Row]:
    for name, ours, empty in cold_starts(browser, folder):
        for stage, label in (("answers", "server answers"), ("text", "page text"), ("number", "first number")):
            a, b = [getattr(s, stage) for s in ours], [getattr(s, stage) for s in empty]
            what = f"cold start, {name}: {label}"
            yield Row(f"{what}, median", statistics.median(a), statistics.median(b), EMPTY_IS)
            yield Row(f"{what}, least", min(a), min(b), EMPTY_IS)


def _came(values: Sequence[float | None]) -> str:
    return f"{sum(v is not None for v in values)}/{len(values)}"


def resident(server: subprocess.Popen[bytes]) -> int:
    """Bytes of memory the server holds, rubbish collected."""
    server.send_signal(signal.SIGUSR1)
    time.sleep(3)
    lines = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def memory(sessions: int = SESSIONS) -> Memory:
    """What the server holds with one session after work, and with idle sessions opened beside it."""
    command = [sys.executable, "-c", COLLECTING, *OURS[2:]]
    with (
        tempfile.TemporaryDirectory() as place,
        chromium() as browser,
        served(command, Path(place)) as (address, server),
        visit(browser) as page,
    ):
        open_studio(page, address, recipe(0.3, 4))
        watch(page)
        one_by_one(page, "ArrowRight", 10)
        one = resident(server)
        left = []
        for _ in range(sessions):
            left.append(_context(browser))
            open_studio(left[-1].new_page(), address, recipe(0.3, 4))
        each = (resident(server) - one) // sessions
        for context in left:
            context.close()
    return Memory(one, each, sessions)


def remarks() -> str:
    """What has no baseline: the memory of idle sessions."""
    held = memory()
    return (
        f"Memory: {held.one / 2**20:.0f} MB with one Studio session after work, then {held.each / 2**20:.1f} MB for "
        f"each of {held.sessions} idle sessions."
    )


def main() -> None:
    """Measure and print. Only on a machine that does nothing else do the numbers mean anything."""
    print(f"load average before: {os.getloadavg()[0]:.2f}")
    print(f"{'ours, ms':>10} {'baseline':>10} {'more':>10} {'ratio':>7}  what")
    for row in rows():
        more, ratio = row.ours - row.baseline, row.ours / row.baseline
        print(f"{row.ours:10.0f} {row.baseline:10.0f} {more:10.0f} {ratio:7.2f}  {row.what} ({row.baseline_is})")
    print(remarks())


if __name__ == "__main__":
    main()
