// Tables that become cards on a phone, with the roles said so that screen readers still hear a table.
import { h } from "./dom.js";

/** A table: put(rows) replaces its rows. Columns are titles; {title, number: true} aligns to the right. */
export function table({ id, label, columns, short = false }) {
  const titles = columns.map((one) => (typeof one === "string" ? { title: one } : one));
  const body = h("tbody", { role: "rowgroup", id: id ? `${id}-body` : null });
  const element = h("table", { id: id ? `${id}-table` : null, class: "stack", role: "table", "aria-label": label },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, titles.map((one) => h("th", { scope: "col", role: "columnheader", class: one.number ? "number" : null }, one.title)))), body);
  const box = h("div", { class: short ? "scroll short" : "scroll", tabindex: "0", role: "region", "aria-label": `${label}: table` }, element);
  return {
    box, element, body,
    put(rows) {
      for (const row of rows) {
        row.setAttribute("role", "row");
        [...row.children].forEach((cell, at) => {
          cell.setAttribute("role", cell.tagName === "TH" ? "rowheader" : "cell");
          cell.dataset.title = titles[at]?.title ?? "";
          if (titles[at]?.number) cell.classList.add("number");
        });
      }
      body.replaceChildren(...rows);
      box.hidden = !rows.length;
    },
  };
}

/** Where a station's page is, as a link. */
export const stationLink = (site, station) => [
  h("a", { href: `/station/${encodeURIComponent(site)}/${encodeURIComponent(station)}`, "data-link": "" }, station),
  h("span", { class: "quiet site" }, site),
];
