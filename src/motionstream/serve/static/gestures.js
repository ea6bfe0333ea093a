// What the hand has drawn: drafts, what the engine holds now, and what it held before. Sends it; undoes it.

import { AT_REST, round } from "./brush.js";
import { Gesture } from "./gesture.js";
import { notAfter } from "./latency.js";

export const COLOURS = { drag: "#35d07f", pin: "#ff5a52", path: "#4c9dff", camera: "#f2b33d", motion: "#ba82ff" };
export const NAMES = { drag: "Drag", pin: "Pin", path: "Path" };
const HISTORY = 4000; // poses kept of a drag
const UNDO_STEPS = 100;

/** Outline: edges of squares `cell` wide around `points` that no other one of them touches: [from, to] each. */
function edgesOf(points, cell) {
  const half = cell / 2;
  return points.flatMap(([x, y]) => [[1, 0], [0, 1], [-1, 0], [0, -1]]
    .filter(([dx, dy]) => !points.some(([ox, oy]) => Math.max(Math.abs(ox - x - dx * cell), Math.abs(oy - y - dy * cell)) < 0.6 * cell))
    .map(([dx, dy]) => [[x + (dx - dy) * half, y + (dy + dx) * half], [x + (dx + dy) * half, y + (dy - dx) * half]]));
}

/** Events: "change" whenever the list, the selection or the undo steps have changed; "refused" (detail: the gesture). */
export class Board extends EventTarget {
  /** `wire`: {send(message), sent(t), now(), seen(), fps(), accepts(), reaches()}. accepts(): whether gestures may go out at
   * once; reaches(): whether what is sent arrives, also in a pause. */
  constructor(wire) {
    super();
    this.wire = wire;
    this.collecting = false; // whether paths wait to be played together
    this.reset();
  }

  /** `nextId`: the first id that the take has not used. */
  reset(keepDrafts = false, nextId = 1) {
    const drafts = keepDrafts ? this.list.filter((g) => g.wire === "draft") : [];
    this.list = drafts;
    this.log = [...drafts];
    this.selected = drafts.includes(this.selected) ? this.selected : null;
    this.undone = [];
    this.done = [];
    this.pulls = []; // by undo and redo while nothing may go out
    this.nextId = nextId;
    this.counts = { drag: drafts.length, pin: drafts.length, path: drafts.length };
    this.changed();
  }

  changed() { this.dispatchEvent(new Event("change")); }

  get drafts() { return this.list.filter((gesture) => gesture.wire === "draft"); }
  get numPoints() { return this.list.reduce((total, gesture) => total + gesture.points.length, 0); }

