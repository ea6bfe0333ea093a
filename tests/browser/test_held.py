"""What a gesture has taken hold of is outlined over the picture, goes with the hand, and is hidden with the marks."""

from __future__ import annotations

import numpy as np
import pytest
from studio_page import StudioPage

pytestmark = [pytest.mark.browser, pytest.mark.weights]

INKED = """([x0, y0, x1, y1]) => {
    const canvas = document.getElementById("overlay");
    const across = canvas.width / window.motionstream.take.width, down = canvas.height / window.motionstream.take.height;
    const part = canvas.getContext("2d").getImageData(x0 * across, y0 * down, (x1 - x0) * across, (y1 - y0) * down);
    return part.data.filter((value, n) => n % 4 === 3 && value > 0).length;
}"""


def test_what_a_drag_took_is_outlined_where_it_is_now(studio: StudioPage) -> None:
    studio.play("balloon", 5)
    studio.stroke([(84, 38), (84, 38)], let_go=False)
    studio.until("m.gestures.some((g) => g.held && g.from !== null)")
    edges = np.array(studio.gestures("drag")[-1]["held"])
    assert np.allclose(np.abs(edges[:, 0] - edges[:, 1]).sum(-1), 8), "sides of cells"
    assert np.abs(edges.mean(axis=(0, 1)) - (84, 38)).max() < 10, "they lie around the hand, where it took them"
    starts, ends = (sorted(map(tuple, side.tolist())) for side in (edges[:, 0], edges[:, 1]))
    assert starts == ends, "the outline is closed"
    (x0, y0), (x1, y1) = edges[:, 0].T, edges[:, 1].T
    num_cells = abs((x0 * y1 - x1 * y0).sum()) / 2 / 8**2
    assert num_cells >= 2
    assert 4 <= len(edges) < 4 * num_cells, "sides between two cells are not drawn"

    # Its left side, a strip beyond the points of the brush, which the outline leaves when it follows the hand.
    left, top, bottom = edges[..., 0].min(), edges[..., 1].min(), edges[..., 1].max()
    strip = [float(side) for side in (max(0, left - 0.8), top, left + 0.8, bottom)]
    assert studio.page.evaluate(INKED, strip) > 0
    studio.page.mouse.move(*studio.place(108, 38), steps=6)
    studio.more(60)
    assert studio.page.evaluate(INKED, strip) == 0
    studio.page.mouse.move(2, 2)  # the brush goes with the mouse, and shows by itself where it is
    studio.page.wait_for_timeout(200)
    assert studio.page.evaluate(INKED, [0.0, 0.0, 128.0, 96.0]) > 0
    studio.keys("t")
    studio.page.wait_for_timeout(200)
    assert studio.page.evaluate(INKED, [0.0, 0.0, 128.0, 96.0]) == 0


def test_points_beside_the_thing_are_not_drawn_once_that_is_known(studio: StudioPage) -> None:
    studio.play("balloon", 5)
    studio.stroke([(84, 38), (84, 38)], let_go=False)
    studio.until("m.gestures.some((g) => g.held && g.from !== null)")
    drag = studio.gestures("drag")[-1]
    points, off = np.array(drag["points"]), drag["off"]
    assert 0 < len(off) < len(points), "the brush covers sky, too"
    on = np.delete(points, off, axis=0)
    assert np.linalg.norm(on - (84, 38), axis=1).mean() < np.linalg.norm(points[off] - (84, 38), axis=1).mean()
    studio.page.mouse.move(2, 2)
    studio.page.wait_for_timeout(200)
    corner = max(points[off].tolist(), key=lambda point: abs(point[0] - 84) + abs(point[1] - 38))
    around = [corner[0] - 0.7, corner[1] - 0.7, corner[0] + 0.7, corner[1] + 0.7]
    assert studio.page.evaluate(INKED, around) == 0
    inner = on[np.linalg.norm(on - (84, 38), axis=1).argmin()].tolist()
    assert studio.page.evaluate(INKED, [inner[0] - 0.7, inner[1] - 0.7, inner[0] + 0.7, inner[1] + 0.7]) > 0


def test_a_pin_shows_what_it_holds_and_a_new_one_nothing_yet(studio: StudioPage) -> None:
    studio.play("balloon", 5)
    studio.keys("p")
    studio.stroke([(84, 38), (84, 38)])
    assert studio.gestures("pin")[-1]["held"] is None
    studio.until("m.gestures.some((g) => g.kind === 'pin' && g.held)")
    studio.page.reload()
    studio.until("m.phase === 'playing' && m.frame > 5")
    assert studio.gestures("pin")[-1]["held"], "a reload forgets nothing"


def taken_cells(studio: StudioPage) -> float:
    """How many cells the newest drag has taken."""
    studio.until("m.gestures.some((g) => g.held && g.from !== null)")
    edges = np.array(studio.gestures("drag")[-1]["held"])
    (x0, y0), (x1, y1) = edges[:, 0].T, edges[:, 1].T
    return abs((x0 * y1 - x1 * y0).sum()) / 2 / 8**2


def test_a_brush_takes_only_the_thing_in_it_unless_one_says_no(studio: StudioPage) -> None:
    """A large brush on the airplane covers as much sky as airplane."""
    page, cells = studio.page, {}
    left, top, right, bottom = next(
        row["object"] for row in studio.get("await (await fetch('api/gallery')).json()") if row["name"] == "airplane"
    )
    width = next(
        row["size"][0] for row in studio.get("await (await fetch('api/gallery')).json()") if row["name"] == "airplane"
    )
    middle = [(left + right) / 2 * 128 / width, (top + bottom) / 2 * 128 / width]
    for snap in (True, False):
        studio.play("airplane", 5)
        page.evaluate("document.getElementById('radius').value = 22")
        page.dispatch_event("#radius", "input")
        assert page.is_visible("#snap-line")
        page.set_checked("#snap", snap)
        studio.stroke([middle, middle], let_go=False)
        cells[snap] = taken_cells(studio)
        page.mouse.up()
        page.click("#home")
    assert 2 < cells[True] < 0.75 * cells[False]


def test_where_a_brush_takes_the_whole_thing_or_holds_still_it_is_not_asked(studio: StudioPage) -> None:
    page = studio.page
    studio.play("airplane", 3)
    page.evaluate("document.getElementById('radius').value = 4")
    page.dispatch_event("#radius", "input")
    assert not page.is_visible("#snap-line")
    assert page.is_visible("#brush-says")
    page.evaluate("document.getElementById('radius').value = 22")
    page.dispatch_event("#radius", "input")
    studio.keys("p")
    assert not page.is_visible("#snap-line")
    studio.keys("l")
    assert page.is_visible("#snap-line")
