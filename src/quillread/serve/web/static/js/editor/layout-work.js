// What is done to the layout of a page: each change, and how it is taken back.

import { announce, tellFault, toast } from "../dialog.js";
import { t } from "../i18n.js";
import { areInPlace, change, changeAll, joinParts, partJoined } from "./layout-calls.js";
import { boxOf } from "./textpane.js";

/** @typedef {import("./sheet.js").Sheet} Sheet */
/** @typedef {import("../types.js").Point} Point */
/** @typedef {import("../types.js").Line} Line */

/** @typedef {import("./layout-calls.js").Call} Call */
/** @typedef {() => Promise<any>} Undo False if it cannot be done. */

const PAUSE = 500; // of moving by keys, before it is saved

export class LayoutWork {
  /**
   * @param {Sheet} sheet
   * @param {(id: number) => void} activate Show a line in the text, too.
   */
  constructor(sheet, activate) {
    this.sheet = sheet;
    this.activate = activate;
    /** @type {number[]} */
    this.lines = [];
    /** @type {number|null} The region that is chosen: keys are for it then, and for no line. */
    this.region = null;
    /** @type {number|null} A point of the baseline, or a corner of the region that is chosen. */
    this.point = null;
    /** @type {Undo[]} */
    this.undos = [];
    this.timer = 0;
    /** @type {Map<number, Point[]>} Baselines that are moved and not yet saved. */
    this.moved = new Map();
    /** @type {Map<number, Point[]>} Those that are being saved. */
    this.saving = new Map();
  }

  /** Show what has changed. */
  draw() {}

  /** Hear keys again. */
  focus() {}

  /** @returns {Line|null} The line that was chosen last. */
  get line() {
    const id = this.lines.at(-1);
    return id === undefined ? null : (this.sheet.byId.get(id)?.line ?? null);
  }

  /** @param {Line} line */
  baselineOf(line) {
    return this.moved.get(line.id) ?? this.saving.get(line.id) ?? line.baseline;
  }

  /**
   * @param {Point} step
   * @param {number} size
   */
  nudge([x, y], size) {
    for (const id of this.lines) {
      const line = /** @type {Line} */ (this.sheet.byId.get(id)?.line);
      const isMoved = (/** @type {number} */ i) => this.point === null || (i === this.point && id === this.line?.id);
      this.moved.set(id, this.baselineOf(line).map(([px, py], i) => (isMoved(i) ? [px + x * size, py + y * size] : [px, py])));
    }
    this.saveSoon();
    this.draw();
  }

