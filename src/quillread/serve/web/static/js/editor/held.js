// Keys that are pressed while a page or a line loads: they wait for it, and do there what they would have done, in their
// order.

import { h } from "../dom.js";
import { t } from "../i18n.js";
import { actionOf, EVERYWHERE } from "./keys.js";

/** @typedef {{text: string}|{action: string}} Press What was typed in a row, or what a key asks for. */

/**
 * What keys are for, once it is there.
 * @typedef {object} Hands
 * @property {(text: string) => void} type
 * @property {(action: string) => void} run
 */

/** @type {Hold|null} */
let hold = null;

/** The screen that the address names, such as `page/12`. */
export const currentPath = () => location.hash.replace(/^#\/?/, "").split("?")[0];

/** A field that nobody sees takes what is typed: so accents that are typed with two keys, and pasted text, arrive whole. */
class Hold {
  /**
   * @param {string} path Of the screen.
   * @param {string} label
   */
  constructor(path, label) {
    this.path = path;
    /** @type {Press[]} */
    this.presses = [];
    this.ends = new AbortController();
    const { signal } = this.ends;
    this.field = h("textarea", { class: "unseen held", "aria-label": label, autocomplete: "off", autocapitalize: "off", spellcheck: "false", onkeydown: (/** @type {KeyboardEvent} */ event) => this.key(event) });
    document.body.append(this.field);
    this.field.focus({ preventScroll: true });
    addEventListener("hashchange", () => currentPath() !== path && endHold(), { signal });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const action = event.isComposing ? undefined : actionOf(event);
    if (!action || EVERYWHERE.has(action)) return;
    event.preventDefault();
    event.stopPropagation();
    this.take();
    this.presses.push({ action });
  }

  take() {
    if (this.field.value) this.presses.push({ text: this.field.value });
    this.field.value = "";
  }

  end() {
    this.take();
    this.ends.abort();
    this.field.remove();
  }
}

/**
 * A page is asked for, or a line: keys wait for it from now on.
 * @param {string} path Of the screen that they are for.
 * @param {string} [label] For screen readers.
 */
export function holdKeys(path, label = t("editor.opening")) {
  if (hold?.path === path) return;
  endHold();
  hold = new Hold(path, label);
}

/**
 * Whether keys wait for a screen.
 * @param {string} path
 */
export const isHeld = (path) => hold?.path === path;

/**
 * What was asked for is there, and has the focus: do what was pressed. Where that asks for yet another, the rest waits for it.
 * @param {string} path
 * @param {Hands} hands
 */
export function releaseKeys(path, hands) {
  if (hold?.path !== path) return;
  const { presses } = hold;
  endHold();
  while (presses.length && !hold) {
    const press = /** @type {Press} */ (presses.shift());
    if ("text" in press) hands.type(press.text);
    else hands.run(press.action);
    if ("action" in press && press.action === "leave") return; // what was pressed after it was for no line
  }
  /** @type {Hold|null} */ (hold)?.presses.unshift(...presses);
}

/** Nothing is waited for any more: what was pressed is for nobody. */
export function endHold() {
  hold?.end();
  hold = null;
}
