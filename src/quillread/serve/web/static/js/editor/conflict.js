// What is said of an edit that needs a person: another has changed the line, it is gone, or the server refuses it.

import { h } from "../dom.js";
import { t } from "../i18n.js";
import { copyText } from "../dialog.js";
import { outbox } from "../outbox.js";
import { differences } from "./words.js";

/**
 * @param {import("../outbox.js").Edit} edit
 * @param {() => void} [done] Gives the focus back.
 * @returns {HTMLElement}
 */
export function noteOf(edit, done) {
  const button = (/** @type {string} */ label, /** @type {() => void} */ run) =>
    h("button", { type: "button", onclick: () => (run(), done?.()) }, label); // prettier-ignore
  const { theirs, text, line } = edit;
  if (theirs) {
    return h("div", { class: "note", role: "group", "aria-label": t("conflict.title") },
      h("p", null, t("conflict.by", { name: theirs.author || t("conflict.someone") })),
      h("p", { class: "their-text", dir: "auto" },
        differences(theirs.text, text).map((piece) => (piece.differs ? h("mark", null, piece.text) : piece.text))),
      h("div", { class: "buttons start" },
        button(t("conflict.theirs"), () => outbox.decide(line, false)),
        button(t("conflict.mine"), () => outbox.decide(line, true)))); // prettier-ignore
  }
  const isGone = edit.refused === "gone";
  return h("div", { class: "note" },
    h("p", null, isGone ? t("conflict.gone") : t("conflict.refused", { why: edit.refused ?? "" })),
    h("div", { class: "buttons start" },
      h("button", { type: "button", onclick: () => copyText(text) }, t("conflict.copy")),
      isGone ? null : button(t("fault.again"), () => outbox.again(line)),
      button(t("conflict.drop"), () => outbox.forget(line)))); // prettier-ignore
}
