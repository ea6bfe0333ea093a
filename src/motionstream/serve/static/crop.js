// The crop box: a part of the picture with the model's aspect, moved and sized by pointer or keys.

const SMALLEST = 0.15; // of the largest box that fits

export class Crop {
  constructor({ frame, image, box, status }) {
    Object.assign(this, { frame, image, box, status, aspect: 4 / 3, width: 4, height: 3 });
    new ResizeObserver(() => this.#place()).observe(frame);
    image.addEventListener("load", () => this.#place());
    box.addEventListener("pointerdown", (event) => this.#down(event));
    box.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) box.addEventListener(end, () => { this.hold = null; });
    box.addEventListener("keydown", (event) => this.#key(event));
  }

  /** A picture of `width` x `height` pixels at `url`, and the canvas's aspect; starts with the largest box in the middle. */
  open(url, width, height, aspect, crop = null) {
    Object.assign(this, { width, height });
    this.image.src = url;
    this.setAspect(aspect, crop);
  }

  setAspect(aspect, crop = null) {
    this.aspect = aspect;
    this.largest = Math.min(this.width, this.height * aspect);
    if (crop) this.#set(crop[0], crop[1], crop[2] - crop[0]);
    else this.#set((this.width - this.largest) / 2, (this.height - this.largest / aspect) / 2, this.largest);
  }

  /** `[x0, y0, x1, y1]` in picture pixels. */
  get value() {
    const [x, y, size] = this.at;
    return [x, y, x + size, y + size / this.aspect].map((value) => Math.round(value * 100) / 100);
  }

  #set(x, y, size) {
    const width = Math.min(Math.max(size, SMALLEST * this.largest), this.largest);
    this.at = [
      Math.min(Math.max(x, 0), this.width - width),
      Math.min(Math.max(y, 0), this.height - width / this.aspect),
      width,
    ];
    this.#place();
  }

  #place() {
    if (!this.at || !this.image.clientWidth) return;
    this.scale = this.image.clientWidth / this.width;
    const [x, y, size] = this.at, { style } = this.box;
    style.left = `${this.image.offsetLeft + x * this.scale}px`;
    style.top = `${this.image.offsetTop + y * this.scale}px`;
    style.width = `${size * this.scale}px`;
    style.height = `${(size / this.aspect) * this.scale}px`;
  }

  #down(event) {
    event.preventDefault();
    this.box.focus();
    this.box.setPointerCapture(event.pointerId);
    this.hold = { corner: event.target.dataset.corner || "", x: event.clientX, y: event.clientY, at: [...this.at] };
  }

  #move(event) {
    if (!this.hold) return;
    const { corner, at: [x, y, size] } = this.hold;
    const dx = (event.clientX - this.hold.x) / this.scale, dy = (event.clientY - this.hold.y) / this.scale;
    if (!corner) {
      this.#set(x + dx, y + dy, size);
      return;
    }
    const right = corner.endsWith("e"), low = corner.startsWith("s");
    const grown = size + Math.max(right ? dx : -dx, (low ? dy : -dy) * this.aspect);
    // The opposite corner stays where it is, and the box inside the picture.
    const roomX = right ? this.width - x : x + size;
    const roomY = (low ? this.height - y : y + size / this.aspect) * this.aspect;
    const made = Math.min(Math.max(grown, SMALLEST * this.largest), roomX, roomY);
    this.#set(right ? x : x + size - made, low ? y : y + (size - made) / this.aspect, made);
  }

  #key(event) {
    const [x, y, size] = this.at;
    const step = (event.shiftKey ? 0.1 : 0.02) * this.width;
    const grow = (factor) => {
      const made = Math.min(Math.max(size * factor, SMALLEST * this.largest), this.largest);
      return [x + (size - made) / 2, y + (size - made) / 2 / this.aspect, made];
    };
    const target = {
      ArrowLeft: [x - step, y, size], ArrowRight: [x + step, y, size], ArrowUp: [x, y - step, size], ArrowDown: [x, y + step, size],
      "+": grow(1.06), "=": grow(1.06), "-": grow(1 / 1.06), _: grow(1 / 1.06),
    }[event.key];
    if (!target) return;
    event.preventDefault();
    this.#set(...target);
    const [x0, y0, x1, y1] = this.value.map(Math.round);
    this.status.textContent = `Crop ${x1 - x0} by ${y1 - y0} pixels, from ${x0}, ${y0}`;
  }
}
