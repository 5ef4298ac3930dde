// The live page: listens to the simulator, shows what happens, and passes on what hands do.

import { callbackLine } from "./callbacks.js";
import { clockText, countdownText, el, exchange } from "./dom.js";
import { channelName, tick, workflowCard } from "./workflow.js";

const $ = (id) => document.getElementById(id);
const list = $("list");
const log = $("log");
const LOG_LINES = 100;

// ---- what is known

let clock = { now_ms: 0, speed: null, next_event_ms: null };
let clockRead = performance.now();
let limit = 100;
let codes = {};
const flows = new Map(); // uuid -> what is shown
const cards = new Map(); // uuid -> element
const pending = new Map(); // uuid -> what is to be shown with the next frame
let frame = 0;

const nowMs = () => clock.now_ms + (clock.speed ? (performance.now() - clockRead) * clock.speed : 0);

// ---- asking

async function post(path, body = {}, method = "POST") {
  let answer;
  try {
    answer = await fetch(path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  } catch {
    return toast("The simulator does not answer.");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) return toast(said.error || `The simulator answered ${answer.status}.`);
  if (said.clock) setClock(said.clock);
  if (said.workflow) show([said.workflow]);
  return said;
}

async function get(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

let toastTimer = 0;
function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => ($("toast").hidden = true), 6000);
  return null;
}

// ---- speaking to a screen reader: a sentence at a time, never a flood

let sentences = [];
let speaking = 0;
function say(sentence) {
  sentences.push(sentence);
  if (speaking) return;
  speaking = setTimeout(() => {
    speaking = 0;
    $("said").textContent = sentences.length > 4 ? `${sentences.length} changes, the last: ${sentences.at(-1)}` : sentences.join(". ");
    sentences = [];
  }, 700);
}

function tell(before, after) {
  if (!before) return say(`Workflow ${after.number} was sent on ${channelName(after.steps[0].channel)}`);
  if (after.current > before.current) say(`Workflow ${after.number} failed over to ${channelName(after.steps[after.current].channel)}`);
  after.steps.forEach((step, index) => {
    const was = before.steps[index].message;
    if (step.message && step.message.status && step.message.status !== was?.status) say(`Workflow ${after.number}, ${channelName(step.channel)}: ${step.message.status}`);
    if ((step.message?.replies || []).length > (was?.replies || []).length) say(`Reply on ${channelName(step.channel)}: ${step.message.replies.at(-1).text}`);
  });
  if (after.outcome && !before.outcome) say(`Workflow ${after.number} ended: ${after.outcome}`);
}

// ---- nothing is replaced under a pressed button: its click would be lost

let pressed = false;
let held = []; // changes of the page that wait for the release
const MOST_HELD = 100; // ten seconds of patches

function unlessPressed(change) {
  held.push(change);
  if (!pressed || held.length > MOST_HELD) makeHeldChanges();
}

function makeHeldChanges() {
  const changes = held;
  held = [];
  for (const change of changes) change();
}

function press() {
  pressed = true;
}

function release() {
  pressed = false;
  makeHeldChanges();
}

addEventListener("pointerdown", press, true);
addEventListener("keydown", ({ key }) => key === " " && press(), true);
// The click follows the release within the same task of the browser.
for (const type of ["pointerup", "pointercancel", "keyup"]) addEventListener(type, () => setTimeout(release), true);
// The release outside of the window may not be reported.
addEventListener("pointermove", ({ buttons }) => pressed && buttons === 0 && release(), true);
addEventListener("blur", release);

// ---- workflows

const hands = {
  status: (message, status, code) => post(`/control/messages/${encodeURIComponent(message.uuid)}/status`, code === undefined ? { status } : { status, code }),
  reply: askReply,
  fail: askFailure,
  curl: copyCurl,
};

function show(some) {
  for (const flow of some) pending.set(flow.uuid, flow);
  // A page in the background gets no frames; what waits for one must not pile up.
  if (pending.size > 3 * limit) render();
  else if (!frame && pending.size) frame = requestAnimationFrame(() => unlessPressed(render));
}

function render() {
  cancelAnimationFrame(frame);
  frame = 0;
  const fresh = [...pending.values()].sort((a, b) => a.number - b.number);
  pending.clear();
  for (const flow of fresh) {
    const before = flows.get(flow.uuid);
    const card = workflowCard(flow, { hands, codes });
    const old = cards.get(flow.uuid);
    if (old) exchange(old, card);
    else {
      card.classList.toggle("fresh", known);
      list.insertBefore(card, placeFor(flow.number));
    }
    flows.set(flow.uuid, flow);
    cards.set(flow.uuid, card);
    if (known) tell(before, flow);
  }
  known = true;
  forgetOldest();
  showTotals();
  filter();
  tick(list, nowMs());
}
let known = false;

