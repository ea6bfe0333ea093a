"""Drag, pin, path, camera: what is drawn moves the pixels of the frames that come back (nano, in a real browser)."""

from __future__ import annotations

import numpy as np
import pytest
from studio_page import StudioPage, redness

pytestmark = [pytest.mark.browser, pytest.mark.weights]

BALLOON = (84.0, 38.0)
SETTLED = 30
"""Frames after which a hand's last move is on screen for certain: two chunks and a bit."""


def balloon_after(studio: StudioPage, frame: int) -> tuple[float, float]:
    return redness(studio.pixels(frame))[:2]


def test_dragged_pixels_follow_the_hand_and_do_not_move_without(studio: StudioPage) -> None:
    shifts = {}
    for name, dx in (("none", 0.0), ("left", -16.0), ("right", 16.0)):
        studio.play("balloon", 10)
        begun = balloon_after(studio, 5)
        if dx:
            x, y = BALLOON
            studio.stroke([(x, y), (x + dx / 2, y), (x + dx, y)])
        last = studio.more(SETTLED + 12)
        shifts[name] = balloon_after(studio, last)[0] - begun[0]
        studio.page.click("#home")
    assert abs(shifts["none"]) < 3, shifts
    assert shifts["left"] < shifts["none"] - 6, shifts
    assert shifts["right"] > shifts["none"] + 6, shifts


def test_a_drag_holds_after_release_and_turns_and_is_let_go(studio: StudioPage) -> None:
    studio.play("balloon", 5)
    x, y = BALLOON
    studio.stroke([(x, y), (x - 10, y)])
    (drag,) = studio.gestures("drag")
    assert drag["wire"] == "live"
    assert drag["pose"][0] == pytest.approx(-10, abs=0.5)
    studio.keys("e", "e", "+")
    (drag,) = studio.gestures("drag")
    assert drag["pose"][2] == pytest.approx(0.2)
    assert drag["pose"][3] == pytest.approx(1.06)
    # Elsewhere: another drag, and the first is let go; unless it is to be kept.
    studio.stroke([(30, 70), (34, 70)])
    assert [g["number"] for g in studio.gestures("drag")] == [2]
    studio.keys("k")
    studio.stroke([(100, 80), (104, 80)])
    assert [g["number"] for g in studio.gestures("drag")] == [2, 3]
    studio.keys("Escape")
    assert [g["number"] for g in studio.gestures("drag")] == [2]
    studio.until("m.latencies.length > 3")
    assert studio.get("Math.min(...m.latencies)") > 0


def test_undo_takes_a_drag_back_and_redo_repeats_it(studio: StudioPage) -> None:
    studio.play("balloon", 5)
    begun = balloon_after(studio, 5)[0]
    x, y = BALLOON
    studio.stroke([(x, y), (x - 14, y)])
    studio.more(SETTLED)
    moved = balloon_after(studio, studio.get("m.lastFrame"))[0]
    studio.keys("Control+z")
    assert studio.gestures("drag") == []
    studio.more(SETTLED)
    back = balloon_after(studio, studio.get("m.lastFrame"))[0]
    assert moved < begun - 5
    assert back > moved + 3
    studio.keys("Control+Shift+Z")
    (drag,) = studio.gestures("drag")
    assert drag["pose"][0] == pytest.approx(-14, abs=0.5)


def test_pin_and_path_drawn_ahead_while_paused_begin_together(studio: StudioPage) -> None:
    studio.play("balloon", 5)
    studio.keys("Space")
    studio.until("m.phase === 'paused'")
    studio.keys("p")
    studio.stroke([(20, 75), (40, 75)])
    studio.keys("l")
    x, y = BALLOON
    studio.page.fill("#seconds", "1")
    studio.stroke([(x, y), (x - 10, y), (x - 20, y + 2)])
    assert [g["wire"] for g in studio.get("m.gestures")] == ["draft", "draft"]
    assert studio.get("m.gestures")[1]["seconds"] == 1
    assert "2 drawn ahead" in studio.text("#chip")
    begun = balloon_after(studio, studio.get("m.frame"))
    before = studio.pixels(studio.get("m.frame"))
    studio.keys("Space")
    studio.until("m.log.every((g) => g.from !== null)")
    starts = {g["from"] for g in studio.get("m.log")}
    assert len(starts) == 1, "they were drawn ahead to begin together"
    studio.until("m.gestures.every((g) => g.kind === 'pin')")  # the path came to its end
    last = studio.more(12)
    after = studio.pixels(last)
    assert redness(after)[0] < begun[0] - 6
    corner = np.abs(after[70:80, 22:38].astype(float) - before[70:80, 22:38]).mean()
    assert corner < 20, "what is pinned holds still"


