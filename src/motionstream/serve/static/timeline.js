// The take so far: chunk ticks, what was held when, and a playhead to scrub with.

import { COLOURS } from "./gestures.js";
import { clockText, watchDensity } from "./ui.js";

const SHORTEST_S = 6;
const LANES = { drag: 0, pin: 1, path: 2 };

/** Events: "scrub" (detail: frame, or null for the live end) and "settle" when the hand lets go. */
export class Timeline extends EventTarget {
  constructor(canvas) {
    super();
    Object.assign(this, { canvas, pen: canvas.getContext("2d"), state: null, hover: null, pointer: null });
    new ResizeObserver(() => this.#fit()).observe(canvas);
    watchDensity(() => this.#fit());
    // On a phone it lies above the buttons, also for Tab: where they take a second row, it stays under the finger.
    const phone = matchMedia("(max-width: 480px)"), buttons = canvas.previousElementSibling;
    const place = () => (phone.matches ? buttons.before(canvas) : buttons.after(canvas));
    phone.addEventListener("change", place);
    place();
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.state || this.state.last < 0 || event.button > 0 || this.#held) return;
      canvas.setPointerCapture(event.pointerId);
      this.pointer = event.pointerId;
      this.#scrub(this.#frameAt(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (this.#held && event.pointerId !== this.pointer) return; // another finger
      this.hover = this.state ? this.#frameAt(event) : null;
      if (this.#held) this.#scrub(this.hover);
      this.draw();
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, ({ pointerId }) => {
        if (pointerId !== this.pointer) return;
        this.pointer = null;
        this.dispatchEvent(new Event("settle"));
      });
    }
    canvas.addEventListener("pointerleave", () => { this.hover = null; this.draw(); });
    canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  /** `state`: {last, shown, fps, grid, live, log, next}, frames of the take. */
  show(state) {
    this.state = state;
    const { canvas } = this;
    const label = state.last < 0 ? "nothing made yet" : `${clockText(state.shown / state.fps)} of ${clockText(state.last / state.fps)}, chunk ${state.grid?.of(Math.max(state.shown, 0)) ?? 0}`;
    if (canvas.getAttribute("aria-valuetext") !== label) {
      canvas.setAttribute("aria-valuemax", Math.max(state.last, 0));
      canvas.setAttribute("aria-valuenow", Math.max(state.shown, 0));
      canvas.setAttribute("aria-valuetext", label);
    }
    this.draw();
  }

  get #held() { return this.pointer !== null && this.canvas.hasPointerCapture(this.pointer); }

  #fit() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.canvas.clientWidth * ratio);
    this.canvas.height = Math.round(this.canvas.clientHeight * ratio);
    this.styles = null;
    this.draw();
  }

  /** Colours follow the theme. */
  restyle() {
    this.styles = null;
    this.draw();
  }

  #span() { return Math.max(this.state.last + 1, SHORTEST_S * this.state.fps); }

  #frameAt(event) {
    const rect = this.canvas.getBoundingClientRect();
    const share = (event.clientX - rect.left) / rect.width;
    return Math.min(Math.max(Math.round(share * this.#span()), 0), Math.max(this.state.last, 0));
  }

  #scrub(frame) { this.dispatchEvent(new CustomEvent("scrub", { detail: frame })); }

  #key(event) {
    if (!this.state || this.state.last < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const { shown, last, grid } = this.state;
    const chunk = grid.of(shown);
    const target = {
      ArrowLeft: shown - 1, ArrowDown: shown - 1, ArrowRight: shown + 1, ArrowUp: shown + 1,
      PageDown: grid.start(chunk) - 1, PageUp: grid.start(chunk + 2) - 1, Home: 0, End: null,
    }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.#scrub(target === null ? null : Math.min(Math.max(target, 0), last));
  }

  draw() {
    const { pen, canvas, state } = this;
    if (!state || !canvas.width) return;
    this.styles ||= getComputedStyle(canvas);
    const ink = (name) => this.styles.getPropertyValue(name).trim();
    const ratio = window.devicePixelRatio || 1, width = canvas.width / ratio, height = canvas.height / ratio;
    const span = this.#span();
    const x = (frame) => (frame / span) * (width - 2) + 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const top = 15, floor = height - 4;
    pen.fillStyle = ink("--well");
    pen.beginPath();
    pen.roundRect(0, top, width, floor - top, 6);
    pen.fill();
    if (state.last >= 0) {
      pen.fillStyle = ink("--track");
      pen.beginPath();
      pen.roundRect(0, top, Math.max(x(state.last + 1), 6), floor - top, 6);
      pen.fill();
    }
    this.#ticks(pen, ink, x, top, floor, width);
    this.#lanes(pen, x, top);
    if (state.last < 0) return;
    if (this.hover !== null) {
      pen.fillStyle = ink("--dim");
      pen.fillRect(x(this.hover) - 0.5, top, 1, floor - top);
    }
    const head = x(Math.max(state.shown, 0) + 0.5);
    pen.fillStyle = state.live ? ink("--go") : ink("--ink");
    pen.fillRect(head - 1, top - 5, 2, floor - top + 8);
    pen.beginPath();
    pen.arc(head, top - 5, 4, 0, 2 * Math.PI);
    pen.fill();
  }

  #ticks(pen, ink, x, top, floor, width) {
    const { grid, last, fps, shown } = this.state;
    if (grid) {
      const chunks = grid.of(Math.max(last, 0));
      const every = Math.max(1, Math.ceil((chunks * 5) / width));
      pen.fillStyle = ink("--tick");
      for (let chunk = every; chunk <= chunks; chunk += every) pen.fillRect(x(grid.start(chunk)) - 0.5, top, 1, floor - top);
    }
    const seconds = this.#span() / fps;
    const step = [1, 2, 5, 10, 30, 60, 120, 300, 600].find((value) => (value / seconds) * width > 64) || 1200;
    pen.font = `10px ${this.styles.fontFamily}`;
    pen.fillStyle = ink("--dim");
    const head = x(Math.max(shown, 0) + 0.5);
    for (let at = 0; at < seconds; at += step) {
      const left = x(at * fps) + (at ? -8 : 2);
      if (shown < 0 || head < left - 5 || head > left + 26) pen.fillText(clockText(at, 0), left, 9);
    }
  }

  #lanes(pen, x, top) {
    for (const gesture of this.state.log) {
      if (gesture.wire === "draft" || gesture.from === null) continue;
      const end = Math.min(gesture.until ?? this.state.last + 1, this.state.last + 1);
      pen.fillStyle = COLOURS[gesture.kind];
      pen.beginPath();
      pen.roundRect(x(gesture.from), top + 4 + 5 * LANES[gesture.kind], Math.max(x(end) - x(gesture.from), 2), 3, 1.5);
      pen.fill();
    }
  }
}
