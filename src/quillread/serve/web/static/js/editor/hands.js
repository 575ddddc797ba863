// What keys do in the editor: the hands of a person who corrects.

import { announce, tellFault, toast } from "../dialog.js";
import { t } from "../i18n.js";
import { outbox } from "../outbox.js";
import { whoAmI } from "../session.js";
import { readingsOf } from "./dock.js";
import { holdKeys, isHeld, releaseKeys } from "./held.js";
import { showHistory } from "./history.js";
import { actionOf, EVERYWHERE } from "./keys.js";
import { joinLines, splitLine } from "./layout-calls.js";
import { save } from "./saving.js";
import { doubtfulPart, isDoubtful, LONGEST, nextDoubt, previousDoubt, takeReading, toggleMark, wordBounds } from "./words.js";

/** @typedef {import("../types.js").Line} Line */

/** Actions that do not need the text to have the focus. */
const ANYWHERE = new Set(["undo", "redo", "save", "mode", "layout", "nextPage", "previousPage", "palette"]);

export class Hands {
  /** @param {import("./editor.js").Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.sheet = editor.sheet;
    this.pane = editor.pane;
    this.mayEdit = editor.mayEdit;
  }

  get line() {
    return this.editor.line;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.isComposing || document.querySelector("dialog[open]")) return;
    const action = actionOf(event);
    if (!action || EVERYWHERE.has(action)) return;
    const target = /** @type {HTMLElement} */ (event.target);
    const inField = target === this.pane.field;
    if (!inField && !(ANYWHERE.has(action) && !target.matches("input, textarea:not(.field), select"))) {
      if (action === "leave" && this.editor.layout) this.run("layout");
      else if (action === "leave" && this.editor.dock.root.contains(target)) this.pane.focus();
      else return;
      event.preventDefault();
      return;
    }
    if (this.editor.layout?.root.contains(target) && !["layout", "save"].includes(action)) return;
    if (this.run(action) !== false) event.preventDefault();
  }

  /**
   * @param {string} action
   * @returns {boolean|void} False if the browser is to do what it does.
   */
  run(action) {
    const { pane } = this;
    const id = pane.active;
    const place = id === null ? -1 : this.sheet.placeOf(id);
    if (/^reading[1-5]$/.test(action)) {
      const reading = readingsOf(this.line)[Number(action.at(-1)) - 1];
      if (reading) this.take(reading.text);
      return;
    }
    switch (action) {
      case "right": return this.right(place);
      case "back": return this.goTo(this.sheet.rows.findLastIndex((row, i) => i < place && this.sheet.isText(row)));
      case "rightUpToHere": return this.rightUpToHere(place);
      case "up": return this.goTo(place - 1, pane.caret);
      case "down": return this.goTo(place + 1, pane.caret);
      case "first": return this.goTo(0);
      case "last": return this.goTo(this.sheet.rows.length - 1);
      case "nextPage": return this.turn(this.sheet.page.next_id, "next");
      case "previousPage": return this.turn(this.sheet.page.previous_id, "previous");
      case "nextDoubt": return this.nextDoubt(place);
      case "previousDoubt": return this.previousDoubt(place);
      case "word": return this.widen();
      case "illegible": case "struck": case "added": case "expanded": return this.mark(action);
      case "palette": return this.mayEdit ? this.editor.dock.focusSigns() : undefined;
      case "undo": this.undo().catch(tellFault); return;
      case "redo": this.goBack(this.sheet.changes.redo()).catch(tellFault); return;
      case "save": return save();
      case "history": if (id !== null && !whoAmI().link) showHistory(this.sheet, id, this.mayEdit).catch(tellFault); return;
      case "split": case "join": this.cut(action).catch(tellFault); return;
      case "leave": this.editor.bar.focus(); announce(t("editor.left")); return;
      case "mode": return this.editor.nextMode();
      case "layout": this.editor.toggleLayout().catch(tellFault); return;
      case "closer": return this.editor.view.zoomBy(1.25);
      case "farther": return this.editor.view.zoomBy(0.8);
    }
  } // prettier-ignore

  /**
   * @param {number} place
   * @param {number} [caret]
   */
  goTo(place, caret = 0) {
    const row = this.sheet.rows[place];
    if (!row) return;
    const left = this.pane.active;
    this.pane.activate(row.line.id, { caret });
    if (left != null && outbox.edits.has(left)) outbox.flush();
  }

  /** @param {number} place */
  right(place) {
    const row = this.sheet.rows[place];
    if (!row) return;
    if (this.mayEdit && !row.line.checked) this.sheet.edit(row.line.id, { checked: true }, { now: true });
    const next = this.sheet.rows.findIndex((other, i) => i > place && this.sheet.isText(other));
    if (next >= 0) return this.goTo(next);
    outbox.flush();
    if (this.sheet.page.next_id) return this.turn(this.sheet.page.next_id, "next");
    announce(t("editor.lastLine"));
    toast(this.sheet.text.every((other) => other.line.checked) ? t("editor.allChecked") : t("editor.lastLine"));
  }

  /** @param {number} place */
  rightUpToHere(place) {
    if (!this.mayEdit || place < 0) return;
    const isOpen = (/** @type {import("./sheet.js").Row} */ row) => !row.line.checked && this.sheet.isText(row);
    const rows = this.sheet.rows.slice(0, place + 1).filter(isOpen);
    const steps = rows.map((row) => this.sheet.edit(row.line.id, { checked: true }, { now: true }));
    announce(t("editor.tookLines", { n: rows.length }));
    toast(t("editor.tookLines", { n: rows.length }), { action: t("undo"), run: () => this.sheet.changes.takeBack(steps) });
    const next = this.sheet.rows.findIndex(isOpen);
    if (next >= 0) this.goTo(next);
  }

  /** @param {number} place */
  nextDoubt(place) {
    const { rows } = this.sheet;
    for (let at = Math.max(0, place); at < rows.length; at++) {
      const { line } = rows[at];
      if (!this.sheet.isText(rows[at])) continue;
      const word = nextDoubt(line, at === place ? this.pane.selection[1] : 0);
      if (word) return this.select(line, word);
    }
    announce(t("editor.noDoubt"));
    toast(t("editor.noDoubt"));
  }

  /** @param {number} place */
  previousDoubt(place) {
    const { rows } = this.sheet;
    for (let at = place; at >= 0; at--) {
      const { line } = rows[at];
      if (!this.sheet.isText(rows[at])) continue;
      const word = at === place ? previousDoubt(line, ...this.pane.selection) : previousDoubt(line, Infinity, Infinity);
      if (word) return this.select(line, word);
    }
    announce(t("editor.noDoubt"));
  }

  /**
   * Go to a word in doubt: what is typed takes the place of its doubtful letters.
   * @param {Line} line
   * @param {import("../types.js").Word} word
   */
  select(line, word) {
    const [caret, end] = doubtfulPart(line, word);
    this.pane.activate(line.id, { caret, end });
    announce(word.text);
  }

  /** Select the word at the cursor; if it is, its doubtful letters. */
  widen() {
    const { line, pane } = this;
    if (!line) return;
    const [from, to] = pane.selection;
    let [caret, end] = wordBounds(line.text, from);
    if (caret === from && end === to) {
      const word = line.words.find((other) => other.start === caret && isDoubtful(line, other));
      if (word) [caret, end] = doubtfulPart(line, word);
    }
    pane.activate(line.id, { caret, end });
  }

  /**
   * Take another reading.
   * @param {string} reading
   */
  take(reading) {
    const { line, pane } = this;
    if (!line || !this.mayEdit) return;
    const text = takeReading(line.text, reading, this.sheet.readText(line.id), ...pane.selection);
    this.sheet.edit(line.id, { text }, { apart: true });
    pane.focus();
  }

  /** @param {string} kind */
  mark(kind) {
    const { line, pane } = this;
    if (!line || !this.mayEdit) return;
    const marked = toggleMark(line.text, ...pane.selection, /** @type {import("./words.js").MarkKind} */ (kind));
    this.sheet.edit(line.id, { text: marked.text }, { apart: true });
    pane.activate(line.id, { caret: marked.start, end: marked.end });
  }

  /** @param {ClipboardEvent} event */
  paste(event) {
    const pasted = event.clipboardData?.getData("text/plain") ?? "";
    if (pasted.length > LONGEST && this.mayEdit) {
      event.preventDefault();
      return toast(t("paste.tooLong", { n: pasted.length, most: LONGEST }), { kind: "error" });
    }
    const parts = pasted.split(/\r\n|\r|\n/).map((part) => part.trim()).filter(Boolean);
    const { line } = this;
    if (parts.length < 2 || !line || !this.mayEdit) return; // one line is pasted as the browser does it
    event.preventDefault();
    const step = this.pane.insert(parts.join(" "), { apart: true });
    const place = this.sheet.placeOf(line.id);
    const rows = this.sheet.rows.slice(place, place + parts.length);
    toast(t("paste.joined", { n: parts.length }), {
      action: t("paste.spread", { n: rows.length }),
      run: () => {
        this.sheet.changes.takeBack([step]);
        rows.forEach((row, i) => this.sheet.edit(row.line.id, { text: i + 1 < rows.length ? parts[i] : parts.slice(i).join(" ") }));
        this.pane.focus();
      },
    });
  }

  /**
   * Text that was typed while the page loaded.
   * @param {string} text
   */
  type(text) {
    if (this.mayEdit && this.pane.active !== null) this.pane.insert(text);
  }

  undo() {
    const undo = () => this.goBack(this.sheet.changes.undo());
    return this.sheet.changes.endsWithLayout ? this.holding(undo) : undo();
  }

  /** @param {Promise<import("./changes.js").Place|null>} undone */
  async goBack(undone) {
    const where = await undone;
    if (where) this.pane.activate(where.id, { caret: where.caret });
  }

  /**
   * @param {number|null|undefined} id
   * @param {"next"|"previous"} which
   */
  turn(id, which) {
    outbox.flush();
    if (id) holdKeys(`page/${id}`), (location.hash = `#/page/${id}`);
    else announce(t(`editor.no_${which}`)), toast(t(`editor.no_${which}`));
  }

  /**
   * Split the line at the caret, or join it with the next.
   * @param {"split"|"join"} how
   */
  async cut(how) {
    const { pane, sheet } = this;
    if (!this.line || !this.mayEdit) return;
    await this.holding(() =>
      sheet.inTurn(async () => {
        const { line } = this;
        if (!line) return;
        if (how === "split") return splitLine(sheet, line.id, pane.caret, pane);
        const next = sheet.rows[sheet.placeOf(line.id) + 1];
        if (next) await joinLines(sheet, [line.id, next.line.id], pane);
      }),
    );
  }

  /**
   * Change lines while keys wait: what is typed meanwhile is for the lines as they are then.
   * @param {() => Promise<any>} change
   */
  async holding(change) {
    const path = `page/${this.sheet.id}`;
    holdKeys(path);
    try {
      await change();
    } finally {
      if (isHeld(path)) this.pane.focus();
      releaseKeys(path, this);
    }
  }
}
