"""The knobs with the mouse, and every tool with a pen and with a finger."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from studio_page import StudioPage, redness

pytestmark = [pytest.mark.browser, pytest.mark.weights]
Visit = Callable[..., StudioPage]
Points = Sequence[tuple[float, float]]

BALLOON = (84.0, 38.0)
KNOB_CSS = 16.0
"""The knobs lie on a circle that is so many CSS pixels larger than the brush."""
HEAR = """() => {
    window.heard = [];
    for (const kind of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) {
        document.getElementById("overlay").addEventListener(kind, (event) => heard.push(event.pointerType), true);
    }
}"""


def circle(studio: StudioPage, drag: dict[str, Any]) -> tuple[np.ndarray, float]:
    """Centre and radius, in canvas pixels, of the circle on which a drag's knobs lie."""
    points = np.array(drag["points"])
    dx, dy, _, scale = drag["pose"]
    centre = points.mean(0)
    reach = float(np.linalg.norm(points - centre, axis=1).max())
    css = studio.page.locator("#overlay").bounding_box()["width"] / studio.get("m.take.width")
    return centre + [dx, dy], reach * scale + KNOB_CSS / css


def around(centre: np.ndarray, radius: float, degrees: float) -> tuple[float, float]:
    """A place on a circle; 0 degrees is to the right, 90 below."""
    angle = math.radians(degrees)
    return float(centre[0] + radius * math.cos(angle)), float(centre[1] + radius * math.sin(angle))


def poses_in_take(studio: StudioPage) -> list[list[float]]:
    """The poses of drags that the engine was told, from the take that the server records."""
    take = studio.get("await (await fetch(`api/takes/${m.take.take}.json`)).json()")
    return [pose for row in take["inputs"] for motion in row.get("motions", []) for pose in motion["poses"]]


def test_the_knobs_turn_and_scale_with_the_mouse(studio: StudioPage) -> None:
    studio.play("balloon", 5)
    red = redness(studio.pixels(5))[2]
    studio.stroke([BALLOON, (78, 42)])
    (drag,) = studio.gestures("drag")
    centre, radius = circle(studio, drag)
    studio.stroke([around(centre, radius, 45), around(centre, 1.2 * radius, 45), around(centre, 1.5 * radius, 45)])
    (drag,) = studio.gestures("drag")
    assert drag["pose"] == pytest.approx([-6, 4, 0, 1.5], abs=0.05)
    # Before it is turned: of a thing that turns and grows nano loses the more, the slower the machine and so the hand is.
    studio.until(f"m.frame >= {studio.get('m.lastFrame') + 30}")
    assert redness(studio.pixels(studio.get("m.lastFrame")))[2] > 1.15 * red, "the balloon has grown"
    centre, radius = circle(studio, drag)
    studio.page.mouse.move(*studio.place(*around(centre, radius, -90)))
    assert studio.page.get_attribute("#overlay", "data-over") == "knob"
    studio.stroke([around(centre, radius, angle) for angle in (-90, -60, -30, 0)])
    (drag,) = studio.gestures("drag")
    assert drag["pose"] == pytest.approx([-6, 4, math.pi / 2, 1.5], abs=0.05), "a quarter turn, to the right"
    # The knobs have turned with it: the lower one, at 45 degrees, lies at 135 now.
    studio.stroke([around(centre, radius, 135), around(centre, 1.1 * radius, 135), around(centre, 1.2 * radius, 135)])
    (drag,) = studio.gestures("drag")
    assert drag["pose"] == pytest.approx([-6, 4, math.pi / 2, 1.8], abs=0.05)
    studio.more(12)
    assert any(pose == pytest.approx(drag["pose"], abs=1e-3) for pose in poses_in_take(studio))
    for turn, scale in ((drag["pose"][2], 1.5), (0, 1.5), (0, 1)):
        studio.keys("Control+z")
        assert studio.gestures("drag")[0]["pose"][2:] == pytest.approx([turn, scale], abs=0.05)
    # With a tool that cannot take hold of them they are neither there nor in the way.
    studio.keys("p")
    studio.stroke([around(centre, radius, -90)])
    assert [len(studio.gestures(kind)) for kind in ("drag", "pin")] == [1, 1]


class Pointer:
    """A pen or a finger, through Chromium's own input."""

    def __init__(self, studio: StudioPage, kind: str) -> None:
        self.studio, self.kind = studio, kind
        self.devtools = studio.page.context.new_cdp_session(studio.page)

    def send(self, what: str, at: tuple[float, float] | None) -> None:
        place = self.studio.place(*at) if at else (0.0, 0.0)
        if self.kind == "touch":
            points = [{"x": place[0], "y": place[1]}] if at and what not in ("End", "Cancel") else []
            self.devtools.send("Input.dispatchTouchEvent", {"type": f"touch{what}", "touchPoints": points})
            return
        event = {"x": place[0], "y": place[1], "button": "left", "buttons": 1, "pointerType": "pen", "force": 0.6}
        kind = {"Start": "mousePressed", "Move": "mouseMoved", "End": "mouseReleased"}[what]
        self.devtools.send("Input.dispatchMouseEvent", {"type": kind, "clickCount": int(kind != "mouseMoved"), **event})

    def stroke(self, points: Points, *, last: str = "End") -> None:
        self.send("Start", points[0])
        for start, end in itertools.pairwise(points):
            for share in (0.5, 1.0):
                self.send("Move", (start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])))
        self.send(last, points[-1])


