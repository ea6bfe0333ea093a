"""Coming in: uploads good and bad, a second visitor, a cut socket, a reload; small screens; no mouse at all."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from studio_page import StudioPage, redness

pytestmark = [pytest.mark.browser, pytest.mark.weights]
Visit = Callable[..., StudioPage]


def turned_photo() -> bytes:
    """A JPEG 300 wide and 500 high once its EXIF turn is applied: blue above, red below."""
    upright = np.zeros((500, 300, 3), np.uint8)
    upright[:250, :, 2] = 200
    upright[250:, :, 0] = 200
    image = Image.fromarray(np.ascontiguousarray(np.rot90(upright)))
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif)
    return file.getvalue()


def test_own_picture_is_turned_cropped_and_started(studio: StudioPage, tmp_path: Path) -> None:
    path = tmp_path / "mine.jpg"
    path.write_bytes(turned_photo())
    studio.page.set_input_files("#own-file", str(path))
    studio.page.wait_for_selector("#setup[open]")
    assert studio.page.text_content("#setup-title") == "mine"
    studio.page.focus("#crop-box")
    studio.keys(*["Shift+ArrowDown"] * 12)  # to the lower edge: all red
    assert "Crop 300 by 225" in studio.page.text_content("#crop-status")
    studio.page.fill("#setup-prompt", "two colours")
    studio.page.fill("#seed", "7")
    studio.page.click("#setup-start")
    studio.until("m.frame >= 0")
    assert studio.get("[m.take.prompt, m.take.seed]") == ["two colours", 7]
    first = studio.pixels(0).astype(float)
    assert first[..., 0].mean() > 120
    assert first[..., 2].mean() < 80


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_a_picture_can_be_dropped_or_pasted(studio: StudioPage, how: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (30, 120, 60)).save(file, "PNG" if how == "drop" else "WEBP")
    kind = "image/png" if how == "drop" else "image/webp"
    code = """([how, text, type]) => {
        const data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], "given", { type }));
        const [kind, field] = how === "drop" ? [DragEvent, "dataTransfer"] : [ClipboardEvent, "clipboardData"];
        dispatchEvent(new kind(how, { [field]: data }));
    }"""
    studio.page.evaluate(code, [how, base64.b64encode(file.getvalue()).decode(), kind])
    studio.page.wait_for_selector("#setup[open]")
    assert studio.page.evaluate("document.getElementById('crop-image').src").startswith(studio.address)


def bomb() -> bytes:
    """A PNG of a few bytes that claims 30000 x 30000 pixels."""

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(bytes(1000))) + part(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("words.png", b"this is no picture", "png, jpeg or webp"),
        ("nothing.jpg", b"", "is empty"),
        ("bomb.png", bomb(), "pixels"),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a png, jpeg or webp"),
        ("take.json", b'{"format": "something else"}', "take"),
    ],
)
def test_bad_uploads_are_refused_where_the_user_looks(
    studio: StudioPage, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    studio.page.set_input_files("#own-file", str(path))
    studio.until(
        "!document.getElementById('start-note').hidden && document.getElementById('start-note').classList.contains('bad')"
    )
    assert words in studio.text("#start-note").lower()
    assert studio.page.locator("#setup[open]").count() == 0
    studio.play("ball", 1)  # and nothing is broken by it


def test_a_cut_socket_is_taken_up_again(studio: StudioPage) -> None:
    studio.play("balloon", 5)
    studio.stroke([(84, 38), (74, 38)])
    studio.keys("p")
    studio.stroke([(20, 80), (30, 80)])
    take, frame = studio.get("[m.take.take, m.lastFrame]")
    studio.page.evaluate("sockets.at(-1).onmessage = null")  # what is on its way when a socket breaks never arrives
    studio.page.wait_for_timeout(800)
    studio.page.evaluate("sockets.at(-1).close()")
    studio.until("m.connection === 'lost'")
    assert "connection was lost" in studio.text("#banner")
    studio.until("m.connection === 'open' && m.phase === 'playing'")
    studio.until(f"m.frame > {frame + 12}")
    assert studio.get("[m.take.take, m.take.resumed]") == [take, True]
    assert not studio.page.is_visible("#banner")
    kept, made = studio.get("[m.frames().length, m.lastFrame + 1]")  # at once: more arrive meanwhile
    assert kept == made, "no frame was lost"
    assert [g["kind"] for g in studio.get("m.gestures")] == ["pin"], "what was held was let go, pins stay"


def test_what_is_said_while_the_socket_closes_is_said_again(studio: StudioPage) -> None:
    studio.play("balloon", 5)
    studio.page.fill("#prompt", "a balloon of glass")
    studio.page.evaluate("""() => {
        sockets.at(-1).close(4999);
        document.getElementById("prompt-apply").click(); // before the page has heard of the end
    }""")
    studio.until("m.connection === 'lost'")
    studio.until("m.phase === 'playing' && m.take.resumed")
    studio.more(24)
    take = studio.get("await (await fetch(`api/takes/${m.take.take}.json`)).json()")
    assert [row["prompt"] for row in take["inputs"] if row.get("prompt")] == ["a balloon of glass"]


DEAF, MUTE = "sockets.at(-1).onmessage = null", "sockets.at(-1).send = () => {}"
"""A connection that is broken, while neither side has noticed."""
LISTEN = """() => {
    const socket = sockets.at(-1), send = socket.send.bind(socket);
    window.said = [];
    socket.send = (message) => { if (typeof message === "string") said.push(JSON.parse(message)); send(message); };
}"""


def cut(studio: StudioPage) -> None:
    studio.page.evaluate("sockets.at(-1).close()")
    studio.until("m.connection === 'lost'")


def test_what_was_said_into_a_dead_socket_is_said_again(studio: StudioPage) -> None:
    studio.play("balloon", 5)
    studio.page.evaluate(MUTE)
    studio.keys("p")
    studio.stroke([(20, 80), (30, 80)])
    studio.keys("Space")
    cut(studio)
    studio.until("m.connection === 'open'")
    made = studio.settled("m.lastFrame", 1200)
    assert studio.get("m.phase") == "paused"
    assert studio.settled("m.lastFrame", 1200) == made, "the server has heard of the pause"
    studio.keys("Space")
    studio.until("m.gestures[0]?.held")  # and of the pin
    assert [g["kind"] for g in studio.get("m.gestures")] == ["pin"]
    studio.page.evaluate(MUTE)
    studio.keys("Enter")
    cut(studio)
    studio.until("m.connection === 'open'")
    made = studio.settled("m.lastFrame", 1200)
    assert studio.settled("m.lastFrame", 1200) == made, "and of the stop"
    assert studio.get("m.phase") == "ended"


def test_after_a_reconnection_it_can_be_started_again(studio: StudioPage) -> None:
    studio.play("balloon", 5)
    before = studio.get("m.take.take")
    cut(studio)
    studio.until("m.connection === 'open' && m.phase === 'playing'")
    studio.keys("Enter")
    studio.until("m.phase === 'ended'")
    studio.keys("Enter")
    studio.until("m.phase === 'playing' && m.frame > 3")
    assert studio.get("m.take.take") != before


@pytest.mark.parametrize("broken", [DEAF, MUTE])
def test_a_start_that_the_connection_did_not_survive_is_made_up_for(studio: StudioPage, broken: str) -> None:
    studio.play("balloon", 5)
    before = studio.get("m.take.take")
    studio.keys("Enter")
    studio.until("m.phase === 'ended'")
    studio.page.evaluate(broken)
    studio.keys("Enter")
    studio.page.wait_for_timeout(600)
    assert studio.get("m.phase") == "starting"
    cut(studio)
    studio.until("m.phase === 'playing' && m.frame > 12")
    assert studio.get("m.take.take") != before
    assert studio.page.is_hidden("#cover")
    assert redness(studio.pixels(studio.get("m.frame")))[2] > 0


def test_start_again_while_the_connection_is_away(studio: StudioPage) -> None:
    studio.play("balloon", 5)
    before = studio.get("m.take.take")
    cut(studio)
    studio.keys("Enter", "Enter")
    studio.until("m.phase === 'playing' && m.frame > 3")
    assert studio.get("m.take.take") != before


def test_a_camera_that_keeps_going_goes_in_the_next_take_too(studio: StudioPage) -> None:
    studio.play("balloon", 3)
    studio.keys("c")
    studio.page.check("#latch")
    studio.page.fill("#zoom", "0.5")
    studio.page.click("#stop")
    studio.until("m.phase === 'ended'")
    studio.page.evaluate(LISTEN)
    studio.page.click("#play")
    studio.until("m.phase === 'playing'")
    assert studio.get("m.camera.zoom") > 0
    assert studio.until("said.findLast(({ kind }) => kind === 'camera')?.zoom") > 0
    studio.page.uncheck("#latch")


def test_an_undo_in_a_pause_counts_when_it_goes_on(studio: StudioPage) -> None:
    studio.play("balloon", 5)
    studio.stroke([(84, 38), (74, 38)])
    studio.stroke([(30, 30), (40, 30)])  # lets the first go
    studio.more(8)
    studio.page.evaluate(LISTEN)
    studio.keys("Space", "Control+z", "Control+z")
    assert not [one for one in studio.get("said") if one["kind"] == "grab"]
    studio.keys("Space")
    studio.until("said.some(({ kind }) => kind === 'grab')")
    (grab,) = [one for one in studio.get("said") if one["kind"] == "grab"]
    back = [one for one in studio.get("said") if one["kind"] == "move" and one["id"] == grab["id"]]
    assert back[0]["pose"][:2] == pytest.approx([10, 0], abs=0.5)
    assert [one["id"] for one in studio.get("said") if one["kind"] == "release"][-1] == grab["id"]


def test_a_stop_while_the_connection_is_away_is_heard(studio: StudioPage) -> None:
    studio.play("balloon", 5)
    studio.page.evaluate("sockets.at(-1).close()")
    studio.until("m.connection === 'lost'")
    studio.page.click("#stop")
    assert studio.get("m.phase") == "ended"
    studio.until("m.connection === 'open'")
    last = studio.settled("m.lastFrame", 1200)
    assert studio.get("[m.phase, m.take.resumed]") == ["ended", True]
    assert studio.settled("m.lastFrame", 1200) == last, "the server has heard it: nothing more is made"


def test_a_reload_takes_the_take_up_again(studio: StudioPage) -> None:
    studio.play("balloon", 5)
    studio.keys("p")
    studio.stroke([(20, 80), (30, 80)])
    studio.more(3)
    take = studio.get("m.take.take")
    studio.page.reload()
    studio.until("m.take?.resumed && m.phase === 'playing'")
    studio.more(12)
    assert studio.get("m.take.take") == take
    brush = float(studio.page.input_value("#radius"))
    studio.keys("]")
    assert float(studio.page.input_value("#radius")) == brush + 1
    assert [g["kind"] for g in studio.get("m.gestures")] == ["pin"]
    studio.keys("Home")
    studio.until("m.past && m.frame === 0")
    assert redness(studio.pixels(0))[2] > 0, "frames from before the reload come from the server"


def test_a_second_visitor_waits_in_line_and_then_plays(visit: Visit) -> None:
    first, second = visit(), visit()
    first.play("ball", 3)
    second.page.click("[data-picture=dog]")
    second.until("document.getElementById('cover').innerText.includes('next')")
    assert "number 1 in line" in second.text("#connection-text")
    assert second.get("m.phase") == "waiting"
    first.page.click("#home")
    second.until("m.frame >= 3")
    assert second.get("m.phase") == "playing"
    third = visit()
    assert "Somebody is drawing" in third.text("#start-note")
    second.page.click("#home")
    third.until("document.getElementById('start-note').hidden")


def test_phone_sized_page_fits_and_can_be_touched(visit: Visit) -> None:
    studio = visit(360, 740, touch=True)
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    small = """() => [...document.querySelectorAll("button, select, .own label, .check")]
        .filter((e) => e.checkVisibility() && !e.closest(".slider"))
        .map((e) => [e.id || e.className || e.textContent, e.getBoundingClientRect()])
        .filter(([, box]) => box.width < 39.5 || box.height < 39.5)
        .map(([name, box]) => `${name} ${box.width}x${box.height}`)"""
    assert studio.get(wide) == 0
    assert studio.page.evaluate(small) == []
    studio.page.click(".picture-adjust >> nth=0")
    studio.page.wait_for_selector("#setup[open]")
    assert studio.page.evaluate("document.getElementById('setup').scrollWidth <= innerWidth")
    studio.keys("Escape")
    studio.play("balloon", 5)
    assert studio.get(wide) == 0
    for tool in ("path", "camera", "drag"):
        studio.page.click(f"[data-tool={tool}].tool")
        assert studio.page.evaluate(small) == []
    touch = studio.page.context.new_cdp_session(studio.page)
    for kind, places in (
        ("touchStart", [(84.0, 38.0)]),
        ("touchMove", [(80.0, 38.0)]),
        ("touchMove", [(70.0, 40.0)]),
        ("touchEnd", []),
    ):
        points = [dict(zip(("x", "y"), studio.place(*place), strict=True)) for place in places]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        studio.page.wait_for_timeout(60)
    (drag,) = studio.gestures("drag")
    assert drag["pose"][:2] == pytest.approx([-14, 2], abs=0.6)
    # A second finger turns and scales.
    a, b = studio.place(70, 40), studio.place(90, 40)
    turned = studio.place(70, 60)
    for kind, places in (("touchStart", [a]), ("touchStart", [a, b]), ("touchMove", [a, turned]), ("touchEnd", [])):
        points = [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        studio.page.wait_for_timeout(60)
    (drag,) = studio.gestures("drag")
    assert drag["pose"][2] == pytest.approx(np.pi / 2, abs=0.05)


def test_keyboard_alone_is_enough(studio: StudioPage) -> None:
    focused = "document.activeElement?.dataset?.picture"
    for _ in range(80):
        studio.keys("Tab")
        if studio.get(focused) == "balloon":
            break
    studio.keys("Enter")
    studio.until("m.frame >= 5")
    assert studio.get("document.activeElement.id") == "overlay"
    # The cross begins in the middle, at (64, 48): to the balloon, take hold, to the left.
    studio.keys(*["ArrowRight"] * 2, *["Shift+ArrowRight"] * 3, *["Shift+ArrowUp"] * 2, "g", *["Shift+ArrowLeft"] * 2, "g")
    (drag,) = studio.gestures("drag")
    assert np.mean(drag["points"], axis=0) == pytest.approx([84, 36], abs=0.01)
    assert drag["pose"][:2] == pytest.approx([-12, 0], abs=0.01)
    studio.keys("Escape", "p", "g")
    assert [g["kind"] for g in studio.get("m.gestures")] == ["pin"]
    studio.keys("Space")
    studio.until("m.phase === 'paused'")
    studio.keys("Space")
    studio.until("m.phase === 'playing'")
    studio.keys("?")
    assert studio.page.locator("#help[open]").count() == 1
    assert "pause or resume" in studio.text("#help-body")
    studio.keys("Escape", "Enter")
    studio.until("m.phase === 'ended'")
    studio.keys("Enter")
    studio.until("m.phase === 'playing' && m.frame >= 0")
