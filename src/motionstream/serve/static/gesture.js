// One gesture: what the hand has drawn, where it is in each frame, and how it is said to the server.

import { AT_REST, along, centreOf, cutAt, mixPose, pathShare, place, reachOf, round } from "./brush.js";
import { notAfter } from "./latency.js";

export class Gesture {
  constructor(kind, points, extra = {}) {
    Object.assign(this, { kind, points, pose: AT_REST, wire: "draft", id: 0, t: 0, seen: 0, held: null, off: [], alone: false, snap: false });
    Object.assign(this, { path: null, part: 1, seconds: 3, ease: "smooth", mode: "once", history: [], from: null, until: null, goneT: 0 }, extra);
    this.measure();
  }

  measure() {
    this.centre = centreOf(this.points);
    this.reach = reachOf(this.points, this.centre);
  }

  /** Where the hand has it. */
  placed(pose = this.pose) { return this.points.map((point) => place(point, this.centre, pose)); }

  /** The same, of the points that are to be seen: those beside the thing that their brush took hold nothing. */
  shown(pose = this.pose) { return this.placed(pose).filter((_, n) => !this.off.includes(n)); }

  /** It holds squares `cell` wide with these middles. */
  holds(middles, cell) {
    const far = ([x, y]) => !middles.some(([u, v]) => Math.max(Math.abs(u - x), Math.abs(v - y)) <= cell);
    this.off = this.snap ? [...this.points.keys()].filter((n) => far(this.points[n])) : [];
  }

  /** The pose that a picture shows in which input up to `echo` has taken effect. */
  poseAt(echo) {
    const { history } = this;
    if (!history.length || !echo || !notAfter(history[0].t, echo)) return AT_REST;
    let n = history.length - 1;
    while (n > 0 && !notAfter(history[n].t, echo)) n--;
    const next = history[n + 1];
    if (!next) return history[n].pose;
    const span = (next.t - history[n].t) >>> 0;
    return span ? mixPose(history[n].pose, next.pose, ((echo - history[n].t) >>> 0) / span) : next.pose;
  }

  get line() { return this.mode === "loop" ? [...this.path, this.path[0]] : this.path; }

  /** How far along its line a path is in frame `frame`. */
  share(frame, fps) {
    if (this.from === null || frame === null) return 0;
    return pathShare(Math.max(0, frame - this.from + 1), Math.round(this.seconds * fps), this.ease, this.mode);
  }

  /** Displacement of a path in frame `frame`. */
  travelled(frame, fps) { return along(this.line, this.share(frame, fps)); }

  /** What a path that runs is to be with other `fields`, from where its thing is in `frame`: nothing jumps, and the line stays
   * where it was drawn: a loop goes round it, once goes on to its end. What swings has no end in the middle, so its line is
   * carried along. `part` is how much of what was drawn is left, as seconds count for all of it. Null at the end. */
  goingOn(frame, fps, fields) {
    const share = this.share(frame, fps), mode = fields.mode ?? this.mode;
    const [passed, here, coming] = cutAt(this.line, share);
    const [dx, dy] = [here[0] - this.path[0][0], here[1] - this.path[0][1]];
    const moved = (list) => list.map(([x, y]) => [x + dx, y + dy]);
    let { path, part } = this;
    if (mode === "swing") path = moved(path);
    else if (mode === "loop") path = [here, ...(this.mode === "loop" ? coming.slice(0, -1) : coming), ...passed];
    else [path, part] = [[here, ...coming], part * (1 - share)];
    if (path.length < 2 || part < 0.01) return null;
    const seconds = Math.max((fields.seconds ?? this.seconds / this.part) * part, 0.05);
    return { ...fields, points: moved(this.points), path, part, seconds, seen: frame };
  }

  message() {
    const rounded = (list) => list.map(([x, y]) => [round(x), round(y)]);
    const body = { id: this.id, points: rounded(this.points), seen: this.seen, t: this.t };
    if (this.kind === "pin") return { kind: "pin", ...body };
    if (this.snap) body.snap = true;
    if (this.kind === "drag") return { kind: "grab", ...body };
    return { kind: "path", ...body, path: rounded(this.path), seconds: this.seconds, ease: this.ease, mode: this.mode };
  }

  plain() {
    const { kind, points, pose, wire, id, t, seen, held, off, snap, path, part, seconds, ease, mode, from, until, goneT, number } = this;
    return { kind, points, pose, wire, id, t, seen, held, off, snap, path, part, seconds, ease, mode, from, until, goneT, number, history: this.history.slice(-50) };
  }
}
