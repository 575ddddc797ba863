// Who may see a collection: its members with their roles, and links for readers without an account.

import { fill, h, icon, refill } from "../dom.js";
import { call, get } from "../api.js";
import { askForm, showSecret, tellFault, toast } from "../dialog.js";
import { t } from "../i18n.js";
import { mayAs, whoAmI } from "../session.js";
import { shellBar } from "./shell.js";
import { daysField, labelled, roleSelect, tokenItem } from "./tokens.js";

/** @typedef {import("../types.js").Member} Member */
/** @typedef {import("../types.js").Token} Token */
/** @typedef {import("../types.js").Role} Role */

const ROLES = /** @type {const} */ (["reader", "editor", "admin", "none"]);

/** @type {import("../types.js").Show} */
export async function show(root, address) {
  const path = `collections/${Number(address.path[1])}`;
  const collection = await get(path);
  if (!mayAs(collection.role, "admin")) {
    location.replace(`#/collection/${collection.id}`);
    return {};
  }
  const parts = [whoAmI().local ? alone() : await members(path), await links(path)];
  fill(root,
    shellBar({ title: `${t("people.title")} · ${collection.name}`, back: `#/collection/${collection.id}`, backLabel: collection.name, collection: collection.id }),
    h("main", { class: "page narrow sections" }, parts)); // prettier-ignore
  return {};
}

function alone() {
  return h("section", null,
    h("h2", null, t("people.members")),
    h("p", { class: "hint" }, t("people.alone")),
    h("div", { class: "buttons start" }, h("a", { class: "button", href: "#/account" }, t("accounts.title")))); // prettier-ignore
}

/** @param {string} path Of the collection. */
async function members(path) {
  const list = h("ul", { class: "plain-list" });
  const names = h("datalist", { id: "people-names" });
  const name = h("input", { id: "people-name", list: "people-names", required: true, autocomplete: "off", dir: "auto" });
  const role = roleSelect({ id: "people-role" }, ["reader", "editor", "admin"], "reader");
  const fault = h("p", { class: "fault", role: "alert", dir: "auto" });
  /** @type {Member[]} */
  let all = [];

  async function load() {
    all = (await get(`${path}/members`)).items;
    const shown = all.filter((one) => one.own || one.role !== "none");
    refill(list, shown.map(item), name);
    fill(names, all.filter((one) => !shown.includes(one)).map((one) => h("option", { value: one.name })));
  }

  /**
   * @param {Member} member
   * @param {Role|null} wanted Null: as in all collections.
   */
  const set = (member, wanted) => call(wanted ? "PUT" : "DELETE", `${path}/members/${member.user_id}`, wanted ? { body: { role: wanted } } : {}).then(load);

  /** @param {Member} member */
  function item(member) {
    const isMe = member.user_id === whoAmI().user_id;
    const isFixed = isMe || (member.role === "admin" && !member.own); // an admin of the archive is one everywhere
    const where = [isMe ? t("people.you") : "", member.own ? "" : t("people.everywhere")].filter(Boolean).join(" · ");
    const change = (/** @type {Event} */ event) => void set(member, /** @type {Role} */ (/** @type {HTMLSelectElement} */ (event.target).value)).catch((error) => (tellFault(error), load()));
    return h("li", null,
      h("div", null, h("strong", { dir: "auto" }, member.name), where ? h("p", { class: "hint" }, where) : null),
      h("div", { class: "push" }),
      isFixed ? h("span", { class: "hint" }, t(`role.${member.role}`)) : roleSelect({ class: "role", "data-key": `role-${member.user_id}`, "aria-label": t("people.roleOf", { name: member.name }), onchange: change }, ROLES, member.role),
      member.own && !isMe ? h("button", { type: "button", class: "plain danger-text", "data-key": `remove-${member.user_id}`, "aria-label": t("people.removeName", { name: member.name }), onclick: () => void set(member, null).catch(tellFault) }, t("people.remove")) : null); // prettier-ignore
  }

  /** @param {Event} event */
  async function add(event) {
    event.preventDefault();
    const wanted = name.value.trim();
    const found = all.find((one) => one.name === wanted);
    fault.textContent = found ? "" : t("people.unknown", { name: wanted });
    if (!found) return name.select();
    try {
      await set(found, /** @type {Role} */ (role.value));
      name.value = "";
      name.focus();
    } catch (error) {
      tellFault(error);
    }
  }

  await load();
  return h("section", null,
    h("h2", null, t("people.members")),
    h("p", { class: "hint" }, t("people.hint")),
    list,
    h("form", { class: "add-row", onsubmit: add }, labelled(t("people.add"), name), names, labelled(t("role"), role), h("button", { class: "primary" }, t("upload.add"))),
    fault); // prettier-ignore
}

/** @param {string} path Of the collection. */
async function links(path) {
  const list = h("ul", { class: "plain-list" });
  const button = h("button", { type: "button", onclick: () => make().catch(tellFault) }, icon("link"), t("links.new"));

  async function load() {
    /** @type {Token[]} */
    const found = (await get(`${path}/links`)).items;
    refill(list, found.length ? found.map(item) : [h("li", { class: "none" }, t("links.none"))], button);
  }

  /** @param {Token} link */
  function item(link) {
    const end = () => call("DELETE", `${path}/links/${link.id}`).then(() => (toast(t("links.withdrawn", { name: link.name })), load()));
    return tokenItem(link, [link.user_name ? t("links.by", { name: link.user_name }) : ""], { label: t("links.withdraw"), name: t("links.withdrawName", { name: link.name }), run: () => void end().catch(tellFault) });
  }

  async function make() {
    const name = h("input", { id: "link-name", required: true, maxlength: "80", autofocus: true, dir: "auto" });
    const days = daysField(30);
    const made = await askForm(t("links.new"), t("links.make"), () => [labelled(t("links.for"), name), labelled(t("days"), days)],
      () => call("POST", `${path}/links`, { body: { name: name.value.trim(), days: Number(days.value) } })); // prettier-ignore
    if (!made) return;
    await load();
    await showSecret(t("links.made", { name: made.name }), new URL(`#/link/${made.token}`, document.baseURI).href, t("links.address"));
    button.focus();
  }

  await load();
  const isHere = /^(localhost|127\..*|\[::1\])$/.test(location.hostname);
  return h("section", null,
    h("h2", null, t("links.title")),
    h("p", { class: "hint" }, t("links.hint")),
    isHere ? h("p", { class: "banner" }, icon("warn"), h("span", null, t("links.here", { host: location.hostname }), " ", whoAmI().local ? t("links.alone") : "")) : null,
    list,
    h("div", { class: "buttons start" }, button)); // prettier-ignore
}
