"""The parts without a server around them: rate, pace, outbox, line, limits."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from motionstream.presets import nano, preset
from motionstream.serve.binary import unpack_frame
from motionstream.serve.limits import Limits, Settings
from motionstream.serve.line import Line
from motionstream.serve.outbox import FramePacket, Outbox
from motionstream.serve.pacing import PlayClock
from motionstream.serve.rate import RateGate

# ---- rate ------------------------------------------------------------------------------------------------------------


def run(main: Coroutine[Any, Any, None]) -> None:
    """In a thread of its own: the browser tests leave an event loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, main).result()


def test_a_steady_hand_is_never_too_fast():
    gate = RateGate(100, now=0.0)
    assert all(gate.admit(n / 100) for n in range(2000))
    assert not gate.flooded


def test_bursts_pass_and_floods_do_not():
    gate = RateGate(100, now=0.0)
    admitted = sum(gate.admit(0.0) for _ in range(1000))
    assert admitted == 200
    assert not gate.flooded  # 1,000 at once are too fast; a flood is 2,000
    for _ in range(1001):
        gate.admit(0.0)
    assert gate.flooded
    assert RateGate(100, now=5.0).admit(1.0)  # a clock that goes back does no harm


# ---- pace ------------------------------------------------------------------------------------------------------------


def play(cost: Any, chunks: int, pause_at: int = -1) -> tuple[list[float], list[float]]:
    """Simulate: when each chunk was begun and when the picture ran dry, for 12 frames at 16 fps."""
    clock, now, shown_until = PlayClock(16, 0.04), 0.0, 0.0
    begun, dry = [], []
    for k in range(chunks):
        now += clock.wait_s(now)
        begun.append(now)
        took = cost(k)
        now += took
        clock.made(num_frames=12, cost_s=took, now=now)
        dry.append(max(0.0, now - shown_until) if k else 0.0)
        shown_until = max(shown_until, now) + 0.75
        if k == pause_at:
            clock.stop(now + 0.1)
            now += 100.0
            clock.go_on(now)
            shown_until += 100.0 - 0.1
    return begun, dry


def test_chunks_are_begun_late_and_are_ready_in_time():
    begun, dry = play(lambda k: 0.3 + 0.02 * (k % 3), 60)
    assert max(dry) == 0
    assert begun[59] - begun[29] == pytest.approx(30 * 0.75, abs=0.1)
    # the next chunk starts about 0.34 + 0.04 s before its turn, not right after the last
    assert 0.3 < begun[40] - begun[39] - 0.3


def test_a_slow_engine_never_waits():
    begun, _ = play(lambda k: 1.0, 20)
    assert begun == pytest.approx([float(k) for k in range(20)])


def test_a_pause_keeps_what_was_not_shown():
    begun, dry = play(lambda k: 0.3, 12, pause_at=5)
    assert max(dry[6:]) == 0
    assert begun[6] - begun[5] > 100.0


def test_after_a_branch_the_next_chunk_is_wanted_at_once():
    clock = PlayClock(16, 0.04)
    clock.made(num_frames=12, cost_s=0.1, now=0.0)
    assert clock.wait_s(0.0) > 0.5
    clock.restart()
    assert clock.wait_s(0.0) == 0


# ---- outbox ----------------------------------------------------------------------------------------------------------