/** Show these and no others; what stays keeps its place and its focus. */
function replaceFlows(all) {
  known = false;
  pending.clear();
  const kept = new Set(all.map((flow) => flow.uuid));
  for (const [uuid, card] of cards) {
    if (kept.has(uuid)) continue;
    card.remove();
    cards.delete(uuid);
    flows.delete(uuid);
  }
  show(all);
  render();
}

/** The newest comes first: find the card that the new one goes before. */
function placeFor(number) {
  for (const card of list.children) if (flows.get(card.dataset.uuid).number < number) return card;
  return null;
}

function forgetOldest() {
  while (list.childElementCount > limit) {
    const last = list.lastElementChild;
    flows.delete(last.dataset.uuid);
    cards.delete(last.dataset.uuid);
    last.remove();
  }
}

function filter() {
  const wanted = document.querySelector("#filter input:checked").value;
  let shown = 0;
  for (const card of list.children) {
    const running = card.dataset.state === "running";
    card.hidden = wanted === "running" ? !running : wanted === "ended" ? running : false;
    shown += !card.hidden;
  }
  $("empty").hidden = flows.size > 0;
  $("none-shown").hidden = flows.size === 0 || shown > 0;
}
$("filter").addEventListener("change", filter);

function goTo(uuid) {
  const card = cards.get(uuid);
  if (!card) return toast("This workflow is no longer shown.");
  if (card.hidden) {
    document.querySelector("#filter input[value=all]").checked = true;
    filter();
  }
  card.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  return card.focus({ preventScroll: true });
}

// ---- dialogs

/** Open a dialog and wait until it was answered; null when it was cancelled. */
function ask(dialog) {
  return new Promise((resolve) => {
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue || null), { once: true });
    dialog.showModal();
  });
}

async function askReply(flow, step) {
  $("reply-note").textContent = `${channelName(step.channel)}, from ${step.to}.`
    + (flow.inbound ? "" : " This application has no inbound URL: the reply will not be delivered.");
  $("reply-text").value = "";
  if (await ask($("reply-dialog"))) await post(`/control/messages/${encodeURIComponent(step.message.uuid)}/reply`, { text: $("reply-text").value });
}

async function askFailure(flow, step) {
  $("fail-note").textContent = `The ${channelName(step.channel)} message to ${step.to}.`;
  setFailure("rejected");
  if (await ask($("fail-dialog"))) await hands.status(step.message, $("fail-status").value, $("fail-code").valueAsNumber);
}

function setFailure(status) {
  $("fail-status").value = status;
  $("fail-code").value = $("codes").value = status === "rejected" ? "1300" : "1260";
}
$("fail-status").addEventListener("change", () => setFailure($("fail-status").value));
$("codes").addEventListener("change", () => ($("fail-code").value = $("codes").value));

async function copyCurl(flow) {
  try {
    const answer = await fetch(`/control/workflows/${encodeURIComponent(flow.uuid)}/curl`);
    if (!answer.ok) throw new Error(String(answer.status));
    const text = await answer.text();
    try {
      await navigator.clipboard.writeText(text);
      say("The command was copied");
      toast("Copied. Put an access token in $TOKEN.");
    } catch {
      $("text-area").value = text;
      $("text-dialog").showModal();
      $("text-area").select();
    }
  } catch {
    toast("This workflow is no longer in memory.");
  }
}

// ---- callbacks

function showCallbacks(entries) {
  for (const entry of [...entries].reverse()) log.prepend(callbackLine(entry, goTo));
  while (log.childElementCount > LOG_LINES) log.lastElementChild.remove();
  $("log-empty").hidden = log.childElementCount > 0;
}

/** After a break: add what is new; start over when the numbers do not go on from where they were. */
function replaceCallbacks(entries) {
  const newest = Number(log.firstElementChild?.dataset.id || 0);
  const goesOn = entries.some((entry) => entry.id === newest);
  if (!goesOn) log.replaceChildren();
  showCallbacks(goesOn ? entries.filter((entry) => entry.id > newest) : entries);
}

// ---- the clock

function setClock(fresh) {
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

let totals = { accepted: 0, in_flight: 0 };

/** Say how many there are; again after drawing, because it depends on how many cards there are. */
function showTotals(latest = totals) {
  totals = latest;
  const more = totals.accepted > flows.size && flows.size >= limit ? `, the newest ${limit} shown` : "";
  $("totals").textContent = `${totals.in_flight.toLocaleString("en")} in flight of ${totals.accepted.toLocaleString("en")}${more}`;
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
  tick(list, nowMs());
}, 250);

