// Alerts, events and quarantine: tables that are read again every few seconds, filtered here.
import { age, chip, count, get, h, post, remove, time } from "./dom.js";
import { stationLink, table } from "./table.js";

function listPage(page, { id, title, about, columns, path, parameters, row, empty, choices = [], choice = () => "" }) {
  document.title = `${title} · Edge monitor`;
  const query = new URLSearchParams(location.search);
  const search = h("input", { id: `${id}-filter`, type: "search", placeholder: "filter …", "aria-label": `Filter ${title.toLowerCase()}`, value: query.get("q") ?? "", oninput: () => { note(); show(); } });
  const select = h("select", { id: `${id}-choice`, "aria-label": choices[0] ?? "", onchange: () => { note(); show(); } }, choices.map((name, at) => h("option", { value: at ? name : "" }, name)));
  select.value = query.get("is") ?? "";
  select.hidden = !choices.length;
  const total = h("span", { class: "quiet", role: "status", id: `${id}-total` });
  const nothing = h("p", { class: "empty", id: `${id}-empty`, hidden: true }, empty);
  const found = table({ id, label: title, columns });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  page.append(h("h1", {}, title), h("p", { class: "quiet" }, about), problem, h("div", { class: "tools" }, search, select, total), found.box, nothing);
  let rows = [], last = "";

  function note() {
    const parts = new URLSearchParams();
    if (search.value) parts.set("q", search.value);
    if (select.value) parts.set("is", select.value);
    history.replaceState({}, "", parts.size ? `${location.pathname}?${parts}` : location.pathname);
  }
  function show() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const kept = rows.filter((one) => (!select.value || choice(one) === select.value) && words.every((word) => JSON.stringify(one).toLowerCase().includes(word)));
    const text = JSON.stringify(kept);
    if (text !== last) found.put(kept.map(row));
    last = text;
    total.textContent = rows.length ? `${count(kept.length)} of ${count(rows.length)}` : "";
    nothing.hidden = rows.length > 0;
  }
  async function draw() {
    try {
      rows = await get(path, parameters);
      problem.hidden = true;
      show();
    } catch (error) { problem.hidden = false; problem.textContent = error.message; }
  }
  draw();
  const timer = setInterval(draw, 3000);
  return { stop: () => clearInterval(timer), draw: () => { last = ""; return draw(); } };
}

export const eventRow = (one) => h("tr", { data: { event: one.name } },
  h("td", {}, chip(one.severity)), h("td", { data: { value: one.t_ns }, title: age(one.t_ns) }, time(one.t_ns)), h("td", {}, stationLink(one.site, one.station)),
  h("td", {}, h("code", {}, one.name)), h("td", { class: "wide" }, one.message));

export const eventsPage = (page) => listPage(page, {
  id: "events", title: "Events", path: "/api/events", parameters: { limit: 1000 }, row: eventRow,
  about: "What stations said has happened, newest first.", empty: "No station has reported anything.",
  columns: ["Severity", "When", "Station", "What", "Message"], choices: ["all severities", "info", "warning", "error"], choice: (one) => one.severity,
}).stop;

export function alertsPage(page) {
  let mayAct = false;
  const silenced = table({ id: "silences", label: "Silences", columns: ["Rule", "Site", "Station", "Until", "By", ""] });
  const section = h("section", { class: "card", id: "silences", "aria-labelledby": "silences-title", hidden: true }, h("h2", { id: "silences-title" }, "Silenced: no notices are sent"), silenced.box);
  const list = listPage(page, {
    id: "alerts", title: "Alerts", path: "/api/alerts", parameters: {}, empty: "No alert. Rules are declared under alerts: in monitor.yaml.",
    about: "What fires now. Seen tells the others that you see to it; an hour's silence keeps notices from being sent.",
    columns: ["Severity", "Rule", "Station", "Why", "Since", "Seen by", ""], choices: ["all severities", "info", "warning", "error"], choice: (one) => one.severity,
    row: (one) => h("tr", { data: { rule: one.rule, station: one.station } },
      h("td", {}, chip(one.severity)), h("td", {}, one.rule), h("td", {}, stationLink(one.site, one.station)),
      h("td", { class: "wide" }, one.why), h("td", { data: { value: one.since_ns }, title: time(one.since_ns) }, age(one.since_ns)), h("td", { data: { field: "seen" } }, one.acknowledged ?? "–"),
      h("td", { class: "acts" }, mayAct ? [
        act("Seen", () => post("/api/alerts/acknowledge", { rule: one.rule, site: one.site, station: one.station })), " ",
        act("Silence 1 h", () => post("/api/alerts/silence", { rule: one.rule, site: one.site, station: one.station, minutes: 60 })),
      ] : null)),
  });
  page.append(section);

  function act(title, work) {
    const button = h("button", { type: "button", class: "small", onclick: async () => {
      button.disabled = true;
      try { await work(); button.textContent = `${title} ✓`; list.draw(); silences(); } catch (error) { button.textContent = error.message; }
    } }, title);
    return button;
  }
  async function silences() {
    const found = await get("/api/alerts/silences").catch(() => []);
    section.hidden = !found.length;
    silenced.put(found.map((one) => h("tr", { data: { silence: one.id } }, h("td", {}, one.rule), h("td", {}, one.site), h("td", {}, one.station), h("td", { data: { value: one.until_ns } }, time(one.until_ns)), h("td", {}, one.who || "somebody"),
      h("td", { class: "acts" }, mayAct ? act("End", () => remove(`/api/alerts/silences/${one.id}`)) : null))));
  }
  get("/api/me").then((me) => { mayAct = me.role !== "viewer"; silences(); list.draw(); }).catch(() => {});
  const timer = setInterval(silences, 5000);
  return () => { list.stop(); clearInterval(timer); };
}

export const quarantinePage = (page) => listPage(page, {
  id: "quarantine", title: "Quarantine", path: "/api/quarantine", parameters: {}, empty: "Everything that came could be read.",
  about: "Messages that could not be read, by reason and topic. Nothing of them is stored as a result.",
  columns: ["Reason", "Topic", { title: "Count", number: true }, "Last", "What was wrong", "First bytes of the last"],
  row: (one) => h("tr", { data: { reason: one.reason, topic: one.topic } },
    h("td", {}, chip(one.reason, { data: { state: "error" } })), h("td", {}, h("code", {}, one.topic)), h("td", {}, count(one.count)),
    h("td", { data: { value: one.last_ns }, title: time(one.last_ns) }, age(one.last_ns)), h("td", { class: "wide" }, one.message), h("td", {}, h("code", { class: "head" }, one.head))),
}).stop;
