// One collection: its pages as thumbnails, and what can be done with them.

import { fill, h, icon } from "../dom.js";
import { all, call, get, part, parts } from "../api.js";
import { announce, askText, menuButton, tellFault, toast } from "../dialog.js";
import { watch } from "../events.js";
import { holdKeys } from "../editor/held.js";
import { number, percent, t } from "../i18n.js";
import { mayAs, whoAmI } from "../session.js";
import { deletePages, movePages, readAgain, restoreDocument } from "./bulk.js";
import { PageGrid } from "./grid.js";
import { hearJob, loadJobs } from "./jobs.js";
import { readOnlyMark, shellBar } from "./shell.js";
import { addAddress, addFiles, chooseFiles } from "./upload.js";

/** @typedef {import("../types.js").Page} Page */
/** @typedef {import("../types.js").Collection} Collection */
/** @typedef {import("../types.js").ArchiveDocument} ArchiveDocument */

/** @type {Record<string, (page: Page) => boolean>} */
const FILTERS = {
  all: () => true,
  waiting: (page) => page.state === "waiting" || page.state === "reading" || page.state === "new",
  doubtful: (page) => page.doubtful_count > 0,
  unchecked: (page) => page.state === "read" && page.checked_count < page.line_count,
  checked: (page) => page.line_count > 0 && page.checked_count === page.line_count,
  failed: (page) => page.state === "failed",
};

class CollectionScreen {
  /**
   * @param {HTMLElement} root
   * @param {number} id
   */
  constructor(root, id) {
    this.root = root;
    this.id = id;
    /** @type {Map<number, Page>} */
    this.pages = new Map();
    /** @type {Map<number, ArchiveDocument>} */
    this.documents = new Map();
    this.filter = "all";
    this.ends = new AbortController();
    /** @type {Set<number>} */
    this.stale = new Set();
    this.timer = 0;
    this.drawing = 0;
    this.chipping = 0;
  }

  async open() {
    /** @type {Collection} */
    this.collection = await get(`collections/${this.id}`);
    this.mayEdit = mayAs(this.collection.role, "editor");
    this.scroller = h("main", { class: "scroller" });
    this.head = h("div", { class: "page-head" });
    this.chips = h("div", { class: "chips", role: "group", "aria-label": t("filter.title") });
    this.grid = new PageGrid(this.scroller);
    this.empty = h("div", { class: "welcome", hidden: true });
    this.tray = h("div", { class: "tray", hidden: true, role: "region", "aria-label": t("tray.title") });
    fill(this.scroller, h("div", { class: "page" }, this.head, this.chips, this.empty, this.grid.root));
    fill(this.root, this.bar(), this.scroller, this.tray);
    this.root.classList.add("fixed");
    this.grid.addEventListener("open", (/** @type {any} */ event) => (holdKeys(`page/${event.detail.id}`), (location.hash = `#/page/${event.detail.id}`)));
    this.grid.addEventListener("select", () => this.showTray());
    this.grid.addEventListener("delete", () => this.mayEdit && this.act((pages) => deletePages(pages, () => this.load())));
    this.grid.addEventListener("document", (/** @type {any} */ event) => this.documentMenu(event.detail.id, event.detail.at));
    this.stop = watch(this.id, (kind, data) => this.hear(kind, data), (missed) => missed && this.reload());
    this.drawHead();
    await this.load();
    if (document.activeElement === document.body) this.grid.list.focus({ preventScroll: true }); // not if one types already
  }

  bar() {
    const collection = /** @type {Collection} */ (this.collection);
    const link = (/** @type {string} */ to, /** @type {Parameters<typeof icon>[0]} */ picture, /** @type {string} */ label) =>
      h("a", { class: "button plain", href: `#/collection/${this.id}/${to}`, title: label }, icon(picture), h("span", { class: "wide-only" }, label));
    return shellBar({
      title: collection.name, back: whoAmI().link ? undefined : "#/", backLabel: t("collections.title"), collection: this.id,
      actions: [
        this.mayEdit ? null : readOnlyMark(),
        this.mayEdit ? link("review", "eye", t("review.title")) : null,
        this.mayEdit ? link("teach", "teach", t("teach.title")) : null,
        mayAs(collection.role, "admin") ? link("people", "people", t("people.title")) : null,
        h("button", { type: "button", class: "plain", title: `${t("export.title")} (Ctrl+Shift+E)`, "aria-keyshortcuts": "Control+Shift+E", onclick: () => this.export({}).catch(tellFault) }, icon("download"), h("span", { class: "wide-only" }, t("export.title"))),
      ],
    }); // prettier-ignore
  }

