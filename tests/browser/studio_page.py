"""Drives the studio's page: picks pictures, draws on the canvas, reads received frames."""

from __future__ import annotations

import base64
import io
import json
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PATIENCE_SECONDS = 60.0
EXPECTED = ("status of 4", "WebSocket connection")
"""Parts of console errors that a refused upload or a cut socket leaves by itself."""


class StudioPage:
    """A page of Playwright's with the studio in it."""

    def __init__(self, page: Any, address: str) -> None:
        self.page, self.address = page, address
        self.strangers: list[str] = []
        self.complaints: list[str] = []
        self.unexpected = 0
        page.on("request", self._watch)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _watch(self, request: Any) -> None:
        if not request.url.startswith((self.address, "blob:", "data:")):
            self.strangers.append(request.url)

    def _hear(self, message: Any) -> None:
        if message.type == "error" and not any(part in message.text for part in EXPECTED):
            self.complaints.append(message.text)

    # ---- the page ----------------------------------------------------------------------------------------------------

    def open(self) -> None:
        self.page.goto(self.address)
        self.page.wait_for_selector(".picture-start")

    def leave(self) -> None:
        """Give the place in line free."""
        self.page.evaluate("document.getElementById('home').click()")
        self.page.close()

    def wait_until_idle(self) -> None:
        """The engine is free for the next test."""
        end = time.monotonic() + PATIENCE_SECONDS
        while self.health()["busy"] and time.monotonic() < end:
            time.sleep(0.05)

    def health(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.address + "health", timeout=30) as answer:
            return json.load(answer)

    def get(self, expression: str) -> Any:
        """Value of a JavaScript expression; ``m`` is the page's read-only view of itself."""
        return self.page.evaluate(f"(async () => {{ const m = window.motionstream; return {expression}; }})()")

    def until(self, expression: str, seconds: float = PATIENCE_SECONDS) -> Any:
        """Wait for an expression to become true; polled from outside, because the page's CSP forbids eval."""
        end = time.monotonic() + seconds
        while True:
            value = self.get(expression)
            if value:
                return value
            if time.monotonic() > end:
                state = self.get(
                    "[m.phase, m.connection, m.frame, m.lastFrame, document.getElementById('toasts').innerText]"
                )
                raise AssertionError(f"{expression} did not come true in {seconds} s; the page is at {state}")
            self.page.wait_for_timeout(40)

    def play(self, picture: str, frame: int = 3) -> None:
        """One click on a picture of the gallery, then wait until ``frame`` is on screen."""
        self.page.click(f"[data-picture={picture}]")
        self.until(f"m.frame >= {frame}")

    def settled(self, expression: str, rest_ms: int = 900, seconds: float = PATIENCE_SECONDS) -> Any:
        """Wait until an expression keeps its value for ``rest_ms``, and return it."""
        end, value = time.monotonic() + seconds, self.get(expression)
        while time.monotonic() < end:
            self.page.wait_for_timeout(rest_ms)
            before, value = value, self.get(expression)
            if before == value:
                return value
        raise AssertionError(f"{expression} still changes after {seconds} s: {value}")

    def download(self, selector: str, path: Path, seconds: float = 60) -> None:
        """Click, wait for the file that this offers, and keep it at ``path``."""
        from playwright.sync_api import TimeoutError as PlaywrightTimeout

        # A toast is gone before the wait is over.
        self.page.evaluate("""() => {
            window.toastsSeen = [];
            const toasts = document.getElementById("toasts");
            new MutationObserver(() => window.toastsSeen.push(toasts.innerText)).observe(toasts, { childList: true });
        }""")
        try:
            with self.page.expect_download(timeout=1000 * seconds) as download:
                self.page.click(selector)
        except PlaywrightTimeout:
            busy, toasts = self.get(f"[document.querySelector('{selector}').ariaBusy, window.toastsSeen]")
            raise AssertionError(f"{selector} gave no file in {seconds} s; busy: {busy}, toasts: {toasts!r}") from None
        download.value.save_as(path)

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def keys(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    # ---- the canvas --------------------------------------------------------------------------------------------------

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Window coordinates of canvas pixels."""
        box = self.page.locator("#overlay").bounding_box()
        width, height = self.get("[m.take?.width ?? 128, m.take?.height ?? 96]")
        return box["x"] + x / width * box["width"], box["y"] + y / height * box["height"]

    def stroke(self, points: Sequence[tuple[float, float]], *, let_go: bool = True, steps: int = 6) -> None:
        """Press at the first point, move through the others, let go."""
        mouse = self.page.mouse
        mouse.move(*self.place(*points[0]))
        mouse.down()
        for point in points[1:]:
            mouse.move(*self.place(*point), steps=steps)
        if let_go:
            mouse.up()

    def more(self, frames: int) -> int:
        """Wait for that many more frames on screen; the number of the one on screen then."""
        target = self.get("m.frame") + frames
        self.until(f"m.frame >= {target}")
        return target

    # ---- what was received -------------------------------------------------------------------------------------------

    def pixels(self, frame: int) -> np.ndarray:
        """A received frame ``(H, W, 3)`` uint8."""
        jpeg = base64.b64decode(self.get(f"await m.jpeg({frame})"))
        with Image.open(io.BytesIO(jpeg)) as image:
            return np.asarray(image.convert("RGB"))

    def gestures(self, kind: str) -> list[dict[str, Any]]:
        return [gesture for gesture in self.get("m.gestures") if gesture["kind"] == kind]


def redness(frame: np.ndarray) -> tuple[float, float, float]:
    """Centre (x, y) of what is red in a picture, and how much that is."""
    values = frame.astype(float)
    weight = np.clip(values[..., 0] - values[..., 1:].max(-1) - 50, 0, None)
    total = float(weight.sum())
    ys, xs = np.mgrid[: frame.shape[0], : frame.shape[1]] + 0.5
    return float((weight * xs).sum() / total), float((weight * ys).sum() / total), total
