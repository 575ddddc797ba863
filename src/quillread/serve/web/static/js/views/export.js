// Exporting: a format, what of, a look at it, and the file.

import { h, icon } from "../dom.js";
import { address, call, send } from "../api.js";
import { faultText, openDialog, tellFault } from "../dialog.js";
import { t } from "../i18n.js";
import { recall, remember } from "../storage.js";
import { tellJob } from "./jobs.js";

const FORMATS = ["txt", "docx", "pdf", "md", "page", "alto", "hocr", "json", "csv", "page-zip", "jsonl", "parquet"];
const TRUTH = ["page-zip", "jsonl", "parquet"];
const READABLE = ["txt", "md", "page", "alto", "hocr", "json", "csv"];
const SHOWN = 6000; // characters of a preview

/**
 * @typedef {object} Scope
 * @property {number} collection
 * @property {number} [page] Only this page.
 * @property {number[]} [pages]
 * @property {number[]} [documents]
 * @property {number} [sample] A page to show a preview of.
 */

/**
 * Export a page, some pages, documents, or a collection.
 * @param {Scope} scope
 */
export async function exportDialog(scope) {
  const ends = new AbortController();
  const kept = FORMATS.find((name) => name === recall("format"));
  let format = kept ?? "txt";
  const preview = h("pre", { class: "preview", tabindex: "0", "aria-label": t("export.preview"), dir: "auto" });
  const checked = h("input", { type: "checkbox", id: "only-checked" });
  const sample = scope.page ?? scope.pages?.[0] ?? scope.sample;
  const direct = h("a", { class: "button primary", download: "", autofocus: kept !== undefined }, icon("download"), t("export.download"));
  const behind = h("button", { type: "button", class: "primary", autofocus: kept !== undefined }, t("export.begin"));
  const isTruth = h("label", { class: "check" }, checked, t("export.checked"));

  const what = scope.page ? t("export.page") : scope.pages ? t("count.pages", { n: scope.pages.length }) : scope.documents ? t("count.documents", { n: scope.documents.length }) : t("export.collection");

  /** @param {string} name */
  async function choose(name) {
    format = name;
    remember("format", name);
    isTruth.hidden = !TRUTH.includes(name);
    const query = { format: name, checked: TRUTH.includes(name) && checked.checked ? true : null };
    if (scope.page) direct.href = address(`pages/${scope.page}/export`, query);
    await showPreview(name);
  }

  /** @param {string} name */
  async function showPreview(name) {
    preview.hidden = false;
    if (sample === undefined || !READABLE.includes(name)) {
      preview.textContent = t(`format.${name}.${READABLE.includes(name) ? "for" : "more"}`);
      return;
    }
    preview.textContent = "…";
    try {
      const answer = await send("GET", address(`pages/${sample}/export`, { format: name }), { signal: ends.signal });
      const text = await answer.text();
      if (name === format) preview.textContent = text.length > SHOWN ? `${text.slice(0, SHOWN)}\n…` : text;
    } catch (error) {
      if (name === format) preview.textContent = faultText(error);
    }
  }

  await openDialog(t("export.title"), (close) => {
    checked.addEventListener("change", () => choose(format));
    direct.addEventListener("click", () => setTimeout(close));
    behind.addEventListener("click", async () => {
      try {
        const body = { format, ...(scope.pages ? { page_ids: scope.pages } : scope.documents ? { document_ids: scope.documents } : { collection_id: scope.collection }), ...(TRUTH.includes(format) && checked.checked ? { checked: true } : {}) };
        tellJob(await call("POST", "exports", { body }), t("export.begun"));
        close();
      } catch (error) {
        tellFault(error);
      }
    });
    const option = (/** @type {string} */ name) => h("label", { class: "format" },
      h("input", { type: "radio", name: "format", value: name, checked: name === format, autofocus: name === format && !kept, onchange: () => choose(name) }),
      h("span", null, h("strong", null, t(`format.${name}`)), h("span", { class: "hint" }, t(`format.${name}.for`)))); // prettier-ignore
    choose(format);
    return [
      h("p", null, t("export.what", { what })),
      h("div", { class: "export" },
        h("fieldset", { class: "formats" }, h("legend", { class: "unseen" }, t("export.format")),
          FORMATS.filter((name) => !TRUTH.includes(name)).map(option), h("h3", null, t("export.truth")), TRUTH.map(option)),
        h("div", { class: "stack" }, h("h3", null, t("export.preview")), preview, isTruth)),
      h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => close() }, t("cancel")), scope.page ? direct : behind),
    ]; // prettier-ignore
  }, { class: "wide" });
  ends.abort();
}