  drawHead() {
    const collection = /** @type {Collection} */ (this.collection);
    const share = collection.line_count ? collection.checked_count / collection.line_count : 0;
    const search = h("form", { class: "search-form", role: "search", onsubmit: (/** @type {SubmitEvent} */ event) => this.search(event) },
      icon("search"), h("input", { type: "search", name: "q", "aria-label": t("search.here"), placeholder: `${t("search.here")} (/)`, "aria-keyshortcuts": "/ Control+Shift+F", dir: "auto" })); // prettier-ignore
    const addMenu = this.mayEdit ? menuButton(h("span", { class: "row" }, icon("upload"), t("upload.title")), [
      { label: t("upload.files"), icon: "upload", run: () => this.choose(false) },
      { label: t("upload.folder"), icon: "book", run: () => this.choose(true) },
      { label: t("upload.address"), icon: "download", run: () => this.fromAddress() },
    ], { class: "primary" }) : null; // prettier-ignore
    const readMenu = this.mayEdit && collection.page_count ? menuButton(h("span", { class: "row" }, icon("read"), t("read.title")), [
      { label: t("read.unread"), run: () => readAgain(`collections/${this.id}`, "unread") },
      { label: t("read.unchecked"), run: () => readAgain(`collections/${this.id}`, "unchecked") },
      { label: t("read.all"), run: () => readAgain(`collections/${this.id}`, "all") },
    ], { class: "" }) : null; // prettier-ignore
    fill(/** @type {HTMLElement} */ (this.head),
      h("div", { class: "summary" },
        h("p", null, [t("count.documents", { n: collection.document_count }), t("count.pages", { n: collection.page_count }), t("count.lines", { n: collection.line_count })].join(" · ")),
        h("div", { class: "row" }, h("div", { class: "meter", "aria-hidden": "true" }, h("span", { style: { width: `${share * 100}%` } })), h("span", null, t("collections.share", { share: percent(share) })))),
      h("div", { class: "push" }), search, readMenu, addMenu); // prettier-ignore
  }

  /** Load pages and documents; the first thousand are shown while others come. */
  async load() {
    const { signal } = this.ends;
    /** @type {Map<number, Page>} */
    const pages = new Map();
    try {
      const documents = all(`collections/${this.id}/documents`);
      for await (const part of parts(`collections/${this.id}/pages`, {}, signal)) {
        for (const page of part) pages.set(page.id, page);
        if (!this.pages.size || pages.size > this.pages.size) {
          this.documents = new Map((await documents).map((document) => [document.id, document]));
          this.pages = new Map(pages);
          this.draw();
        }
      }
      this.documents = new Map((await documents).map((document) => [document.id, document]));
      this.pages = pages;
      this.draw();
    } catch (error) {
      tellFault(error);
    }
  }

  draw() {
    this.drawing ||= requestAnimationFrame(() => {
      this.drawing = 0;
      this.drawNow();
    });
  }

  drawNow() {
    this.drawChips();
    const pages = [...this.pages.values()];
    const names = new Map([...this.documents.values()].map((document) => [document.id, document.name]));
    this.grid?.setPages(pages.filter(FILTERS[this.filter]), names);
    const empty = /** @type {HTMLElement} */ (this.empty);
    empty.hidden = pages.length > 0;
    if (!pages.length) fill(empty, icon(this.mayEdit ? "upload" : "book"), h("h2", null, t("collection.empty")), h("p", null, this.mayEdit ? t("collection.start") : ""), this.mayEdit ? h("div", { class: "buttons" }, h("button", { type: "button", class: "primary", onclick: () => this.choose(false) }, t("upload.files")), h("button", { type: "button", onclick: () => this.choose(true) }, t("upload.folder"))) : null);
  }

