// What is done with several pages at once.

import { h } from "../dom.js";
import { all, call, get } from "../api.js";
import { buttons, openDialog, tellFault, toast } from "../dialog.js";
import { t } from "../i18n.js";
import { mayAs } from "../session.js";
import { tellJob } from "./jobs.js";

/** @typedef {import("../types.js").Page} Page */
/** @typedef {import("../types.js").ArchiveDocument} ArchiveDocument */
/** @typedef {import("../types.js").Collection} Collection */
/** @typedef {{from_id: number, document_id: number}} Moved Where the pages of a document are now: the same one, or a new one. */

const AT_ONCE = 10_000; // pages that the server takes in one request

/**
 * Have pages read again.
 * @param {Page[]|string} what Pages, or the path of a collection or document.
 * @param {"all"|"unread"|"unchecked"} only
 */
export async function readAgain(what, only) {
  const body = { options: {}, layout: null, only };
  try {
    if (typeof what === "string") {
      const job = await call("POST", `${what}/read`, { body });
      return tellJob(job, t("read.begun", { n: Math.max(job.total, 1) }));
    }
    for (const some of partsOf(what)) {
      tellJob(await call("POST", "pages/read", { body: { ...body, page_ids: idsOf(some) } }), t("read.begun", { n: some.length }));
    }
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
 * Move pages to another document, perhaps a new one, or to another collection.
 * @param {Page[]} pages
 * @param {ArchiveDocument[]} documents
 * @param {number} collection
 * @param {() => Promise<void>} done
 */
export async function movePages(pages, documents, collection, done) {
  /** @type {Collection[]} */
  const others = (await all("collections")).filter((one) => one.id !== collection && mayAs(one.role, "editor"));
  const target = await askTarget(pages.length, documents.filter((one) => one.page_count), others);
  if (!target) return;
  /** @type {Moved[]} */
  let moved = [];
  if (target.collection) {
    for (const some of partsOf(pages)) moved.push(...(await call("POST", `collections/${target.collection}/pages`, { body: { page_ids: idsOf(some) } })).items);
  } else {
    const to = target.document ?? (await call("POST", `collections/${collection}/documents`, { body: { name: target.name } })).id;
    await change(pages, { document_id: to });
    moved = [...new Set(pages.map((page) => page.document_id))].filter((from_id) => from_id !== to).map((from_id) => ({ from_id, document_id: to }));
  }
  const known = new Map(documents.map((one) => [one.id, one]));
  await done();
  toast(t("move.done", { n: pages.length, name: target.name }), { action: t("undo"), run: () => void moveBack(pages, moved, known).then(done, tellFault) });
}

/**
 * Ask where pages are to go.
 * @param {number} n Pages.
 * @param {ArchiveDocument[]} documents Of their collection.
 * @param {Collection[]} others
 * @returns {Promise<{name: string, document?: number, collection?: number}|undefined>} With neither, a new document.
 */
function askTarget(n, documents, others) {
  return openDialog(t("move.title"), (close) => {
    const name = h("input", { id: "move-name", dir: "auto", maxlength: "500" });
    const naming = h("div", { class: "stack" }, h("label", { for: "move-name" }, t("move.newName")), name);
    const hint = h("p", { class: "hint", id: "move-hint" }, t("move.keep"));
    const options = (/** @type {string} */ kind, /** @type {{id: number, name: string}[]} */ some) =>
      some.length ? h("optgroup", { label: t(`move.${kind}`) }, some.map((one) => h("option", { value: `${kind} ${one.id}` }, one.name))) : null;
    const select = h("select", { id: "move-to", autofocus: true }, options("document", documents), options("collection", others), h("option", { value: "" }, t("move.new")));
    const follow = () => {
      naming.hidden = select.value !== "";
      hint.hidden = !select.value.startsWith("collection");
      select.setAttribute("aria-describedby", hint.hidden ? "" : hint.id);
    };
    const take = (/** @type {Event} */ event) => {
      event.preventDefault();
      const [kind, id] = select.value.split(" ");
      const chosen = kind ? select.selectedOptions[0].text : name.value.trim();
      if (chosen) close({ name: chosen, ...(kind ? { [kind]: Number(id) } : {}) });
    };
    select.addEventListener("change", follow);
    follow();
    return [h("form", { class: "stack", onsubmit: take }, h("label", { for: "move-to" }, t("move.to", { n })), select, hint, naming, buttons(() => close(), h("button", { class: "primary" }, t("move.button"))))];
  });
}

/**
 * Put pages back to where they came from, and documents that were moved or made for them.
 * @param {Page[]} pages As they were.
 * @param {Moved[]} moved
 * @param {Map<number, ArchiveDocument>} documents As they were.
 */
async function moveBack(pages, moved, documents) {
  // The last first: each goes before the document that has its place now, and those after it stay in their order.
  for (const { from_id, document_id } of [...moved].reverse()) {
    const before = documents.get(from_id);
    const some = pages.filter((page) => page.document_id === from_id);
    if (from_id === document_id && before) await call("PATCH", `documents/${from_id}`, { body: { collection_id: before.collection_id, position: before.position } });
    else await change(some, { document_id: from_id }, true);
  }
  const made = new Set(moved.map((one) => one.document_id).filter((id) => !documents.has(id)));
  for (const id of made) if (!(await get(`documents/${id}`)).page_count) await call("DELETE", `documents/${id}`); // nothing was added since
}

/** @param {Page[]} pages */
const idsOf = (pages) => pages.map((page) => page.id);

/**
 * All of them, or none, if they are no more than one request takes.
 * @param {Page[]} pages
 * @param {{deleted?: boolean, document_id?: number}} to
 * @param {boolean} [inPlace] Whether they go to the places that they had.
 */
async function change(pages, to, inPlace = false) {
  for (const some of partsOf(pages)) {
    await call("PATCH", "pages", { body: { page_ids: idsOf(some), ...to, ...(inPlace && { positions: some.map((page) => page.position) }) } });
  }
}

/**
 * Pages in parts, each for one request. A document stays whole if it can: its pages would go into two.
 * @param {Page[]} pages
 * @returns {Page[][]}
 */
function partsOf(pages) {
  const parts = [];
  for (let start = 0, end = 0; start < pages.length; start = end) {
    end = Math.min(start + AT_ONCE, pages.length);
    let whole = end;
    while (end < pages.length && whole > start && pages[whole].document_id === pages[whole - 1].document_id) whole--;
    if (whole > start) end = whole;
    parts.push(pages.slice(start, end));
  }
  return parts;
}
