"""Takes the pictures of docs/studio.md from a studio that runs: python tests/browser/screenshots.py http://127.0.0.1:7860/"""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright
from studio_page import StudioPage

IMAGES = Path(__file__).parents[2] / "docs" / "images"
DESK, PHONE = (1280, 800), (360, 740)


def keep(studio: StudioPage, name: str) -> None:
    with Image.open(io.BytesIO(studio.page.screenshot())) as image:
        image.convert("RGB").save(IMAGES / f"studio_{name}.webp", quality=88, method=6)
    print(name, (IMAGES / f"studio_{name}.webp").stat().st_size, "bytes")


def on(studio: StudioPage, *places: tuple[float, float]) -> list[tuple[float, float]]:
    """Places on a canvas 128 wide, on the one that is shown."""
    unit = studio.get("m.take.width") / 128
    return [(unit * x, unit * y) for x, y in places]


def pull(studio: StudioPage) -> None:
    """The balloon on its way to the hand."""
    studio.play("balloon", 10)
    studio.stroke(on(studio, (84, 37), (75, 40), (66, 44)), let_go=False)
    studio.until("m.log[0].from !== null && m.frame >= m.log[0].from + 4 && m.latencies.length")


def drag(studio: StudioPage) -> None:
    pull(studio)
    keep(studio, "drag")


def start(studio: StudioPage) -> None:
    studio.page.wait_for_timeout(800)
    keep(studio, "start")


def crop(studio: StudioPage) -> None:
    photo = resources.files("motionstream") / "assets" / "gallery" / "pagoda.jpg"
    with Image.open(str(photo)) as image:
        file = io.BytesIO()
        image.crop((60, 0, 440, 480)).save(file, "JPEG", quality=95)
    studio.page.set_input_files("#own-file", {"name": "pagoda.jpg", "mimeType": "image/jpeg", "buffer": file.getvalue()})
    studio.page.wait_for_selector("#setup[open]")
    studio.page.wait_for_timeout(500)
    studio.page.focus("#crop-box")
    studio.keys(*["-"] * 4)
    studio.page.fill("#setup-prompt", "a pagoda above a lake, the water moves")
    keep(studio, "crop")


def ahead(studio: StudioPage) -> None:
    studio.play("sailboat", 20)
    studio.keys("Space")
    studio.until("m.phase === 'paused'")
    studio.keys("p")
    studio.stroke(on(studio, (22, 45), (22, 30), (30, 22), (36, 40)))
    studio.keys("l")
    studio.stroke(on(studio, (77, 50), (84, 44), (94, 46), (104, 56), (112, 58)))
    studio.keys("d")
    studio.stroke(on(studio, (46, 78), (56, 80)))
    studio.page.mouse.move(*studio.place(*on(studio, (110, 20))[0]))
    studio.page.wait_for_timeout(400)
    keep(studio, "ahead")


def branch(studio: StudioPage) -> None:
    studio.play("ball", 10)
    studio.stroke(on(studio, (80, 64), (86, 63), (91, 62)))
    studio.until("m.frame > 90")
    studio.keys("Space")
    studio.until("m.phase === 'paused'")
    box = studio.page.locator("#timeline").bounding_box()
    studio.page.mouse.click(box["x"] + 0.28 * box["width"], box["y"] + 30)
    studio.until("m.past")
    studio.stroke(on(studio, (91, 62), (78, 58), (66, 54)))
    studio.page.mouse.move(*studio.place(*on(studio, (128, 99))[0]))
    studio.page.wait_for_timeout(400)
    keep(studio, "branch")


def camera(studio: StudioPage) -> None:
    """Into the meadow: a dolly over an assumed ground."""
    studio.play("car", 10)
    studio.keys("c")
    studio.page.select_option("#depth", "ground")
    studio.until("!document.getElementById('depth-words').textContent.startsWith('A flat')")
    studio.until("!document.getElementById('depth-words').textContent.startsWith('One moment')")
    studio.page.check("#latch")
    studio.page.fill("#dolly", "0.5")
    studio.page.fill("#orbit", "-0.2")
    studio.page.focus("#overlay")
    studio.more(30)
    keep(studio, "camera")


def motion(studio: StudioPage) -> None:
    """What moves in a clip of a rabbit pulls at the cat."""
    clip = resources.files("motionstream") / "assets" / "clips" / "rabbit.webm"
    studio.play("cat", 5)
    studio.keys("m")
    file = {"name": "rabbit.webm", "mimeType": "video/webm", "buffer": clip.read_bytes()}
    studio.page.set_input_files("#motion-file", file)
    studio.until("m.motion.points.filter(([, , moved]) => moved).length > 5")
    studio.page.fill("#motion-size", "0.9")
    studio.until("m.motion.points.filter(([, , moved]) => moved).length > 5")
    studio.page.focus("#overlay")
    studio.more(12)
    keep(studio, "motion")


def phone_dark(studio: StudioPage) -> None:
    pull(studio)
    keep(studio, "phone_dark")


def phone_light(studio: StudioPage) -> None:
    pull(studio)
    studio.page.mouse.up()
    studio.page.click("[data-tool=camera].tool")
    studio.page.wait_for_timeout(300)
    keep(studio, "phone_light")


SHOTS: list[tuple[Callable[[StudioPage], None], tuple[int, int], str]] = [
    (start, DESK, "dark"),
    (drag, DESK, "dark"),
    (crop, DESK, "light"),
    (ahead, DESK, "light"),
    (branch, DESK, "dark"),
    (camera, DESK, "light"),
    (motion, DESK, "dark"),
    (phone_dark, PHONE, "dark"),
    (phone_light, PHONE, "light"),
]


def main(address: str, *names: str) -> None:
    """Take all pictures, or those named."""
    with sync_playwright() as playwright:
        chromium: Any = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for shot, (width, height), scheme in SHOTS:
            if names and shot.__name__ not in names:
                continue
            size = {"width": width, "height": height}
            context = chromium.new_context(viewport=size, color_scheme=scheme, has_touch=width == PHONE[0])
            studio = StudioPage(context.new_page(), address.rstrip("/") + "/")
            studio.open()
            shot(studio)
            studio.leave()
            studio.wait_until_idle()
            context.close()
        chromium.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
