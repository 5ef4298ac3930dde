// The live page: listens to the simulator, and hands what it hears to the parts of the page.

import { callbackLine } from "./callbacks.js";
import { setClock } from "./clock.js";
import { $ } from "./dom.js";
import { unlessPressed } from "./press.js";
import { fetchSwitches, showFaults } from "./switches.js";
import { get, onNews, toast } from "./talk.js";
import { countAccepted, goTo, nameCodes, replaceFlows, show } from "./workflows.js";

const log = $("log");
const LOG_LINES = 100;

onNews(({ clock, workflow }) => {
  if (clock) setClock(clock);
  if (workflow) show([workflow]);
});

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

// ---- totals

function showTotals(totals) {
  $("totals").textContent = `${totals.in_flight.toLocaleString("en")} in flight of ${totals.accepted.toLocaleString("en")}`;
  countAccepted(totals.accepted);
}

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
    setClock(all.clock);
    unlessPressed(() => {
      replaceFlows(all.workflows, all.limit);
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

listen();
Promise.all([get("/control/codes").then(nameCodes), fetchSwitches()]).catch(() => toast("The simulator does not answer."));
