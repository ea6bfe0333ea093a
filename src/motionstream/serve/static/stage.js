// The picture on screen: enlarged to fit, with a sharp overlay on top; and where on the canvas a pointer is.

import { watchDensity } from "./ui.js";

const LARGEST_PX = 1600;

export class Stage {
  constructor({ easel, box, video, overlay }) {
    Object.assign(this, { easel, box, video, overlay });
    this.pen = video.getContext("2d", { alpha: false });
    this.ink = overlay.getContext("2d");
    this.crisp = false;
    this.width = 128;
    this.height = 96;
    this.picture = document.createElement("canvas");
    this.dirty = true;
    new ResizeObserver(() => this.fit()).observe(easel);
    watchDensity(() => this.fit());
  }

  resize(width, height) {
    Object.assign(this, { width, height });
    this.picture.width = width;
    this.picture.height = height;
    document.documentElement.style.setProperty("--aspect", width / height);
    this.fit();
  }

  /** Largest size at the canvas's aspect that fits; both canvases get the device's pixels. */
  fit() {
    const { clientWidth, clientHeight } = this.easel;
    if (!clientWidth) return;
    const scale = Math.min(clientWidth / this.width, clientHeight / this.height);
    const width = Math.floor(this.width * scale), height = Math.floor(this.height * scale);
    this.box.style.width = `${width}px`;
    this.box.style.height = `${height}px`;
    const ratio = Math.min(window.devicePixelRatio || 1, LARGEST_PX / width);
    for (const canvas of [this.video, this.overlay]) {
      const size = [Math.round(width * ratio), Math.round(height * ratio)];
      if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    }
    this.scale = this.overlay.width / this.width; // device pixels per canvas pixel
    this.css = width / this.width; // CSS pixels per canvas pixel
    this.redraw();
  }

  /** Show a picture; `crop` in its own pixels. */
  show(image, crop = null) {
    const pen = this.picture.getContext("2d", { alpha: false });
    if (crop) {
      pen.imageSmoothingQuality = "high";
      pen.drawImage(image, crop[0], crop[1], crop[2] - crop[0], crop[3] - crop[1], 0, 0, this.width, this.height);
    } else {
      pen.drawImage(image, 0, 0, this.width, this.height);
    }
    this.redraw();
  }

  redraw() {
    this.pen.imageSmoothingEnabled = !this.crisp;
    this.pen.imageSmoothingQuality = "high";
    this.pen.drawImage(this.picture, 0, 0, this.video.width, this.video.height);
    this.dirty = true;
  }

  setCrisp(crisp) {
    this.crisp = crisp;
    this.redraw();
  }

  /** The picture in its own size, as a PNG. */
  async png() {
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: this.width, height: this.height });
    canvas.getContext("2d").drawImage(this.picture, 0, 0);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }

  /** Canvas pixels under a pointer event; may lie outside the canvas. */
  at(event) {
    const rect = this.overlay.getBoundingClientRect();
    return [((event.clientX - rect.left) / rect.width) * this.width, ((event.clientY - rect.top) / rect.height) * this.height];
  }

  inside([x, y]) { return x >= 0 && y >= 0 && x < this.width && y < this.height; }

  clamp([x, y]) {
    return [Math.min(Math.max(x, 0), this.width - 0.01), Math.min(Math.max(y, 0), this.height - 0.01)];
  }
}
