"""The studio in the size that ships: the same picture with more pixels, and the same hand."""

from __future__ import annotations

import pytest
from studio_page import StudioPage, redness

pytestmark = [pytest.mark.browser, pytest.mark.weights]


def test_a_drag_is_followed_in_the_size_that_ships(studio_as_shipped: StudioPage) -> None:
    studio = studio_as_shipped
    studio.play("balloon", 10)
    assert studio.get("[m.take.width, m.take.height]") == [192, 144]
    assert studio.pixels(studio.get("m.frame")).shape == (144, 192, 3)
    begun = redness(studio.pixels(5))[0]
    x, y = 126.0, 57.0
    studio.stroke([(x, y), (x - 12, y), (x - 24, y)])
    assert studio.gestures("drag")[0]["pose"][0] == pytest.approx(-24, abs=0.5)
    assert redness(studio.pixels(studio.more(42)))[0] < begun - 12
