// The life of a take: waiting in line, starting, playing, pausing, branching, ending, and coming back after a lost socket.

import { ChunkGrid } from "./frames.js";
import { whetherKept } from "./last.js";
import { clock } from "./socket.js";
import { announce, clockText, sentence, toast } from "./ui.js";

const RESUME_WAIT_MS = 6000;

/**
 * Phases: "idle", "draft" (drawing before the start), "waiting" (connecting or in line), "starting", "playing", "paused",
 * "branching", "ended". Events: "phase", "prompt", "stats" (detail), "begun".
 */
export class Run extends EventTarget {
  constructor({ link, player, store, stage, latency, limits }) {
    super();
    Object.assign(this, { link, player, store, stage, latency, limits });
    Object.assign(this, { phase: "idle", take: null, plan: null, position: 0, ready: false, recorded: 0, reason: "", prompt: "" });
    this.echo = 0; // carried on over frames without news
    this.ahead = null; // a prompt set in a pause: as what is drawn then, a branch takes it along
    this.returned = null; // what to say when the server says that a take that was come back to goes on
    this.stopping = false; // a start was given up: what the server says is about that one until it says that it is over
    this.numBegun = 0; // what was asked for before it grew, and comes late, takes nothing over
    link.have = () => (this.active ? store.last : -1);
    link.addEventListener("status", (event) => this.#linked(event.detail));
    link.addEventListener("message", (event) => this[`_on_${event.detail.kind}`]?.(event.detail));
    link.addEventListener("frame", (event) => this.#frame(event.detail));
  }

  /** The board and the camera, which need this run to send. */
  join(board, camera) { Object.assign(this, { board, camera }); }

  #turn(phase, reason = "") {
    const before = this.phase;
    Object.assign(this, { phase, reason });
    this.dispatchEvent(new CustomEvent("phase", { detail: { before } }));
  }

  get active() { return ["playing", "paused", "branching"].includes(this.phase); }
  get live() { return this.phase === "playing" && !this.recorded && this.link.status === "open" && !this.link.holding; }
  get past() { return !this.player.live && this.player.shown < this.store.last; }

  /** Why nothing can be drawn now, or null. */
  refusal() {
    if (this.phase === "ended") return "This take has ended: start it again to draw.";
    if (this.phase === "idle") return "Choose a picture first.";
    if (this.phase === "branching") return "One moment: going back.";
    if (this.recorded) return "The recorded input plays first. Your hand is live after its end.";
    return null;
  }

  wire() {
    return {
      send: (message) => this.active && this.link.send(message),
      sent: (t) => this.latency.sent(t),
      now: () => clock(),
      seen: () => Math.max(this.player.shown, 0),
      fps: () => this.player.fps,
      accepts: () => this.live,
      reaches: () => this.link.status === "open" && !this.link.holding,
    };
  }

  // ---------------------------------------------------------------- what the user wants

  /** Show a plan's picture; drawing ahead is possible. */
  prepare(plan, preset) {
    Object.assign(this, { plan, take: null, recorded: 0, ahead: null, returned: null, asked: null });
    this.unanswered = false; // a start that the server may have heard
    this.numBegun += 1;
    this.store.clear();
    this.player.reset(preset.fps, new ChunkGrid(preset.first_chunk_frames, preset.chunk_frames));
    this.latency.reset();
    this.board.collecting = false;
    this.board.reset();
    this.camera.clear();
    this.camera.width = preset.width;
    this.stage.resize(preset.width, preset.height);
    this.prompt = plan.prompt;
    this.dispatchEvent(new Event("prompt"));
    this.#turn("draft");
  }

  start() {
    this.recorded = 0;
    this.numBegun += 1;
    this.#turn("waiting");
    if (this.link.status === "open" && this.ready && !this.stopping) this.#begin();
    else this.link.open();
  }

  /** Another picture is taken up: what plays is over, and so is a start that is on its way. */
  abandon() {
    this.stopping ||= this.phase === "starting" && this.link.status === "open";
    if (this.active || this.phase === "starting") this.link.sendNow({ kind: "stop" });
  }

  #stopped() {
    this.stopping = false;
    if (this.phase === "waiting" && this.ready) this.#begin();
  }

  /** After a reload: come back to the take of `session`. `take`: its name, where it had begun. */
  takeUp(session, take) {
    this.take = take ? { take } : null;
    this.#turn("branching");
    this.link.open(session);
  }

