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
  const ends = new AbortController();
  const modes = /** @type {[Mode, Parameters<typeof icon>[0]][]} */ ([["side", "side"], ["layout", "layout"], ["strips", "strips"]]); // prettier-ignore
  const modeButtons = modes.map(([mode, picture]) =>
    h("button", { type: "button", class: "segment", "data-mode": mode, "aria-pressed": String(mode === editor.mode), title: t(`mode.${mode}`), onclick: () => editor.setMode(mode) }, icon(picture), h("span", { class: "wide-only" }, t(`mode.${mode}`)))); // prettier-ignore
  const layoutButton = h("button", { type: "button", class: "plain toggle", "aria-pressed": "false", title: `${t("layout.title")} (F9)`, onclick: () => editor.hands.run("layout") }, icon("pen"), h("span", { class: "wide-only" }, t("layout.title")));
  const saveState = saveButton(ends.signal);
  const step = (/** @type {"next"|"back"} */ which) =>
    h("a", { class: "button plain square", "aria-label": t(`page.${which}`), title: `${t(`page.${which}`)} (Page ${which === "next" ? "↓" : "↑"})` }, icon(which)); // prettier-ignore
  const [back, next] = [step("back"), step("next")];
  const named = h("span", { class: "document-name" });
  const label = h("span", { class: "page-label" });
  const root = h("header", { class: "bar editor-bar" },
    h("a", { class: "button plain square", href: `#/collection/${editor.sheet.page.collection_id}`, "aria-label": t("editor.toCollection", { name: editor.collection.name }), title: editor.collection.name }, icon("back")),
    h("h1", { dir: "auto" }, named, " ", label),
    h("nav", { class: "steps", "aria-label": t("page.turn") }, back, next),
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

  /** Show where the page is now. */
  function follow() {
    const { page } = editor.sheet;
    const isAlone = editor.document.page_count === 1;
    const name = page.label || (isAlone ? "" : t("page.number", { n: page.number ?? 0 }));
    const place = { n: page.number ?? 0, all: editor.document.page_count };
    named.textContent = editor.document.name;
    label.textContent = isAlone ? name : page.label ? t("page.labelled", { ...place, label: page.label }) : t("page.numberOf", place);
    document.title = [name, editor.document.name, "Quillread"].filter(Boolean).join(" · ");
    lead(back, page.previous_id);
    lead(next, page.next_id);
  }
  follow();

  return {
    root,
    follow,
    close: () => ends.abort(),
    focus: () => (editor.mayEdit ? saveState : modeButtons[0]).focus(),
    /** @param {Mode} mode */
    showMode: (mode) => modeButtons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.mode === mode))),
    /** @param {boolean} on */
    showLayout: (on) => layoutButton.setAttribute("aria-pressed", String(on)),
  };
}

/**
 * Let a link lead to a page, or nowhere.
 * @param {HTMLAnchorElement} link
 * @param {number|null|undefined} page
 */
function lead(link, page) {
  if (page) link.href = `#/page/${page}`;
  else link.removeAttribute("href");
  for (const [name, value] of [["role", "link"], ["aria-disabled", "true"]]) page ? link.removeAttribute(name) : link.setAttribute(name, value); // prettier-ignore
}
