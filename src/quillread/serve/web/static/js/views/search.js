// Text found, each hit shown on its page.

import { fill, h, icon, svg } from "../dom.js";
import { get, images } from "../api.js";
import { t } from "../i18n.js";
import { placesOf } from "../editor/words.js";
import { shellBar } from "./shell.js";

/** @typedef {import("../types.js").Hit} Hit */

/** @type {import("../types.js").Show} */
export async function show(root, address) {
  const query = address.query.get("q") ?? "";
  const collection = Number(address.query.get("collection")) || null;
  const input = h("input", { type: "search", name: "q", value: query, "aria-label": t("search.title"), dir: "auto" });
  const form = h("form", { class: "search-form wide", role: "search", onsubmit: again }, icon("search"), input);
  const status = h("p", { class: "hint", role: "status" });
  const list = h("ol", { class: "hits-list" });
  const more = h("button", { type: "button", hidden: true, onclick: () => load() }, t("search.more"));
  const where = collection ? (await get(`collections/${collection}`)).name : t("collections.title");
  fill(root,
    shellBar({ title: t("search.title"), back: collection ? `#/collection/${collection}` : "#/", backLabel: where, collection }),
    h("main", { class: "page narrow" }, form, status, list, more)); // prettier-ignore
  /** @type {number|null} */
  let next = null;
  let shown = 0;

  function again(/** @type {Event} */ event) {
    event.preventDefault();
    const text = input.value.trim();
    if (text) location.hash = `#/search?q=${encodeURIComponent(text)}${collection ? `&collection=${collection}` : ""}`;
  }

  async function load() {
    status.textContent = t("search.running");
    const found = await get("search", { q: query, collection_id: collection, limit: 50, after: next });
    next = found.next;
    shown += found.items.length;
    list.append(...found.items.map((/** @type {Hit} */ hit) => hitItem(hit, query)));
    more.hidden = next === null || next === undefined;
    status.textContent = shown ? t(more.hidden ? "search.found" : "search.foundMore", { n: shown }) : t("search.none", { query });
  }

  list.addEventListener("keydown", (event) => {
    const hits = [...list.querySelectorAll("a")];
    const at = hits.indexOf(/** @type {HTMLAnchorElement} */ (document.activeElement));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: hits.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    hits[to]?.focus();
  });
  if (query) await load();
  (list.querySelector("a") ?? input).focus();
  return {
    collection: collection ?? undefined,
    follow: (to) => {
      if (to.query.get("q") === query) return true;
      return false;
    },
  };
}

/**
 * @param {Hit} hit
 * @param {string} query
 */
function hitItem(hit, query) {
  const href = `#/page/${hit.page_id}?line=${hit.line_id}&q=${encodeURIComponent(query)}`;
  return h("li", null,
    h("a", { class: "hit", href },
      picture(hit),
      h("span", { class: "hit-text", dir: "auto" }, marked(hit)),
      h("span", { class: "hit-place" }, h("span", { dir: "auto" }, hit.document_name), ` · ${t("page.number", { n: hit.page_number })}`,
        hit.in_alternative ? h("span", { class: "doubts" }, t("search.alternative")) : null))); // prettier-ignore
}

/**
 * The line on its page, with what surrounds it, the hits marked.
 * @param {Hit} hit
 */
function picture(hit) {
  const polygons = hit.matches.map((match) => match.polygon).filter((polygon) => polygon?.length);
  const points = [...hit.polygon, ...polygons.flat()];
  if (!points.length) return null;
  const [xs, ys] = [points.map((point) => /** @type {any} */ (point)[0]), points.map((point) => /** @type {any} */ (point)[1])];
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const edge = (bottom - top) * 0.35;
  const [width, height] = hit.page_size;
  const [x, y] = [Math.max(0, Math.floor(left - edge)), Math.max(0, Math.floor(top - edge))];
  const box = [x, y, Math.min(width, Math.ceil(right + edge)) - x, Math.min(height, Math.ceil(bottom + edge)) - y];
  const marks = (polygons.length ? polygons : [hit.polygon]).map((polygon) => svg("polygon", { points: /** @type {number[][]} */ (polygon).map((point) => point.join(",")).join(" ") }));
  return h("span", { class: "hit-picture", style: { "aspect-ratio": `${box[2]} / ${box[3]}`, "max-width": `${Math.round((90 * box[2]) / box[3])}px` } },
    h("img", { src: images.part(hit.page_id, box, Math.min(900, box[2])), alt: "", loading: "lazy" }),
    svg("svg", { viewBox: box.join(" "), class: "hits", "aria-hidden": "true" }, svg("g", { class: "hits" }, marks))); // prettier-ignore
}

/** @param {Hit} hit */
function marked(hit) {
  const parts = [];
  let at = 0;
  const places = placesOf(hit.text);
  const matches = hit.matches.map((match) => ({ start: places[match.start] ?? 0, end: places[match.end] ?? 0 }));
  for (const match of matches.sort((a, b) => a.start - b.start)) {
    if (hit.in_alternative || match.start < at || match.end > hit.text.length) continue;
    parts.push(hit.text.slice(at, match.start), h("mark", null, hit.text.slice(match.start, match.end)));
    at = match.end;
  }
  return [...parts, hit.text.slice(at)];
}
