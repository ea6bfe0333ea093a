// Every frame of the take that the page has received, as JPEG blobs, bounded in memory.

import { frameBlob } from "./api.js";

const KEPT_BYTES = 160e6;

export class FrameStore {
  constructor() { this.clear(); }

  clear(take = null) {
    this.take = take;
    this.entries = new Map();
    this.bytes = 0;
    this.last = -1;
    this.first = 0;
  }

  add(entry) {
    const old = this.entries.get(entry.frame);
    if (old) this.bytes -= old.blob.size;
    this.entries.set(entry.frame, entry);
    this.bytes += entry.blob.size;
    this.last = Math.max(this.last, entry.frame);
    for (const [frame, { blob }] of this.entries) {
      if (this.bytes <= KEPT_BYTES) break;
      this.entries.delete(frame);
      this.bytes -= blob.size;
    }
  }

  /** Drop frames from `frame` on: a branch has made them void. */
  cut(frame) {
    for (const [number, { blob }] of this.entries) {
      if (number < frame) continue;
      this.entries.delete(number);
      this.bytes -= blob.size;
    }
    this.last = Math.min(this.last, frame - 1);
  }

  /** The blob of a frame: from memory, or from the server when memory has let it go. */
  async blob(frame) {
    const entry = this.entries.get(frame);
    if (entry) return entry.blob;
    if (!this.take || frame < 0 || frame > this.last) return null;
    return frameBlob(this.take, frame);
  }
}

/** First chunk's length and that of the others -> where chunks begin, and back. */
export class ChunkGrid {
  constructor(first, others) { Object.assign(this, { first, others }); }
  start(chunk) { return chunk <= 0 ? 0 : this.first + (chunk - 1) * this.others; }
  of(frame) { return frame < this.first ? 0 : 1 + Math.floor((frame - this.first) / this.others); }
}
