// The workflows: the list that is searched and paged, and the cards of those that are looked at.

import { nowMs } from "./clock.js";
import { $, drawEach, el } from "./dom.js";
import { hands } from "./hands.js";
import { unlessPressed } from "./press.js";
import { workflowRow } from "./row.js";
import { codesOf, searched } from "./search.js";
import { get, say, toast } from "./talk.js";
import { channelName, tick, workflowCard } from "./workflow.js";

const list = $("list");
const cards = $("cards");
const narrow = matchMedia("(max-width: 900px)");
const pageSize = () => (narrow.matches ? 15 : 50); // rows
narrow.addEventListener("change", () => draw());

// ---- what is known

const flows = new Map(); // uuid -> the workflow, as far as it is known
const pending = new Map(); // uuid -> what is to be known with the next frame
let limit = 500; // how many the simulator tells of
let accepted = 0; // how many there were since the start
let names = {}; // of the error codes
let frame = 0;

// ---- what is looked at

let chosen = null; // the uuid of the workflow whose card is shown; null follows the newest
let visited = null; // a chosen workflow that the list no longer knows
let first = 0; // the first row of the page
let matching = []; // the workflows that are looked for, newest first

const wish = () => ({
  typed: $("search").value, state: $("search-form").elements.show.value, channel: $("channel").value, error: $("error").value,
});
const isWished = () => $("search").value.trim() !== "" || $("search-form").elements.show.value !== "all" || $("channel").value !== "" || $("error").value !== "";

// ---- what comes in

export function show(some) {
  for (const flow of some) pending.set(flow.uuid, flow);
  // A page in the background gets no frames; what waits for one must not pile up.
  if (pending.size > 3 * limit) learn();
  else if (!frame && pending.size) frame = requestAnimationFrame(() => unlessPressed(() => learn()));
}

let known = false; // whether a snapshot has come
function learn(quiet = false) {
  cancelAnimationFrame(frame);
  frame = 0;
  const fresh = [...pending.values()].sort((a, b) => a.number - b.number);
  pending.clear();
  for (const flow of fresh) {
    const before = flows.get(flow.uuid) || (flow.uuid === visited?.uuid ? visited : undefined);
    flows.set(flow.uuid, flow);
    if (flow.uuid === visited?.uuid) visited = flow;
    if (!quiet) tell(before, flow);
  }
  forgetOldest();
  draw();
}

/** Know these and no others; what stays keeps its place and its focus. */
export function replaceFlows(all, most) {
  limit = most;
  known = true;
  pending.clear();
  flows.clear();
  for (const flow of all) pending.set(flow.uuid, flow);
  if (chosen && !pending.has(chosen)) {
    chosen = visited = null;
    document.body.dataset.shows = "list";
  }
  learn(true);
}

function forgetOldest() {
  if (flows.size <= limit) return;
  const oldest = [...flows.values()].sort((a, b) => a.number - b.number).slice(0, flows.size - limit);
  for (const { uuid } of oldest) flows.delete(uuid);
}

/** Know the names of the error codes. */
export function nameCodes(codes) {
  names = codes;
  $("codes").append(...Object.entries(codes).map(([code, name]) => el("option", { value: code }, `${code} ${name}`)));
  for (const flow of flows.values()) pending.set(flow.uuid, { ...flow }); // drawn before the names were known
  if (known) learn();
}

