// One workflow as a card: a track of time, and each step's message the way a phone shows it.

import { clockText, countdownText, el, icon, sinceText, spanText } from "./dom.js";

const BUBBLE = "M5 4h14a3 3 0 0 1 3 3v7a3 3 0 0 1-3 3h-7l-5 4v-4H5a3 3 0 0 1-3-3V7a3 3 0 0 1 3-3z";
const HANDSET = "M8.2 7.2 9.9 9.6 9 11c.9 1.8 2.2 3.1 4 4l1.4-.9 2.4 1.7c-.2 1.4-1.3 2.2-2.7 2C10.5 17.3 6.7 13.5 6.2 9.9c-.2-1.4.6-2.5 2-2.7z";
export const CHANNELS = {
  sms: { name: "SMS", icon: [BUBBLE, "M7 10.5h.01M12 10.5h.01M17 10.5h.01"] },
  mms: { name: "MMS", icon: [BUBBLE, "m6 14 3.5-4 3 3 2-2 3.5 3"] },
  whatsapp: { name: "WhatsApp", icon: ["M12 2.5a9.5 9.5 0 0 0-8.2 14.3L2.5 21.5l4.9-1.3A9.5 9.5 0 1 0 12 2.5z", HANDSET] },
  viber_service_msg: { name: "Viber", icon: ["M7 3h10a4 4 0 0 1 4 4v7a4 4 0 0 1-4 4h-5l-4 3.5V18H7a4 4 0 0 1-4-4V7a4 4 0 0 1 4-4z", "M13 6.5c2.4.3 4 1.9 4.2 4.3M8.5 7.5c-.8 2.8 3.2 7 6 6.5"] },
  messenger: { name: "Messenger", icon: ["M12 2.5C6.5 2.5 2.5 6.4 2.5 11.5c0 2.8 1.2 5 3.2 6.6v3.4l3-1.6c1 .3 2.1.4 3.3.4 5.5 0 9.5-3.7 9.5-8.8S17.5 2.5 12 2.5z", "m6.5 14 4-4 3 2.5 4-3"] },
};
const TICK = "m4 13 4.5 4.5L17 7";
const TICKS = ["m2 13 4.5 4.5L15 7", "m11 16.5 1.2 1L21.5 7"];
const WAIT = ["M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z", "M12 7.5V12l3 2"];
const FAIL = ["M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z", "M12 7.5v5.5M12 16.5h.01"];
const MEDIA = {
  image: ["M4 5h16v14H4z", "m4 16 5-5 4 4 3-3 4 4", "M9 9h.01"],
  video: ["M4 5h16v14H4z", "m10 9 5 3-5 3z"],
  audio: ["M5 10v4M9 7v10M13 4v16M17 8v8M21 11v2"],
  file: ["M6 3h8l4 4v14H6z", "M14 3v4h4"],
  location: ["M12 21s7-6.5 7-11.5A7 7 0 0 0 5 9.5C5 14.5 12 21 12 21z", "M12 7.5a2 2 0 1 0 0 4 2 2 0 0 0 0-4z"],
};
const ACTIONS = { delivered: "Deliver", read: "Mark read", rejected: "Reject…" };
const SAID = { submitted: "Submitted", delivered: "Delivered", read: "Read", rejected: "Rejected", undeliverable: "Undeliverable" };

export const channelName = (channel) => (CHANNELS[channel] || { name: channel }).name;
export const isFailure = (status) => status === "rejected" || status === "undeliverable";

/** Build the card of a workflow. `hands` has what its buttons do, `codes` the names of error codes. */
export function workflowCard(flow, { hands, codes }) {
  const title = `workflow-${flow.uuid}`;
  const state = flow.outcome || "running";
  const card = el("article", { class: "flow", tabindex: -1, "aria-labelledby": title, data: { uuid: flow.uuid, state } },
    el("header", { class: "flow-head" },
      el("h3", { id: title }, el("span", { class: "unseen" }, "Workflow "), `#${flow.number}`),
      el("span", { class: "pill", data: { state } }, { running: "Running", completed: "Completed", error: "Error" }[state] || state),
      el("code", { class: "uuid", title: flow.uuid }, flow.uuid),
      el("span", { class: "facts" },
        flow.cost && el("span", { class: "cost", title: "Cost so far, the workflow fee included" }, `€ ${flow.cost}`),
        flow.callbacks > 0 && el("button", { type: "button", class: "text", "data-key": "callbacks", on: { click: () => hands.callbacks(flow) } },
          flow.callbacks === 1 ? "1 callback" : `${flow.callbacks} callbacks`),
        el("button", { type: "button", class: "text", "data-key": "curl", on: { click: () => hands.curl(flow) } }, "Copy as curl")),
    ),
    track(flow),
    el("div", { class: "steps" }, flow.steps.map((step, index) => stepView(flow, step, index, { hands, codes }))),
    flow.outcome && ending(flow),
  );
  return card;
}

