"""From one take to the next: a start that is given up, a reload after the end, and what was drawn before it all."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from studio_page import StudioPage

pytestmark = [pytest.mark.browser, pytest.mark.weights]

HOLD = """() => {
    const socket = sockets.at(-1), hear = socket.onmessage, held = [];
    const told = (event) => {
        if (typeof event.data === "string") heard.push(JSON.parse(event.data));
        hear(event);
    };
    window.heard = [];
    socket.onmessage = (event) => held.push(event);
    window.letThrough = () => {
        socket.onmessage = told;
        for (const event of held) told(event);
    };
}"""
"""What the server says is on its way until ``letThrough()``."""


def start_and_choose_another(studio: StudioPage, path: Path) -> None:
    """A start of the picture before, its answer on the way, and the set-up of another picture."""
    studio.page.evaluate(HOLD)
    studio.keys("Enter")
    studio.until("m.phase === 'starting'")
    studio.page.set_input_files("#own-file", str(path))
    studio.page.wait_for_selector("#setup[open]")


@pytest.mark.parametrize("how", ["#draw-first", "#setup-start"])
def test_a_start_that_another_picture_has_overtaken_is_given_up(studio: StudioPage, tmp_path: Path, how: str) -> None:
    Image.new("RGB", (200, 150), (250, 0, 0)).save(tmp_path / "red.png")
    studio.play("ball", 3)
    before = studio.get("m.take.take")
    studio.keys("Enter")
    studio.until("m.phase === 'ended'")
    start_and_choose_another(studio, tmp_path / "red.png")
    studio.page.click(how)
    studio.until("m.phase === 'draft' || m.phase === 'waiting'")
    studio.page.wait_for_timeout(1000)  # the first pictures of the other one come
    studio.page.evaluate("letThrough()")
    if how == "#draw-first":
        studio.until("heard.some(({ state }) => state === 'ended')")
        assert studio.get("[m.phase, m.take, m.lastFrame]") == ["draft", None, -1]
        studio.keys("Enter")
    studio.until("m.phase === 'playing' && m.frame >= 3")
    assert studio.get("m.take.take") != before
    first = studio.pixels(0).astype(float)
    assert first[..., 0].mean() > 180 > 80 > first[..., 1].mean(), "the picture that was chosen last"
    assert studio.page.title().startswith("red")


def test_a_take_that_has_ended_is_still_there_after_a_reload(studio: StudioPage) -> None:
    studio.play("balloon", 14)
    studio.keys("Enter")
    studio.until("m.phase === 'ended'")
    studio.page.reload()
    studio.page.wait_for_selector("#last")
    assert "balloon" in studio.text("#last-words")


def test_collected_paths_wait_over_a_start_and_a_reload(studio: StudioPage) -> None:
    page = studio.page
    page.locator(".picture-adjust").first.evaluate("(button) => button.click()")
    page.click("#draw-first")
    studio.until("m.phase === 'draft'")
    studio.keys("l")
    page.check("#collect")
    for y in (30, 70):
        studio.stroke([(40, y), (60, y)])
    both = [["draft", "draft"], True]
    wires = "[m.gestures.map(({ wire }) => wire), document.getElementById('collect').checked]"
    studio.keys("Enter")
    studio.until("m.frame >= 20")
    assert studio.get(wires) == both
    page.reload()
    studio.until("m.take?.resumed && m.phase === 'playing'")
    studio.more(12)
    assert studio.get(wires) == both
    studio.keys("Space")
    studio.until("m.phase === 'paused'")
    studio.settled("m.lastFrame")
    page.reload()
    studio.until("m.take?.resumed && m.phase === 'paused'")
    made = studio.settled("m.lastFrame", 1200)
    assert studio.settled("m.lastFrame", 1200) == made
    assert studio.get("m.phase") == "paused"
    assert studio.text("#toasts") == "", "nothing goes on"
    assert studio.get(wires) == both
    studio.keys("Space")
    studio.until("m.phase === 'playing'")
