// Tables that become cards on a phone, with the roles said so that screen readers still hear a table.
import { h } from "./dom.js";

const words = new Intl.Collator(undefined, { numeric: true });
const AMOUNT = /^-?[\d.,]+ ?(%|ms|s|°C)?$/;

/** What a cell is sorted by: what it names as its value, else the amount or the words that it shows. */
function key(row, at) {
  const cell = row.children[at], text = cell?.dataset.value ?? cell?.textContent.trim() ?? "";
  return AMOUNT.test(text) ? Number.parseFloat(text.replaceAll(",", "")) : text;
}

function compare(a, b) {
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return typeof a === "number" ? a - b : words.compare(a, b);
}

/**
 * A table: put(rows) replaces its rows. Columns are titles; {title, number: true} aligns to the right. Titles are buttons
 * that sort: upwards, downwards, as the rows came.
 */
export function table({ id, label, columns, short = false }) {
  const titles = columns.map((one) => (typeof one === "string" ? { title: one } : one));
  const heads = titles.map((one, at) => h("th", { scope: "col", role: "columnheader", class: one.number ? "number" : null }, one.title ? h("button", { type: "button", onclick: () => sort(at) }, one.title) : ""));
  let came = [], by = -1, down = false;
  const body = h("tbody", { role: "rowgroup", id: id ? `${id}-body` : null });
  const element = h("table", { id: id ? `${id}-table` : null, class: "stack", role: "table", "aria-label": label },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)), body);
  const box = h("div", { class: short ? "scroll short" : "scroll", tabindex: "0", role: "region", "aria-label": `${label}: table` }, element);
  function sort(at) {
    [by, down] = by !== at ? [at, false] : down ? [-1, false] : [at, true];
    heads.forEach((head, index) => { if (index === by) head.setAttribute("aria-sort", down ? "descending" : "ascending"); else head.removeAttribute("aria-sort"); });
    show();
  }
  function show() {
    const keys = by < 0 ? null : new Map(came.map((row) => [row, key(row, by)]));
    body.replaceChildren(...(keys ? came.toSorted((a, b) => (down ? -1 : 1) * compare(keys.get(a), keys.get(b))) : came));
  }
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
      came = rows;
      show();
      box.hidden = !rows.length;
    },
  };
}

/** Where a station's page is, as a link. */
export const stationLink = (site, station) => [
  h("a", { href: `/station/${encodeURIComponent(site)}/${encodeURIComponent(station)}`, "data-link": "" }, station),
  h("span", { class: "quiet site" }, site),
];
