// The side panel: options of the tool in hand, what is on the picture, the prompt, and what can be kept.

import * as api from "./api.js";
import { isDab, round } from "./brush.js";
import { NAMES } from "./gestures.js";
import { $, announce, fill, icon, make, press, promptProblem, reveal, toast } from "./ui.js";

const HINTS = {
  drag: "Press on something and pull. The hollow ring is your hand; the picture follows, and the outline is what it took.",
  pin: "Click, or paint over what should hold still.",
  path: "Pull from a thing along the way that it should take.",
  camera: "Push the picture, or use the pad and the sliders.",
  motion: "A clip or your webcam pulls at the picture: what moves there moves here. Click or pull on the picture to place it.",
  select: "Click on something you drew to move it; Delete removes it.",
};
const KEY_HINTS = { camera: " Arrow keys pan, + and − zoom, Q and E roll; Shift+arrows orbit and tilt, W and S dolly." };
const OPTIONS = ["tool", "radius", "spacing", "snap", "keep", "seconds", "mode", "ease"];
const TITLES = { drag: "Drag", pin: "Pin", path: "Path", camera: "Camera", motion: "Motion", select: "Select" };

export class Panel {
  constructor({ tools, board, run }) {
    Object.assign(this, { tools, board, run });
    this.#wireTools();
    this.#wireOptions();
    this.#wirePrompt();
    this.#wireKeep();
    board.addEventListener("change", () => this.list());
    $("clear").addEventListener("click", () => board.removeAll());
    $("play-paths").addEventListener("click", () => run.playPaths());
    this.showTool();
    this.list();
  }

