"""The camera in depth, and motion borrowed from a clip and from a (fake) webcam that plays a real clip."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from studio_page import StudioPage

pytestmark = [pytest.mark.browser, pytest.mark.weights]

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CLIP = resources.files("motionstream") / "assets" / "clips" / "white_car.webm"
PATIENCE_SECONDS = 180.0


def webcam_file(path: Path) -> Path:
    """The bundled clip as the Motion JPEG that Chromium's fake capture device plays."""
    with av.open(str(CLIP)) as source, path.open("wb") as made:
        for frame in source.decode(video=0):
            frame.to_image().resize((320, 240)).save(made, "JPEG", quality=85, subsampling=2)
    return path


@pytest.fixture
def webcam(browser: Any, address: str, tmp_path: Path) -> Iterator[StudioPage]:
    """The studio in a Chromium of its own, whose webcam plays a clip."""
    path = os.environ.get("MOTIONSTREAM_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    film = webcam_file(tmp_path / "film.mjpeg")
    fake = [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
    ]
    with ExitStack() as stack:
        chromium = browser.browser_type.launch(executable_path=path, args=["--no-sandbox", *fake])
        stack.callback(chromium.close)
        studio = StudioPage(chromium.new_context(viewport={"width": 1100, "height": 720}).new_page(), address)
        studio.open()
        yield studio
        studio.leave()
        studio.wait_until_idle()
        assert not studio.complaints, studio.complaints


def change(studio: StudioPage, first: int, last: int) -> float:
    """How much the picture differs between two frames, grey levels."""
    return float(np.abs(studio.pixels(last).astype(float) - studio.pixels(first).astype(float)).mean())


def test_the_webcams_motion_moves_the_picture_and_without_it_it_rests(webcam: StudioPage) -> None:
    studio = webcam
    moved = {}
    for name in ("control", "webcam"):
        studio.play("dahlia", 10)
        if name == "webcam":
            studio.keys("m")
            studio.page.click("#motion-webcam")
            studio.until("m.motion.points.some(([, , moved]) => moved)", PATIENCE_SECONDS)
            assert studio.get("m.motion.source") == "webcam"
        begun = studio.get("m.frame")
        moved[name] = change(studio, begun, studio.more(60))
        if name == "webcam":
            studio.page.click("#motion-stop")
            assert studio.get("m.motion.source") is None
        studio.page.click("#home")
        studio.wait_until_idle()
    assert moved["webcam"] > 1.5 * moved["control"] + 1, moved


def test_a_clip_is_followed_and_placed_and_the_take_holds_its_points(studio: StudioPage) -> None:
    studio.play("dahlia", 5)
    studio.keys("m")
    studio.page.set_input_files("#motion-file", {"name": "car.webm", "mimeType": "video/webm", "buffer": CLIP.read_bytes()})
    studio.until("m.motion.points.some(([, , moved]) => moved)", PATIENCE_SECONDS)
    studio.page.fill("#motion-size", "0.5")
    studio.until("m.motion.region[2] - m.motion.region[0] === 64")
    # Placed by pulling on the picture, and put back into its middle.
    studio.stroke([(64, 48), (90, 60)])
    studio.until("Math.abs(m.motion.region[0] - 58) < 2.6 && Math.abs(m.motion.region[1] - 36) < 2.6")
    studio.stroke([(90, 60), (64, 48)])
    studio.until("Math.abs(m.motion.region[0] - 32) < 2.6")
    studio.until("m.motion.points.length && m.motion.points.every(([x, y]) => x >= 30 && x <= 98)", PATIENCE_SECONDS)
    studio.more(30)
    take = studio.get("await (await fetch(`api/takes/${m.take.take}.json`)).json()")
    kinds = {swarm["kind"] for row in take["inputs"] for swarm in row.get("swarms", [])}
    assert kinds == {"motion"}
    assert "swarms" in max(take["inputs"], key=lambda row: row["chunk"])


def test_depth_makes_the_camera_dolly_and_bad_depth_is_explained(studio: StudioPage) -> None:
    studio.play("dahlia", 5)
    studio.keys("c")
    studio.page.set_input_files("#depth-file", {"name": "d.png", "mimeType": "image/png", "buffer": b"no picture"})
    studio.page.wait_for_selector(".toast.bad")
    assert "not a PNG" in studio.text(".toast.bad")
    assert studio.page.input_value("#depth") == "plane"
    ramp = np.tile(np.linspace(900, 4000, 48)[:, None], (1, 64)).astype(np.uint16)
    file = io.BytesIO()
    Image.fromarray(ramp).save(file, "PNG")
    studio.page.set_input_files("#depth-file", {"name": "d.png", "mimeType": "image/png", "buffer": file.getvalue()})
    studio.until("document.getElementById('depth-words').textContent.includes('64x48')", PATIENCE_SECONDS)
    begun = studio.get("m.frame")
    studio.page.check("#latch")
    studio.page.fill("#dolly", "0.8")
    assert studio.get("m.camera.dolly") > 0
    last = studio.more(60)
    assert change(studio, begun, last) > 5
    take = studio.get("await (await fetch(`api/takes/${m.take.take}.json`)).json()")
    assert {swarm["kind"] for row in take["inputs"] for swarm in row.get("swarms", [])} == {"camera"}
    depth = studio.page.input_value("#depth")
    studio.page.reload()
    studio.until("m.take?.resumed && document.getElementById('depth-words').textContent.includes('64x48')")
    assert studio.page.input_value("#depth") == depth, "the page says what the server uses"