  drawChips() {
    const pages = [...this.pages.values()];
    const counts = Object.fromEntries(Object.entries(FILTERS).map(([name, holds]) => [name, pages.filter(holds).length]));
    const chosen = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.filter : undefined;
    fill(/** @type {HTMLElement} */ (this.chips), pages.length ? Object.keys(FILTERS).filter((name) => counts[name] || name === "all" || name === this.filter).map((name) =>
      h("button", { type: "button", class: "chip", "data-filter": name, "aria-pressed": String(name === this.filter), onclick: () => this.setFilter(name) }, t(`filter.${name}`), h("span", { class: "count" }, number(counts[name])))) : []); // prettier-ignore
    if (chosen) /** @type {HTMLElement|null} */ (this.chips?.querySelector(`[data-filter="${chosen}"]`))?.focus();
  }

  /** @param {string} name */
  setFilter(name) {
    this.filter = name;
    this.drawNow();
    announce(t("filter.shown", { n: this.grid?.pages.length ?? 0 }));
  }

  showTray() {
    const tray = /** @type {HTMLElement} */ (this.tray);
    const n = this.grid?.selected.size ?? 0;
    const isNew = tray.hidden;
    tray.hidden = n === 0;
    if (!n) return;
    if (isNew) announce(t("tray.selected", { n }));
    const button = (/** @type {Parameters<typeof icon>[0]} */ picture, /** @type {string} */ label, /** @type {() => void} */ run, name = "") =>
      h("button", { type: "button", class: name || "plain", onclick: run }, icon(picture), h("span", null, label));
    fill(tray,
      h("strong", null, t("tray.selected", { n })),
      h("div", { class: "push" }),
      this.mayEdit ? button("read", t("read.again"), () => this.act((pages) => readAgain(pages, "all"))) : null,
      button("download", t("export.title"), () => this.exportShown().catch(tellFault)),
      this.mayEdit ? button("move", t("move.title"), () => this.act((pages) => movePages(pages, [...this.documents.values()], this.id, () => this.load()))) : null,
      this.mayEdit ? button("trash", t("delete"), () => this.act((pages) => deletePages(pages, () => this.load())), "plain danger-text") : null,
      button("close", t("tray.clear"), () => (this.grid?.clear(), this.grid?.list.focus()))); // prettier-ignore
  }

  chosen() {
    const { grid } = this;
    if (!grid) return [];
    const chosen = grid.pages.filter((page) => grid.selected.has(page.id));
    return chosen.length ? chosen : grid.pages.slice(grid.focused, grid.focused + 1);
  }

  /** @param {(pages: Page[]) => Promise<any>} run */
  async act(run) {
    try {
      await run(this.chosen());
    } catch (error) {
      tellFault(error);
    }
    this.grid?.list.focus({ preventScroll: true });
  }

  /** What is selected, or all. */
  exportShown() {
    const chosen = this.grid?.selected.size ? this.chosen() : [];
    return this.export(chosen.length && chosen.length < this.pages.size ? { pages: chosen.map((page) => page.id) } : {});
  }

  /** @param {{pages?: number[], documents?: number[], sample?: number}} what Else all. */
  async export(what) {
    const { exportDialog } = await part(() => import("./export.js"));
    await exportDialog({ collection: this.id, sample: this.grid?.pages[0]?.id, ...what });
  }

  /**
   * @param {number} id
   * @param {HTMLElement} at
   */
  documentMenu(id, at) {
    const named = this.documents.get(id);
    if (!named) return;
    const pages = [...this.pages.values()].filter((page) => page.document_id === id);
    const holder = menuButton("", [
      ...(this.mayEdit ? [{ label: t("read.again"), icon: /** @type {const} */ ("read"), run: () => void readAgain(`documents/${id}`, "all") }] : []),
      { label: t("export.title"), icon: "download", run: () => this.export({ documents: [id], sample: pages[0]?.id }).catch(tellFault) },
      { label: t("print.title"), icon: "print", run: () => (location.hash = `#/document/${id}/print`) },
      ...(this.mayEdit ? [
        { label: t("rename"), icon: /** @type {const} */ ("pen"), run: () => void this.renameDocument(named) },
        { label: t("delete"), icon: /** @type {const} */ ("trash"), danger: true, run: () => void call("DELETE", `documents/${id}`).then(() => (restoreDocument(named, () => this.load()), this.load()), tellFault) },
      ] : []),
    ]); // prettier-ignore
    at.after(holder);
    const menu = /** @type {HTMLElement} */ (holder.querySelector(".menu"));
    const button = /** @type {HTMLElement} */ (holder.querySelector("button"));
    button.hidden = true;
    const box = at.getBoundingClientRect();
    menu.addEventListener("toggle", (event) => {
      if (/** @type {ToggleEvent} */ (event).newState === "closed") queueMicrotask(() => (holder.remove(), at.focus()));
      else Object.assign(menu.style, { top: `${Math.min(box.bottom + 4, innerHeight - menu.offsetHeight - 8)}px`, left: `${Math.max(8, Math.min(box.left, innerWidth - menu.offsetWidth - 8))}px` });
    });
    menu.showPopover();
  }