// ---- the track

function track(flow) {
  const start = flow.accepted_ms;
  const last = Math.max(start, ...flow.steps.flatMap((s) => (s.message ? [s.message.sent_ms, ...(s.message.history || []).map((m) => m.at_ms)] : [])));
  const end = Math.max(flow.deadline_ms || 0, flow.ended_ms || 0, last, start + 1000);
  const percent = (ms) => Math.min(100, Math.max(0, ((ms - start) / (end - start)) * 100));
  const line = el("div", { class: "track", "aria-hidden": "true" });
  flow.steps.forEach((step, index) => {
    if (!step.message) return;
    const next = flow.steps[index + 1]?.message;
    const until = next ? next.sent_ms : flow.deadline_ms && index === flow.current ? flow.deadline_ms : end;
    const open = index === flow.current && !flow.outcome;
    const span = el("span", { class: "span", data: { channel: step.channel, ...(open ? { open: "" } : {}) } });
    span.style.left = `${percent(step.message.sent_ms)}%`;
    span.style.width = `${Math.max(0.4, percent(until) - percent(step.message.sent_ms))}%`;
    if (open) span.append(el("span", { class: "elapsed", data: { from: step.message.sent_ms, until } }));
    line.append(span);
    for (const moment of step.message.history || []) {
      const name = isFailure(moment.status) ? "failed" : moment.status;
      const dot = el("span", { class: "dot", title: `${channelName(step.channel)} ${moment.status}, ${sinceText(moment.at_ms - start)}`, data: { status: name, channel: step.channel } });
      dot.style.left = `${percent(moment.at_ms)}%`;
      line.append(dot);
    }
  });
  const next = flow.steps[flow.current + 1];
  const waits = flow.deadline_ms && next;
  return el("div", { class: "timeline" },
    line,
    el("p", { class: "scale" },
      el("span", {}, `sent at ${clockText(start)}`),
      waits && el("span", { class: "countdown", role: "timer", "aria-live": "off", data: { channel: next.channel } },
        icon(CHANNELS[next.channel]?.icon || BUBBLE, { size: 15 }), `${channelName(next.channel)} in `,
        el("b", { data: { deadline: flow.deadline_ms } })),
      flow.outcome && el("span", {}, `ended after ${sinceText(flow.ended_ms - start)}`)));
}

/** Bring countdowns and growing spans inside `root` to the present. */
export function tick(root, now) {
  for (const node of root.querySelectorAll("[data-deadline]")) {
    const text = countdownText(node.dataset.deadline - now);
    if (node.textContent !== text) node.textContent = text;
  }
  for (const node of root.querySelectorAll(".elapsed")) {
    const { from, until } = node.dataset;
    node.style.width = `${Math.min(100, ((now - from) / Math.max(1, until - from)) * 100)}%`;
  }
}

// ---- a step

function stepView(flow, step, index, { hands, codes }) {
  const { message } = step;
  const title = `step-${flow.uuid}-${index}`;
  const name = channelName(step.channel);
  const phase = step.phase === "over" ? "" : { waiting: "waiting", current: "now", passed: "failed over", unused: "not needed" }[step.phase] ?? step.phase;
  return el("section", { class: "step", "aria-labelledby": title, data: { channel: step.channel, phase: step.phase } },
    el("header", {},
      el("span", { class: "glyph" }, icon(CHANNELS[step.channel]?.icon || BUBBLE, { size: 17 })),
      el("span", { class: "who" },
        el("h4", { id: title }, el("span", { class: "unseen" }, `Step ${index + 1}, `), name,
          step.client_ref && el("span", { class: "unseen" }, ", client_ref "),
          step.client_ref && el("bdi", { class: "reference", title: `client_ref ${step.client_ref}` }, step.client_ref)),
        el("span", { class: "to" }, "to ", el("bdi", {}, step.to))),
      phase && el("span", { class: "phase" }, phase)),
    el("div", { class: "thread" },
      bubble(step),
      (message?.replies || []).map((reply) => el("div", { class: "bubble theirs" }, el("span", { class: "unseen" }, "Reply: "), el("p", { class: "words", dir: "auto" }, reply.text)))),
    message && message.history && el("ol", { class: "moments", "aria-label": "Statuses" },
      message.history.map((moment) => el("li", { data: { status: isFailure(moment.status) ? "failed" : moment.status } },
        el("span", { class: "what" }, SAID[moment.status] || moment.status,
          moment.code !== undefined && el("span", { class: "code" }, ` ${moment.code} ${codes[moment.code] || ""}`)),
        el("span", { class: "when" }, sinceText(moment.at_ms - message.sent_ms)))),
      step.expired && el("li", { data: { status: "expired" } }, el("span", { class: "what" }, `Not ${step.condition_status} in time`),
        el("span", { class: "when" }, spanText(step.expiry_time)))),
    step.condition_status && step.phase !== "passed" && el("p", { class: "condition" }, `until ${step.condition_status}, within ${spanText(step.expiry_time)}`),
    message && actions(flow, step, index, hands));
}

