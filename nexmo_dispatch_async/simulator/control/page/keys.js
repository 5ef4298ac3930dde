// Keyboard shortcuts: single keys outside of fields; they can be switched off, for people who speak to their computer.

import { $ } from "./dom.js";
import { clearSearch, lookedCard, step, turn } from "./workflows.js";

const STORED = "dispatch-simulator-shortcuts";
const press = (selector) => lookedCard()?.querySelector(selector)?.click();
// A message that was failed over from can still be delivered: keys are about the last one.
const act = (action) => press(`.step:is([data-phase="current"], [data-phase="over"]) [data-action="${action}"]`);
const focus = (id) => $(id).focus();

/** What each key does; the help names them all. */
const SHORTCUTS = {
  j: () => step(1),
  k: () => step(-1),
  "[": () => turn(-1),
  "]": () => turn(1),
  f: () => $("follow").click(),
  "/": () => focus("search"),
  d: () => act("delivered"),
  r: () => act("read"),
  x: () => act("rejected"),
  a: () => act("reply"),
  c: () => press('[data-key="curl"]'),
  b: () => press('[data-key="callbacks"]'),
  n: () => $("jump").click(),
  m: () => document.querySelector('[data-advance="60"]').click(),
  e: () => $("idle").hidden || $("idle").click(),
  s: () => document.querySelector("#connect .send-sample").click(),
  1: () => focus("workflows"),
  2: () => focus("card-part"),
  3: () => focus("callbacks"),
  4: () => focus("connect"),
  5: () => focus("switches"),
  "?": () => $("help-dialog").showModal(),
};

/** Where a key is text, or has a meaning of its own. */
const isField = (element) => element.matches("input:not([type=checkbox], [type=radio]), textarea, select");

addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
  if (key === "Escape" && target === $("search")) {
    clearSearch();
    return;
  }
  if (isField(target) || !$("shortcuts-on").checked || !Object.hasOwn(SHORTCUTS, key)) return;
  event.preventDefault();
  SHORTCUTS[key]();
});

$("help").addEventListener("click", () => $("help-dialog").showModal());

// The choice is this browser's; without a store it lasts as long as the page.
try {
  $("shortcuts-on").checked = localStorage.getItem(STORED) !== "off";
} catch { /* the store is refused */ }
$("shortcuts-on").addEventListener("change", ({ target }) => {
  try {
    localStorage.setItem(STORED, target.checked ? "on" : "off");
  } catch { /* the store is refused */ }
});
