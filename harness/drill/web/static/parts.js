// Small parts of the page: elements, times, and sections that are drawn anew only where something changed.

export const $ = (id) => document.getElementById(id);

// Makes an element; text is always text, never markup.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

const drawn = new Map();

// Replaces a section's children where its data changed; whoever had the focus has it again.
export function draw(id, data, children) {
  const holder = $(id);
  if (!holder) return;
  const now = JSON.stringify(data);
  if (drawn.get(id) === now) return;
  drawn.set(id, now);
  const focused = document.activeElement?.id;
  const open = [...holder.querySelectorAll("details[open][id]")].map((one) => one.id);
  holder.replaceChildren(...children());
  for (const name of open) $(name)?.setAttribute("open", "");
  if (focused && document.activeElement?.id !== focused) $(focused)?.focus({ preventScroll: true });
}

export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

// A moment as people at a drill tell it: since it began; before that, by the clock.
export function moment(at, began) {
  if (began !== null && began !== undefined && at >= began) return `+${duration(at - began)}`;
  return new Date(at * 1000).toLocaleTimeString();
}

export function when(at, began) {
  return make("time", { datetime: new Date(at * 1000).toISOString(), title: new Date(at * 1000).toLocaleString() }, moment(at, began));
}
