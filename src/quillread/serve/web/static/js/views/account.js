// One's own account: its password, and tokens for scripts; for admins of the archive, all accounts.

import { fill, h, icon, refill } from "../dom.js";
import { all, call, get, Problem } from "../api.js";
import { askForm, askWhether, faultText, menuButton, showSecret, tellFault, toast } from "../dialog.js";
import { t } from "../i18n.js";
import { loadMe, mayAs, whoAmI } from "../session.js";
import { shellBar } from "./shell.js";
import { daysField, labelled, roleSelect, tokenItem } from "./tokens.js";

/** @typedef {import("../types.js").Token} Token */
/** @typedef {import("../types.js").User} User */
/** @typedef {import("../types.js").Role} Role */

const ROLES = /** @type {const} */ (["reader", "editor", "admin"]);
const SHORTEST = 8; // characters of a password

/** @type {import("../types.js").Show} */
export async function show(root) {
  const me = whoAmI();
  const parts = [me.local ? null : password(), await tokens(), mayAs(me.role, "admin") ? await accounts() : null];
  fill(root,
    shellBar({ title: t("account.title"), back: "#/", backLabel: t("collections.title") }),
    h("main", { class: "page narrow sections" }, parts)); // prettier-ignore
  return {};
}

/**
 * @param {string} id
 * @param {"current-password"|"new-password"} kind
 */
function passwordField(id, kind) {
  return h("input", { id, type: "password", autocomplete: kind, required: true, maxlength: "1000", minlength: kind === "new-password" ? SHORTEST : null });
}

function password() {
  const me = whoAmI();
  const now = passwordField("password-now", "current-password");
  const next = passwordField("password-next", "new-password");
  const fault = h("p", { class: "fault", role: "alert", dir: "auto" });
  async function change(/** @type {Event} */ event) {
    event.preventDefault();
    fault.textContent = "";
    try {
      await call("POST", "me/password", { body: { current: now.value, new: next.value }, proves: true });
      now.value = next.value = "";
      toast(t("account.changed"));
    } catch (error) {
      fault.textContent = error instanceof Problem && error.status === 401 ? t("account.wrong") : faultText(error);
      now.select();
    }
  }
  return h("section", null,
    h("h2", { dir: "auto" }, me.name),
    h("p", { class: "hint" }, `${t(`role.${me.role}`)} · ${t("people.everywhere")}`),
    h("form", { class: "add-row", onsubmit: change },
      h("input", { type: "text", autocomplete: "username", value: me.name, hidden: true }),
      labelled(t("account.now"), now), labelled(t("account.next", { n: SHORTEST }), next), h("button", null, t("account.change"))),
    fault); // prettier-ignore
}

async function tokens() {
  const me = whoAmI();
  const list = h("ul", { class: "plain-list" });
  const button = h("button", { type: "button", onclick: () => make().catch(tellFault) }, icon("plus"), t("tokens.new"));
  const collections = await all("collections");
  const names = new Map(collections.map((one) => [one.id, one.name]));

  async function load() {
    /** @type {Token[]} */
    const found = (await get("tokens")).items;
    refill(list, found.length ? found.map(item) : [h("li", { class: "none" }, t("tokens.none"))], button);
  }

  /** @param {Token} token */
  function item(token) {
    const end = () => call("DELETE", `tokens/${token.id}`).then(load);
    const where = token.collection_id ? (names.get(token.collection_id) ?? t("bin.title")) : t("tokens.everywhere");
    const owner = token.user_name && token.user_name !== me.name ? t("links.by", { name: token.user_name }) : "";
    return tokenItem(token, [owner, t(`role.${token.role}`), where], { label: t("delete"), name: t("tokens.deleteName", { name: token.name }), run: () => void end().catch(tellFault) });
  }

  async function make() {
    const name = h("input", { id: "token-name", required: true, maxlength: "100", autofocus: true, dir: "auto" });
    const role = roleSelect({ id: "token-role" }, ROLES, "reader");
    const where = h("select", { id: "token-where" }, h("option", { value: "" }, t("tokens.everywhere")), collections.map((one) => h("option", { value: one.id }, one.name)));
    const days = daysField(90);
    const made = await askForm(t("tokens.new"), t("tokens.make"), () => [labelled(t("name"), name), labelled(t("tokens.may"), role), labelled(t("tokens.where"), where), labelled(t("days"), days)],
      () => call("POST", "tokens", { body: { name: name.value.trim(), role: role.value, collection_id: Number(where.value) || null, days: Number(days.value) } })); // prettier-ignore
    if (!made) return;
    await load();
    await showSecret(t("tokens.made", { name: made.name }), made.token, t("tokens.secret"));
    button.focus();
  }

  await load();
  return h("section", null,
    h("h2", null, t("tokens.title")),
    h("p", { class: "hint" }, t("tokens.hint")),
    list,
    h("div", { class: "buttons start" }, button)); // prettier-ignore
}