  /** Take up a gesture; `step` makes it something that can be undone. */
  add(gesture, step = true) {
    gesture.number ??= ++this.counts[gesture.kind];
    this.list.push(gesture);
    if (!this.log.includes(gesture)) this.log.push(gesture);
    Object.assign(gesture, { wire: "draft", held: null, off: [] });
    this.selected = gesture;
    if (this.wire.accepts() && !(gesture.kind === "path" && this.collecting)) this.#send(gesture);
    if (step) this.step(`${NAMES[gesture.kind]} ${gesture.number}`, gesture, () => this.#takeBack(gesture), () => this.#again(gesture));
    this.changed();
    return gesture;
  }

  select(gesture) {
    if (this.selected === gesture) return;
    this.selected = gesture;
    this.changed();
  }

  /** The hand has `gesture` at `pose` now. */
  move(gesture, pose, t = this.wire.now()) {
    gesture.pose = pose;
    if (gesture.wire !== "live") return;
    gesture.history.push({ t, pose });
    if (gesture.history.length > HISTORY) gesture.history.splice(1, HISTORY / 2);
    this.wire.send({ kind: "move", id: gesture.id, pose: pose.map((value) => round(value, 4)), t });
    this.wire.sent(t);
  }

  /** End a gesture: a drag is let go, a pin or path removed, a draft dropped. */
  end(gesture) {
    if (!this.list.includes(gesture)) return;
    this.list = this.list.filter((other) => other !== gesture);
    if (this.selected === gesture) this.selected = null;
    if (gesture.wire === "live") {
      const t = this.wire.now();
      gesture.goneT = t;
      this.wire.send(gesture.kind === "drag" ? { kind: "release", id: gesture.id, t } : { kind: "remove", id: gesture.id });
      gesture.wire = "gone";
    } else {
      this.log = this.log.filter((other) => other !== gesture);
    }
    this.changed();
  }

  /** As `end`, as a step that can be undone. */
  remove(gesture) {
    const held = gesture.kind === "drag" && gesture.wire === "live";
    this.end(gesture);
    this.step(`removing ${NAMES[gesture.kind]} ${gesture.number}`, gesture, () => this.#giveBack(gesture, held), () => this.end(gesture));
  }

  /** As `remove`, of all there is, as one step. */
  removeAll() {
    const all = this.list.map((gesture) => [gesture, gesture.kind === "drag" && gesture.wire === "live"]);
    const end = () => { for (const [gesture] of all) this.end(gesture); };
    end();
    this.step("letting go of all", null, () => { for (const [gesture, held] of all) this.#giveBack(gesture, held); }, end);
  }

  #giveBack(gesture, held) {
    if (held) this.#hold(gesture);
    else this.#again(gesture);
  }

  /** The take has ended, and with it everything that it held. */
  over() {
    for (const gesture of this.list) gesture.wire = gesture.wire === "live" ? "gone" : gesture.wire;
    this.log = this.log.filter((gesture) => gesture.wire === "gone");
    Object.assign(this, { list: [], selected: null, done: [], undone: [], pulls: [] });
    this.changed();
  }

  /** Change a draft, or replace what the engine has by its changed copy. */
  change(gesture, fields) {
    const live = gesture.wire === "live";
    const past = Object.assign(Object.create(Gesture.prototype), gesture, { wire: "gone", goneT: this.wire.now() });
    if (live) this.wire.send({ kind: "remove", id: gesture.id });
    Object.assign(gesture, fields);
    gesture.measure();
    if (live) {
      this.log = this.log.filter((other) => other !== gesture);
      this.log.push(past, gesture);
      Object.assign(gesture, { wire: "draft", held: null, off: [], from: null, until: null });
      if (this.wire.reaches()) this.#send(gesture); // otherwise it waits, as the remove does, with what is drawn ahead
    }
    this.changed();
  }

  /** Give a path another pace or mode; one that runs goes on from where its thing is on screen. */
  adjust(path, fields) {
    const made = path.wire === "live" ? path.goingOn(this.wire.seen(), this.wire.fps(), fields) : fields;
    if (made) this.change(path, made);
  }

  /** Everything drawn ahead goes out. `cap`: the last frame that one may have seen; `all`: paths that wait for Play too. */
  flush(cap = Infinity, all = true) {
    for (const pull of this.pulls.splice(0)) pull();
    for (const gesture of this.drafts) {
      if (!all && gesture.kind === "path") continue;
      gesture.seen = Math.min(gesture.seen, cap);
      this.#send(gesture);
    }
    this.changed();
  }

  #send(gesture) {
    const t = this.wire.now();
    Object.assign(gesture, { id: this.nextId++, t, wire: "live", from: null, until: null, goneT: 0, history: [{ t, pose: AT_REST }] });
    this.wire.send(gesture.message());
    this.wire.sent(t);
    if (gesture.kind === "drag" && gesture.pose.some((value, n) => value !== AT_REST[n])) this.move(gesture, gesture.pose, t);
  }

  // ---------------------------------------------------------------- what comes back

  /** What gesture `id` has taken hold of, as it lay when the hand took it: middles of squares `cell` wide; its outline is kept. */
  took(id, points, cell) {
    const gesture = this.log.findLast((other) => other.id === id && other.wire !== "draft");
    if (!gesture) return;
    gesture.held = edgesOf(points, cell);
    gesture.holds(points, cell);
    this.changed();
  }

  /** The server says that gesture `id` is over: at a path's end, by a branch, or as the page asked for. */
  ended(id, frame) {
    const gesture = this.log.findLast((other) => other.id === id && other.wire !== "draft");
    if (!gesture || gesture.until !== null) return;
    const { kind, mode, wire, from, seconds } = gesture;
    // How long a drag that was let go acts, `painted` sees; of a remove no frame tells, as it has no time of its own.
    if (wire === "gone" && kind === "drag" && gesture.goneT) return;
    const atEnd = wire === "live" && kind === "path" && mode === "once" && from !== null;
    Object.assign(gesture, { wire: "gone", until: atEnd ? from + Math.round(seconds * this.wire.fps()) : frame });
    this.list = this.list.filter((other) => other !== gesture);
    if (this.selected === gesture) this.selected = null;
    // A path that has arrived cannot be taken back, and done again it would play once more. What was dragged can be moved back.
    if (wire === "live" && kind !== "drag") this.#noStep(gesture);
    this.changed();
  }

  #noStep(gesture) {
    for (const name of ["done", "undone"]) this[name] = this[name].filter((step) => step.gesture !== gesture);
  }

  /** The server has refused gesture `id`: it was never there. */
  refused(id) {
    const gesture = this.log.find((other) => other.id === id && other.wire !== "draft");
    if (!gesture) return;
    gesture.wire = "gone";
    for (const name of ["list", "log"]) this[name] = this[name].filter((other) => other !== gesture);
    this.#noStep(gesture);
    if (this.selected === gesture) this.selected = null;
    this.dispatchEvent(new CustomEvent("refused", { detail: gesture }));
    this.changed();
  }

  /** After a lost connection: the server holds `active`, and hears of `coming`; what else was there has ended meanwhile. */
  settle(active, coming, frame) {
    const over = this.log.filter(({ wire, until, id }) => wire !== "draft" && until === null && !active.includes(id) && !coming.includes(id));
    for (const { id } of over) this.ended(id, frame);
    this.disown(active, coming);
  }

  /** The engine holds `active`. What of it is not held here, nobody could reach: it came with a record that was opened, or
   * its remove was lost. It is let go, unless it is about that that the server hears next (`coming`). */
  disown(active, coming = []) {
    const known = new Set([...this.list.filter(({ wire }) => wire === "live").map(({ id }) => id), ...coming]);
    for (const id of active) if (!known.has(id)) this.wire.send({ kind: "remove", id });
  }

  /** The connection was lost: the server has let go of what the hand held. */
  dropped() {
    for (const gesture of this.list.filter((other) => other.kind === "drag" && other.wire === "live")) {
      Object.assign(gesture, { wire: "gone", goneT: 0 }); // at no time of the page's clock
      this.list = this.list.filter((other) => other !== gesture);
    }
    if (!this.list.includes(this.selected)) this.selected = null;
    this.changed();
  }

  /** A frame that shows input up to `echo` is on screen: remember from when to when gestures acted. */
  painted(frame, echo) {
    for (const gesture of this.log) {
      if (gesture.wire === "draft" || !echo) continue;
      if (gesture.from === null && notAfter(gesture.t, echo)) gesture.from = frame;
      if (gesture.wire === "gone" && gesture.until === null && gesture.goneT && notAfter(gesture.goneT, echo)) gesture.until = frame;
    }
  }

  /** The take goes on from `frame`; `echo`: newest input of the frame before. `active`: ids the engine holds there. */
  branched(frame, echo, active = null) {
    const alive = (g) => (active ? active.includes(g.id) : g.from !== null && g.from < frame && (g.until === null || g.until >= frame));
    const drafts = this.drafts;
    this.list = [];
    this.log = this.log.filter((g) => g.wire === "draft" || (g.from !== null && g.from < frame) || active?.includes(g.id));
    for (const gesture of this.log) {
      if (gesture.wire === "draft") continue;
      if (!alive(gesture) && gesture.until !== null && gesture.until < frame) continue;
      if (alive(gesture)) {
        const pose = gesture.poseAt(echo);
        Object.assign(gesture, { wire: "live", until: null, goneT: 0, pose, history: [{ t: gesture.t, pose }] });
        this.list.push(gesture);
      } else {
        Object.assign(gesture, { wire: "gone", until: frame });
      }
    }
    this.disown(active || []);
    if (drafts.some((g) => g.alone)) for (const other of this.list.filter((g) => g.kind === "drag")) this.end(other);
    this.list.push(...drafts);
    if (!this.list.includes(this.selected)) this.selected = null;
    this.done = [];
    this.undone = [];
    this.pulls = [];
    this.changed();
  }

  /** Gestures that acted in `frame`. */
  actingIn(frame) {
    return this.log.filter((g) => g.wire !== "draft" && g.from !== null && g.from <= frame && (g.until === null || frame < g.until));
  }

  // ---------------------------------------------------------------- undo and redo

  /** Something that can be undone; `gesture`: with which it would be gone, null for several. */
  step(label, gesture, undo, redo) {
    const step = { label, gesture, undo, redo };
    this.done.push(step);
    if (this.done.length > UNDO_STEPS) this.done.shift();
    this.undone = [];
    this.changed();
    return step;
  }

  undo() {
    const step = this.done.pop();
    if (!step) return null;
    step.undo();
    this.undone.push(step);
    this.changed();
    return step.label;
  }

  redo() {
    const step = this.undone.pop();
    if (!step) return null;
    step.redo();
    this.done.push(step);
    this.changed();
    return step.label;
  }

  /** Put a pose back, also of a drag that was let go in the meantime. */
  repose(gesture, pose) {
    if (this.list.includes(gesture)) this.move(gesture, pose);
    else if (gesture.kind === "drag") this.#pull(gesture.placed(), this.#between(gesture.pose, pose), gesture, pose);
    this.changed();
  }

  #takeBack(gesture) {
    gesture.target = gesture.pose;
    if (gesture.kind === "drag" && gesture.wire !== "draft") this.repose(gesture, AT_REST);
    this.end(gesture);
  }

