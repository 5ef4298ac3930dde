// Calls of the simulator, and sentences for the reader: on the screen, and spoken.

import { $ } from "./dom.js";

let news = () => {}; // what to do with the clock and the workflow of an answer

/** Pass on what answers carry besides: `clock` and `workflow`. */
export function onNews(listener) {
  news = listener;
}

/** Change something; null when it was refused, which the reader is told. */
export async function post(path, body = {}, method = "POST") {
  let answer;
  try {
    answer = await fetch(path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  } catch {
    return toast("The simulator does not answer.");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) return toast(said.error || `The simulator answered ${answer.status}.`);
  news(said);
  return said;
}

export async function get(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

let toastTimer = 0;
export function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => ($("toast").hidden = true), 6000);
  return null;
}

/** Copy a text; where the browser refuses, show it selected. */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} was copied`);
    toast("Copied.");
  } catch {
    $("text-title").textContent = `Copy: ${what.toLowerCase()}`;
    $("text-area").value = text;
    $("text-dialog").showModal();
    $("text-area").select();
  }
}

// ---- speaking to a screen reader: a sentence at a time, never a flood

let sentences = [];
let speaking = 0;
export function say(sentence) {
  sentences.push(sentence);
  if (speaking) return;
  speaking = setTimeout(() => {
    speaking = 0;
    $("said").textContent = sentences.length > 4 ? `${sentences.length} changes, the last: ${sentences.at(-1)}` : sentences.join(". ");
    sentences = [];
  }, 700);
}