async function accounts() {
  const list = h("ul", { class: "plain-list" });
  const button = h("button", { type: "button", onclick: () => make().catch(tellFault) }, icon("plus"), t("accounts.new"));

  async function load() {
    /** @type {User[]} */
    const found = (await get("users")).items;
    refill(list, found.map(item), button);
  }

  /**
   * @param {User} user
   * @param {Record<string, any>} body
   */
  const change = (user, body) => call("PATCH", `users/${user.id}`, { body }).then(load);

  /** @param {User} user */
  function item(user) {
    const isMe = user.id === whoAmI().user_id;
    const role = roleSelect({ class: "role", "data-key": `role-${user.id}`, "aria-label": t("people.roleOf", { name: user.name }) }, [...ROLES, "none"], user.role);
    role.addEventListener("change", () => void change(user, { role: role.value }).catch((error) => (tellFault(error), load())));
    const menu = menuButton(icon("more"), [
      { label: t("accounts.newPassword"), icon: "pen", run: () => newPassword(user).catch(tellFault) },
      { label: t(user.disabled ? "accounts.enable" : "accounts.disable"), run: () => change(user, { disabled: !user.disabled }).catch(tellFault) },
      { label: t("accounts.delete"), icon: "trash", danger: true, run: () => remove(user).catch(tellFault) },
    ], { name: t("collections.menu", { name: user.name }), class: "plain square", key: `menu-${user.id}` }); // prettier-ignore
    const said = isMe ? t("people.you") : user.disabled ? t("accounts.disabled") : "";
    return h("li", { class: user.disabled ? "over" : null },
      h("div", null, h("strong", { dir: "auto" }, user.name), said ? h("p", { class: "hint" }, said) : null),
      h("div", { class: "push" }),
      isMe ? h("span", { class: "hint" }, t(`role.${user.role}`)) : role,
      isMe ? null : menu); // prettier-ignore
  }

  async function make() {
    const isFirst = whoAmI().local;
    const name = h("input", { id: "user-name", required: true, maxlength: "100", autofocus: true, autocomplete: "off", dir: "auto" });
    const secret = passwordField("user-password", "new-password");
    const role = roleSelect({ id: "user-role" }, isFirst ? ["admin"] : [...ROLES, "none"], isFirst ? "admin" : "editor");
    const made = await askForm(t("accounts.new"), t("create"), () => [
      isFirst ? h("p", { class: "hint" }, t("accounts.first")) : null,
      labelled(t("login.name"), name), labelled(t("account.next", { n: SHORTEST }), secret), labelled(t("accounts.role"), role),
    ], () => call("POST", "users", { body: { name: name.value, password: secret.value, role: role.value } })); // prettier-ignore
    if (!made) return;
    if (isFirst) return void (await loadMe().catch(() => {})); // a login is asked for now
    await load();
    button.focus();
  }

  /** @param {User} user */
  async function newPassword(user) {
    const secret = passwordField("user-password", "new-password");
    secret.autofocus = true;
    const title = t("accounts.passwordOf", { name: user.name });
    if (await askForm(title, t("save"), () => [labelled(t("account.next", { n: SHORTEST }), secret)], () => call("PATCH", `users/${user.id}`, { body: { password: secret.value } }))) toast(t("account.changed"));
  }

  /** @param {User} user */
  async function remove(user) {
    const sure = await askWhether(t("accounts.delete"), { text: t("accounts.sure", { name: user.name }), button: t("delete"), danger: true });
    if (!sure) return;
    await call("DELETE", `users/${user.id}`);
    await load();
    button.focus();
  }

  await load();
  return h("section", null,
    h("h2", null, t("accounts.title")),
    h("p", { class: "hint" }, t(whoAmI().local ? "accounts.first" : "accounts.hint")),
    list,
    h("div", { class: "buttons start" }, button)); // prettier-ignore
}
