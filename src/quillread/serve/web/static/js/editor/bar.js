// The bar above the editor: where one is, how the page is shown, and whether all is saved.

import { h, icon } from "../dom.js";
import { menuButton, tellFault } from "../dialog.js";
import { t } from "../i18n.js";
import { address } from "../api.js";
import { whoAmI } from "../session.js";
import { readOnlyMark, settingsMenu } from "../views/shell.js";
import { showKeys } from "./keys.js";
import { saveButton } from "./saving.js";

/** @typedef {import("./textpane.js").Mode} Mode */

/**
 * @param {import("./editor.js").Editor} editor
 */
export function editorBar(editor) {
  const { page } = editor.sheet;
  const ends = new AbortController();
  const modes = /** @type {[Mode, Parameters<typeof icon>[0]][]} */ ([["side", "side"], ["layout", "layout"], ["strips", "strips"]]); // prettier-ignore
  const modeButtons = modes.map(([mode, picture]) =>
    h("button", { type: "button", class: "segment", "data-mode": mode, "aria-pressed": String(mode === editor.mode), title: t(`mode.${mode}`), onclick: () => editor.setMode(mode) }, icon(picture), h("span", { class: "wide-only" }, t(`mode.${mode}`)))); // prettier-ignore
  const layoutButton = h("button", { type: "button", class: "plain toggle", "aria-pressed": "false", title: `${t("layout.title")} (F9)`, onclick: () => editor.hands.run("layout") }, icon("pen"), h("span", { class: "wide-only" }, t("layout.title")));
  const saveState = saveButton(ends.signal);
  const step = (/** @type {number|null|undefined} */ id, /** @type {"next"|"back"} */ which) =>
    h("a", { class: "button plain square", href: id ? `#/page/${id}` : null, role: id ? null : "link", "aria-disabled": id ? null : "true", "aria-label": t(`page.${which}`), title: `${t(`page.${which}`)} (Page ${which === "next" ? "↓" : "↑"})` }, icon(which)); // prettier-ignore
  const label = h("span", { class: "page-label" });
  const root = h("header", { class: "bar editor-bar" },
    h("a", { class: "button plain square", href: `#/collection/${page.collection_id}`, "aria-label": t("editor.toCollection", { name: editor.collection.name }), title: editor.collection.name }, icon("back")),
    h("h1", { dir: "auto" }, h("span", { class: "document-name" }, editor.document.name), " ", label),
    h("nav", { class: "steps", "aria-label": t("page.turn") }, step(page.previous_id, "back"), step(page.next_id, "next")),
    h("div", { class: "push" }),
    editor.mayEdit ? saveState : readOnlyMark(),
    h("div", { class: "segments", role: "group", "aria-label": t("mode.title") }, modeButtons),
    editor.mayEdit ? layoutButton : null,
    h("button", { type: "button", class: "plain square", "aria-label": t("keys.title"), title: `${t("keys.title")} (F1)`, onclick: () => showKeys(editor.mayEdit) }, icon("keys")),
    menuButton(icon("more"), [
      ...(editor.mayEdit ? [{ label: t("editor.readAgain"), icon: /** @type {const} */ ("read"), run: () => editor.read() }] : []),
      ...(editor.sheet.rows.length && !whoAmI().link ? [{ label: t("key.history"), icon: /** @type {const} */ ("history"), run: () => editor.hands.run("history") }] : []),
      { label: `${t("export.title")} (Ctrl+Shift+E)`, icon: "download", run: () => editor.export().catch(tellFault) },
      { label: t("print.title"), icon: "print", run: () => (location.hash = `#/page/${editor.id}/print`) },
      ...(whoAmI().link ? [] : [{ label: t("page.original"), icon: /** @type {const} */ ("book"), run: () => open(address(`pages/${editor.id}/original`), "_blank", "noopener") }]),
    ], { name: t("more"), class: "plain square" }),
    settingsMenu()); // prettier-ignore

  const isAlone = editor.document.page_count === 1;
  const name = page.label || (isAlone ? "" : t("page.number", { n: page.number ?? 0 }));
  const place = { n: page.number ?? 0, all: editor.document.page_count };
  label.textContent = isAlone ? name : page.label ? t("page.labelled", { ...place, label: page.label }) : t("page.numberOf", place);
  document.title = [name, editor.document.name, "Quillread"].filter(Boolean).join(" · ");

  return {
    root,
    close: () => ends.abort(),
    focus: () => (editor.mayEdit ? saveState : modeButtons[0]).focus(),
    /** @param {Mode} mode */
    showMode: (mode) => modeButtons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.mode === mode))),
    /** @param {boolean} on */
    showLayout: (on) => layoutButton.setAttribute("aria-pressed", String(on)),
  };
}
