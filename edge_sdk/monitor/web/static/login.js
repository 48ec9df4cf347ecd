// Logging in and out.
import { get, h } from "./dom.js";

export function loginPage(page) {
  document.title = "Log in · Edge monitor";
  const problem = h("p", { class: "problem", role: "alert", id: "login-problem", hidden: true });
  const name = h("input", { id: "name", autocomplete: "username", required: true, autofocus: true });
  const password = h("input", { id: "password", type: "password", autocomplete: "current-password", required: true });
  const form = h("form", { class: "card login", onsubmit: send }, h("h1", {}, "Log in"), problem,
    h("label", { for: "name" }, "Name"), name, h("label", { for: "password" }, "Password"), password, h("button", { type: "submit" }, "Log in"));
  page.append(form);
  name.focus();

  async function send(event) {
    event.preventDefault();
    const response = await fetch("/api/login", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ name: name.value, password: password.value }) });
    if (response.ok) {
      const next = new URLSearchParams(location.search).get("next") ?? "/";
      location.assign(/^\/(?![/\\])/.test(next) ? next : "/");
      return;
    }
    problem.textContent = (await response.json().catch(() => ({}))).detail ?? "That did not work.";
    problem.hidden = false;
    password.value = "";
    password.focus();
  }
}

/** Puts a button before `place` when somebody is logged in. */
export async function logoutButton(place) {
  const me = await get("/api/me").catch(() => null);
  if (!me?.login) return;
  place.before(h("button", { id: "logout", type: "button", title: `${me.name}, ${me.role}`, onclick: async () => {
    await fetch("/api/logout", { method: "POST" });
    location.assign("/login");
  } }, "Log out", h("span", { class: "who" }, ` ${me.name}`)));
}
