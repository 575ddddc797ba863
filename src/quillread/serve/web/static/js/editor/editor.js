// The editor: the image of a page, its text, and what keys do.

import { fill, h, icon } from "../dom.js";
import { call, get, Offline, Problem } from "../api.js";
import { announce, tellFault, toast } from "../dialog.js";
import { watch } from "../events.js";
import { t } from "../i18n.js";
import { outbox } from "../outbox.js";
import { mayAs } from "../session.js";
import { recall, remember } from "../storage.js";
import { editorBar } from "./bar.js";
import { Dock, PALETTE, readingsOf } from "./dock.js";
import { showHistory } from "./history.js";
import { actionOf, showKeys } from "./keys.js";
import { Sheet } from "./sheet.js";
import { TextPane } from "./textpane.js";
import { ImageView } from "./viewer.js";
import { isDoubtful, toggleMark, wordAt } from "./words.js";

/** @typedef {import("../types.js").Line} Line */
/** @typedef {import("../types.js").Address} Address */
/** @typedef {import("./textpane.js").Mode} Mode */

const MODES = /** @type {Mode[]} */ (["side", "layout", "strips"]);

class Editor {
  /**
   * @param {HTMLElement} root
   * @param {number} id
   */
  constructor(root, id) {
    this.root = root;
    this.id = id;
    this.sheet = new Sheet(id);
    this.ends = new AbortController();
    this.mayEdit = false;
    const kept = recall("mode");
    /** @type {Mode} */
    this.mode = MODES.find((mode) => mode === kept) ?? "side";
    /** @type {import("./layout.js").LayoutTool|null} */
    this.layout = null;
    this.words = 0;
  }

  /** @param {Address} address */
  async open(address) {
    await this.sheet.load();
    const { page } = this.sheet;
    const [collection, document_] = await Promise.all([get(`collections/${page.collection_id}`), get(`documents/${page.document_id}`)]);
    /** @type {import("../types.js").Collection} */
    this.collection = collection;
    /** @type {import("../types.js").ArchiveDocument} */
    this.document = document_;
    this.mayEdit = mayAs(collection.role, "editor");
    this.pane = new TextPane(this.sheet, this.mode, this.mayEdit);
    this.view = new ImageView(this.sheet);
    this.dock = new Dock(this.signs());
    this.bar = editorBar(this);
    this.main = h("main", { class: `editor mode-${this.mode}` });
    this.status = h("div", { class: "page-status", role: "status" });
    this.side = h("div", { class: "text-side" }, this.status, this.pane.root, this.mayEdit ? this.dock.root : null);
    fill(this.root, this.bar.root, this.main);
    fill(this.main, this.view.root, this.divider(), this.side);
    this.listen();
    this.pane.build();
    this.view.draw();
    this.showStatus();
    if (this.mode !== "strips") this.view.open().catch(tellFault);
    this.stop = watch(page.collection_id, (kind, data) => this.hear(kind, data), (connected) => connected && this.reconnected());
    if (page.state === "waiting" || page.state === "new") call("POST", `pages/${this.id}/look`).catch(() => {});
    this.begin(address);
  }

  /** @param {Address} address */
  begin(address) {
    const wanted = Number(address.query.get("line"));
    const rows = this.sheet.rows;
    const start = this.sheet.byId.get(wanted) ?? rows.find((row) => !row.line.checked) ?? rows[0];
    if (start) this.pane?.activate(start.line.id);
    const query = address.query.get("q");
    if (query) this.showHits(query);
  }

  /** @param {string} query */
  async showHits(query) {
    const found = await get("search", { q: query, document_id: this.sheet.page.document_id, limit: 500 });
    const hits = /** @type {import("../types.js").Hit[]} */ (found.items).filter((hit) => hit.page_id === this.id);
    this.view?.showHits(hits.flatMap((hit) => hit.matches.map((match) => match.polygon ?? hit.polygon)));
  }

  signs() {
    return String(this.collection?.settings.palette ?? PALETTE).split(/\s+/u).filter(Boolean);
  }

