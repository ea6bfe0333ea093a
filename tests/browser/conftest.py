"""One server with nano and one Chromium for all browser tests; each test has a page of its own.

Without Playwright, Chromium or nano's weights the tests are skipped with the reason, unless MOTIONSTREAM_REQUIRE_BROWSER=1.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from studio_page import StudioPage

START_SECONDS = 180
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
KEEP_SOCKETS = """
(() => {
  const Socket = window.WebSocket;
  window.sockets = [];
  window.WebSocket = class extends Socket {
    constructor(...given) {
      super(...given);
      window.sockets.push(this);
    }
  };
})();
"""


def missing(reason: str) -> None:
    """Skip, or fail where browser tests must run."""
    if os.environ.get("MOTIONSTREAM_REQUIRE_BROWSER") == "1":
        pytest.fail(f"browser tests are required here: {reason}", pytrace=False)
    pytest.skip(f"browser tests: {reason}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed (pip install playwright)")
    path = os.environ.get("MOTIONSTREAM_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        missing(f"none of {', '.join(BROWSERS)} was found; name one in MOTIONSTREAM_CHROMIUM")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextmanager
def served(*more: str) -> Iterator[str]:
    """Where ``motionstream demo``, with these options, serves nano."""
    from motionstream.stream.find_weights import weights_folder

    try:
        weights_folder("nano")
    except ValueError as error:
        missing(str(error))
    command = [sys.executable, "-m", "motionstream", "demo", "--no-browser", "--port", "0", *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        assert server.stdout is not None
        lines: list[str] = []
        found: list[str] = []
        told = threading.Event()

        def listen() -> None:
            for line in server.stdout or ():
                lines.append(line)
                match = re.search(r"http://\S+", line)
                if match and not found:
                    found.append(match[0].rstrip("/") + "/")
                    told.set()
            told.set()

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        told.wait(START_SECONDS)
        try:
            assert found, "motionstream demo did not say its address:\n" + "".join(lines[-20:])
            yield found[0]
        finally:
            server.terminate()
            server.wait(30)
            listener.join(10)


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """A studio of small pictures, which most tests draw in."""
    with served("--size", "128x96") as found:
        yield found


@pytest.fixture(scope="module")
def run(browser: Any, address: str) -> Any:
    """``run(module, code, argument)``: the value of JavaScript that sees the module as ``m`` and the argument as ``a``."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)

    def call(module: str, code: str, argument: Any = None) -> Any:
        return page.evaluate(f"async (a) => {{ const m = await import('{address}static/{module}.js'); {code} }}", argument)

    yield call
    context.close()


@pytest.fixture(scope="module")
def address_as_shipped() -> Iterator[str]:
    """A studio of the size that people meet."""
    with served() as found:
        yield found


@contextmanager
def visiting(browser: Any, address: str) -> Iterator[Callable[..., StudioPage]]:
    """Opens the studio; ``visit(width, height, touch=True)``. Afterwards: nothing was asked of anybody else, no error."""
    with ExitStack() as stack:
        pages: list[StudioPage] = []

        def open_page(width: int = 1100, height: int = 720, *, touch: bool = False) -> StudioPage:
            context = browser.new_context(
                viewport={"width": width, "height": height}, has_touch=touch, accept_downloads=True
            )
            stack.callback(context.close)
            context.add_init_script(KEEP_SOCKETS)
            studio = StudioPage(context.new_page(), address)
            pages.append(studio)
            studio.open()
            return studio

        yield open_page
        for studio in pages:
            studio.leave()
        if pages:
            pages[0].wait_until_idle()
        for studio in pages:
            assert not studio.strangers, f"the page asked others: {studio.strangers}"
            assert not studio.complaints, f"the browser's console: {studio.complaints}"


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Callable[..., StudioPage]]:
    """See `visiting`."""
    with visiting(browser, address) as open_page:
        yield open_page


@pytest.fixture
def studio(visit: Callable[..., StudioPage]) -> StudioPage:
    """The studio in a window of ordinary size."""
    return visit()


@pytest.fixture
def studio_as_shipped(browser: Any, address_as_shipped: str) -> Iterator[StudioPage]:
    with visiting(browser, address_as_shipped) as open_page:
        yield open_page()
