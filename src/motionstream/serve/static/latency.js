// True input latency: from an event of the hand to the first frame on screen that shows it (docs/protocol.md).

const KEPT = 200;
const WAITING = 600;
const GIVEN_UP_MS = 20000;

/** a <= b on the 32-bit clock, which may wrap. */
export const notAfter = (a, b) => ((b - a) >>> 0) < 0x80000000;

export function quantile(values, share) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

export class LatencyMeter {
  constructor() { this.reset(); }

  reset() {
    this.waiting = [];
    this.samples = [];
    this.unsent = [];
    this.echo = 0;
  }

  /** An event with time `t` has been sent. */
  sent(t) {
    this.waiting.push(t);
    if (this.waiting.length > WAITING) this.waiting.shift();
  }

  /** A frame that shows input up to `echo` is on screen at time `now`. */
  painted(echo, now) {
    if (!echo) return;
    if (!this.echo || notAfter(this.echo, echo)) this.echo = echo;
    const reached = this.waiting.filter((t) => notAfter(t, echo));
    if (!reached.length) return;
    this.waiting = this.waiting.filter((t) => !notAfter(t, echo));
    for (const t of reached) {
      const spent = (now - t) >>> 0;
      if (spent > GIVEN_UP_MS) continue;
      this.samples.push(spent);
      this.unsent.push(spent);
    }
    this.samples = this.samples.slice(-KEPT);
    this.unsent = this.unsent.slice(-KEPT);
  }

  /** Events that a branch, a pause or a lost connection has made meaningless. */
  forgive() { this.waiting = []; }

  take() {
    const unsent = this.unsent;
    this.unsent = [];
    return unsent;
  }

  get p50() { return quantile(this.samples, 0.5); }
  get p95() { return quantile(this.samples, 0.95); }
}
