// Draws what the hand has drawn. Solid: where things are on screen now. Hollow and dashed: where the hand wants them.

import { AT_REST, centreOf, place, reachOf } from "./brush.js";
import { COLOURS } from "./gestures.js";
import { KNOB_TOOLS, handles } from "./hit.js";

const DARK = "rgba(8, 10, 12, 0.72)";

export class Painter {
  constructor(stage) { this.stage = stage; }

  /**
   * `scene`: {board, tools, motion, echo, frame, fps, past, hidden, camera, cross}; `past`: the frame looked at is not the newest.
   */
  draw(scene) {
    const { ink, scale, overlay, css } = this.stage;
    ink.setTransform(1, 0, 0, 1, 0, 0);
    ink.clearRect(0, 0, overlay.width, overlay.height);
    ink.setTransform(scale, 0, 0, scale, 0, 0);
    this.unit = 1 / css;
    ink.lineCap = ink.lineJoin = "round";
    if (!scene.hidden) {
      if (scene.past) {
        ink.globalAlpha = 0.55;
        for (const gesture of scene.board.actingIn(scene.frame)) this.#gesture(gesture, scene, false);
        ink.globalAlpha = 1;
        for (const gesture of scene.board.drafts) this.#gesture(gesture, scene, gesture === scene.board.selected);
      } else {
        for (const gesture of scene.board.list) this.#gesture(gesture, scene, gesture === scene.board.selected);
      }
      this.#camera(scene.camera);
      if (!scene.past) this.#motion(scene);
    }
    this.#session(scene.tools);
    this.#brush(scene.tools);
    if (scene.cross) this.#cross(scene.cross, COLOURS[scene.tools.tool] || "#fff");
  }

