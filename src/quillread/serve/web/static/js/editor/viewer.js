// The image of the page: deep zoom by OpenSeadragon, lines drawn over it in SVG.

import { fill, h, icon, svg } from "../dom.js";
import { images } from "../api.js";
import { movesLess } from "../session.js";
import { t } from "../i18n.js";
import { LineCanvas } from "./linecanvas.js";
import { boxOf } from "./textpane.js";
import { standing } from "./words.js";

/** @typedef {import("./sheet.js").Sheet} Sheet */
/** @typedef {import("../types.js").Point} Point */

const TILED = 16e6; // pixels above which a page comes in tiles, rather than as one image

/** @type {Promise<any>|null} */
let library = null;

/** @returns {Promise<typeof import("openseadragon")>} */
function loadLibrary() {
  library ??= new Promise((resolve, reject) => {
    // The library would add a style of its own, which the content policy of the page forbids; it is in our style sheet.
    // It looks for this mark first: an element that is no style to the browser.
    const mark = document.createElementNS("urn:quillread", "style");
    mark.setAttribute("data-openseadragon-mobile-css", "true");
    document.head.append(mark);
    const script = h("script", { src: new URL("../../vendor/openseadragon/openseadragon.min.js", import.meta.url).href });
    script.onload = () => resolve(/** @type {any} */ (window).OpenSeadragon);
    script.onerror = () => ((library = null), reject(new Error("openseadragon.min.js")));
    document.head.append(script);
  });
  return library;
}

export class ImageView extends EventTarget {
  /** @param {Sheet} sheet */
  constructor(sheet) {
    super();
    this.sheet = sheet;
    this.stage = h("div", { class: "stage" });
    this.fault = h("div", { class: "image-fault", hidden: true });
    const tool = (/** @type {Parameters<typeof icon>[0]} */ name, /** @type {string} */ label, /** @type {() => void} */ run) =>
      h("button", { type: "button", class: "plain square", "aria-label": label, title: label, onclick: run }, icon(name));
    this.tools = h("div", { class: "image-tools", role: "toolbar", "aria-label": t("image.tools") },
      tool("plus", t("image.closer"), () => this.zoomBy(1.4)),
      tool("minus", t("image.farther"), () => this.zoomBy(1 / 1.4)),
      tool("fit", t("image.whole"), () => this.showWhole()),
      h("button", { type: "button", class: "plain square toggle", "aria-pressed": "true", "aria-label": t("image.lines"), title: t("image.lines"), onclick: (/** @type {Event} */ event) => this.toggleLines(/** @type {HTMLElement} */ (event.currentTarget)) }, icon("lines"))); // prettier-ignore
    this.root = h("section", { class: "image-pane", "aria-label": t("image.title") }, this.stage, this.fault, this.tools);
    this.group = /** @type {SVGGElement} */ (svg("g", null));
    this.lines = new LineCanvas(sheet);
    this.hitLayer = svg("g", { class: "hits" });
    this.lineMark = svg("polygon", { class: "line-mark" });
    this.wordMark = svg("polygon", { class: "word-mark" });
    this.extra = svg("g", { class: "extra" });
    this.group.append(this.lineMark, this.hitLayer, this.wordMark, this.extra);
    this.overlay = svg("svg", { class: "overlay", "aria-hidden": "true" }, this.group);
    /** @type {any} */
    this.viewer = null;
    /** @type {any} The library, once it is there. */
    this.kit = null;
    this.turn = 0;
    this.ownZoom = false;
    this.isHeld = false;
    this.isMoving = false;
    this.isJump = false; // to where it is at once: the lines are drawn there, rather than moved and then drawn
    this.wentAt = 0;
    /** @type {number|null} */
    this.active = null;
    sheet.addEventListener("lines", () => {
      this.lines.measure();
      if (this.active !== null) this.outline(this.active);
    });
    sheet.addEventListener("line", (event) => this.lines.refresh(/** @type {CustomEvent<number>} */ (event).detail));
  }

