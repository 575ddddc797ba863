// The text of a page: one row a line, and one field that moves to the line being edited. Rows are plain text, so a page
// of thousands of lines is a list of text, found by the browser's search and read by screen readers; only the row that
// changes is drawn anew.

import { fill, h, icon } from "../dom.js";
import { images } from "../api.js";
import { percent, t } from "../i18n.js";
import { outbox } from "../outbox.js";
import { inOneRow, LONGEST, piecesOf, standing } from "./words.js";
import { noteOf } from "./conflict.js";

/** @typedef {import("./sheet.js").Sheet} Sheet */
/** @typedef {import("./sheet.js").Row} Row */
/** @typedef {"side"|"strips"|"layout"} Mode */

export class TextPane extends EventTarget {
  /**
   * @param {Sheet} sheet
   * @param {Mode} mode
   * @param {boolean} mayEdit
   */
  constructor(sheet, mode, mayEdit) {
    super();
    this.sheet = sheet;
    this.mode = mode;
    /** @type {number|null} */
    this.active = null;
    /** @type {[number, number]|null} What is to be selected in the field once it has the focus. */
    this.wanted = null;
    this.list = h("ol", { class: "lines", "aria-label": t("editor.lines") });
    this.root = h("div", { class: `text-pane mode-${mode}`, tabindex: "-1" }, this.list);
    this.field = h("textarea", {
      class: "field", rows: "1", spellcheck: "false", autocomplete: "off", autocapitalize: "off",
      dir: "auto", maxlength: LONGEST, "aria-describedby": "field-help", readonly: !mayEdit, enterkeyhint: "next",
    }); // prettier-ignore
    this.field.setAttribute("autocorrect", "off");
    this.help = h("p", { id: "field-help", class: "unseen" }, t(mayEdit ? "editor.fieldHelp" : "editor.fieldHelpReading"));
    this.root.append(this.help);
    /** @type {Map<number, HTMLLIElement>} */
    this.items = new Map();
    this.list.addEventListener("pointerdown", (event) => this.press(event));
    this.list.addEventListener("click", (event) => this.click(event));
    this.field.addEventListener("input", () => this.input());
    this.field.addEventListener("focus", () => this.wanted && this.choose(...this.wanted));
    sheet.addEventListener("lines", () => this.build());
    sheet.addEventListener("line", (event) => this.refresh(/** @type {CustomEvent<number>} */ (event).detail));
  }

  /** Draw all rows. */
  build() {
    const { rows } = this.sheet;
    const kept = this.active;
    const { caret } = this;
    const hadFocus = document.activeElement === this.field;
    this.items.clear();
    const regionKinds = new Map(this.sheet.regions.map((region) => [region.id, region.kind]));
    /** @type {number|null|undefined} */
    let region = undefined;
    const items = rows.map((row, place) => {
      const item = this.makeItem(row, place);
      if (place > 0 && row.line.region_id !== region) item.classList.add("begins-region");
      region = row.line.region_id;
      const kind = region === null ? "" : regionKinds.get(region);
      if (kind && kind !== "text") item.dataset.kind = kind;
      this.items.set(row.line.id, item);
      return item;
    });
    this.list.replaceChildren(...items);
    if (this.mode === "layout") this.arrange();
    this.active = null;
    if (kept !== null && this.items.has(kept)) this.activate(kept, { caret, focus: hadFocus, scroll: false });
  }

  /**
   * @param {Row} row
   * @param {number} place
   */
  makeItem(row, place) {
    const { line } = row;
    const text = h("div", { class: "text", dir: "auto" });
    const item = h("li", { class: "line", "data-id": line.id, "data-standing": standing(line) });
    if (this.mode === "strips") {
      const [width, height] = shapeOf(line);
      item.append(h("img", {
        class: "strip", loading: "lazy", decoding: "async", alt: "", draggable: "false",
        src: images.line(line.id, 120, this.sheet.page.version), style: { "--shape": width / height },
      })); // prettier-ignore
    }
    item.append(h("span", { class: "number", "aria-hidden": "true" }, place + 1), text, h("span", { class: "sign" }));
    this.paint(item, row);
    return item;
  }

