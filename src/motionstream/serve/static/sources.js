// The panel's controls of the picture's depth and of borrowed motion.

import * as api from "./api.js";
import { $, fill, make, toast } from "./ui.js";

const FILE = "file";
const PLACES = ["motion-size", "motion-x", "motion-y"];

/** What the camera takes for the picture's depth. */
export class DepthPanel {
  constructor({ run, link, camera, tools }) {
    Object.assign(this, { run, link, tools, used: "plane" });
    $("depth").addEventListener("change", () => this.#choose());
    $("depth-file").addEventListener("change", () => {
      if ($("depth-file").files[0]) this.take($("depth-file").files[0]);
      $("depth-file").value = "";
    });
    $("depth-file").addEventListener("cancel", () => { $("depth").value = this.used; });
    $("depth-values").addEventListener("change", () => this.#tell($("depth").value));
    run.addEventListener("begun", () => this.#used("plane", "A flat picture: things do not hide one another."));
    link.addEventListener("message", ({ detail }) => {
      if (detail.kind === "depth") this.#used(detail.depth, `${detail.words[0].toUpperCase()}${detail.words.slice(1)}.`);
      else if (detail.kind === "error" && detail.code === "bad_depth") this.#used(this.used, this.words);
      else if (detail.kind === "camera") {
        camera.clear();
        toast(`${detail.reason[0].toUpperCase()}${detail.reason.slice(1)}.`, "warn");
      }
    });
  }

  async load() {
    const rows = await api.depths();
    $("depth").replaceChildren(...rows.map(({ id, name }) => make("option", { value: id }, name)), make("option", { value: FILE }, "a depth map of mine…"));
  }

  #used(id, words) {
    Object.assign(this, { used: id, words });
    if (![...$("depth").options].some(({ value }) => value === id)) { // from before a reload
      $("depth").insertBefore(make("option", { value: id }, "a depth map"), $("depth").lastElementChild);
    }
    $("depth").value = id;
    $("depth-words").textContent = words;
    $("depth-values-field").hidden = ["plane", "ground", "estimate"].includes(id);
  }

  #choose() {
    if ($("depth").value === FILE) $("depth-file").click();
    else this.#tell($("depth").value);
  }

  #tell(depth) {
    const why = this.run.active ? null : "Start first, then choose the depth.";
    if (why) {
      toast(why);
      $("depth").value = this.used;
      return;
    }
    const values = $("depth-values").value;
    if (this.link.send({ kind: "depth", depth, ...(values ? { values } : {}) })) $("depth-words").textContent = "One moment…";
    else {
      toast("The connection is away: choose the depth again when it is back.", "warn");
      this.#used(this.used, this.words);
    }
  }

  /** A depth map from a file. */
  async take(file) {
    this.tools.take("camera");
    try {
      const made = await api.uploadDepth(file);
      $("depth").insertBefore(make("option", { value: made.id }, file.name || "a depth map"), $("depth").lastElementChild);
      $("depth").value = made.id;
      $("depth-values").value = "";
      this.#tell(made.id);
    } catch (error) {
      $("depth").value = this.used;
      toast(error.message, "bad", 12);
    }
  }
}

/** Where motion is borrowed from, and where it pulls. */
export class MotionPanel {
  constructor({ motion, tools, stage }) {
    Object.assign(this, { motion, tools, stage });
    $("motion-clip").addEventListener("click", () => $("motion-file").click());
    $("motion-file").addEventListener("change", () => {
      if ($("motion-file").files[0]) this.take($("motion-file").files[0]);
      $("motion-file").value = "";
    });
    $("motion-webcam").addEventListener("click", async () => {
      const before = motion.mirror;
      $("motion-mirror").checked = motion.mirror = true;
      if (!(await motion.useWebcam()) && !motion.on) $("motion-mirror").checked = motion.mirror = before;
    });
    $("motion-stop").addEventListener("click", () => motion.stop());
    $("motion-mirror").addEventListener("change", () => Object.assign(motion, { mirror: $("motion-mirror").checked, cut: true }));
    for (const name of PLACES) {
      $(name).addEventListener("input", () => this.#place());
    }
    tools.addEventListener("motion", ({ detail: [x, y] }) => {
      Object.assign($("motion-x"), { value: x / stage.width });
      Object.assign($("motion-y"), { value: y / stage.height });
      this.#place();
    });
    motion.addEventListener("change", () => this.#show());
    motion.addEventListener("points", () => this.#words());
    motion.addEventListener("problem", ({ detail }) => {
      toast(detail, "bad", 12);
      $("motion-words").textContent = detail;
    });
    this.#show();
  }

  take(file) {
    this.tools.take("motion");
    $("motion-mirror").checked = this.motion.mirror = false;
    this.motion.useClip(file);
  }

  #place() {
    const [size, x, y] = PLACES.map((name) => Number($(name).value));
    $("motion-size-out").textContent = `${Math.round(100 * size)} %`;
    for (const name of PLACES) fill($(name));
    this.motion.place(size, x, y);
  }

  #show() {
    const { on } = this.motion;
    $("motion-video").hidden = $("motion-stop").hidden = !on;
    if (on) this.#place();
    this.#words();
    for (const name of PLACES) fill($(name));
  }

  #words() {
    const { motion } = this;
    const moved = motion.points.filter(([, , flag]) => flag).length;
    let text = "Nothing is followed.";
    if (motion.on && motion.points.length) text = moved ? "What moves pulls at the picture." : "Nothing moves there yet.";
    else if (motion.on && motion.sights.length) text = "Nothing to hold on to: it is too dark or too plain.";
    else if (motion.on) text = `${motion.name}: waiting for the first points.`;
    if ($("motion-words").textContent !== text) $("motion-words").textContent = text;
    this.stage.dirty = true;
  }
}
