// Where the stations are: a map without tiles, drawn from the places that they gave.
import { h, s } from "./dom.js";

const HEIGHT = 520, EDGE = 46, NAMED = 60;
const COLOURS = { online: "var(--good)", silent: "var(--warn)", stopping: "var(--warn)", offline: "var(--bad)", unknown: "var(--quiet)" };
const RANKS = ["online", "unknown", "stopping", "silent", "offline"]; // what matters is drawn last, on top

/** A step of 1, 2 or 5 times a power of ten. */
function step(span, most) {
  const power = 10 ** Math.floor(Math.log10(span / most));
  return [1, 2, 5, 10].map((one) => one * power).find((one) => span / one <= most);
}

/** A map; draw(stations) shows these, each with `shown` as its state. */
export function stationMap(open) {
  const svg = s("svg", { id: "map", role: "img", height: HEIGHT, width: "100%" });
  const without = h("p", { class: "quiet", id: "map-without" });
  const tip = h("div", { class: "tip", hidden: true });
  const box = h("div", { class: "chart card" }, svg, tip, without);
  let shown = [];
  new ResizeObserver(() => draw(shown)).observe(box);
  svg.addEventListener("mouseleave", () => { tip.hidden = true; });
  svg.addEventListener("mousemove", (event) => {
    const key = event.target.dataset?.key;
    tip.hidden = !key;
    if (!key) return;
    const one = shown.find((station) => `${station.site}/${station.station}` === key);
    tip.textContent = `${key}\n${one.shown}${one.streams.length ? `\n${one.streams.map((part) => part.label ?? part.value ?? "no answer").join(", ")}` : ""}`;
    const at = event.clientX - box.getBoundingClientRect().left;
    tip.style.left = `${Math.min(Math.max(0, at + 12), box.clientWidth - tip.offsetWidth - 4)}px`;
    tip.style.top = `${event.clientY - box.getBoundingClientRect().top + 12}px`;
  });
  svg.addEventListener("click", (event) => { if (event.target.dataset?.key) open(event.target.dataset.key); });

  let drawn = "";
  function draw(stations) {
    shown = stations;
    const placed = stations.filter((one) => one.latitude !== null && one.longitude !== null);
    without.textContent = placed.length === stations.length ? "" : `${stations.length - placed.length} of ${stations.length} stations gave no place (latitude and longitude in station.yaml); the table has them all.`;
    svg.setAttribute("aria-label", `Map of ${placed.length} stations: ${RANKS.toReversed().map((name) => [placed.filter((one) => one.shown === name).length, name]).filter(([count]) => count).map((pair) => pair.join(" ")).join(", ") || "none"}. The table shows the same.`);
    const width = box.clientWidth - 34;
    if (width < 60) return;
    const text = JSON.stringify([width, placed.map((one) => [one.site, one.station, one.shown, one.latitude, one.longitude])]);
    if (text === drawn) return; // a dot that is being pressed must not be exchanged for its like
    drawn = text;
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    if (!placed.length) return svg.replaceChildren(s("text", { class: "axis", x: width / 2, y: HEIGHT / 2, "text-anchor": "middle" }, "No station gave its place."));
    const lats = placed.map((one) => one.latitude), lons = placed.map((one) => one.longitude);
    const middle = [(Math.min(...lats) + Math.max(...lats)) / 2, (Math.min(...lons) + Math.max(...lons)) / 2];
    const shrink = Math.max(0.05, Math.cos((middle[0] * Math.PI) / 180)); // a degree of longitude is shorter far from the equator
    const perDegree = Math.min((HEIGHT - 2 * EDGE) / Math.max(0.002, Math.max(...lats) - Math.min(...lats)), (width - 2 * EDGE) / Math.max(0.002, (Math.max(...lons) - Math.min(...lons)) * shrink));
    const x = (lon) => width / 2 + (lon - middle[1]) * shrink * perDegree, y = (lat) => HEIGHT / 2 - (lat - middle[0]) * perDegree;
    const parts = [], marks = [];
    const grid = step(Math.min(width / (perDegree * shrink), HEIGHT / perDegree), 5);
    const digits = Math.max(0, -Math.floor(Math.log10(grid)));
    for (let lat = Math.ceil((middle[0] - HEIGHT / 2 / perDegree) / grid) * grid; y(lat) > 16; lat += grid) {
      marks.push([4, y(lat) - 15, 40, y(lat)]);
      parts.push(s("line", { class: "grid", x1: 0, x2: width, y1: y(lat), y2: y(lat) }), s("text", { class: "axis", x: 4, y: y(lat) - 4 }, `${lat.toFixed(digits)}°`));
    }
    for (let lon = Math.ceil((middle[1] - width / 2 / perDegree / shrink) / grid) * grid; x(lon) < width - 8; lon += grid) {
      marks.push([x(lon) + 4, HEIGHT - 17, x(lon) + 40, HEIGHT]);
      parts.push(s("line", { class: "grid", y1: 0, y2: HEIGHT, x1: x(lon), x2: x(lon) }), s("text", { class: "axis", x: x(lon) + 4, y: HEIGHT - 6 }, `${lon.toFixed(digits)}°`));
    }
    const radius = placed.length > 1000 ? 3 : placed.length > 200 ? 4.5 : 7;
    for (const one of placed.toSorted((left, right) => RANKS.indexOf(left.shown) - RANKS.indexOf(right.shown))) {
      const dot = s("circle", { class: "dot", cx: x(one.longitude), cy: y(one.latitude), r: radius, fill: COLOURS[one.shown] ?? COLOURS.unknown });
      dot.dataset.key = `${one.site}/${one.station}`;
      parts.push(dot);
    }
    svg.replaceChildren(...parts);
    if (placed.length <= NAMED) svg.append(...names(placed, x, y, radius, width, marks));
  }
  /** The names that find room: none lies over another, a dot or a degree, nor beyond the edge. */
  function names(placed, x, y, radius, width, marks) {
    const taken = [...marks, ...placed.map((one) => [x(one.longitude) - radius, y(one.latitude) - radius, x(one.longitude) + radius, y(one.latitude) + radius])];
    const found = [];
    for (const one of placed.toSorted((left, right) => RANKS.indexOf(right.shown) - RANKS.indexOf(left.shown))) {
      const wide = 7.4 * one.station.length, [cx, cy] = [x(one.longitude), y(one.latitude)];
      for (const [left, base] of [[cx + radius + 4, cy + 4], [cx - radius - 4 - wide, cy + 4], [cx - wide / 2, cy - radius - 5], [cx - wide / 2, cy + radius + 13]]) {
        const area = [left, base - 11, left + wide, base + 3];
        if (left < 0 || left + wide > width || base - 11 < 0) continue;
        if (taken.some((other) => area[0] < other[2] && other[0] < area[2] && area[1] < other[3] && other[1] < area[3])) continue;
        taken.push(area);
        found.push(s("text", { class: "axis name", x: left, y: base }, one.station));
        break;
      }
    }
    return found;
  }
  return { element: box, draw };
}
