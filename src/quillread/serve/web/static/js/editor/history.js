// What a line has been: who changed it and when; one click puts a version back.

import { h } from "../dom.js";
import { get } from "../api.js";
import { openDialog, tellFault } from "../dialog.js";
import { percent, t, when } from "../i18n.js";
import { differences } from "./words.js";

/**
 * @param {import("./sheet.js").Sheet} sheet
 * @param {number} id Of the line.
 * @param {boolean} mayEdit
 */
export async function showHistory(sheet, id, mayEdit) {
  /** @type {{items: import("../types.js").Version[]}} */
  const { items } = await get(`lines/${id}/versions`);
  const versions = [...items].sort((a, b) => b.number - a.number);
  const title = t("history.title", { n: sheet.placeOf(id) + 1 });
  await openDialog(title, (close) => [
    versions.length ? null : h("p", null, t("history.none")),
    h("ol", { class: "versions" }, versions.map((version, i) => h("li", { class: version.is_current ? "current" : null },
      h("div", { class: "version-text", dir: "auto" }, versions[i + 1]
        ? differences(version.text, versions[i + 1].text).map((piece) => (piece.differs ? h("mark", null, piece.text) : piece.text))
        : version.text || "–"),
      h("div", { class: "version-facts" },
        h("span", null, `${t(`history.${version.kind}`)} ${version.author}`),
        version.confidence !== null && version.kind === "machine" ? h("span", null, t("editor.sureOf", { share: percent(version.confidence) })) : null,
        h("time", { datetime: version.created }, when(version.created)),
        version.is_current
          ? h("strong", null, t("history.current"))
          : mayEdit ? h("button", { type: "button", class: "small", autofocus: i === 1, onclick: () => restore(version.number, close) }, t("history.restore")) : null)))),
  ]); // prettier-ignore

  /**
   * @param {number} number
   * @param {() => void} close
   */
  async function restore(number, close) {
    try {
      await sheet.restore(id, number);
      close();
    } catch (error) {
      tellFault(error);
    }
  }
}
