// The fleet: one row per station, sortable and filterable, kept up to date in place.
import { age, answer, chip, count, get, h, nowMs, percent, setText } from "./dom.js";
import { stationMap } from "./map.js";

const CHUNK = 150; // rows drawn at once; more follow as the page is scrolled
const COLUMNS = [
  ["station", "Station", (one) => `${one.site}/${one.station}`],
  ["state", "State", (one) => one.shown],
  ["label", "Fused label", (one) => one.streams.map(answer).join(", ")],
  ["confidence", "Confidence", (one) => one.streams[0]?.confidence ?? -1],
  ["last_seen", "Last seen", (one) => one.last_seen_ns],
  ["backlog", "Backlog", (one) => one.backlog ?? -1],
  ["temperature", "Temp.", (one) => one.temperature_c ?? -300],
  ["backends", "Backends in use", (one) => one.backends],
  ["version", "Version", (one) => one.version],
];

export function fleetPage(page, fleet) {
  document.title = "Fleet · Edge monitor";
  const query = new URLSearchParams(location.search);
  let sort = query.get("sort") ?? "station";
  let down = query.get("down") === "1";
  let view = query.get("view") === "map" ? "map" : "table";
  let shown = CHUNK;
  const rows = new Map();

  const search = h("input", { id: "filter", type: "search", placeholder: "site, station, label, board …", "aria-label": "Filter stations", value: query.get("q") ?? "", oninput: () => { shown = CHUNK; note(); draw(); } });
  const states = h("select", { id: "filter-state", "aria-label": "Filter by state", onchange: () => { shown = CHUNK; note(); draw(); } },
    ["all states", "online", "silent", "stopping", "offline", "unknown"].map((name) => h("option", { value: name === "all states" ? "" : name }, name)));
  states.value = query.get("state") ?? "";
  const body = h("tbody", {});
  const heads = COLUMNS.map(([name, title]) =>
    h("th", { scope: "col", role: "columnheader", data: { field: name } }, h("button", { type: "button", onclick: () => { down = sort === name && !down; sort = name; note(); draw(); } }, title)));
  const table = h("table", { id: "fleet-table", class: "cards", role: "table", "aria-label": "Stations" }, h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)), body);
  body.setAttribute("role", "rowgroup");
  const cards = Object.fromEntries(["online", "silent", "offline", "backlog", "results", "duplicates", "given_up", "quarantined"].map((name) => [name, h("dd", { id: `count-${name}` }, "–")]));
  const titles = { online: "online", silent: "silent", offline: "offline", backlog: "waiting at stations", results: "results stored", duplicates: "duplicates refused", given_up: "given up", quarantined: "quarantined" };
  const summary = h("dl", { class: "summary", id: "summary" }, Object.entries(cards).map(([name, value]) => h("div", { data: { count: name } }, h("dt", {}, titles[name]), value)));
  const empty = h("p", { class: "empty", id: "fleet-empty" }, "No station has been heard yet. Start one: edge-sdk station run station.yaml");
  const total = h("span", { id: "fleet-total", class: "quiet", role: "status" });
  const more = h("div", { id: "fleet-more" });
  const map = stationMap((key) => page.dispatchEvent(new CustomEvent("open-station", { detail: key, bubbles: true })));
  const scroll = h("div", { class: "scroll" }, table);
  const views = h("div", { class: "ranges", role: "group", "aria-label": "View" }, ["table", "map"].map((name) => h("button", { type: "button", data: { view: name }, onclick: () => { view = name; note(); draw(); } }, name === "table" ? "Table" : "Map")));
  page.append(h("h1", {}, "Fleet"), summary, h("div", { class: "tools" }, search, states, views, total), scroll, map.element, empty, more);

  const watcher = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting) && shown < visible().length) { shown += CHUNK; draw(); }
  }, { rootMargin: "600px" });
  watcher.observe(more);

  function note() {
    const parts = new URLSearchParams();
    if (search.value) parts.set("q", search.value);
    if (states.value) parts.set("state", states.value);
    if (sort !== "station") parts.set("sort", sort);
    if (down) parts.set("down", "1");
    if (view === "map") parts.set("view", "map");
    history.replaceState({}, "", parts.size ? `/?${parts}` : "/");
  }

  function stateOf(one) {
    const silent = nowMs() * 1e6 - one.last_seen_ns > fleet.silentAfterNs;
    return silent && (one.state === "online" || one.state === "unknown") ? "silent" : one.state;
  }

  function visible() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = [];
    for (const [key, one] of fleet.stations) {
      one.shown = stateOf(one);
      if (states.value && one.shown !== states.value) continue;
      if (words.length) {
        const text = `${key} ${one.shown} ${one.streams.map(answer).join(" ")} ${one.board} ${one.backends} ${one.version}`.toLowerCase();
        if (!words.every((word) => text.includes(word))) continue;
      }
      found.push(key);
    }
    const value = COLUMNS.find(([name]) => name === sort)?.[2] ?? COLUMNS[0][2];
    const values = new Map(found.map((key) => [key, value(fleet.stations.get(key))]));
    const sign = down ? -1 : 1;
    const collator = new Intl.Collator("en", { numeric: true });
    return found.sort((left, right) => {
      const a = values.get(left), b = values.get(right);
      return sign * (typeof a === "number" ? a - b : collator.compare(a, b)) || collator.compare(left, right);
    });
  }

  function row(key) {
    const one = fleet.stations.get(key);
    let drawn = rows.get(key);
    if (!drawn) {
      const cell = (name, ...content) => h("td", { role: "cell", data: { field: name, title: COLUMNS.find(([field]) => field === name)[1] } }, ...content);
      const state = chip("unknown"), meter = h("meter", { min: 0, max: 1, low: 0.5, "aria-hidden": "true" }), number = h("span", {});
      const cells = {
        station: cell("station", h("a", { href: `/station/${encodeURIComponent(one.site)}/${encodeURIComponent(one.station)}`, "data-link": "" }, one.station), h("span", { class: "quiet site" }, one.site)),
        state: cell("state", state), label: cell("label"), confidence: cell("confidence", meter, number), last_seen: cell("last_seen"),
        backlog: cell("backlog"), temperature: cell("temperature"), backends: cell("backends"), version: cell("version"),
      };
      drawn = { element: h("tr", { role: "row", data: { site: one.site, station: one.station } }, Object.values(cells)), cells, state, meter, number, seen: null };
      rows.set(key, drawn);
    }
    fill(drawn, one);
    return drawn.element;
  }

  function fill(drawn, one) {
    one.shown = stateOf(one);
    if (drawn.state.dataset.state !== one.shown) { drawn.state.dataset.state = one.shown; setText(drawn.state, one.shown); }
    setText(drawn.cells.last_seen, age(one.last_seen_ns));
    if (drawn.seen === one) return;
    drawn.seen = one;
    const confidence = one.streams[0]?.confidence;
    setText(drawn.cells.label, one.streams.map(answer).join(", ") || "–");
    drawn.cells.label.classList.toggle("degraded", one.streams.some((stream) => stream.degraded));
    drawn.cells.label.title = one.streams.some((stream) => stream.degraded) ? "A sensor is missing" : "";
    drawn.meter.hidden = confidence === null || confidence === undefined;
    drawn.meter.value = confidence ?? 0;
    setText(drawn.number, percent(confidence));
    setText(drawn.cells.backlog, count(one.backlog));
    drawn.cells.backlog.classList.toggle("warn", one.backlog >= 100);
    setText(drawn.cells.temperature, one.temperature_c === null ? "–" : `${one.temperature_c.toFixed(0)} °C`);
    drawn.cells.temperature.classList.toggle("warn", one.temperature_c >= 75);
    setText(drawn.cells.backends, one.backends || "–");
    if (one.fallback) drawn.cells.backends.append(" ", h("span", { class: "chip", title: `asked for and not in use: ${one.fallback}`, data: { state: "fallback" } }, "fallback"));
    setText(drawn.cells.version, one.version || "–");
  }

  function draw() {
    const keys = visible();
    for (const button of views.children) button.setAttribute("aria-pressed", String(button.dataset.view === view));
    scroll.hidden = view === "map";
    map.element.hidden = view !== "map";
    if (view === "map") map.draw(keys.map((key) => fleet.stations.get(key)));
    const wanted = view === "map" ? [] : keys.slice(0, shown).map(row);
    const same = wanted.length === body.children.length && wanted.every((element, at) => body.children[at] === element);
    if (!same) body.replaceChildren(...wanted);
    table.setAttribute("aria-rowcount", keys.length + 1);
    heads.forEach((head) => head.dataset.field === sort ? head.setAttribute("aria-sort", down ? "descending" : "ascending") : head.removeAttribute("aria-sort"));
    setText(total, `${count(keys.length)} of ${count(fleet.stations.size)} stations`);
    empty.hidden = fleet.stations.size > 0;
    table.hidden = fleet.stations.size === 0;
    scroll.hidden ||= table.hidden;
    sum();
  }

  function sum() {
    const states = {};
    let backlog = 0;
    for (const one of fleet.stations.values()) { const name = stateOf(one); states[name] = (states[name] ?? 0) + 1; backlog += one.backlog ?? 0; }
    setText(cards.online, count(states.online ?? 0));
    setText(cards.silent, count(states.silent ?? 0));
    setText(cards.offline, count((states.offline ?? 0) + (states.stopping ?? 0)));
    setText(cards.backlog, count(backlog));
    for (const name of ["silent", "offline", "backlog"]) cards[name].parentElement.dataset.zero = cards[name].textContent === "0";
  }

  async function totals() {
    const counters = await get("/api/counters").catch(() => null);
    if (!counters) return;
    for (const name of ["results", "duplicates", "given_up", "quarantined"]) {
      setText(cards[name], count(counters[name]));
      cards[name].parentElement.dataset.zero = counters[name] === 0;
    }
  }

  let waiting = false;
  const listener = (changed) => {
    let fresh = false;
    for (const key of changed) {
      const drawn = rows.get(key);
      if (drawn) fill(drawn, fleet.stations.get(key));
      else fresh = true;
    }
    if (fresh && !waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; draw(); }); }
  };
  fleet.listeners.add(listener);
  const tick = setInterval(() => { for (const element of body.children) { const key = `${element.dataset.site}/${element.dataset.station}`; fill(rows.get(key), fleet.stations.get(key)); } sum(); }, 1000);
  const slow = setInterval(() => { totals(); if (view === "map" || sort !== "station" || states.value || search.value) draw(); }, 2000);
  draw();
  totals();
  return () => { fleet.listeners.delete(listener); clearInterval(tick); clearInterval(slow); watcher.disconnect(); };
}
