// Proofreading: the fewest lines to look at so that the others hold an error rate; a queue of strips.

import { fill, h } from "../dom.js";
import { get, images, Problem } from "../api.js";
import { announce, tellFault, toast } from "../dialog.js";
import { percent, t } from "../i18n.js";
import { outbox } from "../outbox.js";
import { mayAs } from "../session.js";
import { recall, remember } from "../storage.js";
import { readingsOf } from "../editor/dock.js";
import { actionOf, keyCap } from "../editor/keys.js";
import { differences, doubtfulPart, nextDoubt, piecesOf, shiftWords, takeReading, wordBounds } from "../editor/words.js";
import { shellBar } from "./shell.js";

/** @typedef {import("../types.js").Line} Line */

class Review {
  /**
   * @param {HTMLElement} root
   * @param {any} collection
   */
  constructor(root, collection) {
    this.root = root;
    this.collection = collection;
    /** @type {number[]} */
    this.queue = [];
    this.at = 0;
    /** @type {Map<number, Line>} */
    this.lines = new Map();
    this.done = 0;
    this.isMoving = false;
    /** @type {"review"|"suggest"} */
    this.how = recall("review.how") === "suggest" ? "suggest" : "review";
    this.target = Number(recall("review.target")) || 0.05;
    this.ends = new AbortController();
  }

  async open() {
    const targets = [0.01, 0.02, 0.05, 0.1];
    const select = h("select", { id: "target-rate" }, targets.map((rate) => h("option", { value: rate, selected: rate === this.target }, percent(rate))));
    const how = h("select", { id: "how", "aria-label": t("review.how") }, ["review", "suggest"].map((name) => h("option", { value: name, selected: name === this.how }, t(`review.${name}`))));
    this.goal = h("div", { class: "row wrap" }, how, h("label", { for: "target-rate", class: "for-rate" }, t("review.target")), select);
    this.facts = h("p", { class: "hint", role: "status" });
    this.card = h("div", { class: "review-card" });
    const main = h("main", { class: "page narrow" }, h("div", { class: "page-head" }, h("div", { class: "summary" }, this.goal, this.facts)), this.card);
    fill(this.root, shellBar({ title: `${t("review.title")} · ${this.collection.name}`, back: `#/collection/${this.collection.id}`, backLabel: this.collection.name, collection: this.collection.id }), main);
    const change = () => {
      this.how = how.value === "suggest" ? "suggest" : "review";
      this.target = Number(select.value);
      remember("review.how", this.how);
      remember("review.target", String(this.target));
      this.load().catch(tellFault);
    };
    select.addEventListener("change", change);
    how.addEventListener("change", change);
    await this.load();
  }

  async load() {
    const rate = /** @type {HTMLElement} */ (this.goal?.querySelector(".for-rate"));
    const select = /** @type {HTMLElement} */ (this.goal?.querySelector("#target-rate"));
    rate.hidden = select.hidden = this.how === "suggest";
    const path = `collections/${this.collection.id}/`;
    if (this.how === "suggest") {
      const { items } = await get(`${path}suggest`, { limit: 50 });
      this.queue = items.map((/** @type {any} */ item) => item.line_id ?? item.id);
      this.said = t("review.suggested", { n: this.queue.length });
    } else {
      const found = await get(`${path}review`, { target: this.target });
      this.queue = found.lines;
      this.said = t("review.lines", { n: this.queue.length, target: percent(this.target), before: percent(found.expected_error_before, 1), after: percent(found.expected_error_after, 1) });
    }
    this.at = 0;
    this.done = 0;
    await this.show();
  }

  /** @param {number} id */
  async line(id) {
    const known = this.lines.get(id);
    if (known) return known;
    const line = /** @type {Line} */ (await get(`lines/${id}`));
    this.lines.set(id, line);
    return line;
  }

  /** @returns {Promise<void>} */
  async show() {
    const card = /** @type {HTMLElement} */ (this.card);
    /** @type {HTMLElement} */ (this.facts).textContent = this.said ?? "";
    if (this.at >= this.queue.length) {
      fill(card, h("div", { class: "welcome" }, h("h2", null, this.queue.length ? t("review.done") : t("review.nothing")), this.queue.length ? h("button", { type: "button", class: "primary", onclick: () => this.load().catch(tellFault) }, t("review.again")) : null));
      return;
    }
    const id = this.queue[this.at];
    let line;
    try {
      line = await this.line(id);
    } catch (error) {
      if (!(error instanceof Problem && error.status === 404)) throw error;
      this.at++; // deleted meanwhile
      return this.show();
    }
    if (this.queue[this.at] !== id) return;
    for (const next of this.queue.slice(this.at + 1, this.at + 3)) {
      this.line(next).then((one) => (new Image().src = images.line(one.id, 160, one.revision)), () => {});
    }
    const edit = outbox.edits.get(id);
    const text = edit?.text ?? line.text;
    const field = h("textarea", { class: "field review-field", rows: "2", spellcheck: "false", dir: "auto", "aria-label": t("review.field", { n: this.at + 1, all: this.queue.length }), value: text });
    const shown = h("p", { class: "review-text", dir: "auto", "aria-hidden": "true" }, piecesOf(line, text, text === line.text ? line.words : []).map((piece) => (piece.classes ? h("span", { class: piece.classes }, piece.text) : piece.text)));
    const readings = readingsOf(line);
    this.field = field;
    field.addEventListener("keydown", (event) => this.key(event, line));
    field.addEventListener("input", () => this.put(line, edit?.checked ?? line.checked));
    fill(card,
      h("div", { class: "row" }, h("progress", { max: String(this.queue.length), value: String(this.at), "aria-label": t("review.progress") }), h("span", { class: "hint" }, `${this.at + 1} / ${this.queue.length}`)),
      h("img", { class: "review-strip", src: images.line(id, 160, line.revision), alt: t("review.image") }),
      shown, field,
      readings.length ? h("ol", { class: "readings" }, readings.map((reading, i) => h("li", null, h("button", { type: "button", class: "plain reading", onclick: () => this.take(line, reading.text) }, keyCap(`Alt+${i + 1}`), h("span", { class: "reading-text", dir: "auto" }, differences(reading.text, line.text).map((piece) => (piece.differs ? h("mark", null, piece.text) : piece.text))))))) : null,
      h("div", { class: "buttons start" },
        h("button", { type: "button", class: "primary", onclick: () => this.right(line) }, keyCap("Enter"), t("review.right")),
        h("button", { type: "button", onclick: () => this.step(1) }, keyCap("ArrowDown"), t("review.skip")),
        h("button", { type: "button", disabled: this.at === 0, onclick: () => this.step(-1) }, keyCap("Shift+Enter"), t("review.back")),
        h("a", { class: "button plain", href: `#/page/${line.page_id}?line=${id}` }, t("review.open")))); // prettier-ignore
    field.focus();
    field.setSelectionRange(0, 0);
    announce(t("review.field", { n: this.at + 1, all: this.queue.length }));
  }