@pytest.mark.parametrize("kind", ["pen", "touch"])
def test_every_tool_works_with_pen_and_finger(visit: Visit, kind: str) -> None:
    studio = visit(touch=kind == "touch")
    studio.play("balloon", 5)
    studio.page.evaluate(HEAR)
    pointer = Pointer(studio, kind)
    pointer.stroke([BALLOON, (78, 40), (70, 42)])
    studio.until("m.gestures.length === 1 && Math.abs(m.gestures[0].pose[0] + 14) < 0.6")
    (drag,) = studio.gestures("drag")
    assert drag["wire"] == "live"
    assert drag["pose"] == pytest.approx([-14, 4, 0, 1], abs=0.6)
    centre, radius = circle(studio, drag)
    pointer.stroke([around(centre, radius, angle) for angle in (-90, -45, 0)])
    studio.until("Math.abs(m.gestures[0].pose[2] - Math.PI / 2) < 0.06")
    studio.keys("p")
    pointer.stroke([(20, 75), (40, 75)])
    studio.until("m.gestures.length === 2")
    (pin,) = studio.gestures("pin")
    assert np.ptp(np.array(pin["points"])[:, 0]) > 20, "a region was painted"
    studio.keys("l")
    pointer.stroke([(110, 20), (110, 30), (100, 34)])
    studio.until("m.log.length === 3")
    (path,) = [gesture for gesture in studio.get("m.log") if gesture["kind"] == "path"]
    assert path["path"][-1] == pytest.approx([100, 34], abs=0.6)
    studio.keys("v")
    pointer.stroke([(30, 75), (30, 60)])
    lower = pin["points"][0][1]
    studio.until(f"Math.abs(m.gestures.find((g) => g.kind === 'pin').points[0][1] - {lower} + 15) < 0.6")
    studio.keys("c")
    pointer.send("Start", (64, 48))
    pointer.send("Move", (84, 48))
    studio.until("m.camera.pan[0] > 10")
    pointer.send("End", (84, 48))
    studio.until("m.camera.pan[0] === 0")
    assert set(studio.get("heard")) == {kind}
    assert studio.get("scrollX + scrollY") == 0, "the page did not scroll under the hand"


def test_a_touch_that_the_system_takes_away_leaves_nothing(visit: Visit) -> None:
    studio = visit(touch=True)
    studio.play("balloon", 3)
    Pointer(studio, "touch").stroke([BALLOON, (70, 42)], last="Cancel")
    studio.until("m.log.some((gesture) => gesture.wire === 'gone')")
    assert studio.get("m.gestures") == []


def test_the_pad_and_the_timeline_listen_to_one_hand_and_its_first_button(visit: Visit) -> None:
    studio = visit(touch=True)
    page = studio.page
    studio.play("balloon", 20)
    studio.keys("c")

    def at(selector: str, x: float, y: float) -> tuple[float, float]:
        box = page.locator(selector).bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    page.mouse.move(*at("#pad", 0.9, 0.5))
    page.mouse.down(button="right")
    assert studio.get("m.camera.pan") == [0, 0]
    page.mouse.up(button="right")
    page.mouse.click(*at("#timeline", 0.1, 0.5), button="right")
    page.wait_for_timeout(200)
    assert studio.get("m.phase") == "playing"
    touch = page.context.new_cdp_session(page)
    fingers = [
        dict(zip(("x", "y"), at("#pad", *place), strict=True), id=n) for n, place in enumerate([(0.9, 0.5), (0.5, 0.8)])
    ]
    pans = []
    for kind, down in (("touchStart", fingers[:1]), ("touchStart", fingers), ("touchMove", fingers[:1]), ("touchEnd", [])):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": down})
        page.wait_for_timeout(60)
        pans.append(studio.get("m.camera.pan"))
    assert pans[0][0] > 10
    assert pans == [pans[0]] * 3 + [[0, 0]], "the second finger neither takes over nor lets go"


def test_on_a_screen_of_more_pixels_the_canvas_has_more(studio: StudioPage) -> None:
    studio.play("balloon", 2)
    sizes = (
        "(([a, b]) => [a.width, a.clientWidth, b.width])(['overlay', 'timeline'].map((id) => document.getElementById(id)))"
    )
    before = studio.get(sizes)
    screen = {"width": 1100, "height": 720, "deviceScaleFactor": 2, "mobile": False}
    studio.page.context.new_cdp_session(studio.page).send("Emulation.setDeviceMetricsOverride", screen)
    studio.page.emulate_media(color_scheme="dark")  # such a screen is noticed with the next change of this kind
    studio.until(f"document.getElementById('overlay').width > {before[0]}")
    after = studio.get(sizes)
    assert after[1] == before[1], "as large as before"
    assert after[2] == pytest.approx(2 * before[2], abs=2)


def test_a_palm_does_not_disturb_the_pen(visit: Visit) -> None:
    studio = visit(touch=True)
    studio.play("balloon", 5)
    pen, palm = Pointer(studio, "pen"), Pointer(studio, "touch")
    pen.send("Start", BALLOON)
    pen.send("Move", (80, 40))
    palm.send("Start", (20, 80))
    palm.send("Cancel", (20, 80))
    pen.send("Move", (70, 42))
    studio.until("Math.abs(m.gestures[0]?.pose[0] + 14) < 0.6")
    pen.send("End", (70, 42))
    assert [gesture["kind"] for gesture in studio.get("m.log")] == ["drag"]
    palm.send("Start", (20, 80))  # it lands first
    studio.until("m.gestures.length === 1 && m.gestures[0].points[0][1] > 60")
    pen.send("Start", (100, 30))
    pen.send("Move", (90, 30))
    studio.until("m.gestures.length === 1 && Math.abs(m.gestures[0].pose[0] + 10) < 0.6")
    palm.send("End", None)
    pen.send("End", (90, 30))
    assert studio.gestures("drag")[0]["pose"][:2] == pytest.approx([-10, 0], abs=0.6)
