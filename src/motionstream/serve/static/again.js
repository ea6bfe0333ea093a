// The second press of a double click is meant for what was there at the first: it does nothing to the view that has taken
// its place.

const DOUBLE_MS = 500; // as systems have it
const NEAR_PX = 32; // two taps of a finger

export class SecondPress {
  constructor() {
    this.changedAt = -Infinity;
    this.swallowing = false;
    this.last = null; // place of the last press
    addEventListener("pointerdown", (event) => this.#down(event), true);
    for (const kind of ["mousedown", "click", "dblclick"]) {
      addEventListener(kind, (event) => this.swallowing && event.detail > 0 && this.#swallow(event), true);
    }
  }

  /** What lies under the pointer has just become something else. */
  changed() { this.changedAt = performance.now(); }

  #down(event) {
    const { last } = this, at = [event.clientX, event.clientY];
    this.last = at;
    const near = last && Math.hypot(at[0] - last[0], at[1] - last[1]) < NEAR_PX;
    this.swallowing = Boolean(near) && event.timeStamp - this.changedAt < DOUBLE_MS;
    if (this.swallowing) this.#swallow(event);
  }

  #swallow(event) {
    event.preventDefault();
    event.stopImmediatePropagation();
  }
}