  /**
   * @param {HTMLLIElement} item
   * @param {Row} row
   */
  paint(item, row) {
    const { line } = row;
    const text = /** @type {HTMLElement} */ (item.querySelector(".text"));
    const pieces = piecesOf(line, line.text, line.words);
    fill(text, pieces.map((piece) => (piece.classes ? h("span", { class: piece.classes }, piece.text) : piece.text)));
    if (!line.text) text.append("\u200b");
    const stands = row.note ? "note" : standing(line);
    if (item.dataset.drawn === stands) return;
    item.dataset.standing = standing(line);
    item.dataset.drawn = stands;
    const sign = /** @type {HTMLElement} */ (item.querySelector(".sign"));
    const [picture, name] = row.note ? [icon("warn"), t("editor.needsYou")] : line.checked ? [icon("check"), t("editor.checked")] : [null, ""];
    fill(sign, picture, name ? h("span", { class: "unseen" }, name) : null);
    item.querySelector(".note")?.remove();
    const edit = row.note ? outbox.edits.get(line.id) : undefined;
    if (edit) item.append(noteOf(edit, () => this.focus()));
  }

  /** @param {number} id */
  refresh(id) {
    const item = this.items.get(id);
    const row = this.sheet.byId.get(id);
    if (!item || !row) return;
    if (row.note) item.dataset.drawn = "";
    this.paint(item, row);
    if (id !== this.active) return;
    if (this.field.value !== row.line.text) {
      const at = Math.min(this.caret, row.line.text.length);
      this.field.value = row.line.text;
      this.choose(at);
    }
    this.describe(row);
  }

  /**
   * Move the field to a line.
   * @param {number} id
   * @param {{caret?: number, end?: number, focus?: boolean, scroll?: boolean}} [facts]
   */
  activate(id, facts = {}) {
    const item = this.items.get(id);
    const row = this.sheet.byId.get(id);
    if (!item || !row) return;
    const { focus = true, scroll = true } = facts;
    if (this.active !== id) {
      const before = this.active === null ? null : this.items.get(this.active);
      before?.classList.remove("active");
      this.active = id;
      item.classList.add("active");
      this.field.value = row.line.text;
      /** @type {HTMLElement} */ (item.querySelector(".text")).after(this.field);
      this.describe(row);
      if (scroll) item.scrollIntoView({ block: "center" });
    }
    const caret = Math.min(facts.caret ?? 0, row.line.text.length);
    if (focus) this.field.focus({ preventScroll: true });
    this.choose(caret, Math.min(facts.end ?? caret, row.line.text.length));
    this.dispatchEvent(new CustomEvent("active", { detail: id }));
  }

  /** @param {Row} row */
  describe(row) {
    const { line } = row;
    const state = line.checked ? t("editor.checked") : line.confidence === null ? "" : t("editor.sureOf", { share: percent(line.confidence) });
    const label = t("editor.lineLabel", { n: this.sheet.placeOf(line.id) + 1, all: this.sheet.rows.length, state });
    this.field.setAttribute("aria-label", label);
  }

  focus() {
    this.field.focus({ preventScroll: true });
  }

  /** What is selected in the field: from, to. */
  get selection() {
    return this.wanted ?? /** @type {[number, number]} */ ([this.field.selectionStart, this.field.selectionEnd]);
  }

  /** Where the caret is. */
  get caret() {
    return this.selection[0];
  }

  /**
   * Select in the field. To some browsers that gives it the focus, which is not theirs to give: until it has it, it waits.
   * @param {number} from
   * @param {number} [to]
   */
  choose(from, to = from) {
    const isFocused = document.activeElement === this.field;
    this.wanted = isFocused ? null : [from, to];
    if (isFocused) this.field.setSelectionRange(from, to);
  }

  /**
   * Put text in place of what is selected, as if it were typed.
   * @param {string} text
   * @param {{apart?: boolean}} [facts] `apart`: to be undone by itself.
   */
  insert(text, facts) {
    this.focus();
    this.field.setRangeText(text, ...this.selection, "end");
    return this.input(facts);
  }

