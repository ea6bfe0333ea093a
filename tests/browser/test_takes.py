"""Pause, look back, branch, keep, replay and re-open a take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from studio_page import StudioPage

pytestmark = [pytest.mark.browser, pytest.mark.weights]

MEAN_RED = """() => {
    const canvas = document.getElementById("video");
    const values = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return values.reduce((sum, value, n) => (n % 4 ? sum : sum + value), 0) / (values.length / 4);
}"""


def test_pause_stops_the_picture_and_resume_goes_on(studio: StudioPage) -> None:
    studio.play("ball", 5)
    studio.keys("Space")
    studio.until("m.phase === 'paused'")
    still = studio.settled("[m.frame, m.lastFrame]")  # the chunk under way may still arrive
    studio.page.wait_for_timeout(900)
    assert studio.get("[m.frame, m.lastFrame]") == still
    assert studio.text("#play") == "Resume"
    studio.keys("Space")
    studio.until(f"m.frame > {still[1]}")
    assert studio.text("#connection-text") == "live"
    kept, made = studio.get("[m.frames().length, m.lastFrame + 1]")  # at once: more arrive meanwhile
    assert kept == made, "no frame was lost"


def test_looking_back_pauses_and_shows_frames_that_were_received(studio: StudioPage) -> None:
    studio.play("ball", 30)
    studio.page.focus("#timeline")
    studio.keys("PageDown", "PageDown")
    studio.until("m.past && m.phase === 'paused'")
    studio.until("m.chunkOf(m.frame) !== m.chunkOf(m.frame + 1)")  # the last frame of a chunk
    studio.until("document.querySelector('#timeline').ariaValueText.endsWith(`chunk ${m.chunkOf(m.frame)}`)")
    frame = studio.get("m.frame")
    shown = studio.page.evaluate(MEAN_RED)
    assert shown == pytest.approx(float(studio.pixels(frame)[..., 0].mean()), abs=3), "the picture is that frame"
    studio.keys("Home")
    studio.until("m.frame === 0")
    studio.keys("End")
    studio.until("!m.past")
    studio.keys("Space")
    studio.until("m.phase === 'playing'")


def test_branch_goes_on_from_an_earlier_chunk_with_another_drag(studio: StudioPage) -> None:
    studio.play("balloon", 5)
    studio.stroke([(84, 38), (92, 38)])
    studio.until("m.lastFrame >= 56")
    studio.keys("Space")
    studio.until("m.phase === 'paused'")
    box = studio.page.locator("#timeline").bounding_box()
    studio.page.mouse.click(box["x"] + box["width"] * 18 / 144, box["y"] + 30)
    # The timeline settles on the chunk's last frame (chunks of 9, then 12). The screen follows a moment later, and until
    # then it shows where the take was paused, which may be the last frame of another chunk.
    studio.until("m.past && m.frame === 20")
    frame = studio.get("m.frame")
    kept, void = studio.pixels(frame), studio.pixels(frame + 12)
    studio.keys("d")
    studio.stroke([(84, 38), (70, 45)])
    studio.page.click("#branch")
    studio.until(f"m.phase === 'playing' && m.frame > {frame + 24}")
    assert np.array_equal(studio.pixels(frame), kept), "what lies before the branch stays"
    assert not np.array_equal(studio.pixels(frame + 12), void), "other drags, other frames"
    held = studio.get("m.log.map((g) => [g.wire, Boolean(g.held)])")
    assert held == [["gone", True], ["live", True]], "the new drag has the balloon, and the one from before has let go"
    assert [g["pose"][0] for g in studio.gestures("drag")][-1] == pytest.approx(-14, abs=0.5)


def test_the_take_is_kept_replayed_and_opened_again(studio: StudioPage, tmp_path: Path) -> None:
    studio.play("balloon", 5)
    studio.stroke([(84, 38), (72, 40)])
    studio.more(20)
    studio.keys("Enter")
    studio.until("m.phase === 'ended'")
    received = [studio.pixels(frame) for frame in studio.get("m.frames().slice(0, 30)")]
    paths = {}
    for button, name in (
        ("save-take", "take.json"),
        ("save-mp4", "clean.mp4"),
        ("save-tracks", "tracks.mp4"),
        ("save-frame", "frame.png"),
    ):
        paths[name] = tmp_path / name
        studio.download(f"#{button}", paths[name])
    take = json.loads(paths["take.json"].read_text(encoding="utf-8"))
    assert take["prompt"] == studio.page.input_value("#prompt")
    clean, drawn = decode(paths["clean.mp4"]), decode(paths["tracks.mp4"])
    assert len(clean) == len(drawn)
    assert np.abs(clean[-1].astype(int) - drawn[-1]).max() > 60, "tracks are drawn into one of them"
    # The command makes the same frames from the recorded input.
    output = tmp_path / "replayed.mp4"
    command = [sys.executable, "-m", "motionstream", "replay", str(paths["take.json"]), "-o", str(output), "--scale", "1"]
    subprocess.run(command, check=True, capture_output=True, timeout=180)
    replayed = decode(output)
    assert len(replayed) >= len(received)
    worst = max(np.abs(a.astype(float) - b).mean() for a, b in zip(replayed, received, strict=False))
    assert worst < 6, f"mean difference {worst:.1f} between replayed and received frames (both were compressed)"
    # And the page plays it again: the same frames, then the hand is live.
    studio.page.click("#home")
    studio.page.set_input_files("#own-file", str(paths["take.json"]))
    studio.until("m.recorded > 0 && m.frame >= 2")
    assert studio.page.title() == "A saved take – motionstream studio"
    studio.stroke([(30, 70), (34, 70)])
    assert studio.get("m.gestures") == [], "the recorded input plays first"
    assert "recorded" in studio.text("#toasts").lower()
    studio.until("m.recorded === 0 && m.phase === 'playing'")
    assert np.array_equal(studio.pixels(20), received[20]), "the same frames, to the last bit"
    studio.stroke([(30, 70), (34, 70)])
    studio.until("m.gestures[0]?.held")  # the engine has taken it
    assert [g["wire"] for g in studio.gestures("drag")] == ["live"]


def test_recorded_input_ends_at_a_branch_and_goes_on_over_a_reload(studio: StudioPage, tmp_path: Path) -> None:
    studio.play("ball", 70)
    studio.download("#save-take", tmp_path / "take.json")
    studio.page.click("#home")
    studio.page.set_input_files("#own-file", str(tmp_path / "take.json"))
    studio.until("m.recorded > 0 && m.frame >= 12")
    studio.page.reload()
    studio.until("m.phase === 'playing' || m.phase === 'paused'")
    assert studio.get("m.recorded") > 0, "it still plays after the reload"
    if studio.get("m.phase") == "playing":
        studio.keys("Space")
    studio.until("m.phase === 'paused'")
    studio.page.focus("#timeline")
    studio.keys("PageDown")
    studio.until("m.past && m.phase === 'paused'")
    frame = studio.get("m.frame")
    studio.page.click("#branch")
    studio.until(f"m.phase === 'playing' && m.frame > {frame + 12}")
    assert studio.get("m.recorded") == 0
    studio.stroke([(30, 70), (34, 70)])
    assert [g["wire"] for g in studio.gestures("drag")] == ["live"], "after a branch the hand is live"


def test_what_a_record_holds_at_its_end_is_let_go_and_its_prompt_is_said(studio: StudioPage) -> None:
    page = studio.page
    studio.play("balloon", 5)
    studio.keys("p")
    studio.stroke([(84, 38), (90, 38)])
    page.fill("#prompt", "a balloon of glass")
    page.click("#prompt-apply")
    studio.more(12)  # stopped sooner, no chunk would have been made with it
    studio.until("m.gestures[0]?.held")
    (pin,) = studio.gestures("pin")
    page.focus("#overlay")
    studio.keys("Enter")
    studio.until("m.phase === 'ended'")
    page.click("#home")
    page.click("#last-open")
    studio.until("m.recorded > 0 && m.frame >= 0")
    assert page.input_value("#prompt") != "a balloon of glass", "with that it did not begin"
    recorded = studio.get("m.recorded")
    studio.until("m.recorded === 0")
    assert page.input_value("#prompt") == "a balloon of glass"
    assert "what it held is let go" in studio.text("#toasts")
    studio.until(f"m.chunkOf(m.lastFrame) >= {recorded + 2}")
    take = studio.get("await (await fetch(`api/takes/${m.take.take}.json`)).json()")
    ends = [key for row in take["inputs"] if row["chunk"] >= recorded for key, _ in row.get("ends", [])]
    assert ends == [pin["id"]]


def decode(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as video:
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]


def test_the_prompt_changes_while_the_stream_runs(studio: StudioPage) -> None:
    studio.play("ball", 3)
    studio.page.fill("#prompt", "a soccer ball rolls to the left")
    studio.page.click("#prompt-apply")
    studio.more(24)
    take = studio.page.evaluate("fetch(`api/takes/${motionstream.take.take}.json`).then((answer) => answer.text())")
    assert "a soccer ball rolls to the left" in take
    assert studio.get("m.phase") == "playing"


def test_a_full_disk_is_said_as_long_as_it_lasts_and_what_was_made_can_be_kept(studio: StudioPage, tmp_path: Path) -> None:
    studio.play("ball", 14)
    # What the server says then (tests/serve/test_disk.py), put into the page's own socket.
    sentence = "the disk is full: make room on the server's disk, then resume; nothing made so far is lost"
    error = {"kind": "error", "code": "disk_full", "message": sentence, "fatal": False}
    paused = {"kind": "state", "state": "paused", "reason": sentence}
    for message in (error, paused):
        studio.page.evaluate("(text) => sockets.at(-1).onmessage({ data: text })", json.dumps(message))
    studio.until("m.phase === 'paused'")
    assert "The disk is full: make room" in studio.text("#toasts")
    assert studio.text("#chip") == "Paused. T" + sentence[1:]
    studio.download("#save-take", tmp_path / "take.json")
    assert json.loads((tmp_path / "take.json").read_text(encoding="utf-8"))["num_chunks"] >= 2
    studio.keys("Space")
    studio.until("m.phase === 'playing' && document.getElementById('chip').textContent.startsWith('Press')")


def test_back_leads_to_the_pictures_and_the_last_take_is_still_there(studio: StudioPage, tmp_path: Path) -> None:
    page = studio.page
    assert not page.is_visible("#last")
    for picture in ("ball", "balloon"):  # twice: the second time the way back is there already
        studio.play(picture, 14)
        page.evaluate("history.back()")
        studio.until("m.phase === 'idle'")
        assert page.is_visible("#gallery")
        assert page.title() == "motionstream studio"
    assert "balloon" in studio.text("#last-words")
    studio.download("#last-take", tmp_path / "take.json")
    assert json.loads((tmp_path / "take.json").read_text(encoding="utf-8"))["prompt"].startswith("a red balloon")
    page.reload()
    page.wait_for_selector("#last")
    page.click("#last-open")
    studio.until("m.recorded > 0 && m.frame >= 2")
    studio.until("m.recorded === 0 && m.phase === 'playing'")
