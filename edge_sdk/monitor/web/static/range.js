// The time range: the last five minutes to thirty days, or from one moment to another; kept in the address.
import { h, nowMs } from "./dom.js";

const PRESETS = [["5 min", 300], ["1 h", 3600], ["6 h", 21600], ["24 h", 86400], ["7 d", 604800], ["30 d", 2592000]];
const DEFAULT = 300;

const local = (ms) => new Date(ms - new Date(ms).getTimezoneOffset() * 60e3).toISOString().slice(0, 16);

/** A picker; `changed` is called when the reader chooses. */
export function rangePicker(changed) {
  const query = new URLSearchParams(location.search);
  let seconds = +query.get("range") > 0 ? Math.min(+query.get("range"), 366 * 86400) : DEFAULT;
  let from = Date.parse(query.get("from") ?? ""), to = Date.parse(query.get("to") ?? "");
  if (!(from < to)) from = to = NaN;

  const presets = h("div", { class: "ranges", role: "group", "aria-label": "Time range" }, PRESETS.map(([name, value]) =>
    h("button", { type: "button", data: { range: value }, onclick: () => { seconds = value; from = to = NaN; custom.open = false; mark(); changed(); } }, name)));
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const begin = h("input", { type: "datetime-local", id: "range-from", required: true }), end = h("input", { type: "datetime-local", id: "range-to", required: true });
  const form = h("form", { class: "between", onsubmit: (event) => {
    event.preventDefault();
    const a = new Date(begin.value).getTime(), b = new Date(end.value).getTime();
    problem.hidden = a < b;
    if (!(a < b)) { problem.textContent = "The end must lie after the beginning."; return; }
    [from, to] = [a, b];
    custom.open = false;
    mark();
    changed();
  } }, h("label", { for: "range-from" }, "From"), begin, h("label", { for: "range-to" }, "to"), end, h("button", { type: "submit" }, "Show"), problem);
  const summary = h("summary", { class: "button", onclick: () => {
    if (custom.open) return;
    const [low, high] = isFixed() ? [from, to] : [nowMs() - seconds * 1000, nowMs()];
    begin.value = local(low);
    end.value = local(high);
  } }, "From … to …");
  const custom = h("details", { class: "custom" }, summary, form);

  const isFixed = () => from < to;
  function mark() {
    for (const button of presets.children) button.setAttribute("aria-pressed", String(!isFixed() && +button.dataset.range === seconds));
    summary.dataset.on = String(isFixed());
    summary.textContent = isFixed() ? `${new Date(from).toLocaleString(undefined, { dateStyle: "short", timeStyle: "short" })} – ${new Date(to).toLocaleString(undefined, { dateStyle: "short", timeStyle: "short" })}` : "From … to …";
  }
  mark();

  return {
    element: h("div", { class: "picker" }, presets, custom),
    get isFixed() { return isFixed(); },
    get seconds() { return isFixed() ? (to - from) / 1000 : seconds; },
    /** [start_ns, end_ns]; `lastNs` is the newest moment that is known, in case clocks differ. */
    bounds(lastNs) {
      if (isFixed()) return [from * 1e6, to * 1e6];
      const now = nowMs() * 1e6;
      // A replayed or unsynchronised station lives in another time: then its newest result is "now".
      const near = !lastNs || Math.abs(now - lastNs) < Math.max(3600e9, seconds * 1e9);
      const end = (Math.floor((near ? Math.max(lastNs ?? 0, now) : lastNs) / 1e9) + 1) * 1e9;
      return [Math.max(0, end - seconds * 1e9), end];
    },
    /** Write the choice into an address. */
    note(parameters) {
      if (isFixed()) { parameters.set("from", new Date(from).toISOString()); parameters.set("to", new Date(to).toISOString()); }
      else if (seconds !== DEFAULT) parameters.set("range", seconds);
    },
  };
}

/** Links that take the results of a range away as files. */
export function downloads() {
  const links = Object.fromEntries([["csv", "CSV"], ["parquet", "Parquet"], ["jsonl", "JSON lines"]].map(([format, title]) =>
    [format, h("a", { class: "button small", id: `download-${format}`, download: "" }, title)]));
  return {
    element: h("div", { class: "downloads", role: "group", "aria-label": "Download these results" }, h("span", { class: "quiet" }, "Download"), Object.values(links)),
    point(parameters) {
      for (const [format, link] of Object.entries(links)) link.href = `/api/download?${new URLSearchParams({ format, ...parameters })}`;
    },
  };
}
