// Small things every part of the page says or asks: toasts, the banner, announcements, dialogs, the theme.

export const $ = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else if (name === "class") element.className = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(space, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export function setIcon(button, name) { button.querySelector("use").setAttribute("href", `#i-${name}`); }

export function clockText(seconds, digits = 1) {
  const unit = 10 ** digits, whole = Math.max(0, Math.floor(seconds * unit + 1e-6)) / unit;
  const minutes = Math.floor(whole / 60), rest = (whole - 60 * minutes).toFixed(digits);
  return `${minutes}:${rest.padStart(digits ? 3 + digits : 2, "0")}`;
}

/** Why a prompt cannot be taken, or null. Counted as the server does: by characters, not by UTF-16 units. */
export function promptProblem(text, most) {
  const length = [...text].length;
  return length > most ? `The prompt has ${length} characters; at most ${most} are taken. Shorten it.` : null;
}

/** Words of the server as a sentence. */
export function sentence(text) {
  const first = String(text || "Something went wrong.").trim();
  const whole = first[0].toUpperCase() + first.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

export function toast(text, kind = "info", seconds = 6) {
  const box = $("toasts");
  const same = [...box.children].find((child) => child.dataset.text === text);
  same?.remove();
  const close = make("button", { type: "button", class: "icon-button", "aria-label": "Dismiss" }, icon("close"));
  const item = make("div", { class: `toast ${kind}`, "data-text": text }, make("p", {}, text), close);
  close.addEventListener("click", () => item.remove());
  box.append(item);
  while (box.children.length > 3) box.firstElementChild.remove();
  setTimeout(() => item.remove(), seconds * 1000);
}

/** For screen readers only. */
export function announce(text) {
  const box = $("announce");
  box.textContent = "";
  setTimeout(() => { box.textContent = text; }, 40);
}

/** A strip below the header; `actions`: [[label, handler], ...]. Null takes it away. */
export function banner(text, kind = "warn", actions = []) {
  const box = $("banner");
  if (text === null) {
    box.hidden = true;
    box.replaceChildren();
    box.dataset.text = "";
    return;
  }
  if (box.dataset.text === text) return;
  box.dataset.text = text;
  box.className = `banner ${kind}`;
  const buttons = actions.map(([label, act]) => make("button", { type: "button", class: "quiet", on: { click: act } }, label));
  box.replaceChildren(make("span", {}, text), ...buttons);
  box.hidden = false;
}

/** Buttons that close their dialog, and a click beside it. */
export function wireDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.querySelector("[data-close]")?.addEventListener("click", () => dialog.close());
    dialog.addEventListener("pointerdown", (event) => {
      if (event.target !== dialog) return;
      const box = dialog.getBoundingClientRect();
      const beside = event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
      if (beside && dialog.querySelector("[data-close]")) dialog.close();
    });
  }
}

export function stored(key, value) {
  try {
    if (value === undefined) return localStorage.getItem(`motionstream.${key}`);
    if (value === null) localStorage.removeItem(`motionstream.${key}`);
    else localStorage.setItem(`motionstream.${key}`, value);
  } catch { /* private mode: nothing is remembered */ }
  return null;
}

export function wireTheme(changed) {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: light)");
  const apply = (theme) => {
    root.dataset.theme = theme || (system.matches ? "light" : "dark");
    changed();
  };
  apply(stored("theme"));
  system.addEventListener("change", () => apply(stored("theme")));
  $("theme").addEventListener("click", () => {
    const next = root.dataset.theme === "light" ? "dark" : "light";
    stored("theme", next === (system.matches ? "light" : "dark") ? null : next);
    apply(next);
    announce(`${next} theme`);
  });
}

/** Call whenever a pixel of the page has become another number of the screen's: on another monitor, at another zoom. */
export function watchDensity(changed) {
  const watch = () => matchMedia(`(resolution: ${devicePixelRatio}dppx)`).addEventListener("change", () => {
    watch();
    changed();
  }, { once: true });
  watch();
}

/** Show or hide a control. Where it has the focus that goes to the picture, so that no key is lost on the page. */
export function reveal(element, shown) {
  if (!shown && element === document.activeElement) $("overlay").focus({ preventScroll: true });
  element.hidden = !shown;
}

/** A checkbox-like button. */
export function press(button, on) { button.setAttribute("aria-pressed", on ? "true" : "false"); }

/** Show how far a slider is filled. */
export function fill(input) { input.style.setProperty("--at", `${(100 * (input.value - input.min)) / (input.max - input.min)}%`); }
