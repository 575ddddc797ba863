// Edits on their way to the server. None is lost: each is kept in the browser until the server has acknowledged it, is
// sent again after a failure, and waits for a person if another has changed the line meanwhile.

import { call, Offline, Problem } from "./api.js";
import { asHeld } from "./editor/words.js";
import { whoAmI } from "./session.js";
import { recall, recallAll, remember } from "./storage.js";

/** @typedef {import("./types.js").Line} Line */

/**
 * @typedef {object} Edit
 * @property {number} line
 * @property {number} page
 * @property {number|null} user Who made it.
 * @property {string} text
 * @property {boolean} checked
 * @property {number} revision That it was made on.
 * @property {string} base Text of that revision.
 * @property {string[]} sent Texts that were sent since, and of which no answer came: the server may have taken them.
 * @property {number} kept When it was kept in the browser last; 0 once its tab is left.
 * @property {Line|null} [theirs] What another has made of the line meanwhile: a person decides.
 * @property {string} [refused] Why the server refuses it for good.
 */

/** @typedef {"saved"|"waiting"|"saving"|"offline"|"conflict"|"refused"} State */

const PAUSE = 700; // of typing, before text is sent
const AT_ONCE = 4; // requests
const ALIVE = 20_000; // after which a tab keeps its edits again, where there are no locks
const ALONE = 90_000; // after which an edit that was not kept again is anybody's: timers of tabs out of sight wait a minute
const TAB = Math.random().toString(36).slice(2, 10);

/**
 * Where this tab keeps an edit.
 * @param {Edit} edit
 */
const keyOf = (edit) => `edit.${edit.line}.${TAB}.${edit.user}`;

class Outbox extends EventTarget {
  constructor() {
    super();
    /** @type {Map<number, Edit>} */
    this.edits = new Map();
    /** @type {Set<number>} */
    this.inFlight = new Set();
    /** @type {Map<number, number>} */
    this.timers = new Map();
    /** Tabs that are still open, and had edits. @type {Set<string>} */
    this.followed = new Set();
    /** Lines that this tab edits, and of which another has left an edit. @type {Set<number>} */
    this.doubled = new Set();
    this.isOffline = false;
    this.isKept = true;
    this.isLeft = false;
    this.delay = 1000;
    /** @type {number|undefined} */
    this.retry = undefined;
    /** @type {number|undefined} */
    this.later = undefined;
    addEventListener("online", () => this.tryAgain());
    // What a tab writes as it closes may arrive here after this one has opened.
    addEventListener("storage", (event) => event.newValue && event.key?.startsWith("quill.edit.") && this.resume());
    addEventListener("pagehide", () => {
      this.isLeft = true;
      this.leave();
    });
    addEventListener("pageshow", () => (this.isLeft = false));
    addEventListener("visibilitychange", () => document.visibilityState === "hidden" && this.leave());
    addEventListener("beforeunload", (event) => {
      // Kept edits are sent at the next visit; only what the browser would forget is worth a question.
      if (this.edits.size && !this.isKept) event.preventDefault();
    });
    if (!navigator.locks) setInterval(() => this.edits.forEach((edit) => this.keep(edit)), ALIVE); // over plain HTTP
    navigator.locks?.request(`quill-tab-${TAB}`, () => new Promise(() => {})).catch(() => {});
  }

  /** @returns {State} */
  get state() {
    const edits = [...this.edits.values()];
    if (edits.some((edit) => edit.theirs)) return "conflict";
    if (edits.some((edit) => edit.refused)) return "refused";
    if (this.isOffline && edits.length) return "offline";
    if (this.inFlight.size) return "saving";
    return edits.length ? "waiting" : "saved";
  }

  /** Edits that wait for a person. */
  get open() {
    return [...this.edits.values()].filter((edit) => edit.theirs || edit.refused);
  }

  /**
   * Take an edit.
   * @param {Line} line As the server has it.
   * @param {string} text
   * @param {boolean} checked
   * @param {{now?: boolean}} [facts] `now`: do not wait for a pause.
   */
  put(line, text, checked, facts = {}) {
    const before = this.edits.get(line.id);
    const edit = before ?? { line: line.id, page: line.page_id, user: whoAmI().user_id, revision: line.revision, base: line.text, sent: [], text, checked, kept: 0 };
    Object.assign(edit, { text, checked });
    delete edit.refused;
    this.edits.set(line.id, edit);
    this.keep(edit);
    this.changed();
    if (!edit.theirs) this.schedule(line.id, facts.now ? 0 : PAUSE);
  }

