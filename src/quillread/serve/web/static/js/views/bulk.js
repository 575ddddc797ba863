// What is done with several pages at once.

import { h } from "../dom.js";
import { call } from "../api.js";
import { buttons, openDialog, tellFault, toast } from "../dialog.js";
import { t } from "../i18n.js";
import { tellJob } from "./jobs.js";

/** @typedef {import("../types.js").Page} Page */
/** @typedef {import("../types.js").ArchiveDocument} ArchiveDocument */

/**
 * Have pages read again.
 * @param {Page[]|string} what Pages, or the path of a collection or document.
 * @param {"all"|"unread"|"unchecked"} only
 */
export async function readAgain(what, only) {
  const body = { options: {}, layout: null, only };
  try {
    const job = typeof what === "string" ? await call("POST", `${what}/read`, { body }) : await call("POST", "pages/read", { body: { ...body, page_ids: idsOf(what) } });
    tellJob(job, t("read.begun", { n: typeof what === "string" ? Math.max(job.total, 1) : what.length }));
  } catch (error) {
    tellFault(error);
  }
}

/**
 * Put pages into the bin, with a way back.
 * @param {Page[]} pages
 * @param {() => Promise<void>} done
 */
export async function deletePages(pages, done) {
  if (!pages.length) return;
  await change(pages, { deleted: true });
  await done();
  toast(t("bin.movedPages", { n: pages.length }), {
    action: t("undo"),
    run: () => void change(pages, { deleted: false }).then(done, tellFault),
  });
}

/**
 * @param {ArchiveDocument} document
 * @param {() => Promise<void>} done
 */
export function restoreDocument(document, done) {
  toast(t("bin.moved", { name: document.name }), { action: t("undo"), run: () => void call("POST", `documents/${document.id}/restore`).then(done, tellFault) });
}

/**
 * Move pages to another document, perhaps a new one.
 * @param {Page[]} pages
 * @param {ArchiveDocument[]} documents
 * @param {number} collection
 * @param {() => Promise<void>} done
 */
export async function movePages(pages, documents, collection, done) {
  const target = await openDialog(t("move.title"), (close) => {
    const name = h("input", { id: "move-name", dir: "auto", maxlength: "500" });
    const naming = h("div", { class: "stack", hidden: documents.length > 0 }, h("label", { for: "move-name" }, t("move.newName")), name);
    const select = h("select", { id: "move-to", autofocus: true }, documents.map((one) => h("option", { value: one.id }, one.name)), h("option", { value: "" }, t("move.new")));
    select.addEventListener("change", () => (naming.hidden = select.value !== ""));
    const take = (/** @type {Event} */ event) => {
      event.preventDefault();
      if (select.value || name.value.trim()) close(select.value ? Number(select.value) : name.value.trim());
    };
    return [h("form", { class: "stack", onsubmit: take }, h("label", { for: "move-to" }, t("move.to", { n: pages.length })), select, naming, buttons(() => close(), h("button", { class: "primary" }, t("move.button"))))];
  });
  if (target === undefined) return;
  const to = typeof target === "number" ? target : (await call("POST", `collections/${collection}/documents`, { body: { name: target } })).id;
  await change(pages, { document_id: to });
  await done();
  toast(t("move.done", { n: pages.length }), { action: t("undo"), run: () => void moveBack(pages).then(done, tellFault) });
}

/**
 * Put pages back into the documents that they came from.
 * @param {Page[]} pages As they were.
 */
async function moveBack(pages) {
  for (const from of new Set(pages.map((page) => page.document_id))) {
    await change(pages.filter((page) => page.document_id === from), { document_id: from }); // prettier-ignore
  }
}

/** @param {Page[]} pages */
const idsOf = (pages) => pages.map((page) => page.id);

/**
 * All of them, or none.
 * @param {Page[]} pages
 * @param {{deleted?: boolean, document_id?: number}} to
 */
const change = (pages, to) => call("PATCH", "pages", { body: { page_ids: idsOf(pages), ...to } });
