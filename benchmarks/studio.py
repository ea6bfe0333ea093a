"""The studio as a page sees it: ``python benchmarks/studio.py [--seconds 60 | --minutes 30] [--preset nano] [--out FILE]``.

A real server in its own process, and a client without a screen that drags something in circles, moving 20 times a second,
and shows frames at the video's rate. Measured from the client's side:

- ``received_ms``: from an event to the arrival of the first frame that shows it; ``shown_ms``: to that frame's turn on
  screen, which is what a hand feels;
- frames made, delivered and dropped a second, and how long the picture stood still for want of a frame;
- with ``--stall S`` the client stops reading for S seconds once in ``--every`` seconds, and returns: ``catch_up_s`` is how
  long it then takes until a frame shows an event from after the return;
- the server's resident memory, late against early.

The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections import deque
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from motionstream.serve.binary import unpack_frame
from motionstream.serve.protocol import VERSION

MOVES_PER_SECOND = 20
FAR_BEHIND_CHUNKS, FAR_BEHIND_S = 2.5, 1.0


class Screen:
    """Shows frames at an even rate, or as soon as they are there; skips what is far behind."""

    def __init__(self, fps: float, chunk_frames: int) -> None:
        self.fps, self.far_s = fps, max(FAR_BEHIND_CHUNKS * chunk_frames / fps, FAR_BEHIND_S)
        self.turn = 0.0
        self.still_s = 0.0

    def show(self, now: float) -> float:
        """When the frame that came at ``now`` is on screen."""
        due = self.turn + 1 / self.fps
        if self.turn and now > due:
            self.still_s += now - due
        self.turn = now if due - now > self.far_s else max(now, due)
        return self.turn


class Client:
    """One visitor: a reading loop, and a thread that moves the hand and keeps the connection alive."""

    def __init__(self, socket: ClientConnection, picture: str) -> None:
        self.socket = socket
        self.began = time.perf_counter()
        self.say("hello", v=VERSION)
        self.until("ready")
        self.say("start", picture=picture, prompt="something moves", seed=0)
        self.started = self.until("started")
        self.screen = Screen(self.started["fps"], self.started["chunk_frames"])
        self.events: deque[tuple[int, float]] = deque()
        self.received_ms: list[float] = []
        self.shown_ms: list[float] = []
        self.fresh_ms: list[float] = []
        self.stats: dict[str, Any] = {}
        self.chunk_ms: list[float] = []
        self.num_frames, self.frame, self.echo = 0, 0, 0
        self.done = threading.Event()
        self.ttff_s = 0.0

    def say(self, kind: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"kind": kind, **fields}))

    def until(self, kind: str) -> dict[str, Any]:
        while True:
            message = self.socket.recv(timeout=60)
            if isinstance(message, str) and (read := json.loads(message))["kind"] in (kind, "error"):
                if read["kind"] == "error":
                    raise SystemExit(f"the server says: {read['message']}")
                return read

    def clock(self) -> int:
        return int(1000 * (time.perf_counter() - self.began)) + 1

    def hand(self) -> None:
        """Take hold of the middle, and go round in circles."""
        width, height = self.started["width"], self.started["height"]
        points = [[width / 2 + x, height / 2 + y] for x in (-6, 0, 6) for y in (-6, 0, 6)]
        self.say("grab", id=1, points=points, seen=0, t=self.clock())
        said, pinged = time.perf_counter(), 0.0
        while not self.done.wait(1 / MOVES_PER_SECOND):
            now = time.perf_counter()
            phase = 2 * math.pi * (now - self.began) / 4
            reach = height / 5
            t = self.clock()
            self.events.append((t, now))
            try:
                self.say("move", id=1, pose=[reach * math.sin(phase), reach * (1 - math.cos(phase)), 0, 1], t=t)
                if now - said > 1:
                    fresh, self.fresh_ms = self.fresh_ms[-64:], []
                    self.say("shown", frame=self.frame, latency=fresh)
                    said = now
                if now - pinged > 3:
                    self.say("ping", t=t)
                    pinged = now
            except ConnectionClosed:
                return

    def read(self) -> None:
        """Deal with one message."""
        message = self.socket.recv(timeout=30)
        now = time.perf_counter()
        if isinstance(message, str):
            read = json.loads(message)
            if read["kind"] == "stats":
                self.stats = read
                self.chunk_ms.append(read["chunk_ms"])
            elif read["kind"] == "error":
                raise SystemExit(f"the server says: {read['message']}")
            return
        header, _ = unpack_frame(message)
        self.ttff_s = self.ttff_s or now - self.began
        self.num_frames, self.frame = self.num_frames + 1, header.frame
        on_screen = self.screen.show(now)
        self.echo = max(self.echo, header.echo_t)
        while self.events and self.events[0][0] <= self.echo:
            _, sent = self.events.popleft()
            self.received_ms.append(1000 * (now - sent))
            self.shown_ms.append(1000 * (on_screen - sent))
            self.fresh_ms.append(self.shown_ms[-1])


def serve(preset: str, port: int) -> tuple[subprocess.Popen[str], str]:
    """Start a server; the process, and its address."""
    command = [sys.executable, "-m", "motionstream", "demo", "--preset", preset, "--port", str(port), "--no-browser"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        print(line, end="", file=sys.stderr)
        if found := re.search(r"http://([\w.:]+)/", line):
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return process, found[1]
    raise SystemExit("the server did not start")


def resident_mib(pid: int) -> float:
    """Resident set of a process; 0 where /proc is absent."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return 0.0