  /**
   * @param {KeyboardEvent} event
   * @param {Line} line
   */
  key(event, line) {
    if (event.isComposing) return;
    const field = /** @type {HTMLTextAreaElement} */ (this.field);
    const action = actionOf(event);
    if (action === "right") this.right(line);
    else if (action === "back" || action === "up") this.step(-1);
    else if (action === "down") this.step(1);
    else if (action?.startsWith("reading")) {
      const reading = readingsOf(line)[Number(action.at(-1)) - 1];
      if (reading) this.take(line, reading.text);
    } else if (action === "nextDoubt") {
      const now = { ...line, text: field.value, words: shiftWords(line.words, line.text, field.value) };
      const word = nextDoubt(now, field.selectionEnd);
      if (!word) return; // the browser goes on
      field.setSelectionRange(...doubtfulPart(now, word));
    } else if (action === "word") field.setSelectionRange(...wordBounds(field.value, field.selectionStart));
    else return;
    event.preventDefault();
  }

  /**
   * Take another reading.
   * @param {Line} line
   * @param {string} reading
   */
  take(line, reading) {
    const field = /** @type {HTMLTextAreaElement} */ (this.field);
    const { selectionStart, selectionEnd } = field;
    field.value = takeReading(field.value, reading, line.read_text ?? line.text, selectionStart, selectionEnd);
    this.put(line, line.checked);
    field.focus();
    field.setSelectionRange(selectionStart, selectionStart);
  }

  /**
   * Save what stands in the field: a line that is skipped keeps it as a draft.
   * @param {Line} line
   * @param {boolean} checked
   */
  put(line, checked) {
    const text = /** @type {HTMLTextAreaElement} */ (this.field).value.replace(/\s*[\r\n]+\s*/g, " ");
    const known = this.lines.get(line.id) ?? line; // a draft may have been saved meanwhile
    outbox.put(known, text, checked, { now: checked });
    this.lines.set(line.id, { ...known, checked });
  }

  /** @param {Line} line */
  right(line) {
    if (this.isMoving) return;
    this.put(line, true);
    this.done++;
    this.step(1);
  }

  /** @param {number} by */
  async step(by) {
    const { at, field } = this;
    if (this.isMoving) return; // the next line is on its way: keys are not for it, nor for this one
    this.isMoving = true;
    this.at = Math.max(0, at + by);
    if (field) field.readOnly = true;
    try {
      await this.show();
    } catch (error) {
      this.at = at;
      if (field) field.readOnly = false;
      tellFault(error);
    } finally {
      this.isMoving = false;
    }
  }

  /** An edit waits for a person: in the editor they choose. @param {import("../outbox.js").Edit} edit */
  tellTrouble(edit) {
    const kind = edit.theirs ? "save.conflict" : "save.refused";
    toast(t(`${kind}.more`), { kind: "error", action: t("review.open"), run: () => (location.hash = `#/page/${edit.page}?line=${edit.line}`) });
  }

  close() {
    this.ends.abort();
    outbox.flush();
  }
}

/** @type {import("../types.js").Show} */
export async function show(root, address) {
  const collection = await get(`collections/${Number(address.path[1])}`);
  if (!mayAs(collection.role, "editor")) return location.replace(`#/collection/${collection.id}`), {};
  const review = new Review(root, collection);
  await review.open();
  outbox.addEventListener("saved", (event) => {
    const line = /** @type {CustomEvent<Line>} */ (event).detail;
    if (review.lines.has(line.id)) review.lines.set(line.id, line);
  }, { signal: review.ends.signal }); // prettier-ignore
  for (const kind of ["conflict", "refused"]) outbox.addEventListener(kind, (event) => review.tellTrouble(/** @type {CustomEvent} */ (event).detail), { signal: review.ends.signal });
  return { collection: review.collection.id, close: () => review.close() };
}