  listen() {
    const { signal } = this.ends;
    const { pane, view, dock, sheet } = /** @type {Required<Editor>} */ (/** @type {any} */ (this));
    document.addEventListener("keydown", (event) => this.key(event), { signal });
    document.addEventListener("selectionchange", () => document.activeElement === pane.field && this.lightWord(), { signal });
    pane.addEventListener("active", (/** @type {any} */ event) => this.activated(event.detail));
    view.addEventListener("pick", (/** @type {any} */ event) => !this.layout && pane.activate(event.detail.id));
    sheet.addEventListener("line", (/** @type {any} */ event) => event.detail === pane.active && this.showReadings());
    sheet.addEventListener("lines", () => this.showStatus());
    dock.addEventListener("reading", (/** @type {any} */ event) => this.take(event.detail));
    dock.addEventListener("mark", (/** @type {any} */ event) => this.mark(event.detail));
    dock.addEventListener("sign", (/** @type {any} */ event) => pane.insert(event.detail));
    dock.addEventListener("edit-palette", () => this.editPalette());
    pane.field.addEventListener("paste", (/** @type {ClipboardEvent} */ event) => this.paste(event));
    pane.field.addEventListener("beforeinput", (/** @type {InputEvent} */ event) => {
      // Undo of the browser's own menu knows only one line.
      if (event.inputType !== "historyUndo" && event.inputType !== "historyRedo") return;
      event.preventDefault();
      this.run(event.inputType === "historyUndo" ? "undo" : "redo");
    });
  }

  get line() {
    const id = this.pane?.active;
    return id == null ? null : (this.sheet.byId.get(id)?.line ?? null);
  }

  /** @param {number} id */
  activated(id) {
    this.view?.activate(id);
    this.showReadings();
    this.lightWord();
    this.layout?.follow(id);
  }

  showReadings() {
    if (!this.mayEdit) return;
    cancelAnimationFrame(this.words);
    this.words = requestAnimationFrame(() => setTimeout(() => this.dock?.showReadings(this.line))); // after the paint
  }

