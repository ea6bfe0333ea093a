// The studio: puts the parts together and runs the animation loop.

import { SecondPress } from "./again.js";
import * as api from "./api.js";
import { Camera } from "./camera.js";
import { FrameStore } from "./frames.js";
import { Board } from "./gestures.js";
import { wireKeys } from "./keys.js";
import { LastTake } from "./last.js";
import { LatencyMeter } from "./latency.js";
import { DepthPanel, MotionPanel } from "./sources.js";
import { Motion } from "./motion.js";
import { Meters } from "./meters.js";
import { ServerNotice } from "./notice.js";
import { Painter } from "./overlay.js";
import { Panel } from "./panel.js";
import { Player } from "./player.js";
import { Run } from "./run.js";
import { Link, clock } from "./socket.js";
import { Shown } from "./shown.js";
import { Stage } from "./stage.js";
import { StartView } from "./start.js";
import { StateView } from "./states.js";
import { Timeline } from "./timeline.js";
import { Tools } from "./tools.js";
import { remember, recall } from "./reload.js";
import { $, announce, banner, press, toast, wireDialogs, wireTheme } from "./ui.js";

let limits = { points_per_gesture: 256, points_at_once: 832, prompt_chars: 1000, upload_bytes: 20e6, take_bytes: 150e6 };
let presets = [];
const SLOW_MS = 300; // what takes no longer needs no word

const latency = new LatencyMeter();
const store = new FrameStore();
const stage = new Stage({ easel: $("easel"), box: $("stage"), video: $("video"), overlay: $("overlay") });
const link = new Link();
const player = new Player(store, (bitmap, entry, live) => {
  stage.show(bitmap);
  painted = entry;
  if (!live) return;
  latency.painted(entry.echo, clock());
  board.painted(entry.frame, entry.echo);
});
const run = new Run({ link, player, store, stage, latency, limits });
const board = new Board(run.wire());
const camera = new Camera(board, { pad: $("pad"), zoom: $("zoom"), roll: $("roll"), dolly: $("dolly"), orbit: $("orbit"), tilt: $("tilt"), stop: $("camera-stop"), latch: $("latch") });
run.join(board, camera);
const tools = new Tools({ stage, board, camera, may: () => run.refusal(), limits: () => limits, running: () => run.phase === "playing", past: () => run.past });
const motion = new Motion({ video: $("motion-video"), run, link, limits });
const depthPanel = new DepthPanel({ run, link, camera, tools });
const motionPanel = new MotionPanel({ motion, tools, stage });
const painter = new Painter(stage);
const timeline = new Timeline($("timeline"));
const meters = new Meters();
const panel = new Panel({ tools, board, run });
const states = new StateView({ run, link, player, store, tools, motion, startAgain, toStart, actions: () => actions });
const seen = new Shown({ run, link, player, store, latency });
const start = new StartView({ onStart: begin, onTake: openTake, begun: () => run.numBegun, onClip: (file) => motionPanel.take(file), onDepth: (file) => depthPanel.take(file), tool: () => tools.tool });
const last = new LastTake({ onOpen: openTake, begun: () => `${run.numBegun} ${start.numAsked}` });
const notice = new ServerNotice();
const second = new SecondPress();
let painted = { frame: 0, echo: 0 };
let marksHidden = false;
let frozenStats = 0;

// ------------------------------------------------------------------ between the two views

function view(name) {
  second.changed();
  $("start-view").hidden = name !== "start";
  $("studio-view").hidden = name !== "studio";
  document.body.dataset.view = name;
  scrollTo(0, 0);
  // The browser's Back leads from the studio to the pictures, not away from the page: one entry more, with a state.
  if (history.state) history.replaceState({ view: name }, "");
  else if (name === "studio") history.pushState({ view: name }, "");
  document.title = `${name === "studio" ? `${run.plan?.caption || "Your picture"} – ` : ""}motionstream studio`;
  if (name === "studio") {
    stage.fit();
    $("overlay").focus({ preventScroll: true });
  }
}

/** A brush that covers the thing a gallery picture is about: few points tell the model little of how far a thing reaches. */
function brushFor([left, top, right, bottom], [from, , to], width) {
  return 0.3 * (right - left + bottom - top) * (width / (to - from)); // a fifth larger than the thing, which is all that it takes
}

async function begin(plan, drawFirst) {
  const preset = presets.find(({ name }) => name === plan.preset) || presets[0];
  if (!preset) {
    toast("The server has no model that can run here.", "bad");
    return;
  }
  last.keep({ run, store, player });
  run.abandon();
  plan.crop = start.cropOf(plan);
  run.prepare(plan, preset);
  panel.scale(preset, plan.object && brushFor(plan.object, plan.crop, preset.width));
  meters.clear();
  view("studio");
  if (!drawFirst) run.start();
  await picture(plan);
}