export function countAccepted(number) {
  accepted = number;
  showCount();
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

// ---- drawing

function draw() {
  offerErrors();
  matching = [...flows.values()].filter(searched(wish(), names)).sort((a, b) => b.number - a.number);
  first = Math.min(first, Math.max(0, Math.ceil(matching.length / pageSize()) - 1) * pageSize());
  const page = matching.slice(first, first + pageSize());
  drawEach(list, page, { keyOf: ({ uuid }) => uuid, build: (flow) => workflowRow(flow, { onPick: pick, names }) });
  drawEach(cards, looked(page), { keyOf: ({ uuid }) => uuid, build: (flow) => workflowCard(flow, { hands, codes: names }) });
  for (const row of list.children) {
    if (row.dataset.uuid === lookedUuid()) row.firstElementChild.setAttribute("aria-current", "true");
    else row.firstElementChild.removeAttribute("aria-current");
  }
  showCount();
  tick(document, nowMs());
}

const lookedUuid = () => chosen ?? matching[0]?.uuid;

function looked(page) {
  if ($("all-cards").checked) return page;
  const flow = flows.get(lookedUuid()) || (visited?.uuid === chosen ? visited : null);
  return flow ? [flow] : [];
}

function showCount() {
  const many = (number) => number.toLocaleString("en");
  const from = matching.length ? first + 1 : 0;
  const older = accepted > flows.size && flows.size >= limit ? `, the newest ${limit} of ${many(accepted)}` : "";
  $("count").textContent = flows.size === 0 ? "" : `${from} to ${Math.min(first + pageSize(), matching.length)} of ${many(matching.length)}${isWished() ? " found" : older}`;
  $("pager").hidden = flows.size === 0;
  $("newer").disabled = first === 0;
  $("older").disabled = first + pageSize() >= matching.length;
  $("search-form").hidden = flows.size === 0 && !isWished();
  $("clear-search").hidden = !isWished();
  $("none-shown").hidden = flows.size === 0 || matching.length > 0;
  $("empty").hidden = !known || flows.size > 0;
  const bare = flows.size === 0 && !visited;
  $("card-part").hidden = bare;
  document.body.toggleAttribute("data-bare", bare);
  $("follow").setAttribute("aria-pressed", String(chosen === null));
}

/** Offer the error codes that were met; without being asked, the choice does not change. */
let offered = "";
function offerErrors() {
  const met = [...new Set([...flows.values()].flatMap(codesOf))].sort((a, b) => a - b);
  const text = JSON.stringify([met, names]);
  if (text === offered) return;
  offered = text;
  const select = $("error");
  const { value } = select;
  const kept = Number(value) && !met.includes(Number(value)) ? [Number(value)] : [];
  select.replaceChildren(el("option", { value: "" }, "Any or no error"), el("option", { value: "any" }, "With an error"),
    ...[...met, ...kept].map((code) => el("option", { value: code }, `${code} ${names[code] || ""}`)));
  select.value = value;
}

// ---- searching and paging

function searchAnew() {
  first = 0;
  draw();
}

$("search-form").addEventListener("submit", (event) => event.preventDefault());
$("search-form").addEventListener("input", searchAnew);
$("clear-search").addEventListener("click", () => {
  clearSearch();
  $("search").focus();
});

export function clearSearch() {
  $("search").value = $("channel").value = $("error").value = "";
  $("search-form").elements.show.value = "all";
  searchAnew();
}

export function turn(pages) {
  const to = first + pages * pageSize();
  if (to < 0 || to >= matching.length) return;
  first = to;
  draw();
  list.scrollTop = 0;
  say($("count").textContent);
}
$("newer").addEventListener("click", () => turn(-1));
$("older").addEventListener("click", () => turn(1));

// ---- choosing

/** Show the card of a workflow, and on a narrow screen only it. */
function pick(uuid) {
  chosen = uuid;
  document.body.dataset.shows = "card";
  draw();
  const card = cards.querySelector(`[data-uuid="${CSS.escape(uuid)}"]`);
  // On a wide screen the list keeps the focus, so that the next row is one key away.
  if (narrow.matches) card?.focus({ preventScroll: true });
  if (narrow.matches) bringUp($("card-part"));
  else if ($("all-cards").checked) bringUp(card);
}

function bringUp(element, block = "start") {
  element?.scrollIntoView({ block, behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}

/** Show a workflow from elsewhere on the page; one that the list no longer knows is asked for. */
export async function goTo(uuid) {
  if (!flows.has(uuid)) {
    try {
      visited = await get(`/control/workflows/${encodeURIComponent(uuid)}`);
    } catch {
      return toast("This workflow is no longer in memory.");
    }
  }
  if (flows.has(uuid) && !matching.some((flow) => flow.uuid === uuid)) clearSearch();
  const place = matching.findIndex((flow) => flow.uuid === uuid);
  if (place >= 0) first = Math.floor(place / pageSize()) * pageSize();
  pick(uuid);
  list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  const card = cards.querySelector(`[data-uuid="${CSS.escape(uuid)}"]`);
  card?.focus({ preventScroll: true });
  return bringUp(narrow.matches ? $("card-part") : card);
}

/** Choose the workflow that is `by` rows further down, and give its row the focus. */
export function step(by) {
  const at = matching.findIndex((flow) => flow.uuid === lookedUuid());
  const to = matching[Math.min(matching.length - 1, Math.max(0, at + by))];
  if (!to) return;
  first = Math.floor(matching.indexOf(to) / pageSize()) * pageSize();
  chosen = to.uuid;
  draw();
  const row = list.querySelector(`[data-uuid="${CSS.escape(to.uuid)}"] button`);
  row?.focus({ preventScroll: true });
  row?.scrollIntoView({ block: "nearest" });
}

/** The card of the workflow that is looked at. */
export const lookedCard = () => cards.querySelector(`[data-uuid="${CSS.escape(lookedUuid() || "")}"]`);

function follow() {
  chosen = visited = null;
  first = 0;
  draw();
}
$("follow").addEventListener("click", follow);
$("all-cards").addEventListener("change", draw);
$("back").addEventListener("click", () => {
  document.body.dataset.shows = "list";
  (list.querySelector("[aria-current]") || $("search")).focus();
});

// Who does something with a card does not want another one to take its place.
function hold({ target }) {
  const card = target.closest(".flow");
  if (!card || chosen === card.dataset.uuid || $("all-cards").checked) return;
  chosen = card.dataset.uuid;
  $("follow").setAttribute("aria-pressed", "false");
}
cards.addEventListener("pointerdown", hold);
cards.addEventListener("focusin", hold);
