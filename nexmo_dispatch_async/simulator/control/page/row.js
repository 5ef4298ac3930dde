// One workflow as a row of the list: what it is, how far it is, and what comes next.

import { clockText, el, icon } from "./dom.js";
import { codesOf, stateOf } from "./search.js";
import { CHANNELS, channelName, isFailure } from "./workflow.js";

/** Build the row of a workflow; `onPick` shows its card. */
export function workflowRow(flow, { onPick, names }) {
  const state = stateOf(flow);
  const step = flow.steps[flow.current];
  const reference = flow.steps.find(({ client_ref }) => client_ref)?.client_ref;
  const code = codesOf(flow).at(-1);
  return el("li", { class: "item", data: { uuid: flow.uuid, state } },
    el("button", { type: "button", class: "pick", data: { key: "pick" }, on: { click: () => onPick(flow.uuid) } },
      el("span", { class: "unseen" }, "Workflow "),
      el("span", { class: "number" }, `#${flow.number}`),
      el("span", { class: "whom" }, el("span", { class: "unseen" }, " to "), el("bdi", {}, step.to)),
      el("time", { class: "when" }, clockText(flow.accepted_ms)),
      el("span", { class: "path" }, flow.steps.map(leg)),
      el("span", { class: "gist" },
        reference && el("bdi", { class: "reference" }, reference),
        code !== undefined && el("span", { class: "code", title: names[code] || "" }, String(code)),
        el("bdi", { class: "words" }, gistOf(step.content))),
      el("span", { class: "state", data: { state } },
        flow.deadline_ms && flow.steps[flow.current + 1] ? el("b", { data: { deadline: flow.deadline_ms } })
          : { running: "running", completed: "completed", error: "error" }[state] || state)));
}

/** A step as a glyph in the colour of its channel; its form says what became of it. */
function leg(step) {
  const status = step.message?.status;
  const said = !step.message ? "not sent" : step.expired ? `${status || "sent"}, expired` : status || "sent";
  const mark = !step.message ? "unsent" : isFailure(status) ? "failed" : step.phase === "passed" ? "passed" : status || "sent";
  return el("span", { class: "leg", title: `${channelName(step.channel)}: ${said}`, data: { channel: step.channel, mark } },
    icon((CHANNELS[step.channel] || CHANNELS.sms).icon, { size: 15, label: `${channelName(step.channel)} ${said}` }));
}

const gistOf = (content) => content.text || content.title || content.place?.name || content.template?.name || content.file || content.kind;