  lightWord() {
    const { line, pane } = this;
    if (!line || !pane || this.layout) return;
    this.view?.lightWord(wordAt(line.words, pane.caret)?.polygon ?? null);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.isComposing || document.querySelector("dialog[open]")) return;
    const action = actionOf(event);
    if (!action) return;
    const target = /** @type {HTMLElement} */ (event.target);
    const inField = target === this.pane?.field;
    const isAnywhere = ["undo", "redo", "save", "help", "mode", "layout", "nextPage", "previousPage", "palette"].includes(action);
    if (event.key === "?" && (inField || target.matches("input, textarea, select"))) return;
    if (!inField && !(isAnywhere && !target.matches("input, textarea:not(.field), select"))) {
      if (action === "leave" && this.layout) this.run("layout");
      else if (action === "leave" && this.dock?.root.contains(target)) this.pane?.focus();
      else return;
      event.preventDefault();
      return;
    }
    if (this.layout?.root.contains(target) && !["help", "layout", "save"].includes(action)) return;
    if (this.run(action) !== false) event.preventDefault();
  }

  /**
   * @param {string} action
   * @returns {boolean|void} False if the browser is to do what it does.
   */
  run(action) {
    const pane = /** @type {TextPane} */ (this.pane);
    const id = pane.active;
    const place = id === null ? -1 : this.sheet.placeOf(id);
    if (/^reading[1-5]$/.test(action)) {
      const reading = readingsOf(this.line)[Number(action.at(-1)) - 1];
      if (reading) this.take(reading.text);
      return;
    }
    switch (action) {
      case "right": return this.right(place);
      case "back": return this.goTo(place - 1);
      case "rightUpToHere": return this.rightUpToHere(place);
      case "up": return this.goTo(place - 1, pane.caret);
      case "down": return this.goTo(place + 1, pane.caret);
      case "first": return this.goTo(0);
      case "last": return this.goTo(this.sheet.rows.length - 1);
      case "nextPage": return this.turn(this.sheet.page.next_id, "next");
      case "previousPage": return this.turn(this.sheet.page.previous_id, "previous");
      case "nextDoubt": return this.nextDoubt(place);
      case "previousDoubt": return this.previousDoubt(place);
      case "illegible": case "struck": case "added": case "expanded": return this.mark(action);
      case "palette": return this.dock?.focusSigns();
      case "undo": return this.wentBack(this.sheet.undo());
      case "redo": return this.wentBack(this.sheet.redo());
      case "save": return this.save();
      case "history": if (id !== null) showHistory(this.sheet, id, this.mayEdit).catch(tellFault); return;
      case "split": case "join": this.cut(action).catch(tellFault); return;
      case "help": showKeys(); return;
      case "leave": this.bar?.focus(); announce(t("editor.left")); return;
      case "mode": return this.setMode(MODES[(MODES.indexOf(this.mode) + 1) % MODES.length]);
      case "layout": this.toggleLayout(); return;
      case "closer": return this.view?.zoomBy(1.25);
      case "farther": return this.view?.zoomBy(0.8);
    }
  } // prettier-ignore

  /**
   * @param {number} place
   * @param {number} [caret]
   */
  goTo(place, caret = 0) {
    const row = this.sheet.rows[place];
    if (!row) return;
    const left = this.pane?.active;
    this.pane?.activate(row.line.id, { caret });
    if (left != null && outbox.edits.has(left)) outbox.flush();
  }

  /** @param {number} place */
  right(place) {
    const row = this.sheet.rows[place];
    if (!row) return;
    if (this.mayEdit && !row.line.checked) this.sheet.edit(row.line.id, { checked: true }, { now: true });
    if (place + 1 < this.sheet.rows.length) return this.goTo(place + 1);
    outbox.flush();
    if (this.sheet.page.next_id) return this.turn(this.sheet.page.next_id, "next");
    announce(t("editor.lastLine"));
    toast(this.sheet.rows.every((other) => other.line.checked) ? t("editor.allChecked") : t("editor.lastLine"));
  }

  /** @param {number} place */
  rightUpToHere(place) {
    if (!this.mayEdit || place < 0) return;
    const rows = this.sheet.rows.slice(0, place + 1).filter((row) => !row.line.checked);
    for (const row of rows) this.sheet.edit(row.line.id, { checked: true }, { now: true });
    announce(t("editor.tookLines", { n: rows.length }));
    toast(t("editor.tookLines", { n: rows.length }), { action: t("undo"), run: () => rows.forEach(() => this.sheet.undo()) });
    const next = this.sheet.rows.findIndex((row) => !row.line.checked);
    if (next >= 0) this.goTo(next);
  }

  /** @param {number} place */
  nextDoubt(place) {
    const { rows } = this.sheet;
    for (let at = Math.max(0, place); at < rows.length; at++) {
      const { line } = rows[at];
      const from = at === place ? /** @type {TextPane} */ (this.pane).field.selectionEnd : -1;
      const word = line.words.find((other) => other.start > from && isDoubtful(line, other)) ?? (at !== place ? line.words.find((other) => other.start >= 0 && isDoubtful(line, other)) : undefined);
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
      const until = at === place ? /** @type {TextPane} */ (this.pane).field.selectionStart : Infinity;
      const word = line.words.findLast((other) => other.start < until && isDoubtful(line, other));
      if (word) return this.select(line, word);
    }
    announce(t("editor.noDoubt"));
  }

  /**
   * @param {Line} line
   * @param {import("../types.js").Word} word
   */
  select(line, word) {
    this.pane?.activate(line.id, { caret: word.start, end: word.end });
  }

  /**
   * Take another reading.
   * @param {string} text
   */
  take(text) {
    const { line, pane } = this;
    if (!line || !pane || !this.mayEdit) return;
    this.sheet.edit(line.id, { text }, { caret: pane.caret });
    pane.focus();
  }

  /** @param {string} kind */
  mark(kind) {
    const { line, pane } = this;
    if (!line || !pane || !this.mayEdit) return;
    const { selectionStart, selectionEnd } = pane.field;
    const marked = toggleMark(line.text, selectionStart, selectionEnd, /** @type {import("./words.js").MarkKind} */ (kind));
    this.sheet.edit(line.id, { text: marked.text }, { caret: selectionStart });
    pane.activate(line.id, { caret: marked.start, end: marked.end });
  }

  /** @param {ClipboardEvent} event */
  paste(event) {
    const parts = (event.clipboardData?.getData("text/plain") ?? "").split(/\r\n|\r|\n/).map((part) => part.trim()).filter(Boolean);
    const { line } = this;
    if (parts.length < 2 || !line || !this.mayEdit) return; // one line is pasted as the browser does it
    event.preventDefault();
    this.pane?.insert(parts.join(" "));
    const before = this.sheet.done.length;
    const place = this.sheet.placeOf(line.id);
    const rows = this.sheet.rows.slice(place, place + parts.length);
    toast(t("paste.joined", { n: parts.length }), {
      action: t("paste.spread", { n: rows.length }),
      run: () => {
        if (this.sheet.done.length === before) this.sheet.undo();
        rows.forEach((row, i) => this.sheet.edit(row.line.id, { text: i + 1 < rows.length ? parts[i] : parts.slice(i).join(" ") }));
        this.pane?.focus();
      },
    });
  }

  /** @param {{id: number, caret: number}|null} where */
  wentBack(where) {
    if (where) this.pane?.activate(where.id, { caret: where.caret });
  }

  save() {
    outbox.tryAgain();
    if (outbox.state === "saved") announce(t("save.saved"));
  }

  /**
   * @param {number|null|undefined} id
   * @param {"next"|"previous"} which
   */
  turn(id, which) {
    outbox.flush();
    if (id) location.hash = `#/page/${id}`;
    else announce(t(`editor.no_${which}`)), toast(t(`editor.no_${which}`));
  }

  /**
   * Split the line at the caret, or join it with the next.
   * @param {"split"|"join"} how
   */
  async cut(how) {
    const { line, pane } = this;
    if (!line || !pane || !this.mayEdit) return;
    const { splitLine, joinLines } = await import("./layout-calls.js");
    if (how === "split") return splitLine(this.sheet, line.id, pane.caret, pane);
    const next = this.sheet.rows[this.sheet.placeOf(line.id) + 1];
    if (next) await joinLines(this.sheet, [line.id, next.line.id], pane);
  }

  async editPalette() {
    const { editPalette } = await import("./palette.js");
    const collection = await editPalette(/** @type {import("../types.js").Collection} */ (this.collection), PALETTE);
    if (!collection) return;
    this.collection = collection;
    this.dock?.setSigns(this.signs());
  }

  /** @param {Mode} mode */
  setMode(mode) {
    const pane = /** @type {TextPane} */ (this.pane);
    this.mode = mode;
    remember("mode", mode);
    pane.mode = mode;
    pane.root.className = `text-pane mode-${mode}`;
    if (this.main) this.main.className = `editor mode-${mode}`;
    const { active, caret } = pane;
    pane.build();
    if (active !== null) pane.items.get(active)?.scrollIntoView({ block: "center" }), (pane.active = active), pane.field.setSelectionRange(caret, caret);
    this.bar?.showMode(mode);
    if (mode === "strips") this.view?.close();
    else if (!this.view?.viewer) this.view?.open().catch(tellFault);
  }

  async toggleLayout() {
    if (this.layout) {
      this.layout.close();
      this.layout = null;
      this.pane?.focus();
    } else if (this.mayEdit) {
      if (this.mode === "strips") this.setMode("side");
      const { LayoutTool } = await import("./layout.js");
      this.layout = new LayoutTool(this.sheet, /** @type {ImageView} */ (this.view), (id) => this.pane?.activate(id, { focus: false }), () => this.toggleLayout());
      this.layout.open(this.pane?.active ?? null);
    }
    this.bar?.showLayout(this.layout !== null);
    this.main?.classList.toggle("layouts", this.layout !== null);
  }

  /**
   * @param {string} kind
   * @param {any} data
   */
  async hear(kind, data) {
    if (data.page !== this.id && !/^(collection|document)\./.test(kind)) return;
    try {
      if (kind === "line.changed") await this.heardLine(data);
      else if (kind === "page.read" || (kind === "layout.changed" && data.version > this.sheet.page.version)) await this.sheet.load();
      else if (kind === "page.reading" || kind === "page.failed" || kind === "page.changed") await this.reloadPage();
      else if (/deleted$/.test(kind)) await this.reloadPage();
    } catch (error) {
      if (error instanceof Problem && error.status === 404) this.showGone(error);
      else if (!(error instanceof Offline)) tellFault(error);
    }
  }

  /** @param {{line: number, revision: number, by?: string}} data */
  async heardLine(data) {
    const line = await this.sheet.hear(data.line, data.revision);
    if (!line || line.kind !== "person") return;
    const text = t("editor.changedBy", { n: this.sheet.placeOf(line.id) + 1, name: line.author || t("conflict.someone") });
    announce(text);
    if (line.id === this.pane?.active) toast(text);
  }

  async reloadPage() {
    const page = await get(`pages/${this.id}`);
    this.sheet.page = { ...this.sheet.page, state: page.state, fault: page.fault, next_id: page.next_id, previous_id: page.previous_id };
    this.showStatus();
  }

  async reconnected() {
    if (outbox.isOffline) outbox.tryAgain();
    if (this.wasConnected) await this.sheet.load().catch(() => {}); // what was missed
    this.wasConnected = true;
  }

  /** @param {Problem} problem */
  showGone(problem) {
    if (this.status) fill(this.status, h("div", { class: "banner bad" }, icon("warn"), h("span", null, t("editor.gone"), " ", problem.message)));
  }

  /** What the page is at, where there is something to say. */
  showStatus() {
    const { page, rows } = this.sheet;
    if (!this.status) return;
    const again = (/** @type {string} */ label) => this.mayEdit ? h("button", { type: "button", class: "primary", onclick: () => this.read() }, label) : null;
    /** @type {(Node|null)[]} */
    let content = [];
    if (page.state === "failed") content = [h("div", { class: "banner bad" }, icon("warn"), h("span", { dir: "auto" }, `${page.fault?.message ?? t("state.failed")} ${page.fault?.hint ?? ""}`), again(t("fault.again")))];
    else if (page.state === "waiting" || page.state === "reading") content = [h("div", { class: "banner busy" }, h("span", { class: "spinner" }), h("span", null, t(`state.${page.state}`)))];
    else if (!rows.length) content = [h("div", { class: "empty" }, h("p", null, page.state === "new" ? t("editor.notRead") : t("editor.noLines")), again(t("editor.read")))];
    fill(this.status, content);
  }

  /** Have the page read (again). */
  async read() {
    try {
      await call("POST", `pages/${this.id}/read`, { body: { options: {}, layout: null, only: "all" } });
      await this.reloadPage();
    } catch (error) {
      tellFault(error);
    }
  }

  divider() {
    const line = h("div", { class: "divider", role: "separator", tabindex: "0", "aria-orientation": "vertical", "aria-label": t("editor.divider"), "aria-valuemin": "20", "aria-valuemax": "80" });
    const set = (/** @type {number} */ share) => {
      const value = Math.round(Math.max(20, Math.min(80, share)));
      this.main?.style.setProperty("--share", `${value}%`);
      line.setAttribute("aria-valuenow", String(value));
      remember("share", String(value));
    };
    queueMicrotask(() => set(Number(recall("share")) || 50));
    line.addEventListener("pointerdown", (event) => line.setPointerCapture(event.pointerId));
    line.addEventListener("pointermove", (event) => {
      const box = this.main?.getBoundingClientRect();
      if (!box || !line.hasPointerCapture(event.pointerId)) return;
      const isTall = box.width < 900;
      set(isTall ? (100 * (event.clientY - box.top)) / box.height : (100 * (event.clientX - box.left)) / box.width);
    });
    line.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -3, ArrowUp: -3, ArrowRight: 3, ArrowDown: 3 }[event.key];
      if (step) event.preventDefault(), set(Number(line.getAttribute("aria-valuenow")) + step);
    });
    return line;
  }

  close() {
    outbox.flush();
    this.ends.abort();
    this.stop?.();
    this.layout?.close();
    this.view?.close();
    this.bar?.close();
    this.sheet.close();
  }
}

/** @type {import("../types.js").Show} */
export async function show(root, address) {
  const editor = new Editor(root, Number(address.path[1]));
  try {
    await editor.open(address);
  } catch (error) {
    editor.close();
    throw error;
  }
  return {
    close: () => editor.close(),
    follow: (next) => (editor.begin(next), true),
  };
}
