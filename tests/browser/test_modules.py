"""The page's modules by themselves, run by Chromium: pace, latency, geometry and the frame header, without an engine."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from motionstream.serve.outbox import FramePacket
from motionstream.stream.patch import DAB_CELLS, is_dab
from motionstream.stream.poses import along, path_share, transform

pytestmark = pytest.mark.browser
Module = Callable[..., Any]


def test_poses_and_paths_are_those_of_the_engine(run: Module) -> None:
    points = [[3.0, 4.0], [9.0, 5.0], [6.0, 12.0]]
    pose = [5.0, -2.0, 0.7, 1.3]
    code = "const c = m.centreOf(a[0]); return a[0].map((p) => m.place(p, c, a[1]));"
    assert np.allclose(run("brush", code, [points, pose]), transform(np.array(points), tuple(pose)))
    path = [(0.0, 0.0), (10.0, 0.0), (10.0, 5.0)]
    for share in (0.0, 0.3, 0.66, 0.9, 1.0):
        assert np.allclose(run("brush", "return m.along(a[0], a[1]);", [path, share]), along(path, share))
    for mode in ("once", "loop", "swing"):
        for ease in ("smooth", "linear"):
            for age in (0, 7, 24, 30, 47, 48, 60):
                made = run("brush", "return m.pathShare(...a);", [age, 24, ease, mode])
                assert made == pytest.approx(path_share(age, 24, ease, mode)), (mode, ease, age)


def test_brush_stays_in_the_picture_and_within_the_limit(run: Module) -> None:
    points = run("brush", "return m.disc(2, 3, 10, 1, 128, 96, 50);")
    assert 1 <= len(points) <= 50
    assert all(0 <= x < 128 and 0 <= y < 96 and math.hypot(x - 2, y - 3) <= 10.001 for x, y in points)
    assert run("brush", "return m.disc(64, 48, 0, 5, 128, 96);") == [[64, 48]]
    code = """
        const r = new m.Region(4, 128, 96, 30);
        for (let x = 0; x < 128; x += 2) for (const again of [1, 2]) r.add(x, 48, 8);
        return r.points;
    """
    painted = run("brush", code)
    assert len(painted) == 30 == len({tuple(point) for point in painted})


@pytest.mark.parametrize("radius", [0, 4, 6, 8, 10, 12, 20])
def test_what_is_called_a_dab_is_one_to_the_engine(run: Module, radius: float) -> None:
    places = torch.tensor(run("brush", "return m.disc(64, 48, a, 6, 128, 96);", radius), dtype=torch.float32)
    told = is_dab(places, torch.arange(len(places)), 8, torch.ones(len(places), dtype=torch.bool))
    assert run("brush", "return m.isDab(a[0], a[1]);", [places.tolist(), DAB_CELLS * 8]) is told


def test_simplified_path_stays_close_and_short(run: Module) -> None:
    circle = [[50 + 30 * math.cos(n / 50), 50 + 30 * math.sin(n / 50)] for n in range(300)]
    made = run("brush", "return m.simplify(a);", circle)
    assert 10 < len(made) < 60
    assert made[0] == circle[0]
    assert made[-1] == circle[-1]
    gap = "return Math.max(...a[0].map((p) => Math.min(...a[1].slice(1).map((q, n) => m.segmentGap(p, a[1][n], q)))));"
    assert run("brush", gap, [circle, made]) <= 0.36


def test_frame_header_is_read_as_the_server_packs_it(run: Module) -> None:
    packet = FramePacket(chunk=7, frame=91, echo_t=4_000_000_001, last_of_chunk=True, handed_over=10.0, jpeg=b"\xff\xd8jpeg")
    code = "const f = m.parseFrame(Uint8Array.from(a).buffer); return { ...f, blob: f.blob.size };"
    read = run("socket", code, list(packet.pack(now=10.25)))
    assert read == {"last": True, "chunk": 7, "frame": 91, "echo": 4_000_000_001, "age": 250, "blob": 6}
    assert run("socket", "return m.parseFrame(new ArrayBuffer(12));") is None


def test_latency_counts_each_event_once_also_over_the_clocks_end(run: Module) -> None:
    code = """
        const meter = new m.LatencyMeter(), top = 4294967296;
        const at = (t) => ((t % top) + top) % top;
        for (const t of [-30, -10, 20]) meter.sent(at(t));
        meter.painted(at(-10), at(100));
        const first = meter.take();
        meter.painted(at(-10), at(200));
        meter.painted(at(25), at(300));
        return [first, meter.take(), meter.p50, meter.p95];
    """
    assert run("latency", code) == [[130, 110], [280], 130, 280]


SIMULATE = """
    const { FrameStore, ChunkGrid } = await import(new URL("frames.js", a.base).href);
    const canvas = new OffscreenCanvas(4, 4);
    canvas.getContext("2d");
    const blob = await canvas.convertToBlob();
    const shown = [];
    const player = new m.Player(new FrameStore(), (bitmap, entry) => shown.push([entry.frame, player.clock]));
    player.reset(a.fps, new ChunkGrid(...a.frames));
    let frame = 0;
    const due = a.arrivals.map(([at, chunk]) => [at, chunk]);
    for (let now = 0; now < a.until; now += 16) {
        player.clock = now;
        while (due.length && due[0][0] <= now) {
            const [, chunk] = due.shift(), count = a.frames[chunk ? 1 : 0];
            for (let n = 0; n < count; n++) {
                player.push({ frame: frame++, chunk, last: n === count - 1, echo: 0, blob }, now);
            }
            await Promise.all(player.pending.map((entry) => entry.decoding));
        }
        player.tick(now);
    }
    return { shown, left: player.buffered, skipped: player.skipped };
