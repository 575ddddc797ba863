// A link for readers: its secret is exchanged for a cookie, and the page shows what it opens.

import { fill, h } from "../dom.js";
import { call, Problem } from "../api.js";
import { t } from "../i18n.js";
import { loadMe } from "../session.js";
import { shellMini } from "./shell.js";

/** @type {import("../types.js").Show} */
export async function show(root, address) {
  const secret = address.path[1];
  if (secret) {
    try {
      const { collection_id } = await call("POST", "link", { body: { token: secret }, proves: true });
      await loadMe();
      location.replace(`#/collection/${collection_id}`); // the secret does not stay in the address
      return {};
    } catch (error) {
      if (!(error instanceof Problem && (error.status === 401 || error.status === 422))) throw error;
    }
  }
  fill(root,
    shellMini(t("link.ended")),
    h("main", { class: "alone" },
      h("h1", null, t("link.ended")),
      h("p", null, t("link.endedMore")),
      h("div", { class: "buttons start" }, h("a", { class: "button", href: "#/login" }, t("login.title"))))); // prettier-ignore
  return {};
}
