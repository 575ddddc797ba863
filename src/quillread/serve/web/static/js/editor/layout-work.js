// What is done to the layout of a page: each change, and how it is taken back.

import { announce, toast } from "../dialog.js";
import { t } from "../i18n.js";
import { change, join, split } from "./layout-calls.js";
import { boxOf } from "./textpane.js";

/** @typedef {import("./sheet.js").Sheet} Sheet */
/** @typedef {import("../types.js").Point} Point */
/** @typedef {import("../types.js").Line} Line */

const PAUSE = 500; // of moving by keys, before it is saved

export const REGION_KINDS = ["text", "margin", "heading", "table", "picture", "ignore"];

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
    /** @type {number|null} */
    this.region = null;
    /** @type {number|null} A point of the baseline. */
    this.point = null;
    this.timer = 0;
    /** @type {Map<number, Point[]>} Baselines that are moved and not yet saved. */
    this.moved = new Map();
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
    return this.moved.get(line.id) ?? line.baseline;
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
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), PAUSE);
    this.draw();
  }

  /** @param {() => Promise<any>} run */
  queue(run) {
    return this.sheet.queue(run);
  }

  /** Save baselines that were moved. */
  save() {
    clearTimeout(this.timer);
    const moved = [...this.moved];
    if (!moved.length) return;
    const before = moved.map(([id]) => /** @type {[number, Point[]]} */ ([id, this.sheet.byId.get(id)?.line.baseline ?? []]));
    const put = async (/** @type {[number, Point[]][]} */ baselines) => {
      for (const [id, baseline] of baselines) await change(this.sheet, "PATCH", `lines/${id}/layout`, { baseline });
    };
    this.queue(async () => {
      await put(moved).finally(() => moved.forEach(([id, baseline]) => this.moved.get(id) === baseline && this.moved.delete(id)));
      this.sheet.noteLayout(moved[0][0], () => put(before));
      this.draw();
    });
  }

  /** Take the last change back; it waits for those that are under way. */
  undo() {
    return this.queue(async () => {
      const step = this.sheet.done.at(-1);
      if (!step?.back) return toast(t("layout.noUndo"));
      await this.sheet.takeBack(step);
      announce(t("undo"));
    });
  }

  /** @param {Point[]} baseline */
  addLine(baseline) {
    if (baseline[0][0] > baseline[baseline.length - 1][0]) baseline = [...baseline].reverse();
    const region = this.sheet.regions.find((one) => isInside(middleOf(baseline), one.polygon));
    this.queue(async () => {
      const answer = await change(this.sheet, "POST", `pages/${this.sheet.id}/lines`, { baseline, ...(region ? { region_id: region.id } : {}) });
      const line = answer.lines.find((/** @type {Line} */ one) => !this.lines.includes(one.id)) ?? answer.lines[0];
      this.sheet.noteLayout(line.id, () => change(this.sheet, "DELETE", `lines/${line.id}`));
      this.lines = [line.id];
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
    const points = this.baselineOf(line);
    const x = this.point !== null ? points[this.point][0] : (points[0][0] + points[points.length - 1][0]) / 2;
    this.queue(async () => {
      await split(this.sheet, line.id, { x }, true);
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
    this.queue(async () => {
      this.lines = [await join(this.sheet, ids, true)];
      this.draw();
      announce(t("layout.wereJoined"));
    });
  }

  remove() {
    if (this.region !== null) return this.removeRegion(this.region);
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
    const place = this.sheet.placeOf(line.id);
    this.queue(async () => {
      for (const id of ids) await change(this.sheet, "DELETE", `lines/${id}`);
      const step = this.sheet.noteLayout(line.id, async () => {
        for (const id of ids) await change(this.sheet, "POST", `lines/${id}/undelete`);
      });
      const next = this.sheet.rows[Math.min(place, this.sheet.rows.length - 1)];
      this.lines = next ? [next.line.id] : [];
      if (next) this.activate(next.line.id);
      this.draw();
      toast(t("layout.wereDeleted", { n: ids.length }), { action: t("undo"), run: () => void this.queue(() => this.sheet.takeBack(step)) });
    });
  }

  /**
   * Move the line earlier or later in the order of reading.
   * @param {number} by
   */
  order(by) {
    const { line } = this;
    if (!line) return;
    const ids = this.sheet.rows.map((row) => row.line.id);
    const at = ids.indexOf(line.id);
    if (at + by < 0 || at + by >= ids.length) return;
    this.setOrder(moved(ids, at, at + by));
  }

  /** @param {number[]} ids */
  setOrder(ids) {
    const before = this.sheet.rows.map((row) => row.line.id);
    const put = (/** @type {number[]} */ order) => change(this.sheet, "PUT", `pages/${this.sheet.id}/order`, { line_ids: order });
    return this.queue(async () => {
      await put(ids);
      this.sheet.noteLayout(this.line?.id ?? 0, () => put(before));
      const { line } = this;
      if (line) announce(t("layout.nowAt", { n: this.sheet.placeOf(line.id) + 1 }));
      this.draw();
    });
  }

  /** @param {number} id */
  chooseRegion(id) {
    this.region = id;
    this.lines = [];
    this.point = null;
    this.draw();
    this.focus();
    const region = this.sheet.regions.find((one) => one.id === id);
    if (region) announce(t(`region.${region.kind}`));
  }

  nextRegion() {
    const { regions } = this.sheet;
    if (!regions.length) return toast(t("layout.noRegions"));
    const at = regions.findIndex((region) => region.id === this.region);
    this.chooseRegion(regions[(at + 1) % regions.length].id);
  }

  nextKind() {
    const region = this.sheet.regions.find((one) => one.id === this.region);
    if (region) this.setKind(region.id, REGION_KINDS[(REGION_KINDS.indexOf(region.kind) + 1) % REGION_KINDS.length]);
  }

  /**
   * @param {number} id
   * @param {string} kind
   */
  setKind(id, kind) {
    const before = this.sheet.regions.find((region) => region.id === id)?.kind;
    this.setRegion(id, { kind }, { kind: before });
    announce(t(`region.${kind}`));
  }

  /**
   * @param {number} id
   * @param {any} facts
   * @param {any} before
   */
  setRegion(id, facts, before) {
    this.queue(async () => {
      await change(this.sheet, "PATCH", `regions/${id}`, facts);
      this.sheet.noteLayout(0, () => change(this.sheet, "PATCH", `regions/${id}`, before));
      this.draw();
    });
  }

  /** A region around the lines that are chosen. */
  regionAround() {
    const boxes = this.lines.map((id) => boxOf(/** @type {Line} */ (this.sheet.byId.get(id)?.line)));
    if (!boxes.length) return;
    const [left, top] = [Math.min(...boxes.map((box) => box[0])), Math.min(...boxes.map((box) => box[1]))];
    const [right, bottom] = [Math.max(...boxes.map((box) => box[2])), Math.max(...boxes.map((box) => box[3]))];
    this.addRegion([[left, top], [right, top], [right, bottom], [left, bottom]]); // prettier-ignore
  }

  /** @param {Point[]} polygon */
  addRegion(polygon) {
    const inside = this.sheet.rows.filter(({ line }) => isInside(middleOf(line.baseline), polygon)).map(({ line }) => line.id);
    const known = new Set(this.sheet.regions.map((region) => region.id));
    this.queue(async () => {
      await change(this.sheet, "POST", `pages/${this.sheet.id}/regions`, { polygon, kind: "text" });
      const region = this.sheet.regions.find((one) => !known.has(one.id));
      if (!region) return;
      for (const id of inside) if (this.sheet.byId.get(id)?.line.region_id !== region.id) await change(this.sheet, "PATCH", `lines/${id}/layout`, { region_id: region.id });
      this.sheet.noteLayout(0, () => change(this.sheet, "DELETE", `regions/${region.id}`));
      this.chooseRegion(region.id);
    });
  }

  /** @param {number} id */
  removeRegion(id) {
    const region = this.sheet.regions.find((one) => one.id === id);
    if (!region) return;
    const lines = this.sheet.rows.filter(({ line }) => line.region_id === id).map(({ line }) => line.id);
    this.queue(async () => {
      await change(this.sheet, "DELETE", `regions/${id}`);
      this.region = null;
      this.sheet.noteLayout(0, async () => {
        const known = new Set(this.sheet.regions.map((one) => one.id));
        await change(this.sheet, "POST", `pages/${this.sheet.id}/regions`, { polygon: region.polygon, kind: region.kind });
        const again = this.sheet.regions.find((one) => !known.has(one.id));
        for (const line of lines) if (again) await change(this.sheet, "PATCH", `lines/${line}/layout`, { region_id: again.id });
      });
      this.draw();
      announce(t("layout.regionDeleted"));
    });
  }

  /** @param {number|null} region */
  moveTo(region) {
    const ids = [...this.lines];
    const before = ids.map((id) => this.sheet.byId.get(id)?.line.region_id ?? null);
    const put = async (/** @type {(number|null)[]} */ regions) => {
      for (const [i, id] of ids.entries()) await change(this.sheet, "PATCH", `lines/${id}/layout`, { region_id: regions[i] });
    };
    this.queue(async () => {
      await put(ids.map(() => region));
      this.sheet.noteLayout(this.line?.id ?? 0, () => put(before));
      this.draw();
    });
  }
}

/**
 * @param {Point[]} points
 * @returns {Point}
 */
function middleOf(points) {
  const n = Math.max(1, points.length);
  return [points.reduce((sum, [x]) => sum + x, 0) / n, points.reduce((sum, [, y]) => sum + y, 0) / n];
}

/**
 * @param {Point} point
 * @param {Point[]} polygon
 */
function isInside([x, y], polygon) {
  let inside = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [[xi, yi], [xj, yj]] = [polygon[i], polygon[j]];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
  }
  return inside;
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
