// What the page says about where things stand: the pill, the chip and the cover on the picture, the transport's labels.

import { pointOut } from "./here.js";
import { $, announce, banner, clockText, icon, make, press, reveal, setIcon } from "./ui.js";

const PILLS = {
  idle: ["off", "not connected"], connecting: ["wait", "connecting"], open: ["on", "connected"], lost: ["bad", "reconnecting"], refused: ["bad", "not connected"],
};

/** What to do first with a tool. */
const FIRST = {
  drag: "Press on something and pull", pin: "Click on what should hold still", path: "Pull along the way that it should take",
  camera: "Push the picture", motion: "Choose a clip or the webcam",
};

const capital = (sentence) => sentence[0].toUpperCase() + sentence.slice(1);

export class StateView {
  constructor({ run, link, player, store, tools, motion, startAgain, toStart, actions }) {
    Object.assign(this, { run, link, player, store, tools, motion, startAgain, toStart, actions, covered: "" });
    for (const part of [tools, motion]) for (const event of ["tool", "change"]) part.addEventListener(event, () => this.show());
    link.addEventListener("status", ({ detail }) => this.#banner(detail));
    run.addEventListener("phase", ({ detail }) => {
      this.show();
      if (detail.before !== run.phase && ["playing", "paused", "ended"].includes(run.phase)) announce({ playing: "Playing", paused: "Paused", ended: `Ended. ${run.reason}` }[run.phase]);
    });
    this.show();
  }

  show() {
    this.#pill();
    this.#transport();
    this.#chip();
    this.#cover();
  }

  /** What changes with every frame. */
  tick() {
    const { player, store } = this;
    const text = store.last < 0 ? "0:00.0" : `${clockText(Math.max(player.shown, 0) / player.fps)}`;
    if ($("clock").textContent !== text) $("clock").textContent = text;
    const now = `${this.run.past} ${player.shown >= 0} ${player.reviewing}`;
    if (now !== this.before) {
      this.before = now;
      this.show();
    } else this.#cover(); // a take may have begun and shown its first frame since the last look
    if (this.run.recorded) this.#chip();
  }

  #banner({ status, why }) {
    const { run, link } = this;
    if (status === "idle" || status === "open") banner(null);
    else if (status === "refused") banner(why, "bad", [/tab/.test(why) ? ["Take it back here", () => link.open()] : ["Reload", () => location.reload()]]);
    else if (status !== "lost" || run.phase === "idle" || run.phase === "ended") return;
    else if (!run.active) banner("The server does not answer. Trying again…", "warn");
    else banner(link.resumable ? "The connection was lost. Coming back… the take is kept for half a minute." : "The server does not answer. Still trying; what you see here is kept.", "warn");
  }