"""


def simulate(
    run: Module,
    address: str,
    arrivals: list[tuple[float, int]],
    until: float,
    fps: float = 16,
    frames: tuple[int, int] = (9, 12),
) -> tuple[np.ndarray, dict[str, Any]]:
    """Times (ms) at which frames are shown when chunks of ``frames`` (first, others) arrive at ``arrivals`` (ms, chunk)."""
    given = {"base": f"{address}static/", "arrivals": arrivals, "until": until, "fps": fps, "frames": frames}
    made = run("player", SIMULATE, given)
    assert [frame for frame, _ in made["shown"]] == sorted({frame for frame, _ in made["shown"]}), "in order, each once"
    return np.array([at for _, at in made["shown"]]), made


def test_chunks_in_time_are_shown_at_an_even_pace(run: Module, address: str) -> None:
    times, made = simulate(run, address, [(0, 0), *((500 + 750 * n, n + 1) for n in range(8))], 6800)
    gaps = np.diff(times)
    assert made["skipped"] == 0
    assert gaps.min() >= 45, gaps
    assert gaps.max() <= 85, gaps


SHORT = {"fps": 24, "frames": (1, 4)}
"""Four frames every 167 ms, as nano makes them."""


@pytest.mark.parametrize("late_ms", [0, 25, 50])
def test_short_chunks_in_time_are_shown_at_an_even_pace(run: Module, address: str, late_ms: float) -> None:
    chance = np.random.default_rng(0)
    arrivals = [(0.0, 0), *((60 + 1000 / 6 * n + chance.uniform(0, late_ms), n + 1) for n in range(60))]
    times, made = simulate(run, address, arrivals, 10500, **SHORT)
    assert made["skipped"] == 0
    assert len(times) == 241 - made["left"]
    gaps = np.diff(times[times > 1500])
    assert gaps.max() <= 64, "the picture never stands still"
    assert gaps.mean() == pytest.approx(1000 / 24, rel=0.02)
    waited = times[1::4] - np.array([at for at, _ in arrivals[1:]])
    assert waited[10:].max() < 170, "what is kept for late chunks is no more than about three frames"


def test_slow_engine_looks_slow_instead_of_jerky(run: Module, address: str) -> None:
    # 12 frames every 1.2 seconds: 10 fps instead of 16.
    times, made = simulate(run, address, [(1200 * n, n) for n in range(10)], 12000)
    gaps = np.diff(times[times > 4000])
    assert made["skipped"] == 0
    assert gaps.mean() == pytest.approx(100, abs=6)
    assert gaps.max() < 240, gaps


def test_a_buffer_that_has_grown_drains_faster_but_without_a_jump(run: Module, address: str) -> None:
    arrivals = [(0, 0), (10, 1), (20, 2), (30, 3), *((750 * n + 700, n + 4) for n in range(12))]
    times, made = simulate(run, address, arrivals, 9600)
    gaps = np.diff(times)
    assert made["skipped"] == 0
    assert made["left"] <= 30, "what had piled up was shown"
    assert gaps.min() >= 30


def test_after_a_long_stall_the_page_jumps_to_the_present(run: Module, address: str) -> None:
    arrivals = [(0, 0), *((5000 + n, n + 1) for n in range(8))]
    times, made = simulate(run, address, arrivals, 9000)
    assert made["skipped"] >= 60
    assert made["left"] == 0
    assert len(times) > 9


def test_a_page_without_an_animation_loop_keeps_no_more_than_a_few_seconds(run: Module, address: str) -> None:
    code = """
        const { FrameStore, ChunkGrid } = await import(new URL("frames.js", a).href);
        const canvas = new OffscreenCanvas(4, 4);
        canvas.getContext("2d");
        const blob = await canvas.convertToBlob();
        const player = new m.Player(new FrameStore(), () => {}), entries = [];
        player.reset(16, new ChunkGrid(9, 12));
        for (let frame = 0; frame < 400; frame++) {
            entries.push({ frame, chunk: Math.floor((frame + 3) / 12), last: false, echo: 0, blob });
            player.push(entries.at(-1), frame * 60);
        }
        await Promise.all(entries.map((entry) => entry.decoding));
        return [player.buffered, entries.filter(({ bitmap }) => bitmap).length, player.pending.at(-1).frame];
    """
    buffered, decoded, newest = run("player", code, f"{address}static/")
    assert buffered == decoded <= 65
    assert newest == 399


def test_a_take_that_nobody_looks_at_waits_after_a_minute(run: Module, address: str) -> None:
    code = """
        const { Shown } = await import(new URL("shown.js", a).href);
        const link = Object.assign(new EventTarget(), { said: [], send(message) { this.said.push(message); } });
        const parts = { link, player: { head: 3, freeze() {} }, store: { last: 40 }, latency: { forgive() {} } };
        const run = new m.Run(parts);
        run.phase = "playing";
        for (const now of [30000, 61000, 64000]) new Shown({ run, ...parts }).unseen(now, 0);
        return [link.said.map(({ kind, frame }) => [kind, frame ?? null]), run.phase, run.reason];
    """
    said, phase, reason = run("run", code, f"{address}static/")
    assert said == [["shown", 40], ["shown", 40], ["pause", None], ["shown", 40]]
    assert phase == "paused"
    assert "hidden" in reason


def test_what_the_server_has_lost_is_not_called_kept(run: Module) -> None:
    code = """
        const link = Object.assign(new EventTarget(), { forget() {}, resuming: false });
        const run = new m.Run({ link, player: { freeze() {} } });
        Object.assign(run, { phase: "playing", take: { take: "0123456789abcdef" }, board: { over() {} } });
        link.dispatchEvent(new CustomEvent("status", { detail: { status: "open" } })); // to another server, with other takes
        for (let n = 0; n < 100 && !/server|kept/.test(run.reason); n++) await new Promise((done) => setTimeout(done, 50));
        return [run.phase, run.reason];
    """
    said = "The connection was away for too long. The server no longer has what was made."
    assert run("run", code) == ["ended", said]


PAUSED = """
    const { FrameStore, ChunkGrid } = await import(new URL("frames.js", a).href);
    const canvas = new OffscreenCanvas(4, 4);
    canvas.getContext("2d");
    const blob = await canvas.convertToBlob(), painted = [];
    const player = new m.Player(new FrameStore(), (bitmap, { frame }) => painted.push(frame));
    player.reset(16, new ChunkGrid(9, 12));
    for (let frame = 0; frame < 9; frame++) player.push({ frame, chunk: 0, last: frame === 8, echo: 0, blob }, 0);
    await Promise.all(player.pending.map((entry) => entry.decoding));
    for (let now = 0; player.head < 3; now += 16) player.tick(now);
    const rest = () => new Promise((done) => setTimeout(done, 300));
