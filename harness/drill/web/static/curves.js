// Small curves as SVG, all on the same time axis, with the marks as lines. No library, no inline style.
import { duration, make } from "./parts.js";

const WIDTH = 600, HEIGHT = 90, TOP = 8, BOTTOM = 6;
const SPAN_MIN_S = 60, SPAN_MAX_S = 900;

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function figure(value, unit) {
  if (value === null || value === undefined) return "no value";
  if (unit === "ratio") return `${(value * 100).toFixed(1)} %`;
  const digits = Math.abs(value) >= 100 || Number.isInteger(value) ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return `${value.toFixed(digits)}${unit ? ` ${unit}` : ""}`;
}

// The path of a curve; a value that is missing is a gap, never a line.
function path(points, x, y) {
  let text = "", pen = false;
  for (const [at, value] of points) {
    if (value === null) { pen = false; continue; }
    text += `${pen ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}${pen ? "" : "h0"}`;
    pen = true;
  }
  return text;
}

// The path of what is told when it changes: each value holds until the next one, the last one until now.
function steps(points, until, x, y) {
  let text = "", pen = false;
  for (const [at, value] of points) {
    if (pen) text += `H${x(at).toFixed(1)}`;
    if (value !== null) text += pen ? `V${y(value).toFixed(1)}` : `M${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = value !== null;
  }
  return pen ? `${text}H${x(until).toFixed(1)}` : text;
}

function bounds(values, unit) {
  let low = Math.min(...values), high = Math.max(...values);
  if (unit === "ratio" && low >= 0 && high <= 1) return [Math.min(low, 0.9), 1];
  if (low > 0 && low < high * 0.8) low = 0;
  if (high === low) { high += 1; low = low === 0 ? 0 : low - 1; }
  return [low, high];
}

function curve(name, { unit, held, points }, from, until, marks) {
  const values = points.map((point) => point[1]).filter((value) => value !== null);
  const last = points.length ? points[points.length - 1][1] : null;
  const caption = make("figcaption", {}, make("span", {}, name.replaceAll("_", " ")), make("b", {}, figure(last, unit)));
  if (!values.length) return make("figure", {}, caption, make("p", { class: "none" }, "No values yet."));
  const [low, high] = bounds(values, unit);
  const x = (at) => ((Math.max(at, from) - from) / (until - from)) * WIDTH;
  const y = (value) => TOP + (1 - (value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const label = `${name}: now ${figure(last, unit)}, from ${figure(Math.min(...values), unit)} to ${figure(Math.max(...values), unit)}`;
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label });
  drawing.append(svg("line", { class: "axis", x1: 0, x2: WIDTH, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM }));
  for (const at of marks) drawing.append(svg("line", { class: "mark", x1: x(at), x2: x(at), y1: 0, y2: HEIGHT }));
  drawing.append(svg("path", { class: "curve", d: held ? steps(points, until, x, y) : path(points, x, y) }));
  const scale = make("div", { class: "scale", "aria-hidden": "true" }, make("span", {}, figure(high, unit)), make("span", {}, figure(low, unit)));
  return make("figure", {}, caption, make("div", { class: "plot" }, drawing, scale));
}

export function curves(view) {
  const all = Object.entries(view.curves || {});
  const times = all.flatMap(([, one]) => one.points.map((point) => point[0]));
  if (!times.length) return [make("p", { class: "none" }, "No values yet.")];
  const until = Math.max(...times, view.end ? 0 : view.now_unix_s);
  const from = Math.max(Math.min(...times, until - SPAN_MIN_S), until - SPAN_MAX_S);
  const marks = Object.values(view.marks).map((mark) => mark.at_unix_s).filter((at) => at >= from && at <= until);
  const axis = make("p", { class: "axis" }, make("span", {}, `${duration(until - from)} ago`), make("span", {}, "now"));
  return [...all.map(([name, one]) => curve(name, one, from, until, marks)), axis];
}
