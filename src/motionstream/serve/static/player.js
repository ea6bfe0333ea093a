// When each frame is shown: an even pace out of bursts, no build-up of delay, and looking back without losing the live end.

const PAINTS_KEPT = 64;
const START_FRAMES = 2; // jitter buffer after running dry
const START_MS = 120;
const SLOWEST = 0.33;
const FASTEST = 1.3;
const FAR_BEHIND_S = 4;

/** Free a frame's picture, also one that is still being decoded. */
function letGo(entry) {
  entry.dropped = true;
  entry.bitmap?.close();
  entry.bitmap = null;
}

/**
 * Calls `paint(bitmap, entry, live)` from the animation loop.
 *
 * `head` is the newest frame played live; `view` is a frame that the user has scrubbed to, or null.
 */
export class Player {
  constructor(store, paint) {
    Object.assign(this, { store, paint });
    this.reset(16, null);
  }

  reset(fps, grid) {
    for (const entry of this.pending || []) letGo(entry);
    this.fps = fps;
    this.grid = grid;
    this.pending = [];
    this.head = -1;
    this.view = null;
    this.shown = -1;
    this.frozen = false;
    this.reviewing = false;
    this.rate = 1;
    this.debt = 0;
    this.dry = true;
    this.burst = { chunk: -1, at: 0, stretch: 0, received: 0, done: true };
    this.paints = [];
    this.skipped = 0;
  }

  get live() { return this.view === null; }
  get buffered() { return this.pending.length; }

  /** Frames painted per second over the last two seconds. */
  shownFps(now) {
    const recent = this.paints.filter((at) => now - at < 2000);
    return recent.length < 2 ? 0 : (recent.length - 1) / ((recent[recent.length - 1] - recent[0]) / 1000);
  }

