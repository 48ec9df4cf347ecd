// Commands of one station: giving one, and what was sent, by whom, and what came of it.
import { chip, get, h, percent, post, s, setText, time } from "./dom.js";
import { table } from "./table.js";

const TITLES = { "ping": "Ping", "rebirth": "Rebirth", "snapshot": "Snapshot", "log-level": "Set log level", "pause": "Pause" };
const CHANNELS = 10; // as many as there are colours

/** A card's content: `elements`; `look(detail)` tells what the station said of itself, `stop()` ends it. */
export function commands(site, station) {
  const base = `/api/stations/${encodeURIComponent(site)}/${encodeURIComponent(station)}/commands`;
  const list = table({ id: "commands", label: "Commands", columns: ["When", "Command", "By", "State", "Answer"] });
  const none = h("p", { class: "empty" }, "Nothing was ever commanded.");
  const said = h("p", { class: "quiet", role: "status", id: "command-said" });
  const note = h("p", { class: "quiet", id: "command-note", hidden: true });
  const tools = h("div", { class: "tools give", hidden: true });
  const results = new Map(), opened = new Set();
  let mine = [], allowed = null, streams = [], last = "", stopped = false;

  const minutes = (id, label, min = 1) => h("input", { id, type: "number", min, max: 1440, value: 10, required: true, "aria-label": label });
  const level = h("select", { id: "log-level", "aria-label": "Level" }, ["debug", "info", "warning", "error"].map((one) => h("option", { value: one }, one)));
  const levelFor = minutes("log-level-for", "Minutes of this level");
  const stream = h("select", { id: "pause-stream", "aria-label": "Stream to pause" });
  const pauseFor = minutes("pause-for", "Minutes of the pause; 0 = go on at once", 0);
  const fields = {
    "log-level": [level, "for", levelFor, "min"],
    "pause": [stream, "for", pauseFor, "min"],
  };
  const given = {
    "log-level": () => ({ level: level.value, for_s: 60 * levelFor.valueAsNumber }),
    "pause": () => ({ stream: stream.value, for_s: 60 * pauseFor.valueAsNumber }),
  };

  function form() {
    tools.hidden = !mine.some((verb) => allowed?.includes(verb));
    tools.replaceChildren(...mine.map((verb) => {
      const button = h("button", { type: "submit", data: { verb } }, TITLES[verb] ?? verb);
      button.disabled = !allowed?.includes(verb);
      if (button.disabled) button.title = "The station's configuration does not allow it.";
      return h("form", { class: "order", onsubmit: (event) => { event.preventDefault(); give(verb, button); } }, fields[verb] ?? [], button);
    }));
  }

  async function give(verb, button) {
    button.disabled = true;
    try {
      await post(base, { verb, arguments: given[verb]?.() ?? {} });
      setText(said, `${TITLES[verb] ?? verb}: given.`);
      await draw();
    } catch (error) { setText(said, error.message); }
    button.disabled = false;
  }

  function row(one) {
    const words = one.arguments === null ? "" : Object.entries(one.arguments).map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
    const took = one.told_ns === null ? "" : ` after ${((one.told_ns - one.given_ns) / 1e9).toFixed(1)} s`;
    const show = one.has_result ? h("details", { class: "inline", ontoggle: (event) => { if (event.target.open) { opened.add(one.id); fill(one, event.target); } else opened.delete(one.id); } }, h("summary", {}, "What it gave")) : null;
    if (show && opened.has(one.id)) show.open = true;
    return h("tr", { data: { verb: one.verb, command: one.id } },
      h("td", { data: { value: one.given_ns } }, time(one.given_ns)), h("td", { class: "wide" }, h("code", {}, one.verb), words ? h("span", { class: "quiet" }, ` ${words.slice(0, 200)}`) : null),
      h("td", { data: { field: "who" } }, one.who ?? h("span", { class: "quiet", title: "By somebody at the broker, not by this monitor" }, "elsewhere")),
      h("td", { data: { field: "state" } }, chip(one.state, { title: one.reason || null }), h("span", { class: "quiet" }, took)),
      h("td", { class: "wide" }, one.message, show));
  }

  async function fill(one, box) {
    if (box.children.length > 1) return;
    try {
      if (!results.has(one.id)) results.set(one.id, (await get(`${base}/${one.id}`)).result);
      const found = results.get(one.id) ?? {};
      if (box.children.length === 1) box.append(one.verb === "snapshot" ? snapshot(one, found) : facts(found));
    } catch (error) { box.append(h("p", { class: "problem" }, error.message)); }
  }

  const facts = (found) => h("dl", { class: "facts" }, Object.entries(found).map(([name, value]) => h("div", {}, h("dt", {}, name.replaceAll("_", " ")), h("dd", {}, Array.isArray(value) ? value.join(", ") || "none" : String(value)))));

  function snapshot(one, found) {
    const windows = Object.entries(found);
    const link = h("a", { class: "button small", download: `${station}-snapshot.json`, href: `${base}/${one.id}` }, "JSON");
    return h("div", { class: "windows" }, windows.length ? windows.map(([name, window]) => h("figure", {}, h("figcaption", {}, h("strong", {}, name),
      h("span", { class: "quiet" }, ` ${window.shape[0]} samples of ${window.shape[1]} channels until ${time(Date.parse(window.end) * 1e6)}, ${percent(window.coverage)} measured`)), lines(name, window))) : h("p", { class: "empty" }, "No model has seen a window yet."), link);
  }

  /** One line for each channel, each over its own range. */
  function lines(name, { shape: [samples, channels], float32 }) {
    const bytes = Uint8Array.from(atob(float32), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer), value = (at, channel) => view.getFloat32(4 * (at * channels + channel), true);
    const svg = s("svg", { viewBox: "0 0 600 80", preserveAspectRatio: "none", role: "img", "aria-label": `Last window of ${name}` });
    for (let channel = 0; channel < Math.min(channels, CHANNELS); channel++) {
      const all = Array.from({ length: samples }, (_, at) => value(at, channel)), low = Math.min(...all), high = Math.max(...all);
      const points = all.map((one, at) => `${(600 * at) / Math.max(1, samples - 1)},${76 - (72 * (one - low)) / (high - low || 1)}`);
      const line = s("polyline", { class: "line", points: points.join(" "), "vector-effect": "non-scaling-stroke" });
      line.style.stroke = `var(--series-${channel})`;
      svg.append(line);
    }
    return svg;
  }

  async function draw() {
    const found = await get("/api/commands", { site, station, limit: 50 });
    const text = JSON.stringify(found);
    if (stopped || text === last) return;
    last = text;
    none.hidden = found.length > 0;
    list.put(found.map(row));
  }

  draw().catch(() => {});
  const timer = setInterval(() => draw().catch(() => {}), 1000); // who shows a broken connection is the page's head
  get("/api/commands/verbs").then((may) => { mine = may.verbs; form(); tell(); }).catch(() => {});

  function tell() {
    note.hidden = !mine.length || !allowed || mine.some((verb) => allowed.includes(verb));
    setText(note, "The station allows no commands from afar: remote: allow: in its configuration names them.");
  }

  return {
    elements: [tools, note, said, list.box, none],
    look(detail) {
      const now = detail.birth?.commands ?? [], names = detail.birth?.streams ?? [];
      if (now.join() !== allowed?.join()) { allowed = now; form(); tell(); }
      if (names.join() !== streams.join()) { streams = names; stream.replaceChildren(...names.map((name) => h("option", { value: name }, name))); }
    },
    stop() { stopped = true; clearInterval(timer); },
  };
}