/** The picture of a plan, until the first frame shows it. */
async function picture(plan) {
  if (!plan.url) return;
  const image = new Image();
  image.src = plan.url;
  try {
    await image.decode();
    if (run.plan === plan && player.shown < 0) stage.show(image, plan.crop);
  } catch { /* the first frame will show it */ }
}

function openTake(info) {
  const preset = presets.find(({ name }) => name === info.preset) || presets[0];
  last.keep({ run, store, player });
  run.abandon();
  const plan = { take: info.id, prompt: info.prompt, seed: info.seed, preset: info.preset, caption: "A saved take" };
  run.prepare(plan, preset);
  panel.scale(preset);
  meters.clear();
  view("studio");
  run.start();
}

function startAgain() {
  if (!run.plan) return;
  second.changed(); // the cover goes
  tools.cancel();
  last.keep({ run, store, player });
  board.reset();
  meters.clear();
  run.start();
}

function toStart() {
  tools.cancel();
  const picture = run.plan?.picture;
  last.keep({ run, store, player });
  run.leave();
  board.reset();
  meters.clear();
  start.note(null);
  view("start");
  const came = [...$("gallery").querySelectorAll(".picture-start")].find(({ dataset }) => dataset.picture === picture);
  (came || $("gallery").querySelector(".picture-start"))?.focus({ preventScroll: !came || document.body.dataset.nav !== "keys" });
}

run.addEventListener("refused", ({ detail }) => {
  if (run.plan?.url) {
    view("start");
    start.setup(run.plan);
    start.problem(detail.text);
  } else {
    toStart();
    toast(detail.text, "bad", 12);
  }
});
run.addEventListener("begun", () => { painted = { frame: 0, echo: 0 }; });
run.addEventListener("stats", ({ detail }) => meters.take(detail));
board.addEventListener("change", () => states.show());
camera.addEventListener("change", () => {
  stage.dirty = true;
  states.show();
});

// ------------------------------------------------------------------ what buttons and keys do

const actions = {
  startStop() {
    if (run.phase === "draft") run.start();
    else if (run.phase === "ended") startAgain();
    else run.stop();
  },
  scrub(frame) {
    if (store.last < 0) return;
    if (run.phase === "playing") {
      if (frame === null) return;
      run.pause();
    }
    if (run.phase !== "paused" && run.phase !== "ended") return;
    player.scrub(frame === null && run.phase === "ended" ? store.last : frame);
    states.show();
  },
  step(by) { actions.scrub(Math.max(0, player.shown) + by); },
  review() {
    if (run.phase === "playing") run.pause(); // looking back pauses
    if (!$("cover").hidden) second.changed();
    if (player.live || player.view >= store.last) player.scrub(0);
    player.review(!player.reviewing);
    states.show();
  },
  crisp() {
    stage.setCrisp(!stage.crisp);
    press($("crisp"), stage.crisp);
  },
  marks() {
    marksHidden = !marksHidden;
    press($("marks"), !marksHidden);
    stage.dirty = true;
  },
  brush(name, by) {
    const input = $(name);
    input.value = Number(input.value) + by * panel.unit;
    input.dispatchEvent(new Event("input"));
  },
  cross([x, y]) { announce(`${Math.round(x)}, ${Math.round(y)}`); },
  saveVideo(button) { panel.save("save-mp4", button); },
  help() { $("help").showModal(); },
  refuse(text) { toast(text); },
};

$("play").addEventListener("click", () => (run.phase === "ended" ? startAgain() : run.toggle()));
$("stop").addEventListener("click", () => actions.startStop());
$("branch").addEventListener("click", () => run.branch());
$("watch").addEventListener("click", () => actions.review());
$("live").addEventListener("click", () => actions.scrub(null));
$("crisp").addEventListener("click", actions.crisp);
$("marks").addEventListener("click", actions.marks);
$("help-open").addEventListener("click", actions.help);
$("home").addEventListener("click", () => !$("studio-view").hidden && toStart());
timeline.addEventListener("scrub", ({ detail }) => actions.scrub(detail));
timeline.addEventListener("settle", () => {
  $("overlay").focus({ preventScroll: true });
  // A chunk's last frame: what is drawn there and what a branch goes on from are then the same picture.
  if (player.live || !player.grid) return;
  const end = player.grid.start(player.grid.of(player.view) + 1) - 1;
  if (end <= store.last) player.scrub(end);
  states.show();
});
// After a click a button must not swallow Space and Enter, which play and stop.
document.addEventListener("click", (event) => {
  const button = event.target.closest("#studio-view button, .bar button");
  if (button && event.detail > 0 && !$("studio-view").hidden && !document.querySelector("dialog[open]")) $("overlay").focus({ preventScroll: true });
});