"""


def test_the_live_end_is_shown_in_a_pause_too(run: Module, address: str) -> None:
    code = """
        player.freeze(true);
        player.scrub(0);
        await rest();
        const past = player.shown;
        player.scrub(null);
        await rest();
        return [past, player.head, player.shown, painted.at(-1), player.buffered > 0];
    """
    past, head, shown, painted, pending = run("player", PAUSED + code, f"{address}static/")
    assert pending, "frames that were made before the pause wait for its end"
    assert (past, shown, painted) == (0, head, head)


RUN = """
    const said = [], asked = [];
    const link = Object.assign(new EventTarget(), {
        ...{ status: "open", holding: false, queue: [], resuming: false, send: (message) => said.push(message) },
        ...{ sendNow() {}, forget() {}, flush() {}, open() {} },
    });
    const board = {
        ...{ reset() {}, flush() {}, over: () => asked.push("over"), collecting: false },
        ...{ disown: (ids) => asked.push(["disown", ids]), settle: (ids) => asked.push(["settle", ids]) },
    };
    const camera = { clear() {}, send() {}, repeat() {} };
    const player = { freeze() {}, reset() {}, scrub() {}, live: true, shown: 5, fps: 16, head: 5 };
    const store = { clear(take) { this.take = take; }, last: 5 }, stage = { resize() {} };
    const run = new m.Run({ link, player, store, stage, latency: { reset() {}, forgive() {} }, limits: {} });
    run.join(board, camera);
    const hear = (message) => link.dispatchEvent(new CustomEvent("message", { detail: message }));
    const preset = { fps: 16, first_chunk_frames: 9, chunk_frames: 12, width: 48, height: 32 };
    const begun = { kind: "started", take: "0123456789abcdef", frame: 0, chunk: 0, ...preset };
    run.prepare({ take: "abc", prompt: "a cat" }, preset);
