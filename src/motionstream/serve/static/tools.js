// Pointer and keys on the picture -> gestures. Mouse, pen and touch alike; a second finger turns and scales.

import { AT_REST, Region, disc, lengthOf, pinch, simplify } from "./brush.js";
import { clock } from "./socket.js";
import { Gesture } from "./gesture.js";
import { KNOB_TOOLS, gestureAt, handles, knobAt } from "./hit.js";

const MOVE_MS = 16;
const RUN_MS = 1500; // key presses that are no farther apart are one run
const STEP = 1 / 128, BIG_STEP = 6 / 128; // of the width

/** Events: "tool" when another tool is taken, "refused" (detail: a sentence) when nothing can be drawn. */
export class Tools extends EventTarget {
  /** `may()` says why nothing can be drawn now, or null. */
  constructor({ stage, board, camera, may, limits, running, past }) {
    super();
    Object.assign(this, { stage, board, camera, may, limits, running, past });
    Object.assign(this, { tool: "drag", radius: 12, spacing: 6, snap: true, keep: false, seconds: 3, mode: "once", ease: "smooth" });
    Object.assign(this, { hover: null, session: null, cross: null });
    board.addEventListener("refused", ({ detail }) => { if (this.session?.gesture === detail) this.session = null; });
    const { overlay } = stage;
    overlay.addEventListener("pointerdown", (event) => this.#down(event));
    overlay.addEventListener("pointermove", (event) => this.#move(event));
    overlay.addEventListener("pointerup", (event) => this.#up(event));
    overlay.addEventListener("pointercancel", (event) => this.#lost(event));
    overlay.addEventListener("pointerleave", () => { this.hover = null; this.#redraw(); });
    overlay.addEventListener("contextmenu", (event) => event.preventDefault());
    overlay.addEventListener("blur", () => { this.cross = null; this.#redraw(); });
  }

  take(tool) {
    if (this.session) this.cancel();
    this.tool = tool;
    this.stage.overlay.dataset.tool = tool;
    this.dispatchEvent(new Event("tool"));
    this.#redraw();
  }

  brushAt([x, y]) {
    const { width, height } = this.stage;
    return disc(x, y, this.radius, this.spacing, width, height, this.limits().points_per_gesture);
  }

  #redraw() { this.stage.dirty = true; }

  #refuse(sentence) { this.dispatchEvent(new CustomEvent("refused", { detail: sentence })); }

  /** Room for more points, or a sentence to the user. */
  #room(count) {
    const most = this.limits().points_at_once;
    if (this.board.numPoints + count <= most) return true;
    this.#refuse(`That would be more than ${most} points at once. Let something go, or use wider spacing.`);
    return false;
  }

  /** What can be taken hold of again: looking back, only what has been drawn there. */
  get #own() { return this.past() ? this.board.drafts : this.board.list; }
  get selected() { return this.#own.find((one) => one === this.board.selected) || null; }
  #knobAt(at) { return KNOB_TOOLS.includes(this.tool) ? knobAt(this.selected, at, this.stage) : null; }
  #gestureAt(at, kinds) { return gestureAt(this.#own, at, kinds, this.stage.css); }

  // ---------------------------------------------------------------- pointer

  #down(event) {
    if (event.button > 0) return;
    const at = this.stage.at(event);
    this.cross = null;
    if (this.session && this.session.pointer !== undefined && event.pointerId !== this.session.pointer) {
      if (this.session.type === "pen") return; // the palm
      if (event.pointerType !== "pen") {
        this.#second(event, at);
        return;
      }
      this.cancel(); // it was the palm
    }
    event.preventDefault();
    this.stage.overlay.focus({ preventScroll: true });
    const why = this.may();
    if (why) {
      this.#refuse(why);
      return;
    }
    if (this.session) this.finish();
    this.stage.overlay.setPointerCapture(event.pointerId);
    this.begin(at, event.pointerId, event.timeStamp);
    if (this.session) this.session.type = event.pointerType;
  }

  /** The browser has taken a pointer away. */
  #lost({ pointerId }) {
    const { session } = this;
    if (session?.second?.id === pointerId) this.#flat(session);
    else if (session?.pointer === pointerId) this.cancel();
  }

  #move(event) {
    const at = this.stage.at(event);
    if (event.pointerType !== "touch") this.hover = this.stage.inside(at) ? at : null;
    this.#redraw();
    const session = this.session;
    if (!session || session.pointer === undefined) {
      this.#cursor(at);
      return;
    }
    if (session.second?.id === event.pointerId) {
      session.second.now = at;
      this.#two(event.timeStamp);
      return;
    }
    if (event.pointerId !== session.pointer) return;
    if (session.second) {
      session.now = at;
      this.#two(event.timeStamp);
      return;
    }
    const events = session.path || session.region ? event.getCoalescedEvents?.() || [event] : [event];
    for (const one of events.length ? events : [event]) this.follow(this.stage.at(one), one.timeStamp);
  }

  #up(event) {
    const session = this.session;
    if (!session || session.pointer === undefined) return;
    if (session.second?.id === event.pointerId) {
      this.#flat(session);
      return;
    }
    if (event.pointerId === session.pointer) this.finish(event.timeStamp);
    if (event.pointerType === "touch") this.hover = null;
  }

  #cursor(at) {
    const { overlay } = this.stage;
    const knob = this.#knobAt(at);
    const held = this.#gestureAt(at, this.tool === "select" ? ["drag", "pin", "path"] : this.tool === "drag" ? ["drag"] : []);
    overlay.dataset.over = knob ? "knob" : held ? "held" : "";
  }

  // ---------------------------------------------------------------- one stroke, by pointer or by keys

  begin(at, pointer = undefined, stamp = performance.now()) {
    const knob = this.#knobAt(at);
    if (knob) this.#beginKnob(knob, at, pointer);
    else this[`_begin_${this.tool}`](at, pointer, stamp);
    this.board.changed();
  }

  #beginKnob(knob, at, pointer) {
    const gesture = this.board.selected;
    const centre = handles(gesture, this.stage).centre;
    const angle = Math.atan2(at[1] - centre[1], at[0] - centre[0]);
    const far = Math.max(Math.hypot(at[0] - centre[0], at[1] - centre[1]), 0.5);
    this.session = { pointer, gesture, before: gesture.pose, knob, centre, angle, far };
  }

  _begin_drag(at, pointer) {
    const held = this.#gestureAt(at, ["drag"]);
    if (held) {
      this.board.select(held);
      this.session = { pointer, gesture: held, before: held.pose, start: at };
      return;
    }
    const points = this.brushAt(this.stage.clamp(at));
    if (!this.keep && this.running()) for (const other of this.board.list.filter((g) => g.kind === "drag")) this.board.end(other);
    if (!this.#room(points.length)) return;
    // Looking back, what the hand held then is let go of when the take goes on from there.
    const gesture = new Gesture("drag", points, { seen: this.board.wire.seen(), alone: !this.keep && this.past(), snap: this.snap });
    this.board.add(gesture);
    this.session = { pointer, gesture, before: AT_REST, start: at, fresh: true };
  }

  _begin_pin(at, pointer) {
    const { width, height } = this.stage;
    const room = this.limits().points_at_once - this.board.numPoints;
    if (!this.#room(1)) return;
    const region = new Region(this.spacing, width, height, Math.min(this.limits().points_per_gesture, room));
    this.session = { pointer, region, start: at, seen: this.board.wire.seen() };
    if (this.radius < this.spacing / 2) region.cells.set("point", this.stage.clamp(at));
    else region.add(...this.stage.clamp(at), this.radius);
  }

  _begin_path(at, pointer) {
    const start = this.stage.clamp(at);
    const points = this.brushAt(start);
    if (!this.#room(points.length)) return;
    this.session = { pointer, points, path: [start], start, seen: this.board.wire.seen() };
  }

  _begin_camera(at, pointer) {
    this.session = { pointer, push: true, start: at, now: at };
  }

  _begin_motion(at, pointer) {
    this.session = { pointer, place: true };
    this.#placeMotion(at);
  }

  #placeMotion(at) { this.dispatchEvent(new CustomEvent("motion", { detail: this.stage.clamp(at) })); }

  _begin_select(at, pointer) {
    const gesture = this.#gestureAt(at, ["drag", "pin", "path"]);
    this.board.select(gesture || null);
    if (!gesture) return;
    this.session = { pointer, gesture, before: gesture.pose, start: at, shift: gesture.kind === "drag" ? undefined : [0, 0] };
  }

  follow(at, stamp = performance.now()) {
    const session = this.session;
    if (!session) return;
    session.now = at;
    if (session.region) {
      session.region.add(...this.stage.clamp(at), Math.max(this.radius, 0.5));
      if (session.region.full && !session.told) {
        session.told = true;
        this.#refuse(`A pin holds at most ${session.region.limit} points. Use wider spacing for a larger region.`);
      }
    } else if (session.points) {
      const last = session.path[session.path.length - 1];
      if (Math.hypot(at[0] - last[0], at[1] - last[1]) > 0.4) session.path.push(at);
    } else if (session.place) {
      this.#placeMotion(at);
    } else if (session.push) {
      const far = 0.3 * this.stage.width;
      const [x, y] = [(at[0] - session.start[0]) / far, (at[1] - session.start[1]) / far];
      const size = Math.max(1, Math.hypot(x, y));
      this.camera.set({ x: x / size, y: y / size });
    } else if (session.shift) {
      session.shift = [at[0] - session.start[0], at[1] - session.start[1]];
    } else {
      this.#pose(this.#poseFor(session, at), stamp);
    }
    this.#redraw();
  }

  #poseFor({ before, start, knob, centre, angle, far }, at) {
    const [dx, dy, turn, scale] = before;
    if (knob === "rotate") {
      const more = Math.atan2(at[1] - centre[1], at[0] - centre[0]) - angle;
      return [dx, dy, turn + Math.atan2(Math.sin(more), Math.cos(more)), scale];
    }
    if (knob === "scale") {
      const more = Math.hypot(at[0] - centre[0], at[1] - centre[1]) / far;
      return [dx, dy, turn, Math.min(Math.max(scale * more, 0.2), 4)];
    }
    return [dx + at[0] - start[0], dy + at[1] - start[1], turn, scale];
  }

  /** The hand's pose goes out at most once per picture on screen; the last one always does. */
  #pose(pose, stamp) {
    const session = this.session;
    session.gesture.pose = pose;
    session.latest = { pose, t: clock(stamp) };
    this.send(false);
  }

  send(force) {
    const session = this.session;
    if (!session?.latest || (!force && performance.now() - (this.sentAt || 0) < MOVE_MS)) return;
    this.sentAt = performance.now();
    const { pose, t } = session.latest;
    session.latest = null;
    this.board.move(session.gesture, pose, t);
  }

  finish() {
    const session = this.session;
    if (!session) return;
    this.send(true);
    this.session = null;
    if (session.region) {
      this.board.add(new Gesture("pin", session.region.points, { seen: session.seen }));
    } else if (session.points) {
      if (lengthOf(session.path) < 2) this.#refuse("Pull along the way that it should go, then let go.");
      else this.#addPath(session);
    } else if (session.push) {
      this.camera.letGo();
    } else if (session.shift) {
      this.#shift(session.gesture, session.shift);
    } else if (!session.fresh && session.gesture) {
      const { gesture } = session, before = session.origin || session.before, after = gesture.pose;
      if (before.some((value, n) => value !== after[n])) {
        this.board.step("the last move", gesture, () => this.board.repose(gesture, before), () => this.board.repose(gesture, after));
      }
    }
    this.board.changed();
  }

  #addPath({ points, path, seen }) {
    const { seconds, mode, ease, snap } = this;
    this.board.add(new Gesture("path", points, { path: simplify(path), seconds, mode, ease, seen, snap }));
  }

  #shift(gesture, [dx, dy]) {
    if (Math.hypot(dx, dy) < 0.5) return;
    const by = (x, y) => {
      const moved = (list) => list.map(([px, py]) => [px + x, py + y]);
      this.board.change(gesture, { points: moved(gesture.points), path: gesture.path && moved(gesture.path), seen: this.board.wire.seen() });
    };
    by(dx, dy);
    this.board.step("the last move", gesture, () => by(-dx, -dy), () => by(dx, dy));
  }

  /** Give the stroke up: nothing of it stays. */
  cancel() {
    const session = this.session;
    this.session = null;
    if (!session) return false;
    if (session.push) this.camera.letGo();
    if (session.gesture && !session.shift) {
      if (session.fresh) this.board.end(session.gesture);
      else this.board.repose(session.gesture, session.before);
    }
    this.#redraw();
    return true;
  }

  // ---------------------------------------------------------------- two fingers

  #second(event, at) {
    const session = this.session;
    if (!session.gesture || session.gesture.kind !== "drag" || session.knob || session.second) return;
    this.stage.overlay.setPointerCapture(event.pointerId);
    const first = session.now || session.start;
    session.second = { id: event.pointerId, from: at, now: at };
    session.pair = { pose: session.gesture.pose, first };
  }