// A box ticked or a choice made with the pointer must not keep them either.
$("studio-view").addEventListener("change", ({ target }) => {
  if (document.body.dataset.nav === "pointer" && target.matches("input[type=checkbox], select")) setTimeout(() => $("overlay").focus({ preventScroll: true }));
});

// Not by the address: a fragment is an entry of the browser's history, and leaving the studio's own leads to the pictures.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  $($("studio-view").hidden ? "content" : "overlay").focus();
});
addEventListener("popstate", ({ state }) => { if (!$("studio-view").hidden && state?.view !== "studio") toStart(); });
addEventListener("keydown", (event) => { if (event.key === "Tab") document.body.dataset.nav = "keys"; });
addEventListener("pointerdown", () => { document.body.dataset.nav = "pointer"; });

wireDialogs();
wireTheme(() => timeline.restyle());
wireKeys({ run, tools, board, camera, panel, actions });

// ------------------------------------------------------------------ the loop

function loop(now) {
  requestAnimationFrame(loop);
  if (run.phase === "idle") return;
  player.tick(now);
  tools.send(false);
  motion.tick(now);
  if (stage.dirty && stage.css) {
    stage.dirty = false;
    const past = run.past;
    painter.draw({
      board, tools, motion, past, hidden: marksHidden, camera: camera.speed, cross: tools.cross,
      frame: player.shown, fps: player.fps, echo: past ? painted.echo : latency.echo,
    });
  }
  if (player.shown !== timeline.state?.shown || store.last !== timeline.state?.last || now - frozenStats > 250) {
    timeline.show({ last: store.last, shown: player.shown, fps: player.fps, grid: player.grid, live: !run.past && run.phase === "playing", log: board.log });
    states.tick();
  }
  if (now - frozenStats > 250) {
    frozenStats = now;
    meters.update({ fps: player.shownFps(now), p50: latency.p50, p95: latency.p95, roundTrip: link.roundTrip, active: run.phase === "playing" });
  }
  seen.report(now);
}
requestAnimationFrame(loop);

let hiddenAt = performance.now();
document.addEventListener("visibilitychange", () => {
  if (document.hidden) hiddenAt = performance.now();
  else player.catchUp();
});
link.addEventListener("beat", () => document.hidden && seen.unseen(performance.now(), hiddenAt));

// ------------------------------------------------------------------ begin

async function load() {
  banner(null);
  const slow = setTimeout(() => start.note("Loading the pictures…"), SLOW_MS);
  try {
    const [list, gallery, served, health] = await Promise.all([api.presets(), api.gallery(), api.limits(), api.health()]);
    presets = list;
    Object.assign(limits, served);
    depthPanel.load();
    await start.load({ presets, gallery, limits, preset: health.preset });
    clearTimeout(slow);
    notice.show(health);
    recall({ link, run, board, panel, presets, view, picture });
  } catch (error) {
    clearTimeout(slow);
    if (error.status === 401 || error.status === 403) {
      $("token-problem").hidden = !api.getToken();
      $("token-dialog").showModal();
      $("token").select();
      return;
    }
    start.note(`${error.message} Reload the page to try again.`, true);
  }
}

$("token-form").addEventListener("submit", () => {
  api.setToken($("token").value.trim());
  load();
});
$("token-dialog").addEventListener("cancel", () => banner("This studio needs a token.", "warn", [["Give the token", load]]));
addEventListener("pagehide", () => {
  if (run.phase !== "idle") last.keep({ run, store, player });
  remember({ link, run, board, panel });
});
addEventListener("pageshow", ({ persisted }) => persisted && location.reload()); // its connection has not been kept
load();

// Read-only, for tests and for the curious.
Object.defineProperty(window, "motionstream", {
  value: Object.freeze({
    get phase() { return run.phase; },
    get connection() { return link.status; },
    get take() { return run.take ? { ...run.take } : null; },
    get frame() { return player.shown; },
    get lastFrame() { return store.last; },
    get past() { return run.past; },
    get buffered() { return player.buffered; },
    get rate() { return player.rate; },
    get skipped() { return player.skipped; },
    get latencies() { return [...latency.samples]; },
    get paints() { return [...player.paints]; },
    get gestures() { return board.list.map((gesture) => gesture.plain()); },
    get log() { return board.log.map((gesture) => gesture.plain()); },
    get tool() { return tools.tool; },
    get camera() { return { ...camera.speed }; },
    get motion() { return { source: motion.source, region: motion.region, points: motion.points }; },
    get roundTrip() { return link.roundTrip; },
    get recorded() { return run.recorded; },
    frames: () => [...store.entries.keys()],
    chunkOf: (frame) => store.entries.get(frame)?.chunk ?? null,
    /** A received frame's JPEG as base64. */
    async jpeg(frame) {
      const blob = await store.blob(frame);
      const bytes = new Uint8Array(await blob.arrayBuffer());
      return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    },
  }),
});
