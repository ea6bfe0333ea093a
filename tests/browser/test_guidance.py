"""What the page points out and says: where to pull, how to watch, what has been refused, and where a knob has gone."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from studio_page import StudioPage
from test_starts import held_back, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.weights]
Visit = Callable[..., StudioPage]
Module = Callable[..., Any]


def png(width: int = 200, height: int = 150) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (250, 0, 0)).save(file, "PNG")
    return file.getvalue()


def seen(studio: StudioPage, *ids: str) -> list[bool]:
    return [studio.page.is_visible(f"#{name}") for name in ids]


# ---- where to pull ---------------------------------------------------------------------------------------------------


def test_a_ring_shows_where_to_pull_until_something_is_drawn(studio: StudioPage) -> None:
    studio.play("balloon", 3)
    assert seen(studio, "chip", "here") == [True, True]
    x, y = studio.page.eval_on_selector(
        "#here i", "(ring) => (({ x, y, width }) => [x + width / 2, y + width / 2])(ring.getBoundingClientRect())"
    )
    assert [x, y] == pytest.approx(studio.place(84, 40), abs=6), "on the balloon"
    studio.keys("p")
    assert seen(studio, "here") == [False], "a pin pulls nothing"
    studio.keys("d")
    assert seen(studio, "here") == [True]
    studio.page.emulate_media(reduced_motion="reduce")
    assert studio.page.eval_on_selector("#here i", "(ring) => getComputedStyle(ring).animationName") == "none"
    studio.stroke([(84, 38), (80, 38)], let_go=False)
    assert seen(studio, "here") == [False]
    studio.page.mouse.up()


def test_the_ring_lies_on_what_is_left_of_the_picture(run: Module) -> None:
    code = """
        const object = [300, 200, 400, 300], far = m.placeOf({ object, crop: [0, 0, 640, 480] });
        return [far, m.placeOf({ object, crop: [300, 200, 400, 275] }), m.placeOf({ object, crop: [0, 0, 200, 150] }),
            m.placeOf({ object: [0, 100, 200, 300], crop: [0, 0, 640, 480] }).turn, m.placeOf({ crop: [0, 0, 640, 480] })];
    """
    far, near, gone, turn, none = run("here", code)
    assert (far["x"], far["turn"]) == (pytest.approx(350 / 640), -90), "from the middle upwards"
    assert (near["x"], near["size"]) == (0.5, pytest.approx(0.22))
    assert (gone, none) == (None, None)
    assert abs(turn) < 20, "to where there is room"


def test_the_gallery_begins_with_what_moves_well(studio: StudioPage) -> None:
    names = studio.get("[...document.querySelectorAll('.picture-start')].map(({ dataset }) => dataset.picture)")
    assert names[:7] == ["dahlia", "saucer", "airplane", "car", "sailboat", "balloon", "ball"]
    assert names[-3:] == ["cat", "coffee", "rocket"]


# ---- after the end, and looking back ---------------------------------------------------------------------------------


def test_what_was_made_is_watched_and_saved_without_a_keyboard(studio: StudioPage, tmp_path: Path) -> None:
    page = studio.page
    studio.play("balloon", 9)
    assert not page.is_visible("#watch")
    page.click("#play")
    studio.until("m.phase === 'paused'")
    box = page.locator("#timeline").bounding_box()
    page.mouse.click(box["x"] + 3, box["y"] + 20)
    studio.until("m.past")
    page.click("#watch")
    assert studio.text("#watch") == "Pause"
    studio.until("m.frame === m.lastFrame && !m.past")
    page.wait_for_selector("#watch", state="hidden")
    page.click("#stop")
    studio.until("m.phase === 'ended'")
    studio.download("#cover button:has-text('Save video')", tmp_path / "made.mp4")
    assert (tmp_path / "made.mp4").stat().st_size > 1000
    for _ in range(2):  # again from the end of the last time
        page.click("#cover button:has-text('Watch')")
        page.wait_for_selector("#cover", state="hidden")
        assert seen(studio, "chip", "watch") == [False, True]
        page.wait_for_selector("#cover")


def test_a_take_that_goes_while_one_looks_back_says_so(studio: StudioPage) -> None:
    studio.play("balloon", 9)
    studio.stroke([(84, 38), (80, 38)])
    studio.keys("Space")
    studio.until("m.phase === 'paused'")
    studio.keys("Home")
    studio.until("m.past")
    reason = "the server is being stopped"
    studio.page.evaluate(
        "(reason) => sockets.at(-1).onmessage({ data: JSON.stringify({ kind: 'state', state: 'ended', reason }) })", reason
    )
    studio.until("m.phase === 'ended'")
    assert studio.text("#chip").lower() == f"the take has ended. {reason}"
    studio.stroke([(30, 30), (34, 30)])
    assert studio.get("m.gestures") == []
    assert "start it again" in studio.text("#toasts")


def test_a_lost_connection_leaves_the_picture_as_large_as_it_is(studio: StudioPage) -> None:
    studio.play("balloon", 3)
    before = studio.page.locator("#overlay").bounding_box()
    studio.page.evaluate("sockets.at(-1).close()")
    studio.page.wait_for_selector("#banner:has-text('connection was lost')")
    assert studio.page.locator("#overlay").bounding_box() == before
    studio.until("m.connection === 'open' && m.phase === 'playing'")


# ---- over a reload ---------------------------------------------------------------------------------------------------


def test_a_reload_keeps_the_tool_and_its_options(studio: StudioPage) -> None:
    page = studio.page
    page.click("li:has([data-picture=balloon]) .picture-adjust")
    page.click("#draw-first")
    studio.until("m.phase === 'draft'")
    page.fill("#radius", "25")
    page.fill("#spacing", "4")
    page.check("#keep")
    page.uncheck("#snap")
    studio.keys("p")
    page.reload()
    studio.until("m.phase === 'draft'")
    assert studio.get("m.tool") == "pin"
    assert page.title() == "a red balloon before a cloud and dark mountains – motionstream studio"
    studio.keys("d")
    assert [page.input_value(f"#{name}") for name in ("radius", "spacing")] == ["25", "4"]
    assert [page.is_checked(f"#{name}") for name in ("keep", "snap")] == [True, False]
    studio.stroke([(30, 60), (34, 60)])
    (drag,) = studio.gestures("drag")
    assert (drag["snap"], len(drag["points"]) > 100) == (False, True)


# ---- before the start ------------------------------------------------------------------------------------------------


def test_a_start_before_the_lists_have_come_is_answered(studio: StudioPage) -> None:
    page = studio.page
    routes = held_back(studio, "**/api/presets")
    page.reload()
    wait_for(studio, routes)
    page.wait_for_selector("#start-note:has-text('Loading the pictures…')")
    page.set_input_files("#own-file", {"name": "take.json", "mimeType": "application/json", "buffer": b"{}"})
    assert "One moment" in studio.text("#start-note")
    page.set_input_files("#own-file", {"name": "red.png", "mimeType": "image/png", "buffer": png()})
    page.wait_for_selector("#setup[open]")
    assert "may stay empty" in page.get_attribute("#setup-prompt", "placeholder")
    page.click("#setup-start")
    assert studio.text("#setup-error") == "One moment: the studio is still being loaded."
    routes[0].continue_()
    page.wait_for_selector(".picture-start", state="attached")
    studio.until("document.getElementById('setup-error').hidden")
    page.click("#setup-start")
    studio.until("m.frame >= 0")


def test_a_file_refused_while_the_set_up_is_open_is_told_there(studio: StudioPage) -> None:
    page = studio.page
    page.click(".picture-adjust >> nth=0")
    page.set_input_files("#own-file", {"name": "words.png", "mimeType": "image/png", "buffer": b"no picture"})
    page.wait_for_selector("#setup-error:not([hidden])")
    assert re.fullmatch(r"[A-Z].*\.", studio.text("#setup-error")), "a sentence"
    assert not page.is_visible("#start-note")


def test_a_long_name_leaves_the_set_up_its_close(visit: Visit) -> None:
    studio = visit(390, 844, touch=True)
    studio.page.set_input_files("#own-file", {"name": f"{'x' * 120}.png", "mimeType": "image/png", "buffer": png()})
    studio.page.wait_for_selector("#setup[open]")
    box = studio.page.locator("#setup [data-close]").bounding_box()
    assert (box["x"] + box["width"] <= 390, box["y"] >= 0) == (True, True)
    studio.page.click("#setup [data-close]")
    studio.page.click("#help-open")
    assert studio.text("#help-body").lower().startswith("with fingers")


def test_pasted_text_that_brings_a_picture_along_is_text(studio: StudioPage) -> None:
    studio.play("balloon", 3)
    paste = """([text, plain]) => {
        const data = new DataTransfer(), bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
        data.items.add(new File([bytes], "given.png", { type: "image/png" }));
        if (plain) data.setData("text/plain", plain);
        const event = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
        document.getElementById("prompt").dispatchEvent(event);
        return event.defaultPrevented;
    }"""
    content = base64.b64encode(png()).decode()
    assert studio.page.evaluate(paste, [content, "a balloon of glass"]) is False
    assert studio.page.evaluate(paste, [content, ""]) is True
    studio.page.wait_for_selector("#setup[open]")
    studio.keys("Escape")
    studio.page.focus("#prompt")
    studio.keys("Escape")
    assert studio.get("document.activeElement.id") == "overlay"


def test_a_webcam_that_is_refused_mirrors_nothing(studio: StudioPage) -> None:
    studio.play("balloon", 3)
    studio.keys("m")
    studio.page.evaluate("""() => {
        navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"));
    }""")
    studio.page.click("#motion-webcam")
    studio.until("document.getElementById('motion-words').textContent.includes('not allowed')")
    assert not studio.page.is_checked("#motion-mirror")


# ---- for every eye and hand ------------------------------------------------------------------------------------------


def test_a_knob_is_never_off_the_canvas(run: Module, address: str) -> None:
    code = """
        const { Gesture } = await import(new URL("gesture.js", a).href);
        const stage = { css: 4, width: 128, height: 96 }, spots = [];
        for (const [x, y] of [[64, 48], [64, 4], [4, 48], [124, 92], [2, 94], [126, 2]]) {
            const gesture = new Gesture("drag", [[x - 10, y], [x + 10, y]]);
            for (const turn of [0, 1, 2, 3, 4, 5]) {
                gesture.pose = [0, 0, turn, 1];
                const { rotate, scale } = m.handles(gesture, stage);
                spots.push([rotate, scale, [rotate, scale].map((at) => m.knobAt(gesture, at, stage))]);
            }
        }
        return spots;
    """
    spots = run("hit", code, f"{address}static/")
    for rotate, scale, found in spots:
        for x, y in (rotate, scale):
            assert 0 <= x < 128
            assert 0 <= y < 96
        assert math.dist(rotate, scale) > 5
        assert found == ["rotate", "scale"]


def test_in_the_colours_of_the_system_what_is_pressed_shows(studio: StudioPage) -> None:
    page = studio.page
    studio.play("balloon", 3)
    studio.keys("c")
    page.emulate_media(forced_colors="active")
    colour = "(element) => getComputedStyle(element).backgroundColor"
    pressed, other = (page.eval_on_selector(f"[data-tool={tool}].tool", colour) for tool in ("camera", "pin"))
    assert pressed != other
    assert page.eval_on_selector("#pad i", colour) != page.eval_on_selector("#pad", colour)
    with Image.open(io.BytesIO(page.locator("#zoom").screenshot())) as image:
        assert np.ptp(np.asarray(image.convert("L"))) > 60, "a slider is seen"
