// How to begin: credentials and settings to copy, a sample, and a customer who writes first.

import { $, el } from "./dom.js";
import { copy, get, post, say, toast } from "./talk.js";

let account = null;
let asking = null;

/** Ask for the account anew: applications come and go. */
export function fetchAccount() {
  asking ??= get("/control/account").then((fresh) => showAccount(fresh)).finally(() => (asking = null));
  return asking;
}

const met = new Set(); // applications of workflows; a deleted one is asked for once

/** Ask anew when a workflow belongs to an application that was not met before. */
export function knowApplications(flows) {
  const fresh = flows.map((flow) => flow.application).filter((id) => !met.has(id));
  for (const id of fresh) met.add(id);
  if (account && fresh.some((id) => !account.applications.some((known) => known.id === id))) fetchAccount().catch(() => {});
}

async function showAccount(fresh) {
  const before = $("application").value;
  account = fresh;
  $("application").replaceChildren(...account.applications.map(({ id, name }) => el("option", { value: id }, name)));
  $("application").value = account.applications.some(({ id }) => id === before) ? before : account.application || "";
  $("application-part").hidden = account.applications.length < 2;
  showSettings();
  $("sample-curl").textContent = account.application ? (await get("/control/sample")).curl : "";
  $("sample-curl-part").hidden = !account.application;
}

const application = () => account.applications.find(({ id }) => id === $("application").value);

/** The settings by name: what they are called, and the variable that a client reads. */
function settings() {
  return [
    ["Base URL", "NEXMO_DISPATCH_BASE_URL", account.base_url],
    ["Token URL", "NEXMO_DISPATCH_TOKEN_URL", account.token_url],
    ["Client id", "NEXMO_DISPATCH_CLIENT_ID", account.client_id],
    ["Client secret", "NEXMO_DISPATCH_CLIENT_SECRET", account.client_secret],
    ["Signature secrets", "NEXMO_DISPATCH_SIGNATURE_SECRETS", account.signature_secrets],
    ["Application id", "NEXMO_DISPATCH_APPLICATION_ID", application()?.id || ""],
  ].filter(([, , value]) => value);
}

function showSettings() {
  $("settings").replaceChildren(...settings().map(([name, , value]) => el("div", {},
    el("dt", {}, name), el("dd", {}, el("code", { title: value }, value)),
    el("button", { type: "button", class: "text", "aria-label": `Copy the ${name.toLowerCase()}`, on: { click: () => copy(value, name) } }, "Copy"))));
  const { status_url: status = "", inbound_url: inbound = "" } = application() || {};
  const urls = [...new Set([status, inbound].filter(Boolean))].join(" and ");
  $("callback-urls").textContent = !account.application ? "There is no application yet: a sample creates one."
    : urls ? `Callbacks go to ${urls}.` : "The application has no URLs: callbacks go nowhere.";
  $("inbound-note").textContent = inbound || !account.application ? "" : "The application has no inbound URL: the message will not be delivered.";
}
$("application").addEventListener("change", showSettings);

const quoted = (value) => (/^[\w:/.=@%+-]+$/.test(value) ? value : `'${value.replaceAll("'", "'\\''")}'`);
$("copy-settings").addEventListener("click", () => copy(settings().map(([, variable, value]) => `export ${variable}=${quoted(value)}\n`).join(""), "The environment"));
$("copy-sample").addEventListener("click", () => copy($("sample-curl").textContent, "The command"));

// ---- a sample, sent as any client sends it: a token, then the workflow

const LISTENER = "http://127.0.0.1:8702/webhooks"; // where `nexmo-dispatch listen` listens

async function call(url, { headers = {}, body }) {
  const answer = await fetch(url, { method: "POST", headers, body });
  const said = await answer.text();
  if (answer.ok) return JSON.parse(said);
  throw new Error(`The service answered ${answer.status}: ${said.slice(0, 300)}`);
}

async function sendSample() {
  await fetchAccount();
  const token = (await call(`${account.token_url}?grant_type=client_credentials`, {
    body: new URLSearchParams({ client_id: account.client_id, client_secret: account.client_secret }),
  })).access_token;
  const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
  if (!account.application) {
    const urls = { status_url: LISTENER, inbound_url: LISTENER };
    await call(`${account.base_url}/applications`, { headers, body: JSON.stringify({ name: "Sample", type: "messages", ...urls }) });
    await fetchAccount();
  }
  const sample = await get("/control/sample");
  await call(`${account.base_url}/dispatch`, { headers: { ...headers, ApplicationId: sample.application }, body: JSON.stringify(sample.body) });
  say("The sample was sent");
}

for (const button of document.querySelectorAll(".send-sample")) {
  button.addEventListener("click", () => {
    button.setAttribute("aria-busy", "true");
    sendSample().catch((error) => toast(error.message)).finally(() => button.removeAttribute("aria-busy"));
  });
}

// ---- a customer who writes first

$("inbound-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = Object.fromEntries(["channel", "from", "to", "text"].map((name) => [name, event.target.elements[name].value]));
  const said = await post("/control/inbound", { ...fields, ...(application() ? { application: application().id } : {}) });
  if (!said) return;
  toast(application()?.inbound_url ? "Sent to the inbound URL." : "Received; no application has an inbound URL.");
  event.target.elements.text.value = "";
});
