// Updates the page from the server's events, and asks for confirmation before traffic is moved. All HTML comes from the
// templates of the server; the texts of the confirmation are set as text.
"use strict";

// The secret comes with the printed URL. The storage of the tab belongs to this origin, with its port: unlike a cookie, no
// other server of this machine receives it. It survives a reload, and the address does not keep it.
const TOKEN = "bluegreen-token";
const given = new URLSearchParams(location.search).get("token");
if (given !== null) {
  sessionStorage.setItem(TOKEN, given);
  history.replaceState(null, "", "/");
}
const token = sessionStorage.getItem(TOKEN) ?? "";
const PAUSE = 1000;
const element = (id) => document.getElementById(id);
const shown = new Map();
let actions = "";

// Replaces a part if it has changed. The focus stays on the same element if that still exists.
function place(id, html) {
  if (shown.get(id) === html) return;
  shown.set(id, html);
  const part = element(id);
  const key = part.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const scrolled = part.querySelector(".scroll")?.scrollLeft ?? 0;
  part.innerHTML = html;
  if (key) part.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
  if (scrolled) part.querySelector(".scroll")?.scrollTo({ left: scrolled });
}

// The buttons: requests to the run in progress are next to it, the others above.
function placeActions(list) {
  const json = JSON.stringify(list);
  if (json === actions) return;
  actions = json;
  placeButtons(element("steering"), list.filter((action) => action.run !== null));
  placeButtons(element("actions"), list.filter((action) => action.run === null));
}

function placeButtons(part, list) {
  const focused = part.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  part.replaceChildren();
  for (const action of list) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${action.label} …`;
    button.className = action.weight === "primary" ? action.to : action.weight;
    button.dataset.key = action.op;
    // Not "disabled": a screen reader must still find the button and the text next to it.
    button.setAttribute("aria-disabled", String(action.blocked !== null));
    const blocked = `${part.id}-blocked`;
    if (action.blocked !== null) button.setAttribute("aria-describedby", blocked);
    button.addEventListener("click", () => action.blocked === null && confirmAction(action));
    part.append(button);
    if (action.note !== null) part.append(paragraph(`${part.id}-note`, action.note));
    if (action.op === focused) button.focus({ preventScroll: true });
  }
  // The button is gone: move the focus to the result.
  if (focused && !list.some((action) => action.op === focused)) {
    element("run").querySelector("h2")?.focus({ preventScroll: true });
  }
  const blocked = list.find((action) => action.blocked !== null);
  if (blocked) part.append(paragraph(`${part.id}-blocked`, `Not now: ${blocked.blocked}.`));
}

function paragraph(id, text) {
  const part = document.createElement("p");
  part.id = id;
  part.textContent = text;
  return part;
}

function confirmAction(action) {
  const dialog = element("confirm");
  element("confirm-title").textContent = `${action.label}?`;
  element("confirm-text").textContent = action.consequence;
  element("confirm-problem").textContent = "";
  const yes = element("confirm-yes");
  yes.textContent = action.label;
  yes.className = action.weight === "danger" ? "danger" : "certain";
  element("confirm-no").textContent = action.otherwise;
  yes.disabled = false;
  yes.onclick = async () => {
    yes.disabled = true;
    const problem = await ask(action);
    if (problem === null) dialog.close();
    else {
      element("confirm-problem").textContent = problem;
      yes.disabled = false;
    }
  };
  dialog.showModal();
  element("confirm-no").focus();
}

// Starts a run, or sends a request to the run in progress. The request contains the state that the person saw: if it has
// changed, the request is refused.
async function ask({ op, to, expect, run }) {
  const [path, body] = run === null ? ["/runs", { op, to, expect }] : ["/told", { op, run }];
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-bluegreen-token": token },
      body: JSON.stringify(body),
    });
    if (answer.ok) return null;
    const text = await answer.text();
    try {
      const problem = JSON.parse(text);
      return [problem.message, ...problem.causes, ...problem.hints].join(". ");
    } catch {
      return text;
    }
  } catch {
    return "The dashboard does not respond. Check that bluegreen dashboard is running.";
  }
}

function connection(live) {
  const part = element("connection");
  const text = live ? "● live" : "○ disconnected: bluegreen dashboard has stopped or is busy";
  if (part.textContent !== text) part.textContent = text;
  part.classList.toggle("lost", !live);
}

function show(frame) {
  for (const [id, html] of frame.parts) place(id, html);
  placeActions(frame.actions);
  if (document.title !== frame.title) document.title = frame.title;
  const announcement = element("announcement");
  if (announcement.textContent !== frame.announcement) announcement.textContent = frame.announcement;
}

// Reads server-sent events until the server ends. EventSource cannot send a header.
async function read(reader) {
  const begin = "event: frame\ndata: ";
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (text + value).split("\n\n");
    text = events.pop();
    for (const event of events) if (event.startsWith(begin)) show(JSON.parse(event.slice(begin.length)));
  }
}

async function follow() {
  for (;;) {
    try {
      const answer = await fetch("/events", { headers: { "x-bluegreen-token": token }, cache: "no-store" });
      if (answer.status === 403) {
        element("connection").textContent = await answer.text();
        return;
      }
      if (answer.ok) {
        connection(true);
        await read(answer.body.pipeThrough(new TextDecoderStream()).getReader());
      }
    } catch {
      // The server does not answer: shown below.
    }
    connection(false);
    await new Promise((again) => setTimeout(again, PAUSE));
  }
}

element("confirm-no").addEventListener("click", () => element("confirm").close());
follow();
