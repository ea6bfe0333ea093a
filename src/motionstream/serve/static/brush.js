// Points, poses and paths: pure functions in canvas pixels (x right, y down, pixel centres at +0.5).

export const AT_REST = [0, 0, 0, 1];

/** Points of a square grid around (x, y) within radius, inside the canvas; spaced wider when there would be too many. */
export function disc(x, y, radius, spacing, width, height, limit = 256) {
  for (let gap = spacing; ; gap *= 1.15) {
    const points = [];
    const steps = Math.floor(radius / gap);
    for (let j = -steps; j <= steps; j++) {
      for (let i = -steps; i <= steps; i++) {
        const px = x + i * gap, py = y + j * gap;
        if (Math.hypot(px - x, py - y) <= radius + 1e-6 && px >= 0 && py >= 0 && px < width && py < height) points.push([px, py]);
      }
    }
    if (points.length <= limit) return points.length ? points : [[x, y]];
  }
}

/** Whether the engine takes points as one touch of a thing: three or more, no farther than `reach` from their middle. */
export function isDab(points, reach) {
  const middle = centreOf(points);
  return points.length > 2 && points.every(([x, y]) => Math.hypot(x - middle[0], y - middle[1]) <= reach);
}

/** A painted region: cells of one lattice over the canvas, so that strokes that overlap add no point twice. */
export class Region {
  constructor(spacing, width, height, limit) {
    Object.assign(this, { spacing, width, height, limit, cells: new Map(), full: false });
  }

  add(x, y, radius) {
    const { spacing, width, height } = this;
    const reach = Math.max(radius, spacing * 0.71);
    for (let j = Math.floor((y - reach) / spacing); j <= Math.ceil((y + reach) / spacing); j++) {
      for (let i = Math.floor((x - reach) / spacing); i <= Math.ceil((x + reach) / spacing); i++) {
        const px = (i + 0.5) * spacing, py = (j + 0.5) * spacing;
        if (px >= width || py >= height || px < 0 || py < 0 || Math.hypot(px - x, py - y) > reach) continue;
        if (this.cells.size >= this.limit) { this.full = true; return; }
        this.cells.set(`${i},${j}`, [px, py]);
      }
    }
  }

  get points() { return [...this.cells.values()]; }
}

export function centreOf(points) {
  const sum = points.reduce(([a, b], [x, y]) => [a + x, b + y], [0, 0]);
  return [sum[0] / points.length, sum[1] / points.length];
}

export function reachOf(points, [cx, cy]) {
  return points.reduce((most, [x, y]) => Math.max(most, Math.hypot(x - cx, y - cy)), 0);
}

/** Turn and scale about the centre, then move: the pose of the protocol. */
export function place([x, y], [cx, cy], [dx, dy, angle, scale]) {
  const cos = scale * Math.cos(angle), sin = scale * Math.sin(angle);
  return [cx + dx + cos * (x - cx) - sin * (y - cy), cy + dy + sin * (x - cx) + cos * (y - cy)];
}

/** Pose after two fingers went from (a, b) to (c, d): they move, turn and scale what they hold. */
export function pinch([dx, dy, angle, scale], a, b, c, d) {
  const from = [b[0] - a[0], b[1] - a[1]], to = [d[0] - c[0], d[1] - c[1]];
  const turn = Math.atan2(to[1], to[0]) - Math.atan2(from[1], from[0]);
  const grow = Math.hypot(...to) / Math.max(Math.hypot(...from), 1);
  const shift = [(c[0] + d[0] - a[0] - b[0]) / 2, (c[1] + d[1] - a[1] - b[1]) / 2];
  return [dx + shift[0], dy + shift[1], angle + Math.atan2(Math.sin(turn), Math.cos(turn)), Math.min(Math.max(scale * grow, 0.2), 4)];
}

export function mixPose(a, b, share) {
  return a.map((value, n) => value + share * (b[n] - value));
}

/** Fewer corners, none of the dropped ones further than tolerance from the rest (Douglas and Peucker). */
export function simplify(path, tolerance = 0.35, limit = 400) {
  const kept = new Set([0, path.length - 1]);
  const open = [[0, path.length - 1]];
  while (open.length) {
    const [first, last] = open.pop();
    let worst = -1, most = tolerance;
    for (let n = first + 1; n < last; n++) {
      const gap = segmentGap(path[n], path[first], path[last]);
      if (gap > most) [worst, most] = [n, gap];
    }
    if (worst > 0) {
      kept.add(worst);
      open.push([first, worst], [worst, last]);
    }
  }
  const made = [...kept].sort((a, b) => a - b).map((n) => path[n]);
  return made.length > limit ? simplify(made, tolerance * 1.5, limit) : made;
}

export function segmentGap([x, y], [ax, ay], [bx, by]) {
  const ux = bx - ax, uy = by - ay;
  const length = ux * ux + uy * uy;
  const share = length ? Math.min(Math.max(((x - ax) * ux + (y - ay) * uy) / length, 0), 1) : 0;
  return Math.hypot(x - ax - share * ux, y - ay - share * uy);
}

export function lengthOf(path) {
  let total = 0;
  for (let n = 1; n < path.length; n++) total += Math.hypot(path[n][0] - path[n - 1][0], path[n][1] - path[n - 1][1]);
  return total;
}

/** Displacement from a path's start after a share in [0, 1] of its length. */
export function along(path, share) {
  let left = share * lengthOf(path);
  for (let n = 1; n < path.length; n++) {
    const step = Math.hypot(path[n][0] - path[n - 1][0], path[n][1] - path[n - 1][1]);
    if (left <= step && step > 0) {
      const part = left / step;
      return [
        path[n - 1][0] + part * (path[n][0] - path[n - 1][0]) - path[0][0],
        path[n - 1][1] + part * (path[n][1] - path[n - 1][1]) - path[0][1],
      ];
    }
    left -= step;
  }
  const end = path[path.length - 1];
  return [end[0] - path[0][0], end[1] - path[0][1]];
}

/** A line from a share of its length on: the corners passed, the place reached, the corners to come. */
export function cutAt(path, share) {
  const [dx, dy] = along(path, share), here = [path[0][0] + dx, path[0][1] + dy];
  let left = share * lengthOf(path), n = 1;
  for (; n < path.length - 1; n++) {
    const step = lengthOf(path.slice(n - 1, n + 1));
    if (left < step) break;
    left -= step;
  }
  return share >= 1 ? [path, here, []] : [path.slice(0, n), here, path.slice(n)];
}

/** How far along its path a gesture is after `age` of `total` frames: the same rule as the engine's. */
export function pathShare(age, total, ease, mode) {
  const turns = age / Math.max(total, 1);
  if (mode === "loop") return turns % 1;
  const share = mode === "once" ? Math.min(turns, 1) : 1 - Math.abs(1 - (turns % 2));
  return ease === "smooth" ? share * share * (3 - 2 * share) : share;
}

export function round(value, digits = 2) {
  const unit = 10 ** digits;
  return Math.round(value * unit) / unit;
}
