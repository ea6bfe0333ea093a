"""What a branch takes along, and a branch that the page did not hear of."""

from __future__ import annotations

import pytest
from studio_page import StudioPage

pytestmark = [pytest.mark.browser, pytest.mark.weights]


def cut(studio: StudioPage) -> None:
    studio.page.evaluate("sockets.at(-1).close(4999)")
    studio.until("m.connection === 'lost'")
    studio.until("m.connection === 'open' && m.take.resumed")


def look_back(studio: StudioPage) -> None:
    studio.keys("Space")
    studio.until("m.phase === 'paused'")
    studio.keys("Home")
    studio.until("m.past && m.frame === 0")


def prompts(studio: StudioPage) -> list[str]:
    """What the take's record says of prompts, in order."""
    take = studio.get("await (await fetch(`api/takes/${m.take.take}.json`)).json()")
    return [row["prompt"] for row in take["inputs"] if row.get("prompt")]


def test_a_prompt_set_while_looking_back_goes_along_with_the_branch(studio: StudioPage) -> None:
    page = studio.page
    studio.play("ball", 25)
    look_back(studio)
    page.fill("#prompt", "a ball of glass")
    page.click("#prompt-apply")
    assert studio.text("#prompt-note") == "From the next chunk on."
    page.click("#branch")
    studio.until("m.phase === 'playing'")
    studio.more(24)
    assert page.input_value("#prompt") == "a ball of glass"
    assert prompts(studio) == ["a ball of glass"]
    # And what is still being written is nobody's but the writer's.
    page.fill("#prompt", "a ball of w")
    cut(studio)
    studio.until("m.phase === 'playing' && document.getElementById('toasts').innerText.includes('Connected again')")
    assert page.input_value("#prompt") == "a ball of w"
    page.focus("#overlay")
    look_back(studio)
    page.click("#branch")
    studio.until("m.phase === 'playing'")
    studio.more(12)
    assert page.input_value("#prompt") == "a ball of w"
    assert page.is_enabled("#prompt-apply")
    assert prompts(studio) == [], "it was branched from before that prompt, and none was set for the branch"


def test_a_prompt_does_not_go_along_once_the_take_has_gone_on_with_it(studio: StudioPage) -> None:
    studio.play("ball", 15)
    before = studio.page.input_value("#prompt")
    studio.keys("Space")
    studio.until("m.phase === 'paused'")
    studio.page.fill("#prompt", "a ball of glass")
    studio.page.click("#prompt-apply")
    studio.page.focus("#overlay")
    studio.keys("Space")
    studio.until("m.phase === 'playing'")
    studio.more(24)
    look_back(studio)
    studio.page.click("#branch")
    studio.until("m.phase === 'playing'")
    studio.more(12)
    assert studio.page.input_value("#prompt") == before
    assert prompts(studio) == []


def test_after_a_branch_that_the_page_did_not_hear_of_all_that_is_held_is_listed(studio: StudioPage) -> None:
    page = studio.page
    studio.play("balloon", 5)
    studio.keys("p")
    studio.stroke([(20, 80), (30, 80)])
    studio.until("m.log[0].from !== null")
    (pin,) = studio.gestures("pin")
    studio.more(26)
    page.click("#gestures .icon-button")
    studio.more(26)
    studio.keys("Space")
    studio.until("m.phase === 'paused'")
    studio.settled("m.lastFrame")
    target = studio.get("m.log[0].from") + 10
    page.focus("#timeline")
    for _ in range(200):
        if studio.get("m.frame") <= target:
            break
        studio.keys("ArrowLeft")
        page.wait_for_timeout(40)
    page.evaluate("sockets.at(-1).onmessage = null")
    page.click("#branch")
    page.wait_for_timeout(1500)
    cut(studio)
    studio.until("m.phase === 'playing'")
    assert [gesture["id"] for gesture in studio.gestures("pin")] == [pin["id"]]
    assert studio.get("m.take.active") == [pin["id"]]
    studio.more(14)
    page.evaluate("""() => {
        const socket = sockets.at(-1), hear = socket.onmessage;
        window.heard = [];
        socket.onmessage = (event) => {
            if (typeof event.data === "string") heard.push(JSON.parse(event.data));
            hear(event);
        };
    }""")
    page.click("#gestures .icon-button")
    studio.until(f"heard.some(({{ kind, id }}) => kind === 'ended' && id === {pin['id']})")
    assert studio.get("m.gestures") == []
