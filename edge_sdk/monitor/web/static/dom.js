// Elements, numbers and times: what every page is made of.

/** An element: h("td", {class: "x", data: {field: "label"}}, child, …). Text is always text, never markup. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "data") Object.assign(element.dataset, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** The same in SVG. */
export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.flat());
  return element;
}

/** Set text only where it differs, so that screen readers and selections are left in peace. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let offsetMs = 0; // the monitor's clock minus ours
export const setServerTime = (ns) => { offsetMs = ns / 1e6 - Date.now(); };
export const nowMs = () => Date.now() + offsetMs;

export function age(ns) {
  const seconds = Math.max(0, (nowMs() - ns / 1e6) / 1000);
  if (seconds < 2) return "now";
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} d ago`;
}

export const percent = (value) => (value === null || value === undefined ? "–" : `${(100 * value).toFixed(0)} %`);
export const count = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en"));
export const time = (ns) => new Date(ns / 1e6).toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" });
export const inWords = (value, unit) => `${+value.toFixed(3)} ${unit ?? ""}`.trim();
export const answer = (one) => one.label ?? (one.value === null || one.value === undefined ? "no answer" : inWords(one.value, one.unit));

/** How sure a result is of itself: its interval, or the other labels that its conformal set holds. */
export function between(body) {
  if (body.interval) return `${body.interval.map((one) => +one.toFixed(3)).join(" to ")} ${body.unit ?? ""}`.trim();
  const others = (body.set ?? []).filter((label) => label !== body.label);
  return others.length ? `or ${others.join(", ")}` : "";
}

export async function get(path, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined));
  const response = await fetch(`${path}?${query}`, { headers: { accept: "application/json" } });
  if (response.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  if (!response.ok) throw new Error((await response.json().catch(() => ({}))).detail ?? `${path}: ${response.status}`);
  return response.json();
}

export async function post(path, body) {
  const response = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  if (!response.ok) throw new Error((await response.json().catch(() => ({}))).detail ?? `${path}: ${response.status}`);
}

export async function remove(path) {
  const response = await fetch(path, { method: "DELETE" });
  if (!response.ok) throw new Error((await response.json().catch(() => ({}))).detail ?? `${path}: ${response.status}`);
}

/** A chip that says a state in words and colour. */
export const chip = (state, attributes = {}) => h("span", { class: "chip", ...attributes, data: { state, ...(attributes.data ?? {}) } }, state);

/** The labels in the order of the bundles in use, then those that only results have: one label, one colour on every page. */
export function inOrder(births, seen) {
  const known = births.flatMap((birth) => (birth?.models ?? []).flatMap((model) => model.labels));
  return [...new Set([...known, ...seen.toSorted()])];
}

/** A steady colour for a label: its place among the labels known, else its name's hash. */
export function colour(label, labels = []) {
  if (label === null || label === undefined) return "var(--none)";
  let at = labels.indexOf(label);
  if (at < 0) at = [...label].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) >>> 0, 7);
  return `var(--series-${at % 10})`;
}
