// The frame: which page is shown, the live feed, the theme.
import { get, h, setServerTime, setText } from "./dom.js";
import { fleetPage } from "./fleet.js";
import { stationPage } from "./station.js";
import { streamsPage } from "./streams.js";
import { bundlesPage } from "./bundles.js";
import { alertsPage, eventsPage, quarantinePage } from "./lists.js";
import { loginPage, logoutButton } from "./login.js";

/** Stations by "site/station", kept up to date by the live feed. */
export const fleet = { stations: new Map(), silentAfterNs: 90e9, listeners: new Set() };

const page = document.getElementById("page");
const bar = document.querySelector("nav");
const connection = document.getElementById("connection");
let close = () => {};

function toLogin() {
  if (location.pathname !== "/login") location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

function route() {
  const parts = location.pathname.split("/").filter(Boolean).map(decodeURIComponent);
  if (parts[0] === "station" && parts.length === 3) return ["", () => stationPage(page, fleet, parts[1], parts[2])];
  if (parts[0] === "login") return ["/login", () => loginPage(page)];
  if (parts[0] === "streams") return ["/streams", () => streamsPage(page, fleet)];
  if (parts[0] === "bundles") return ["/bundles", () => bundlesPage(page)];
  if (parts[0] === "alerts") return ["/alerts", () => alertsPage(page)];
  if (parts[0] === "events") return ["/events", () => eventsPage(page)];
  if (parts[0] === "quarantine") return ["/quarantine", () => quarantinePage(page)];
  return ["/", () => fleetPage(page, fleet)];
}

/** On a phone the bar is wider than the screen: the page that is shown stands in its middle. */
function reveal() {
  const link = bar.querySelector("[aria-current]");
  if (link) bar.scrollLeft += link.getBoundingClientRect().left - bar.getBoundingClientRect().left - (bar.clientWidth - link.offsetWidth) / 2;
}

export function show() {
  close();
  page.replaceChildren();
  const [current, open] = route();
  bar.hidden = current === "/login";
  for (const link of bar.querySelectorAll("a"))
    if (link.getAttribute("href") === current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  reveal();
  close = open() ?? (() => {});
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-link]");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  event.preventDefault();
  if (link.pathname !== location.pathname) {
    history.pushState({}, "", link.pathname + link.search);
    show();
    page.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
});
addEventListener("open-station", (event) => {
  history.pushState({}, "", `/station/${event.detail.split("/").map(encodeURIComponent).join("/")}`);
  show();
});
addEventListener("popstate", show);

function listen(rev) {
  const feed = new EventSource(`/api/live?since_rev=${rev}`);
  feed.addEventListener("open", () => state("live"));
  feed.addEventListener("error", () => state("offline"));
  feed.addEventListener("fleet", (event) => take(JSON.parse(event.data)));
}

function take(update) {
  setServerTime(update.now_ns);
  fleet.silentAfterNs = update.silent_after_ns;
  const changed = [];
  for (const station of update.stations) {
    const key = `${station.site}/${station.station}`;
    fleet.stations.set(key, station);
    changed.push(key);
  }
  for (const listener of fleet.listeners) listener(changed);
}

async function countAlerts() {
  const open = (await get("/api/alerts").catch(() => [])).filter((one) => one.acknowledged === null).length;
  const badge = document.getElementById("alert-count");
  if (badge.textContent === String(open)) return;
  badge.hidden = !open;
  setText(badge, String(open));
  reveal();
}

function state(text) {
  connection.dataset.state = text;
  setText(connection, text);
}

const themes = ["auto", "light", "dark"];
const button = document.getElementById("theme");
function theme(name) {
  document.documentElement.dataset.theme = name;
  localStorage.setItem("theme", name);
  button.replaceChildren(h("span", { class: "who" }, "Theme: "), name);
  button.setAttribute("aria-label", `Theme: ${name}. Press to change.`);
}
button.addEventListener("click", () => theme(themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % 3]));
theme(document.documentElement.dataset.theme);

show();
if (location.pathname === "/login") connection.hidden = true;
else {
  const answer = await fetch("/api/stations").catch(() => null);
  if (answer?.status === 401) toLogin();
  else {
    const first = answer?.ok ? await answer.json() : null;
    if (first) take(first);
    listen(first?.rev ?? -1);
    logoutButton(button);
    countAlerts();
    setInterval(countAlerts, 3000);
  }
}
