// What the buttons of a workflow do: statuses and replies as its recipient, and the command that sends it again.

import { showCallbacksOf } from "./callbacks.js";
import { $ } from "./dom.js";
import { copy, post, toast } from "./talk.js";
import { channelName } from "./workflow.js";

const unanswered = new Map(); // how the question of a dialog ends that is open, or has just been closed

/** Open a dialog and wait until it was answered; null when it was cancelled. */
export function ask(dialog) {
  unanswered.get(dialog)?.(); // it was closed, and the browser has not told of it yet
  dialog.returnValue = "";
  return new Promise((resolve) => {
    const answer = () => {
      dialog.removeEventListener("close", closed);
      unanswered.delete(dialog);
      resolve(dialog.returnValue || null);
    };
    const closed = () => { if (!dialog.open) answer(); }; // else it tells of an earlier closing
    unanswered.set(dialog, answer);
    dialog.addEventListener("close", closed);
    dialog.showModal();
  });
}

export const hands = {
  status: (message, status, code) => post(`/control/messages/${encodeURIComponent(message.uuid)}/status`, code === undefined ? { status } : { status, code }),
  reply: askReply,
  fail: askFailure,
  curl: copyCurl,
  callbacks: showCallbacksOf,
};

async function askReply(flow, step) {
  $("reply-note").textContent = `${channelName(step.channel)}, from ${step.to}.`
    + (flow.inbound ? "" : " This application has no inbound URL: the reply will not be delivered.");
  $("reply-text").value = "";
  if (await ask($("reply-dialog"))) await post(`/control/messages/${encodeURIComponent(step.message.uuid)}/reply`, { text: $("reply-text").value });
}

async function askFailure(flow, step) {
  $("fail-note").textContent = `The ${channelName(step.channel)} message to ${step.to}.`;
  setFailure("rejected");
  if (await ask($("fail-dialog"))) await hands.status(step.message, $("fail-status").value, $("fail-code").valueAsNumber);
}

function setFailure(status) {
  $("fail-status").value = status;
  $("fail-code").value = $("codes").value = status === "rejected" ? "1300" : "1260";
}
$("fail-status").addEventListener("change", () => setFailure($("fail-status").value));
$("codes").addEventListener("change", () => ($("fail-code").value = $("codes").value));

async function copyCurl(flow) {
  let text;
  try {
    const answer = await fetch(`/control/workflows/${encodeURIComponent(flow.uuid)}/curl`);
    if (!answer.ok) throw new Error(String(answer.status));
    text = await answer.text();
  } catch {
    return toast("This workflow is no longer in memory.");
  }
  return copy(text, "The command");
}
