// The note on the start view about the server: that its model is being loaded, or that somebody is drawing; true while it stands.

import * as api from "./api.js";
import { $ } from "./ui.js";

const LOOK_MS = 3000;

export function wordsFor({ status, busy, waiting }) {
  if (status === "loading") return "The model is being loaded. Choose a picture: it starts as soon as that is done.";
  if (status === "failed") return "The server could not load its model. Its own messages say why.";
  return busy ? `Somebody is drawing${waiting ? ` and ${waiting} in line` : ""}. Start anyway: you get a place in line.` : "";
}

export class ServerNotice {
  constructor() {
    this.words = "";
    setInterval(() => this.#look(), LOOK_MS);
  }

  show(health) {
    this.words = wordsFor(health);
    $("start-note").textContent = this.words;
    $("start-note").hidden = !this.words;
  }

  /** Whether it still stands; another note may have taken its place. */
  get stands() { return this.words !== "" && !$("start-note").hidden && $("start-note").textContent === this.words; }

  async #look() {
    if (!this.stands || document.hidden || $("start-view").hidden) return;
    try {
      const health = await api.health();
      if (this.stands) this.show(health);
    } catch { /* whoever starts hears of it */ }
  }
}