  #gesture(gesture, scene, selected) {
    if (gesture.kind === "drag") this.#drag(gesture, scene, selected);
    else if (gesture.kind === "pin") this.#pin(gesture, selected);
    else this.#path(gesture, scene, selected);
  }

  #drag(gesture, scene, selected) {
    const { echo } = scene, past = scene.past && gesture.wire !== "draft";
    const { ink } = this.stage;
    const begun = gesture.from !== null || gesture.wire === "draft";
    const now = gesture.wire === "draft" ? gesture.poseAt(0) : gesture.poseAt(echo);
    const hand = gesture.pose;
    const from = place(gesture.centre, gesture.centre, now), to = place(gesture.centre, gesture.centre, hand);
    const apart = Math.hypot(to[0] - from[0], to[1] - from[1]) + gesture.reach * (Math.abs(hand[2] - now[2]) + Math.abs(hand[3] - now[3]));
    if (apart > 0.6 && !past) {
      this.#line([from, to], COLOURS.drag, 1.75, [5, 5]);
      this.#dots(gesture.shown(hand), COLOURS.drag, 2.6, true);
      this.#ring(to, Math.max(gesture.reach * hand[3], 5 * this.unit) + 5 * this.unit, COLOURS.drag, 1.5, [4, 4]);
    }
    if (begun) this.#held(gesture, (point) => place(point, gesture.centre, now));
    ink.save();
    ink.globalAlpha *= begun ? 1 : 0.6;
    this.#dots(gesture.shown(now), COLOURS.drag, 2.8, false);
    ink.restore();
    if (selected && !past && KNOB_TOOLS.includes(scene.tools.tool)) this.#handles(gesture);
  }

  #handles(gesture) {
    const { centre, radius, rotate, scale } = handles(gesture, this.stage);
    this.#ring(centre, radius, "#fff", 1.25);
    this.#knob(rotate, COLOURS.drag, "rotate");
    this.#knob(scale, COLOURS.drag, "scale");
  }

  #knob([x, y], colour, kind) {
    const { ink } = this.stage, unit = this.unit;
    ink.beginPath();
    ink.arc(x, y, 8 * unit, 0, 7);
    ink.fillStyle = "#fff";
    ink.shadowColor = "rgba(0,0,0,.5)";
    ink.shadowBlur = 6;
    ink.fill();
    ink.shadowBlur = 0;
    ink.lineWidth = 1.6 * unit;
    ink.strokeStyle = "#14171a";
    ink.beginPath();
    if (kind === "rotate") {
      ink.arc(x, y, 3.6 * unit, 0.5, 5.6);
      ink.moveTo(x + 3.8 * unit, y - 4.6 * unit);
      ink.lineTo(x + 3.2 * unit, y - 1.6 * unit);
      ink.lineTo(x + 0.4 * unit, y - 2.6 * unit);
    } else {
      ink.moveTo(x - 3.4 * unit, y - 3.4 * unit);
      ink.lineTo(x + 3.4 * unit, y + 3.4 * unit);
      ink.moveTo(x + 3.6 * unit, y);
      ink.lineTo(x + 3.6 * unit, y + 3.6 * unit);
      ink.lineTo(x, y + 3.6 * unit);
      ink.moveTo(x - 3.6 * unit, y);
      ink.lineTo(x - 3.6 * unit, y - 3.6 * unit);
      ink.lineTo(x, y - 3.6 * unit);
    }
    ink.stroke();
  }

  #pin(gesture, selected) {
    const { ink } = this.stage, unit = this.unit;
    ink.save();
    ink.globalAlpha *= gesture.from === null && gesture.wire === "live" ? 0.7 : 1;
    if (gesture.from !== null) this.#held(gesture, (point) => point);
    const points = gesture.placed();
    if (points.length === 1) {
      this.#ring(points[0], 7 * unit, COLOURS.pin, 2);
    }
    this.#squares(points, COLOURS.pin, 2.6);
    ink.restore();
    if (selected) this.#ring(gesture.centre, gesture.reach + 10 * unit, "#fff", 1.25, [3, 4]);
  }

  #path(gesture, { frame, fps }, selected) {
    const moved = gesture.wire === "draft" ? [0, 0] : gesture.travelled(frame, fps);
    if (gesture.from !== null) this.#held(gesture, ([x, y]) => [x + moved[0], y + moved[1]]);
    const line = gesture.mode === "loop" ? [...gesture.path, gesture.path[0]] : gesture.path;
    this.#line(line, COLOURS.path, selected ? 3 : 2.2, gesture.wire === "draft" ? [6, 5] : []);
    if (gesture.mode !== "loop") this.#arrow(line, COLOURS.path);
    if (gesture.mode === "swing") this.#arrow([...line].reverse(), COLOURS.path);
    this.#diamonds(gesture.shown(AT_REST).map(([x, y]) => [x + moved[0], y + moved[1]]), COLOURS.path, 3.2);
    if (selected) this.#ring(gesture.centre, gesture.reach + 10 * this.unit, "#fff", 1.25, [3, 4]);
  }

  /** An outline of the cells of the picture that the engine moves with it, `at` where they are on screen. */
  #held({ held, kind }, at) {
    if (!held) return;
    const { ink } = this.stage;
    ink.save();
    ink.globalAlpha *= 0.75;
    ink.beginPath();
    for (const edge of held) {
      ink.moveTo(...at(edge[0]));
      ink.lineTo(...at(edge[1]));
    }
    for (const [style, width] of [[DARK, 2.6], [COLOURS[kind], 1.2]]) {
      ink.strokeStyle = style;
      ink.lineWidth = width * this.unit;
      ink.stroke();
    }
    ink.restore();
  }

  /** Velocity of the picture at a few places. */
  #camera({ pan, zoom: closer, roll, dolly, orbit, tilt }) {
    if (!(pan[0] || pan[1] || closer || roll || dolly || orbit || tilt)) return;
    const { width, height } = this.stage;
    // As a flat picture would move: how much more near things do, only its depth knows.
    const zoom = closer + dolly * 1.4, focal = 0.87 * width, radians = Math.PI / 180;
    for (let j = 0.5; j < 4; j++) {
      for (let i = 0.5; i < 5; i++) {
        const x = (i / 5) * width, y = (j / 4) * height;
        const rx = x - width / 2, ry = y - height / 2;
        const vx = pan[0] - orbit * radians * ((rx * rx) / focal) + zoom * Math.LN2 * rx - roll * ry, vy = pan[1] + tilt * radians * focal - orbit * radians * ((rx * ry) / focal) + zoom * Math.LN2 * ry + roll * rx;
        const size = Math.hypot(vx, vy);
        const k = size ? Math.min(0.35, (0.09 * width) / size) : 0;
        const line = [[x - vx * k, y - vy * k], [x + vx * k, y + vy * k]];
        this.#line(line, COLOURS.camera, 1.8);
        if (size > 1) this.#arrow(line, COLOURS.camera, 5);
      }
    }
  }

  /** Borrowed motion: where it pulls, where the picture is (solid), and where the clip's points are (hollow). */
  #motion({ motion, tools, echo }) {
    if (!motion?.region || !(motion.on || tools.tool === "motion")) return;
    const [x0, y0, x1, y1] = motion.region;
    if (tools.tool === "motion") this.#line([[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]], COLOURS.motion, 1.75, [6, 5]);
    const moved = (points) => points.filter(([, , flag]) => flag);
    this.#dots(moved(motion.points), COLOURS.motion, 2.4, true);
    this.#dots(moved(motion.pointsAt(echo)), COLOURS.motion, 2, false);
  }

  /** What is being drawn right now. */
  #session(tools) {
    const session = tools.session;
    if (!session) return;
    if (session.region) this.#squares(session.region.points, COLOURS.pin, 2.6);
    if (session.path && session.points) {
      this.#line(session.path, COLOURS.path, 2.4);
      if (session.path.length > 1) this.#arrow(session.path, COLOURS.path);
      this.#diamonds(session.points, COLOURS.path, 3);
    }
    if (session.push) {
      this.#line([session.start, session.now], COLOURS.camera, 2.4);
      this.#arrow([session.start, session.now], COLOURS.camera);
      this.#ring(session.start, 6 * this.unit, COLOURS.camera, 2);
    }
    if (session.shift) {
      const moved = session.gesture.points.map(([x, y]) => [x + session.shift[0], y + session.shift[1]]);
      this.#dots(moved, COLOURS[session.gesture.kind], 2.6, true);
    }
  }

  #brush(tools) {
    if (!tools.hover || tools.session || !["drag", "pin", "path"].includes(tools.tool)) return;
    const points = tools.brushAt(tools.hover);
    const { ink } = this.stage;
    ink.save();
    ink.globalAlpha = 0.85;
    this.#dots(points, COLOURS[tools.tool], 2, true);
    const reach = reachOf(points, centreOf(points));
    this.#ring(tools.hover, Math.max(tools.radius, reach, 4 * this.unit), COLOURS[tools.tool], 1.5);
    ink.restore();
  }

  #cross([x, y], colour) {
    const unit = this.unit;
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      this.#line([[x + dx * 4 * unit, y + dy * 4 * unit], [x + dx * 13 * unit, y + dy * 13 * unit]], colour, 2.2);
    }
  }

  // ---------------------------------------------------------------- marks with a dark edge, legible on any picture

  #dots(points, colour, size, hollow) {
    const radius = size * this.unit;
    this.#each(points, colour, hollow, (ink, x, y) => {
      ink.moveTo(x + radius, y);
      ink.arc(x, y, radius, 0, 2 * Math.PI);
    });
  }

  #squares(points, colour, size) {
    const side = size * this.unit;
    this.#each(points, colour, false, (ink, x, y) => ink.rect(x - side, y - side, 2 * side, 2 * side));
  }

  #diamonds(points, colour, size) {
    const side = size * this.unit;
    this.#each(points, colour, false, (ink, x, y) => {
      ink.moveTo(x, y - side);
      ink.lineTo(x + side, y);
      ink.lineTo(x, y + side);
      ink.lineTo(x - side, y);
      ink.closePath();
    });
  }

  #each(points, colour, hollow, shape) {
    const { ink } = this.stage;
    ink.beginPath();
    for (const [x, y] of points) shape(ink, x, y);
    ink.setLineDash([]);
    ink.lineWidth = (hollow ? 2.6 : 2) * this.unit;
    ink.strokeStyle = DARK;
    ink.stroke();
    if (hollow) {
      ink.lineWidth = 1.1 * this.unit;
      ink.strokeStyle = colour;
      ink.stroke();
    } else {
      ink.fillStyle = colour;
      ink.fill();
    }
  }

  #line(points, colour, width, dash = []) {
    const { ink } = this.stage, unit = this.unit;
    if (points.length < 2) return;
    ink.beginPath();
    ink.moveTo(...points[0]);
    for (const point of points.slice(1)) ink.lineTo(...point);
    ink.setLineDash(dash.map((length) => length * unit));
    for (const [style, extra] of [[DARK, 2], [colour, 0]]) {
      ink.strokeStyle = style;
      ink.lineWidth = (width + extra) * unit;
      ink.stroke();
    }
    ink.setLineDash([]);
  }

  #ring([x, y], radius, colour, width, dash = []) {
    const { ink } = this.stage, unit = this.unit;
    ink.beginPath();
    ink.arc(x, y, radius, 0, 2 * Math.PI);
    ink.setLineDash(dash.map((length) => length * unit));
    for (const [style, extra] of [[DARK, 1.6], [colour, 0]]) {
      ink.strokeStyle = style;
      ink.lineWidth = (width + extra) * unit;
      ink.stroke();
    }
    ink.setLineDash([]);
  }

  #arrow(path, colour, size = 8) {
    const end = path[path.length - 1];
    const before = path.findLast(([x, y]) => Math.hypot(end[0] - x, end[1] - y) > 3 * this.unit) || path[0];
    const angle = Math.atan2(end[1] - before[1], end[0] - before[0]);
    const wing = (turn) => [end[0] - size * this.unit * Math.cos(angle + turn), end[1] - size * this.unit * Math.sin(angle + turn)];
    this.#line([wing(0.5), end, wing(-0.5)], colour, 2.2);
  }
}
