"""From one take to the next: a start that is given up, a reload after the end, and what was drawn before it all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from studio_page import StudioPage

Visit = Callable[..., StudioPage]
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


def draw_first(studio: StudioPage) -> None:
    """The balloon, chosen and not started, with a pin on it."""
    studio.page.click("li:has([data-picture=balloon]) .picture-adjust")
    studio.page.click("#draw-first")
    studio.until("m.phase === 'draft'")
    studio.keys("p")
    studio.stroke([(20, 80), (30, 80)])


REDNESS = """() => {
    const { width, height } = document.getElementById("video"), pen = document.getElementById("video").getContext("2d");
    const values = pen.getImageData(0, 0, width, height).data;
    return values.filter((value, n) => n % 4 === 0 && value > values[n + 1] + 80).length;
}"""


def test_what_is_drawn_before_the_start_outlives_a_reload(studio: StudioPage) -> None:
    draw_first(studio)
    studio.page.fill("#prompt", "a balloon of glass")
    studio.page.click("#prompt-apply")
    studio.page.reload()
    studio.until("m.phase === 'draft'")
    assert [g["wire"] for g in studio.gestures("pin")] == ["draft"]
    assert studio.page.input_value("#prompt") == "a balloon of glass"
    studio.page.wait_for_timeout(500)
    assert studio.page.evaluate(REDNESS) > 20, "the picture is on screen"
    studio.page.focus("#overlay")
    studio.keys("Enter")
    studio.until("m.gestures[0]?.held")
    assert studio.get("m.take.prompt") == "a balloon of glass"


def test_what_waits_in_line_outlives_a_reload(visit: Visit) -> None:
    first, second = visit(), visit()
    first.play("ball", 3)
    draw_first(second)
    second.keys("Enter")
    second.until("m.phase === 'waiting' && document.getElementById('cover').innerText.includes('next')")
    second.page.reload()
    second.until("m.phase === 'draft'")
    assert [g["wire"] for g in second.gestures("pin")] == ["draft"]
    first.page.click("#home")
    second.page.wait_for_timeout(500)
    assert second.get("m.phase") == "draft", "it starts when it is told to"
    second.keys("Enter")
    second.until("m.gestures[0]?.held")


def held_back(studio: StudioPage, path: str) -> list[Any]:
    """Requests for ``path`` wait in this list until ``continue_()``."""
    routes: list[Any] = []
    studio.page.route(path, lambda route: routes.append(route))  # of a method of a list Playwright keeps no note
    return routes


def wait_for(studio: StudioPage, routes: list[Any]) -> None:
    for _ in range(200):
        if routes:
            return
        studio.page.wait_for_timeout(20)
    raise AssertionError("nothing was asked of the server")


@pytest.mark.parametrize("kind", ["picture", "take", "open again"])
def test_what_comes_late_takes_over_nothing(studio: StudioPage, tmp_path: Path, kind: str) -> None:
    page, file = studio.page, tmp_path / ("late.png" if kind == "picture" else "late.json")
    if kind == "picture":
        Image.new("RGB", (200, 150), (250, 0, 0)).save(file)
        routes = held_back(studio, "**/api/pictures")
    else:
        studio.play("ball", 14)
        studio.download("#save-take", file)
        page.click("#home")
        routes = held_back(studio, "**/api/takes" if kind == "take" else "**/api/takes/*.json")
    if kind == "open again":
        page.click("#last-open")
    else:
        page.set_input_files("#own-file", str(file))
    wait_for(studio, routes)
    studio.play("balloon", 3)
    take = studio.get("m.take.take")
    routes[0].continue_()
    studio.until("document.getElementById('toasts').innerText.includes('meanwhile')")
    studio.more(6)
    assert studio.get("[m.phase, m.take.take, m.recorded]") == ["playing", take, 0]
    assert page.locator("#setup[open]").count() == 0


def test_of_two_files_the_last_one_counts(studio: StudioPage, tmp_path: Path) -> None:
    for name in ("first", "second"):
        Image.new("RGB", (200, 150), (250, 0, 0)).save(tmp_path / f"{name}.png")
    routes = held_back(studio, "**/api/pictures")
    studio.page.set_input_files("#own-file", str(tmp_path / "first.png"))
    wait_for(studio, routes)
    first = routes.pop()
    studio.page.set_input_files("#own-file", str(tmp_path / "second.png"))
    wait_for(studio, routes)
    routes[0].continue_()
    studio.page.wait_for_selector("#setup[open]")
    first.continue_()
    studio.until("document.getElementById('toasts').innerText.includes('first.png')")
    assert studio.page.text_content("#setup-title") == "second"


def test_a_double_click_on_a_picture_draws_nothing(studio: StudioPage) -> None:
    page = studio.page
    box = page.locator(".picture-start >> nth=1").bounding_box()
    at = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.dblclick(*at)
    studio.until("m.frame >= 3")
    assert page.evaluate("([x, y]) => document.elementFromPoint(x, y).id", at) == "overlay", "it would have been drawn on"
    assert studio.get("m.log") == []
    studio.until("m.frame >= 20")  # by then it is no second press any more
    page.mouse.click(*at)
    studio.until("m.log.length === 1")  # a press of its own
    studio.keys("Enter")
    studio.until("m.phase === 'ended'")
    page.dblclick("#cover .primary")
    studio.until("m.phase === 'playing' && m.frame >= 3")
    assert studio.get("m.log") == [], "nor does one on Start again"


def test_a_delay_is_measured_only_where_a_hand_has_moved(studio: StudioPage) -> None:
    studio.play("balloon", 14)
    assert studio.get("m.latencies") == []
    assert "behind" not in studio.text("#bar-meters")
    studio.stroke([(84, 38), (80, 38)])
    studio.until("m.latencies.length")
