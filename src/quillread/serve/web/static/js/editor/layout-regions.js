// What is done to the regions of a page by hand: drawn, moved, put in order, marked, deleted; lines put into them.

import { announce, toast } from "../dialog.js";
import { t } from "../i18n.js";
import { change, changeAll } from "./layout-calls.js";
import { LayoutWork } from "./layout-work.js";
import { boxOf } from "./textpane.js";

/** @typedef {import("./sheet.js").Sheet} Sheet */
/** @typedef {import("../types.js").Point} Point */
/** @typedef {import("../types.js").Line} Line */
/** @typedef {import("../types.js").Region} Region */
/** @typedef {[line: number, region: number|null][]} Places */
/** @typedef {{polygon?: Point[], kind?: string}} Alteration Of a region. */

export const REGION_KINDS = ["text", "margin", "heading", "table", "picture", "ignore"];

export class RegionWork extends LayoutWork {
  /**
   * @param {Sheet} sheet
   * @param {(id: number) => void} activate Show a line in the text, too.
   */
  constructor(sheet, activate) {
    super(sheet, activate);
    /** @type {Map<number, Alteration>} Regions that are another and not yet saved. */
    this.altered = new Map();
    /** @type {Map<number, Alteration>} Those that are being saved. */
    this.sent = new Map();
  }

  /** @returns {Region|null} The region that is chosen. */
  get chosen() {
    return this.sheet.regions.find((region) => region.id === this.region) ?? null;
  }

  /** @param {Region} region */
  outlineOf(region) {
    return this.altered.get(region.id)?.polygon ?? this.sent.get(region.id)?.polygon ?? region.polygon;
  }

  /** @param {Region} region */
  kindOf(region) {
    return this.altered.get(region.id)?.kind ?? this.sent.get(region.id)?.kind ?? region.kind;
  }

  /**
   * @param {number} id
   * @param {Alteration} to
   */
  alter(id, to) {
    this.altered.set(id, { ...this.altered.get(id), ...to });
  }

  /**
   * Move the corner of the region that is chosen, or all of it; or lines, if none is.
   * @override
   * @param {Point} step
   * @param {number} size
   */
  nudge(step, size) {
    const { chosen } = this;
    if (!chosen) return super.nudge(step, size);
    const [x, y] = [step[0] * size, step[1] * size];
    const isMoved = (/** @type {number} */ i) => this.point === null || i === this.point;
    this.alter(chosen.id, { polygon: this.outlineOf(chosen).map(([px, py], i) => (isMoved(i) ? [px + x, py + y] : [px, py])) });
    this.saveSoon();
    this.draw();
  }

  /** @override */
  save() {
    super.save();
    const altered = [...this.altered];
    this.altered.clear();
    for (const [id, to] of altered) {
      const shown = { ...this.sent.get(id), ...to };
      this.sent.set(id, shown);
      this.setRegion(id, to).finally(() => {
        if (this.sent.get(id) === shown) this.sent.delete(id);
        this.draw();
      });
    }
  }

  /**
   * Delete the corner or the region that is chosen; or what is chosen of lines.
   * @override
   */
  remove() {
    const { chosen, point } = this;
    if (!chosen) return super.remove();
    if (point === null) {
      this.save(); // what was moved
      return this.removeRegion(chosen.id);
    }
    const outline = this.outlineOf(chosen);
    if (outline.length <= 3) return toast(t("layout.threeCorners"));
    this.alter(chosen.id, { polygon: outline.filter((_, i) => i !== point) });
    this.point = null;
    this.save();
    this.draw();
  }