function actions(flow, step, index, hands) {
  const { message } = step;
  const can = message.can || [];
  const about = el("span", { class: "unseen" }, ` the ${channelName(step.channel)} message of workflow ${flow.number}`);
  const button = (key, label, click) => el("button", { type: "button", class: "quiet small", data: { key: `${index}-${key}`, action: key }, on: { click } }, label, about.cloneNode(true));
  return el("div", { class: "actions", role: "group", "aria-label": `${channelName(step.channel)} message` },
    ["delivered", "read"].filter((status) => can.includes(status)).map((status) => button(status, ACTIONS[status], () => hands.status(message, status))),
    can.includes("rejected") && button("rejected", ACTIONS.rejected, () => hands.fail(flow, step)),
    !isFailure(message.status) && button("reply", "Reply…", () => hands.reply(flow, step)));
}

function ending(flow) {
  const report = flow.report;
  const how = !report ? "not delivered yet"
    : report.failure ? `not delivered: ${report.failure}`
    : report.status < 300 ? `delivered, your receiver said ${report.status}` : `your receiver said ${report.status}`;
  return el("p", { class: "ending", data: { state: flow.outcome } },
    icon(flow.outcome === "completed" ? TICK : FAIL, { size: 16 }),
    el("span", {}, el("b", {}, `Final report: ${flow.outcome}`), ` · ${how}`));
}

// ---- a message

function bubble(step) {
  const { content, message } = step;
  const status = message?.status;
  return el("div", { class: "bubble ours", data: { kind: content.kind } },
    content.title && el("p", { class: "title", dir: "auto" }, content.title),
    content.template && el("p", { class: "template" }, "template ", el("bdi", {}, content.template.name), content.template.locale && ` · ${content.template.locale}`),
    (content.url || MEDIA[content.kind] && content.kind !== "location") && mediaCard(content),
    content.place && placeCard(content.place),
    content.text && el("p", { class: "words", dir: "auto" }, content.text),
    content.template && !content.text && el("dl", { class: "blanks" }, (content.template.parameters || []).map((value, at) => [el("dt", {}, `{{${at + 1}}}`), el("dd", { dir: "auto" }, value)])),
    content.footer && el("p", { class: "footer", dir: "auto" }, content.footer),
    content.raw && el("pre", { tabindex: 0, "aria-label": "Custom object" }, content.raw),
    (content.cards || []).map((card) => el("div", { class: "card" },
      card.title && el("b", { dir: "auto" }, card.title),
      card.text && el("span", { dir: "auto" }, card.text),
      card.url && el("code", {}, card.url),
      buttons(card.buttons))),
    el("p", { class: "meta" }, ticks(step, status)),
    buttons(content.buttons));
}

const buttons = (titles) => titles && titles.length > 0 && el("ul", { class: "buttons", "aria-label": "Buttons" }, titles.map((title) => el("li", { dir: "auto" }, title)));

function mediaCard(content) {
  const kind = MEDIA[content.kind] ? content.kind : "file";
  // Nothing is loaded from elsewhere: the picture stands for itself by its address.
  return el("figure", { class: "media", data: { kind } },
    icon(MEDIA[kind], { size: kind === "image" || kind === "video" ? 34 : 22, label: kind }),
    el("figcaption", {}, el("b", {}, content.file || kind), el("code", { title: content.url }, content.url || "")));
}

function placeCard(place) {
  return el("figure", { class: "media", data: { kind: "location" } },
    icon(MEDIA.location, { size: 34, label: "location" }),
    el("figcaption", {}, place.name && el("b", { dir: "auto" }, place.name), place.address && el("span", { dir: "auto" }, place.address),
      el("code", {}, `${place.latitude || "?"}, ${place.longitude || "?"}`)));
}

function ticks(step, status) {
  if (!step.message) return step.phase === "unused" ? "not sent" : "not sent yet";
  if (isFailure(status)) return [el("span", { class: "failed" }, `${status} ${step.message.code ?? ""} `), icon(FAIL, { size: 15, className: "bad", label: status })];
  if (!status) return icon(WAIT, { size: 14, label: "sent" });
  if (status === "submitted") return icon(TICK, { size: 16, label: "submitted" });
  return icon(TICKS, { size: 18, label: status, className: status === "read" ? "seen" : "" });
}
