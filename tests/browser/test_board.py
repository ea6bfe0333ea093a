"""What the hand has drawn, undone and refused again: the board by itself in Chromium, without an engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.browser
Module = Callable[..., Any]

BOARD = """
    const { Gesture } = await import(new URL("gesture.js", a.base).href);
    const said = [];
    const wire = { frame: 0, t: 0, send: (message) => said.push(message), sent: () => {}, accepts: () => true };
    Object.assign(wire, { open: true, reaches: () => wire.open });
    Object.assign(wire, { now: () => ++wire.t, seen: () => wire.frame, fps: () => 10 });
    const board = new m.Board(wire);
"""


@pytest.fixture(scope="module")
def board(run: Module, address: str) -> Module:
    """``board(code, argument)``: JavaScript with a ``board`` whose ``wire`` keeps what is ``said``."""
    return lambda code, argument=None: run("gestures", BOARD + code, {"base": f"{address}static/", "given": argument})


LINE = [[10, 10], [50, 10], [50, 30]]


@pytest.mark.parametrize(
    ("mode", "fields", "path", "seconds"),
    [
        ("once", {"seconds": 12}, [[40, 10], [50, 10], [50, 30]], 6),  # its end is where it was drawn
        ("once", {"mode": "loop"}, [[40, 10], [50, 10], [50, 30], [10, 10]], 6),
        ("once", {"mode": "swing"}, [[40, 10], [80, 10], [80, 30]], 6),
        ("swing", {"seconds": 3}, [[40, 10], [80, 10], [80, 30]], 3),
    ],
)
def test_a_running_path_goes_on_from_where_its_thing_is(
    board: Module, mode: str, fields: dict[str, Any], path: list[list[float]], seconds: float
) -> None:
    code = """
        const { line, mode, fields } = a.given, shape = { path: line, seconds: 6, ease: "linear", mode };
        const gesture = board.add(new Gesture("path", [[10, 10], [12, 14]], shape));
        board.painted(100, gesture.t);
        wire.frame = 129; // half of its time has gone by, and it is long since what lay under the points was drawn
        board.adjust(gesture, fields);
        return [said, board.log.map((one) => [one.wire, one.seconds, one.points[0]])];
    """
    said, log = board(code, {"line": LINE, "mode": mode, "fields": fields})
    assert [message["kind"] for message in said] == ["path", "remove", "path"]
    assert said[2]["path"] == path
    assert (said[2]["points"], said[2]["seen"], said[2]["seconds"]) == ([[40, 10], [42, 14]], 129, seconds)
    assert log[0] == ["gone", 6, [10, 10]], "the past stays as it was"


def test_a_loop_stays_where_it_was_drawn(board: Module) -> None:
    code = """
        const square = [[0, 0], [20, 0], [20, 20], [0, 20]];
        const gesture = board.add(new Gesture("path", [[0, 0]], { path: square, seconds: 8, mode: "loop" }));
        board.painted(0, gesture.t);
        wire.frame = 69; // on its way back
        board.adjust(gesture, { seconds: 4 });
        board.painted(70, gesture.t);
        wire.frame = 89;
        board.adjust(gesture, { mode: "once" });
        return said.filter(({ kind }) => kind === "path").slice(1);
    """
    second, third = board(code)
    assert second["path"] == [[0, 10], [0, 0], [20, 0], [20, 20], [0, 20]]
    assert third["path"] == [[20, 10], [20, 20], [0, 20], [0, 10]], "to the end of the round"
    assert third["seconds"] == 2


TOOLS = """
    const { Tools } = await import(new URL("tools.js", a.base).href);
    const stage = { overlay: document.createElement("canvas"), css: 4, width: 128, height: 96, dirty: false };
    let past = false;
    const asked = { may: () => null, limits: () => ({}), running: () => true, past: () => past };
    const tools = new Tools({ stage, board, camera: null, ...asked });
    const drag = board.add(new Gesture("drag", [[40, 40]]));
