// Every key of the studio, and the help that lists them.

import { $, make, stored } from "./ui.js";

const TOUCH = ["With fingers", [
  ["One", "pulls, paints, draws, pushes: what the tool does"], ["Two", "turn and scale what the first one holds"],
  ["A tap", "on the timeline looks back; Watch plays it from there"],
]];
const HELP = [
  ["Playing", [
    ["Enter", "start or stop"], ["Space", "pause or resume"], ["Shift+Space", "look at what was made, from here on"],
    [", .", "one frame back or on"], ["Home End", "to the picture, to the newest frame"], ["B", "branch: go on from here with other drags"],
  ]],
  ["Tools", [
    ["D", "drag"], ["P", "pin"], ["L", "path"], ["C", "camera"], ["M", "motion of a clip or webcam"], ["V", "select"],
    ["[ ]", "smaller or larger brush"], ["{ }", "closer or wider points"], ["K", "keep holding, on or off"], ["Shift+Enter", "play the collected paths"],
  ]],
  ["With the cross", [
    ["Arrow\u00a0keys", "move the cross and what it holds; Shift: faster"], ["G", "take hold, place, finish"],
    ["Q E", "turn what is selected"], ["+ −", "scale what is selected"],
  ]],
  ["Camera", [["Arrow\u00a0keys", "pan; Shift: orbit and tilt"], ["+ −", "zoom"], ["Q E", "roll"], ["W S", "dolly in, out"]]],
  ["Editing", [
    ["Esc", "give up the stroke, let go"], ["Delete", "remove what is selected"],
    ["Ctrl+Z", "undo"], ["Ctrl+Shift+Z", "redo"],
  ]],
  ["View", [["X", "smooth or crisp pixels"], ["T", "show or hide what you drew"], ["/", "to the prompt; Ctrl Enter uses it"], ["?", "this list"]]],
];

const ONCE = "gkxtb"; // keys that do what they do once, however long they are held

export function wireKeys({ run, tools, board, camera, panel, actions }) {
  const single = $("single-keys");
  single.checked = stored("single-keys") !== "off";
  single.addEventListener("change", () => stored("single-keys", single.checked ? null : "off"));
  const explain = ([title, rows], kind, name) => {
    const list = make("dl", {});
    for (const [what, does] of rows) list.append(make("div", {}, make("dt", {}, ...name(what)), make("dd", {}, does)));
    $("help-body").append(make("section", { class: kind }, make("h3", {}, title), list));
  };
  explain(TOUCH, "for-touch", (what) => [what]);
  for (const part of HELP) explain(part, "", keyCaps);

  const plain = {
    d: () => tools.take("drag"), p: () => tools.take("pin"), l: () => tools.take("path"), c: () => tools.take("camera"), v: () => tools.take("select"), m: () => tools.take("motion"),
    g: () => tools.act(), b: () => run.branch(), x: () => actions.crisp(), t: () => actions.marks(), k: () => $("keep").click(),
    "[": () => actions.brush("radius", -1), "]": () => actions.brush("radius", 1), "{": () => actions.brush("spacing", -0.5), "}": () => actions.brush("spacing", 0.5),
    ",": () => actions.step(-1), ".": () => actions.step(1), "?": () => actions.help(), "/": () => $("prompt").focus(),
    q: () => tools.bend(-0.1, 1), e: () => tools.bend(0.1, 1), "+": () => tools.bend(0, 1.06), "=": () => tools.bend(0, 1.06), "-": () => tools.bend(0, 1 / 1.06),
  };

  addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (document.querySelector("dialog[open]")) return;
    const typing = target.closest?.("textarea, select, input:not([type=range]):not([type=checkbox])");
    if ((event.ctrlKey || event.metaKey) && !event.altKey && !typing) {
      const redo = key.toLowerCase() === "y" || (key.toLowerCase() === "z" && event.shiftKey);
      if (redo) panel.redo();
      else if (key.toLowerCase() === "z") panel.undo();
      else return;
      event.preventDefault();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || typing) return;
    if (key === "?") {
      actions.help();
      event.preventDefault();
      return;
    }
    if ($("studio-view").hidden) return;
    if (studioKey(event, target)) event.preventDefault();
  });

  // Whatever the tool, Shift and the letter are by then: what was pressed for the camera lets go. By the key itself, as what
  // it says changes with Shift.
  const steering = new Map();
  const plainKey = (key) => (key.length === 1 ? key.toLowerCase() : key);
  addEventListener("keyup", ({ code, key }) => {
    const steered = steering.get(code || plainKey(key));
    if (steering.delete(code || plainKey(key))) camera.key(steered, false);
  });
  addEventListener("blur", () => {
    if (steering.size) camera.letGo();
    steering.clear();
  });

  function studioKey({ key, code, shiftKey, repeat }, target) {
    const control = target.closest?.("button, a, [role=slider], .pad, input");
    if (key === "Enter" && shiftKey) return done(run.playPaths());
    if (key === "Enter" && !control) return repeat || done(actions.startStop());
    if (key === " " && !target.closest?.("button, a, input[type=checkbox]")) {
      if (!repeat) (shiftKey ? actions.review : () => run.toggle())();
      return true;
    }
    if (key === "Escape") return done(escape());
    const range = target.closest?.("input[type=range], [role=slider]");
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
    if (arrow) {
      if (range || target.closest?.("[role=toolbar]")) return false;
      if (tools.tool === "camera") return steer(key, code, repeat, shiftKey);
      if (target.closest?.("button, a")) return false;
      const at = tools.arrow(...arrow, shiftKey);
      actions.cross(at);
      return true;
    }
    if (key === "Delete" || key === "Backspace") return tools.selected ? done(board.remove(tools.selected)) : false;
    if (range && ["Home", "End"].includes(key)) return false;
    if (key === "Home") return done(actions.scrub(0));
    if (key === "End") return done(actions.scrub(null));
    if (!single.checked) return false;
    if (tools.tool === "camera" && ["+", "=", "-", "_", "q", "e", "w", "s"].includes(key)) return steer(key, code, repeat);
    const act = plain[key] || plain[key.toLowerCase()];
    if (repeat && ONCE.includes(key.toLowerCase())) return true;
    return act ? done(act()) : false;
  }

  function steer(key, code, repeat, shift = false) {
    const why = run.refusal();
    if (why) actions.refuse(why);
    else if (!repeat) {
      steering.set(code || plainKey(key), plainKey(key));
      camera.key(plainKey(key), true, shift);
    }
    return true;
  }

  function escape() {
    if (tools.cancel()) return;
    if (tools.selected?.kind === "drag") board.remove(tools.selected);
    else board.select(null);
  }

  const done = () => true;
}

/** "Ctrl+Z" is a chord; what stands apart are different keys. */
function keyCaps(keys) {
  return keys.split(" ").flatMap((chord, n) => {
    const caps = (chord.length > 1 ? chord.split("+") : [chord]).map((cap) => make("kbd", {}, cap));
    return [n ? " " : "", ...caps.flatMap((cap, m) => (m ? [" + ", cap] : [cap]))];
  });
}
