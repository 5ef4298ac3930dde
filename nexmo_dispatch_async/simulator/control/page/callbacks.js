// The callback log: what was posted to the receiver, signed, and what it answered; of all workflows or of one.

import { $, clockText, el } from "./dom.js";
import { get, say, toast } from "./talk.js";
import { channelName } from "./workflow.js";

const KINDS = { "message-status": "status", "inbound-message": "inbound", "final-report": "report" };
const log = $("log");
const LINES = 100;

let newest = []; // the newest of all workflows, newest first
let only = null; // the workflow whose callbacks are shown; null for all
let onWorkflow = () => {};

/** Say what leads from a callback to its workflow. */
export function onWorkflowOf(listener) {
  onWorkflow = listener;
}

export function showCallbacks(entries) {
  newest = [...entries, ...newest].slice(0, LINES);
  add(only ? entries.filter((entry) => entry.dispatch_uuid === only.uuid) : entries);
}

/** After a break: add what is new; start over when the numbers do not go on from where they were. */
export function replaceCallbacks(entries) {
  const last = newest[0]?.id || 0;
  const goesOn = entries.some((entry) => entry.id === last);
  if (goesOn) return showCallbacks(entries.filter((entry) => entry.id > last));
  newest = entries;
  return showAll();
}

function add(entries) {
  for (const entry of [...entries].reverse()) log.prepend(callbackLine(entry));
  while (log.childElementCount > LINES) log.lastElementChild.remove();
  $("log-empty").hidden = log.childElementCount > 0;
}

function showAll() {
  only = null;
  showWhose();
  log.replaceChildren();
  add(newest);
}

function showWhose() {
  $("whose").hidden = only === null;
  $("log-note").hidden = only !== null;
  $("whose").textContent = only ? `Only of workflow #${only.number}` : "";
}

/** Show the callbacks of one workflow, also those that the log no longer has. */
export async function showCallbacksOf(flow) {
  let found;
  try {
    found = (await get(`/control/callbacks?limit=${LINES}&workflow=${encodeURIComponent(flow.uuid)}`)).callbacks;
  } catch {
    return toast("The simulator does not answer.");
  }
  only = flow;
  showWhose();
  log.replaceChildren();
  add(found);
  say(`${found.length} callbacks of workflow ${flow.number}`);
  $("callbacks").scrollIntoView({ block: "nearest" });
  return $("whose").focus({ preventScroll: true });
}

$("whose").addEventListener("click", () => {
  showAll();
  $("callbacks").focus({ preventScroll: true });
});

/** Build one line of the log; its inside is built when it is opened. */
function callbackLine(entry) {
  const answer = entry.answer ? String(entry.answer.status) : entry.failure || "no answer";
  const good = entry.answer && entry.answer.status >= 200 && entry.answer.status < 300;
  const subject = entry.channel ? `${channelName(entry.channel)} ${entry.about || "message"}` : entry.about;
  const details = el("details", { data: { key: `callback-${entry.id}` } },
    el("summary", {},
      el("time", {}, clockText(entry.at_ms)),
      el("span", { class: "kind", data: { kind: entry.kind } }, KINDS[entry.kind] || entry.kind),
      el("span", { class: "subject" }, subject, entry.attempt > 1 && el("small", {}, ` · attempt ${entry.attempt}`)),
      el("span", { class: "answer", data: { good: good ? "yes" : "no" } }, answer)));
  details.addEventListener("toggle", () => details.open && details.childElementCount === 1 && details.append(inside(entry)));
  return el("li", { class: "callback", data: { id: entry.id } }, details,
    entry.workflow && el("button", { type: "button", class: "text origin", "aria-label": `Workflow ${entry.workflow}`,
      on: { click: () => onWorkflow(entry.dispatch_uuid) } }, `#${entry.workflow}`));
}

function inside(entry) {
  const { request, answer } = entry;
  const headers = Object.entries(request.headers).map(([name, value]) => `${name}: ${value}`).join("\n");
  const claims = claimsOf(request.headers.Authorization || "");
  return el("div", { class: "exchange" },
    el("h3", {}, "Request"),
    el("pre", { tabindex: 0, "aria-label": "Request" }, `POST ${request.url}\n${headers}\n\n${pretty(request.body)}`),
    claims && el("h3", {}, "Signature"),
    claims && el("dl", {}, Object.entries(claims).map(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))])),
    el("h3", {}, "Answer"),
    el("pre", { tabindex: 0, "aria-label": "Answer" }, answer ? `${answer.status}\n\n${answer.body || "(no body)"}` : entry.failure || "no answer"),
    entry.retry_at_ms !== undefined && el("p", { class: "note" }, `Tried again at ${clockText(entry.retry_at_ms)}.`));
}

function pretty(body) {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}

/** Read the claims of the token; the receiver is the one to check it. */
function claimsOf(authorization) {
  const part = authorization.replace(/^Bearer /, "").split(".")[1];
  if (!part) return null;
  try {
    const bytes = Uint8Array.from(atob(part.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}
