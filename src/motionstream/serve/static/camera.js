// The camera: pan, zoom and roll as speeds, from a pad, two sliders, keys, or by pushing the picture itself.

const SEND_MS = 50;

/** Events: "change" with every new speed. */
export class Camera extends EventTarget {
  constructor(board, { pad, zoom, roll, stop, latch }) {
    super();
    Object.assign(this, { board, pad, zoomSlider: zoom, rollSlider: roll, latch });
    this.width = 128;
    this.clear();
    this.#wirePad();
    for (const [slider, name] of [[zoom, "zoom"], [roll, "roll"]]) {
      slider.addEventListener("input", () => this.set({ [name]: Number(slider.value) }));
      for (const end of ["pointerup", "pointercancel", "keyup", "blur"]) slider.addEventListener(end, () => this.#spring({ [name]: 0 }));
      slider.addEventListener("dblclick", () => this.set({ [name]: 0 }));
    }
    stop.addEventListener("click", () => this.stop());
    latch.addEventListener("change", () => latch.checked || this.stop());
  }

  /** Shares of the top speeds, each in [-1, 1]. */
  clear() {
    this.share = { x: 0, y: 0, zoom: 0, roll: 0 };
    this.sent = "[0,0,0,0]";
    this.#show();
  }

  get speed() {
    const { x, y, zoom, roll } = this.share;
    const top = 0.35 * this.width;
    return { pan: [x * top, y * top], zoom: zoom * 0.7, roll: roll * 0.8 };
  }

  get moving() { return Object.values(this.share).some((value) => value !== 0); }

  set(fields) {
    Object.assign(this.share, fields);
    this.#show();
    this.send();
    this.dispatchEvent(new Event("change"));
  }

  stop() { this.set({ x: 0, y: 0, zoom: 0, roll: 0 }); }

  /** When the hand lets go: back to rest, unless it is to keep going. */
  #spring(fields) { if (!this.latch.checked) this.set(fields); }
  letGo() { this.#spring({ x: 0, y: 0, zoom: 0, roll: 0 }); }

  /** Tell the engine, not more often than it can use. */
  send() {
    const { wire } = this.board;
    if (!wire.accepts()) return;
    clearTimeout(this.timer);
    const wait = (this.sentAt || 0) + SEND_MS - performance.now();
    if (wait > 0) {
      this.timer = setTimeout(() => this.send(), wait);
      return;
    }
    const speed = this.speed;
    const key = JSON.stringify([...speed.pan, speed.zoom, speed.roll]);
    if (key === this.sent) return;
    this.sent = key;
    this.sentAt = performance.now();
    const t = wire.now();
    wire.send({ kind: "camera", ...speed, t });
    wire.sent(t);
  }

  /** After a branch the engine may have another speed: say ours again. */
  repeat() {
    this.sent = "";
    this.send();
  }

  #show() {
    const { x, y, zoom, roll } = this.share;
    const knob = this.pad.firstElementChild;
    knob.style.transform = `translate(${x * 34}px, ${y * 34}px)`;
    this.pad.classList.toggle("moving", Boolean(x || y));
    this.zoomSlider.value = zoom;
    this.rollSlider.value = roll;
  }

  #wirePad() {
    const { pad } = this;
    const point = (event) => {
      const rect = pad.getBoundingClientRect();
      let x = ((event.clientX - rect.left) / rect.width) * 2 - 1, y = ((event.clientY - rect.top) / rect.height) * 2 - 1;
      const size = Math.hypot(x, y);
      if (size > 1) [x, y] = [x / size, y / size];
      if (size < 0.12) [x, y] = [0, 0];
      this.set({ x, y });
    };
    pad.addEventListener("pointerdown", (event) => {
      pad.setPointerCapture(event.pointerId);
      point(event);
    });
    pad.addEventListener("pointermove", (event) => pad.hasPointerCapture(event.pointerId) && point(event));
    for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => this.#spring({ x: 0, y: 0 }));
    pad.addEventListener("dblclick", () => this.set({ x: 0, y: 0 }));
  }

  /** A camera key goes down or up; false when it is none. */
  key(key, down) {
    const move = {
      ArrowLeft: { x: -0.6 }, ArrowRight: { x: 0.6 }, ArrowUp: { y: -0.6 }, ArrowDown: { y: 0.6 },
      "+": { zoom: 0.6 }, "=": { zoom: 0.6 }, "-": { zoom: -0.6 }, _: { zoom: -0.6 }, q: { roll: -0.6 }, e: { roll: 0.6 },
    }[key];
    if (!move) return false;
    if (down) this.set(move);
    else this.#spring(Object.fromEntries(Object.keys(move).map((name) => [name, 0])));
    return true;
  }
}
