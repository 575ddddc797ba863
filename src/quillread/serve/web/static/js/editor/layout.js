// The layout of a page by hand: baselines drawn, dragged, split, joined, deleted and ordered; regions marked. All of it
// with the pointer, and all of it with keys.

import { fill, h, svg } from "../dom.js";
import { announce } from "../dialog.js";
import { t } from "../i18n.js";
import { keyCap } from "./keys.js";
import { REGION_KINDS, RegionWork } from "./layout-regions.js";
import { moved } from "./layout-work.js";
import { acceptReorder } from "./reorder.js";

/** @typedef {import("./sheet.js").Sheet} Sheet */
/** @typedef {import("./viewer.js").ImageView} ImageView */
/** @typedef {import("../types.js").Point} Point */
/** @typedef {import("../types.js").Line} Line */
/** @typedef {"select"|"line"|"region"} Tool */

/** As it was when the layout was last left. @type {Tool} */
let lastTool = "select";

export class LayoutTool extends RegionWork {
  /**
   * @param {Sheet} sheet
   * @param {ImageView} view
   * @param {(id: number) => void} activate Show a line in the text, too.
   * @param {() => void} leave
   */
  constructor(sheet, view, activate, leave) {
    super(sheet, activate);
    this.view = view;
    this.leave = leave;
    this.ends = new AbortController();
    this.tool = lastTool;
    /** @type {Point[]} What is being drawn. */
    this.drawn = [];
    this.layer = svg("g", { class: "layout-layer" });
    this.surface = h("div", { class: "layout-surface", role: "application", tabindex: "0", "aria-label": t("layout.surface"), "aria-describedby": "layout-help" });
    this.bar = h("div", { class: "layout-bar", role: "toolbar", "aria-label": t("layout.title") });
    this.help = h("p", { class: "layout-help", id: "layout-help" });
    this.root = h("div", { class: "layout-tool" }, this.bar, this.surface, this.help);
  }

  /** @param {number|null} line */
  open(line) {
    const { signal } = this.ends;
    const { view, sheet } = this;
    view.root.append(this.root);
    view.extra.append(this.layer);
    view.root.classList.add("layouts");
    view.lines.kind = "layout";
    view.lines.later();
    sheet.addEventListener("lines", () => this.draw(), { signal });
    view.addEventListener("pick", (/** @type {any} */ event) => this.pick(event.detail.id, event.detail.extend), { signal });
    view.overlay.addEventListener("pointerdown", (event) => this.press(event), { signal });
    view.overlay.addEventListener("dblclick", (event) => this.addPoint(event), { signal });
    this.surface.addEventListener("keydown", (event) => this.key(event));
    acceptReorder(document.querySelector("ol.lines"), signal, (from, to) => {
      const { id } = sheet.rows[from].line;
      this.setOrder((ids) => (ids.includes(id) ? moved(ids, ids.indexOf(id), to) : ids));
    }); // prettier-ignore
    if (line !== null) this.lines = [line];
    this.use(this.tool);
  }

  close() {
    this.save();
    this.ends.abort();
    this.root.remove();
    this.layer.remove();
    this.view.root.classList.remove("layouts", "drawing");
    this.view.isHeld = false;
    this.view.lines.kind = "outlines";
    this.view.lines.later();
  }

  /**
   * The text has moved to a line.
   * @param {number} id
   */
  follow(id) {
    if (this.lines.at(-1) === id) return;
    this.lines = [id];
    this.point = null;
    this.region = null;
    this.draw();
  }

  /**
   * @param {number} id
   * @param {boolean} extend
   */
  pick(id, extend) {
    if (this.tool !== "select") return;
    this.region = null;
    this.point = null;
    if (!extend) this.lines = [id];
    else this.lines = this.lines.includes(id) ? this.lines.filter((other) => other !== id) : [...this.lines, id];
    this.activate(id);
    this.draw();
    this.surface.focus({ preventScroll: true });
  }

  /** Keys are heard here. */
  focus() {
    this.surface.focus({ preventScroll: true });
  }

