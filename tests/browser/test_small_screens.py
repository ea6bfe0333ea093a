"""Small screens: a phone upright and on its side, and a window at twice the size."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from studio_page import StudioPage
from test_access import CUT, TOOLS

pytestmark = [pytest.mark.browser, pytest.mark.weights]
Visit = Callable[..., StudioPage]

SEEN = """() => ["overlay", "timeline", "play", "tools", "tool-title", "theme"].filter((id) => {
    const { top, bottom, left, right } = document.getElementById(id).getBoundingClientRect();
    return top < 0 || left < 0 || bottom > innerHeight || right > innerWidth;
})"""


def look_back(studio: StudioPage) -> None:
    studio.keys("Space")
    studio.until("m.phase === 'paused'")
    studio.keys("Home")
    studio.until("m.past")


@pytest.mark.parametrize(("width", "height"), [(844, 390), (640, 400)])
def test_on_a_low_screen_the_picture_is_large_and_its_tools_are_beside(visit: Visit, width: int, height: int) -> None:
    studio = visit(width, height, touch=True)
    page = studio.page
    page.click(".picture-adjust >> nth=0")
    page.wait_for_selector("#setup[open]")
    for name in ("#setup [data-close]", "#crop-box", "#setup-prompt", "#setup-start"):
        inside = "(one) => (({ top, bottom }) => top >= 0 && bottom <= innerHeight)(one.getBoundingClientRect())"
        assert page.eval_on_selector(name, inside), name
    studio.keys("Escape")
    studio.play("balloon", 14)
    box = page.locator("#overlay").bounding_box()
    assert box["width"] * box["height"] > 0.22 * width * height
    for tool in TOOLS:
        page.click(f"[data-tool={tool}].tool")
        assert page.evaluate(SEEN) == [], tool
        assert page.evaluate(CUT) == [], tool
    look_back(studio)
    assert page.evaluate(SEEN) == []
    assert page.evaluate(CUT) == []
    assert page.locator("#overlay").bounding_box() == box, "the picture stays where it is"
    assert studio.get("document.documentElement.scrollHeight") <= height
    page.locator("#save-frame").scroll_into_view_if_needed()
    assert page.locator("#overlay").bounding_box() == box, "the panel is scrolled by itself"


def test_on_a_phone_the_timeline_stays_under_the_finger(visit: Visit) -> None:
    studio = visit(390, 844, touch=True)
    studio.play("balloon", 14)
    places = "['timeline', 'play'].map((id) => document.getElementById(id).getBoundingClientRect().top)"
    before = studio.get(places)
    assert before[0] < before[1]
    look_back(studio)
    assert studio.get(places) == before
    studio.page.focus("#overlay")
    studio.keys("Tab")
    assert studio.get("document.activeElement.id") == "timeline", "Tab goes the way that is seen"
