// A page being edited: its lines as they are now, here, and how to undo.

import { call, get } from "../api.js";
import { tellFault } from "../dialog.js";
import { outbox } from "../outbox.js";
import { fromServer, shiftWords } from "./words.js";

/** @typedef {import("../types.js").Line} Line */
/** @typedef {import("../types.js").Page} Page */
/** @typedef {import("../types.js").Region} Region */
/** @typedef {import("../types.js").Word} Word */

/**
 * @typedef {object} Row
 * @property {Line} line As it is to be: the server's, with what was edited here.
 * @property {Line} server As the server has it.
 * @property {string} note "", "conflict", "gone" or why the server refuses it.
 */

/**
 * @typedef {object} Step
 * @property {number} id
 * @property {string} before
 * @property {string} after
 * @property {boolean} wasChecked
 * @property {boolean} isChecked
 * @property {number} caret
 * @property {number} time
 * @property {() => Promise<any>} [back] Takes a change of the layout back; else it is one of a text.
 */

/**
 * Events: `line` (detail: id) when one looks different, `lines` when there are others, `notice`.
 */
export class Sheet extends EventTarget {
  /** @param {number} id Of the page. */
  constructor(id) {
    super();
    this.id = id;
    /** @type {Page} */
    this.page = /** @type {any} */ (null);
    /** @type {Row[]} */
    this.rows = [];
    /** @type {Map<number, Row>} */
    this.byId = new Map();
    /** @type {Map<number, number>} */
    this.places = new Map();
    /** @type {Region[]} */
    this.regions = [];
    /** @type {Step[]} */
    this.done = [];
    /** @type {Step[]} */
    this.undone = [];
    /** Changes of the layout that are under way. */
    this.pending = 0;
    /** @type {Promise<any>} */
    this.work = Promise.resolve();
    this.ends = new AbortController();
    const { signal } = this.ends;
    outbox.addEventListener("saved", (event) => this.acknowledge(/** @type {CustomEvent} */ (event).detail), { signal });
    outbox.addEventListener("adopted", (event) => this.adopt(/** @type {CustomEvent} */ (event).detail.line), { signal });
    outbox.addEventListener("taken", (event) => this.giveWay(/** @type {CustomEvent} */ (event).detail), { signal });
    outbox.addEventListener("conflict", (event) => this.mark(/** @type {CustomEvent} */ (event).detail.line, "conflict"), { signal });
    outbox.addEventListener("refused", (event) => this.mark(/** @type {CustomEvent} */ (event).detail.line, /** @type {CustomEvent} */ (event).detail.refused), { signal });
  }

  close() {
    this.ends.abort();
  }

  /** Load the page and its lines, or load them anew: edits that are on their way stay. */
  async load() {
    const [page, found] = await Promise.all([get(`pages/${this.id}`), get(`pages/${this.id}/lines`)]);
    this.page = { ...page, version: found.page.version };
    this.regions = found.regions;
    this.setLines(found.lines);
  }

  /** @param {Line[]} lines */
  setLines(lines) {
    lines.sort((a, b) => a.position - b.position || a.id - b.id);
    this.rows = lines.map((line) => this.rowOf(line));
    this.byId = new Map(this.rows.map((row) => [row.line.id, row]));
    this.places = new Map(this.rows.map((row, place) => [row.line.id, place]));
    this.dispatchEvent(new Event("lines"));
  }

  /**
   * @param {Line} line
   * @returns {Row}
   */
  rowOf(line) {
    line = fromServer(line);
    const edit = outbox.edits.get(line.id);
    const note = edit?.theirs ? "conflict" : (edit?.refused ?? "");
    if (!edit) return { line, server: line, note };
    return { line: { ...line, text: edit.text, checked: edit.checked, words: shiftWords(line.words, line.text, edit.text) }, server: line, note };
  }

  /** @param {number} id */
  placeOf(id) {
    return this.places.get(id) ?? -1;
  }

  /**
   * What the machine has read in a line, before a person typed.
   * @param {number} id
   */
  readText(id) {
    const server = this.byId.get(id)?.server;
    return server?.read_text ?? server?.text ?? "";
  }

  /**
   * Change a line.
   * @param {number} id
   * @param {{text?: string, checked?: boolean}} change
   * @param {{caret?: number, now?: boolean, silent?: boolean, apart?: boolean}} [facts] `silent`: not to be undone; `apart`: by itself.
   * @returns {Step|undefined} How it can be undone.
   */
  edit(id, change, facts = {}) {
    const row = this.byId.get(id);
    if (!row) return undefined;
    const { line } = row;
    const text = change.text ?? line.text;
    const checked = change.checked ?? line.checked;
    if (text === line.text && checked === line.checked) {
      if (facts.now) outbox.flush();
      return undefined;
    }
    const step = facts.silent ? undefined : this.note({ id, before: line.text, after: text, wasChecked: line.checked, isChecked: checked, caret: facts.caret ?? 0, time: facts.apart ? -Infinity : Date.now() });
    row.line = { ...line, text, checked, words: shiftWords(line.words, line.text, text) };
    outbox.put(row.server, text, checked, { now: facts.now });
    this.tell(id);
    return step;
  }

  /** @param {Step} step */
  note(step) {
    const last = this.done.at(-1);
    this.undone.length = 0;
    const goesOn = last && last.id === step.id && last.after === step.before && last.isChecked === step.isChecked;
    if (goesOn && step.time > 0 && step.time - last.time < 800 && step.before !== step.after && !/\s$/u.test(step.before)) {
      return Object.assign(last, { after: step.after, time: step.time });
    }
    this.done.push(step);
    return step;
  }

