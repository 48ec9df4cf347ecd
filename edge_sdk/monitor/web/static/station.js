// One station: the fused result over time, who contributed, health, events, models, commands.
import { age, answer, between, chip, colour, count, get, h, inOrder, inWords, nowMs, percent, setText, time } from "./dom.js";
import { commands } from "./commands.js";
import { healthChart, labelChart, lanes, legend, valueLines } from "./chart.js";
import { downloads, rangePicker } from "./range.js";
import { table as dataTable } from "./table.js";

export function stationPage(page, fleet, site, station) {
  document.title = `${station} · Edge monitor`;
  const query = new URLSearchParams(location.search);
  let stream = query.get("stream");
  let detail = null, open = true, busy = false, asking = false, drawn = "";

  const state = chip("unknown", { id: "station-state" });
  const fused = h("output", { id: "fused-label" }, "–");
  const spread = h("span", { id: "fused-interval", class: "quiet", title: "The interval of the value, or the other labels that its conformal set holds" });
  const confidence = h("span", { id: "fused-confidence", class: "quiet" });
  const when = h("span", { id: "fused-time", class: "quiet" });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const streams = h("select", { id: "stream", "aria-label": "Stream", onchange: () => { stream = streams.value; note(); refresh(); } });
  const picker = rangePicker(() => { note(); refresh(); });
  const files = downloads();
  const chart = h("div", { id: "chart" }), health = h("div", { id: "health" });
  const parts = dataTable({ id: "contributors", label: "Contributors now", columns: ["Model", "State", "Says", "Confidence", { title: "Weight", number: true }, { title: "Age", number: true }] });
  const models = dataTable({ id: "models", label: "Models in use", columns: ["Model", "Runs on", "Variant", "Bundle"] });
  const events = dataTable({ id: "events", label: "Events", columns: ["Severity", "When", "What", "Message"] });
  const orders = commands(site, station);
  const facts = h("dl", { class: "facts", id: "facts" });
  const noEvents = h("p", { class: "empty" }, "Nothing has been reported.");
  const card = (id, title, ...content) => h("section", { id, class: "card", "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, title), ...content);

  page.append(
    h("p", { class: "crumbs" }, h("a", { href: "/", "data-link": "" }, "Fleet"), " / ", site),
    h("div", { class: "title" }, h("h1", {}, station), state),
    problem,
    h("section", { class: "card hero", "aria-label": "Fused result now" }, h("div", {}, h("div", { class: "quiet" }, "Fused result"), fused, spread), h("div", { class: "hero-side" }, confidence, when)),
    card("over-time", "Fused result over time", h("div", { class: "tools" }, streams, picker.element, files.element), chart),
    card("contributors", "Contributors now", parts.box),
    h("div", { class: "columns" }, card("health-card", "Health", health), card("station-facts", "Station", facts)),
    card("models", "Models in use", models.box),
    card("events", "Events", events.box, noEvents),
    card("commands", "Commands", ...orders.elements),
  );

  function note() {
    const parameters = new URLSearchParams();
    if (stream) parameters.set("stream", stream);
    picker.note(parameters);
    history.replaceState({}, "", `${location.pathname}${parameters.size ? `?${parameters}` : ""}`);
  }

  function head(view) {
    const silent = nowMs() * 1e6 - view.last_seen_ns > fleet.silentAfterNs && ["online", "unknown"].includes(view.state);
    const shown = silent ? "silent" : view.state;
    state.dataset.state = shown;
    setText(state, shown);
    const last = view.streams.find((one) => one.stream === stream) ?? view.streams[0];
    if (!last) return;
    setText(fused, answer(last));
    fused.dataset.label = last.label ?? "";
    fused.style.color = last.label === null ? "" : colour(last.label, inOrder([detail?.birth], [last.label]));
    setText(confidence, last.confidence === null ? "" : `${percent(last.confidence)} confidence${last.degraded ? " · a sensor is missing" : ""}`);
    setText(when, `${time(last.t_ns)} · ${age(last.t_ns)}`);
  }

  async function refresh() {
    if (!open || busy) return;
    busy = true;
    try {
      detail = await get(`/api/stations/${encodeURIComponent(site)}/${encodeURIComponent(station)}`);
      const names = [...new Set([...detail.view.streams.map((one) => one.stream), ...(detail.birth?.streams ?? [])])];
      if (!names.includes(stream)) stream = names[0] ?? null;
      if ([...streams.options].map((one) => one.value).join() !== names.join()) streams.replaceChildren(...names.map((name) => h("option", { value: name }, name)));
      if (stream) streams.value = stream;
      streams.hidden = names.length < 2;
      head(detail.view);
      body();
      if (stream) await charts();
      const found = await get("/api/events", { site, station, limit: 50 });
      noEvents.hidden = found.length > 0;
      events.put(found.map((one) => h("tr", { data: { event: one.name } }, h("td", {}, chip(one.severity)), h("td", { data: { value: one.t_ns } }, time(one.t_ns)), h("td", {}, h("code", {}, one.name)), h("td", { class: "wide" }, one.message))));
      orders.look(detail);
      problem.hidden = true;
    } catch (error) { problem.hidden = false; setText(problem, error.message); }
    busy = false;
  }

  async function charts() {
    const [start_ns, end_ns] = picker.bounds(detail.view.streams.find((one) => one.stream === stream)?.t_ns);
    const span = { since: BigInt(start_ns), until: BigInt(end_ns) };
    const [found, waiting] = await Promise.all([
      get("/api/chart", { site, station, stream, ...span, points: Math.min(300, Math.max(1, Math.floor(picker.seconds))) }),
      get("/api/backlog", { site, station, ...span }),
      newest(),
    ]);
    if (!open) return;
    files.point({ site, station, stream, ...span });
    const text = JSON.stringify([found, waiting]);
    if (text === drawn) return;
    drawn = text;
    const seen = [...new Set(found.buckets.map((one) => one.label).filter((label) => label !== null))];
    const order = inOrder([detail.birth], seen), known = order.filter((label) => seen.includes(label));
    const unit = detail.view.streams.find((one) => one.stream === stream)?.unit ?? "";
    const rows = dataTable({ id: "chart", label: "The chart as a table", columns: ["From", "Label or value", { title: "Confidence", number: true }, { title: "Results", number: true }], short: true });
    rows.put(found.buckets.map((one) => h("tr", {}, h("td", { data: { value: one.t_ns } }, time(one.t_ns)), h("td", {}, answer({ ...one, unit })), h("td", {}, percent(one.confidence)), h("td", {}, count(one.count)))));
    const table = h("details", {}, h("summary", {}, "The same as a table"), rows.box);
    table.open = chart.querySelector("details")?.open ?? false;
    if (found.buckets.length) chart.replaceChildren(labelChart(found, order, unit), legend(known, order, known.length ? "as high as its confidence" : ""), h("h3", {}, `What each model said${known.length ? ": the paler, the less sure; grey did not count" : ""}`), ...(known.length ? [lanes(found, order)] : eachValue(found, unit)), table);
    else chart.replaceChildren(h("p", { class: "empty" }, "No results in this range."));
    const numbers = [["backlog-chart", "Results that wait", "backlog", count, true], ["temperature-chart", "Temperature of the processor", "temperature_c", (value) => `${value.toFixed(0)} °C`, false], ["memory-chart", "Memory", "rss_bytes", (value) => `${(value / 1e6).toFixed(0)} MB`, false]];
    const drawnNumbers = numbers.filter(([, , field]) => waiting.some((one) => one[field] !== null))
      .flatMap(([id, title, field, say, warm]) => [h("h3", {}, title), healthChart(id, title, waiting, start_ns, end_ns, field, say, warm)]);
    health.replaceChildren(...(drawnNumbers.length ? drawnNumbers : [h("p", { class: "empty" }, "No health message in this range.")]));
  }

  /** Who contributed to the newest result, and how sure it is of itself: asked for whenever there is another. */
  async function newest() {
    if (asking || !stream) return;
    asking = true;
    try {
      const found = await get("/api/results", { site, station, stream, limit: 1 });
      if (open) contributors(found.at(-1)?.body);
    } catch (error) { problem.hidden = false; setText(problem, error.message); } finally { asking = false; }
  }

  /** What each model of a regression said: a line each. */
  function eachValue(found, unit) {
    const width_ns = (found.end_ns - found.start_ns) / 60;
    const names = [...new Set(found.picks.flatMap((one) => one.body.contributors.map((part) => part.model)))];
    const rows = names.map((name) => ({ name, chart: { start_ns: found.start_ns, end_ns: found.end_ns, width_ns, buckets: found.picks.map((one) => ({ t_ns: one.t_ns - width_ns / 2, value: one.body.contributors.find((part) => part.model === name)?.value ?? null })) } }));
    return rows.some((row) => row.chart.buckets.some((one) => one.value !== null)) ? [valueLines(rows, unit, 190), legend(names, names)] : [];
  }

  function contributors(result) {
    if (!result) return;
    setText(spread, between(result));
    parts.put(result.contributors.map((one) => h("tr", { data: { model: one.model } },
      h("th", { scope: "row" }, one.model), h("td", {}, chip(one.state), one.reason ? h("span", { class: "quiet" }, ` ${one.reason}`) : null),
      h("td", { data: { field: "label" } }, one.label ?? (one.value === undefined ? "–" : inWords(one.value, result.unit))),
      h("td", {}, one.confidence === undefined ? "–" : [h("meter", { min: 0, max: 1, low: 0.5, value: one.confidence, "aria-hidden": "true" }), percent(one.confidence)]),
      h("td", {}, one.weight.toFixed(2)), h("td", {}, one.age_ms === undefined ? "–" : `${count(one.age_ms)} ms`))));
  }

  function body() {
    const birth = detail.birth, said = detail.health;
    models.put((birth?.models ?? []).map((one) => h("tr", { data: { model: one.name } },
      h("th", { scope: "row" }, one.name),
      h("td", { data: { field: "backend" } }, [one.runtime, ...one.delegates].join(" + "), one.fallback ? [" ", chip("fallback", { title: `asked for: ${one.fallback}` })] : null),
      h("td", {}, one.variant), h("td", {}, h("code", { title: one.bundle }, one.bundle.replace("sha256:", "").slice(0, 12))))));
    const rows = [
      ["Board", birth?.board || "–"], ["Software", birth?.version || "–"], ["Started", birth ? time(Date.parse(birth.started) * 1e6) : "–"],
      ["Last seen", age(detail.view.last_seen_ns)], ["Results stored", count(detail.stored)], ["Given up by the station", count(detail.given_up)], ["On their way", count(detail.missing)],
      ["Waiting there", count(detail.view.backlog)], ["Temperature", detail.view.temperature_c === null ? "–" : `${detail.view.temperature_c.toFixed(1)} °C`],
      ["Sensors", said && Object.keys(said.sensors).length ? Object.entries(said.sensors).map(([name, value]) => `${name}: ${value}`).join(", ") : "–"],
      ["Flags", said?.flags.length ? said.flags.join(", ") : "–"], ["Outbox", detail.epoch || "–"],
    ];
    facts.replaceChildren(...rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  }

  const key = `${site}/${station}`;
  const listener = (changed) => { if (changed.includes(key)) { head(fleet.stations.get(key)); newest(); } };
  fleet.listeners.add(listener);
  const timer = setInterval(() => { if (!picker.isFixed || !drawn) refresh(); }, 2000);
  refresh();
  return () => { open = false; orders.stop(); fleet.listeners.delete(listener); clearInterval(timer); };
}
