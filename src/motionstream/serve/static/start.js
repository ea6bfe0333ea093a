// Choosing what to start with: the gallery, a picture of one's own, a saved take; and the set-up dialog.

import * as api from "./api.js";
import { Crop } from "./crop.js";
import { $, icon, make, promptProblem, toast } from "./ui.js";

const NOT_YET = "One moment: the studio is still being loaded.";
const PICTURES = ["image/png", "image/jpeg", "image/webp"];

/**
 * Calls `onStart(plan, drawFirst)` and `onTake(info)`. A plan: {picture, url, size, crop, prompt, seed, preset, caption}.
 * `begun()`: a number that grows with everything that is begun.
 */
export class StartView {
  constructor({ onStart, onTake, onClip, onDepth, tool, begun }) {
    Object.assign(this, { onStart, onTake, onClip, onDepth, tool, begun, presets: [], limits: null, plan: null });
    this.numAsked = 0; // files sent and set-ups opened: the last one counts
    this.crop = new Crop({ frame: $("crop"), image: $("crop-image"), box: $("crop-box"), status: $("crop-status") });
    this.#wireSetup();
    this.#wireOwn();
  }

  async load({ presets, gallery, limits, preset }) {
    Object.assign(this, { presets, limits });
    this.preset = presets.find(({ name }) => name === preset) || presets.find(({ loaded }) => loaded) || presets[0];
    $("preset").replaceChildren(...presets.map(({ name, width, height }) => make("option", { value: name }, `${name} · ${width}×${height}`)));
    if (this.preset) $("preset").value = this.preset.name;
    const list = $("gallery");
    for (const old of list.querySelectorAll(".picture")) old.remove();
    for (const entry of gallery) list.append(this.#card(entry));
    if (!$("setup").open) return; // of a picture that was given before all this had come
    this.problem(null);
    this.crop.setAspect(this.aspectOf($("preset").value));
  }

  #card(entry) {
    const [width, height] = entry.size;
    const image = make("img", { src: api.address(entry.url).href, alt: "", width, height, loading: "lazy", decoding: "async", draggable: "false" });
    const go = make(
      "button",
      { type: "button", class: "picture-start", "data-picture": entry.name, "aria-label": `Start with ${entry.caption}` },
      image,
      make("span", { class: "picture-go" }, icon("play")),
      make("span", { class: "picture-caption" }, entry.caption),
    );
    const adjust = make(
      "button",
      { type: "button", class: "picture-adjust", "aria-label": `Set up: ${entry.caption}`, title: "Crop, prompt, seed, model" },
      icon("sliders"),
    );
    const plan = () => this.#planFor({ picture: entry.name, url: image.src, size: entry.size, prompt: entry.prompt, caption: entry.caption, object: entry.object });
    go.addEventListener("click", () => this.onStart(plan(), false));
    adjust.addEventListener("click", () => this.setup(plan()));
    const credit = () => { $("gallery-credit").textContent = entry.credit ? `${entry.caption}: ${entry.credit}` : ""; };
    for (const event of ["pointerenter", "focus"]) go.addEventListener(event, credit);
    return make("li", { class: "picture" }, go, adjust);
  }

