// The callback log: what was posted to the receiver, signed, and what it answered.

import { clockText, el } from "./dom.js";
import { channelName } from "./workflow.js";

const KINDS = { "message-status": "status", "inbound-message": "inbound", "final-report": "report" };

/** Build one line of the log; its inside is built when it is opened. */
export function callbackLine(entry, onWorkflow) {
  const answer = entry.answer ? String(entry.answer.status) : entry.failure || "no answer";
  const good = entry.answer && entry.answer.status >= 200 && entry.answer.status < 300;
  const subject = entry.channel ? `${channelName(entry.channel)} ${entry.about || "message"}` : entry.about;
  const details = el("details", { data: { key: `callback-${entry.id}` } },
    el("summary", {},
      el("time", {}, clockText(entry.at_ms)),
      el("span", { class: "kind", data: { kind: entry.kind } }, KINDS[entry.kind] || entry.kind),
      el("span", { class: "subject" }, subject, entry.attempt > 1 && el("small", {}, ` · attempt ${entry.attempt}`)),
      el("span", { class: "answer", data: { good: good ? "yes" : "no" } }, answer)));
  details.addEventListener("toggle", () => details.open && details.childElementCount === 1 && details.append(inside(entry, onWorkflow)));
  return el("li", { class: "callback", data: { id: entry.id } }, details);
}

function inside(entry, onWorkflow) {
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
    entry.retry_at_ms !== undefined && el("p", { class: "note" }, `Tried again at ${clockText(entry.retry_at_ms)}.`),
    entry.dispatch_uuid && el("button", { type: "button", class: "text", on: { click: () => onWorkflow(entry.dispatch_uuid) } }, "Show the workflow"));
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
