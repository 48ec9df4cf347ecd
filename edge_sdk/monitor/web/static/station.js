// One station: the fused result over time, who contributed, health, events, models.
import { age, answer, chip, colour, count, get, h, nowMs, percent, setText, time } from "./dom.js";
import { backlogChart, labelChart, lanes, legend } from "./chart.js";

const RANGES = [["5 min", 300], ["1 h", 3600], ["6 h", 21600], ["24 h", 86400], ["7 d", 604800], ["30 d", 2592000]];

export function stationPage(page, fleet, site, station) {
  document.title = `${station} · Edge monitor`;
  const query = new URLSearchParams(location.search);
  let seconds = RANGES.some(([, value]) => value === +query.get("range")) ? +query.get("range") : 300;
  let stream = query.get("stream");
  let detail = null, open = true, busy = false, drawn = "";

  const state = chip("unknown", { id: "station-state" });
  const fused = h("output", { id: "fused-label" }, "–");
  const confidence = h("span", { id: "fused-confidence", class: "quiet" });
  const when = h("span", { id: "fused-time", class: "quiet" });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const streams = h("select", { id: "stream", "aria-label": "Stream", onchange: () => { stream = streams.value; note(); refresh(); } });
  const ranges = h("div", { class: "ranges", role: "group", "aria-label": "Time range" }, RANGES.map(([name, value]) =>
    h("button", { type: "button", data: { range: value }, "aria-pressed": String(value === seconds), onclick: () => { seconds = value; note(); refresh(); } }, name)));
  const chart = h("div", { id: "chart" }), parts = h("tbody", { id: "contributors-body" }), backlog = h("div", { id: "backlog" });
  const facts = h("dl", { class: "facts", id: "facts" }), models = h("tbody", {}), events = h("tbody", {});
  const noEvents = h("p", { class: "empty" }, "Nothing has been reported.");
  const download = h("a", { id: "download", class: "button", download: "" }, "Download results (JSON)");
  const card = (id, title, ...content) => h("section", { id, class: "card", "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, title), ...content);
  const table = (label, columns, body) => h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${label}: table` }, h("table", { "aria-label": label }, h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)))), body));

  page.append(
    h("p", { class: "crumbs" }, h("a", { href: "/", "data-link": "" }, "Fleet"), " / ", site),
    h("div", { class: "title" }, h("h1", {}, station), state),
    problem,
    h("section", { class: "card hero", "aria-label": "Fused result now" }, h("div", {}, h("div", { class: "quiet" }, "Fused result"), fused), h("div", { class: "hero-side" }, confidence, when)),
    card("over-time", "Fused result over time", h("div", { class: "tools" }, streams, ranges, download), chart),
    h("div", { class: "columns" },
      card("contributors", "Contributors now", table("Contributors now", ["Model", "State", "Label", "Confidence", "Weight", "Age"], parts)),
      card("backlog-card", "Backlog on the station", backlog)),
    h("div", { class: "columns" },
      card("models", "Models in use", table("Models in use", ["Model", "Runs on", "Variant", "Bundle"], models)),
      card("station-facts", "Station", facts)),
    card("events", "Events", table("Events", ["Severity", "When", "What", "Message"], events), noEvents),
  );

  function note() {
    const parts = new URLSearchParams();
    if (seconds !== 300) parts.set("range", seconds);
    if (stream) parts.set("stream", stream);
    history.replaceState({}, "", `${location.pathname}${parts.size ? `?${parts}` : ""}`);
    for (const button of ranges.children) button.setAttribute("aria-pressed", String(+button.dataset.range === seconds));
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
    fused.style.color = colour(last.label, labels());
    setText(confidence, last.confidence === null ? "" : `${percent(last.confidence)} confidence${last.degraded ? " · a sensor is missing" : ""}`);
    setText(when, `${time(last.t_ns)} · ${age(last.t_ns)}`);
  }

  const labels = () => [...new Set((detail?.birth?.models ?? []).flatMap((model) => model.labels))];

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
      events.closest(".scroll").hidden = !found.length;
      events.replaceChildren(...found.map((one) => h("tr", { data: { event: one.name } }, h("td", {}, chip(one.severity)), h("td", {}, time(one.t_ns)), h("td", {}, h("code", {}, one.name)), h("td", { class: "wide" }, one.message))));
      problem.hidden = true;
    } catch (error) { problem.hidden = false; setText(problem, error.message); }
    busy = false;
  }

  async function charts() {
    const last = detail.view.streams.find((one) => one.stream === stream)?.t_ns ?? nowMs() * 1e6;
    // A replayed or unsynchronised station lives in another time: then its newest result is "now".
    const end = Math.abs(nowMs() * 1e6 - last) < Math.max(3600e9, seconds * 1e9) ? Math.max(last, nowMs() * 1e6) : last;
    const end_ns = (Math.floor(end / 1e9) + 1) * 1e9, start_ns = Math.max(0, end_ns - seconds * 1e9);
    const [found, waiting] = await Promise.all([
      get("/api/chart", { site, station, stream, start_ns: BigInt(start_ns), end_ns: BigInt(end_ns), points: Math.min(300, seconds) }),
      get("/api/backlog", { site, station, start_ns: BigInt(start_ns), end_ns: BigInt(end_ns) }),
    ]);
    if (!open) return;
    download.href = `/api/results?${new URLSearchParams({ site, station, stream, since: BigInt(start_ns), limit: 10000 })}`;
    download.download = `${site}-${station}-${stream}.json`;
    const text = JSON.stringify([found, waiting]);
    if (text === drawn) return;
    drawn = text;
    const seen = [...new Set(found.buckets.map((one) => one.label).filter((label) => label !== null))];
    const known = [...labels().filter((label) => seen.includes(label)), ...seen.filter((label) => !labels().includes(label))];
    const order = labels().length ? labels() : seen;
    const table = h("details", {}, h("summary", {}, "The same as a table"), h("div", { class: "scroll short" }, h("table", { id: "chart-table" }, h("thead", {}, h("tr", {}, ["From", "Label or value", "Confidence", "Results"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, found.buckets.map((one) => h("tr", {}, h("td", {}, time(one.t_ns)), h("td", {}, one.label ?? one.value?.toFixed(3) ?? "no answer"), h("td", { class: "number" }, percent(one.confidence)), h("td", { class: "number" }, count(one.count))))))));
    table.open = chart.querySelector("details")?.open ?? false;
    if (found.buckets.length) chart.replaceChildren(labelChart(found, order), legend(known, order), h("h3", {}, "What each model said"), lanes(found, order), table);
    else chart.replaceChildren(h("p", { class: "empty" }, "No results in this range."));
    contributors(found.picks.at(-1)?.body);
    backlog.replaceChildren(waiting.length ? backlogChart(waiting, start_ns, end_ns) : h("p", { class: "empty" }, "No health message in this range."));
  }

  function contributors(result) {
    if (!result) return;
    parts.replaceChildren(...result.contributors.map((one) => h("tr", { data: { model: one.model } },
      h("th", { scope: "row" }, one.model), h("td", {}, chip(one.state), one.reason ? h("span", { class: "quiet" }, ` ${one.reason}`) : null),
      h("td", { data: { field: "label" } }, one.label ?? (one.value === undefined ? "–" : String(one.value))),
      h("td", {}, one.confidence === undefined ? "–" : [h("meter", { min: 0, max: 1, low: 0.5, value: one.confidence, "aria-hidden": "true" }), percent(one.confidence)]),
      h("td", { class: "number" }, one.weight.toFixed(2)), h("td", { class: "number" }, one.age_ms === undefined ? "–" : `${count(one.age_ms)} ms`))));
  }

  function body() {
    const birth = detail.birth, health = detail.health;
    models.replaceChildren(...(birth?.models ?? []).map((one) => h("tr", { data: { model: one.name } },
      h("th", { scope: "row" }, one.name),
      h("td", { data: { field: "backend" } }, [one.runtime, ...one.delegates].join(" + "), one.fallback ? [" ", chip("fallback", { title: `asked for: ${one.fallback}` })] : null),
      h("td", {}, one.variant), h("td", {}, h("code", { title: one.bundle }, one.bundle.replace("sha256:", "").slice(0, 12))))));
    const source = detail.sources.find((one) => one.epoch === detail.epoch);
    const sum = (name) => detail.sources.reduce((total, one) => total + one[name], 0);
    const rows = [
      ["Board", birth?.board || "–"], ["Software", birth?.version || "–"], ["Started", birth ? time(Date.parse(birth.started) * 1e6) : "–"],
      ["Last seen", age(detail.view.last_seen_ns)], ["Results stored", count(sum("stored"))], ["Given up by the station", count(sum("given_up"))], ["On their way", count(source?.missing ?? 0)],
      ["Waiting there", count(detail.view.backlog)], ["Temperature", detail.view.temperature_c === null ? "–" : `${detail.view.temperature_c.toFixed(1)} °C`],
      ["Sensors", health && Object.keys(health.sensors).length ? Object.entries(health.sensors).map(([name, value]) => `${name}: ${value}`).join(", ") : "–"],
      ["Flags", health?.flags.length ? health.flags.join(", ") : "–"], ["Outbox", detail.epoch || "–"],
    ];
    facts.replaceChildren(...rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  }

  const key = `${site}/${station}`;
  const listener = (changed) => { if (changed.includes(key)) head(fleet.stations.get(key)); };
  fleet.listeners.add(listener);
  const timer = setInterval(refresh, 2000);
  refresh();
  return () => { open = false; fleet.listeners.delete(listener); clearInterval(timer); };
}
