"""`python -m benchmarks.browser`: what a person waits for, and what a session holds, in headless Chromium.

The baseline is the least that Streamlit can do: one slider and one number.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser

from benchmarks.driven import (
    EMPTY_IS,
    EMPTY_NUMBER,
    OURS,
    ROOT,
    at_a_pace,
    chromium,
    context_of,
    median,
    one_by_one,
    open_studio,
    p95,
    plain,
    recipe,
    served,
    visit,
    watch,
)
from benchmarks.rows import Row

HOME_TEXT, HOME_NUMBER = ".t-lead", ".t-take"
COLD_STARTS = 3
SESSIONS = 20
# A signal empties the rubbish before memory is read; beside that the module runs as itself.
COLLECTING = (
    "import gc, runpy, signal, sys\n"
    "signal.signal(signal.SIGUSR1, lambda *_: gc.collect())\n"
    "module, sys.argv = sys.argv[1], sys.argv[1:]\n"
    "runpy.run_module(module, run_name='__main__', alter_sys=True)\n"
)


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
            left.append(context_of(browser))
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