  /** Open the image of the page. */
  async open() {
    const turn = ++this.turn;
    const OpenSeadragon = await loadLibrary();
    if (turn !== this.turn) return; // it was closed meanwhile
    const { page } = this.sheet;
    const viewer = OpenSeadragon({
      element: this.stage,
      drawer: "canvas",
      showNavigationControl: false,
      animationTime: movesLess() ? 0 : 0.35,
      springStiffness: 9,
      visibilityRatio: 0.3,
      maxZoomPixelRatio: 4,
      minZoomImageRatio: 0.5,
      imageSmoothingEnabled: true,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      gestureSettingsTouch: { clickToZoom: false },
      tileSources: /** @type {any} */ (
        page.width * page.height > TILED ? images.tiles(page.id) : { type: "image", url: images.page(page.id), buildPyramid: true }
      ),
    });
    this.viewer = viewer;
    this.kit = OpenSeadragon;
    // Keys are the editor's.
    Object.assign(/** @type {any} */ (viewer).innerTracker, { keyDownHandler: null, keyHandler: null });
    viewer.canvas.setAttribute("tabindex", "-1");
    viewer.canvas.append(this.lines.canvas, this.overlay);
    viewer.addHandler("open", () => this.opened());
    viewer.addHandler("open-failed", () => this.failed());
    viewer.addHandler("tile-load-failed", () => this.failed());
    viewer.addHandler("canvas-click", (event) => event.quick && this.pick(/** @type {MouseEvent} */ (event.originalEvent)));
    viewer.addHandler("animation-start", () => (this.isMoving = !this.isJump));
    viewer.addHandler("animation-finish", () => {
      if (this.isMoving) (this.isMoving = false), this.place();
      this.isJump = false;
    });
    viewer.addHandler("resize", () => (this.place(), this.lines.later()));
    viewer.addHandler("update-viewport", () => this.place());
    for (const name of /** @type {const} */ (["canvas-scroll", "canvas-pinch", "canvas-double-click"])) viewer.addHandler(name, () => (this.ownZoom = true));
  }

  opened() {
    this.fault.hidden = true;
    this.place();
    if (this.active !== null) this.goTo(this.active, true);
  }

  failed() {
    this.fault.hidden = false;
    fill(this.fault, h("p", null, t("image.failed")), h("button", { type: "button", onclick: () => (this.close(), this.open()) }, t("fault.again")));
  }

  /** Lay the drawing over the image, wherever that is now. */
  place() {
    const item = this.viewer?.world.getItemAt(0);
    if (!item) return;
    const zero = item.imageToViewerElementCoordinates(new this.kit.Point(0, 0));
    const one = item.imageToViewerElementCoordinates(new this.kit.Point(1000, 0));
    // Lines are in pixels of the page; the image may have come smaller.
    const scale = ((one.x - zero.x) / 1000) * (item.getContentSize().x / (this.sheet.page.width || item.getContentSize().x));
    this.scale = scale;
    this.group.setAttribute("transform", `translate(${zero.x} ${zero.y}) scale(${scale})`);
    const place = { x: zero.x, y: zero.y, scale };
    if (this.isMoving) this.lines.shift(place);
    else this.lines.draw(place);
  }

  /**
   * A line is worked on: show it.
   * @param {number} id
   */
  activate(id) {
    const isOther = this.active !== id;
    this.active = id;
    if (!isOther) return;
    this.outline(id);
    if (!this.isHeld) this.goTo(id, false);
  }

  /**
   * Outline the line that is worked on.
   * @param {number} id
   */
  outline(id) {
    const row = this.sheet.byId.get(id);
    const points = row ? (row.line.polygon.length ? row.line.polygon : row.line.baseline) : [];
    this.lineMark.setAttribute("points", points.map((point) => point.join(",")).join(" "));
    this.lineMark.setAttribute("class", `line-mark ${row ? standing(row.line) : ""}`);
  }

