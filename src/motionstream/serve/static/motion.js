// Motion borrowed from a clip or the webcam: small JPEGs go to the server's tracker, the points it follows come back.

import { clock } from "./socket.js";
import { notAfter } from "./latency.js";

const LONG_SIDE_PX = 256, QUALITY = 0.8;
const MOST_BUFFERED = 64000; // bytes on their way; more would be old when they arrive
const KEPT = 96;
const HEADER_BYTES = 8;

const START_FIRST = "Start first, then choose whose motion is borrowed.";

/** Events: "change" (what is played), "points", "problem" (detail: a sentence). */
export class Motion extends EventTarget {
  constructor({ video, run, link, limits }) {
    super();
    Object.assign(this, { video, run, link, limits, source: null, name: "", mirror: false, region: null, sights: [] });
    Object.assign(this, { canvas: document.createElement("canvas"), cut: true, sentAt: 0, packing: false, told: "", turn: 0 });
    link.addEventListener("message", ({ detail }) => {
      if (detail.kind === "motion") this.#seen(detail);
      else if (detail.kind === "motion_end") this.#fail(detail.reason);
    });
    video.addEventListener("error", () => this.source === "clip" && this.#fail("This clip cannot be played here. Use an MP4 (H.264) or a WebM."));
    video.addEventListener("seeked", () => { this.cut = true; });
    run.addEventListener("phase", () => { if (!run.active) this.stop(); else this.told = ""; });
  }

  get on() { return this.source !== null; }
  get points() { return this.sights.at(-1)?.points || []; }

  /** Points that the picture shows in which input up to `echo` has taken effect. */
  pointsAt(echo) { return (echo && this.sights.findLast(({ t }) => notAfter(t, echo))?.points) || []; }

  async useClip(file) {
    this.stop();
    if (!this.run.active) return this.#fail(START_FIRST);
    if (file.type && !file.type.startsWith("video/")) return this.#fail(`“${file.name}” is not a clip. Use an MP4 or a WebM.`);
    this.video.src = URL.createObjectURL(file);
    this.video.loop = true;
    return this.#play("clip", file.name || "A clip");
  }

  async useWebcam() {
    this.stop();
    if (!this.run.active) return this.#fail(START_FIRST);
    if (!navigator.mediaDevices?.getUserMedia) return this.#fail("The browser gives the webcam only to pages on localhost or over https.");
    const { turn } = this;
    try {
      const camera = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 }, audio: false });
      if (turn !== this.turn || !this.run.active) { // something else was chosen while the browser asked
        for (const track of camera.getTracks()) track.stop();
        return false;
      }
      this.video.srcObject = camera;
    } catch (error) {
      if (turn !== this.turn) return false;
      const why = { NotAllowedError: "The webcam was not allowed. Allow it in the browser's address bar.", NotFoundError: "No webcam was found. Use a clip." }[error.name];
      return this.#fail(why || "The webcam cannot be used now. Is another program using it?");
    }
    return this.#play("webcam", "Webcam");
  }

  async #play(source, name) {
    const { turn } = this;
    try {
      await this.video.play();
      if (turn !== this.turn) return false;
    } catch {
      if (turn !== this.turn) return false;
      return this.#fail("This clip cannot be played here. Use an MP4 (H.264) or a WebM.");
    }
    const { width, height } = this.run.stage;
    Object.assign(this, { source, name, cut: true, told: "" });
    this.region ||= [0, 0, width, height];
    this.dispatchEvent(new Event("change"));
    return true;
  }

  /** Let go, and free the webcam. */
  stop() {
    this.turn += 1;
    if (this.told && this.run.active) this.link.send({ kind: "motion_end" });
    for (const track of this.video.srcObject?.getTracks() || []) track.stop();
    if (this.video.src) URL.revokeObjectURL(this.video.src);
    this.video.srcObject = null;
    this.video.removeAttribute("src");
    const was = this.on;
    Object.assign(this, { source: null, sights: [], told: "" });
    if (was) this.dispatchEvent(new Event("change"));
  }

  #fail(sentence) {
    this.told = "";
    this.stop();
    this.dispatchEvent(new CustomEvent("problem", { detail: sentence }));
    return false;
  }

  /** Size and place of the region: `scale` of the picture's width, centre as shares of it. */
  place(scale, x, y) {
    const { width, height } = this.run.stage;
    const w = width * scale, h = height * scale;
    this.region = [x * width - w / 2, y * height - h / 2, x * width + w / 2, y * height + h / 2].map((value) => Math.round(value * 10) / 10);
    this.dispatchEvent(new Event("points"));
  }

  /** From the animation loop: the newest frame goes out, no more often than the server looks at them. */
  tick(now) {
    if (!this.on || this.run.phase !== "playing" || !this.run.live || this.packing || this.video.readyState < 2) return;
    if (now - this.sentAt < 1000 / (this.limits.motion_fps || 24)) return;
    if ((this.link.socket?.bufferedAmount || 0) > MOST_BUFFERED) return;
    const wanted = JSON.stringify(this.region);
    if (this.told !== wanted) {
      this.link.send({ kind: "motion", region: this.region });
      Object.assign(this, { told: wanted, cut: true, sights: [] });
    }
    this.sentAt = now;
    this.#pack();
  }

  async #pack() {
    const { canvas, video } = this, { width, height } = this.run.stage;
    const scale = LONG_SIDE_PX / Math.max(width, height);
    [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
    // The middle of the clip, with the picture's aspect.
    const part = Math.min(video.videoWidth / width, video.videoHeight / height);
    const [w, h] = [part * width, part * height];
    const pen = canvas.getContext("2d");
    pen.setTransform(this.mirror ? -1 : 1, 0, 0, 1, this.mirror ? canvas.width : 0, 0);
    pen.drawImage(video, (video.videoWidth - w) / 2, (video.videoHeight - h) / 2, w, h, 0, 0, canvas.width, canvas.height);
    const cut = this.cut, t = clock();
    this.packing = true;
    try {
      const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
      if (!blob || !this.on || !this.told) return;
      const content = await blob.arrayBuffer();
      const message = new Uint8Array(HEADER_BYTES + content.byteLength);
      const view = new DataView(message.buffer);
      view.setUint8(0, 2);
      view.setUint8(1, cut ? 1 : 0);
      view.setUint32(4, t, true);
      message.set(new Uint8Array(content), HEADER_BYTES);
      if (this.link.sendBytes(message) && cut) this.cut = false;
    } finally {
      this.packing = false;
    }
  }

  #seen({ t, points }) {
    if (!this.on) return;
    this.sights.push({ t, points });
    if (this.sights.length > KEPT) this.sights.shift();
    this.dispatchEvent(new Event("points"));
  }
}