  #two(stamp) {
    const { second, pair, now } = this.session;
    this.#pose(pinch(pair.pose, pair.first, second.from, now || pair.first, second.now), stamp);
  }

  /** Back to one finger without a jump. */
  #flat(session) {
    const start = session.now || session.start;
    Object.assign(session, { second: null, start, origin: session.origin || session.before, before: session.gesture.pose });
  }

  // ---------------------------------------------------------------- keys

  /** G: take hold, place or finish at the cross. */
  act() {
    const why = this.may();
    if (why) return this.#refuse(why);
    if (this.session) return this.finish();
    this.cross ||= [this.stage.width / 2, this.stage.height / 2];
    if (this.tool === "camera") return undefined;
    this.begin(this.cross);
    if (["pin", "motion"].includes(this.tool)) this.finish();
    return undefined;
  }

  /** An arrow key: the cross moves, and with it what it holds. */
  arrow(dx, dy, big) {
    const step = (big ? BIG_STEP : STEP) * this.stage.width;
    this.cross ||= [this.stage.width / 2, this.stage.height / 2];
    const to = [this.cross[0] + dx * step, this.cross[1] + dy * step];
    this.cross = this.session ? to : this.stage.clamp(to);
    if (this.session) this.follow(to);
    this.#redraw();
    return this.cross;
  }

  /** Turn or scale the selected drag; a run of key presses is undone as one. */
  bend(angle, scale) {
    const { board, selected: gesture } = this;
    if (!gesture || gesture.kind !== "drag" || this.may()) return false;
    const before = gesture.pose, [dx, dy, turn, size] = before, now = performance.now();
    board.move(gesture, [dx, dy, turn + angle, Math.min(Math.max(size * scale, 0.2), 4)]);
    const { bent } = this;
    if (bent?.gesture === gesture && bent.after === before && bent.step === board.done.at(-1) && now - bent.at < RUN_MS) {
      Object.assign(bent, { after: gesture.pose, at: now });
    } else {
      const made = { gesture, before, after: gesture.pose, at: now };
      made.step = board.step("turning or scaling", gesture, () => board.repose(gesture, made.before), () => board.repose(gesture, made.after));
      this.bent = made;
    }
    this.#redraw();
    return true;
  }
}
