"""A real browser on the app as the README starts it: what the browser tests share."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from conftest import ROOT
from playwright.sync_api import Page, expect, sync_playwright

from core.recipe import from_link

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
PATIENCE = 40_000  # ms: a shared two-core machine evaluates 10,000 pictures meanwhile


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(port: int, log: Path | None = None, **environment: str) -> Iterator[str]:
    """The app on a port of this machine; what it says goes to the file `log`, or nowhere."""
    command = [sys.executable, "-m", "ui.start", "--port", str(port), "--headless"]
    with (log or Path(os.devnull)).open("w") as said:
        server = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, stdout=said, stderr=subprocess.STDOUT
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=1)
                break
            except (urllib.error.URLError, OSError):
                assert server.poll() is None, "the server stopped"
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(free_port()) as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert found, "install Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=FLAGS)
        go_first()
        yield opened
        opened.close()


def go_first() -> None:
    """Let the browser go before what computes, where this may be asked for: beside busy cores a page took a minute.

    A browser is hundreds of short turns between processes, and Linux makes each wait for a turn of the others.
    """
    for process in psutil.Process().children(recursive=True):
        if "chrom" in process.name() and os.getsid(process.pid) != os.getsid(0):
            with contextlib.suppress(OSError):  # only root may, or the system shares its cores otherwise
                Path(f"/proc/{process.pid}/autogroup").write_text("-10", "ascii")


@pytest.fixture
def page(browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield opened
    context.close()


def open_studio(page: Page, address: str, query: str = "model=fashion-small") -> None:
    page.goto(f"{address}/Studio?{query}")
    settled(page)


def settled(page: Page) -> None:
    """Wait until the page has drawn its last part and nothing runs."""
    page.wait_for_selector(".st-key-examples, .st-key-worst")
    expect(page.locator(".t-stale, .t-open")).to_have_count(0)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def status(page: Page) -> str:
    return page.locator(".t-status").inner_text()


def cards(page: Page) -> str:
    return page.locator(".t-cards").first.inner_text()


def address_recipe(page: Page):
    return from_link(re.search(r"recipe=([\w-]+)", page.url).group(1))


def press(page: Page, label: str, key: str, until: str) -> None:
    """Press a key on a slider and wait for the status to name the new point."""
    slider = page.get_by_role("slider", name=label)
    slider.focus()
    page.keyboard.press(key)
    expect(page.locator(".t-status")).to_contain_text(until)
    settled(page)