def packet(frame: int) -> FramePacket:
    return FramePacket(frame // 12, frame, 0, frame % 12 == 11, 0.0, b"jpeg")


def reconnect(outbox: Outbox, have: int | None = None) -> int:
    reader = outbox.reconnect(have)
    outbox.go_on()
    return reader


async def empty(outbox: Outbox, reader: int = 0) -> list[str | int]:
    """What can be sent without waiting: texts, and the numbers of frames."""
    sent: list[str | int] = []
    while True:
        try:
            item = await asyncio.wait_for(outbox.next(reader), 0.01)
        except TimeoutError:
            return sent
        assert item is not None
        sent.append(item if isinstance(item, str) else unpack_frame(item)[0].frame)


def test_the_outbox_keeps_order_and_drops_the_oldest_frames():
    async def main() -> None:
        outbox = Outbox(capacity=4)
        outbox.put("a")
        for n in range(6):
            outbox.put_frame(packet(n))
        outbox.put("b")
        assert (outbox.dropped, outbox.num_frames, outbox.first_frame) == (2, 4, 2)
        assert await empty(outbox) == ["a", 2, 3, 4, 5, "b"]

    run(main())


def test_a_page_that_shows_nothing_is_sent_no_more_frames():
    async def main() -> None:
        outbox = Outbox(capacity=4, ahead=3)
        for n in range(4):
            outbox.put_frame(packet(n))
        assert await empty(outbox) == [0, 1, 2, 3]  # it never said anything: all is sent
        outbox.shown(0)
        for n in range(4, 12):
            outbox.put_frame(packet(n))
        outbox.put("text passes")
        assert await empty(outbox) == ["text passes"]  # 1, 2 and 3 are on their way
        outbox.shown(500)  # was never sent
        assert await empty(outbox) == []
        outbox.shown(2)
        assert await empty(outbox) == [8, 9]  # the oldest that waited
        assert await empty(outbox, reconnect(outbox)) == [10, 11]

    run(main())


def test_a_page_that_will_tell_is_held_back_from_the_first_frame_on():
    async def main() -> None:
        outbox = Outbox(capacity=4, ahead=3)
        for first in (0, 10):  # also after a reconnection
            reader = outbox.reconnect(have=first, tells=True)
            outbox.go_on()
            outbox.void(first)
            for n in range(first, first + 4):
                outbox.put_frame(packet(n))
            assert await empty(outbox, reader) == [first, first + 1, first + 2]
            outbox.shown(first)
            assert await empty(outbox, reader) == [first + 3]

    run(main())


def test_what_was_lost_on_its_way_is_sent_again_to_a_page_that_says_what_it_has():
    async def main() -> None:
        outbox = Outbox(capacity=8, ahead=6)
        for n in range(6):
            outbox.put_frame(packet(n))
        reader = reconnect(outbox)
        assert await empty(outbox, reader) == [0, 1, 2, 3, 4, 5]
        outbox.shown(1)
        outbox.put("lost")
        assert await empty(outbox, reader) == ["lost"]
        outbox.put_frame(packet(6))
        reader = outbox.reconnect(have=3)
        assert outbox.first_frame == 4
        outbox.put("greeting")
        outbox.go_on()
        assert outbox.num_frames == 3
        assert await empty(outbox, reader) == ["greeting", 4, 5, 6]
        reader = reconnect(outbox, 6)
        assert await empty(outbox, reader) == []
        outbox.put_frame(packet(7))
        assert await empty(outbox, reader) == [7]
        assert await empty(outbox, reconnect(outbox)) == []  # a page that begins anew asks for none
        outbox.void(7)
        assert await empty(outbox, reconnect(outbox, 3)) == []  # a branch took them back

    run(main())


def test_a_branch_voids_frames_and_what_was_said_about_them():
    async def main() -> None:
        outbox = Outbox(capacity=24, ahead=10)
        for n in range(24):
            outbox.put_frame(packet(n))
        assert len(await empty(outbox)) == 24
        outbox.shown(13)  # 14 to 23 are on their way
        for n in range(24, 30):
            outbox.put_frame(packet(n))
        assert await empty(outbox) == []
        outbox.void(12)
        assert outbox.num_frames == 0
        outbox.shown(23)  # said before the page knew of the branch
        for n in range(12, 34):
            outbox.put_frame(packet(n))
        assert await empty(outbox) == list(range(12, 22))
        outbox.put("old")
        assert (await empty(outbox, reconnect(outbox)))[0] == 22

    run(main())


def test_a_socket_that_was_replaced_takes_nothing_away():
    async def main() -> None:
        outbox = Outbox()
        before = outbox.reconnect()
        waiting = asyncio.create_task(outbox.next(before))
        await asyncio.sleep(0)
        after = outbox.reconnect()
        outbox.put("for the new one")
        assert await waiting is None
        assert await outbox.next(before) is None
        assert await empty(outbox, after) == ["for the new one"]

    run(main())


def test_unread_messages_are_noticed():
    outbox = Outbox()
    for _ in range(513):
        outbox.put("pong")
    assert outbox.overrun


# ---- line ------------------------------------------------------------------------------------------------------------


class Guest:
    def __init__(self) -> None:
        self.connected = True
        self.heard: list[int | str] = []

    def place(self, position: int) -> None:
        self.heard.append(position)

    def turn(self) -> None:
        self.heard.append("turn")


def test_places_in_line_are_told_when_they_change():
    line, (a, b, c, d) = Line(2), (Guest() for _ in range(4))
    assert [line.join(guest) for guest in (a, b, c, d)] == [True, True, True, False]
    assert (a.heard, b.heard, c.heard) == (["turn"], [1], [2])
    line.leave(b)
    assert c.heard == [2, 1]
    line.leave(a)
    assert c.heard == [2, 1, "turn"]
    assert (line.active, line.num_waiting) == (c, 0)


def test_who_is_not_there_is_passed_by_and_keeps_the_place():
    line, (a, b, c) = Line(5), (Guest() for _ in range(3))
    for guest in (a, b, c):
        line.join(guest)
    b.connected = False
    line.leave(a)
    assert line.active is c
    b.connected = True
    line.join(b)
    assert b.heard == [1, 1]
    line.leave(c)
    assert line.active is b


def test_a_turn_can_be_passed_on():
    line, (a, b) = Line(5), (Guest() for _ in range(2))
    line.join(a)
    line.pass_on()
    assert line.active is a  # nobody waits
    line.join(b)
    line.pass_on()
    assert line.active is b
    assert a.heard == ["turn", 1]


# ---- settings --------------------------------------------------------------------------------------------------------


def test_limits_and_settings_are_checked():
    assert nano().frames_of_chunks == (1, 4)
    assert preset("tiny-debug").frames_of_chunks == (9, 12)
    assert Settings(presets=(nano(), preset("tiny-debug"))).preset("tiny-debug").name == "tiny-debug"
    for make, said in (
        (lambda: Limits(upload_bytes=0), "upload_bytes=0"),
        (lambda: Limits(visitors_waiting=-1), "visitors_waiting=-1"),
        (lambda: Settings(presets=()), "presets is empty"),
        (lambda: Settings(presets=(nano(),), token="short"), "token of 5 characters"),
        (lambda: Settings(presets=(nano(),)).preset("wan"), "use one of nano"),
    ):
        with pytest.raises(ValueError, match=said):
            make()
