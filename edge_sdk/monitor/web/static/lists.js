// Events and quarantine: plain tables, read again every few seconds.
import { age, chip, count, get, h, post, time } from "./dom.js";

function listPage(page, { id, title, about, columns, path, parameters, row, empty }) {
  document.title = `${title} · Edge monitor`;
  const body = h("tbody", {});
  const nothing = h("p", { class: "empty", id: `${id}-empty` }, empty);
  const table = h("table", { id: `${id}-table`, "aria-label": title }, h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)))), body);
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  page.append(h("h1", {}, title), h("p", { class: "quiet" }, about), problem, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title }, table), nothing);
  let last = "";
  async function draw() {
    try {
      const found = await get(path, parameters);
      problem.hidden = true;
      table.hidden = !found.length;
      nothing.hidden = !!found.length;
      const text = JSON.stringify(found);
      if (text !== last) body.replaceChildren(...found.map(row));
      last = text;
    } catch (error) { problem.hidden = false; problem.textContent = error.message; }
  }
  draw();
  const timer = setInterval(draw, 3000);
  return () => clearInterval(timer);
}

export const eventRow = (one) => h("tr", { data: { event: one.name } },
  h("td", {}, chip(one.severity)), h("td", { title: age(one.t_ns) }, time(one.t_ns)),
  h("td", {}, h("a", { href: `/station/${one.site}/${one.station}`, "data-link": "" }, one.station), h("span", { class: "quiet site" }, one.site)),
  h("td", {}, h("code", {}, one.name)), h("td", { class: "wide" }, one.message));

export const eventsPage = (page) => listPage(page, {
  id: "events", title: "Events", path: "/api/events", parameters: { limit: 300 }, row: eventRow,
  about: "What stations said has happened, newest first.", empty: "No station has reported anything.",
  columns: ["Severity", "When", "Station", "What", "Message"],
});

export const alertsPage = (page) => listPage(page, {
  id: "alerts", title: "Alerts", path: "/api/alerts", parameters: {}, empty: "No alert. Rules are declared under alerts: in monitor.yaml.",
  about: "What fires now. Seen tells the others that you see to it; an hour's silence keeps notices from being sent.",
  columns: ["Severity", "Rule", "Station", "Why", "Since", "Seen by", ""],
  row: (one) => h("tr", { data: { rule: one.rule, station: one.station } },
    h("td", {}, chip(one.severity)), h("td", {}, one.rule),
    h("td", {}, h("a", { href: `/station/${one.site}/${one.station}`, "data-link": "" }, one.station), h("span", { class: "quiet site" }, one.site)),
    h("td", { class: "wide" }, one.why), h("td", { title: time(one.since_ns) }, age(one.since_ns)), h("td", { data: { field: "seen" } }, one.acknowledged ?? "–"),
    h("td", {}, act("Seen", "/api/alerts/acknowledge", { rule: one.rule, site: one.site, station: one.station }), " ",
      act("Silence 1 h", "/api/alerts/silence", { rule: one.rule, site: one.site, station: one.station, minutes: 60 }))),
});

function act(title, path, body) {
  const button = h("button", { type: "button", class: "small", onclick: async () => {
    button.disabled = true;
    try { await post(path, body); button.textContent = `${title} ✓`; } catch (error) { button.textContent = error.message; }
  } }, title);
  return button;
}

export const quarantinePage = (page) => listPage(page, {
  id: "quarantine", title: "Quarantine", path: "/api/quarantine", parameters: {}, empty: "Everything that came could be read.",
  about: "Messages that could not be read, by reason and topic. Nothing of them is stored as a result.",
  columns: ["Reason", "Topic", "Count", "Last", "What was wrong", "First bytes of the last"],
  row: (one) => h("tr", { data: { reason: one.reason, topic: one.topic } },
    h("td", {}, chip(one.reason, { data: { state: "error" } })), h("td", {}, h("code", {}, one.topic)), h("td", { class: "number" }, count(one.count)),
    h("td", { title: time(one.last_ns) }, age(one.last_ns)), h("td", { class: "wide" }, one.message), h("td", {}, h("code", { class: "head" }, one.head))),
});