  /** A frame has arrived. */
  push(entry, now) {
    this.store.add(entry);
    if (entry.frame <= this.head) return;
    const burst = this.burst;
    if (entry.chunk !== burst.chunk) {
      const gap = now - burst.at;
      // The first chunk may be a single frame, which says nothing about the pace.
      if (burst.chunk >= 1 && entry.chunk === burst.chunk + 1 && gap < 8000 && !this.frozen) {
        // The server never makes video faster than it is watched, so an early chunk says nothing about the next one.
        const stretch = Math.max(1, gap / this.#lasts(burst.chunk));
        burst.stretch = burst.stretch ? 0.6 * burst.stretch + 0.4 * stretch : stretch;
      }
      Object.assign(burst, { chunk: entry.chunk, at: now, received: 0, done: false });
    }
    burst.received += 1;
    burst.done ||= entry.last;
    entry.arrived = now;
    entry.decoding = createImageBitmap(entry.blob).then(
      (bitmap) => {
        if (entry.dropped) bitmap.close();
        else entry.bitmap = bitmap;
      },
      () => { entry.broken = true; },
    );
    this.pending.push(entry);
    // A hidden page has no animation loop. One more than that stays, as what is far behind is for the loop to see.
    if (this.pending.length > this.fps * FAR_BEHIND_S + 1) this.#drop(1);
  }

  freeze(frozen) {
    this.frozen = frozen;
    this.burst.stretch = 0;
    this.burst.chunk = -1;
    this.dry = true;
  }

  /** Frames from `frame` on are void. */
  cut(frame) {
    for (const entry of this.pending) if (entry.frame >= frame) letGo(entry);
    this.pending = this.pending.filter((entry) => entry.frame < frame);
    this.store.cut(frame);
    this.head = Math.min(this.head, frame - 1);
    if (this.view !== null && this.view >= frame - 1) this.view = null;
    this.reviewing = false;
    this.freeze(this.frozen);
  }

  /** Look at `frame`; null goes back to the live end. */
  scrub(frame) {
    this.reviewing = false;
    if (frame === null) {
      this.view = null;
      this.#catchUp();
      return;
    }
    this.view = Math.min(Math.max(Math.round(frame), 0), Math.max(this.store.last, 0));
    this.#show(this.view);
  }

  /** Play what there is from the frame looked at, without making anything new. */
  review(on) {
    this.reviewing = on && this.view !== null;
    this.debt = 0;
  }

  tick(now) {
    const spent = Math.min(now - (this.ticked ?? now), 250) / 1000;
    this.ticked = now;
    if (this.reviewing) {
      this.debt += spent * this.fps;
      if (this.debt >= 1 && !this.showing) {
        const next = this.view + Math.floor(this.debt);
        this.debt %= 1;
        if (next > this.store.last) this.reviewing = false;
        else this.#show((this.view = next));
      }
      return;
    }
    if (this.frozen || !this.live) return;
    this.#advance(now, spent);
  }

  #advance(now, spent) {
    if (this.pending.length > this.fps * FAR_BEHIND_S) this.#drop(this.pending.length - this.#chunkFrames());
    const first = this.pending[0];
    if (!first) {
      this.dry = true;
      this.debt = 0;
      return;
    }
    if (this.dry) {
      const enough = this.pending.length >= START_FRAMES || this.burst.done || now - first.arrived > START_MS;
      if (!enough || !(first.bitmap || first.broken)) return;
      this.dry = false;
      this.debt = 1;
    }
    this.rate += (this.#wantedRate(now) - this.rate) * Math.min(1, spent * 5);
    this.debt = Math.min(this.debt + spent * this.fps * this.rate, 4);
    let chosen = null;
    while (this.debt >= 1 && this.pending.length && (this.pending[0].bitmap || this.pending[0].broken)) {
      const entry = this.pending.shift();
      this.debt -= 1;
      if (entry.broken) continue;
      if (chosen) {
        chosen.bitmap.close();
        this.skipped += 1;
      }
      chosen = entry;
    }
    if (!chosen) {
      this.debt = Math.min(this.debt, 1);
      return;
    }
    this.head = chosen.frame;
    this.#painted(chosen, now);
  }

  /** The pace at which the buffer lasts just until the next chunk is due: an engine slower than its frame rate looks
   * slow instead of jerky, and a buffer that has grown drains without a jump. */
  #wantedRate(now) {
    const { burst } = this;
    const missing = burst.done ? 0 : Math.max(0, this.#chunkFrames() - burst.received);
    const stock = this.pending.length + missing;
    if (stock > 2.5 * this.#chunkFrames()) return 1.6;
    if (!burst.stretch) return 1;
    const due = Math.max(0, burst.at + burst.stretch * this.#lasts(burst.chunk) - now) / 1000 + 0.08;
    if (due < 0.2 && stock < 4) return this.rate;
    const wanted = stock / (due * this.fps);
    return Math.abs(wanted - 1) < 0.1 ? 1 : Math.min(Math.max(wanted, SLOWEST), FASTEST);
  }

  /** Milliseconds of video in a chunk. */
  #lasts(chunk) { return (1000 * (chunk ? this.#chunkFrames() : this.grid?.first || 9)) / this.fps; }
  #chunkFrames() { return this.grid?.others || 12; }

  #drop(count) {
    for (const entry of this.pending.splice(0, Math.max(0, count))) letGo(entry);
    this.skipped += count;
  }

  /** The page is seen again after a while: on to the present. */
  catchUp() { if (this.live && !this.frozen) this.#catchUp(); }

  #catchUp() {
    const stale = this.pending.length - this.#chunkFrames();
    if (stale > 0) this.#drop(stale);
    this.dry = true;
    if (this.head >= 0 && (this.frozen || !this.pending.length)) this.#show(this.head); // in a pause nothing else shows it
  }

  #painted(entry, now) {
    this.shown = entry.frame;
    this.paints.push(now);
    if (this.paints.length > PAINTS_KEPT) this.paints.shift();
    this.paint(entry.bitmap, entry, true);
    entry.bitmap.close();
    entry.bitmap = null;
  }

  async #show(frame) {
    this.wanted = frame;
    if (this.showing) return;
    this.showing = true;
    try {
      while (this.wanted !== null) {
        const number = this.wanted;
        this.wanted = null;
        const blob = await this.store.blob(number);
        if (!blob) continue;
        const bitmap = await createImageBitmap(blob);
        if (this.wanted === null && (this.view === number || (this.live && this.head === number))) {
          this.shown = number;
          this.paint(bitmap, this.store.entries.get(number) || { frame: number, echo: 0 }, false);
        }
        bitmap.close();
      }
    } catch { /* a frame that cannot be had leaves the one before on screen */
    } finally {
      this.showing = false;
    }
  }
}
