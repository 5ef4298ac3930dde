// Switches and faults: what makes the service misbehave.

import { $, el } from "./dom.js";
import { get, post, toast } from "./talk.js";

// ---- switches

function showSwitches(settings) {
  for (const box of document.querySelectorAll("[data-switch]")) box.checked = String(settings[box.dataset.switch]) === box.dataset.on;
  for (const field of document.querySelectorAll("[data-number]")) field.value = settings[field.dataset.number];
}

export const fetchSwitches = () => get("/control/settings").then(showSwitches);

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

export function showFaults(faults) {
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