// ---- switches

function showSwitches(settings) {
  for (const box of document.querySelectorAll("[data-switch]")) box.checked = String(settings[box.dataset.switch]) === box.dataset.on;
  for (const field of document.querySelectorAll("[data-number]")) field.value = settings[field.dataset.number];
}

$("switch-form").addEventListener("change", async ({ target }) => {
  const { dataset } = target;
  if (dataset.switch) {
    const value = JSON.parse(target.checked ? dataset.on : dataset.off);
    const said = await post("/control/settings", { [dataset.switch]: value });
    if (said) showSwitches(said);
    else target.checked = !target.checked;
  } else if (dataset.number && target.reportValidity()) {
    const said = await post("/control/settings", { [dataset.number]: target.valueAsNumber || 0 });
    if (said) showSwitches(said);
  }
});
$("switch-form").addEventListener("submit", (event) => event.preventDefault());
$("expire").addEventListener("click", async () => {
  if (await post("/control/tokens/expire")) toast("Every token handed out so far is now refused.");
});

// ---- faults

function showFaults(faults) {
  const focused = document.activeElement?.dataset.fault;
  $("fault-count").textContent = faults.length ? `${faults.length} armed` : "none armed";
  $("clear-faults").hidden = faults.length === 0;
  $("faults").replaceChildren(...faults.map((fault) => {
    const details = [
      fault.route !== "*" && fault.route, fault.recipient !== "*" && `to ${fault.recipient}`,
      fault.probability < 1 && `chance ${fault.probability}`, fault.seconds > 0 && `${fault.seconds} s`,
      fault.status && `status ${fault.status}`, fault.count !== null && `${fault.count} times`,
      fault.spent ? "spent" : `hit ${fault.hits}`,
    ].filter(Boolean).join(", ");
    return el("li", {},
      el("span", { class: "subject" }, el("b", {}, fault.kind.replaceAll("_", " ")), ` · ${details}`),
      el("button", { type: "button", class: "text", "aria-label": `Remove the fault ${fault.kind}`, data: { fault: fault.id },
        on: { click: () => removeFault(fault.id) } }, "Remove"));
  }));
  if (focused) ($("faults").querySelector(`[data-fault="${CSS.escape(focused)}"]`) || $("fault-form").elements.kind).focus();
}

async function removeFault(id) {
  const said = await post(`/control/faults/${encodeURIComponent(id)}`, undefined, "DELETE");
  if (said) showFaults(said.faults);
}

$("fault-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const fault = {};
  for (const { name, type, value, valueAsNumber } of event.target.elements) {
    if (name && value !== "") fault[name] = type === "number" ? valueAsNumber : value;
  }
  const said = await post("/control/faults", fault);
  if (said) showFaults(said.faults);
});
$("clear-faults").addEventListener("click", async () => {
  const said = await post("/control/faults/clear");
  if (said) showFaults(said.faults);
});

// ---- the beginning

function listen() {
  const events = new EventSource("/control/events");
  const link = (state, text) => {
    $("link").dataset.state = state;
    $("link").firstElementChild.textContent = text;
  };
  events.addEventListener("open", () => link("live", "live"));
  events.addEventListener("error", () => link("lost", "connection lost, trying again"));
  events.addEventListener("snapshot", ({ data }) => {
    const all = JSON.parse(data);
    limit = all.limit;
    setClock(all.clock);
    unlessPressed(() => {
      replaceFlows(all.workflows);
      replaceCallbacks(all.callbacks);
      showFaults(all.faults);
      showTotals(all.totals);
    });
  });
  events.addEventListener("patch", ({ data }) => {
    const news = JSON.parse(data);
    setClock(news.clock);
    show(news.workflows || []);
    unlessPressed(() => {
      showCallbacks(news.callbacks || []);
      if (news.faults) showFaults(news.faults);
      showTotals(news.totals);
    });
  });
}

$("empty-hint").textContent = `curl ${location.origin}/communication/nexmo/dispatch \\
  -H "Authorization: Bearer $TOKEN" \\
  -H "ApplicationId: $APPLICATION_ID" \\
  -H "Content-Type: application/json" \\
  -d @workflow.json`;

async function fetchNames() {
  codes = await get("/control/codes");
  $("codes").append(...Object.entries(codes).map(([code, name]) => el("option", { value: code }, `${code} ${name}`)));
  show([...flows.values()]); // what was drawn before the names were known
}

listen();
Promise.all([fetchNames(), get("/control/settings").then(showSwitches)]).catch(() => toast("The simulator does not answer."));
