// Streams: the same stream of several stations, one under the other, on one axis of time.
import { answer, count, get, h, inOrder, percent, setText, time } from "./dom.js";
import { legend, strip, valueLines } from "./chart.js";
import { downloads, rangePicker } from "./range.js";
import { stationLink, table } from "./table.js";

const AT_FIRST = 8, MOST = 24;

export function streamsPage(page, fleet) {
  document.title = "Streams · Edge monitor";
  const query = new URLSearchParams(location.search);
  let stream = query.get("stream");
  let chosen = (query.get("stations") ?? "").split(",").filter(Boolean).slice(0, MOST);
  let open = true, busy = false, drawn = "";
  const births = new Map();

  const names = h("select", { id: "stream", "aria-label": "Stream", onchange: () => { stream = names.value; chosen = []; note(); refresh(); } });
  const search = h("input", { id: "pick-filter", type: "search", placeholder: "find a station …", "aria-label": "Find a station", oninput: () => offer() });
  const offered = h("div", { class: "offered", id: "pick", role: "group", "aria-label": "Stations to compare" });
  const picker = rangePicker(() => { note(); refresh(); });
  const files = downloads();
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const chart = h("div", { id: "compare" });
  const now = table({ id: "now", label: "Newest results", columns: ["Station", "Result", { title: "Confidence", number: true }, "Event time", { title: "Results in range", number: true }] });
  page.append(h("h1", {}, "Streams"), h("p", { class: "quiet" }, "The same stream of several stations over the same time."), problem,
    h("section", { class: "card", "aria-label": "What is compared" }, h("div", { class: "tools" }, names, picker.element, files.element), h("div", { class: "tools find" }, search), offered),
    h("section", { class: "card", "aria-label": "Comparison" }, chart),
    h("section", { class: "card", "aria-labelledby": "now-title" }, h("h2", { id: "now-title" }, "Newest results"), now.box));

  const having = () => [...fleet.stations.entries()].filter(([, one]) => one.streams.some((part) => part.stream === stream)).map(([key]) => key).sort(new Intl.Collator("en", { numeric: true }).compare);

  function note() {
    const parts = new URLSearchParams();
    if (stream) parts.set("stream", stream);
    if (chosen.length) parts.set("stations", chosen.join(","));
    picker.note(parts);
    history.replaceState({}, "", parts.size ? `/streams?${parts}` : "/streams");
  }

  const selected = (all) => (chosen.length ? chosen.filter((key) => all.includes(key)) : all.slice(0, AT_FIRST));

  function offer() {
    const all = having(), words = search.value.toLowerCase().split(/\s+/).filter(Boolean), on = selected(all);
    const found = [...on, ...all.filter((key) => !on.includes(key) && words.every((word) => key.toLowerCase().includes(word)))].slice(0, on.length + 12);
    offered.replaceChildren(...found.map((key) => h("button", { type: "button", class: "small", "aria-pressed": String(on.includes(key)), data: { key }, onclick: () => {
      chosen = on.includes(key) ? on.filter((one) => one !== key) : [...on, key].slice(-MOST);
      note();
      refresh();
    } }, key)), h("span", { class: "quiet" }, `${count(on.length)} of ${count(all.length)} stations${all.length > found.length ? "; find others above" : ""}`));
  }

  async function refresh() {
    if (!open || busy) return;
    if (!fleet.stations.size) return chart.replaceChildren(h("p", { class: "empty", id: "streams-empty" }, "No station has been heard yet."));
    busy = true;
    try {
      const many = {};
      for (const one of fleet.stations.values()) for (const part of one.streams) many[part.stream] = (many[part.stream] ?? 0) + 1;
      const known = Object.keys(many).sort((left, right) => many[right] - many[left] || left.localeCompare(right));
      if (!known.includes(stream)) stream = known[0] ?? null;
      if ([...names.options].map((one) => one.value).join() !== known.join()) names.replaceChildren(...known.map((name) => h("option", { value: name }, name)));
      if (stream) names.value = stream;
      offer();
      const keys = stream ? selected(having()) : [];
      const latest = keys.map((key) => fleet.stations.get(key).streams.find((part) => part.stream === stream));
      const [since, until] = picker.bounds(Math.max(0, ...latest.map((one) => one.t_ns)) || undefined).map(BigInt);
      const charts = await Promise.all(keys.map(async (key) => {
        const [site, station] = key.split("/");
        if (!births.has(key)) births.set(key, (await get(`/api/stations/${encodeURIComponent(site)}/${encodeURIComponent(station)}`)).birth);
        return get("/api/chart", { site, station, stream, since, until, points: Math.min(240, Math.max(1, Math.floor(picker.seconds))), picks: 0 });
      }));
      if (!open) return;
      files.point({ stream: stream ?? "", since, until });
      problem.hidden = true;
      draw(keys, latest, charts);
    } catch (error) { problem.hidden = false; setText(problem, error.message); } finally { busy = false; }
  }

  function draw(keys, latest, charts) {
    const text = JSON.stringify([keys, latest, charts]);
    if (text === drawn) return;
    drawn = keys.length ? text : "";
    if (!keys.length) chart.replaceChildren(h("p", { class: "empty", id: "streams-empty" }, "No station is chosen."));
    else if (charts.some((one) => one.buckets.some((bucket) => bucket.label === null && bucket.value !== null))) {
      const unit = latest.find((one) => one.unit)?.unit ?? "";
      chart.replaceChildren(valueLines(charts.map((one, at) => ({ name: keys[at], chart: one })), unit), legend(keys, keys));
    } else {
      const seen = [...new Set(charts.flatMap((one) => one.buckets.map((bucket) => bucket.label)).filter((label) => label !== null))];
      const order = inOrder(keys.map((key) => births.get(key)), seen);
      chart.replaceChildren(strip(charts.map((one, at) => ({ name: keys[at], chart: one })), order), legend(order.filter((label) => seen.includes(label)), order, "the paler, the less sure"));
    }
    now.put(keys.map((key, at) => h("tr", { data: { key } }, h("th", { scope: "row" }, stationLink(...key.split("/"))),
      h("td", { data: { field: "label" } }, answer(latest[at])), h("td", {}, percent(latest[at].confidence)), h("td", {}, time(latest[at].t_ns)),
      h("td", {}, count(charts[at].buckets.reduce((sum, one) => sum + one.count, 0))))));
  }

  const listener = () => { if (!drawn) refresh(); };
  fleet.listeners.add(listener);
  const timer = setInterval(() => { if (!picker.isFixed) refresh(); }, 3000);
  refresh();
  return () => { open = false; fleet.listeners.delete(listener); clearInterval(timer); };
}
