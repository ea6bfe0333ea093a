// What lies under a place on the canvas: knobs and gestures. `css`: CSS pixels per canvas pixel; a stage knows it.

import { place, segmentGap } from "./brush.js";

const KNOB_CSS = 20;
const NEAR_CSS = 10;

/** Circle around a drag with its two knobs, in canvas pixels. One that would lie off the canvas is opposite, or beside. */
export function handles(gesture, { css, width, height }) {
  const [cx, cy] = place(gesture.centre, gesture.centre, gesture.pose);
  const radius = Math.max(gesture.reach * gesture.pose[3], 10 / css) + 16 / css;
  const angle = gesture.pose[2];
  const at = (turn) => [cx + radius * Math.cos(angle + turn), cy + radius * Math.sin(angle + turn)];
  const inside = ([x, y]) => x >= 0 && y >= 0 && x < width && y < height;
  const spot = (turn) => [0, Math.PI, Math.PI / 2, -Math.PI / 2].map((more) => at(turn + more)).find(inside) || at(turn);
  return { centre: [cx, cy], radius, rotate: spot(-Math.PI / 2), scale: spot(Math.PI / 4) };
}

/** Tools that take hold of the knobs. */
export const KNOB_TOOLS = ["drag", "select"];

/** "rotate", "scale" or null. */
export function knobAt(gesture, at, stage) {
  if (!gesture || gesture.kind !== "drag") return null;
  const spots = handles(gesture, stage), near = KNOB_CSS / stage.css;
  return ["rotate", "scale"].find((name) => Math.hypot(at[0] - spots[name][0], at[1] - spots[name][1]) < near) || null;
}

/** The newest gesture of one of `kinds` there, where the hand has put it. */
export function gestureAt(list, at, kinds, css) {
  const near = NEAR_CSS / css;
  return list.findLast((gesture) => {
    if (!kinds.includes(gesture.kind)) return false;
    const centre = place(gesture.centre, gesture.centre, gesture.pose);
    if (Math.hypot(at[0] - centre[0], at[1] - centre[1]) <= gesture.reach * gesture.pose[3] + near) return true;
    return (gesture.path || []).some((point, n, path) => n && segmentGap(at, path[n - 1], point) < near);
  });
}