  /**
   * Bring a line to the middle, with those before and after in sight.
   * @param {number} id
   * @param {boolean} atOnce
   */
  goTo(id, atOnce) {
    const row = this.sheet.byId.get(id);
    const item = this.viewer?.world.getItemAt(0);
    if (!row || !item) return;
    const [left, top, right, bottom] = boxOf(row.line);
    if (right <= left) return;
    const { viewport } = this.viewer;
    const unit = 1 / (this.sheet.page.width || item.getContentSize().x); // the image is 1 wide
    const shape = viewport.getAspectRatio();
    const whole = this.sheet.page.width || item.getContentSize().x;
    let width = Math.max((right - left) * 1.06, (bottom - top) * 5 * shape, whole * 0.5);
    if (this.ownZoom) width = viewport.getBounds().width / unit;
    const height = width / shape;
    let x = (left + right) / 2 - width / 2;
    if (width < whole) x = Math.max(-whole * 0.02, Math.min(x, whole * 1.02 - width));
    if (right - left > width) x = this.isRightToLeft(row.line.text) ? right - width * 0.97 : left - width * 0.03;
    const tall = this.sheet.page.height || whole * 1.4;
    const edge = whole * 0.04;
    let y = (top + bottom) / 2 - height / 2;
    if (height < tall) y = Math.max(-edge, Math.min(y, tall + edge - height)); // no empty half screen at the ends of the page
    // Who goes on quickly does not wait for the image to glide.
    const isQuick = performance.now() - this.wentAt < 700;
    this.wentAt = performance.now();
    this.isJump = !this.isMoving && (atOnce || isQuick || movesLess());
    viewport.fitBounds(new this.kit.Rect(x * unit, y * unit, width * unit, height * unit), atOnce || isQuick || movesLess());
  }

  /** @param {string} text */
  isRightToLeft(text) {
    return /^[^\p{L}]*[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}]/u.test(text);
  }

  /**
   * Light a word.
   * @param {Point[]|null} polygon
   */
  lightWord(polygon) {
    this.wordMark.setAttribute("points", (polygon ?? []).map((point) => point.join(",")).join(" "));
    const item = this.viewer?.world.getItemAt(0);
    if (!polygon?.length || !item || !this.ownZoom) return;
    // When zoomed in, the word under the cursor stays in sight.
    const unit = 1 / (this.sheet.page.width || 1);
    const bounds = this.viewer.viewport.getBounds();
    const [x, y] = [0, 1].map((axis) => polygon.reduce((sum, point) => sum + point[axis], 0) / polygon.length);
    const [left, right] = [bounds.x + bounds.width * 0.1, bounds.x + bounds.width * 0.9];
    if (x * unit < left || x * unit > right) this.viewer.viewport.panTo(new this.kit.Point(x * unit, y * unit), movesLess());
  }

  /** @param {Point[][]} polygons */
  showHits(polygons) {
    this.hitLayer.replaceChildren(...polygons.map((polygon) => svg("polygon", { points: polygon.map((p) => p.join(",")).join(" ") })));
  }

  /** @param {number} factor */
  zoomBy(factor) {
    this.ownZoom = true;
    this.viewer?.viewport.zoomBy(factor, undefined, movesLess()).applyConstraints();
  }

  showWhole() {
    this.ownZoom = false;
    this.viewer?.viewport.goHome(movesLess());
  }

  /** @param {HTMLElement} [button] */
  toggleLines(button) {
    this.lines.shown = !this.lines.shown;
    this.lines.later();
    (button ?? this.tools.querySelector(".toggle"))?.setAttribute("aria-pressed", String(this.lines.shown));
  }

  /**
   * The image was clicked.
   * @param {MouseEvent} event
   */
  pick(event) {
    const id = this.lines.lineAt(this.pointAt(event));
    if (id !== null) this.dispatchEvent(new CustomEvent("pick", { detail: { id, extend: event.shiftKey } }));
  }

  /**
   * Where on the page the pointer is.
   * @param {MouseEvent} event
   * @returns {Point}
   */
  pointAt(event) {
    const matrix = /** @type {SVGGraphicsElement} */ (this.group).getScreenCTM()?.inverse();
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
    return [Math.round(point.x), Math.round(point.y)];
  }

  close() {
    this.turn++;
    this.overlay.remove();
    this.lines.canvas.remove();
    this.viewer?.destroy();
    this.viewer = null;
  }
}