  #pill() {
    const { run, link } = this;
    let [kind, text] = PILLS[link.status];
    if (link.status === "open") {
      if (run.phase === "waiting" && run.position) [kind, text] = ["wait", `number ${run.position} in line`];
      else if (run.phase === "playing") [kind, text] = ["live", "live"];
      else if (run.phase === "paused") [kind, text] = ["on", "paused"];
    }
    $("connection").dataset.kind = kind;
    if ($("connection-text").textContent !== text) $("connection-text").textContent = text;
  }

  #transport() {
    const { run, link } = this;
    const label = (button, text, name) => {
      button.querySelector("span").textContent = text;
      if (name) setIcon(button, name);
    };
    const playing = run.phase === "playing" || run.phase === "branching";
    const past = run.past;
    label($("play"), playing ? "Pause" : run.phase === "ended" ? "Again" : run.phase === "paused" ? "Resume" : "Start", playing ? "pause" : "play");
    $("play").disabled = ["waiting", "starting", "branching", "idle"].includes(run.phase);
    reveal($("stop"), run.active);
    reveal($("branch"), run.phase === "paused" && past);
    $("branch").disabled = !run.canBranch;
    $("branch").classList.toggle("primary", run.canBranch);
    $("play").classList.toggle("second", run.canBranch);
    if (run.canBranch) {
      label($("play"), "Resume at the end");
      $("branch").title = `Go on from chunk ${run.branchChunk}, with what you draw now (B)`;
    }
    const { reviewing } = this.player;
    reveal($("watch"), reviewing || (past && ["paused", "ended"].includes(run.phase)));
    label($("watch"), reviewing ? "Pause" : "Watch", reviewing ? "pause" : "watch");
    press($("live"), !past && run.phase === "playing" && link.status === "open");
    $("live").disabled = !past;
  }

  #chip() {
    const { run } = this;
    let text = "";
    if (this.link.status !== "open" && run.active) text = "";
    else if (run.phase === "playing" && !run.recorded && !run.board?.log.length && this.player.shown >= 0 && !run.camera.moving && !this.motion.on) text = FIRST[this.tools.tool] || "";
    else if (run.phase === "draft") text = run.reason || "Draw ahead, then press Start";
    else if (run.phase === "paused") {
      const ahead = run.board?.drafts.length;
      text = run.past ? "Looking back. Draw, then branch here" : run.reason ? `Paused. ${capital(run.reason)}` : ahead ? `Paused · ${ahead} drawn ahead` : "Paused. What you draw starts when you resume";
    } else if (run.phase === "ended" && run.past && !this.player.reviewing) text = `The take has ended. ${run.reason}`.trim();
    else if (run.phase === "branching") text = "Going back…";
    else if (run.recorded && run.active) {
      const at = this.player.grid ? this.player.grid.of(Math.max(this.player.shown, 0)) + 1 : 1;
      text = `Recorded input: chunk ${Math.min(at, run.recorded)} of ${run.recorded}`;
    }
    const chip = $("chip");
    if (chip.textContent !== text) chip.textContent = text;
    chip.hidden = !text;
    const { tool, session } = this.tools;
    pointOut(text && text === FIRST[tool] && ["drag", "path"].includes(tool) && !session ? run.plan : null);
    chip.dataset.phase = run.recorded ? "recorded" : run.phase;
  }

  #cover() {
    const { run, link } = this;
    let key = "";
    if (run.phase === "waiting") key = run.position ? `line ${run.position}` : "connecting";
    else if (run.phase === "starting") key = "starting";
    else if (run.phase === "playing" && this.player.shown < 0) key = "starting";
    else if (run.phase === "ended" && !run.past) key = `ended ${this.store.last >= 0} ${run.reason}`;
    if (link.status === "lost" && run.phase === "waiting") key = "lost";
    if (key === this.covered) return;
    this.covered = key;
    const cover = $("cover");
    cover.hidden = !key;
    cover.className = `cover ${key.split(" ")[0]}`;
    cover.replaceChildren(...this.#words(key));
  }

  #words(key) {
    const spinner = make("i", { class: "spinner", "aria-hidden": "true" });
    const { run } = this;
    if (key === "connecting") return [spinner, make("p", {}, "Connecting…")];
    if (key === "lost") return [spinner, make("p", {}, "The server does not answer. Trying again…")];
    if (key === "starting") return [spinner, make("p", {}, "The first pictures are on their way…")];
    if (key.startsWith("line")) {
      const [text, more] = run.position === 1
        ? ["You are next.", "Somebody else is drawing. It starts by itself when they are done."]
        : [`You are number ${run.position} in line.`, "It starts by itself when it is your turn."];
      return [make("strong", {}, text), make("p", {}, more), this.#button("Back to the pictures", "quiet", this.toStart)];
    }
    if (key.startsWith("ended")) {
      return [
        make("strong", {}, "The take has ended."),
        run.reason ? make("p", {}, capital(run.reason)) : "",
        make("div", { class: "cover-buttons" }, this.#button("Start again", "primary", this.startAgain, "play"),
          ...(this.store.last < 0 ? [] : [
            this.#button("Watch", "quiet", () => this.actions().review(), "watch"),
            this.#button("Save video", "quiet", ({ currentTarget }) => this.actions().saveVideo(currentTarget), "save"),
          ]),
          this.#button("Other pictures", "quiet", this.toStart)),
      ];
    }
    return [];
  }

  #button(text, kind, act, name) {
    const button = make("button", { type: "button", class: kind }, name ? icon(name) : null, make("span", {}, text));
    button.addEventListener("click", act);
    return button;
  }
}
