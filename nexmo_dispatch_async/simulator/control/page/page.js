// The live page: listens to the simulator, and hands what it hears to the parts of the page.

import { onWorkflowOf, replaceCallbacks, showCallbacks } from "./callbacks.js";
import { setClock } from "./clock.js";
import { fetchAccount, knowApplications } from "./connect.js";
import { $ } from "./dom.js";
import { ask } from "./hands.js";
import "./keys.js";
import { unlessPressed } from "./press.js";
import { fetchSwitches, showFaults } from "./switches.js";
import { get, onNews, post, toast } from "./talk.js";
import { countAccepted, goTo, nameCodes, replaceFlows, show } from "./workflows.js";

onNews(({ clock, workflow }) => {
  if (clock) setClock(clock);
  if (workflow) show([workflow]);
});

onWorkflowOf(goTo);

// ---- totals

function showTotals(totals) {
  const many = (number) => number.toLocaleString("en");
  const share = totals.accepted ? `${Math.round((100 * totals.failed_over) / totals.accepted)} %` : "none";
  const shown = {
    accepted: many(totals.accepted), in_flight: many(totals.in_flight), completed: many(totals.completed), errors: many(totals.errors),
    failed_over: share, cost: `€ ${totals.cost}`,
  };
  for (const [name, text] of Object.entries(shown)) document.querySelector(`[data-total="${name}"]`).textContent = text;
  document.querySelector("[data-total=failed_over]").title = `${many(totals.failed_over)} of ${many(totals.accepted)} workflows`;
  $("clear").disabled = totals.accepted === 0 && !$("log").childElementCount;
  countAccepted(totals.accepted);
}

$("clear").addEventListener("click", async () => {
  if (await ask($("clear-dialog")) && await post("/control/clear")) toast("All workflows and callbacks were cleared.");
});

// ---- what stays in view below the bar has to know how high the bar is

const bar = document.querySelector(".bar");
new ResizeObserver(() => document.documentElement.style.setProperty("--bar", `${bar.offsetHeight}px`)).observe(bar);

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
    fetchAccount().catch(() => {}); // the switches say that the simulator does not answer
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
    knowApplications(news.workflows || []);
    unlessPressed(() => {
      showCallbacks(news.callbacks || []);
      if (news.faults) showFaults(news.faults);
      showTotals(news.totals);
    });
  });
}

listen();
Promise.all([get("/control/codes").then(nameCodes), fetchSwitches()]).catch(() => toast("The simulator does not answer."));
