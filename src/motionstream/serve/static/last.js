// The last take, on the start screen: whoever has gone back by mistake, or too soon, finds it there.

import * as api from "./api.js";
import { $, clockText, toast } from "./ui.js";

const KEY = "motionstream.last";

/** A sentence about a take that the page has lost, to be added to another one; empty where the server does not answer. */
export async function whetherKept(take) {
  try {
    await api.frameBlob(take, 0);
    return " What was made is kept.";
  } catch ({ status }) {
    return status === 404 ? " The server no longer has what was made." : "";
  }
}

export class LastTake {
  /** `onOpen(info)`: play a take of the server again. `begun()`: changes with everything that is begun. */
  constructor({ onOpen, begun }) {
    try {
      this.take = JSON.parse(sessionStorage.getItem(KEY));
    } catch { /* nothing usable */ }
    $("last-open").addEventListener("click", () => this.#get(async ({ id }) => {
      const before = begun();
      const take = JSON.parse(await (await api.takeBlob(id)).text());
      if (before !== begun()) toast("Your last take was not opened: something else was begun meanwhile.");
      else onOpen({ ...take, id });
    }));
    $("last-video").addEventListener("click", () => this.#get(async ({ id }) => api.save(await api.videoBlob(id, false), `motionstream-${id}.mp4`)));
    $("last-take").addEventListener("click", () => this.#get(async ({ id }) => api.save(await api.takeBlob(id), `motionstream-${id}.json`)));
    this.#show();
  }

  /** The take that is being left, if anything of it was seen. */
  keep({ run, store, player }) {
    if (!run.take || store.last < 0) return;
    this.take = { id: run.take.take, caption: run.plan.caption || "Your picture", seconds: (store.last + 1) / player.fps };
    try {
      sessionStorage.setItem(KEY, JSON.stringify(this.take));
    } catch { /* no storage: it is gone with the page */ }
    this.#show();
  }

  #show() {
    $("last").hidden = !this.take;
    if (this.take) $("last-words").textContent = `Your last take: ${this.take.caption}, ${clockText(this.take.seconds)}`;
  }

  async #get(act) {
    const buttons = [...$("last").querySelectorAll("button")];
    for (const button of buttons) button.disabled = true;
    try {
      await act(this.take);
    } catch (error) {
      toast(error.message, "bad", 10);
      if (error.status === 404) $("last").hidden = true;
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  }
}
