// The editor: the image of a page, its text, and what happens to them.

import { fill, h, icon } from "../dom.js";
import { all, call, get, Offline, part, Problem } from "../api.js";
import { announce, faultParts, tellFault, toast } from "../dialog.js";
import { watch } from "../events.js";
import { t } from "../i18n.js";
import { outbox } from "../outbox.js";
import { mayAs } from "../session.js";
import { recall, remember } from "../storage.js";
import { editorBar } from "./bar.js";
import { Dock, PALETTE } from "./dock.js";
import { Hands } from "./hands.js";
import { currentPath, releaseKeys } from "./held.js";
import { Sheet } from "./sheet.js";
import { TextPane } from "./textpane.js";
import { ImageView } from "./viewer.js";
import { wordAt } from "./words.js";

/** @typedef {import("../types.js").Line} Line */
/** @typedef {import("../types.js").Collection} Collection */
/** @typedef {import("../types.js").ArchiveDocument} ArchiveDocument */
/** @typedef {import("../types.js").Address} Address */
/** @typedef {import("./textpane.js").Mode} Mode */

const MODES = /** @type {Mode[]} */ (["side", "layout", "strips"]);

const AROUND = /^(page|document)\.(created|changed|deleted|restored|moved|purged)$/; // what puts other pages next to this one
const TOGETHER = 700; // ms, in which such events are answered by one look

const HURRY = 120; // ms between lines, below which nobody looks at the image: a key that is held down repeats after 30

/** The document that was left by turning pages. @type {number|null} */
let leftBehind = null;

export class Editor {
  /**
   * @param {HTMLElement} root
   * @param {Sheet} sheet Loaded.
   * @param {Collection} collection
   * @param {ArchiveDocument} document_
   */
  constructor(root, sheet, collection, document_) {
    this.root = root;
    this.sheet = sheet;
    this.id = sheet.id;
    this.collection = collection;
    this.document = document_;
    this.ends = new AbortController();
    this.mayEdit = mayAs(collection.role, "editor");
    const kept = recall("mode");
    /** @type {Mode} */
    this.mode = MODES.find((mode) => mode === kept) ?? "side";
    /** @type {import("./layout.js").LayoutTool|null} */
    this.layout = null;
    this.frame = 0;
    this.moving = 0;
    this.activatedAt = -Infinity;
    this.isHurried = false;
    this.waiting = 0;
    this.looking = 0;
    this.pane = new TextPane(sheet, this.mode, this.mayEdit);
    this.view = new ImageView(sheet);
    this.dock = new Dock(this.signs());
    this.hands = new Hands(this);
    this.bar = editorBar(this);
    this.status = h("div", { class: "page-status", role: "status" });
    const side = h("div", { class: "text-side" }, this.status, this.pane.root, this.mayEdit ? this.dock.root : null);
    this.main = h("main", { class: `editor mode-${this.mode}` });
    root.classList.add("editing");
    fill(root, this.bar.root, this.main);
    fill(this.main, this.view.root, this.divider(), side);
    this.listen();
    this.pane.build();
    this.view.lines.measure();
    this.showStatus();
    this.fitDock();
    if (this.mode !== "strips") this.view.open().catch(tellFault);
    const { page } = sheet;
    this.stop = this.watch();
    if (page.state === "waiting" || page.state === "new") call("POST", `pages/${this.id}/look`).catch(() => {});
  }

  /** @param {Address} address */
  begin(address) {
    const wanted = Number(address.query.get("line"));
    const { rows, text } = this.sheet;
    const start = this.sheet.byId.get(wanted) ?? text.find((row) => !row.line.checked) ?? text[0] ?? rows[0];
    if (start) this.pane.activate(start.line.id);
    const query = address.query.get("q");
    if (query) this.showHits(query).catch(tellFault);
  }

  /** @param {string} query */
  async showHits(query) {
    /** @type {import("../types.js").Hit[]} */
    const found = await all("search", { q: query, page_id: this.id, limit: 100 });
    this.view.showHits(found.flatMap((hit) => hit.matches.map((match) => (match.polygon?.length ? match.polygon : hit.polygon))));
  }

