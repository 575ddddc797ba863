// Which key does what in the editor, and the dialog that shows it.

import { h } from "../dom.js";
import { openDialog } from "../dialog.js";
import { t } from "../i18n.js";

/**
 * Groups of actions with their keys. `Ctrl` is also the command key of a Mac.
 * @type {[string, [string, string[]][]][]}
 */
const KEYS = [
  ["keys.lines", [
    ["right", ["Enter"]],
    ["back", ["Shift+Enter"]],
    ["rightUpToHere", ["Ctrl+Enter"]],
    ["up", ["ArrowUp"]],
    ["down", ["ArrowDown"]],
    ["first", ["Ctrl+Home"]],
    ["last", ["Ctrl+End"]],
    ["nextPage", ["PageDown"]],
    ["previousPage", ["PageUp"]],
  ]],
  ["keys.words", [
    ["nextDoubt", ["Tab"]],
    ["previousDoubt", ["Shift+Tab"]],
    ["word", ["F2"]],
    ["reading1", ["Alt+1"]],
    ["reading2", ["Alt+2"]],
    ["reading3", ["Alt+3"]],
    ["reading4", ["Alt+4"]],
    ["reading5", ["Alt+5"]],
    ["illegible", ["Alt+6"]],
    ["struck", ["Alt+7"]],
    ["added", ["Alt+8"]],
    ["expanded", ["Alt+9"]],
    ["palette", ["Alt+0"]],
  ]],
  ["keys.changes", [
    ["undo", ["Ctrl+Z"]],
    ["redo", ["Ctrl+Y", "Ctrl+Shift+Z"]],
    ["save", ["Ctrl+S"]],
    ["history", ["F4"]],
    ["split", ["Alt+Enter"]],
    ["join", ["Alt+Shift+Enter"]],
  ]],
  ["keys.everywhere", [
    ["search", ["/", "Ctrl+Shift+F"]],
    ["export", ["Ctrl+Shift+E"]],
    ["help", ["?", "F1"]],
  ]],
  ["keys.view", [
    ["leave", ["Escape"]],
    ["mode", ["F8"]],
    ["layout", ["F9"]],
    ["closer", ["Ctrl+Alt+ArrowUp"]],
    ["farther", ["Ctrl+Alt+ArrowDown"]],
  ]],
]; // prettier-ignore

/** @type {Map<string, string>} */
const ACTIONS = new Map(KEYS.flatMap(([, entries]) => entries.flatMap(([action, keys]) => keys.map((key) => /** @type {[string, string]} */ ([key, action])))));

/**
 * What a key press asks for.
 * @param {KeyboardEvent} event
 * @returns {string|undefined}
 */
export function actionOf(event) {
  let name = "";
  if (event.ctrlKey || event.metaKey) name += "Ctrl+";
  if (event.altKey) name += "Alt+";
  if (event.shiftKey) name += "Shift+";
  const { key, code } = event;
  // With Alt some keyboards type a sign instead of the digit, and some have digits only with Shift.
  if (event.altKey && /^(Digit|Numpad)\d$/.test(code)) name = `Alt+${code.at(-1)}`;
  else if ((key === "?" || key === "/") && !event.ctrlKey && !event.metaKey) name = key; // with Shift or without
  else name += key.length === 1 ? key.toUpperCase() : key;
  return ACTIONS.get(name);
}

/** Actions of all screens: see `main.js`. */
export const EVERYWHERE = new Set(["search", "export", "help"]);

/**
 * Whether a key press is a sign that is typed where the focus is.
 * @param {KeyboardEvent} event
 */
export const isTyped = (event) => event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey && /** @type {Element} */ (event.target).matches("input, textarea, select");

/** What is left of the keys where nothing can be changed. */
const READING = new Set(["right", "back", "up", "down", "first", "last", "nextPage", "previousPage", "nextDoubt", "previousDoubt", "search", "export", "help", "leave", "mode", "closer", "farther"]);

/**
 * Show all keys.
 * @param {boolean} mayEdit
 */
export function showKeys(mayEdit) {
  const isShown = (/** @type {string} */ action) => (mayEdit ? !/^reading[2-5]$/.test(action) : READING.has(action));
  const groups = KEYS.filter(([, entries]) => entries.some(([action]) => isShown(action)));
  return openDialog(t("keys.title"), () => groups.map(([group, entries]) =>
    h("section", { class: "key-group" },
      h("h3", null, t(group)),
      h("dl", null, entries.filter(([action]) => isShown(action)).map(([action, keys]) =>
        h("div", null, h("dt", null, keys.map((key, i) => [i ? " " : "", keyCap(action === "reading1" ? "Alt+1…5" : key)]).flat()), h("dd", null, t(action === "right" && !mayEdit ? "key.down" : `key.${action}`))))))), { class: "wide keys-dialog" }); // prettier-ignore
}

const NAMES = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", PageDown: "Page ↓", PageUp: "Page ↑", Escape: "Esc" };

/** @param {string} key */
export function keyCap(key) {
  const isMac = /Mac|iP(hone|ad)/.test(navigator.platform);
  const parts = key.split("+").map((part) => /** @type {Record<string, string>} */ (NAMES)[part] ?? (isMac ? { Ctrl: "⌘", Alt: "⌥", Shift: "⇧" }[part] : null) ?? part);
  return h("kbd", null, parts.join(isMac ? "" : "+"));
}