"""


def test_a_run_of_turns_is_undone_as_one(board: Module) -> None:
    code = """
        board.move(drag, [9, 0, 0, 1]);
        for (const [turn, size] of [[0.1, 1], [0.1, 1], [0, 1.5]]) tools.bend(turn, size);
        const poses = [drag.pose];
        for (const act of ["undo", "redo", "undo", "undo"]) {
          board[act]();
          poses.push(board.list.includes(drag) ? drag.pose : null);
        }
        return poses;
    """
    bent, before = [9, 0, pytest.approx(0.2), 1.5], [9, 0, 0, 1]
    assert board(TOOLS + code) == [bent, before, bent, before, None]


def test_looking_back_what_is_held_now_cannot_be_turned(board: Module) -> None:
    code = "past = true; return [tools.bend(0.1, 1), tools.selected, board.selected === drag];"
    assert board(TOOLS + code) == [False, None, True]


def test_a_path_that_has_arrived_is_no_step_any_more(board: Module) -> None:
    code = """
        const path = board.add(new Gesture("path", [[10, 10]], { path: [[0, 0], [9, 0]], seconds: 1 }));
        board.painted(3, path.t);
        const pin = board.add(new Gesture("pin", [[50, 50]]));
        board.undo();
        board.ended(path.id, 12);
        board.ended(drag.id, 12); // what was dragged can still be moved back
        const before = said.length;
        const left = [board.done, board.undone].map((steps) => steps.map(({ gesture }) => gesture.kind));
        board.redo();
        return [left, said.slice(before).map(({ kind }) => kind)];
    """
    assert board(TOOLS + code) == [[["drag"], ["pin"]], ["pin"]]


def test_letting_go_of_all_is_one_step_that_can_be_taken_back(board: Module) -> None:
    code = """
        board.move(drag, [9, 0, 0, 1]);
        board.add(new Gesture("pin", [[10, 10]]));
        const kinds = () => board.list.map(({ kind }) => kind);
        board.removeAll();
        const steps = [kinds()];
        for (const act of ["undo", "redo", "undo"]) steps.push(board[act](), kinds());
        const last = said.slice(-2).map(({ kind, points }) => [kind, points[0]]);
        return [steps, said.slice(3, 5).map(({ kind }) => kind), last];
    """
    steps, ended, last = board(TOOLS + code)
    both, said = ["drag", "pin"], "letting go of all"
    assert steps == [[], said, both, said, [], said, both]
    assert ended == ["release", "remove"]
    assert last == [["grab", [49, 40]], ["pin", [10, 10]]], "what was dragged is held where it is"


def test_a_brush_takes_the_thing_alone_also_when_it_is_taken_back(board: Module) -> None:
    code = """
        const brush = (snap) => new Gesture("drag", [[10, 10], [12, 10]], { snap });
        for (const snap of [true, false]) {
            const gesture = board.add(brush(snap));
            board.move(gesture, [9, 0, 0, 1], wire.t);
            board.end(gesture);
            board.undo();
            board.redo();
        }
        return said.filter(({ kind }) => kind === "grab").map(({ snap }) => snap || false);
    """
    assert board(code) == [True, True, True, False, False, False]


def test_what_the_server_has_refused_was_never_there(board: Module) -> None:
    code = """
        tools.session = { pointer: 1, gesture: drag };
        const sent = said.length;
        board.refused(drag.id);
        tools.follow([50, 50]);
        board.move(drag, [5, 0, 0, 1]); // of a hand that has not heard of it
        board.undo();
        return [drag.wire, tools.session, board.done.length, board.log.length, said.length - sent];
    """
    assert board(TOOLS + code) == ["gone", None, 0, 0, 0]


# ---- what the engine says of it --------------------------------------------------------------------------------------


def test_what_the_engine_holds_and_the_page_does_not_know_is_let_go(board: Module) -> None:
    code = """
        const pin = board.add(new Gesture("pin", [[10, 10]])); // id 1
        const removed = () => said.splice(0).filter(({ kind }) => kind === "remove").map(({ id }) => id);
        removed();
        board.disown([1, 7]); // 7: a record's, at its end
        const steps = [removed()];
        board.painted(5, pin.t);
        board.branched(10, wire.t, [1, 8]); // 8: a record's, held where the take goes on
        steps.push(removed());
        board.settle([1, 9], [8], 20); // 9: its remove was lost; 8: its remove comes next
        steps.push(removed(), board.list.map(({ id, wire }) => [id, wire]));
        return steps;
    """
    assert board(code) == [[7], [8], [9], [[1, "live"]]]


@pytest.mark.parametrize("reaches", [True, False])
@pytest.mark.parametrize("accepts", [True, False])
def test_what_is_changed_while_the_connection_is_away_goes_out_later(board: Module, reaches: bool, accepts: bool) -> None:
    code = """
        const pin = board.add(new Gesture("pin", [[10, 10]]));
        said.splice(0);
        [wire.open, wire.accepts] = [a.given[0], () => a.given[1]]; // a pause accepts nothing, but all that is sent arrives
        board.change(pin, { points: [[20, 10]] });
        const before = [said.splice(0).map(({ kind, id }) => [kind, id]), pin.wire];
        wire.open = true;
        board.flush();
        return [before, said.map(({ kind, points }) => [kind, points]), pin.wire, board.list.length];
    """
    before, after, wire, num_held = board(code, [reaches, accepts])
    assert before == ([[["remove", 1], ["pin", 2]], "live"] if reaches else [[["remove", 1]], "draft"])
    assert after == ([] if reaches else [["pin", [[20, 10]]]])
    assert (wire, num_held) == ("live", 1)


def test_the_timeline_ends_what_has_ended(board: Module) -> None:
    code = """
        const shape = { path: [[0, 0], [9, 0]], seconds: 2 };
        const add = (kind, more) => board.add(new Gesture(kind, [[10, 10]], more));
        const once = add("path", shape), loop = add("path", { ...shape, mode: "loop" }), given = add("path", shape);
        const pin = add("pin"), drag = add("drag");
        board.painted(30, wire.t);
        for (const one of [loop, given, pin, drag]) board.end(one);
        for (const { id } of [loop, given, pin, drag]) board.ended(id, 41); // no input comes whose echo would tell
        board.ended(once.id, 48); // its last frames are still to be shown
        const untils = [once, loop, given, pin, drag].map(({ until }) => until);
        board.painted(43, drag.goneT);
        return [untils, drag.until, board.actingIn(45).map(({ number, kind }) => [kind, number]), board.list.length];
    """
    untils, drag, acting, num_held = board(code)
    assert untils == [50, 41, 41, 41, None], "what was let go acts until a frame shows it"
    assert (drag, acting, num_held) == (43, [["path", 1]], 0)


def test_what_a_lost_connection_has_let_go_does_not_act_for_ever(board: Module) -> None:
    code = """
        const drag = board.add(new Gesture("drag", [[10, 10]]));
        board.painted(3, drag.t);
        board.dropped();
        board.settle([], [], 12);
        return [drag.wire, drag.until];
    """
    assert board(code) == ["gone", 12]


def test_what_the_engine_holds_after_a_branch_is_listed_whatever_the_timeline_says(board: Module) -> None:
    code = """
        const pin = board.add(new Gesture("pin", [[10, 10]]));
        board.painted(3, pin.t);
        board.end(pin);
        board.ended(pin.id, 12); // what was on screen then: a few frames before the one in which it ended
        board.branched(14, wire.t, [pin.id]);
        return [board.list.map(({ id }) => id), pin.wire, pin.until];
    """
    assert board(code) == [[1], "live", None]
