// Which workflows are looked for: words, fields such as `to:9995`, and the filters beside the field.

import { channelName } from "./workflow.js";

export const stateOf = (flow) => flow.outcome || "running";

/** The error codes of a workflow. */
export const codesOf = (flow) => flow.steps.flatMap((step) => (step.message?.history || []).map((moment) => moment.code)).filter((code) => code !== undefined);

const FIELDS = {
  to: (flow) => flow.steps.map((step) => step.to),
  from: (flow) => flow.steps.map((step) => step.from),
  channel: (flow) => flow.steps.flatMap((step) => [step.channel, channelName(step.channel)]),
  state: (flow) => [stateOf(flow)],
  error: (flow, names) => codesOf(flow).flatMap((code) => [String(code), names[code] || ""]),
  ref: (flow) => flow.steps.map((step) => step.client_ref).filter(Boolean),
  uuid: (flow) => [flow.uuid, ...flow.steps.map((step) => step.message?.uuid || "")],
  text: (flow) => flow.steps.flatMap(({ content, message }) => [content.text || "", content.template?.name || "", ...(message?.replies || []).map((reply) => reply.text)]),
  application: (flow) => [flow.application, flow.application_name],
};
// Words without a field are looked for where they are unlikely to be met by chance.
const ANYWHERE = ["to", "from", "error", "ref", "uuid", "text"];

/** Turn what was typed into conditions: `to:9995 "table is ready"`; a field alone asks whether there is one: `ref:`. */
export function conditionsOf(typed) {
  const found = [];
  for (const [, name = "", quoted, word = ""] of typed.toLowerCase().matchAll(/(?:([a-z]+):)?(?:"([^"]*)"?|(\S+))/g)) {
    const text = quoted ?? word;
    if (Object.hasOwn(FIELDS, name)) found.push({ fields: [name], text });
    else if (text.endsWith(":") && Object.hasOwn(FIELDS, text.slice(0, -1))) found.push({ fields: [text.slice(0, -1)], text: "" });
    else found.push({ fields: ANYWHERE, text: name ? `${name}:${text}` : text });
  }
  return found;
}

/** Return a function that tells whether a workflow is looked for. `names` has the names of the error codes. */
export function searched({ typed, state, channel, error }, names) {
  const conditions = conditionsOf(typed);
  const meets = (flow, { fields, text }) => (text.startsWith("#") && text === `#${flow.number}`)
    || fields.some((name) => FIELDS[name](flow, names).some((value) => value.toLowerCase().includes(text)));
  return (flow) => (state === "all" || state === stateOf(flow))
    && (!channel || flow.steps.some((step) => step.channel === channel))
    && (!error || (error === "any" ? codesOf(flow).length > 0 : codesOf(flow).includes(Number(error))))
    && conditions.every((condition) => meets(flow, condition));
}