  #wireTools() {
    const buttons = [...document.querySelectorAll("[data-tool].tool")];
    for (const button of buttons) button.addEventListener("click", () => this.tools.take(button.dataset.tool));
    $("tools").addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const all = [...$("tools").querySelectorAll("button:not(:disabled)")];
      all[(all.indexOf(document.activeElement) + step + all.length) % all.length].focus();
      event.preventDefault();
      event.stopPropagation();
    });
    this.tools.addEventListener("tool", () => {
      this.showTool();
      announce(`${TITLES[this.tools.tool]} tool`);
    });
    this.tools.addEventListener("refused", (event) => toast(event.detail));
    $("undo").addEventListener("click", () => this.undo());
    $("redo").addEventListener("click", () => this.redo());
  }

  undo() {
    const label = this.board.undo();
    announce(label ? `Undone: ${label}` : "Nothing to undo");
  }

  redo() {
    const label = this.board.redo();
    announce(label ? `Redone: ${label}` : "Nothing to redo");
  }

  showTool() {
    const { tool } = this.tools;
    for (const button of document.querySelectorAll("[data-tool].tool")) press(button, button.dataset.tool === tool);
    $("tool-title").textContent = TITLES[tool];
    $("tool-hint").replaceChildren(HINTS[tool], make("span", { class: "for-keys" }, KEY_HINTS[tool] || ""));
    $("brush-options").hidden = !["drag", "pin", "path"].includes(tool);
    $("drag-options").hidden = tool !== "drag";
    $("path-options").hidden = tool !== "path";
    $("camera-options").hidden = tool !== "camera";
    $("motion-options").hidden = tool !== "motion";
    document.body.dataset.tool = tool;
    this.showBrush();
  }

  /** Brush sizes that suit the canvas of a preset; `radius` where one is known that suits the picture. */
  scale({ width, dab_px }, radius = null) {
    const unit = Math.max(width / 128, 0.25);
    if (unit === this.unit && dab_px === this.dab && !radius) return;
    Object.assign(this, { unit, dab: dab_px });
    Object.assign($("radius"), { max: 40 * unit, step: unit / 2 });
    Object.assign($("spacing"), { min: 2 * unit, max: 16 * unit, step: unit / 2 });
    const usual = this.#takesThings ? 8 * unit : 15 * unit;
    const wanted = Math.min(Math.max(radius ?? usual, 6 * unit), 30 * unit);
    Object.assign(this.tools, { radius: Math.round((wanted * 2) / unit) * (unit / 2), spacing: 6 * unit });
    this.showBrush();
  }

  /** Whether a touch is enough to take a thing: on a large canvas the engine does not look far enough for that. */
  get #takesThings() { return this.dab >= 8 * this.unit; }

  /** The tool in hand and its options, over a reload: after `scale`, which has brushes of its own. */
  plain() { return Object.fromEntries(OPTIONS.map((name) => [name, this.tools[name]])); }

  revive(options = {}) {
    const { tools } = this;
    for (const name of OPTIONS) tools[name] = options[name] ?? tools[name];
    for (const name of ["snap", "keep"]) $(name).checked = tools[name];
    for (const name of ["mode", "ease"]) $(name).value = tools[name];
    tools.take(tools.tool);
  }

  showBrush() {
    const { tools } = this;
    $("radius").value = tools.radius;
    $("spacing").value = tools.spacing;
    $("seconds").value = tools.seconds;
    for (const name of ["radius", "spacing", "seconds"]) fill($(name));
    const shape = tools.brushAt([tools.stage.width / 2, tools.stage.height / 2]), points = shape.length;
    $("radius-out").textContent = points === 1 ? "1 point" : `${round(tools.radius, 1)} px`;
    $("brush-says").hidden = !(this.#takesThings && (points === 1 || isDab(shape, this.dab)));
    $("snap-line").hidden = !this.dab || tools.tool === "pin" || points < 5 || !$("brush-says").hidden;
    $("spacing-out").textContent = `${round(tools.spacing, 1)} px`;
    $("seconds-out").textContent = `${tools.seconds} s`;
    this.tools.stage.dirty = true;
  }

  #wireOptions() {
    const { tools, board } = this;
    for (const name of ["radius", "spacing", "seconds"]) {
      $(name).addEventListener("input", () => {
        tools[name] = Number($(name).value);
        this.showBrush();
      });
    }
    const change = (fields) => {
      const path = tools.selected;
      if (path?.kind === "path") board.adjust(path, fields);
    };
    $("seconds").addEventListener("change", () => change({ seconds: tools.seconds }));
    for (const name of ["mode", "ease"]) {
      $(name).addEventListener("change", () => {
        tools[name] = $(name).value;
        change({ [name]: tools[name] });
      });
    }
    $("snap").addEventListener("change", () => { tools.snap = $("snap").checked; });
    $("keep").addEventListener("change", () => { tools.keep = $("keep").checked; });
    $("collect").addEventListener("change", () => {
      board.collecting = $("collect").checked;
      board.changed();
    });
  }

  // ---------------------------------------------------------------- what is on the picture

  #stateOf(gesture) {
    if (gesture.wire === "draft") return this.board.collecting && gesture.kind === "path" ? "waits for Play" : "drawn ahead";
    if (gesture.kind === "pin") return "holds still";
    if (gesture.kind === "drag") return this.tools.session?.gesture === gesture ? "in your hand" : "holding";
    return gesture.mode === "once" ? "moving" : { loop: "looping", swing: "swinging" }[gesture.mode];
  }

  list() {
    const { board } = this;
    $("undo").disabled = !board.done.length;
    $("redo").disabled = !board.undone.length;
    reveal($("clear"), board.list.length > 1);
    $("gestures-empty").hidden = board.list.length > 0;
    const waiting = board.drafts.filter((gesture) => gesture.kind === "path").length;
    reveal($("play-paths"), Boolean(board.collecting && waiting && this.run.phase === "playing"));
    $("play-paths").textContent = waiting === 1 ? "Play the path" : `Play ${waiting} paths together`;
    $("collect").checked = board.collecting;
    this.#rows();
    this.tools.stage.dirty = true;
  }

  /** The rows anew. The focus stays on its button, or goes to the same one of the next row, or the last, or to the picture. */
  #rows() {
    const focused = document.activeElement, before = focused?.closest?.("#gestures li");
    const at = [...$("gestures").children].indexOf(before);
    $("gestures").replaceChildren(...this.board.list.map((gesture) => this.#row(gesture)));
    if (!before) return;
    const rows = [...$("gestures").children];
    const row = rows.find(({ dataset }) => dataset.key === before.dataset.key) || rows[Math.min(at, rows.length - 1)];
    (row?.querySelector(focused.matches(".icon-button") ? ".icon-button" : ".gesture-pick") || $("overlay")).focus({ preventScroll: true });
  }

  #row(gesture) {
    const { board } = this;
    const name = `${NAMES[gesture.kind]} ${gesture.number}`;
    const pick = make("button", { type: "button", class: "gesture-pick", "aria-pressed": board.selected === gesture ? "true" : "false" },
      make("i", { class: `mark ${gesture.kind}`, "aria-hidden": "true" }), make("span", {}, name), make("em", {}, this.#stateOf(gesture)));
    const act = (button, does) => button.addEventListener("click", ({ detail }) => {
      if (detail > 0) $("overlay").focus({ preventScroll: true }); // of a pointer: no button is to swallow Space and Enter
      does();
    });
    act(pick, () => board.select(board.selected === gesture ? null : gesture));
    const drop = make("button", { type: "button", class: "icon-button", "aria-label": gesture.kind === "drag" ? `Let go of ${name}` : `Remove ${name}`, title: gesture.kind === "drag" ? "Let go" : "Remove" }, icon("close"));
    act(drop, () => board.remove(gesture));
    return make("li", { "data-key": name }, pick, drop);
  }

  // ---------------------------------------------------------------- prompt

  #wirePrompt() {
    const box = $("prompt"), apply = $("prompt-apply");
    const changed = () => {
      const problem = promptProblem(box.value.trim(), this.run.limits.prompt_chars);
      apply.disabled = box.value.trim() === this.run.prompt || !this.run.mayPrompt || Boolean(problem);
      apply.textContent = this.run.active ? "Use from now on" : "Use at the start";
      this.#promptNote(problem || "", Boolean(problem));
    };
    box.addEventListener("input", changed);
    apply.addEventListener("click", () => this.applyPrompt());
    box.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.applyPrompt();
      if (event.key === "Escape") $("overlay").focus({ preventScroll: true });
    });
    let plan = null;
    this.run.addEventListener("prompt", () => {
      if (plan !== this.run.plan || box.value === this.told) { // otherwise somebody is writing
        box.value = this.run.prompt;
        this.told = box.value;
      }
      plan = this.run.plan;
      changed();
    });
    this.run.addEventListener("phase", changed);
  }

  applyPrompt() {
    if ($("prompt-apply").disabled) return;
    this.told = $("prompt").value = $("prompt").value.trim();
    this.run.setPrompt(this.told);
    $("prompt-apply").disabled = true;
    this.#promptNote(this.run.active ? "From the next chunk on." : "With the next start.");
  }

  #promptNote(text, bad = false) {
    $("prompt-note").textContent = text;
    $("prompt-note").classList.toggle("bad", bad);
  }

  // ---------------------------------------------------------------- keep

  #wireKeep() {
    this.jobs = {
      "save-mp4": [(take) => api.videoBlob(take, false), "mp4"],
      "save-tracks": [(take) => api.videoBlob(take, true), "tracks.mp4"],
      "save-take": [(take) => api.takeBlob(take), "json"],
      "save-frame": [async () => this.tools.stage.png(), "png"],
    };
    for (const id of Object.keys(this.jobs)) $(id).addEventListener("click", () => this.save(id));
    const show = () => { for (const id of Object.keys(this.jobs)) $(id).disabled = !this.run.take; };
    this.run.addEventListener("phase", show);
    show();
  }

  /** What the button `id` keeps; `button`: the one that was pressed for it. */
  async save(id, button = $(id)) {
    const [fetchBlob, ending] = this.jobs[id], { take } = this.run;
    if (!take || button.ariaBusy === "true") return;
    const label = button.querySelector("span"), name = label.textContent;
    button.ariaBusy = "true";
    const slow = setTimeout(() => {
      label.textContent = "Preparing…";
      announce("Preparing the file");
    }, 300);
    try {
      api.save(await fetchBlob(take.take), `motionstream-${take.take}.${ending}`);
    } catch (error) {
      toast(error.message, "bad", 10);
    } finally {
      clearTimeout(slow);
      label.textContent = name;
      button.ariaBusy = "false";
    }
  }

}
