// A page being edited: its lines as they are now, here.

import { call, get } from "../api.js";
import { outbox } from "../outbox.js";
import { Changes } from "./changes.js";
import { fromServer, NOT_TEXT, shiftWords } from "./words.js";

/** @typedef {import("../types.js").Line} Line */
/** @typedef {import("../types.js").Page} Page */
/** @typedef {import("../types.js").Region} Region */
/** @typedef {import("../types.js").Word} Word */
/** @typedef {import("./changes.js").Step} Step */

/**
 * @typedef {object} Row
 * @property {Line} line As it is to be: the server's, with what was edited here.
 * @property {Line} server As the server has it.
 * @property {string} note "", "conflict", "gone" or why the server refuses it.
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
    this.changes = new Changes(this);
    /** @type {Promise<any>} */
    this.work = Promise.resolve();
    this.asked = 0;
    this.loaded = 0;
    /** @type {Map<number, Line>} What the server has taken before the lines were there. */
    this.early = new Map();
    this.ends = new AbortController();
    const { signal } = this.ends;
    outbox.addEventListener("saved", (event) => this.acknowledge(/** @type {CustomEvent} */ (event).detail), { signal });
    outbox.addEventListener("adopted", (event) => this.adopt(/** @type {CustomEvent} */ (event).detail.line), { signal });
    outbox.addEventListener("taken", (event) => this.giveWay(/** @type {CustomEvent} */ (event).detail), { signal });
    outbox.addEventListener("freed", (event) => this.free(/** @type {CustomEvent} */ (event).detail), { signal });
    outbox.addEventListener("conflict", (event) => this.mark(/** @type {CustomEvent} */ (event).detail.line, "conflict"), { signal });
    outbox.addEventListener("refused", (event) => this.mark(/** @type {CustomEvent} */ (event).detail.line, /** @type {CustomEvent} */ (event).detail.refused), { signal });
  }

  close() {
    this.ends.abort();
  }

  /** Load the page and its lines, or load them anew: edits stay, those that are on their way and those that have arrived. */
  async load() {
    const mine = ++this.asked;
    const [page, found] = await Promise.all([get(`pages/${this.id}`), get(`pages/${this.id}/lines`)]);
    if (mine < this.loaded) return; // what was asked for later is here already
    this.loaded = mine;
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
    const known = this.byId.get(line.id);
    const last = known?.server ?? this.early.get(line.id);
    // The answer may be older than one that has come for the line alone; where it stands on the page is told by this one.
    const server = last && last.revision > line.revision ? { ...last, position: line.position, region_id: line.region_id } : fromServer(line);
    const edit = outbox.edits.get(line.id);
    if (edit) return { line: { ...server, text: edit.text, checked: edit.checked, words: shiftWords(server.words, server.text, edit.text) }, server, note: edit.theirs ? "conflict" : (edit.refused ?? "") };
    return { line: known && known.server.revision === server.revision ? asTyped(server, known.line) : server, server, note: "" };
  }

  /**
   * Whether a line is text: not if it is in a picture, or in a region to ignore.
   * @param {Row} row
   */
  isText({ line }) {
    const kind = this.regions.find((region) => region.id === line.region_id)?.kind;
    return kind === undefined || !NOT_TEXT.includes(kind);
  }

  /** The rows of text. */
  get text() {
    return this.rows.filter((row) => this.isText(row));
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
   * Work one after the other: each change is made on the state after the one before.
   * @template T
   * @param {() => Promise<T>|T} run
   * @returns {Promise<T>}
   */
  inTurn(run) {
    const done = this.work.then(run);
    this.work = done.catch(() => {});
    return done;
  }

  /**
   * Change a line.
   * @param {number} id
   * @param {{text?: string, checked?: boolean}} change
   * @param {{now?: boolean, silent?: boolean, apart?: boolean}} [facts] `silent`: not to be undone; `apart`: by itself.
   * @returns {Step|null} By which it can be taken back.
   */
  edit(id, change, facts = {}) {
    const row = this.byId.get(id);
    if (!row) return null;
    const { line } = row;
    const text = change.text ?? line.text;
    const checked = change.checked ?? line.checked;
    if (text === line.text && checked === line.checked) {
      if (facts.now) outbox.flush();
      return null;
    }
    row.line = { ...line, text, checked, words: shiftWords(line.words, line.text, text) };
    outbox.put(row.server, text, checked, { now: facts.now });
    if (row.note !== "conflict") row.note = ""; // it is tried again
    this.tell(id);
    if (facts.silent) return null;
    return this.changes.note({ id, before: line.text, after: text, wasChecked: line.checked, isChecked: checked, time: facts.apart ? -Infinity : Date.now() });
  }

  /**
   * Whether a line is as a change has left it: not if another has changed it since, or it was split or joined.
   * @param {number} id
   * @param {string} text
   * @param {boolean} checked
   */
  stands(id, text, checked) {
    const line = this.byId.get(id)?.line;
    return line !== undefined && line.text === text && line.checked === checked;
  }

  /**
   * The server has a line.
   * @param {Line} line
   */
  acknowledge(line) {
    line = fromServer(line);
    const row = this.byId.get(line.id);
    if (!row) return void (line.page_id === this.id && this.early.set(line.id, line));
    row.server = line;
    row.note = "";
    if (!outbox.edits.has(line.id)) row.line = asTyped(line, row.line);
    this.tell(line.id);
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
    if (mine) this.changes.note({ id: line.id, before: mine.text, after: fromServer(line).text, wasChecked: mine.checked, isChecked: line.checked, time: -Infinity });
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
   * An edit needs no person any more, or was given up.
   * @param {number} id
   */
  free(id) {
    const row = this.byId.get(id);
    if (!row) return;
    if (outbox.edits.has(id)) this.mark(id, "");
    else if (row.note === "gone") this.load().catch(() => {}); // the page may be gone, too
    else this.take(row.server);
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
    this.changes.note({ id, before: row.line.text, after: line.text, wasChecked: row.line.checked, isChecked: line.checked, time: 0 });
    this.take(line);
  }

  /** @param {number} id */
  tell(id) {
    this.dispatchEvent(new CustomEvent("line", { detail: id }));
  }
}

/**
 * A line as the server has it, with the text that was typed: the server drops a space at the end, and the next word would
 * stick to the last one if it vanished here too.
 * @param {Line} line
 * @param {Line} typed
 * @returns {Line}
 */
function asTyped(line, { text, words }) {
  return { ...line, text, words: line.words.length ? shiftWords(line.words, line.text, text) : words };
}
