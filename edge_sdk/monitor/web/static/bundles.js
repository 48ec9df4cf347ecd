// Bundles in the field: which model runs where, in which version, on which backend.
import { chip, count, get, h } from "./dom.js";
import { stationLink, table } from "./table.js";

export function bundlesPage(page) {
  document.title = "Bundles · Edge monitor";
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const empty = h("p", { class: "empty", id: "bundles-empty" }, "No station has said yet what it runs.");
  const found = table({ id: "bundles", label: "Bundles in the field", columns: ["Model", "Bundle", "Variant", "Runs on", "Software", { title: "Stations", number: true }, { title: "Not online", number: true }, "Where"] });
  page.append(h("h1", {}, "Bundles in the field"), h("p", { class: "quiet" }, "What the stations really run: said by each when it starts."), problem, found.box, empty);
  let last = "";

  async function draw() {
    try {
      const rows = await get("/api/bundles");
      problem.hidden = true;
      empty.hidden = rows.length > 0;
      const text = JSON.stringify(rows);
      if (text === last) return;
      last = text;
      const openOnes = new Set([...found.body.querySelectorAll("tr:has(details[open])")].map((row) => row.dataset.key));
      found.put(rows.map((one) => {
        const key = `${one.model} ${one.bundle} ${one.backend} ${one.fallback}`;
        return h("tr", { data: { model: one.model, key } },
          h("th", { scope: "row" }, one.model), h("td", {}, h("code", { title: one.bundle }, one.bundle.replace("sha256:", "").slice(0, 12))), h("td", {}, one.variant),
          h("td", { data: { field: "backend" } }, one.backend, one.fallback ? [" ", chip("fallback", { title: `asked for and not in use: ${one.fallback}` })] : null),
          h("td", {}, Object.entries(one.software).map(([version, many]) => `${version} × ${count(many)}`).join(", ")),
          h("td", {}, count(one.stations)), h("td", { class: one.silent ? "warn" : null }, count(one.silent)),
          h("td", {}, h("details", { class: "inline", open: openOnes.has(key) }, h("summary", {}, one.stations > one.examples.length ? `the first ${one.examples.length}` : "show"),
            h("ul", { class: "plain" }, one.examples.map((place) => h("li", {}, stationLink(...place.split("/"))))))));
      }));
    } catch (error) { problem.hidden = false; problem.textContent = error.message; }
  }
  draw();
  const timer = setInterval(draw, 4000);
  return () => clearInterval(timer);
}
