"""For everybody: names for screen readers, the keyboard's way through the page, contrast in both themes, narrow windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from studio_page import StudioPage

pytestmark = [pytest.mark.browser, pytest.mark.weights]
Visit = Callable[..., StudioPage]

TOOLS = ("drag", "pin", "path", "camera", "motion", "select")
CONTROLS = {
    *("button", "link", "textbox", "spinbutton", "combobox", "slider", "checkbox", "dialog", "toolbar"),
    *("application", "img", "region", "Video", "complementary", "radio", "switch"),
}
CONTRAST = """() => {
    const size = { width: 1, height: 1 };
    const pen = Object.assign(document.createElement("canvas"), size).getContext("2d", { willReadFrequently: true });
    const read = (colour) => {
        pen.clearRect(0, 0, 1, 1);
        pen.fillStyle = colour;
        pen.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = ([r, g, b, a], below) => [r, g, b].map((value, n) => a * value + (1 - a) * below[n]);
    const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
    const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
    // What lies below an element. A picture may be anything: black and white are both tried.
    const grounds = (element) => {
        if (!element) return [[255, 255, 255]];
        if (element.id === "stage") return [[0, 0, 0], [255, 255, 255]];
        const own = read(getComputedStyle(element).backgroundColor);
        const parent = element.matches("dialog, .toast") ? document.body : element.parentElement;
        return (own[3] === 1 ? [[0, 0, 0]] : grounds(parent)).map((colour) => over(own, colour));
    };
    const wordsOf = (element) => {
        if (element.matches("input:not([type=range], [type=checkbox], [type=file]), textarea, select")) return element.value;
        return [...element.childNodes].map((node) => (node.nodeType === 3 ? node.data.trim() : "")).join("");
    };
    // Controls that cannot be used need no contrast; captions lie on photographs, with a shade of their own.
    const free = ":disabled, .visually-hidden, .skip, .picture-caption, option, script";
    const bad = [];
    let seen = 0;
    const shown = document.querySelector("dialog[open]") || document.body;
    for (const element of shown.querySelectorAll("*")) {
        const words = wordsOf(element);
        if (!words || !element.checkVisibility() || element.closest(free)) continue;
        const { color } = getComputedStyle(element), [r, g, b, a] = read(color);
        let opacity = a;
        for (let up = element; up; up = up.parentElement) opacity *= getComputedStyle(up).opacity;
        for (const ground of grounds(element)) {
            const found = ratio(over([r, g, b, opacity], ground), ground);
            seen += 1;
            if (found >= 4.5) continue;
            const name = `${element.tagName}.${element.className} "${words.slice(0, 30)}"`;
            bad.push(`${name} ${found.toFixed(2)} (${color} on ${ground})`);
        }
    }
    return [seen, bad];
}"""
CUT = """() => {
    const root = document.documentElement;
    const bad = root.scrollWidth > root.clientWidth ? [`the page is ${root.scrollWidth} wide`] : [];
    const shown = document.querySelector("dialog[open]") || document.body;
    const all = "button, input:not([type=file]), select, textarea, .own label, .check, canvas, .pad, video, .card, .slider";
    for (const element of shown.querySelectorAll(all)) {
        if (!element.checkVisibility() || element.closest(".visually-hidden")) continue;
        const name = `${element.tagName} ${element.id || element.className} ${element.innerText || ""}`;
        const { left, right } = element.getBoundingClientRect();
        if (left < -0.5 || right > innerWidth + 0.5) bad.push(`${name}: ${left} to ${right} of ${innerWidth}`);
        const { scrollWidth, clientWidth } = element;
        const full = element.matches("button, .check") && scrollWidth > clientWidth + 1;
        if (full) bad.push(`${name}: ${scrollWidth} in ${clientWidth}`);
        const room = element.closest(".card, .setup-fields, .transport")?.getBoundingClientRect();
        if (room && (left < room.left - 0.5 || right > room.right + 0.5)) bad.push(`${name}: outside its card`);
    }
    return bad;
}"""
FOCUS = """() => {
    const element = document.activeElement;
    // A file input has no face: its frame shows the focus.
    const face = element.id === "own-file" ? document.getElementById("own") : element;
    const style = getComputedStyle(face), box = face.getBoundingClientRect();
    const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    return {
        name: element.id || element.dataset.tool || element.dataset.picture || element.className || element.tagName,
        ring: ring || face.id === "own",
        seen: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
    };
}"""
LISTEN = """() => {
    window.said = [];
    for (const region of document.querySelectorAll("[role=status], [role=alert], [aria-live]")) {
        const hear = () => region.textContent && said.push([region.id, region.textContent]);
        new MutationObserver(hear).observe(region, { childList: true, characterData: true, subtree: true });
    }
}"""


def nameless(studio: StudioPage) -> list[str]:
    """Controls of the accessibility tree that have no name."""
    devtools = studio.page.context.new_cdp_session(studio.page)
    nodes = devtools.send("Accessibility.getFullAXTree")["nodes"]
    devtools.detach()
    nodes = [node for node in nodes if not node["ignored"]]
    roles = [node["role"]["value"] for node in nodes]
    assert sum(role in CONTROLS for role in roles) >= 3, roles
    return [
        str((node["role"]["value"], node.get("properties")))
        for node in nodes
        if node["role"]["value"] in CONTROLS and not node.get("name", {}).get("value", "").strip()
    ]


def faces(studio: StudioPage) -> Iterator[str]:
    """Every face of the page in turn: pictures, set-up, help, the studio with every tool, and in every phase."""
    yield "pictures"
    studio.page.locator(".picture-adjust").first.evaluate("(button) => button.click()")
    studio.page.wait_for_selector("#setup[open]")
    yield "set-up"
    studio.keys("Escape", "?")
    studio.page.wait_for_selector("#help[open]")
    yield "help"
    studio.keys("Escape")
    studio.play("balloon", 14)
    for tool in TOOLS:
        studio.page.click(f"[data-tool={tool}].tool")
        if tool == "path":
            studio.page.check("#collect")
            studio.until("document.activeElement.id === 'overlay'")  # Space and Enter are not the box's
        yield tool
    studio.page.click("[data-tool=pin].tool")
    studio.stroke([(20, 70), (24, 70)])
    studio.page.click("[data-tool=drag].tool")
    studio.stroke([(84, 38), (80, 38)])
    yield "with gestures"
    studio.keys("Space")
    studio.until("m.phase === 'paused'")
    yield "paused"
    studio.keys("Home")
    studio.until("m.past")
    yield "looking back"
    studio.keys("Enter")
    studio.until("m.phase === 'ended'")
    studio.keys("End")
    yield "ended"
    studio.page.click("#home")
    studio.page.wait_for_selector("#last")
    yield "pictures and the last take"


@pytest.mark.parametrize("width", [360, 1280])
def test_every_face_has_names_and_contrast_and_room(visit: Visit, width: int) -> None:
    studio = visit(width, 740, touch=width == 360)
    for face in faces(studio):
        assert nameless(studio) == [], face
        assert studio.page.evaluate(CUT) == [], face
        for theme in ("dark", "light"):
            studio.page.emulate_media(color_scheme=theme)
            studio.page.wait_for_selector(f":root[data-theme={theme}]")
            seen, bad = studio.page.evaluate(CONTRAST)
            assert seen > 5, face
            assert bad == [], (face, theme)


def test_the_theme_is_the_systems_until_the_button_says_otherwise(studio: StudioPage) -> None:
    page = studio.page
    page.emulate_media(color_scheme="light")
    page.wait_for_selector(":root[data-theme=light]")
    page.click("#theme")
    page.reload()
    page.wait_for_selector(":root[data-theme=dark]")
    page.click("#theme")  # as the system has it: followed again
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector(":root[data-theme=dark]")


def test_the_keyboards_way_is_visible_and_what_happens_is_said(studio: StudioPage) -> None:
    page = studio.page
    page.evaluate(LISTEN)

    def walk(until: str, key: str = "Tab", most: int = 70) -> list[str]:
        names = []
        for _ in range(most):
            studio.keys(key)
            focus = page.evaluate(FOCUS)
            assert focus["ring"], f"{focus['name']} has no visible focus"
            assert focus["seen"], f"{focus['name']} has the focus out of sight"
            names.append(focus["name"])
            if focus["name"] == until:
                return names
        raise AssertionError(f"{until} was not reached: {names}")

    assert walk("home")[0] == "skip", "the first stop leads past the header"
    walk("balloon")
    studio.keys("Enter")
    studio.until("m.frame >= 3")
    assert studio.get("document.activeElement.id") == "overlay"
    names = walk("save-frame")
    assert names.index("play") < names.index("timeline") < names.index("radius") < names.index("prompt")
    # Tools by arrow keys, and what they are is said.
    page.focus("[data-tool=drag].tool")
    studio.keys("ArrowDown", "Enter")
    assert studio.get("m.tool") == "pin"
    studio.until("said.some(([id, text]) => id === 'announce' && text === 'Pin tool')")
    page.focus("#overlay")
    studio.keys("Space")
    studio.until("said.some(([id, text]) => id === 'announce' && text === 'Paused')")
    studio.keys("Space", "Control+y")
    studio.until("said.some(([id, text]) => id === 'announce' && text === 'Nothing to redo')")
    page.set_input_files("#depth-file", {"name": "d.png", "mimeType": "image/png", "buffer": b"no picture"})
    studio.until("said.some(([id, text]) => id === 'toasts' && text.includes('not a PNG'))")
    # And back: the picture that was chosen has the focus again.
    page.focus("#overlay")
    walk("home", "Shift+Tab")
    studio.keys("Enter")
    studio.until("m.phase === 'idle' && document.activeElement.dataset.picture === 'balloon'")
    assert page.evaluate(FOCUS)["ring"]


def test_skipping_to_the_content_ends_no_take(studio: StudioPage) -> None:
    page = studio.page
    page.focus(".skip")
    studio.keys("Enter")
    assert studio.get("document.activeElement.id") == "content"
    studio.play("balloon", 3)
    page.focus(".skip")
    studio.keys("Enter")
    assert studio.get("document.activeElement.id") == "overlay"
    studio.more(6)
    assert studio.get("m.phase") == "playing"
    assert page.url == studio.address
    page.evaluate("history.back()")
    studio.until("m.phase === 'idle'")


def in_focus(studio: StudioPage) -> str:
    return studio.get("document.activeElement.ariaLabel || document.activeElement.id")


def test_the_list_is_used_with_the_keyboard_and_no_key_ends_the_take(studio: StudioPage) -> None:
    studio.play("balloon", 5)
    studio.keys("p")

    def pins() -> None:
        for x in (20, 100):
            studio.stroke([(x, 80), (x + 2, 80)])
        studio.until("m.gestures.length === 2")

    pins()
    studio.page.locator("#gestures .icon-button").first.focus()
    studio.until("m.gestures.every(({ held }) => held)")  # the rows are made anew meanwhile
    assert in_focus(studio) == "Remove Pin 1"
    studio.keys("Enter")
    assert in_focus(studio) == "Remove Pin 2"
    studio.keys("Enter")
    assert (in_focus(studio), studio.get("m.gestures"), studio.get("m.phase")) == ("The picture", [], "playing")
    pins()
    studio.page.focus("#clear")
    studio.keys("Enter")
    assert (in_focus(studio), studio.get("m.gestures")) == ("The picture", [])
    studio.page.evaluate(LISTEN)
    studio.keys("Control+z")
    studio.until("said.some(([id, text]) => text === 'Undone: letting go of all')")
    studio.until("m.gestures.length === 2 && m.gestures.every(({ held }) => held)")
    studio.page.click("#gestures .icon-button >> nth=0")
    assert in_focus(studio) == "The picture", "of a click it does not stay on the list"
    studio.keys("Space")
    studio.until("m.phase === 'paused'")
    assert len(studio.get("m.gestures")) == 1


def test_a_page_without_a_token_says_so_after_the_dialog(studio: StudioPage) -> None:
    page = studio.page
    page.route("**/api/**", lambda route: route.fulfill(status=401, body="{}"))
    page.reload()
    page.wait_for_selector("#token-dialog[open]")
    studio.keys("Escape")
    page.wait_for_selector("#banner:has-text('needs a token')")
    page.click("#banner button")
    page.wait_for_selector("#token-dialog[open]")
    assert page.is_hidden("#banner")
    page.unroute("**/api/**")
    page.fill("#token", "anything here")
    studio.keys("Enter")
    page.wait_for_selector(".picture-start")


def test_a_prompt_that_is_too_long_is_refused_where_it_was_written(studio: StudioPage) -> None:
    page = studio.page
    page.locator(".picture-adjust").first.evaluate("(button) => button.click()")
    page.fill("#setup-prompt", "x" * 100_000)
    page.click("#setup-start")
    assert "has 100000 characters; at most 1000" in studio.text("#setup-error")
    assert page.locator("#setup[open]").count() == 1
    page.fill("#setup-prompt", "\N{BALLOON}" * 1000)  # 1000 characters are 2000 UTF-16 units
    page.click("#setup-start")
    studio.until("m.frame >= 0")
    page.fill("#prompt", "y" * 1001)
    assert "has 1001 characters" in studio.text("#prompt-note")
    assert page.is_disabled("#prompt-apply")
    page.fill("#prompt", "a balloon")
    page.click("#prompt-apply")
    assert studio.text("#prompt-note") == "From the next chunk on."


def test_a_prompt_can_be_changed_before_the_start(studio: StudioPage) -> None:
    page = studio.page
    page.locator(".picture-adjust").first.evaluate("(button) => button.click()")
    page.click("#draw-first")
    studio.until("m.phase === 'draft'")
    page.fill("#prompt", "another prompt")
    assert studio.text("#prompt-apply") == "Use at the start"
    page.click("#prompt-apply")
    page.click("#play")
    studio.until("m.frame >= 0")
    assert studio.get("m.take.prompt") == "another prompt"