  #begin() {
    this.#turn("starting");
    this.unanswered = true;
    const { take, picture, crop, prompt, seed, preset } = this.plan;
    if (take) this.link.sendNow({ kind: "open", take });
    else this.link.sendNow({ kind: "start", picture, ...(crop ? { crop } : {}), prompt, seed, ...(preset ? { preset } : {}) });
  }

  /** Space. */
  toggle() {
    if (this.phase === "playing") this.pause();
    else if (this.phase === "paused") this.resume();
    else if (this.phase === "draft") this.start();
  }

  pause(reason = "") {
    if (this.phase !== "playing") return;
    this.asked = "pause";
    this.link.send({ kind: "pause" });
    this.player.freeze(true);
    this.latency.forgive();
    this.#turn("paused", reason);
  }

  resume() {
    if (this.phase !== "paused") return;
    this.player.scrub(null);
    // What was drawn ahead goes first, so that all of it begins with the next chunk.
    this.#goOn(Infinity);
    this.link.send({ kind: "resume" });
    this.asked = "resume";
  }

  #goOn(cap) {
    this.ahead = null;
    this.#turn("playing");
    this.player.freeze(false);
    if (!this.live) return;
    this.board.flush(cap, !this.board.collecting);
    this.camera.send(false);
  }

  playPaths() {
    if (this.live) this.board.flush();
  }

  stop() {
    if (!this.active) return;
    this.link.send({ kind: "stop" });
    this.player.freeze(true);
    this.#turn("ended", "You stopped it.");
  }

  /** Chunk that would be made next if the take went on from the frame on screen. */
  get branchChunk() { return this.player.grid ? this.player.grid.of(Math.max(this.player.shown, 0)) + 1 : 0; }
  get canBranch() { return this.phase === "paused" && this.past && this.link.status === "open"; }

  branch() {
    if (!this.canBranch) return;
    this.#turn("branching");
    this.link.send({ kind: "branch", chunk: this.branchChunk });
  }

  /** A running take takes another prompt, and so does one that is still to be started. */
  get mayPrompt() { return (this.active && !this.recorded) || this.phase === "draft" || (this.phase === "ended" && !this.plan?.take); }

  setPrompt(text) {
    this.prompt = text;
    this.plan.prompt = text;
    if (!this.active) return;
    this.link.send({ kind: "prompt", text });
    this.ahead = this.phase === "playing" ? null : text;
  }

  /** Back to the pictures: the place is free for others. */
  leave() {
    if (this.active) this.link.sendNow({ kind: "stop" });
    this.link.close();
    this.ready = false;
    this.#turn("idle");
  }

  // ---------------------------------------------------------------- what the server says

  #linked({ status }) {
    clearTimeout(this.resuming);
    if (status === "lost") {
      Object.assign(this, { ready: false, returned: null, stopping: false });
      if (this.phase === "starting") this.#turn("waiting"); // it is said again, unless the take turns out to have begun
      if (this.active) {
        this.board.dropped();
        this.camera.clear();
      }
    } else if (status === "open" && this.active) {
      this.link.holding = true;
      this.resuming = setTimeout(() => this.#gone(), this.link.resuming ? RESUME_WAIT_MS : 1500);
    } else if (status === "refused") {
      this.ready = false;
      this.player.freeze(true);
      if (this.phase === "waiting" || this.phase === "starting") this.#turn("draft");
    }
    this.dispatchEvent(new CustomEvent("phase", { detail: { before: this.phase } }));
  }

  /** The take could not be taken up again. */
  async #gone() {
    const { take } = this, away = "The connection was away for too long.";
    this.board.over();
    this.link.forget();
    this.player.freeze(true);
    this.#turn("ended", away);
    const kept = take ? await whetherKept(take.take) : "";
    if (this.phase === "ended" && this.take === take && this.reason === away) this.#turn("ended", away + kept);
  }

  _on_queued({ position }) {
    this.ready = false;
    this.position = position;
    announce(`You are number ${position} in line`);
    this.#turn(this.phase === "starting" ? "waiting" : this.phase, this.reason); // a draft starts when it is told to
  }

  _on_ready() {
    Object.assign(this, { ready: true, position: 0 });
    if (this.phase === "waiting" && !this.stopping) this.#begin();
  }

  _on_started(message) {
    clearTimeout(this.resuming);
    Object.assign(this, { ready: true, position: 0 });
    if (this.stopping) return;
    if (this.phase === "draft" || this.phase === "idle") { // of a picture that another one has replaced
      this.link.forget();
      this.link.sendNow({ kind: "stop" });
      return;
    }
    const { unanswered } = this;
    this.unanswered = false;
    if (message.resumed && this.phase === "waiting" && !unanswered) { // another start was asked for while it was away
      this.link.forget();
      this.#begin();
      return;
    }
    this.take = message;
    this.prompt = (message.resumed && this.link.queue.findLast(({ kind }) => kind === "prompt")?.text) || message.prompt;
    this.dispatchEvent(new Event("prompt"));
    if (message.resumed && !unanswered) {
      this.#resumed(message);
      return;
    }
    this.#expect(message);
    this.dispatchEvent(new Event("begun"));
    this.latency.reset();
    Object.assign(this, { echo: 0, ahead: null, asked: null });
    this.board.reset(true, message.first_id);
    this.recorded = message.recorded;
    this.link.forget();
    this.#turn("playing");
    this.#goOn(0);
    this.board.disown(message.active || []);
    this.camera.repeat();
  }

  /** A take whose frames come from now on; those before were made while the page was away. */
  #expect(message) {
    this.store.clear(message.take);
    this.player.reset(message.fps, new ChunkGrid(message.first_chunk_frames, message.chunk_frames));
    this.stage.resize(message.width, message.height);
    this.camera.width = message.width;
    this.store.last = this.player.head = message.frame - 1;
  }

  #resumed(message) {
    const fresh = this.store.take !== message.take, branching = this.phase === "branching";
    const unheard = !fresh && message.frame <= this.store.last; // a branch that the page has not heard of
    if (fresh) {
      this.#expect(message);
      this.player.scrub(null);
    } else if (unheard) this.#cut(message.frame, message.active);
    this.recorded = message.recorded;
    this.board.settle(message.active, this.link.queue.map(({ id }) => id), message.frame);
    this.link.flush();
    this.latency.forgive();
    if (this.phase === "ended" && !fresh) return; // stopped while the connection was away: the server has heard it now
    if (this.phase === "paused" && !fresh) return;
    if (branching && unheard) this.#goOnFrom(message);
    else this.returned = fresh ? "The take goes on after the reload." : "Connected again. The take goes on; what you held was let go.";
  }

  _on_state({ state, reason }) {
    if (this.stopping) {
      if (state === "ended") this.#stopped();
    } else if (state === "ended") {
      this.player.freeze(true);
      if (this.phase === "starting" || this.phase === "draft") return;
      this.board.over();
      this.#turn("ended", reason || this.reason);
    } else if ((state === "paused" && this.asked === "resume" && !reason) || (state === "playing" && this.asked === "pause")) {
      // said before the server has heard what was asked for last
    } else if (state === "paused") {
      this.asked = this.returned = null;
      this.player.freeze(true);
      if (reason) toast(sentence(reason), "warn", 10);
      if (this.phase !== "paused" && this.phase !== "ended") this.#turn("paused", reason || "");
    } else if (state === "playing") {
      const { returned } = this;
      this.asked = this.returned = null;
      if (["paused", "branching", returned && "playing"].includes(this.phase) && !this.past) this.#goOn(Infinity);
      if (!returned) return;
      this.camera.repeat();
      toast(returned);
    }
  }

  _on_branched(message) {
    this.#cut(message.frame, message.active || null);
    this.prompt = message.prompt ?? this.prompt;
    this.#goOnFrom(message);
  }

  /** A branch has taken back what was made from `frame` on; `active`: the gestures that the engine holds there. */
  #cut(frame, active) {
    this.player.cut(frame);
    this.recorded = 0; // what was recorded does not go on after a branch
    this.echo = this.store.entries.get(frame - 1)?.echo || 0;
    this.latency.forgive();
    this.latency.echo = this.echo;
    this.board.branched(frame, this.echo, active);
    this.player.head = frame - 1;
    if (this.player.live) this.player.scrub(null); // and what is on screen, too
  }

  /** After a branch: on from there, with what was drawn ahead and the prompt that was set for it. */
  #goOnFrom({ chunk, frame }) {
    const { ahead } = this;
    this.player.scrub(null);
    this.#goOn(Math.max(frame - 1, 0));
    if (ahead !== null) this.setPrompt(ahead);
    this.dispatchEvent(new Event("prompt"));
    this.link.send({ kind: "resume" });
    this.asked = "resume";
    this.camera.repeat();
    toast(`A branch from ${clockText(frame / this.player.fps)}, chunk ${chunk}.`);
  }

  /** The recorded input has ended: the hand is live, and shown is the prompt that is in use by then. */
  _on_live({ prompt, active }) {
    if (this.stopping || !this.active) return; // of a take that is over
    Object.assign(this, { recorded: 0, prompt });
    this.dispatchEvent(new Event("prompt"));
    this.board.disown(active);
    toast(`The recorded input has ended${active.length ? ", and what it held is let go" : ""}. The take is yours now.`);
    if (this.phase === "playing") this.#goOn(Infinity);
    else this.#turn(this.phase, this.reason);
  }

  _on_held({ id, points }) { this.board.took(id, points, this.take.cell); }
  _on_ended({ id }) { this.board.ended(id, this.player.head); }
  _on_stats(message) { this.dispatchEvent(new CustomEvent("stats", { detail: message })); }

  _on_error({ code, message, fatal, id }) {
    const text = sentence(message);
    if (this.stopping || (code === "not_started" && !this.active)) { // about what is over anyway
      if (code === "not_started" && this.stopping) this.#stopped();
      return;
    }
    if (id !== undefined) this.board.refused(id);
    if (this.phase === "starting") {
      this.unanswered = false;
      this.#turn("draft", text);
      this.dispatchEvent(new CustomEvent("refused", { detail: { code, text } }));
      return;
    }
    if (this.phase === "waiting" && (code === "busy" || fatal)) {
      this.#turn("draft", text);
      this.link.close();
      toast(text, "bad", 12);
      return;
    }
    if (this.phase === "branching") this.#turn("paused");
    const grave = fatal || code === "disk_full";
    toast(text, grave ? "bad" : "warn", grave ? 15 : 7);
  }

  #frame(entry) {
    if (!this.take) return;
    entry.echo = this.echo = entry.echo || this.echo;
    this.player.push(entry, performance.now());
  }
}
