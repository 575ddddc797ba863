// What was deleted: collections, documents and pages can be put back, or deleted for good.

import { fill, h, icon } from "../dom.js";
import { all, call } from "../api.js";
import { askWhether, tellFault, toast } from "../dialog.js";
import { number, t, when } from "../i18n.js";
import { mayAs } from "../session.js";
import { shellBar } from "./shell.js";

/** @typedef {{path: string, name: string, deleted: string, where: string, mayRestore: boolean, mayPurge: boolean}} Entry */

/** @type {import("../types.js").Show} */
export async function show(root) {
  const list = h("ul", { class: "plain-list" });
  fill(root, shellBar({ title: t("bin.title"), back: "#/", backLabel: t("collections.title") }), h("main", { class: "page narrow" }, h("p", { class: "hint" }, t("bin.hint")), list));

  async function load() {
    const [gone, kept] = await Promise.all([all("collections", { deleted: true }), all("collections")]);
    /** @type {Entry[]} */
    const entries = gone.map((one) => ({ path: `collections/${one.id}`, name: one.name, deleted: one.deleted, where: t("bin.collection"), mayRestore: mayAs(one.role, "admin"), mayPurge: mayAs(one.role, "admin") }));
    for (const collection of kept.filter((one) => mayAs(one.role, "editor"))) {
      for (const one of await all(`collections/${collection.id}/documents`, { deleted: true })) {
        entries.push({ path: `documents/${one.id}`, name: one.name, deleted: one.deleted, where: collection.name, mayRestore: true, mayPurge: mayAs(collection.role, "admin") });
      }
      const pages = await all(`collections/${collection.id}/pages`, { deleted: true });
      const names = new Map(pages.length ? (await all(`collections/${collection.id}/documents`)).map((one) => [one.id, one.name]) : []);
      for (const one of pages) {
        const name = `${names.get(one.document_id) ?? ""} · ${one.label || one.source_name || one.id}`;
        entries.push({ path: `pages/${one.id}`, name, deleted: one.deleted, where: collection.name, mayRestore: true, mayPurge: mayAs(collection.role, "admin") });
      }
    }
    entries.sort((a, b) => (a.deleted < b.deleted ? 1 : -1));
    fill(list, entries.length ? entries.map(entryItem) : h("li", { class: "none" }, t("bin.none")));
  }

  /** @param {Entry} entry */
  function entryItem(entry) {
    return h("li", null,
      h("div", null, h("strong", { dir: "auto" }, entry.name), h("p", { class: "hint" }, `${entry.where} · ${when(entry.deleted)}`)),
      h("div", { class: "push" }),
      entry.mayRestore ? h("button", { type: "button", onclick: () => call("POST", `${entry.path}/restore`).then(load, tellFault) }, icon("undo"), t("bin.restore")) : null,
      entry.mayPurge ? h("button", { type: "button", class: "plain danger-text", onclick: () => purge(entry) }, t("bin.purge")) : null); // prettier-ignore
  }

  /** @param {Entry} entry */
  async function purge(entry) {
    const sure = await askWhether(t("bin.purge"), { text: t("bin.sure", { name: entry.name }), button: t("bin.purge"), danger: true });
    if (!sure) return;
    try {
      const freed = await call("DELETE", `${entry.path}?purge=true`);
      toast([t("bin.purged", { n: freed?.files ?? 0, megabytes: number(Math.round((freed?.bytes ?? 0) / 1e5) / 10) }), freed?.note ?? ""].join(" "), { seconds: 12 });
      await load();
    } catch (error) {
      tellFault(error);
    }
  }

  await load();
  return {};
}
