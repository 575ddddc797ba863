// The page as a whole: which screen an address shows.

import { fill, h } from "./dom.js";
import { Offline, part, Problem } from "./api.js";
import { endDialogs, endToasts, faultText, tellFault, toast } from "./dialog.js";
import { endHold, holdKeys } from "./editor/held.js";
import { actionOf, EVERYWHERE, isTyped, showKeys } from "./editor/keys.js";
import { loadLanguage, t } from "./i18n.js";
import { applyTheme, loadMe, whoAmI } from "./session.js";
import { outbox } from "./outbox.js";
import { acceptDrops } from "./views/drops.js";

/** @typedef {import("./types.js").Address} Address */
/** @typedef {import("./types.js").View} View */
/** @typedef {import("./types.js").Show} Show */

/** @type {[RegExp, () => Promise<{show: Show}>][]} */
const SCREENS = [
  [/^$/, () => import("./views/collections.js")],
  [/^login$/, () => import("./views/login.js")],
  [/^collection\/\d+$/, () => import("./views/collection.js")],
  [/^collection\/\d+\/teach$/, () => import("./views/teach.js")],
  [/^collection\/\d+\/review$/, () => import("./views/review.js")],
  [/^collection\/\d+\/people$/, () => import("./views/people.js")],
  [/^account$/, () => import("./views/account.js")],
  [/^link(\/[^/]+)?$/, () => import("./views/link.js")],
  [/^search$/, () => import("./views/search.js")],
  [/^bin$/, () => import("./views/bin.js")],
  [/^page\/\d+$/, () => import("./editor/editor.js")],
  [/^(page|document)\/\d+\/print$/, () => import("./views/print.js")],
];

/** @type {View|null} */
let view = null;
let showing = "";
let turn = 0;

/** @returns {Address} */
export function currentAddress() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { path: path.split("/").filter(Boolean), query: new URLSearchParams(query ?? "") };
}

async function route() {
  const address = currentAddress();
  const path = address.path.join("/");
  const { link } = whoAmI();
  if (link && /^(|bin|account)$/.test(path)) return location.replace(`#/collection/${link.collection_id}`);
  if (path === showing && view?.follow?.(address)) return;
  const mine = ++turn;
  const screen = SCREENS.find(([pattern]) => pattern.test(path));
  const app = /** @type {HTMLElement} */ (document.getElementById("app"));
  view?.close?.();
  view = null;
  endToasts();
  endDialogs();
  showing = path;
  const focus = document.activeElement;
  if (/^page\/\d+$/.test(path) && (focus === document.body || app.contains(focus))) holdKeys(path); // not what is typed elsewhere
  const root = h("div", { class: "screen" });
  try {
    const module = await part(screen ? screen[1] : () => import("./views/collections.js"));
    if (mine !== turn) return;
    app.replaceChildren(root);
    const shown = await module.show(root, address);
    if (mine === turn) view = shown;
    else shown.close?.();
  } catch (error) {
    if (mine === turn) endHold();
    if (mine !== turn || (error instanceof Problem && error.status === 401)) return;
    console.error(error);
    app.replaceChildren(root);
    showFault(root, error);
  }
}

/**
 * @param {HTMLElement} root
 * @param {unknown} error
 */
function showFault(root, error) {
  const isMissing = error instanceof Problem && error.status === 404;
  fill(
    root,
    h("main", { class: "alone" },
      h("h1", null, isMissing ? t("fault.missing") : t("fault.title")),
      h("p", { dir: "auto" }, faultText(error)),
      h("div", { class: "buttons start" },
        h("button", { type: "button", class: "primary", onclick: () => location.reload() }, t("fault.again")),
        h("a", { class: "button", href: "#/" }, t("collections.title")))),
  ); // prettier-ignore
  document.title = "Quillread";
}

/**
 * Keys of all screens, unless the screen has taken them.
 * @param {KeyboardEvent} event
 */
function key(event) {
  if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]") || isTyped(event)) return;
  const action = actionOf(event);
  if (!action || !EVERYWHERE.has(action) || showing === "login") return;
  if (action === "help") showKeys(!view?.readOnly);
  else if (action === "search") search();
  else if (view?.export) view.export().catch(tellFault);
  else return;
  event.preventDefault();
}

/** Go to where one searches: the box of the screen, or the screen of its own. */
function search() {
  const box = /** @type {HTMLInputElement|null} */ (document.querySelector("form[role=search] input"));
  if (box) box.focus(), box.select();
  else location.hash = `#/search${view?.collection ? `?collection=${view.collection}` : ""}`;
}

async function start() {
  applyTheme();
  await loadLanguage();
  addEventListener("quill-login", (event) => {
    if (/^(login|link)$/.test(currentAddress().path[0])) return;
    const isEnded = /** @type {CustomEvent} */ (event).detail.link === "ended";
    location.hash = isEnded ? "#/link" : `#/login?then=${encodeURIComponent(location.hash)}`;
  });
  addEventListener("hashchange", route);
  addEventListener("keydown", key);
  acceptDrops(() => view);
  addEventListener("unhandledrejection", (event) => {
    if (event.reason instanceof Problem || event.reason instanceof Offline) toast(faultText(event.reason), { kind: "error" });
  });
  try {
    if (currentAddress().path[0] !== "link") await loadMe(); // which opening the link does
  } catch (error) {
    if (!(error instanceof Problem && error.status === 401)) throw error;
  }
  if (!whoAmI().link) {
    await outbox.resume();
    setTimeout(() => outbox.resume(), 4000); // a tab that was just closed may have seemed to live on
  }
  await route();
}

start().catch((error) => {
  console.error(error);
  const app = /** @type {HTMLElement} */ (document.getElementById("app"));
  const root = h("div", { class: "screen" });
  app.replaceChildren(root);
  showFault(root, error);
});