  /** Draw all anew. */
  draw() {
    if (this.ends.signal.aborted) return; // what was saved last has arrived
    this.lines = this.lines.filter((id) => this.sheet.byId.has(id));
    if (this.point !== null && this.point >= this.points.length) this.point = null; // another has drawn it anew
    const scale = this.view.scale || 1;
    const shapes = [];
    for (const region of this.sheet.regions) {
      shapes.push(svg("polygon", { class: `region kind-${this.kindOf(region)}${region.id === this.region ? " chosen" : ""}`, "data-region": region.id, points: pointsOf(this.outlineOf(region)) }));
    }
    for (const id of this.lines) {
      const row = this.sheet.byId.get(id);
      if (row) shapes.push(svg("polyline", { class: "baseline chosen", "data-line": id, points: pointsOf(this.baselineOf(row.line)) }));
    }
    const { chosen, line } = this;
    const handle = (/** @type {string} */ what, /** @type {number} */ i, /** @type {Point} */ [x, y]) =>
      svg("circle", { class: `handle${i === this.point ? " chosen" : ""}`, [`data-${what}`]: i, cx: x, cy: y, r: (i === this.point ? 8 : 6) / scale });
    if (chosen || (line && this.tool === "select")) shapes.push(...this.points.map((point, i) => handle(chosen ? "corner" : "point", i, point)));
    if (this.drawn.length) shapes.push(svg(this.tool === "region" ? "polygon" : "polyline", { class: "being-drawn", points: pointsOf(this.drawn) }));
    this.layer.replaceChildren(...shapes);
    this.view.root.classList.toggle("drawing", this.tool !== "select");
    this.drawBar();
  }

  drawBar() {
    const focused = document.activeElement instanceof HTMLElement && this.bar.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const button = (/** @type {string} */ key, /** @type {string} */ shortcut, /** @type {() => void} */ run, /** @type {{on?: boolean, off?: boolean}} */ facts = {}) =>
      h("button", { type: "button", class: "plain small toggle", "data-key": key, disabled: facts.off, "aria-pressed": facts.on === undefined ? null : String(facts.on), "aria-keyshortcuts": shortcut, title: `${t(`layout.${key}`)} (${shortcut})`, onclick: run }, t(`layout.${key}`)); // prettier-ignore
    const n = this.lines.length;
    const region = this.chosen;
    const select = (/** @type {string} */ key, /** @type {[string|number, string][]} */ options, /** @type {string|number} */ value, /** @type {(value: string) => void} */ run) => {
      const list = h("select", { class: "small", "aria-label": t(`layout.${key}`), "data-key": key }, options.map(([name, label]) => h("option", { value: name, selected: name === value }, label)));
      list.addEventListener("change", () => run(list.value));
      return list;
    };
    fill(this.bar,
      button("choose", "V", () => this.use("select"), { on: this.tool === "select" }),
      button("drawLine", "B", () => this.use("line"), { on: this.tool === "line" }),
      button("drawRegion", "G", () => this.use("region"), { on: this.tool === "region" }),
      h("span", { class: "rule" }),
      button("split", "S", () => this.split(), { off: n !== 1 }),
      button("join", "J", () => this.join(), { off: n < 1 }),
      button("earlier", "Alt+↑", () => this.order(-1), { off: n !== 1 && !region }),
      button("later", "Alt+↓", () => this.order(1), { off: n !== 1 && !region }),
      region ? select("kind", REGION_KINDS.map((kind) => [kind, t(`region.${kind}`)]), this.kindOf(region), (kind) => this.setKind(region.id, kind)) : null,
      !region && n && this.sheet.regions.length ? select("moveTo", [["", t("layout.noRegion")], ...this.sheet.regions.map((one, i) => /** @type {[number, string]} */ ([one.id, `${i + 1} ${t(`region.${one.kind}`)}`]))], this.line?.region_id ?? "", (id) => this.moveTo(id ? Number(id) : null)) : null,
      button("delete", "Delete", () => this.remove(), { off: !n && !region }),
      h("span", { class: "push" }),
      h("button", { type: "button", class: "small primary", "data-key": "done", onclick: this.leave }, t("layout.done"))); // prettier-ignore
    if (focused) /** @type {HTMLElement|null} */ (this.bar.querySelector(`[data-key="${focused}"]`))?.focus();
    const caps = (/** @type {[string, string][]} */ entries) => entries.map(([key, label]) => h("span", null, keyCap(key), ` ${t(`layout.help.${label}`)} `));
    /** @type {[string, string][]} */
    const shown = this.tool !== "select" ? [["Enter", "finish"]] : [
      ...(/** @type {[string, string][]} */ (region ? [["P", "corner"], ["Shift+ArrowUp", "nudge"], ["Alt+ArrowUp", "order"], ["K", "kind"]] : [["ArrowDown", "walk"], ["P", "point"], ["Shift+ArrowUp", "nudge"], ["N", "new"]])),
      ["R", "region"], ["Ctrl+Z", "undo"],
    ]; // prettier-ignore
    fill(this.help, caps([...shown, ["Escape", "leave"]]));
  }