  #planFor(fields) {
    return { seed: Number($("seed").value) || 0, preset: this.preset?.name, crop: null, caption: "", prompt: "", ...fields };
  }

  aspectOf(name) {
    const preset = this.presets.find((one) => one.name === name) || this.preset;
    return preset ? preset.width / preset.height : 4 / 3;
  }

  /** Largest crop in the middle, when the user has chosen none. */
  cropOf(plan) {
    if (plan.crop) return plan.crop;
    const [width, height] = plan.size, aspect = this.aspectOf(plan.preset);
    const size = Math.min(width, height * aspect), tall = size / aspect;
    return [(width - size) / 2, (height - tall) / 2, (width + size) / 2, (height + tall) / 2].map((value) => Math.round(value * 100) / 100);
  }

  // ---------------------------------------------------------------- the set-up dialog

  setup(plan) {
    this.plan = plan;
    this.numAsked += 1;
    $("setup-title").textContent = plan.caption || "Set up";
    $("setup-prompt").value = plan.prompt;
    $("seed").value = plan.seed;
    if (plan.preset) $("preset").value = plan.preset;
    this.problem(null);
    if (!$("setup").open) $("setup").showModal();
    this.crop.open(plan.url, plan.size[0], plan.size[1], this.aspectOf(plan.preset), plan.crop);
    $("setup-start").focus();
  }

  problem(text) {
    $("setup-error").textContent = text || "";
    $("setup-error").hidden = !text;
  }

  #wireSetup() {
    $("preset").addEventListener("change", () => this.crop.setAspect(this.aspectOf($("preset").value)));
    $("dice").addEventListener("click", () => { $("seed").value = Math.floor(Math.random() * 1e6); });
    const take = (drawFirst) => {
      if (!this.limits) {
        this.problem(NOT_YET);
        return;
      }
      const seed = Number($("seed").value);
      if (!Number.isInteger(seed) || seed < 0 || seed > 2147483647) {
        this.problem("The seed must be a whole number from 0 to 2147483647.");
        $("seed").focus();
        return;
      }
      const prompt = $("setup-prompt").value.trim();
      const tooLong = promptProblem(prompt, this.limits.prompt_chars);
      if (tooLong) {
        this.problem(tooLong);
        $("setup-prompt").focus();
        return;
      }
      const preset = $("preset").value || this.preset?.name;
      $("setup").close();
      this.onStart({ ...this.plan, crop: this.crop.value, prompt, seed, preset }, drawFirst);
    };
    $("setup-form").addEventListener("submit", (event) => {
      event.preventDefault();
      take(false);
    });
    $("draw-first").addEventListener("click", () => take(true));
    $("setup-prompt").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) take(false);
    });
  }

  // ---------------------------------------------------------------- a picture or take of one's own

  #wireOwn() {
    const input = $("own-file");
    input.addEventListener("change", () => {
      if (input.files[0]) this.take(input.files[0]);
      input.value = "";
    });
    $("open-take").addEventListener("click", () => input.click());
    let depth = 0;
    const files = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
    addEventListener("dragenter", (event) => {
      if (!files(event)) return;
      depth += 1;
      $("dropzone").hidden = false;
    });
    addEventListener("dragleave", (event) => {
      if (files(event) && --depth <= 0) $("dropzone").hidden = true;
    });
    addEventListener("dragover", (event) => files(event) && event.preventDefault());
    addEventListener("drop", (event) => {
      depth = 0;
      $("dropzone").hidden = true;
      if (!files(event)) return;
      event.preventDefault();
      this.take(event.dataTransfer.files[0]);
    });
    addEventListener("paste", (event) => {
      const file = [...(event.clipboardData?.files || [])][0];
      if (!file) return;
      // Text from a page or a document often brings a picture of itself along.
      const writing = event.target.matches?.("textarea, input:not([type=range], [type=checkbox], [type=file])");
      if (writing && event.clipboardData.types.includes("text/plain")) return;
      event.preventDefault();
      this.take(file);
    });
  }

  /** A file from anywhere: a picture opens the set-up dialog, a take starts. */
  async take(file) {
    if (!file) return;
    const drawing = $("start-view").hidden;
    const isClip = file.type.startsWith("video/") || /\.(mp4|webm)$/i.test(file.name || "");
    const isDepth = /\.npy$/i.test(file.name || "") || (drawing && this.tool() === "camera" && /^image\/(png|tiff)$/.test(file.type));
    if (isClip || isDepth) {
      if (drawing) (isClip ? this.onClip : this.onDepth)(file);
      else this.#bad(isClip ? "Start with a picture first; then the clip's motion can pull at it." : "Start with a picture first; then give its depth to the camera.");
      return;
    }
    if (!this.limits && /json$/i.test(`${file.type} ${file.name || ""}`)) {
      this.#bad(NOT_YET);
      return;
    }
    const isTake = file.type === "application/json" || /\.json$/i.test(file.name || "");
    const most = this.limits ? this.limits[isTake ? "take_bytes" : "upload_bytes"] : Infinity;
    if (!isTake && file.type && !PICTURES.includes(file.type)) {
      this.#bad(`“${file.name}” is not a PNG, JPEG or WebP picture.`);
      return;
    }
    if (file.size > most) {
      this.#bad(`“${file.name}” has ${(file.size / 1e6).toFixed(0)} MB; at most ${(most / 1e6).toFixed(0)} MB are taken.`);
      return;
    }
    if (!file.size) {
      this.#bad(`“${file.name}” is empty.`);
      return;
    }
    const asked = ++this.numAsked, begun = this.begun();
    /** Whether the file has come too late; it takes nothing over then. */
    const late = () => {
      if (asked !== this.numAsked) return true; // the note is about what was asked for since
      this.note(null);
      return begun !== this.begun();
    };
    const tell = () => toast(`“${file.name}” was sent, but something else was begun meanwhile. Choose it again to use it.`);
    this.note("Sending…");
    try {
      if (isTake) {
        const info = await api.uploadTake(await file.text());
        if (late()) return tell();
        this.onTake(info);
      } else {
        const made = await api.uploadPicture(file);
        if (late()) return tell();
        const caption = (file.name || "").replace(/\.[^.]+$/, "") || "Your picture";
        const url = api.address(made.url).href;
        this.setup(this.#planFor({ picture: made.id, url, size: [made.width, made.height], caption, own: true }));
      }
    } catch (error) {
      if (asked === this.numAsked) this.#bad(error.message);
      else toast(error.message, "bad");
    }
    return undefined;
  }

  note(text, bad = false) {
    const note = $("start-note");
    note.textContent = text || "";
    note.hidden = !text;
    note.classList.toggle("bad", bad);
  }

  #bad(text) {
    if ($("setup").open) { // it lies over the note
      this.note(null);
      this.problem(text);
      return;
    }
    this.note(text, true);
    if ($("start-view").hidden) toast(text, "bad");
    else $("start-note").scrollIntoView({ block: "nearest" });
  }

}
