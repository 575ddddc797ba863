// What links for readers and tokens of scripts have in common: a list with their ends, and how a role is chosen.

import { h, icon } from "../dom.js";
import { day, t, when } from "../i18n.js";
import { whoAmI } from "../session.js";

/** @typedef {import("../types.js").Token} Token */
/** @typedef {import("../types.js").Role} Role */

/**
 * A link or a token in a list.
 * @param {Token} token
 * @param {string[]} facts
 * @param {{label: string, name: string, run: () => void}} end How it is ended.
 */
export function tokenItem(token, facts, end) {
  const wasAlone = token.user_name === null && !whoAmI().local; // made when there were no accounts
  const isOver = wasAlone || new Date(token.expires) <= new Date();
  const used = token.last_used ? t("tokens.used", { time: when(token.last_used) }) : t("tokens.unused");
  const said = [...facts, wasAlone ? t("tokens.wasAlone") : t(isOver ? "tokens.over" : "tokens.until", { day: day(token.expires) }), used].filter(Boolean);
  return h("li", { class: isOver ? "over" : null },
    h("div", null, h("strong", { dir: "auto" }, token.name), h("p", { class: "hint" }, said.join(" · "))),
    h("div", { class: "push" }),
    h("button", { type: "button", class: "plain danger-text", "data-key": `token-${token.id}`, "aria-label": end.name, onclick: end.run }, icon("trash"), end.label)); // prettier-ignore
}

/**
 * A choice of roles.
 * @param {Record<string, any>} facts Of the element.
 * @param {readonly Role[]} roles
 * @param {Role} chosen
 */
export function roleSelect(facts, roles, chosen) {
  return h("select", facts, roles.map((role) => h("option", { value: role, selected: role === chosen }, t(`role.${role}`))));
}

/**
 * A field with its label.
 * @param {string} label
 * @param {HTMLElement} field With an id.
 */
export const labelled = (label, field) => h("div", { class: "stack tight" }, h("label", { for: field.id }, label), field);

/**
 * For how many days.
 * @param {number} value
 */
export const daysField = (value) => h("input", { id: "days", type: "number", min: "1", max: "3660", required: true, value: String(value) });