  /** Save once nothing is moved any more. */
  saveSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), PAUSE);
  }

  /**
   * Work one after the other: each change is made on the state after the one before.
   * @param {() => Promise<any>} run
   */
  queue(run) {
    return this.sheet.inTurn(run).catch(tellFault);
  }

  /** Save baselines that were moved. */
  save() {
    clearTimeout(this.timer);
    const moved = [...this.moved];
    if (!moved.length) return;
    this.moved.clear();
    moved.forEach(([id, baseline]) => this.saving.set(id, baseline));
    const saved = this.queue(async () => {
      const before = this.linesOf(moved.map(([id]) => id));
      const put = moved.map(([id, baseline]) => /** @type {Call} */ (["PATCH", `lines/${id}/layout`, { baseline }]));
      await changeAll(this.sheet, put);
      const after = this.linesOf(moved.map(([id]) => id));
      this.undos.push(() => this.moveBack(before, after));
    });
    saved.finally(() => {
      moved.forEach(([id, baseline]) => this.saving.get(id) === baseline && this.saving.delete(id));
      this.draw();
    });
  }

  /**
   * Take back that lines were moved: not if they have been moved, split or joined since.
   * @param {Line[]} before
   * @param {Line[]} after
   */
  async moveBack(before, after) {
    if (!areInPlace(this.sheet, after)) {
      toast(t("undo.changed"));
      return false;
    }
    await changeAll(this.sheet, before.map(({ id, baseline, polygon }) => ["PATCH", `lines/${id}/layout`, { baseline, polygon }]));
  }

  /** @param {number[]} ids */
  linesOf(ids) {
    return ids.flatMap((id) => this.sheet.byId.get(id)?.line ?? []);
  }

  /**
   * Take a change back; it waits for those that are under way.
   * @param {Undo} [wanted] The last one if none is given.
   */
  undo(wanted) {
    if (!wanted) this.save(); // it may be what is meant
    return this.queue(async () => {
      const undo = wanted ?? this.undos.at(-1);
      const at = undo ? this.undos.lastIndexOf(undo) : -1;
      if (!undo || at < 0) return toast(t("layout.noUndo"));
      this.undos.splice(at, 1);
      if ((await undo()) !== false) announce(t("undo"));
    });
  }

  /** @param {Point[]} baseline */
  addLine(baseline) {
    if (baseline[0][0] > baseline[baseline.length - 1][0]) baseline = [...baseline].reverse();
    this.queue(async () => {
      const { lines } = await change(this.sheet, "POST", `pages/${this.sheet.id}/lines`, { baseline });
      const [line] = lines;
      this.undos.push(() => change(this.sheet, "DELETE", `lines/${line.id}`));
      this.lines = [line.id];
      this.region = null;
      this.point = null;
      this.activate(line.id);
      this.draw();
      announce(t("layout.lineAdded"));
    });
  }

  /** A line as the chosen one, one line further down: to be moved by keys. */
  addBelow() {
    const { width, height } = this.sheet.page;
    const { line } = this;
    if (!line) return this.addLine([[width * 0.1, height * 0.1], [width * 0.9, height * 0.1]]); // prettier-ignore
    const [, top, , bottom] = boxOf(line);
    const pitch = Math.max(10, (bottom - top) * 0.9);
    this.addLine(this.baselineOf(line).map(([x, y]) => [x, Math.min(height - 1, y + pitch)]));
  }

  split() {
    const { line } = this;
    if (!line) return;
    this.save(); // what was moved, before it is another line
    const points = this.baselineOf(line);
    const x = this.point !== null ? points[this.point][0] : (points[0][0] + points[points.length - 1][0]) / 2;
    this.queue(async () => {
      const [whole] = this.linesOf([line.id]);
      if (!whole) return; // another has deleted it
      const { lines } = await change(this.sheet, "POST", `lines/${line.id}/split`, { x });
      this.undos.push(() => joinParts(this.sheet, whole, lines));
      announce(t("layout.wasSplit"));
    });
  }

  join() {
    const { rows } = this.sheet;
    const { line } = this;
    if (!line) return;
    const next = rows[this.sheet.placeOf(line.id) + 1];
    const ids = this.lines.length > 1 ? [...this.lines].sort((a, b) => this.sheet.placeOf(a) - this.sheet.placeOf(b)) : next ? [line.id, next.line.id] : [];
    if (ids.length < 2) return;
    this.save();
    this.queue(async () => {
      const lines = this.linesOf(ids);
      const answer = await change(this.sheet, "POST", `pages/${this.sheet.id}/merge`, { line_ids: ids });
      const [joined] = answer.lines;
      this.undos.push(() => partJoined(this.sheet, lines, joined));
      this.lines = [joined.id];
      this.draw();
      announce(t("layout.wereJoined"));
    });
  }

  remove() {
    const { line } = this;
    if (line && this.point !== null) {
      const points = this.baselineOf(line);
      if (points.length <= 2) return toast(t("layout.twoPoints"));
      this.moved.set(line.id, points.filter((_, i) => i !== this.point));
      this.point = null;
      return this.save();
    }
    const ids = [...this.lines];
    if (!ids.length || !line) return;
    this.save();
    const place = this.sheet.placeOf(line.id);
    this.queue(async () => {
      await changeAll(this.sheet, ids.map((id) => ["DELETE", `lines/${id}`]));
      const undo = () => changeAll(this.sheet, ids.map((id) => ["POST", `lines/${id}/undelete`]));
      this.undos.push(undo);
      const next = this.sheet.rows[Math.min(place, this.sheet.rows.length - 1)];
      this.lines = next ? [next.line.id] : [];
      if (next) this.activate(next.line.id);
      this.draw();
      toast(t("layout.wereDeleted", { n: ids.length }), { action: t("undo"), run: () => void this.undo(undo) });
    });
  }

  /**
   * Move the line earlier or later in the order of reading.
   * @param {number} by
   */
  order(by) {
    const { line } = this;
    if (!line) return;
    this.setOrder((ids) => {
      const at = ids.indexOf(line.id);
      return at < 0 || at + by < 0 || at + by >= ids.length ? ids : moved(ids, at, at + by);
    });
  }

  /**
   * @param {(ids: number[]) => number[]} reorder Of the order that there is when those before have ended.
   */
  setOrder(reorder) {
    const put = (/** @type {number[]} */ order) => change(this.sheet, "PUT", `pages/${this.sheet.id}/order`, { line_ids: order });
    this.queue(async () => {
      const before = this.sheet.rows.map((row) => row.line.id);
      const wanted = reorder(before);
      if (wanted === before) return;
      await put(wanted);
      this.undos.push(() => put(before));
      const { line } = this;
      if (line) announce(t("layout.nowAt", { n: this.sheet.placeOf(line.id) + 1 }));
      this.draw();
    });
  }
}

/**
 * @param {number[]} ids
 * @param {number} from
 * @param {number} to
 */
export function moved(ids, from, to) {
  const order = [...ids];
  order.splice(to, 0, ...order.splice(from, 1));
  return order;
}
