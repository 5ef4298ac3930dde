// Nothing is replaced under a pressed button: its click would be lost.

let pressed = false;
let held = []; // changes of the page that wait for the release
const MOST_HELD = 100; // ten seconds of patches

/** Make a change of the page, at once or after the release. */
export function unlessPressed(change) {
  held.push(change);
  if (!pressed || held.length > MOST_HELD) makeHeldChanges();
}

function makeHeldChanges() {
  const changes = held;
  held = [];
  for (const change of changes) change();
}

function press() {
  pressed = true;
}

function release() {
  pressed = false;
  makeHeldChanges();
}

addEventListener("pointerdown", press, true);
addEventListener("keydown", ({ key }) => key === " " && press(), true);
// The click follows the release within the same task of the browser.
for (const type of ["pointerup", "pointercancel", "keyup"]) addEventListener(type, () => setTimeout(release), true);
// The release outside of the window may not be reported.
addEventListener("pointermove", ({ buttons }) => pressed && buttons === 0 && release(), true);
addEventListener("blur", release);