  /** @param {ArchiveDocument} document */
  async renameDocument(document) {
    const name = await askText(t("rename"), { label: t("name"), value: document.name, button: t("save") });
    if (name) await call("PATCH", `documents/${document.id}`, { body: { name } }).then(() => this.load(), tellFault);
  }

  /** @param {boolean} folder */
  async choose(folder) {
    const chosen = await chooseFiles(folder);
    if (chosen.groups.length) await addFiles(this.id, chosen);
    else if (chosen.skipped) toast(t("upload.nothing"), { kind: "error" });
  }

  async fromAddress() {
    const url = await askText(t("upload.address"), { label: t("upload.addressLabel"), button: t("upload.add") });
    if (url) await addAddress(this.id, url).catch(tellFault);
  }

  /** @param {SubmitEvent} event */
  search(event) {
    event.preventDefault();
    const query = String(new FormData(/** @type {HTMLFormElement} */ (event.target)).get("q")).trim();
    if (query) location.hash = `#/search?q=${encodeURIComponent(query)}&collection=${this.id}`;
  }

  /**
   * @param {string} kind
   * @param {any} data
   */
  hear(kind, data) {
    hearJob(kind, data);
    const known = this.pages.get(data.page);
    if (kind === "page.reading" && known) this.put({ ...known, state: "reading" });
    else if (kind === "page.failed" && known) this.put({ ...known, state: "failed", fault: data.fault });
    else if (/^page\.(deleted|purged)$/.test(kind) && known) (this.pages.delete(data.page), this.draw());
    else if (/^collection\.(deleted|purged)$/.test(kind) && data.collection === this.id) location.hash = "#/";
    else if (/^(page|line|layout)\./.test(kind)) this.refreshSoon(data.page);
    else if (/^document\./.test(kind)) this.refreshSoon(0);
  }

  /** Something may have happened that was not told. */
  reload() {
    this.refreshSoon(0);
    loadJobs(this.id).catch(() => {});
  }

  /** @param {Page} page */
  put(page) {
    this.pages.set(page.id, page);
    const isShown = this.grid?.pages.some((other) => other.id === page.id);
    if (FILTERS[this.filter](page) !== isShown) return this.draw();
    this.grid?.update(page);
    this.chipping ||= requestAnimationFrame(() => ((this.chipping = 0), this.drawChips()));
  }

  /**
   * Pages that changed are asked for together, at most once a second.
   * @param {number} id 0: it takes all.
   */
  refreshSoon(id) {
    this.stale.add(id);
    this.timer ||= setTimeout(() => this.refresh(), 900);
  }

  async refresh() {
    const stale = [...this.stale];
    this.stale.clear();
    try {
      if (stale.includes(0) || stale.length > 20 || stale.some((id) => !this.pages.has(id))) await this.load();
      else for (const page of await Promise.all(stale.map((id) => get(`pages/${id}`)))) this.put(page);
      this.collection = await get(`collections/${this.id}`);
      const focus = document.activeElement;
      if (!this.head?.contains(focus)) this.drawHead();
    } catch {
      // gone meanwhile, or the server is away: later events tell
    }
    this.timer = 0;
    if (this.stale.size) this.timer = setTimeout(() => this.refresh(), 900);
  }

  close() {
    this.ends.abort();
    clearTimeout(this.timer);
    cancelAnimationFrame(this.drawing);
    this.stop?.();
    this.grid?.close();
  }
}

/** @type {import("../types.js").Show} */
export async function show(root, address) {
  const screen = new CollectionScreen(root, Number(address.path[1]));
  try {
    await screen.open();
  } catch (error) {
    screen.close();
    throw error;
  }
  return { collection: screen.id, readOnly: !screen.mayEdit, close: () => screen.close(), export: () => screen.exportShown() };
}
