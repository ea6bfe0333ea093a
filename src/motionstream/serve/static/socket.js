// The live connection: hello, heartbeat, reconnection with backoff, and frames out of binary messages.

import { getToken, socketAddress } from "./api.js";

export const VERSION = 2;
const LOST_MS = 12000;
const RESUME_MS = 30000;
const BACKOFF_MS = [200, 500, 1000, 2000, 3000, 5000];
const QUEUE_LIMIT = 200;
const LASTING = ["remove", "prompt", "pause", "resume", "stop"]; // what still counts after a connection was lost
const SAID_AGAIN = [...LASTING, "pin", "path"]; // if the server has not heard it
const HEADER_BYTES = 20;

/** The page's clock in whole milliseconds below 2^32, steady over a reload. */
export function clock(stamp = performance.now()) {
  return Math.floor((performance.timeOrigin + stamp) % 4294967296) || 1;
}

export function parseFrame(buffer) {
  if (buffer.byteLength <= HEADER_BYTES) return null;
  const view = new DataView(buffer);
  if (view.getUint8(0) !== 1) return null;
  return {
    last: (view.getUint8(1) & 1) === 1,
    chunk: view.getUint32(4, true),
    frame: view.getUint32(8, true),
    echo: view.getUint32(12, true),
    age: view.getUint32(16, true),
    blob: new Blob([new Uint8Array(buffer, HEADER_BYTES)], { type: "image/jpeg" }),
  };
}

/**
 * Events: "message" (detail: the JSON object), "frame" (detail: parseFrame's object), "status" (detail: {status, why}),
 * where status is "idle", "connecting", "open", "lost" or "refused"; "beat" every few seconds while open, hidden or not.
 */
