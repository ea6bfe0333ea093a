// Figures: what is shown, what is possible, and how long the hand waits.

import { $, make } from "./ui.js";

const STAGES = [["commit", "remember"], ["tracks", "tracks"], ["denoise", "draw"], ["decode", "decode"]];
const FIGURES = [
  ["shown", "shown", "Frames per second on screen"],
  ["possible", "possible", "Frames per second that the engine could make"],
  ["chunk", "chunk time", "Time to make the last chunk"],
  ["delay", "hand to screen", "From a movement of the hand to the first frame on screen that shows it: median and 95th percentile"],
  ["net", "round trip", "Network round trip"],
  ["frames", "made / dropped", "Frames made, and dropped because this page was too slow"],
];

export class Meters {
  constructor() {
    this.values = {};
    for (const [key, label, title] of FIGURES) {
      this.values[key] = make("dd", {}, "–");
      $("meters").append(make("div", { title }, make("dt", {}, label), this.values[key]));
    }
    this.bars = STAGES.map(([key, label]) => {
      const bar = make("i", { class: `stage-${key}`, title: label });
      $("stages").append(bar);
      return bar;
    });
    this.clear();
  }

  clear() {
    this.stats = null;
    this.update({ fps: 0, p50: null, p95: null, roundTrip: null, active: false });
    $("stages").hidden = true;
  }

  take(stats) {
    this.stats = stats;
    const stages = stats.stages || {};
    const total = STAGES.reduce((sum, [key]) => sum + (stages[key] || 0), 0);
    $("stages").hidden = !total;
    STAGES.forEach(([key], n) => { this.bars[n].style.flexGrow = total ? (stages[key] || 0) / total : 0; });
    $("stages").setAttribute("aria-label", `Last chunk: ${STAGES.map(([key, label]) => `${label} ${Math.round(stages[key] || 0)} ms`).join(", ")}`);
    $("stages").title = $("stages").getAttribute("aria-label");
  }

  update({ fps, p50, p95, roundTrip, active }) {
    const { stats } = this;
    const set = (key, text) => { if (this.values[key].textContent !== text) this.values[key].textContent = text; };
    set("shown", active ? `${fps.toFixed(1)} fps` : "–");
    set("possible", stats ? `${stats.fps_possible.toFixed(1)} fps` : "–");
    set("chunk", stats ? `${Math.round(stats.chunk_ms)} ms` : "–");
    set("delay", p50 === null ? "–" : `${(p50 / 1000).toFixed(2)} / ${(p95 / 1000).toFixed(2)} s`);
    set("net", roundTrip === null ? "–" : `${Math.round(roundTrip)} ms`);
    set("frames", stats ? `${stats.frames_made} / ${stats.frames_dropped}` : "–");
    const short = active ? [`${fps.toFixed(0)} fps`, p50 === null ? null : `${(p50 / 1000).toFixed(1)} s`].filter(Boolean).join(" · ") : "";
    if (this.short === short) return;
    this.short = short;
    $("bar-meters").replaceChildren(short, p50 === null || !active ? "" : make("span", {}, " behind the hand"));
  }
}
