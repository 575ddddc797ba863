// Proofreading: the fewest lines to look at so that the others hold an error rate; a queue of strips.

import { fill, h } from "../dom.js";
import { get, images, Problem } from "../api.js";
import { announce, tellFault } from "../dialog.js";
import { percent, t } from "../i18n.js";
import { outbox } from "../outbox.js";
import { mayAs } from "../session.js";
import { recall, remember } from "../storage.js";
import { noteOf } from "../editor/conflict.js";
import { readingsOf } from "../editor/dock.js";
import { endHold, holdKeys, isHeld, releaseKeys } from "../editor/held.js";
import { actionOf, keyCap } from "../editor/keys.js";
import { saveButton } from "../editor/saving.js";
import { differences, doubtfulPart, fromServer, inOneRow, LONGEST, nextDoubt, piecesOf, shiftWords, takeReading, wordBounds } from "../editor/words.js";
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
    this.path = `collection/${collection.id}/review`;
    /** @type {number[]} */
    this.queue = [];
    this.at = 0;
    /** @type {Map<number, Line>} As the server has them. */
    this.lines = new Map();
    this.said = "";
    this.few = ""; // said where there is no line to proofread
    this.isTurning = false;
    /** @type {Line|null} That is shown. */
    this.shown = null;
    /** @type {HTMLTextAreaElement|null} */
    this.field = null;
    /** @type {"review"|"suggest"} */
    this.how = recall("review.how") === "suggest" ? "suggest" : "review";
    this.target = Number(recall("review.target")) || 0.05;
    this.ends = new AbortController();
    this.note = h("div");
    const hear = (/** @type {string} */ kind, /** @type {(detail: any) => void} */ run) =>
      outbox.addEventListener(kind, (event) => run(/** @type {CustomEvent} */ (event).detail), { signal: this.ends.signal }); // prettier-ignore
    hear("saved", (line) => this.lines.set(line.id, fromServer(line)));
    hear("taken", (line) => this.take(fromServer(line)));
    hear("freed", () => this.showNote());
    hear("conflict", () => this.showNote());
    hear("refused", () => this.showNote());
  }

  async open() {
    const targets = [0.01, 0.02, 0.05, 0.1];
    const select = h("select", { id: "target-rate" }, targets.map((rate) => h("option", { value: rate, selected: rate === this.target }, percent(rate))));
    const how = h("select", { id: "how", "aria-label": t("review.how") }, ["review", "suggest"].map((name) => h("option", { value: name, selected: name === this.how }, t(`review.${name}`))));
    this.goal = h("div", { class: "row wrap" }, how, h("label", { for: "target-rate", class: "for-rate" }, t("review.target")), select);
    this.facts = h("p", { class: "hint", role: "status" });
    this.card = h("div", { class: "review-card" });
    const main = h("main", { class: "page narrow" }, h("div", { class: "page-head" }, h("div", { class: "summary" }, this.goal, this.facts)), this.card);
    fill(this.root, shellBar({ title: `${t("review.title")} · ${this.collection.name}`, back: `#/collection/${this.collection.id}`, backLabel: this.collection.name, actions: [saveButton(this.ends.signal)], collection: this.collection.id }), main);
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
      this.few = "";
    } else {
      const found = await get(`${path}review`, { target: this.target });
      this.queue = found.lines;
      this.said = t("review.lines", { n: this.queue.length, target: percent(this.target), before: percent(found.expected_error_before, 1), after: percent(found.expected_error_after, 1) });
      this.few = found.expected_error_before ? t("review.few", { before: percent(found.expected_error_before, 1) }) : "";
    }
    await this.show(0);
  }

  /** @param {number} id */
  async line(id) {
    const known = this.lines.get(id);
    if (known) return known;
    const line = fromServer(await get(`lines/${id}`));
    this.lines.set(id, line);
    return line;
  }

  /**
   * The line at a place of the queue; lines that were deleted meanwhile are no part of it any more.
   * @param {number} at
   * @returns {Promise<Line|null>} Null at the end.
   */
  async lineAt(at) {
    while (at < this.queue.length) {
      try {
        return await this.line(this.queue[at]);
      } catch (error) {
        if (!(error instanceof Problem && error.status === 404)) throw error;
        this.queue.splice(at, 1);
      }
    }
    return null;
  }

  /** @param {number} at */
  async show(at) {
    const card = /** @type {HTMLElement} */ (this.card);
    /** @type {HTMLElement} */ (this.facts).textContent = this.queue.length ? this.said : this.few;
    const line = await this.lineAt(at);
    this.at = at;
    this.shown = line;
    this.field = null;
    if (!line) {
      fill(card, h("div", { class: "welcome" }, h("h2", null, this.queue.length ? t("review.done") : t("review.nothing")), this.queue.length ? h("button", { type: "button", class: "primary", onclick: () => this.load().catch(tellFault) }, t("review.again")) : null));
      return;
    }
    const { id } = line;
    for (const next of this.queue.slice(at + 1, at + 3)) {
      this.line(next).then((one) => (new Image().src = images.line(one.id, 160, one.revision)), () => {});
    }
    const text = outbox.edits.get(id)?.text ?? line.text;
    const field = h("textarea", { class: "field review-field", rows: "2", maxlength: LONGEST, spellcheck: "false", dir: "auto", "aria-label": t("review.field", { n: at + 1, all: this.queue.length }), value: text });
    const shown = h("p", { class: "review-text", dir: "auto", "aria-hidden": "true" }, piecesOf(line, text, text === line.text ? line.words : []).map((piece) => (piece.classes ? h("span", { class: piece.classes }, piece.text) : piece.text)));
    const readings = readingsOf(line);
    this.field = field;
    field.addEventListener("keydown", (event) => this.key(event));
    field.addEventListener("input", () => this.edit(line));
    fill(card,
      h("div", { class: "row" }, h("progress", { max: String(this.queue.length), value: String(this.at), "aria-label": t("review.progress") }), h("span", { class: "hint" }, t("jobs.progress", { done: this.at + 1, total: this.queue.length }))),
      h("img", { class: "review-strip", src: images.line(id, 160, line.revision), alt: t("review.image") }),
      shown, field, this.note,
      readings.length ? h("ol", { class: "readings" }, readings.map((reading, i) => h("li", null, h("button", { type: "button", class: "plain reading", onclick: () => this.takeReading(line, reading.text) }, keyCap(`Alt+${i + 1}`), h("span", { class: "reading-text", dir: "auto" }, differences(reading.text, line.text).map((piece) => (piece.differs ? h("mark", null, piece.text) : piece.text))))))) : null,
      h("div", { class: "buttons start" },
        h("button", { type: "button", class: "primary", onclick: () => this.right(line) }, keyCap("Enter"), t("review.right")),
        h("button", { type: "button", onclick: () => this.step(1) }, keyCap("ArrowDown"), t("review.skip")),
        h("button", { type: "button", disabled: this.at === 0, onclick: () => this.step(-1) }, keyCap("Shift+Enter"), t("review.back")),
        h("a", { class: "button plain", href: `#/page/${line.page_id}?line=${id}` }, t("review.open")))); // prettier-ignore
    this.showNote();
    field.focus();
    field.setSelectionRange(0, 0);
    announce(t("review.field", { n: this.at + 1, all: this.queue.length }));
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const action = event.isComposing ? undefined : actionOf(event);
    if (action && this.run(action) !== false) event.preventDefault();
  }

  /**
   * @param {string} action
   * @returns {boolean|void} False if the browser is to do what it does.
   */
  run(action) {
    const { field, shown: line } = this;
    if (!field || !line) return false;
    if (action === "right") this.right(line);
    else if (action === "back" || action === "up") this.step(-1);
    else if (action === "down") this.step(1);
    else if (action.startsWith("reading")) {
      const reading = readingsOf(line)[Number(action.at(-1)) - 1];
      if (reading) this.takeReading(line, reading.text);
    } else if (action === "nextDoubt") {
      const now = { ...line, text: field.value, words: shiftWords(line.words, line.text, field.value) };
      const word = nextDoubt(now, field.selectionEnd);
      if (!word) return false; // the browser goes on
      field.setSelectionRange(...doubtfulPart(now, word));
    } else if (action === "word") field.setSelectionRange(...wordBounds(field.value, field.selectionStart));
    else return false;
  }

  /**
   * Text that was typed while the line loaded.
   * @param {string} text
   */
  type(text) {
    const { field, shown } = this;
    if (!field || !shown) return;
    field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
    this.edit(shown);
  }

  /**
   * Take another reading.
   * @param {Line} line
   * @param {string} reading
   */
  takeReading(line, reading) {
    const field = /** @type {HTMLTextAreaElement} */ (this.field);
    const { selectionStart, selectionEnd } = field;
    field.value = takeReading(field.value, reading, line.read_text ?? line.text, selectionStart, selectionEnd);
    this.edit(line);
    field.focus();
    field.setSelectionRange(selectionStart, selectionStart);
  }

  /**
   * A line as another has it now is taken over.
   * @param {Line} line
   */
  take(line) {
    this.lines.set(line.id, line);
    if (line.id !== this.queue[this.at] || !this.field) return;
    this.field.value = line.text;
    this.showNote();
  }

  /** An edit of the line that is shown may need somebody. */
  showNote() {
    const edit = outbox.edits.get(this.queue[this.at]);
    fill(this.note, edit?.theirs || edit?.refused ? noteOf(edit, () => this.field?.focus()) : null);
  }

  /**
   * Save the text as it is.
   * @param {Line} line
   * @param {boolean} [isRight]
   */
  edit({ id }, isRight = false) {
    const line = /** @type {Line} */ (this.lines.get(id)); // as it is saved by now
    const text = inOneRow(/** @type {HTMLTextAreaElement} */ (this.field).value);
    outbox.put(line, text, isRight || (outbox.edits.get(id)?.checked ?? line.checked), { now: isRight });
    this.showNote();
  }

  /** @param {Line} line */
  right(line) {
    if (this.isTurning) return;
    this.edit(line, true);
    this.step(1);
  }

  /** @param {number} by */
  async step(by) {
    if (this.isTurning) return; // the line that is shown is not the one that would be left
    this.isTurning = true;
    const { field } = this;
    field?.setAttribute("readonly", ""); // it is left
    holdKeys(this.path, t("review.opening")); // what is typed now is for the line that comes
    try {
      outbox.flush();
      await this.show(Math.max(0, this.at + by));
    } catch (error) {
      field?.removeAttribute("readonly");
      if (isHeld(this.path)) endHold(), field?.focus();
      tellFault(error);
    } finally {
      this.isTurning = false;
    }
    releaseKeys(this.path, this);
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
  return { collection: review.collection.id, close: () => review.close() };
}