"""


def test_at_the_end_of_a_record_the_page_says_the_prompt_and_lets_go_what_it_cannot_list(run: Module) -> None:
    code = """
        run._on_ready();
        run.start();
        hear({ ...begun, prompt: "a cat", recorded: 4, first_id: 4 });
        const before = [run.recorded, run.prompt, run.live];
        let heard = 0;
        run.addEventListener("prompt", () => { heard += 1; });
        hear({ kind: "live", chunk: 4, frame: 45, prompt: "snow", active: [3] });
        return [before, [run.recorded, run.prompt, run.live], heard, asked];
    """
    before, after, heard, asked = run("run", RUN + code)
    assert before == [4, "a cat", False]
    assert after == [0, "snow", True]
    assert (heard, asked) == (1, [["disown", []], ["disown", [3]]])


@pytest.mark.parametrize(("recorded", "live"), [(0, True), (4, False)])
def test_after_a_reload_the_hand_is_live_where_the_server_says_so(run: Module, recorded: int, live: bool) -> None:
    code = """
        run.takeUp("session", "0123456789abcdef");
        hear({ ...begun, prompt: "snow", recorded: a, first_id: 4, resumed: true, frame: 21, chunk: 2, active: [3] });
        hear({ kind: "state", state: "playing" });
        return [run.recorded, run.live, run.refusal() === null, asked];
    """
    assert run("run", RUN + code, recorded) == [recorded, live, live, [["settle", [3]]]]


def test_what_waits_to_be_started_does_not_start_by_itself(run: Module) -> None:
    code = """
        const phases = [];
        for (const message of [{ kind: "queued", position: 1 }, { kind: "ready" }]) {
            hear(message);
            phases.push(run.phase);
        }
        hear({ kind: "queued", position: 1 });
        run.start();
        phases.push(run.phase);
        hear({ kind: "ready" });
        phases.push(run.phase);
        hear({ kind: "queued", position: 2 });
        return [...phases, run.phase];
    """
    assert run("run", RUN + code) == ["draft", "draft", "waiting", "starting", "waiting"]


@pytest.mark.parametrize("take", ["0123456789abcdef", None])
def test_a_reload_whose_session_is_gone_says_so(run: Module, take: str | None) -> None:
    code = """
        run.takeUp("session", a);
        link.dispatchEvent(new CustomEvent("status", { detail: { status: "open" } })); // with another session
        const told = () => (a ? /server/ : /long/).test(run.reason);
        for (let n = 0; n < 100 && !told(); n++) await new Promise((done) => setTimeout(done, 50));
        return [run.phase, run.reason, asked];
    """
    gone = " The server no longer has what was made." if take else ""
    assert run("run", RUN + code, take) == ["ended", "The connection was away for too long." + gone, ["over"]]