  #again(gesture) {
    if (this.list.includes(gesture)) return;
    gesture.seen = this.wire.seen();
    const pose = gesture.kind === "drag" ? gesture.target || gesture.pose : AT_REST;
    gesture.pose = pose;
    this.add(gesture, false);
  }

  /** Take hold again of what a drag has let go, where it is now. */
  #hold(gesture) {
    Object.assign(gesture, { points: gesture.placed(), pose: AT_REST, seen: this.wire.seen() });
    gesture.measure();
    this.add(gesture, false);
  }

  /** A short drag by the page itself: take hold, move, let go; in a pause as soon as it goes on. */
  #pull(points, pose, gesture, after) {
    const rounded = points.map(([x, y]) => [round(x), round(y)]);
    const pull = () => {
      const t = this.wire.now(), id = this.nextId++;
      this.wire.send({ kind: "grab", id, points: rounded, seen: this.wire.seen(), t, ...(gesture.snap && { snap: true }) });
      this.wire.send({ kind: "move", id, pose: pose.map((value) => round(value, 4)), t });
      this.wire.send({ kind: "release", id, t });
    };
    if (this.wire.accepts()) pull();
    else this.pulls.push(pull);
    gesture.pose = after;
  }

  #between(from, to) {
    return [to[0] - from[0], to[1] - from[1], to[2] - from[2], to[3] / from[3]];
  }

  // ---------------------------------------------------------------- over a reload

  plain(log = this.log) {
    return { nextId: this.nextId, counts: this.counts, collecting: this.collecting, log: log.map((gesture) => gesture.plain()) };
  }

  revive({ nextId, counts, collecting, log }) {
    Object.assign(this, { nextId, counts, collecting: Boolean(collecting) });
    this.log = log.map((fields) => new Gesture(fields.kind, fields.points, fields));
    this.list = this.log.filter((gesture) => gesture.wire !== "gone");
    this.changed();
  }
}