  /** @param {Tool} tool */
  use(tool) {
    this.tool = lastTool = tool;
    this.view.isHeld = tool !== "select"; // where one draws it stays
    this.drawn = [];
    this.draw();
    this.surface.focus({ preventScroll: true });
  }

  /** @param {PointerEvent} event */
  press(event) {
    if (event.button !== 0) return;
    const target = /** @type {Element} */ (event.target);
    const at = this.view.pointAt(event);
    if (this.tool === "line") this.pressLine(event, at);
    else if (this.tool === "region") this.dragRegion(event, at);
    else if (target.matches("[data-point]")) this.dragPoint(event, Number(target.getAttribute("data-point")));
    else if (target.matches("[data-corner]")) this.dragCorner(event, Number(target.getAttribute("data-corner")));
    else if (target.matches("[data-line]")) return;
    else if (target.matches("[data-region]")) this.chooseRegion(Number(target.getAttribute("data-region")));
    else return;
    event.stopPropagation();
  }

  /**
   * @param {PointerEvent} event
   * @param {Point} start
   */
  pressLine(event, start) {
    const fixed = [...this.drawn, start];
    this.drawn = fixed;
    this.drag(event, (at) => {
      this.drawn = [...fixed, at];
      this.draw();
    }, (hasMoved) => (hasMoved ? this.finishDrawing() : this.draw())); // prettier-ignore
    this.draw();
  }

  /**
   * @param {PointerEvent} event
   * @param {Point} start
   */
  dragRegion(event, start) {
    this.drag(event, ([x, y]) => {
      this.drawn = [start, [x, start[1]], [x, y], [start[0], y]];
      this.draw();
    }, (hasMoved) => hasMoved && this.finishDrawing()); // prettier-ignore
  }

  /**
   * @param {PointerEvent} event
   * @param {number} i
   */
  dragPoint(event, i) {
    const { line } = this;
    if (!line) return;
    this.point = i;
    this.drag(event, (at) => {
      this.moved.set(line.id, this.baselineOf(line).map((point, j) => (j === i ? at : point)));
      this.draw();
    }, (hasMoved) => hasMoved && this.save()); // prettier-ignore
    this.draw();
    this.surface.focus({ preventScroll: true });
  }

  /**
   * @param {PointerEvent} event
   * @param {number} i
   */
  dragCorner(event, i) {
    const { chosen } = this;
    if (!chosen) return;
    this.point = i;
    this.drag(event, (at) => {
      this.alter(chosen.id, { polygon: this.outlineOf(chosen).map((corner, j) => (j === i ? at : corner)) });
      this.draw();
    }, (hasMoved) => hasMoved && this.save()); // prettier-ignore
    this.draw();
    this.surface.focus({ preventScroll: true });
  }

  /**
   * @param {PointerEvent} event
   * @param {(at: Point) => void} move
   * @param {(hasMoved: boolean) => void} end
   */
  drag(event, move, end) {
    const ends = new AbortController();
    const [x, y] = [event.clientX, event.clientY];
    let hasMoved = false;
    addEventListener("pointermove", (other) => {
      hasMoved ||= Math.hypot(other.clientX - x, other.clientY - y) > 4;
      if (hasMoved) move(this.view.pointAt(other));
    }, { signal: ends.signal }); // prettier-ignore
    const stop = () => (ends.abort(), end(hasMoved));
    addEventListener("pointerup", stop, { signal: ends.signal });
    addEventListener("pointercancel", stop, { signal: ends.signal });
  }

