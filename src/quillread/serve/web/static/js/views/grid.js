// Thumbnails of thousands of pages: only those in sight are elements.

import { fill, h, icon } from "../dom.js";
import { images } from "../api.js";
import { percent, t } from "../i18n.js";

/** @typedef {import("../types.js").Page} Page */
/** @typedef {{id: number, name: string}} Named */

const HEAD = 52; // height of the name of a document
const GAP = 14;

/** Events: `open` (detail: page), `select`, `document` (detail: id). */
export class PageGrid extends EventTarget {
  /**
   * @param {HTMLElement} scroller That scrolls.
   */
  constructor(scroller) {
    super();
    this.scroller = scroller;
    /** @type {Page[]} */
    this.pages = [];
    /** @type {Map<number, string>} */
    this.names = new Map();
    /** @type {Set<number>} */
    this.selected = new Set();
    this.focused = 0;
    this.anchor = 0;
    /** @type {{top: number, height: number, from: number, to: number, document: number|null}[]} Rows of the layout. */
    this.rows = [];
    /** @type {Map<number, HTMLElement>} Cells by their place. */
    this.cells = new Map();
    /** @type {Map<number, HTMLElement>} */
    this.heads = new Map();
    this.list = h("div", { class: "grid", role: "listbox", "aria-multiselectable": "true", "aria-label": t("grid.pages"), tabindex: "0" });
    this.headings = h("div", { class: "grid-heads" });
    this.root = h("div", { class: "grid-holder" }, this.headings, this.list);
    this.frame = 0;
    scroller.addEventListener("scroll", () => this.later(), { passive: true });
    this.sizes = new ResizeObserver(() => this.layOut());
    this.sizes.observe(this.root);
    this.list.addEventListener("keydown", (event) => this.key(event));
    this.list.addEventListener("click", (event) => this.click(event));
    this.list.addEventListener("focus", () => this.mark());
    this.list.addEventListener("blur", () => this.mark());
  }

  /**
   * @param {Page[]} pages In their order, those of a document side by side.
   * @param {Map<number, string>} names Of documents.
   */
  setPages(pages, names) {
    this.pages = pages;
    this.names = names;
    const known = new Set(pages.map((page) => page.id));
    for (const id of this.selected) if (!known.has(id)) this.selected.delete(id);
    this.focused = Math.min(this.focused, Math.max(0, pages.length - 1));
    this.layOut();
  }

  /**
   * A page is another now.
   * @param {Page} page
   */
  update(page) {
    const place = this.pages.findIndex((other) => other.id === page.id);
    if (place < 0) return;
    this.pages[place] = page;
    const cell = this.cells.get(place);
    if (cell) this.paint(cell, page, place);
  }

  /** Compute where each row lies. */
  layOut() {
    const width = this.root.clientWidth;
    if (!width) return;
    this.columns = Math.max(2, Math.floor((width + GAP) / (168 + GAP)));
    this.size = (width - GAP * (this.columns - 1)) / this.columns;
    this.rowHeight = Math.round(this.size * 1.28) + 56;
    this.rows = [];
    let top = 0;
    for (let from = 0; from < this.pages.length; ) {
      const document = this.pages[from].document_id;
      let to = this.endOf(from);
      if (to === from + 1) {
        // Documents of one page flow together, each with its name below.
        while (to < this.pages.length && this.endOf(to) === to + 1) to++;
        top += from ? GAP : 0;
      } else {
        this.rows.push({ top, height: HEAD, from, to, document });
        top += HEAD;
      }
      for (let at = from; at < to; at += this.columns) {
        this.rows.push({ top, height: this.rowHeight, from: at, to: Math.min(to, at + this.columns), document: null });
        top += this.rowHeight + GAP;
      }
      from = to;
    }
    this.root.style.height = `${top}px`;
    for (const cell of this.cells.values()) cell.remove();
    for (const head of this.heads.values()) head.remove();
    this.cells.clear();
    this.heads.clear();
    this.show();
  }

  /**
   * Where the document of a page ends.
   * @param {number} from
   */
  endOf(from) {
    let to = from + 1;
    while (to < this.pages.length && this.pages[to].document_id === this.pages[from].document_id) to++;
    return to;
  }

