// What a row says when its edit needs a person: another has changed the line, it is gone, or the server refuses it.

import { h } from "../dom.js";
import { t } from "../i18n.js";
import { copyText } from "../dialog.js";
import { outbox } from "../outbox.js";
import { differences } from "./words.js";

/**
 * @param {import("./sheet.js").Sheet} sheet
 * @param {import("./sheet.js").Row} row
 * @param {() => void} done Gives the focus back.
 * @returns {HTMLElement}
 */
export function noteOf(sheet, row, done) {
  const id = row.line.id;
  const edit = outbox.edits.get(id);
  if (row.note === "conflict" && edit?.theirs) {
    const theirs = edit.theirs;
    const decide = (/** @type {boolean} */ mine) => {
      outbox.decide(id, mine);
      sheet.mark(id, "");
      done();
    };
    return h("div", { class: "note", role: "group", "aria-label": t("conflict.title") },
      h("p", null, t("conflict.by", { name: theirs.author || t("conflict.someone") })),
      h("p", { class: "their-text", dir: "auto" },
        differences(theirs.text, row.line.text).map((piece) => (piece.differs ? h("mark", null, piece.text) : piece.text))),
      h("div", { class: "buttons start" },
        h("button", { type: "button", onclick: () => decide(false) }, t("conflict.theirs")),
        h("button", { type: "button", onclick: () => decide(true) }, t("conflict.mine")))); // prettier-ignore
  }
  const isGone = row.note === "gone";
  return h("div", { class: "note" },
    h("p", null, isGone ? t("conflict.gone") : t("conflict.refused", { why: row.note })),
    h("div", { class: "buttons start" },
      h("button", { type: "button", onclick: () => copyText(row.line.text) }, t("conflict.copy")),
      isGone ? null : h("button", { type: "button", onclick: () => (sheet.mark(id, ""), outbox.put(row.server, row.line.text, row.line.checked, { now: true })) }, t("fault.again")),
      h("button", { type: "button", onclick: () => (outbox.forget(id), isGone ? sheet.load() : sheet.take(row.server), done()) }, t("conflict.drop")))); // prettier-ignore
}