  /**
   * The layout was changed.
   * @param {number} id Of a line that it is about, or 0.
   * @param {() => Promise<any>} back Takes it back.
   * @returns {Step}
   */
  noteLayout(id, back) {
    const step = { id, before: "", after: "", wasChecked: false, isChecked: false, caret: 0, time: -Infinity, back };
    this.done.push(step);
    this.undone.length = 0;
    return step;
  }

  /**
   * Change the layout, one change after the other: each is made on the state after the one before.
   * @param {() => Promise<any>} run
   */
  queue(run) {
    this.pending++;
    const done = this.work.then(run).catch(tellFault).finally(() => this.pending--);
    this.work = done.catch(() => {});
    return done;
  }

  /**
   * Take the last change back; those that another has overtaken are not to be taken back any more.
   * @returns {{id: number, caret: number, work?: Promise<any>}|null} Where it was undone, and what is to be waited for.
   */
  undo() {
    const step = this.done.at(-1);
    if (!step) return null;
    if (step.back) return { id: step.id, caret: step.caret, work: this.queue(() => this.takeBack(step)) };
    this.done.pop();
    if (!this.revert(step)) return this.undo();
    this.undone.push(step);
    return { id: step.id, caret: changeEnd(step.after, step.before) };
  }

  /**
   * Take a change back, whatever was done since.
   * @param {Step} step
   */
  async takeBack(step) {
    const at = this.done.indexOf(step);
    if (at < 0) return;
    this.done.splice(at, 1);
    this.undone.length = 0;
    if (step.back) await step.back();
    else this.revert(step);
  }

  /**
   * @param {Step} step Of a text.
   * @returns {boolean} Whether the line still had what the step gave it.
   */
  revert(step) {
    if (this.byId.get(step.id)?.line.text !== step.after) return false;
    this.edit(step.id, { text: step.before, checked: step.wasChecked }, { silent: true });
    return true;
  }

  /**
   * @returns {{id: number, caret: number}|null}
   */
  redo() {
    const step = this.undone.pop();
    if (!step) return null;
    if (this.byId.get(step.id)?.line.text !== step.before) return this.redo();
    this.done.push(step);
    this.edit(step.id, { text: step.after, checked: step.isChecked }, { silent: true });
    return { id: step.id, caret: changeEnd(step.before, step.after) };
  }

  /**
   * The server has a line.
   * @param {Line} line
   */
  acknowledge(line) {
    line = fromServer(line);
    const row = this.byId.get(line.id);
    if (!row) return;
    this.rename(line.id, row.line.text, line.text);
    row.server = line;
    row.note = "";
    if (!outbox.edits.has(line.id)) row.line = line.words.length || !row.line.words.length ? line : { ...line, words: row.line.words };
    this.tell(line.id);
  }

  /**
   * The server has written a text otherwise than it was typed (a letter and its accent are one character there).
   * @param {number} id
   * @param {string} typed
   * @param {string} text
   */
  rename(id, typed, text) {
    if (typed === text || outbox.edits.has(id)) return;
    for (const step of [...this.done, ...this.undone].filter((one) => one.id === id)) {
      if (step.before === typed) step.before = text;
      if (step.after === typed) step.after = text;
    }
  }

  /**
   * A line as another has it now is taken over.
   * @param {Line} line
   */
  take(line) {
    line = fromServer(line);
    const row = this.byId.get(line.id);
    if (!row) return;
    Object.assign(row, { line, server: line, note: "" });
    this.tell(line.id);
  }

  /**
   * A person has chosen the text of another; one's own can be had back.
   * @param {Line} line
   */
  giveWay(line) {
    const mine = this.byId.get(line.id)?.line;
    this.take(line);
    if (mine) this.note({ id: line.id, before: mine.text, after: line.text, wasChecked: mine.checked, isChecked: line.checked, caret: 0, time: -Infinity });
  }

  /**
   * An edit of an earlier visit was found: show it.
   * @param {number} id
   */
  adopt(id) {
    const row = this.byId.get(id);
    if (!row) return;
    Object.assign(row, this.rowOf(row.server));
    this.tell(id);
  }

  /**
   * Another has changed a line, or a machine has read it.
   * @param {number} id
   * @param {number} revision
   * @returns {Promise<Line|null>} The line, if it is shown now.
   */
  async hear(id, revision) {
    const row = this.byId.get(id);
    if (!row || row.server.revision >= revision || outbox.edits.has(id)) return null;
    const line = await get(`lines/${id}`);
    if (outbox.edits.has(id) || line.revision <= row.server.revision) return null; // edited meanwhile: saving it will tell
    this.take(line);
    return line;
  }

  /**
   * @param {number} id
   * @param {string} note
   */
  mark(id, note) {
    const row = this.byId.get(id);
    if (!row) return;
    row.note = note;
    this.tell(id);
  }

  /**
   * Put a line back to an earlier version.
   * @param {number} id
   * @param {number} number
   */
  async restore(id, number) {
    const row = /** @type {Row} */ (this.byId.get(id));
    const line = await call("POST", `lines/${id}/restore`, { body: { number }, match: row.server.revision });
    this.note({ id, before: row.line.text, after: line.text, wasChecked: row.line.checked, isChecked: line.checked, caret: 0, time: 0 });
    this.take(line);
  }

  /** @param {number} id */
  tell(id) {
    this.dispatchEvent(new CustomEvent("line", { detail: id }));
  }
}

/**
 * Where a change ends in the text after it.
 * @param {string} before
 * @param {string} after
 */
function changeEnd(before, after) {
  let tail = 0;
  while (tail < Math.min(before.length, after.length) && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail++;
  return after.length - tail;
}
