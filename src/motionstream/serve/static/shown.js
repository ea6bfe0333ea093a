// What the page tells the server about what was seen, by which it knows how many frames are on their way.

const SHOWN_MS = 1000;
const HIDDEN_MS = 60000; // so long a take plays on for a page that nobody sees

export class Shown {
  constructor({ run, link, player, store, latency }) { Object.assign(this, { run, link, player, store, latency }); }

  /** About once a second. */
  report(now) {
    if (!this.run.active || this.player.head < 0 || now - (this.reported || 0) < SHOWN_MS) return;
    this.reported = now;
    const latency = this.latency.take();
    this.link.send({ kind: "shown", frame: this.player.head, ...(latency.length ? { latency } : {}) });
  }

  /** Now and then while the page is hidden, and has no animation loop: for a moment frames are taken as they come, so that
   * it can go on with the newest; then the take waits, as others may. `since`: when the page was hidden. */
  unseen(now, since) {
    if (!this.run.active || this.store.last < 0) return;
    this.latency.forgive();
    this.link.send({ kind: "shown", frame: this.store.last });
    if (now - since > HIDDEN_MS) this.run.pause("nobody was looking: the page was hidden for a minute");
  }
}
