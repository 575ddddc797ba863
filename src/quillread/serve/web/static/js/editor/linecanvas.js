// The outlines of all lines over the image, on a canvas: thousands of them are drawn anew at each step of a pan, of which
// only those in sight cost anything.

import { h } from "../dom.js";
import { boxOf } from "./textpane.js";
import { standing } from "./words.js";

/** @typedef {import("../types.js").Point} Point */
/** @typedef {{x: number, y: number, scale: number}} Place Where the page lies in the view. */

/** @type {Record<string, {colour: string, dash: number[]}>} As in the style sheet of the text; dashes for those who see no colours. */
const LOOKS = {
  checked: { colour: "#2f8f4e", dash: [] },
  sure: { colour: "#3b6ea8", dash: [] },
  doubt: { colour: "#c77700", dash: [7, 3] },
  poor: { colour: "#cf3b22", dash: [3, 3] },
  none: { colour: "#777777", dash: [1, 4] },
};
const BASELINE = "#7a4fb5";
const MANY = 150; // lines in sight, from which on their boxes will do, drawn through, as thin as can be: dashes take the longest, then widths and points

/**
 * Lines of one pixel of the screen are drawn several times as fast as wider ones.
 * @param {number} width
 * @param {number} seen
 */
const widthOf = (width, seen) => (seen < MANY ? width : 1 / (devicePixelRatio || 1));

/**
 * @param {Place} one
 * @param {Place} other
 */
const isSame = (one, other) => one.x === other.x && one.y === other.y && one.scale === other.scale;

export class LineCanvas {
  /** @param {import("./sheet.js").Sheet} sheet */
  constructor(sheet) {
    this.sheet = sheet;
    this.canvas = h("canvas", { class: "outlines", "aria-hidden": "true" });
    /** @type {[number, number, number, number][]} */
    this.boxes = [];
    /** @type {Place} */
    this.place = { x: 0, y: 0, scale: 0 };
    this.shown = true;
    /** @type {"outlines"|"layout"} */
    this.kind = "outlines";
    this.frame = 0;
    this.timer = 0;
    /** @type {Map<number, string>} How lines look as they are drawn. */
    this.looks = new Map();
  }

  /** Lines are others now. */
  measure() {
    this.boxes = this.sheet.rows.map(({ line }) => boxOf(line));
    this.looks = new Map(this.sheet.rows.map(({ line }) => [line.id, standing(line)]));
    this.later();
  }

  later() {
    this.frame ||= requestAnimationFrame(() => this.draw());
  }

  /** @param {Place} [place] Where the page lies now: if all is drawn there, nothing is done. */
  draw(place) {
    if (place && !this.frame && !this.timer && this.canvas.style.transform === "" && isSame(place, this.place)) return;
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
    this.frame = this.timer = 0;
    this.place = place ?? this.place;
    const { canvas } = this;
    canvas.style.transform = "";
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const density = devicePixelRatio || 1;
    const ink = canvas.getContext("2d");
    if (!ink || !width || !this.place.scale) return;
    if (canvas.width !== Math.round(width * density) || canvas.height !== Math.round(height * density)) {
      canvas.width = Math.round(width * density);
      canvas.height = Math.round(height * density);
    }
    ink.setTransform(density, 0, 0, density, 0, 0);
    ink.clearRect(0, 0, width, height);
    const seen = this.seen(width, height);
    if (this.kind === "layout") this.drawLayout(ink, seen);
    else if (this.shown) this.drawOutlines(ink, seen);
  }

  /**
   * Move the drawing as it is, while the image moves: drawing it anew at each step would make the step wait.
   * @param {Place} place
   */
  shift(place) {
    const before = this.place;
    if (!before.scale) return this.draw(place);
    const factor = place.scale / before.scale;
    this.canvas.style.transform = `translate(${place.x - before.x * factor}px, ${place.y - before.y * factor}px) scale(${factor})`;
  }

