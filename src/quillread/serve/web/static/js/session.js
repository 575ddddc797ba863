// Who uses the page, and what the browser was set to.

import { get } from "./api.js";
import { recall, remember } from "./storage.js";

/** @type {import("./types.js").Me} */
let me = { name: "", role: "none", user_id: null, local: true, link: null, version: "", can_train: false };

/** Ask the server who we are; other tabs of the browser, which have the same login, are told. */
export async function loadMe() {
  me = await get("me");
  if (!me.link) remember("user", String(me.user_id));
  return me;
}

// Another has logged in: this tab would go on under their name.
addEventListener("storage", (event) => {
  if (event.key === "quill.user" && me.name && !me.link && event.newValue !== String(me.user_id)) location.reload();
});

export const whoAmI = () => me;

const RANKS = ["none", "reader", "editor", "admin"];

/**
 * Whether a role allows what another does.
 * @param {string} has
 * @param {string} needed
 */
export const mayAs = (has, needed) => RANKS.indexOf(has) >= RANKS.indexOf(needed);

/** @typedef {"auto"|"light"|"dark"} Theme */

/** @returns {Theme} */
export function theme() {
  const kept = recall("theme");
  return kept === "light" || kept === "dark" ? kept : "auto";
}

/** @param {Theme} wanted */
export function setTheme(wanted) {
  remember("theme", wanted === "auto" ? null : wanted);
  applyTheme();
}

export function applyTheme() {
  document.documentElement.dataset.theme = theme();
}

export const movesLess = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
