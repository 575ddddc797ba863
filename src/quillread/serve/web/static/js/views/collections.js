// The first screen: all collections.

import { fill, h, icon } from "../dom.js";
import { all, call } from "../api.js";
import { askText, menuButton, tellFault, toast } from "../dialog.js";
import { watch } from "../events.js";
import { percent, t } from "../i18n.js";
import { mayAs, whoAmI } from "../session.js";
import { hearJob, loadJobs } from "./jobs.js";
import { shellBar } from "./shell.js";

/** @typedef {import("../types.js").Collection} Collection */

/** @type {import("../types.js").Show} */
export async function show(root) {
  /** @type {Collection[]} */
  let collections = await all("collections");
  const mayMake = mayAs(whoAmI().role, "editor");
  const list = h("ul", { class: "cards" });
  const search = h("form", { class: "search-form", role: "search", onsubmit: (/** @type {Event} */ event) => (event.preventDefault(), findText()) },
    icon("search"), h("input", { type: "search", name: "q", "aria-label": t("search.all"), placeholder: t("search.all"), dir: "auto" })); // prettier-ignore
  const add = mayMake ? h("button", { type: "button", class: "primary", onclick: make }, icon("plus"), t("collections.new")) : null;
  const main = h("main", { class: "page" },
    h("div", { class: "page-head" }, h("div", null, h("h2", null, t("collections.title")), mayMake ? h("p", { class: "hint" }, t("collections.hint")) : null), h("div", { class: "push" }), search, add),
    list,
    h("p", { class: "foot" }, mayMake || collections.some((one) => mayAs(one.role, "editor")) ? h("a", { href: "#/bin" }, icon("trash"), t("bin.title")) : h("span"), h("span", null, `Quillread ${whoAmI().version}`))); // prettier-ignore
  fill(root, shellBar({ title: "Quillread" }), main);

  function draw() {
    if (!collections.length) {
      fill(list, h("li", { class: "welcome" },
        icon(mayMake ? "upload" : "book"), h("h2", null, t("collections.none")), mayMake ? h("p", null, t("collections.start")) : null,
        mayMake ? h("button", { type: "button", class: "primary", onclick: make }, t("collections.new")) : null)); // prettier-ignore
      return;
    }
    fill(list, collections.map(card));
  }

  /** @param {Collection} collection */
  function card(collection) {
    const share = collection.line_count ? collection.checked_count / collection.line_count : 0;
    const menu = mayAs(collection.role, "editor") ? menuButton(icon("more"), [
      { label: t("rename"), icon: "pen", run: () => rename(collection) },
      ...(mayAs(collection.role, "admin") ? [{ label: t("people.title"), icon: /** @type {const} */ ("people"), run: () => (location.hash = `#/collection/${collection.id}/people`) }] : []),
      ...(mayAs(collection.role, "admin") ? [{ label: t("delete"), icon: /** @type {const} */ ("trash"), danger: true, run: () => remove(collection) }] : []),
    ], { name: t("collections.menu", { name: collection.name }), class: "plain square" }) : null; // prettier-ignore
    return h("li", { class: "card" },
      h("a", { href: `#/collection/${collection.id}`, dir: "auto" }, collection.name),
      h("p", { class: "facts" }, [t("count.documents", { n: collection.document_count }), t("count.pages", { n: collection.page_count })].join(" · ")),
      h("div", { class: "meter", role: "img", "aria-label": t("collections.share", { share: percent(share) }) }, h("span", { style: { width: `${share * 100}%` } })),
      h("p", { class: "facts" }, h("span", null, t("collections.share", { share: percent(share) })), collection.doubtful_count ? h("span", { class: "doubts" }, t("count.doubtful", { n: collection.doubtful_count })) : null),
      menu); // prettier-ignore
  }

  async function make() {
    const name = await askText(t("collections.new"), { label: t("name"), button: t("create") });
    if (!name) return;
    try {
      const collection = await call("POST", "collections", { body: { name } });
      location.hash = `#/collection/${collection.id}`;
    } catch (error) {
      tellFault(error);
    }
  }

  /** @param {Collection} collection */
  async function rename(collection) {
    const name = await askText(t("rename"), { label: t("name"), value: collection.name, button: t("save") });
    if (name) await call("PATCH", `collections/${collection.id}`, { body: { name } }).then(refresh, tellFault);
  }

  /** @param {Collection} collection */
  async function remove(collection) {
    await call("DELETE", `collections/${collection.id}`).then(() => {
      toast(t("bin.moved", { name: collection.name }), { action: t("undo"), run: () => void call("POST", `collections/${collection.id}/restore`).then(refresh, tellFault) });
      return refresh();
    }, tellFault); // prettier-ignore
  }

  async function refresh() {
    collections = await all("collections");
    draw();
  }

  function findText() {
    const query = /** @type {HTMLInputElement} */ (search.elements.namedItem("q")).value.trim();
    if (query) location.hash = `#/search?q=${encodeURIComponent(query)}`;
  }

  draw();
  let timer = 0;
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(() => refresh().catch(() => {}), 800);
  };
  const stop = watch(null, (kind, data) => {
    hearJob(kind, data);
    if (/^(collection|document)\./.test(kind) || kind === "page.read") soon();
  }, (missed) => missed && (soon(), loadJobs(null).catch(() => {}))); // prettier-ignore
  return { close: () => (stop(), clearTimeout(timer)) };
}
