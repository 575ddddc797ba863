// Where the server has accounts.

import { fill, h } from "../dom.js";
import { call, Problem } from "../api.js";
import { faultText } from "../dialog.js";
import { t } from "../i18n.js";
import { loadMe } from "../session.js";
import { outbox } from "../outbox.js";
import { shellMini } from "./shell.js";

/** @type {import("../types.js").Show} */
export function show(root, address) {
  const name = h("input", { id: "login-name", name: "name", autocomplete: "username", required: true, autofocus: true });
  const password = h("input", { id: "login-password", name: "password", type: "password", autocomplete: "current-password", required: true });
  const fault = h("p", { class: "fault", role: "alert" });
  const button = h("button", { class: "primary" }, t("login.button"));

  async function login(/** @type {Event} */ event) {
    event.preventDefault();
    button.disabled = true;
    fault.textContent = "";
    try {
      await call("POST", "login", { body: { name: name.value, password: password.value }, proves: true });
      await loadMe();
      await outbox.begin();
      const then = address.query.get("then") ?? "";
      location.hash = then.startsWith("#/") && !then.startsWith("#/login") ? then : "#/";
    } catch (error) {
      fault.textContent = error instanceof Problem && error.status === 401 ? t("login.wrong") : faultText(error);
      password.select();
    } finally {
      button.disabled = false;
    }
  }

  fill(root,
    shellMini(t("login.title")),
    h("main", { class: "alone" },
      h("h1", null, t("login.title")),
      h("form", { class: "stack", onsubmit: login },
        h("label", { for: "login-name" }, t("login.name")), name,
        h("label", { for: "login-password" }, t("login.password")), password,
        fault, h("div", { class: "buttons start" }, button)))); // prettier-ignore
  name.focus();
  return {};
}
