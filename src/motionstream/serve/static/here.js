// Where to pull first: a ring on the thing that a gallery picture is about, with an arrow to where there is room.

import { $ } from "./ui.js";

const LEAST = 0.09, MOST = 0.22; // the ring's width, as shares of the picture's

/** Of a plan, in shares of the part that is shown: the ring's middle and width, and which way the arrow points, in degrees. */
export function placeOf({ object, crop }) {
  if (!object || !crop) return null;
  const [left, top, right, bottom] = object, width = crop[2] - crop[0], height = crop[3] - crop[1];
  const x = ((left + right) / 2 - crop[0]) / width, y = ((top + bottom) / 2 - crop[1]) / height;
  if (x < 0.05 || x > 0.95 || y < 0.05 || y > 0.95) return null; // it was cropped away
  const size = Math.min(Math.max((0.35 * (right - left + bottom - top)) / width, LEAST), MOST);
  const across = (0.5 - x) * width, down = (0.5 - y) * height;
  const turn = Math.hypot(across, down) < 0.1 * width ? -90 : (180 / Math.PI) * Math.atan2(down, across);
  return { x, y, size, turn };
}

/** Null: nothing is pointed out. */
export function pointOut(plan) {
  const box = $("here"), place = plan && placeOf(plan);
  if (box.hidden !== !place) box.hidden = !place;
  if (!place) return;
  const percent = (share) => `${(100 * share).toFixed(2)}%`;
  Object.assign(box.style, { left: percent(place.x), top: percent(place.y), width: percent(place.size) });
  box.style.setProperty("--turn", `${place.turn.toFixed(1)}deg`);
}
