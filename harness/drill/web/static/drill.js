// The page of a drill: draws each view that comes, sends what is pressed or typed. Keeps no state of the drill's own.
import { $, duration, make } from "./parts.js";
import * as sections from "./sections.js";
import { follow, get, post } from "./talk.js";

const role = document.body.dataset.role;
const MARK_NAMES = [...document.querySelectorAll("[data-mark]")].map((button) => button.dataset.mark);
const DEBRIEF_EVERY_MS = 2000, DEBRIEF_TRIES = 150;

let view = null;
let clockOffset_s = 0;

function say(text) {
  $("said").textContent = text;
}

function complain(error) {
  $("error").querySelector("p").textContent = error.message;
  $("error").hidden = false;
}

async function send(path, body) {
  $("error").hidden = true;
  const by = $("by").value.trim();
  try {
    return await post(path, by ? { ...body, by } : body, role);
  } catch (error) {
    if (error.status === 401) location.reload();
    complain(error);
    return null;
  }
}

const act = {
  mark: (mark) => send("/api/mark", { mark }),
  hint: () => send("/api/hint", {}),
  step: (step, done) => send("/api/step", { step, done }),
  run: async (step, number, command) => {
    if (command.changes && !(await confirmed(command.command))) return;
    say(`Running ${command.command}`);
    const said = await send("/api/command", { step, number });
    if (said) say(said.refused ? `Refused: ${said.refused}` : `Exit status ${said.exit_status}`);
  },
  output: async (seq, holder) => {
    try {
      const entry = await get(`/api/command?seq=${seq}`, role);
      holder.textContent = entry.output || "(no output)";
    } catch (error) {
      holder.textContent = error.message;
    }
  },
  copy: async (text, holder) => {
    try {
      await navigator.clipboard.writeText(text);
      say("Copied");
    } catch {  // only allowed on a secure origin: select it for them
      if (holder) getSelection().selectAllChildren(holder);
      say("Selected: copy it yourself");
    }
  },
};

function confirmed(command) {
  const dialog = $("change-dialog");
  $("change-command").textContent = command;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

function askToStop() {
  const dialog = $("stop-dialog");
  if (dialog.open || view?.state === "over") return;
  $("stop-reason").value = "";  // here, not when it closes: that is told late, and would empty what is typed the next time
  dialog.returnValue = "no";
  dialog.showModal();
}

async function stopAnswered() {
  const reason = $("stop-reason").value.trim();
  if ($("stop-dialog").returnValue === "yes" && (await send("/api/stop", reason ? { reason } : {}))) say("The safety stop is pulled");
}

async function noteTyped(event) {
  event.preventDefault();
  const text = $("note").value.trim();
  if (text && (await send("/api/note", { text }))) $("note").value = "";
}

function openDebrief() {
  return make("a", { href: `/debrief?as=${role}`, class: "button primary" }, "Open the debrief");
}

// What a screen reader is told: what is new, in few words.
function news(before, now) {
  if (!before) return "";
  const told = [];
  for (const name of MARK_NAMES) if (now.marks[name] && !before.marks[name]) told.push(`${name}, by ${now.marks[name].by}`);
  for (const page of now.pages.slice(before.pages.length)) told.push(`Page ${page.state}: ${page.alert}`);
  for (const hint of now.hints.slice(before.hints.length)) told.push(`Hint: ${hint}`);
  if (now.state !== before.state) told.push(`The drill is ${now.state}`);
  return told.join(". ");
}

function show(now) {
  clockOffset_s = now.now_unix_s - Date.now() / 1000;
  const told = news(view, now);
  view = now;
  sections.heading(now);
  sections.ended(now, openDebrief);
  sections.troubles(now);
  sections.marks(now);
  sections.pages(now);
  sections.actions(now);
  sections.hints(now);
  sections.notes(now);
  sections.drawCurves(now);
  sections.runbook(now, act);
  sections.secret(now);
  $("stop").disabled = now.state === "over";
  if (told) say(told);
  tick();
  document.body.dataset.ready = "true";
}

function tick() {
  if (!view) return;
  const began = view.began_unix_s, end = sections.endOf(view);
  const until = end?.at_unix_s ?? Date.now() / 1000 + clockOffset_s;
  const used_s = began === null || began === undefined ? null : Math.max(0, until - began);
  if (view.state === "over" && end?.at_unix_s === undefined) return;  // the clock stays as it was
  $("clock").textContent = used_s === null ? "–:––" : duration(used_s);
  $("progress").value = used_s === null || !view.limit_s ? 0 : Math.min(1, used_s / view.limit_s);
  document.title = `${$("clock").textContent} ${view.state} – drill`;
}

function link(state) {
  $("link").hidden = state === "live";
  $("link").textContent = state === "out" ? "You are signed out: open the link that the drill printed." : "Lost the drill's server; trying again …";
  if (view?.state === "over") $("link").hidden = true;
}

// The debrief is written after the end: wait for it, a while.
async function waitForDebrief() {
  for (let tries = 0; tries < DEBRIEF_TRIES && !view?.debrief; tries++) {
    await new Promise((resolve) => setTimeout(resolve, DEBRIEF_EVERY_MS));
    try {
      show(await get("/api/view", role));
    } catch {
      $("debrief").textContent = "The drill's server has ended: the debrief is in the drill's folder.";
      return;
    }
  }
}

function typing(target) {
  return target.isContentEditable || target.matches("textarea, select, input:not([type=checkbox])");
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (document.querySelector("dialog[open]")) return;
  if (typing(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (!$("keys").checked) return;
  const mark = MARK_NAMES[Number(event.key) - 1];
  const wanted = mark ? () => act.mark(mark) : { h: act.hint, n: () => $("note").focus(), s: askToStop }[event.key];
  if (!wanted) return;
  event.preventDefault();
  wanted();
}

function remember(id, read, write) {
  try {
    const known = localStorage.getItem(`gameday-${id}`);
    if (known !== null) write(known);
  } catch { return; }  // storage is off: nothing is remembered
  $(id).addEventListener("change", () => localStorage.setItem(`gameday-${id}`, read()));
}

function wire() {
  if (location.hash) history.replaceState(null, "", location.pathname);  // a token is not for the history
  for (const name of MARK_NAMES) $(`mark-${name}`).addEventListener("click", () => act.mark(name));
  $("hint").addEventListener("click", act.hint);
  $("stop").addEventListener("click", askToStop);
  $("stop-dialog").addEventListener("close", stopAnswered);
  $("note-form").addEventListener("submit", noteTyped);
  $("note").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) noteTyped(event);
  });
  $("error").querySelector("button").addEventListener("click", () => { $("error").hidden = true; });
  $("copy-link")?.addEventListener("click", (event) => act.copy(new URL(event.target.dataset.link, location.origin).href, null));
  document.addEventListener("keydown", pressed);
  remember("by", () => $("by").value.trim(), (known) => { $("by").value = known; });
  remember("keys", () => String($("keys").checked), (known) => { $("keys").checked = known === "true"; });
  setInterval(tick, 1000);
  follow(role, { view: show, link, over: waitForDebrief });
}

wire();
