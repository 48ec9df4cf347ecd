// Charts as SVG: the fused label over time, values with their band, contributor lanes, the backlog.
import { between, colour, h, inWords, percent, s, time } from "./dom.js";

const LEFT = 46, RIGHT = 8, TOP = 8, BOTTOM = 22;

/** A chart that redraws when its width changes: draw(svg, width). */
function frame(id, label, height, draw) {
  const svg = s("svg", { id, role: "img", "aria-label": label, height, width: "100%" });
  const tip = h("div", { class: "tip", hidden: true });
  const box = h("div", { class: "chart" }, svg, tip);
  const observer = new ResizeObserver(() => { const width = box.clientWidth; if (width > 60) { svg.setAttribute("viewBox", `0 0 ${width} ${height}`); svg.replaceChildren(); draw(svg, width, height); } });
  observer.observe(box);
  box.tip = (event, text) => {
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    const at = event.clientX - box.getBoundingClientRect().left;
    tip.style.left = `${Math.min(Math.max(0, at + 12), box.clientWidth - tip.offsetWidth - 4)}px`;
  };
  svg.addEventListener("mouseleave", (event) => box.tip(event, ""));
  return box;
}

function axis(svg, width, height, start, end, marks) {
  const span = end - start;
  const steps = [1e9, 5e9, 15e9, 60e9, 300e9, 900e9, 3600e9, 3 * 3600e9, 6 * 3600e9, 86400e9, 7 * 86400e9];
  const step = steps.find((one) => span / one <= Math.max(2, width / 110)) ?? span;
  const zone = new Date(start / 1e6).getTimezoneOffset() * 60e9;
  for (let at = Math.ceil((start - zone) / step) * step + zone; at <= end; at += step) {
    const x = LEFT + ((at - start) / span) * (width - LEFT - RIGHT);
    const text = step >= 86400e9 ? new Date(at / 1e6).toLocaleDateString(undefined, { month: "short", day: "numeric" })
      : new Date(at / 1e6).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", ...(step < 60e9 ? { second: "2-digit" } : {}) });
    svg.append(s("line", { class: "grid", x1: x, x2: x, y1: TOP, y2: height - BOTTOM }), s("text", { class: "axis", x: Math.min(x, width - 2), y: height - 6, "text-anchor": x > width - 34 ? "end" : "middle" }, text));
  }
  for (const [y, text] of marks) svg.append(s("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }), s("text", { class: "axis", x: LEFT - 6, y: y + 4, "text-anchor": "end" }, text));
}

/** What the marks beside a chart are in: below the highest of them, or within the chart where it is long. */
const inUnit = (unit) => s("text", { class: "axis unit", y: TOP + 19, ...(unit.length < 7 ? { x: LEFT - 6, "text-anchor": "end" } : { x: LEFT + 6 }) }, unit);

/** The fused label over time: a bar per bucket, as high as its confidence; or the value, in the intervals that results gave or else in its spread. */
export function labelChart(chart, labels, unit = "") {
  const isValue = chart.buckets.some((one) => one.value !== null && one.label === null);
  const words = chart.buckets.length ? `${chart.buckets.length} stretches from ${time(chart.start_ns)} to ${time(chart.end_ns)}; last: ${chart.buckets.at(-1).label ?? chart.buckets.at(-1).value}` : "no results in this range";
  const box = frame("label-chart", `Fused result over time: ${words}`, 190, (svg, width, height) => {
    const inner = width - LEFT - RIGHT, room = height - TOP - BOTTOM, span = chart.end_ns - chart.start_ns;
    const x = (ns) => LEFT + ((ns - chart.start_ns) / span) * inner;
    if (isValue) {
      const at = (one) => x(one.t_ns + chart.width_ns / 2);
      const sure = chart.picks.filter((one) => one.body.interval).map((one) => ({ x: x(one.t_ns), low: one.body.interval[0], high: one.body.interval[1] }));
      const edges = sure.length > 1 ? sure : chart.buckets.map((one) => ({ x: at(one), low: one.low, high: one.high }));
      const low = Math.min(...[...edges, ...chart.buckets].map((one) => one.low)), high = Math.max(...[...edges, ...chart.buckets].map((one) => one.high));
      const y = (value) => TOP + room * (1 - (value - low) / (high - low || 1));
      axis(svg, width, height, chart.start_ns, chart.end_ns, [[y(low), low.toPrecision(3)], [y(high), high.toPrecision(3)]]);
      const band = [...edges.map((one) => `${one.x},${y(one.high)}`), ...edges.toReversed().map((one) => `${one.x},${y(one.low)}`)];
      svg.append(s("polygon", { class: "band", "data-band": sure.length > 1 ? "interval" : "spread", points: band.join(" ") }), s("polyline", { class: "line", points: chart.buckets.map((one) => `${at(one)},${y(one.value)}`).join(" ") }), inUnit(unit));
    } else {
      axis(svg, width, height, chart.start_ns, chart.end_ns, [0, 0.5, 1].map((value) => [TOP + room * (1 - value), percent(value)]));
      for (const one of chart.buckets) {
        const tall = Math.max(2, room * (one.confidence ?? 0.04));
        svg.append(s("rect", { x: x(one.t_ns), width: Math.max(1.2, (chart.width_ns / span) * inner + 0.4), y: TOP + room - tall, height: tall, fill: colour(one.label, labels), "data-label": one.label ?? "" }));
      }
    }
    svg.onmousemove = (event) => {
      const ns = chart.start_ns + ((event.clientX - svg.getBoundingClientRect().left - LEFT) / inner) * span;
      const one = chart.buckets.find((bucket) => ns >= bucket.t_ns && ns < bucket.t_ns + chart.width_ns);
      const near = one && chart.picks.findLast((pick) => pick.t_ns <= one.t_ns + chart.width_ns && pick.body.interval);
      box.tip(event, one ? `${time(one.t_ns)}\n${one.label ?? (one.value === null ? "no answer" : inWords(one.value, unit))} ${near ? `(${between(near.body)}) ` : ""}${one.confidence === null ? "" : percent(one.confidence)}\n${one.count} results${one.share < 1 ? `, ${percent(one.share)} of them` : ""}` : "");
    };
  });
  return box;
}

/** One strip of labels for each station, under one axis. */
export function strip(rows, labels) {
  const lane = 38, height = rows.length * lane + BOTTOM + 4;
  return frame("strip-chart", `Labels over time of ${rows.map((one) => one.name).join(", ")}`, height, (svg, width) => {
    const { start_ns: start, end_ns: end } = rows[0].chart, inner = width - LEFT - RIGHT;
    axis(svg, width, height, start, end, []);
    rows.forEach(({ name, chart }, at) => {
      svg.append(s("text", { class: "axis name", x: LEFT, y: at * lane + 13 }, name));
      for (const one of chart.buckets) {
        const low = Math.max(start, one.t_ns);
        svg.append(s("rect", { x: LEFT + ((low - start) / (end - start)) * inner, width: Math.max(1.2, (chart.width_ns / (end - start)) * inner + 0.4), y: at * lane + 18, height: lane - 22, fill: colour(one.label, labels), opacity: 0.35 + 0.65 * (one.confidence ?? 1), "data-label": one.label ?? "" }));
      }
    });
    svg.onmousemove = (event) => {
      const area = svg.getBoundingClientRect(), ns = start + ((event.clientX - area.left - LEFT) / inner) * (end - start);
      const row = rows[Math.floor((event.clientY - area.top) / lane)];
      const one = row?.chart.buckets.find((bucket) => ns >= bucket.t_ns && ns < bucket.t_ns + row.chart.width_ns);
      svg.parentElement.tip(event, one ? `${row.name}\n${time(one.t_ns)}\n${one.label ?? "no answer"} ${one.confidence === null ? "" : percent(one.confidence)}` : "");
    };
  });
}

/** One line of values for each station, over one axis. */
export function valueLines(rows, unit = "", tall = 320) {
  const all = rows.flatMap((one) => one.chart.buckets.filter((bucket) => bucket.value !== null));
  const low = Math.min(...all.map((one) => one.value)), high = Math.max(...all.map((one) => one.value));
  return frame("value-chart", `Values over time of ${rows.map((one) => one.name).join(", ")}: ${low.toPrecision(3)} to ${high.toPrecision(3)}`, tall, (svg, width, height) => {
    const { start_ns: start, end_ns: end } = rows[0].chart, inner = width - LEFT - RIGHT, room = height - TOP - BOTTOM;
    const x = (one, wide) => LEFT + ((one.t_ns + wide / 2 - start) / (end - start)) * inner, y = (value) => TOP + room * (1 - (value - low) / (high - low || 1));
    axis(svg, width, height, start, end, [low, (low + high) / 2, high].map((value) => [y(value), value.toPrecision(3)]));
    const names = rows.map((one) => one.name);
    for (const { name, chart } of rows) {
      const line = s("polyline", { class: "line", points: chart.buckets.filter((one) => one.value !== null).map((one) => `${x(one, chart.width_ns)},${y(one.value)}`).join(" ") });
      line.style.stroke = colour(name, names);
      svg.append(line);
    }
    svg.append(inUnit(unit));
    svg.onmousemove = (event) => {
      const ns = start + ((event.clientX - svg.getBoundingClientRect().left - LEFT) / inner) * (end - start);
      const said = rows.map(({ name, chart }) => [name, chart.buckets.find((bucket) => ns >= bucket.t_ns && ns < bucket.t_ns + chart.width_ns)]).filter(([, one]) => one?.value !== null && one);
      svg.parentElement.tip(event, said.length ? [time(ns), ...said.map(([name, one]) => `${name}: ${inWords(one.value, unit)}`)].join("\n") : "");
    };
  });
}

/** The labels that are shown, each in the colour that it has among all; and what else the drawing says. */
export function legend(shown, labels, words = "") {
  return h("ul", { class: "legend", "aria-label": "Labels" }, shown.map((label) => {
    const swatch = h("span", { class: "swatch" });
    swatch.style.background = colour(label, labels);
    return h("li", {}, swatch, label);
  }), words ? h("li", { class: "quiet" }, words) : null);
}

/** One lane per model: what each said alone, and when it did not count. */
export function lanes(chart, labels) {
  const results = chart.picks.map((one) => ({ t_ns: one.t_ns, ...one.body }));
  const models = [...new Set(results.flatMap((one) => one.contributors.map((part) => part.model)))];
  const names = [...models, "fused"], lane = 42, gutter = LEFT;
  const height = names.length * lane + 8;
  const box = frame("lane-chart", `What each model said over time: ${models.join(", ")}`, Math.max(height, 40), (svg, width) => {
    const inner = width - gutter - RIGHT, span = chart.end_ns - chart.start_ns;
    const wide = Math.max(2, inner / 60 + 0.4);
    names.forEach((name, at) => svg.append(s("text", { class: "axis name", x: gutter, y: at * lane + 14 }, name)));
    for (const one of results) {
      const x = gutter + ((one.t_ns - chart.start_ns) / span) * inner - wide;
      names.forEach((name, at) => {
        const part = name === "fused" ? { ...one, state: "fresh" } : one.contributors.find((item) => item.model === name) ?? { state: "absent" };
        const fresh = part.state === "fresh";
        svg.append(s("rect", { x: Math.max(gutter, x), width: wide, y: at * lane + 19, height: lane - 22, rx: 1, fill: fresh ? (part.label === undefined && part.value !== undefined ? "var(--line)" : colour(part.label, labels)) : "var(--none)", opacity: fresh ? 0.35 + 0.65 * (part.confidence ?? 1) : 1 }));
      });
    }
    svg.onmousemove = (event) => {
      const area = svg.getBoundingClientRect();
      const ns = chart.start_ns + ((event.clientX - area.left - gutter + wide / 2) / inner) * span;
      const one = results.reduce((best, item) => (!best || Math.abs(item.t_ns - ns) < Math.abs(best.t_ns - ns) ? item : best), null);
      if (!one || event.clientX - area.left < gutter) return box.tip(event, "");
      box.tip(event, [time(one.t_ns), ...one.contributors.map((part) => `${part.model}: ${part.state === "fresh" ? `${part.label ?? part.value} ${percent(part.confidence)}` : part.state}`), `fused: ${one.label ?? one.value} ${percent(one.confidence)}`].join("\n"));
    };
  });
  return box;
}

/** One number of a station's health over time; `say` puts it into words. */
export function healthChart(id, title, points, start, end, field, say, warm = false) {
  const found = points.filter((one) => one[field] !== null);
  const values = found.map((one) => one[field]);
  const low = Math.min(0, ...values), top = Math.max(warm ? 10 : 1, ...values);
  const box = frame(id, `${title} over time: highest ${say(Math.max(...values))}, now ${say(values.at(-1))}`, 110, (svg, width, height) => {
    const room = height - TOP - BOTTOM, inner = width - LEFT - RIGHT;
    const x = (ns) => LEFT + ((ns - start) / (end - start)) * inner, y = (value) => TOP + room * (1 - (value - low) / (top - low));
    axis(svg, width, height, start, end, [[y(low), say(low)], [y(top), say(top)]]);
    const line = found.map((one) => `${x(one.t_ns)},${y(one[field])}`);
    svg.append(s("polygon", { class: warm ? "band warm" : "band", points: `${x(found[0].t_ns)},${y(low)} ${line.join(" ")} ${x(found.at(-1).t_ns)},${y(low)}` }), s("polyline", { class: warm ? "line warm" : "line", points: line.join(" ") }));
    svg.onmousemove = (event) => {
      const ns = start + ((event.clientX - svg.getBoundingClientRect().left - LEFT) / inner) * (end - start);
      const one = found.reduce((best, item) => (Math.abs(item.t_ns - ns) < Math.abs(best.t_ns - ns) ? item : best));
      box.tip(event, `${time(one.t_ns)}\n${title}: ${say(one[field])}`);
    };
  });
  return box;
}