  /** Send all now. */
  flush() {
    for (const edit of this.edits.values()) if (!edit.theirs && !edit.refused) this.schedule(edit.line, 0);
  }

  /**
   * A person decides between two texts.
   * @param {number} id Of the line.
   * @param {boolean} mine
   */
  decide(id, mine) {
    const edit = this.edits.get(id);
    if (!edit?.theirs) return;
    const theirs = edit.theirs;
    if (mine) {
      Object.assign(edit, { revision: theirs.revision, base: theirs.text, sent: [], theirs: null });
      this.keep(edit);
      this.schedule(id, 0);
      this.tell("freed", id);
    } else {
      this.drop(edit);
      this.tell("taken", theirs);
    }
    this.changed();
  }

  /**
   * Send an edit again that was refused.
   * @param {number} id Of the line.
   */
  again(id) {
    const edit = this.edits.get(id);
    if (!edit) return;
    delete edit.refused;
    this.keep(edit);
    this.schedule(id, 0);
    this.tell("freed", id);
    this.changed();
  }

  /**
   * Give an edit up, as a person says.
   * @param {number} id Of the line.
   */
  forget(id) {
    const edit = this.edits.get(id);
    if (!edit) return;
    this.drop(edit);
    this.tell("freed", id);
    this.changed();
  }

  /** Somebody has logged in: edits of another wait in the browser until they are back. */
  begin() {
    for (const edit of this.edits.values()) {
      if (edit.user === whoAmI().user_id) continue;
      clearTimeout(this.timers.get(edit.line));
      this.edits.delete(edit.line);
    }
    this.tryAgain();
    return this.resume();
  }

  /**
   * Wait until edits have arrived.
   * @param {number} [page] Only those of it.
   */
  async settle(page) {
    const isAsked = (/** @type {Edit} */ edit) => (page === undefined || edit.page === page) && !edit.refused && !edit.theirs;
    const open = () => [...this.edits.values()].filter(isAsked);
    if (open().length) this.tryAgain();
    while (open().length) {
      if (this.isOffline) throw new Offline("edits wait for the server");
      await new Promise((resolve) => this.addEventListener("state", resolve, { once: true }));
    }
  }

  /** Take up what earlier visits of this user have left, of tabs that are no more; of those that are, when they end. */
  async resume() {
    for (const [key, value] of recallAll("edit.")) {
      const [, line, tab] = key.split(".");
      const edit = parsed(value);
      const mine = this.edits.get(Number(line));
      if (!edit) remember(key, null);
      else if (edit.user !== whoAmI().user_id || (mine && keyOf(mine) === key)) continue;
      else if (tab !== TAB && !(await isGone(tab, edit))) this.follow(tab);
      else if (this.edits.has(edit.line)) this.doubled.add(edit.line); // once ours has arrived, it is met like another's
      else if (recall(key) === value) this.adopt(key, edit);
    }
    this.changed();
  }

  /**
   * @param {string} key
   * @param {Edit} edit
   */
  adopt(key, edit) {
    remember(key, null);
    this.edits.set(edit.line, edit);
    this.keep(edit);
    this.tell("adopted", edit);
    if (!edit.theirs && !edit.refused) this.schedule(edit.line, 0);
  }

  /**
   * Take up what a tab leaves when it ends: one that closes at this moment still counts as open.
   * @param {string} tab
   */
  follow(tab) {
    if (!navigator.locks) {
      clearTimeout(this.later);
      this.later = setTimeout(() => this.resume(), ALONE);
      return;
    }
    if (this.followed.has(tab)) return;
    this.followed.add(tab);
    const ended = navigator.locks.request(`quill-tab-${tab}`, () => void this.followed.delete(tab));
    ended.then(() => this.resume()).catch(() => {});
  }

  tryAgain() {
    clearTimeout(this.retry);
    this.isOffline = false;
    this.flush();
  }

  /**
   * @param {number} id
   * @param {number} wait
   */
  schedule(id, wait) {
    clearTimeout(this.timers.get(id));
    this.timers.set(id, setTimeout(() => this.deliver(id), wait));
  }