  signs() {
    return String(this.collection.settings.palette ?? PALETTE).split(/\s+/u).filter(Boolean);
  }

  listen() {
    const { signal } = this.ends;
    const { pane, view, dock, sheet, hands } = this;
    document.addEventListener("keydown", (event) => hands.key(event), { signal });
    document.addEventListener("selectionchange", () => !this.moving && document.activeElement === pane.field && this.lightWord(), { signal });
    pane.addEventListener("active", (/** @type {any} */ event) => this.activated(event.detail));
    view.addEventListener("pick", (/** @type {any} */ event) => !this.layout && pane.activate(event.detail.id));
    sheet.addEventListener("line", (/** @type {any} */ event) => event.detail === pane.active && this.showReadings());
    sheet.addEventListener("lines", () => {
      this.showStatus();
      this.fitDock();
      const [first] = sheet.rows;
      if (pane.active === null && first) pane.activate(first.line.id, { focus: document.activeElement === document.body }); // it has just been read
    });
    dock.addEventListener("reading", (/** @type {any} */ event) => hands.take(event.detail));
    dock.addEventListener("mark", (/** @type {any} */ event) => hands.mark(event.detail));
    dock.addEventListener("sign", (/** @type {any} */ event) => pane.insert(event.detail));
    dock.addEventListener("edit-palette", () => void this.editPalette().catch(tellFault));
    pane.field.addEventListener("paste", (event) => hands.paste(event));
    pane.field.addEventListener("beforeinput", (event) => {
      // Undo of the browser's own menu knows only one line.
      if (event.inputType !== "historyUndo" && event.inputType !== "historyRedo") return;
      event.preventDefault();
      hands.run(event.inputType === "historyUndo" ? "undo" : "redo");
    });
  }

  get line() {
    const { active } = this.pane;
    return active === null ? null : (this.sheet.byId.get(active)?.line ?? null);
  }

  /** @param {number} id */
  activated(id) {
    const now = performance.now();
    this.isHurried = now - this.activatedAt < HURRY;
    this.activatedAt = now;
    // The text is painted first.
    this.moving ||= requestAnimationFrame(() => setTimeout(() => {
      this.moving = 0;
      this.follow();
      this.lightWord();
    })); // prettier-ignore
    this.showReadings();
    if (document.activeElement === this.pane.field) this.layout?.follow(id); // not if lines were only loaded anew
  }

  /** The image follows the text; while lines go by as fast as keys repeat, it waits for the last of them. */
  follow() {
    clearTimeout(this.waiting);
    if (this.ends.signal.aborted) return;
    if (this.isHurried && performance.now() - this.activatedAt < HURRY) this.waiting = setTimeout(() => this.follow(), HURRY);
    else if (this.pane.active !== null) this.view.activate(this.pane.active);
  }