  later() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.show();
    });
  }

  /** Make the elements that are in sight, and let go of the others. */
  show() {
    const above = this.scroller.scrollTop - this.root.offsetTop - 300;
    const below = above + this.scroller.clientHeight + 600;
    const cells = new Set();
    const heads = new Set();
    for (let i = this.firstRow(above); i < this.rows.length && this.rows[i].top < below; i++) {
      const row = this.rows[i];
      if (row.document !== null) {
        heads.add(i);
        if (!this.heads.has(i)) this.makeHead(i);
        continue;
      }
      for (let place = row.from; place < row.to; place++) {
        cells.add(place);
        if (!this.cells.has(place)) this.makeCell(place, row);
      }
    }
    for (const [place, cell] of this.cells) if (!cells.has(place)) cell.remove(), this.cells.delete(place);
    for (const [i, head] of this.heads) if (!heads.has(i)) head.remove(), this.heads.delete(i);
    this.mark();
  }

  /** @param {number} above */
  firstRow(above) {
    let [low, high] = [0, this.rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.rows[middle].top + this.rows[middle].height < above) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** @param {number} i */
  makeHead(i) {
    const row = this.rows[i];
    const id = /** @type {number} */ (row.document);
    const pages = this.pages.slice(row.from, row.to);
    const head = h("div", { class: "grid-head", style: { top: `${row.top}px` } },
      h("h2", { dir: "auto" }, this.names.get(id) ?? ""),
      h("span", { class: "hint" }, t("count.pages", { n: pages.length })),
      h("button", { type: "button", class: "plain small", onclick: () => this.selectAll(pages) }, t("grid.selectDocument")),
      h("button", { type: "button", class: "plain small square", "aria-label": t("grid.documentMenu", { name: this.names.get(id) ?? "" }), onclick: (/** @type {Event} */ event) => this.dispatchEvent(new CustomEvent("document", { detail: { id, at: event.currentTarget } })) }, icon("more"))); // prettier-ignore
    this.headings.append(head);
    this.heads.set(i, head);
  }

  /**
   * @param {number} place
   * @param {{top: number, from: number}} row
   */
  makeCell(place, row) {
    const column = place - row.from;
    const cell = h("div", { class: "cell", role: "option", id: `cell-${place}`, "data-place": place, style: {
      top: `${row.top}px`, left: `${column * ((this.size ?? 0) + GAP)}px`, width: `${this.size}px`, height: `${this.rowHeight}px`,
    } }); // prettier-ignore
    this.paint(cell, this.pages[place], place);
    this.list.append(cell);
    this.cells.set(place, cell);
  }

  /**
   * @param {HTMLElement} cell
   * @param {Page} page
   * @param {number} place
   */
  paint(cell, page, place) {
    const share = page.line_count ? page.checked_count / page.line_count : 0;
    const number = this.numberOf(place);
    const isAlone = number === 1 && this.endOf(place) === place + 1;
    const name = this.names.get(page.document_id) ?? "";
    const label = isAlone ? name : page.label || t("page.number", { n: number });
    const isChecked = page.state === "read" && page.line_count > 0 && share === 1;
    // For screen readers; the state of pages that are not read, or checked, is in their badge.
    const more = [isAlone ? "" : name, page.state === "read" && !isChecked ? t("collections.share", { share: percent(share) }) : ""];
    cell.dataset.state = isChecked ? "checked" : page.state;
    cell.setAttribute("aria-setsize", String(this.pages.length));
    cell.setAttribute("aria-posinset", String(place + 1));
    const old = cell.querySelector("img");
    const picture = old ?? h("img", { src: images.thumbnail(page.id), alt: "", loading: "lazy", decoding: "async", draggable: "false" });
    fill(cell,
      h("span", { class: "unseen" }, more.filter(Boolean).join(", ")),
      h("div", { class: "sheet" }, picture, h("span", { class: "tick", "aria-hidden": "true" }, icon("check")), badge(page, isChecked)),
      h("div", { class: "cell-label" }, h("span", { dir: "auto", class: "cell-name" }, label), page.doubtful_count && page.state === "read" ? h("span", { class: "doubts", title: t("count.doubtful", { n: page.doubtful_count }) }, t("count.doubtfulShort", { n: page.doubtful_count })) : null),
      h("div", { class: "meter" }, h("span", { style: { width: `${share * 100}%` } }))); // prettier-ignore
    cell.setAttribute("aria-selected", String(this.selected.has(page.id)));
  }

  /** @param {number} place */
  numberOf(place) {
    let first = place;
    const document = this.pages[place].document_id;
    while (first > 0 && this.pages[first - 1].document_id === document) first--;
    return place - first + 1;
  }

  mark() {
    const hasFocus = document.activeElement === this.list;
    for (const [place, cell] of this.cells) cell.classList.toggle("focused", hasFocus && place === this.focused);
    if (this.cells.has(this.focused)) this.list.setAttribute("aria-activedescendant", `cell-${this.focused}`);
    else this.list.removeAttribute("aria-activedescendant");
  }

  changeSelection() {
    for (const [place, cell] of this.cells) cell.setAttribute("aria-selected", String(this.selected.has(this.pages[place].id)));
    this.dispatchEvent(new Event("select"));
  }

  /** @param {Page[]} pages */
  selectAll(pages) {
    const all = pages.every((page) => this.selected.has(page.id));
    for (const page of pages) all ? this.selected.delete(page.id) : this.selected.add(page.id);
    this.changeSelection();
  }

  clear() {
    this.selected.clear();
    this.changeSelection();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    const command = event.ctrlKey || event.metaKey;
    if (step !== undefined) this.goTo(this.focused + step, event.shiftKey);
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") this.goTo(this.above(event.key === "ArrowDown"), event.shiftKey);
    else if (event.key === "PageDown" || event.key === "PageUp") this.goTo(this.focused + (event.key === "PageDown" ? 3 : -3) * (this.columns ?? 1), event.shiftKey);
    else if (event.key === "Enter") this.dispatchEvent(new CustomEvent("open", { detail: this.pages[this.focused] }));
    else if (event.key === " ") this.toggle(this.focused);
    else if (command && event.key.toLowerCase() === "a") this.selectAll(this.pages);
    else if (event.key === "Escape") this.clear();
    else if (event.key === "Delete") this.dispatchEvent(new Event("delete"));
    else return;
    event.preventDefault();
  }

  /** @param {boolean} down */
  above(down) {
    const i = this.rows.findIndex((row) => row.document === null && row.from <= this.focused && this.focused < row.to);
    if (i < 0) return this.focused;
    const column = this.focused - this.rows[i].from;
    for (let at = i + (down ? 1 : -1); at >= 0 && at < this.rows.length; at += down ? 1 : -1) {
      const row = this.rows[at];
      if (row.document === null) return Math.min(row.from + column, row.to - 1);
    }
    return this.focused;
  }

  /**
   * @param {number} place
   * @param {boolean} [extend] The selection.
   */
  goTo(place, extend = false) {
    if (!this.pages.length) return;
    const to = Math.max(0, Math.min(this.pages.length - 1, place));
    if (extend) {
      const [low, high] = [Math.min(this.anchor, to), Math.max(this.anchor, to)];
      this.selected = new Set(this.pages.slice(low, high + 1).map((page) => page.id));
      this.changeSelection();
    } else this.anchor = to;
    this.focused = to;
    const row = this.rows.find((other) => other.document === null && other.from <= to && to < other.to);
    if (row) {
      const top = row.top + this.root.offsetTop;
      if (top - HEAD < this.scroller.scrollTop) this.scroller.scrollTop = top - HEAD;
      else if (top + row.height > this.scroller.scrollTop + this.scroller.clientHeight - 70) this.scroller.scrollTop = top + row.height - this.scroller.clientHeight + 70;
    }
    this.show();
  }

  /** @param {number} place */
  toggle(place) {
    const { id } = this.pages[place];
    if (!this.selected.delete(id)) this.selected.add(id);
    this.changeSelection();
  }

  /** @param {MouseEvent} event */
  click(event) {
    const cell = /** @type {HTMLElement} */ (event.target).closest(".cell");
    if (!(cell instanceof HTMLElement)) return;
    const place = Number(cell.dataset.place);
    this.list.focus({ preventScroll: true });
    if (event.shiftKey) return this.goTo(place, true);
    this.focused = this.anchor = place;
    const onTick = /** @type {HTMLElement} */ (event.target).closest(".tick");
    if (event.ctrlKey || event.metaKey || onTick) this.toggle(place);
    else this.dispatchEvent(new CustomEvent("open", { detail: this.pages[place] }));
    this.mark();
  }

  close() {
    this.sizes.disconnect();
    cancelAnimationFrame(this.frame);
  }
}

/**
 * @param {Page} page
 * @param {boolean} isChecked
 */
function badge(page, isChecked) {
  if (page.state === "reading") return h("span", { class: "badge busy" }, h("span", { class: "spinner" }), t("state.reading"));
  if (page.state === "waiting") return h("span", { class: "badge" }, t("state.waitingShort"));
  if (page.state === "failed") return h("span", { class: "badge bad" }, icon("warn"), t("state.failedShort"));
  if (page.state === "new") return h("span", { class: "badge" }, t("state.new"));
  return isChecked ? h("span", { class: "badge good" }, icon("check"), t("state.checked")) : null;
}