  /** @param {number} id */
  async deliver(id) {
    const edit = this.edits.get(id);
    if (!edit || edit.theirs || edit.refused || this.inFlight.has(id) || this.isOffline) return;
    if (this.inFlight.size >= AT_ONCE) return this.schedule(id, 40);
    const { text, checked } = edit;
    if (!edit.sent.includes(text)) edit.sent.push(text);
    this.keep(edit);
    this.inFlight.add(id);
    this.changed();
    try {
      const line = await call("PUT", `lines/${id}/text`, {
        body: { text, checked },
        match: edit.revision,
        keepalive: document.visibilityState === "hidden",
      });
      this.acknowledge(edit, line, text, checked);
    } catch (error) {
      this.fail(edit, error);
    } finally {
      this.inFlight.delete(id);
    }
    this.changed();
    if (this.edits.has(id) && !edit.theirs && !edit.refused && !this.isOffline && (edit.text !== text || edit.checked !== checked)) this.schedule(id, PAUSE / 2);
  }

  /**
   * @param {Edit} edit
   * @param {Line} line
   * @param {string} text
   * @param {boolean} checked
   */
  acknowledge(edit, line, text, checked) {
    this.delay = 1000;
    if (edit.text === text && edit.checked === checked) {
      this.drop(edit);
    } else {
      Object.assign(edit, { revision: line.revision, base: line.text, sent: [] });
      this.keep(edit);
    }
    this.tell("saved", line);
  }

  /**
   * @param {Edit} edit
   * @param {unknown} error
   */
  fail(edit, error) {
    if (error instanceof Offline || (error instanceof Problem && (error.isPassing || error.status === 401 || error.body.link))) {
      this.isOffline = true;
      clearTimeout(this.retry);
      const wait = error instanceof Problem && error.wait ? error.wait * 1000 : this.delay;
      this.retry = setTimeout(() => this.tryAgain(), wait);
      this.delay = Math.min(this.delay * 2, 20_000);
    } else if (error instanceof Problem && error.status === 409 && error.body.current) {
      this.meet(edit, error.body.current);
    } else {
      edit.refused = error instanceof Problem && error.status === 404 ? "gone" : String(error instanceof Error ? error.message : error);
      this.keep(edit);
      this.tell("refused", edit);
    }
  }

  /**
   * Another was faster.
   * @param {Edit} edit
   * @param {Line} theirs
   */
  meet(edit, theirs) {
    const isSame = theirs.text === asHeld(edit.text);
    if (isSame && (theirs.checked || !edit.checked)) {
      this.drop(edit); // the same was meant
      this.tell("saved", theirs);
    } else if (isSame || theirs.text === edit.base || edit.sent.some((text) => theirs.text === asHeld(text))) {
      // The text that was edited still stands (a machine has read below it, or it was only checked), or it is ours, of
      // which we were not told: nothing is overwritten.
      Object.assign(edit, { revision: theirs.revision, base: theirs.text, sent: [] });
      this.keep(edit);
      this.schedule(edit.line, 0);
    } else {
      edit.theirs = theirs;
      this.keep(edit);
      this.tell("conflict", edit);
    }
  }

  /** The page is left: what is not sent is sent without waiting for the answer, and kept all the same. */
  leave() {
    for (const edit of this.edits.values()) {
      this.keep(edit);
      if (edit.theirs || edit.refused || this.inFlight.has(edit.line) || this.isOffline) continue;
      this.schedule(edit.line, 0);
      if (document.visibilityState === "hidden") this.deliver(edit.line);
    }
  }

  /** @param {Edit} edit */
  keep(edit) {
    edit.kept = this.isLeft ? 0 : Date.now();
    this.isKept = remember(keyOf(edit), JSON.stringify(edit));
  }

  /** @param {Edit} edit */
  drop(edit) {
    if (this.edits.get(edit.line) === edit) {
      clearTimeout(this.timers.get(edit.line));
      this.edits.delete(edit.line);
    }
    remember(keyOf(edit), null);
    if (this.doubled.delete(edit.line)) this.resume();
  }

  changed() {
    this.tell("state", this.state);
  }

  /**
   * @param {string} kind
   * @param {any} detail
   */
  tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}

/**
 * Whether a tab is no more, so that its edits are anybody's.
 * @param {string} tab
 * @param {Edit} edit Of it.
 */
async function isGone(tab, edit) {
  if (!navigator.locks) return Date.now() - edit.kept > ALONE;
  return navigator.locks.request(`quill-tab-${tab}`, { ifAvailable: true }, (lock) => lock !== null);
}

/**
 * @param {string} value
 * @returns {Edit|null} Null if it is not of ours.
 */
function parsed(value) {
  try {
    return JSON.parse(value);
  } catch {
    return null;
  }
}

export const outbox = new Outbox();
