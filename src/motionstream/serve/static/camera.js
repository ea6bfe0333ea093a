// The camera: pan, zoom, roll, and in depth dolly, orbit and tilt, as speeds: from a pad, sliders, keys, or by pushing the picture.

const SEND_MS = 50;
const REST = { x: 0, y: 0, zoom: 0, roll: 0, dolly: 0, orbit: 0, tilt: 0 };

/** Events: "change" with every new speed. */
export class Camera extends EventTarget {
  constructor(board, { pad, zoom, roll, dolly, orbit, tilt, stop, latch }) {
    super();
    Object.assign(this, { board, pad, sliders: { zoom, roll, dolly, orbit, tilt }, latch });
    this.width = 128;
    this.clear();
    this.#wirePad();
    for (const [name, slider] of Object.entries(this.sliders)) {
      slider.addEventListener("input", () => this.set({ [name]: Number(slider.value) }));
      for (const end of ["pointerup", "pointercancel", "keyup", "blur"]) slider.addEventListener(end, () => this.#spring({ [name]: 0 }));
      slider.addEventListener("dblclick", () => this.set({ [name]: 0 }));
    }
    stop.addEventListener("click", () => this.stop());
    latch.addEventListener("change", () => latch.checked || this.stop());
  }

  /** Shares of the top speeds, each in [-1, 1]. */
  clear() {
    this.share = { ...REST };
    this.sent = JSON.stringify(Object.values(this.speed).flat());
    this.#show();
  }

  get speed() {
    const { x, y, zoom, roll, dolly, orbit, tilt } = this.share;
    const top = 0.35 * this.width;
    return { pan: [x * top, y * top], zoom: zoom * 0.7, roll: roll * 0.8, dolly: dolly * 0.35, orbit: orbit * 18, tilt: tilt * 14 };
  }

  get moving() { return Object.values(this.share).some((value) => value !== 0); }

  set(fields) {
    Object.assign(this.share, fields);
    this.#show();
    this.send();
    this.dispatchEvent(new Event("change"));
  }

  stop() { this.set({ ...REST }); }

  /** When the hand lets go: back to rest, unless it is to keep going. */
  #spring(fields) { if (!this.latch.checked) this.set(fields); }
  letGo() { this.#spring({ ...REST }); }

  /** Tell the engine, not more often than it can use. `byHand`: a hand has moved, by which the delay is measured. */
  send(byHand = true) {
    const { wire } = this.board;
    if (!wire.accepts()) return;
    clearTimeout(this.timer);
    const wait = (this.sentAt || 0) + SEND_MS - performance.now();
    if (wait > 0) {
      this.timer = setTimeout(() => this.send(byHand), wait);
      return;
    }
    const speed = this.speed;
    const key = JSON.stringify(Object.values(speed).flat());
    if (key === this.sent) return;
    this.sent = key;
    this.sentAt = performance.now();
    const t = wire.now();
    wire.send({ kind: "camera", ...speed, t });
    if (byHand) wire.sent(t);
  }

  /** After a branch the engine may have another speed: say ours again. */
  repeat() {
    this.sent = "";
    this.send(false);
  }

  #show() {
    const { x, y } = this.share;
    const knob = this.pad.firstElementChild;
    knob.style.transform = `translate(${x * 34}px, ${y * 34}px)`;
    this.pad.classList.toggle("moving", Boolean(x || y));
    for (const [name, slider] of Object.entries(this.sliders)) {
      slider.value = this.share[name];
      slider.style.setProperty("--at", `${50 + 50 * this.share[name]}%`);
    }
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
    let hand = null; // the pointer that holds the knob; another one does not take it over
    pad.addEventListener("pointerdown", (event) => {
      if (event.button > 0 || (hand !== null && pad.hasPointerCapture(hand))) return;
      hand = event.pointerId;
      pad.setPointerCapture(hand);
      point(event);
    });
    pad.addEventListener("pointermove", (event) => event.pointerId === hand && point(event));
    for (const end of ["pointerup", "pointercancel"]) {
      pad.addEventListener(end, ({ pointerId }) => {
        if (pointerId !== hand) return;
        hand = null;
        this.#spring({ x: 0, y: 0 });
      });
    }
    pad.addEventListener("contextmenu", (event) => event.preventDefault());
    pad.addEventListener("dblclick", () => this.set({ x: 0, y: 0 }));
  }

  /** A camera key goes down or up; false when it is none. */
  key(key, down, shift = false) {
    const turn = { ArrowLeft: { orbit: -0.6 }, ArrowRight: { orbit: 0.6 }, ArrowUp: { tilt: 0.6 }, ArrowDown: { tilt: -0.6 } }[key];
    const move = (down && shift && turn) || {
      ArrowLeft: { x: -0.6 }, ArrowRight: { x: 0.6 }, ArrowUp: { y: -0.6 }, ArrowDown: { y: 0.6 },
      "+": { zoom: 0.6 }, "=": { zoom: 0.6 }, "-": { zoom: -0.6 }, _: { zoom: -0.6 }, q: { roll: -0.6 }, e: { roll: 0.6 }, w: { dolly: 0.6 }, s: { dolly: -0.6 },
    }[key];
    if (!move) return false;
    if (down) this.set(move);
    else this.#spring(Object.fromEntries(Object.keys({ ...move, ...turn }).map((name) => [name, 0])));
    return true;
  }
}
