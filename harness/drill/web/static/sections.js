// The page's sections, each drawn from the view. What they do when pressed is given to them.
import { curves } from "./curves.js";
import { $, draw, duration, make, moment, when } from "./parts.js";

const STATES = {
  preparing: "Getting ready: nothing is broken yet.",
  running: "Running: the fault may come at any moment, or is there.",
  ending: "Ending: everything is being taken back.",
  over: "Over.",
};
const ENDS = {
  mitigated: "Mitigated.",
  "time limit": "The time is up.",
  "safety stop": "Stopped by the safety stop.",
  "run ended": "The run beneath the drill ended.",
};

const none = (text) => make("li", { class: "none" }, text);

export function endOf(view) {
  if (!view.end) return null;
  return typeof view.end === "string" ? { end: view.end, reason: "" } : view.end;
}

export function heading(view) {
  $("drill-id").textContent = `${view.drill_id} on ${view.target}`;
  $("state").textContent = STATES[view.state] || view.state;
  document.body.dataset.state = view.state;
  $("limit").textContent = view.limit_s ? `of ${duration(view.limit_s)}` : "";
}

export function ended(view, openDebrief) {
  const end = endOf(view);
  $("ended").hidden = !(view.state === "over" || end);
  if ($("ended").hidden) return;
  $("ended-title").textContent = `The drill is over. ${end ? ENDS[end.end] || end.end : ""}`;
  $("ended-reason").textContent = end?.reason || "";
  draw("debrief", view.debrief || "", () => [view.debrief ? openDebrief(view.debrief) : "The debrief is being written."]);
}

export function troubles(view) {
  $("troubles").hidden = !view.troubles?.length;
  draw("troubles", view.troubles, () => view.troubles.map((one) =>
    make("p", { class: "error" }, typeof one === "string" ? one : [one.message, one.remedy].filter(Boolean).join(" – "))));
}

export function marks(view) {
  const names = [...document.querySelectorAll("[data-mark]")].map((button) => button.dataset.mark);
  const next = names.find((name) => !view.marks[name]);
  for (const name of names) {
    const button = $(`mark-${name}`), made = view.marks[name], target = view.targets_s?.[name];
    button.disabled = view.state !== "running" || Boolean(made);
    button.classList.toggle("made", Boolean(made));
    button.classList.toggle("next", name === next && view.state === "running");
    const wanted = target === undefined ? "" : `wanted within ${duration(target)}`;
    button.querySelector(".when").textContent = made ? `${moment(made.at_unix_s, view.began_unix_s)} ${made.by}` : wanted;
  }
  const ok = view.steady?.ok, told = ok === true ? "holds" : ok === false ? "does not hold" : "cannot be told";
  $("steady").className = `steady ${ok === true ? "good" : ok === false ? "bad" : "unknown"}`;
  const why = ok === true ? "" : view.steady?.reason;
  $("steady").textContent = `The steady state ${told}${why && !why.endsWith(told) ? `: ${why}` : "."}`;
}

// One card for each alert: its state now, and since when it had which.
function byAlert(pages) {
  const found = new Map();
  for (const page of pages) {
    const key = JSON.stringify([page.source, page.alert, page.labels]);
    found.set(key, [...(found.get(key) || []), page]);
  }
  return [...found.values()].sort((one, other) => other.at(-1).at_unix_s - one.at(-1).at_unix_s);
}

export function pages(view) {
  draw("pages", [view.pages, view.began_unix_s], () => view.pages.length ? byAlert(view.pages).map((all) => {
    const page = all.at(-1), facts = [page.severity, page.source].filter(Boolean).join(" · ");
    const states = all.flatMap((one, index) => [index ? " → " : "", `${one.state} `, when(one.at_unix_s, view.began_unix_s)]);
    return make("li", { class: `page ${page.state}` },
      make("p", {}, make("span", { class: "badge" }, page.state), " ", make("b", {}, page.alert)),
      page.summary && page.summary !== page.alert ? make("p", {}, page.summary) : null,
      make("p", { class: "dim" }, ...states, ` · ${facts}`));
  }) : [none("Nobody was paged yet.")]);
}