  /**
   * A line was edited: it may look different. Its text is painted first, and often the image moves then anyway.
   * @param {number} id
   */
  refresh(id) {
    const row = this.sheet.byId.get(id);
    if (!row || this.looks.get(id) === standing(row.line)) return;
    this.looks.set(id, standing(row.line));
    this.timer ||= setTimeout(() => this.later(), 120);
  }

  /**
   * Places of the lines that are in sight.
   * @param {number} width
   * @param {number} height
   */
  seen(width, height) {
    const { x, y, scale } = this.place;
    const [left, top, right, bottom] = [-x / scale, -y / scale, (width - x) / scale, (height - y) / scale];
    const found = [];
    for (let i = 0; i < this.boxes.length; i++) {
      const box = this.boxes[i];
      if (box[2] >= left && box[0] <= right && box[3] >= top && box[1] <= bottom) found.push(i);
    }
    return found;
  }

  /**
   * @param {CanvasRenderingContext2D} ink
   * @param {number[]} seen
   */
  drawOutlines(ink, seen) {
    ink.lineWidth = widthOf(1.3, seen.length);
    ink.globalAlpha = 0.75;
    for (const [name, look] of Object.entries(LOOKS)) {
      ink.beginPath();
      for (const i of seen) {
        const { line } = this.sheet.rows[i];
        if (standing(line) !== name) continue;
        if (seen.length < MANY) this.trace(ink, line.polygon.length ? line.polygon : line.baseline, true);
        else this.traceBox(ink, this.boxes[i]);
      }
      ink.setLineDash(seen.length < MANY ? look.dash : []);
      ink.strokeStyle = look.colour;
      ink.stroke();
    }
    ink.globalAlpha = 1;
  }

  /**
   * @param {CanvasRenderingContext2D} ink
   * @param {number[]} seen
   */
  drawLayout(ink, seen) {
    const { x, y, scale } = this.place;
    ink.setLineDash([]);
    ink.strokeStyle = ink.fillStyle = BASELINE;
    ink.lineWidth = widthOf(1.6, seen.length);
    ink.font = "12px system-ui, sans-serif";
    ink.textAlign = "right";
    ink.beginPath();
    for (const i of seen) {
      const { baseline } = this.sheet.rows[i].line;
      this.trace(ink, baseline, false);
      if (baseline.length) ink.fillText(String(i + 1), baseline[0][0] * scale + x - 6, baseline[0][1] * scale + y);
    }
    ink.stroke();
  }

  /**
   * @param {CanvasRenderingContext2D} ink
   * @param {Point[]} points
   * @param {boolean} closed
   */
  trace(ink, points, closed) {
    const { x, y, scale } = this.place;
    let [lastX, lastY] = [Infinity, Infinity];
    for (let i = 0; i < points.length; i++) {
      const [px, py] = [points[i][0] * scale + x, points[i][1] * scale + y];
      if (Math.abs(px - lastX) + Math.abs(py - lastY) < 2) continue; // nobody sees it
      if (i) ink.lineTo(px, py);
      else ink.moveTo(px, py);
      [lastX, lastY] = [px, py];
    }
    if (closed) ink.closePath();
  }

  /**
   * @param {CanvasRenderingContext2D} ink
   * @param {[number, number, number, number]} box
   */
  traceBox(ink, [left, top, right, bottom]) {
    const { x, y, scale } = this.place;
    ink.rect(left * scale + x, top * scale + y, (right - left) * scale, (bottom - top) * scale);
  }

  /**
   * The line at a point of the page: of those around it, the one whose middle is nearest.
   * @param {Point} point
   * @returns {number|null} Its id.
   */
  lineAt([x, y]) {
    let [best, least] = [-1, Infinity];
    this.boxes.forEach(([left, top, right, bottom], i) => {
      const away = Math.abs(y - (top + bottom) / 2);
      if (x >= left && x <= right && y >= top && y <= bottom && away < least) [best, least] = [i, away];
    });
    return best < 0 ? null : this.sheet.rows[best].line.id;
  }
}