  /**
   * Move the region that is chosen, with its lines, earlier or later in the order of reading; or the line.
   * @override
   * @param {number} by
   */
  order(by) {
    const { chosen } = this;
    if (!chosen) return super.order(by);
    this.queue(async () => {
      const { sheet } = this;
      const at = sheet.regions.findIndex((region) => region.id === chosen.id);
      if (at < 0 || at + by < 0 || at + by >= sheet.regions.length) return;
      const line_ids = sheet.rows.map((row) => row.line.id);
      await change(sheet, "PATCH", `regions/${chosen.id}`, { position: at + by });
      this.undos.push(() => changeAll(sheet, [["PATCH", `regions/${chosen.id}`, { position: at }], ["PUT", `pages/${sheet.id}/order`, { line_ids }]]));
      announce(t("layout.regionNowAt", { n: at + by + 1 }));
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
    const { chosen } = this;
    if (chosen) announce(t(`region.${chosen.kind}`));
  }

  nextRegion() {
    const { regions } = this.sheet;
    if (!regions.length) return toast(t("layout.noRegions"));
    const at = regions.findIndex((region) => region.id === this.region);
    this.chooseRegion(regions[(at + 1) % regions.length].id);
  }

  /** Some kinds let lines go: those that the key passes by are not saved. */
  nextKind() {
    const { chosen } = this;
    if (chosen) this.setKind(chosen.id, REGION_KINDS[(REGION_KINDS.indexOf(this.kindOf(chosen)) + 1) % REGION_KINDS.length]);
  }

  /**
   * @param {number} id
   * @param {string} kind
   */
  setKind(id, kind) {
    this.alter(id, { kind });
    this.saveSoon();
    this.draw();
    announce(t(`region.${kind}`));
  }

  /**
   * @param {number} id
   * @param {Alteration} to
   */
  setRegion(id, to) {
    return this.queue(async () => {
      const region = this.sheet.regions.find((one) => one.id === id);
      if (!region || (!to.polygon && to.kind === region.kind)) return; // another has deleted it, or nothing is another
      const before = { ...(to.polygon && { polygon: region.polygon }), ...(to.kind && { kind: region.kind }) };
      const places = this.regionsOf();
      await change(this.sheet, "PATCH", `regions/${id}`, to);
      this.undos.push(async () => {
        await change(this.sheet, "PATCH", `regions/${id}`, before);
        await this.putInRegions(places);
      });
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
    this.queue(async () => {
      const before = this.regionsOf();
      const answer = await change(this.sheet, "POST", `pages/${this.sheet.id}/regions`, { polygon, kind: "text" });
      const { id } = answer.regions[0];
      this.undos.push(async () => {
        await change(this.sheet, "DELETE", `regions/${id}`);
        await this.putInRegions(before);
      });
      this.chooseRegion(id);
    });
  }

  /** @param {number} id */
  removeRegion(id) {
    this.queue(async () => {
      const region = this.sheet.regions.find((one) => one.id === id);
      if (!region) return; // another has deleted it
      const before = this.regionsOf();
      await change(this.sheet, "DELETE", `regions/${id}`);
      this.region = null;
      this.undos.push(async () => {
        const { polygon, kind } = region;
        const answer = await change(this.sheet, "POST", `pages/${this.sheet.id}/regions`, { polygon, kind });
        const again = answer.regions[0].id;
        await this.putInRegions(before.map(([line, own]) => [line, own === id ? again : own]));
      });
      this.draw();
      announce(t("layout.regionDeleted"));
    });
  }

  /** @param {number|null} region */
  moveTo(region) {
    const ids = [...this.lines];
    this.queue(async () => {
      const before = this.regionsOf(ids);
      await this.putInRegions(ids.map((id) => [id, region]));
      this.undos.push(() => this.putInRegions(before));
      this.draw();
    });
  }

  /**
   * @param {number[]} [ids] Of some lines; of all if not given.
   * @returns {Places}
   */
  regionsOf(ids = this.sheet.rows.map((row) => row.line.id)) {
    return this.linesOf(ids).map((line) => [line.id, line.region_id]);
  }

  /**
   * Put lines into regions: those that are still there, and elsewhere.
   * @param {Places} places
   */
  async putInRegions(places) {
    const wanted = places.filter(([id, region]) => this.linesOf([id]).some((line) => line.region_id !== region));
    if (wanted.length) await changeAll(this.sheet, wanted.map(([id, region_id]) => ["PATCH", `lines/${id}/layout`, { region_id }]));
  }
}