def spread(values: list[float]) -> dict[str, float] | None:
    """p50 and p95."""
    if len(values) < 2:
        return None
    cut = statistics.quantiles(values, n=100)
    return {"p50": round(cut[49], 1), "p95": round(cut[94], 1)}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Start a server, visit it, and report."""
    process, address = serve(args.preset, args.port)
    try:
        with connect(f"ws://{address}/ws", compression=None, max_queue=16) as socket:
            client = Client(socket, args.picture)
            threading.Thread(target=client.hand, daemon=True).start()
            try:
                seen = watch(client, args, process.pid)
            finally:
                client.done.set()
        with urllib.request.urlopen(f"http://{address}/health") as answer:
            health = json.load(answer)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
    return {"preset": health["preset"], "device": health["device"]} | seen


def watch(client: Client, args: argparse.Namespace, server: int) -> dict[str, Any]:
    """Read for the time asked for, with the stalls asked for; the figures."""
    begun = time.perf_counter()
    end, next_stall = begun + args.seconds, begun + args.every
    memory: list[float] = []
    catch_up: list[float] = []
    while (now := time.perf_counter()) < end:
        if args.stall and now >= next_stall and now + args.stall < end:
            time.sleep(args.stall)
            returned, returned_t = time.perf_counter(), client.clock()
            # Events of the stall are shown late by its length; they say nothing about the delay afterwards.
            client.events.clear()
            while client.echo < returned_t and time.perf_counter() < end:
                client.read()
            catch_up.append(round(time.perf_counter() - returned, 2))
            next_stall = returned + args.every
        client.read()
        if now - begun > len(memory):
            memory.append(resident_mib(server))
    took = time.perf_counter() - begun
    early, late = memory[len(memory) // 5 :][:60], memory[-60:]
    made, dropped = client.stats["frames_made"], client.stats["frames_dropped"]
    return {
        "seconds": round(took, 1),
        "input_latency_ms": {"received": spread(client.received_ms), "shown": spread(client.shown_ms)},
        "server_says_latency_ms": client.stats["input_latency_ms"],
        "fps": {
            "video": client.started["fps"],
            "possible": round(1000 * client.started["chunk_frames"] / statistics.median(client.chunk_ms), 1),
            "made": round(made / took, 2),
            "delivered": round(client.num_frames / took, 2),
        },
        "frames": {"made": made, "delivered": client.num_frames, "dropped": dropped},
        "chunk_ms": spread(client.chunk_ms),
        "stood_still_s": round(client.screen.still_s, 2),
        "stalls": {"count": len(catch_up), "seconds_each": args.stall, "catch_up_s": catch_up},
        "ttff_s": round(client.ttff_s, 3),
        "server_mib": {"early": round(statistics.median(early), 1), "late": round(statistics.median(late), 1)},
    }


def environment() -> dict[str, Any]:
    """Hardware and versions that a number needs next to it."""
    shown = subprocess.run([sys.executable, "-m", "motionstream", "info", "nano", "--json"], capture_output=True, text=True)
    facts = json.loads(shown.stdout) if shown.returncode == 0 else {}
    here = Path(__file__).parent
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=here)
    return {
        "dtype": facts.get("dtype"),
        "reason": facts.get("reason"),
        "threads": facts.get("threads"),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "torch": facts.get("torch"),
        "python": platform.python_version(),
        "commit": commit.stdout.strip() or "unknown",
        "command": " ".join(["benchmarks/studio.py", *sys.argv[1:]]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--picture", default="ball")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=float, default=60.0)
    length.add_argument("--minutes", type=float)
    parser.add_argument("--stall", type=float, default=0.0, metavar="S", help="stop reading for S seconds ...")
    parser.add_argument("--every", type=float, default=60.0, metavar="S", help="... once in so many (default: 60)")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the report to this file")
    args = parser.parse_args()
    if args.minutes is not None:
        args.seconds = 60 * args.minutes
    report = measure(args) | environment()
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