  /** @param {MouseEvent} event */
  addPoint(event) {
    if (this.tool === "line") return this.finishDrawing();
    const { line } = this;
    if (!line || !(/** @type {Element} */ (event.target).matches("[data-line]"))) return;
    event.stopPropagation();
    const at = this.view.pointAt(event);
    const points = this.baselineOf(line);
    const after = points.findIndex((point) => point[0] > at[0]);
    const i = after < 0 ? points.length : after;
    this.point = i;
    this.moved.set(line.id, [...points.slice(0, i), at, ...points.slice(i)]);
    this.save();
  }

  finishDrawing() {
    const drawn = this.drawn;
    const { tool } = this;
    this.use(tool === "line" ? tool : "select"); // lines are drawn one after the other
    if (tool === "region" && drawn.length > 2) this.addRegion(drawn);
    else if (tool === "line" && drawn.length > 1) this.addLine(drawn);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { key } = event;
    const command = event.ctrlKey || event.metaKey;
    const step = /** @type {Record<string, Point>} */ ({ ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] })[key];
    if (event.altKey && step?.[1]) this.order(step[1]);
    else if (step && (event.shiftKey || this.point !== null)) this.nudge(step, event.ctrlKey ? 25 : 4);
    else if (step) this.walk(step[1] || step[0], command);
    else if (command && key.toLowerCase() === "z") this.undo();
    else if (command || event.altKey) return;
    else if (key === "Escape") this.escape();
    else if (key === "Enter") this.drawn.length ? this.finishDrawing() : this.leave();
    else if (key === "Delete" || key === "Backspace") this.remove();
    else {
      const action = /** @type {Record<string, () => void>} */ ({
        p: () => this.nextPoint(), s: () => this.split(), j: () => this.join(), n: () => this.addBelow(), r: () => this.nextRegion(),
        g: () => this.use("region"), b: () => this.use("line"), v: () => this.use("select"), k: () => this.nextKind(), m: () => this.regionAround(),
      })[key.toLowerCase()]; // prettier-ignore
      if (!action) return;
      action();
    }
    event.preventDefault();
    event.stopPropagation();
  }

  escape() {
    if (this.drawn.length || this.tool !== "select") this.use("select");
    else if (this.point !== null || this.region !== null) ((this.point = null), (this.region = null), this.draw());
    else this.leave();
  }

  /**
   * @param {number} by
   * @param {boolean} extend
   */
  walk(by, extend) {
    const { rows } = this.sheet;
    if (!rows.length) return;
    const { line } = this;
    const to = line ? Math.max(0, Math.min(rows.length - 1, this.sheet.placeOf(line.id) + by)) : 0;
    const { id } = rows[to].line;
    this.lines = extend ? [...this.lines.filter((other) => other !== id), id] : [id];
    this.region = null;
    this.activate(id);
    this.draw();
    announce(t("layout.at", { n: to + 1, text: rows[to].line.text }));
  }

  /** Corners of the region that is chosen, or points of the baseline. */
  get points() {
    const { chosen, line } = this;
    return chosen ? this.outlineOf(chosen) : line ? this.baselineOf(line) : [];
  }

  /** Choose the next point of the baseline, or corner of the region; after the last one, all of it. */
  nextPoint() {
    const { chosen, points } = this;
    if (!points.length) return;
    const next = this.point === null ? 0 : this.point + 1;
    this.point = next < points.length ? next : null;
    this.draw();
    const place = { n: next + 1, all: points.length };
    if (this.point === null) announce(t(chosen ? "layout.wholeRegion" : "layout.wholeLine"));
    else announce(t(chosen ? "layout.cornerOf" : "layout.pointOf", place));
  }
}

/** @param {Point[]} points */
const pointsOf = (points) => points.map((point) => point.join(",")).join(" ");
