// Small helpers: building elements, printing times. Text only ever enters as text: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

/** Build an element. `props`: attributes by name, `on` with listeners, `data` for the dataset; false leaves out. */
export function el(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "on") for (const [type, listener] of Object.entries(value)) element.addEventListener(type, listener);
    else if (name === "data") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Build an icon from path data that this page itself holds. */
export function icon(paths, { size = 16, label = "", className = "" } = {}) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("width", size);
  svg.setAttribute("height", size);
  svg.setAttribute("class", `icon ${className}`);
  if (label) {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
  } else svg.setAttribute("aria-hidden", "true");
  for (const d of [paths].flat()) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

/** Put a new element in the place of an old one and keep what the reader had: focus and open details. */
export function exchange(old, fresh) {
  const focused = old.contains(document.activeElement) ? document.activeElement.dataset.key || "" : null;
  for (const open of old.querySelectorAll("details[open][data-key]")) {
    const twin = fresh.querySelector(`details[data-key="${CSS.escape(open.dataset.key)}"]`);
    if (twin) twin.open = true;
  }
  fresh.hidden = old.hidden;
  old.replaceWith(fresh);
  if (focused !== null) {
    const twin = focused && fresh.querySelector(`[data-key="${CSS.escape(focused)}"]`);
    (twin || fresh).focus({ preventScroll: true });
  }
}

const drawn = new WeakMap(); // container -> key -> what is shown of it

/**
 * Show these values and no others, in their order. A value that is still the same keeps its element, and with it
 * the focus and what is open in it.
 */
export function drawEach(container, values, { keyOf, build }) {
  const before = drawn.get(container) || new Map();
  const after = new Map();
  for (const value of values) {
    const old = before.get(keyOf(value));
    if (old?.value === value) after.set(keyOf(value), old);
    else {
      const element = build(value);
      if (old) exchange(old.element, element);
      after.set(keyOf(value), { value, element });
    }
  }
  for (const [key, { element }] of before) if (!after.has(key)) element.remove();
  let place = container.firstElementChild;
  for (const { element } of after.values()) {
    if (element === place) place = place.nextElementSibling;
    else container.insertBefore(element, place);
  }
  drawn.set(container, after);
}

const two = (number) => String(number).padStart(2, "0");

/** 581000 -> "9:41", 86400000 -> "24:00:00" */
export function clockText(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** A countdown ends at zero and not a second early. */
export const countdownText = (ms) => clockText(Math.ceil(Math.max(0, ms) / 1000) * 1000);

/** 100 -> "0.1 s", 61000 -> "1:01" */
export function sinceText(ms) {
  return ms < 60_000 ? `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s` : clockText(ms);
}

/** 600 -> "10 min" */
export function spanText(seconds) {
  if (seconds % 3600 === 0) return `${seconds / 3600} h`;
  if (seconds % 60 === 0) return `${seconds / 60} min`;
  return `${seconds} s`;
}
