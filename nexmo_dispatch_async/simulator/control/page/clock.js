// The virtual clock: what it shows, and what moves it.

import { $, clockText, countdownText, el } from "./dom.js";
import { post } from "./talk.js";
import { tick } from "./workflow.js";

let clock = { now_ms: 0, speed: null, next_event_ms: null };
let clockRead = performance.now();

/** Virtual milliseconds since the start. */
export const nowMs = () => clock.now_ms + (clock.speed ? (performance.now() - clockRead) * clock.speed : 0);

export function setClock(fresh) {
  clock = fresh;
  clockRead = performance.now();
  const runs = clock.speed !== null;
  $("pause").hidden = $("speed-label").hidden = !runs;
  $("idle").hidden = runs;
  $("pause").textContent = clock.speed === 0 ? "Resume" : "Pause";
  if (runs && clock.speed > 0) {
    const select = $("speed");
    if (![...select.options].some((option) => Number(option.value) === clock.speed)) {
      select.append(el("option", { value: clock.speed }, `${clock.speed}×`));
    }
    select.value = String(clock.speed);
  }
  showClock();
}

function showClock() {
  const now = nowMs();
  $("now").textContent = clockText(now);
  if (clock.time) {
    const moment = new Date(Date.parse(clock.time) + (now - clock.now_ms)).toISOString().replace("T", " ").slice(0, 19);
    $("clock-note").textContent = `${moment} UTC${clock.speed === 0 ? ", paused" : ""}`;
  }
  const next = clock.next_event_ms;
  $("next-event").textContent = next === null ? "none due" : next <= now ? "now" : `in ${countdownText(next - now)}`;
  $("jump").disabled = next === null;
}

async function moving(button, path, body) {
  button.setAttribute("aria-busy", "true");
  await post(path, body);
  button.removeAttribute("aria-busy");
}

for (const button of document.querySelectorAll("[data-advance]")) {
  button.addEventListener("click", () => moving(button, "/control/advance", { seconds: Number(button.dataset.advance) }));
}
$("advance-form").addEventListener("submit", (event) => {
  event.preventDefault();
  moving(event.submitter, "/control/advance", { seconds: $("advance-seconds").valueAsNumber });
});
$("jump").addEventListener("click", () => moving($("jump"), "/control/jump"));
$("idle").addEventListener("click", () => moving($("idle"), "/control/advance_until_idle"));
$("pause").addEventListener("click", () => post(clock.speed === 0 ? "/control/resume" : "/control/pause"));
$("speed").addEventListener("change", () => post("/control/speed", { speed: Number($("speed").value) }));

setInterval(() => {
  if (!clock.speed || document.hidden) return;
  showClock();
  tick(document, nowMs());
}, 250);