export class Link extends EventTarget {
  constructor() {
    super();
    this.status = "idle";
    this.session = null;
    this.roundTrip = null;
    this.holding = false;
    this.queue = [];
    this.numSaid = 0; // in this session
    this.said = []; // the last of it that would be said again: [number, message]
    this.attempt = 0;
    this.lostAt = 0;
    this.have = () => -1; // newest frame of the running take that the page has
    this.beat = new Worker(new URL("beat.js", import.meta.url)); // timers of a hidden page are too slow
    this.beat.onmessage = () => this.status === "open" && this.#heartbeat();
    addEventListener("online", () => this.status === "lost" && this.#dial());
    addEventListener("visibilitychange", () => !document.hidden && this.status === "lost" && this.#dial());
  }

  open(session = null) {
    if (session) this.session = session;
    if (this.status === "open" || this.status === "connecting") return;
    this.attempt = 0;
    this.lostAt = performance.now();
    this.#dial();
  }

  /** Part for good: the server frees the place. */
  close() {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null;
    this.session = null;
    this.forget();
    socket?.close(1000);
    this.#turn("idle");
  }

  /** Send; while the socket is away, keep what still matters after the take has been resumed. The server lets go of what a
   * hand held when it loses the connection, so moves and the like do not. */
  send(message) {
    if (this.status === "open" && !this.holding) {
      this.#say(message);
      return true;
    }
    if (!LASTING.includes(message.kind)) return false;
    this.queue.push(message);
    if (this.queue.length > QUEUE_LIMIT) this.queue.shift();
    return false;
  }

  /** Say something even while others wait (start, after a reconnection). */
  sendNow(message) {
    if (this.status !== "open") return;
    if (["start", "open"].includes(message.kind)) this.said = [];
    this.#say(message);
  }

  /** Bytes of the moment (a picture of the camera's): whether they went out; they are not said again. */
  sendBytes(bytes) {
    const open = this.status === "open" && this.#takes;
    if (open) this.socket.send(bytes);
    return open;
  }

  #say(message) {
    // One that closes takes nothing more, though its end is not heard of yet; what counts is said again after it.
    if (this.#takes) this.socket.send(JSON.stringify(message));
    this.numSaid += 1;
    if (!SAID_AGAIN.includes(message.kind)) return;
    this.said.push([this.numSaid, message]);
    if (this.said.length > QUEUE_LIMIT) this.said.shift();
  }

  /** Send what was kept while the socket was away, after what was lost with it. */
  flush() {
    this.holding = false;
    const queue = this.queue;
    this.queue = [];
    for (const message of queue) this.send(message);
  }

  /** The take that they were meant for is over. */
  forget() {
    this.queue = [];
    this.said = [];
    this.holding = false;
  }

  get #takes() { return this.socket.readyState === WebSocket.OPEN; }
  get lostFor() { return this.status === "open" ? 0 : performance.now() - this.lostAt; }
  get resumable() { return this.session !== null && this.lostFor < RESUME_MS; }

  #turn(status, why = "") {
    this.status = status;
    this.dispatchEvent(new CustomEvent("status", { detail: { status, why } }));
  }

  #dial() {
    clearTimeout(this.timer);
    const before = this.socket;
    const socket = new WebSocket(socketAddress());
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    before?.close(); // a dial that has not come through must not come through later
    if (this.status !== "lost") this.#turn("connecting");
    const late = setTimeout(() => socket.close(), 8000);
    socket.onopen = () => {
      if (socket !== this.socket) return;
      const hello = { kind: "hello", v: VERSION, tells: true };
      if (getToken()) hello.token = getToken();
      if (this.session) hello.resume = this.session;
      if (this.session && this.have() >= 0) hello.have = this.have();
      socket.send(JSON.stringify(hello));
    };
    socket.onmessage = (event) => {
      if (socket !== this.socket) return;
      this.heard = performance.now();
      if (typeof event.data !== "string") {
        const frame = parseFrame(event.data);
        if (frame) this.dispatchEvent(new CustomEvent("frame", { detail: frame }));
        return;
      }
      let message;
      try {
        message = JSON.parse(event.data);
      } catch {
        return;
      }
      if (message.kind === "hello") {
        clearTimeout(late);
        this.#greeted(message);
      }
      if (message.kind === "pong") this.roundTrip = (clock() - message.t) >>> 0;
      this.dispatchEvent(new CustomEvent("message", { detail: message }));
    };
    socket.onclose = (event) => {
      clearTimeout(late);
      if (socket === this.socket) this.#closed(event);
    };
  }

  #greeted(message) {
    this.resuming = this.session !== null && message.session === this.session;
    this.session = message.session;
    this.attempt = 0;
    const unheard = this.resuming ? this.said.filter(([number]) => number > message.heard).map(([, said]) => said) : [];
    this.queue = [...unheard, ...this.queue];
    this.numSaid = message.heard;
    this.said = [];
    this.holding = this.queue.length > 0;
    this.#turn("open");
  }

  #heartbeat() {
    if (performance.now() - this.heard > LOST_MS) {
      this.socket.close();
      this.#closed({ code: 4001, reason: "" });
      return;
    }
    this.#say({ kind: "ping", t: clock() });
    this.dispatchEvent(new Event("beat"));
  }

  #closed({ code, reason }) {
    this.socket = null;
    const fatal = {
      1008: reason || "The server did not accept this page's token, or too much was sent at once.",
      4000: "This page is older than the server. Reload it.",
      4002: "This take was opened in another tab.",
    }[code];
    if (fatal) {
      if (code !== 4002) this.session = null;
      this.#turn("refused", fatal);
      return;
    }
    if (this.status === "open" || this.status === "connecting") this.lostAt = performance.now();
    const first = this.status !== "lost";
    this.status = "lost";
    if (first || this.attempt % 3 === 0) this.#turn("lost", reason);
    const wait = BACKOFF_MS[Math.min(this.attempt++, BACKOFF_MS.length - 1)];
    this.timer = setTimeout(() => this.#dial(), wait * (0.8 + 0.4 * Math.random()));
  }
}