def test_what_is_drawn_before_the_start_begins_with_the_take(studio: StudioPage) -> None:
    studio.page.hover("[data-picture=balloon]")
    studio.page.click("li:has([data-picture=balloon]) .picture-adjust")
    studio.page.click("#draw-first")
    studio.until("m.phase === 'draft'")
    x, y = BALLOON
    studio.stroke([(x, y), (x - 12, y)])
    assert studio.gestures("drag")[0]["wire"] == "draft"
    studio.keys("Enter")
    studio.until("m.frame >= 20")
    (drag,) = studio.gestures("drag")
    assert drag["wire"] == "live"
    assert drag["seen"] == 0
    assert balloon_after(studio, 20)[0] < balloon_after(studio, 0)[0] - 4


def test_paths_are_collected_and_played_together(studio: StudioPage) -> None:
    studio.play("balloon", 5)
    studio.keys("l")
    studio.page.check("#collect")
    studio.stroke([BALLOON, (84, 20)])
    studio.stroke([(30, 80), (40, 80)])
    studio.more(6)
    assert [g["wire"] for g in studio.get("m.gestures")] == ["draft", "draft"]
    studio.page.click("#play-paths")
    studio.until("m.log.length === 2 && m.log.every((g) => g.from !== null)")
    assert len({g["from"] for g in studio.get("m.log")}) == 1


def test_select_moves_and_deletes_what_was_drawn(studio: StudioPage) -> None:
    studio.play("balloon", 5)
    studio.keys("p")
    studio.stroke([(40, 70), (41, 70)])
    (pin,) = studio.gestures("pin")
    studio.keys("v")
    studio.stroke([(40, 70), (60, 60)])
    (moved,) = studio.gestures("pin")
    assert moved["id"] > pin["id"], "the engine got another one in its place"
    assert moved["points"][0][0] == pytest.approx(pin["points"][0][0] + 20, abs=0.6)
    studio.keys("Control+z")
    assert studio.gestures("pin")[0]["points"][0][0] == pytest.approx(pin["points"][0][0], abs=0.6)
    studio.keys("Delete")
    assert studio.gestures("pin") == []


def test_camera_keys_pan_the_whole_picture(studio: StudioPage) -> None:
    studio.play("balloon", 10)
    begun = redness(studio.pixels(5))[0]
    studio.keys("c")
    studio.page.keyboard.down("ArrowLeft")
    studio.more(24)
    studio.page.keyboard.up("ArrowLeft")
    last = studio.more(18)
    assert redness(studio.pixels(last))[0] < begun - 4


def test_a_camera_key_lets_go_whatever_the_tool_is_by_then(studio: StudioPage) -> None:
    studio.play("balloon", 5)
    studio.keys("c")
    studio.page.keyboard.down("ArrowRight")
    studio.until("m.camera.pan[0] > 0")
    studio.keys("d")
    studio.page.keyboard.up("ArrowRight")
    assert studio.get("m.camera.pan[0]") == 0
    studio.keys("c")
    studio.page.keyboard.down("q")
    studio.until("m.camera.roll < 0")
    studio.page.evaluate("dispatchEvent(new Event('blur'))")
    assert studio.get("m.camera.roll") == 0
    studio.page.keyboard.up("q")
    for key in ("Shift", "Equal"):
        studio.page.keyboard.down(key)
    studio.until("m.camera.zoom > 0")
    for key in ("Shift", "Equal"):  # that now says =, no longer +
        studio.page.keyboard.up(key)
    assert studio.get("m.camera.zoom") == 0


def test_a_key_that_is_held_does_once_what_it_does(studio: StudioPage) -> None:
    studio.play("balloon", 5)
    studio.keys("p")
    for key in ("g", "k", "x", "t"):
        for _ in range(4):  # Playwright repeats a key that is down
            studio.page.keyboard.down(key)
        studio.page.keyboard.up(key)
    assert len(studio.gestures("pin")) == 1
    assert studio.page.is_checked("#keep")
    assert studio.get("['crisp', 'marks'].map((id) => document.getElementById(id).ariaPressed)") == ["true", "false"]
    radius = float(studio.page.input_value("#radius"))
    for _ in range(3):
        studio.page.keyboard.down("]")
    studio.page.keyboard.up("]")
    assert float(studio.page.input_value("#radius")) == radius + 3, "a brush grows as long as the key is held"


def test_watching_again_pauses_the_stream(studio: StudioPage) -> None:
    studio.play("balloon", 20)
    studio.keys("Shift+Space")
    studio.until("m.phase === 'paused' && m.past")