export function actions(view) {
  draw("actions", [view.actions, view.began_unix_s], () => view.actions.length ? [...view.actions].reverse().map((action) =>
    make("li", {}, make("p", {}, make("b", {}, action.object), ` ${action.what}`),
      make("p", { class: "dim" }, when(action.at_unix_s, view.began_unix_s), ` · ${action.origin}, by ${action.manager}`)),
  ) : [none("Nobody changed anything yet.")]);
}

export function hints(view) {
  draw("hints", view.hints, () => view.hints.map((text) => make("li", {}, text)));
  $("hint").disabled = view.state !== "running" || !view.hints_left;
  $("hint").querySelector(".when").textContent = view.hints_left ? `${view.hints_left} left` : "none left";
}

export function notes(view) {
  draw("notes", [view.notes, view.began_unix_s], () => [...view.notes].reverse().map((note) =>
    make("li", {}, when(note.at_unix_s, view.began_unix_s), " ", make("b", {}, note.by), " ", make("span", { class: "text" }, note.text))));
}

export function drawCurves(view) {
  draw("curves", [view.curves, view.marks], () => curves(view));
}

export function runbook(view, act) {
  const { runbook, commands, state } = view;
  const title = runbook?.title || "Runbook";
  $("runbook-title").textContent = title.startsWith("Runbook") ? title : `Runbook: ${title}`;
  draw("steps", [runbook, commands, state, view.began_unix_s], () => runbook?.steps?.length
    ? runbook.steps.map((step, index) => stepOf(step, index, view, act))
    : [none("There is none.")]);
}

function stepOf(step, index, view, act) {
  const told = step.done === true ? "done" : step.done === false ? "skipped" : "open";
  const tell = (done, text) => make("button", {
    type: "button", id: `step-${index}-${text.toLowerCase()}`, "aria-pressed": String(step.done === done),
    "aria-label": `${text}: ${step.title}`, on: { click: () => act.step(step.step, done) },
  }, text);
  return make("li", { class: `step ${told}` },
    make("p", {}, make("b", {}, step.title), " ", make("span", { class: "badge" }, told)),
    step.html ? markup(step.html) : null,
    ...step.commands.map((command, at) => commandOf(step, command, `${index}-${at}`, at + 1, view, act)),
    make("div", { class: "row" }, tell(true, "Done"), tell(false, "Skip")));
}

// The one place where markup is taken: the server made it of Markdown, with raw HTML off.
function markup(html) {
  const holder = make("div", { class: "markdown" });
  holder.innerHTML = html;
  return holder;
}

function commandOf(step, command, name, number, view, act) {
  const last = view.commands.findLast((one) => one.step === step.step && one.command === command.command);
  return make("div", { class: "command" },
    make("pre", { id: `command-${name}`, tabindex: "0" }, command.command),
    make("div", { class: "row" },
      make("button", { type: "button", id: `run-${name}`, on: { click: () => act.run(step.step, number, command) } }, "Run"),
      make("button", { type: "button", id: `copy-${name}`, on: { click: () => act.copy(command.command, $(`command-${name}`)) } }, "Copy"),
      command.changes ? make("span", { class: "badge bad" }, "changes the cluster") : null),
    last ? outputOf(last, name, view, act) : null);
}

function outputOf(last, name, view, act) {
  const said = last.refused ? `refused: ${last.refused}` : `exit status ${last.exit_status ?? "unknown"}`;
  const output = make("pre", { class: "output", tabindex: "0" }, "…");
  const holder = make("details", { id: `output-${name}`, on: { toggle: () => holder.open && act.output(last.seq, output) } },
    make("summary", {}, when(last.at_unix_s, view.began_unix_s), ` ${last.by}: ${said}`), output);
  return holder;
}

export function secret(view) {
  if (!$("hidden") || !view.hidden) return;
  draw("hidden", view.hidden, () => Object.entries(view.hidden).flatMap(([name, value]) =>
    [make("dt", {}, name), make("dd", {}, String(value))]));
  draw("faults", view.faults, () => view.faults?.length
    ? view.faults.map((fault) => faultOf(fault, view.began_unix_s))
    : [none("Nothing yet.")]);
}

function faultOf({ at_unix_s: at, kind, subject, detail }, began) {
  return make("li", {}, at === undefined ? null : when(at, began), ` ${kind} ${subject} `, make("code", {}, JSON.stringify(detail ?? {})));
}
