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
    const paths = typeof what === "string" ? [what] : what.map((page) => `pages/${page.id}`);
    let job = null;
    for (const path of paths) job = await call("POST", `${path}/read`, { body });
    if (job) tellJob(job, t("read.begun", { n: typeof what === "string" ? Math.max(job.total, 1) : what.length }));
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
  await each(pages, (page) => call("DELETE", `pages/${page.id}`));
  await done();
  toast(t("bin.movedPages", { n: pages.length }), {
    action: t("undo"),
    run: () => void each(pages, (page) => call("POST", `pages/${page.id}/restore`)).then(done, tellFault),
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
  const from = new Map(pages.map((page) => [page.id, page.document_id]));
  await each(pages, (page) => call("PATCH", `pages/${page.id}`, { body: { document_id: to } }));
  await done();
  toast(t("move.done", { n: pages.length }), {
    action: t("undo"),
    run: () => void each(pages, (page) => call("PATCH", `pages/${page.id}`, { body: { document_id: from.get(page.id) } })).then(done, tellFault),
  });
}

/**
 * One after the other, in their order.
 * @param {Page[]} pages
 * @param {(page: Page) => Promise<any>} run
 */
async function each(pages, run) {
  for (const page of pages) await run(page);
}