  /** @param {{apart?: boolean}} [facts] */
  input(facts) {
    if (this.active === null) return null;
    const { value, selectionStart } = this.field;
    const text = inOneRow(value);
    if (text !== value) {
      const caret = inOneRow(value.slice(0, selectionStart)).length;
      this.field.value = text;
      this.choose(caret);
    }
    return this.sheet.edit(this.active, { text: this.field.value }, facts);
  }

  /** @param {PointerEvent} event */
  press(event) {
    const item = /** @type {HTMLElement} */ (event.target).closest("li.line");
    if (!(item instanceof HTMLLIElement) || event.button !== 0) return;
    if (/** @type {HTMLElement} */ (event.target).closest("textarea, button, .note")) return;
    const caret = caretOf(event, /** @type {HTMLElement} */ (item.querySelector(".text")));
    event.preventDefault();
    this.activate(Number(item.dataset.id), { caret, scroll: false });
  }

  /** @param {MouseEvent} event */
  click(event) {
    // A screen reader clicks without a pointer.
    const item = /** @type {HTMLElement} */ (event.target).closest("li.line");
    if (!(item instanceof HTMLLIElement) || event.detail !== 0) return;
    if (/** @type {HTMLElement} */ (event.target).closest("textarea, button, .note")) return;
    this.activate(Number(item.dataset.id), { scroll: false });
  }

  /** Put each line where it stands on the page. */
  arrange() {
    const { page, rows } = this.sheet;
    if (!page.width || !page.height) return;
    this.list.style.setProperty("--page-ratio", String(page.width / page.height));
    const pitches = [];
    for (let i = 1; i < rows.length; i++) {
      const gap = boxOf(rows[i].line)[1] - boxOf(rows[i - 1].line)[1];
      if (gap > 0) pitches.push(gap);
    }
    pitches.sort((a, b) => a - b);
    const pitch = pitches.length ? pitches[pitches.length >> 1] : page.height / 30;
    this.list.style.setProperty("--pitch", String(pitch / page.width));
    for (const { line } of rows) {
      const item = /** @type {HTMLLIElement} */ (this.items.get(line.id));
      const [x, , x2, y2] = boxOf(line);
      const base = line.baseline.length ? line.baseline.reduce((sum, point) => sum + point[1], 0) / line.baseline.length : y2;
      item.style.setProperty("left", `${(100 * x) / page.width}%`);
      item.style.setProperty("top", `${(100 * Math.max(0, base - pitch * 0.75)) / page.height}%`);
      item.style.setProperty("--width", String(Math.max(1, x2 - x) / page.width));
      item.style.setProperty("--letters", String(Math.max(1, line.text.length)));
    }
  }
}

/**
 * The box around a line: left, top, right, bottom.
 * @param {import("../types.js").Line} line
 * @returns {[number, number, number, number]}
 */
export function boxOf(line) {
  const points = line.polygon.length ? line.polygon : line.baseline;
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    left = Math.min(left, x);
    top = Math.min(top, y);
    right = Math.max(right, x);
    bottom = Math.max(bottom, y);
  }
  return points.length ? [left, top, right, bottom] : [0, 0, 0, 0];
}

/**
 * Width and height that a line's picture will have, about: so that rows keep their height when it comes.
 * @param {import("../types.js").Line} line
 * @returns {[number, number]}
 */
function shapeOf(line) {
  const [left, top, right, bottom] = boxOf(line);
  const height = 120;
  return [Math.max(1, Math.round(((right - left) / Math.max(1, bottom - top)) * height)), height];
}

/**
 * Which character was clicked at.
 * @param {MouseEvent} event
 * @param {HTMLElement} text
 */
function caretOf(event, text) {
  /** @type {{offsetNode: Node, offset: number}|null} */
  let place = null;
  if ("caretPositionFromPoint" in document) place = document.caretPositionFromPoint(event.clientX, event.clientY);
  else {
    const range = /** @type {any} */ (document).caretRangeFromPoint?.(event.clientX, event.clientY);
    if (range) place = { offsetNode: range.startContainer, offset: range.startOffset };
  }
  if (!place || !text.contains(place.offsetNode)) return Infinity;
  const range = document.createRange();
  range.setStart(text, 0);
  range.setEnd(place.offsetNode, place.offset);
  return range.toString().replace(/\u200b/g, "").length;
}