  showReadings() {
    if (!this.mayEdit) return;
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => setTimeout(() => this.dock.showReadings(this.line))); // after the paint
  }

  /** Room for other readings, where lines have some: so that nothing jumps from line to line. */
  fitDock() {
    this.dock.root.classList.toggle("has-readings", this.sheet.rows.some((row) => row.line.alternatives.length > 0));
  }

  lightWord() {
    const { line, pane } = this;
    if (line && !this.layout) this.view.lightWord(wordAt(line.words, pane.caret)?.polygon ?? null);
  }

  async editPalette() {
    const { editPalette } = await part(() => import("./palette.js"));
    const collection = await editPalette(this.collection, PALETTE);
    if (!collection) return;
    this.collection = collection;
    this.dock.setSigns(this.signs());
  }

  nextMode() {
    this.setMode(MODES[(MODES.indexOf(this.mode) + 1) % MODES.length]);
  }

  /** @param {Mode} mode */
  setMode(mode) {
    const { pane } = this;
    if (mode === "strips" && this.layout) this.toggleLayout(); // it is drawn on the image, which strips have none of
    this.mode = mode;
    remember("mode", mode);
    pane.mode = mode;
    pane.root.className = `text-pane mode-${mode}`;
    this.main.className = `editor mode-${mode}${this.layout ? " layouts" : ""}`;
    pane.build();
    if (pane.active !== null) pane.items.get(pane.active)?.scrollIntoView({ block: "center" });
    this.bar.showMode(mode);
    if (mode === "strips") this.view.close();
    else if (!this.view.viewer) this.view.open().catch(tellFault);
  }

  async toggleLayout() {
    if (this.layout) {
      this.layout.close();
      this.layout = null;
      this.pane.focus();
    } else if (this.mayEdit) {
      if (this.mode === "strips") this.setMode("side");
      const { LayoutTool } = await part(() => import("./layout.js"));
      if (this.layout || this.ends.signal.aborted) return; // the key was pressed twice, or the page left
      this.layout = new LayoutTool(this.sheet, this.view, (id) => this.pane.activate(id, { focus: false }), () => this.toggleLayout());
      this.layout.open(this.pane.active ?? null);
    }
    this.bar.showLayout(this.layout !== null);
    this.main.classList.toggle("layouts", this.layout !== null);
  }

  /** Hear what happens in the collection. */
  watch() {
    return watch(this.collection.id, (kind, data) => this.hear(kind, data), (missed) => this.reconnected(missed));
  }

  /**
   * @param {string} kind
   * @param {any} data
   */
  async hear(kind, data) {
    const { page } = this.sheet;
    const isOurs = kind.startsWith("page.") ? data.page === this.id : kind.startsWith("document.") ? data.document === page.document_id : data.collection === page.collection_id;
    const isPlace = /\.(deleted|restored|moved)$/.test(kind);
    if (isPlace ? !isOurs : data.page !== this.id) return void (AROUND.test(kind) && this.lookAround());
    try {
      if (isPlace) await this.findAgain();
      else if (kind === "line.changed") await this.heardLine(data);
      else if (kind === "page.read" || (kind === "layout.changed" && data.version > this.sheet.page.version)) await this.sheet.load();
      else if (kind === "page.reading" || kind === "page.failed" || kind === "page.changed") await this.reloadPage();
    } catch (error) {
      if (error instanceof Problem && error.status === 404) this.showStatus(true);
      else if (!(error instanceof Offline)) tellFault(error);
    }
  }

  /** @param {{line: number, revision: number, by?: string}} data */
  async heardLine(data) {
    const line = await this.sheet.hear(data.line, data.revision);
    if (!line || line.kind !== "person") return;
    const text = t("editor.changedBy", { n: this.sheet.placeOf(line.id) + 1, name: line.author || t("conflict.someone") });
    announce(text);
    if (line.id === this.pane.active) toast(text);
  }

  /** Load the page anew, and follow it into another collection: one that it leaves is told no more than that it is gone. */
  async findAgain() {
    await this.sheet.load();
    const { page } = this.sheet;
    if (page.collection_id === this.collection.id) return;
    const [collection, document_] = await Promise.all([get(`collections/${page.collection_id}`), get(`documents/${page.document_id}`)]);
    if (this.ends.signal.aborted || collection.id === this.collection.id) return;
    if (mayAs(collection.role, "editor") !== this.mayEdit) return location.reload(); // another editor: all of it is built for what one may do
    this.collection = collection;
    this.document = document_;
    this.stop();
    this.stop = this.watch();
    this.dock.setSigns(this.signs());
    const { bar } = this;
    this.bar = editorBar(this);
    this.bar.showLayout(this.layout !== null);
    bar.root.replaceWith(this.bar.root);
    bar.close();
  }

  /** Other pages have come, gone or moved: one of them may be next to this one. */
  lookAround() {
    this.looking ||= setTimeout(() => {
      this.looking = 0;
      this.reloadPage().catch(() => {}); // gone, or the server is away: other events tell
    }, TOGETHER);
  }

  async reloadPage() {
    const page = await get(`pages/${this.id}`);
    const document_ = await get(`documents/${page.document_id}`);
    if (this.ends.signal.aborted) return;
    this.document = document_;
    this.sheet.page = { ...page, version: this.sheet.page.version };
    this.bar.follow();
    this.showStatus();
  }

  /** @param {boolean} missed Whether events may be missing. */
  async reconnected(missed) {
    if (outbox.isOffline) outbox.tryAgain();
    try {
      if (missed) await this.findAgain();
    } catch (error) {
      if (error instanceof Problem && error.status === 404) this.showStatus(true);
    }
  }

  /**
   * What the page is at, where there is something to say.
   * @param {boolean} [isGone] Another has deleted it.
   */
  showStatus(isGone = false) {
    const { page, rows } = this.sheet;
    const again = (/** @type {string} */ label) => this.mayEdit ? h("button", { type: "button", class: "primary", onclick: () => this.read() }, label) : null;
    /** @type {(Node|null)[]} */
    let content = [];
    if (isGone) content = [h("div", { class: "banner bad" }, icon("warn"), h("span", null, t("editor.gone")))];
    else if (page.state === "failed") content = [h("div", { class: "banner bad" }, icon("warn"), h("span", null, page.fault ? faultParts(page.fault) : t("state.failed")), again(t("fault.again")))];
    else if (page.state === "waiting" || page.state === "reading") content = [h("div", { class: "banner busy" }, h("span", { class: "spinner" }), h("span", null, t(`state.${page.state}`)))];
    else if (!rows.length) content = [h("div", { class: "empty" }, h("p", null, t(page.state === "new" ? "editor.notRead" : this.mayEdit ? "editor.noLines" : "editor.noLinesHere")), again(t("editor.read")))];
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

  async export() {
    const { exportDialog } = await part(() => import("../views/export.js"));
    await exportDialog({ page: this.id, collection: this.collection.id });
  }

  divider() {
    const line = h("div", { class: "divider", role: "separator", tabindex: "0", "aria-orientation": "vertical", "aria-label": t("editor.divider"), "aria-valuemin": "20", "aria-valuemax": "80" });
    const set = (/** @type {number} */ share) => {
      const value = Math.round(Math.max(20, Math.min(80, share)));
      this.main.style.setProperty("--share", `${value}%`);
      line.setAttribute("aria-valuenow", String(value));
      remember("share", String(value));
    };
    queueMicrotask(() => set(Number(recall("share")) || 50));
    line.addEventListener("pointerdown", (event) => line.setPointerCapture(event.pointerId));
    line.addEventListener("pointermove", (event) => {
      const box = this.main.getBoundingClientRect();
      if (!line.hasPointerCapture(event.pointerId)) return;
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
    const { page } = this.sheet;
    leftBehind = [page.next_id, page.previous_id].some((id) => currentPath() === `page/${id}`) ? page.document_id : null;
    outbox.flush();
    clearTimeout(this.looking);
    this.ends.abort();
    this.stop();
    this.layout?.close();
    this.view.close();
    this.bar.close();
    this.sheet.close();
  }
}

/** @type {import("../types.js").Show} */
export async function show(root, address) {
  const sheet = new Sheet(Number(address.path[1]));
  try {
    await sheet.load();
    const { page } = sheet;
    const [collection, document_] = await Promise.all([get(`collections/${page.collection_id}`), get(`documents/${page.document_id}`)]);
    const editor = new Editor(root, sheet, collection, document_);
    editor.begin(address);
    if (leftBehind !== null && leftBehind !== page.document_id) {
      const text = t("editor.otherDocument", { name: document_.name });
      announce(text);
      toast(text);
    }
    leftBehind = null;
    releaseKeys(`page/${sheet.id}`, editor.hands);
    return {
      get collection() {
        return editor.collection.id; // the page may move
      },
      readOnly: !editor.mayEdit,
      close: () => editor.close(),
      follow: (next) => (editor.begin(next), true),
      export: () => editor.export(),
    };
  } catch (error) {
    sheet.close();
    throw error;
  }
}
