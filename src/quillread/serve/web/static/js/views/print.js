// A page or a document for paper: its text, with the image beside it if wished.

import { fill, h } from "../dom.js";
import { all, get, images } from "../api.js";
import { tellFault } from "../dialog.js";
import { t } from "../i18n.js";
import { recall, remember } from "../storage.js";
import { NOT_TEXT, piecesOf } from "../editor/words.js";

/** @typedef {import("../types.js").Page} Page */

/** @type {import("../types.js").Show} */
export async function show(root, address) {
  const [kind, id] = address.path;
  /** @type {Page[]} */
  const pages = kind === "page" ? [await get(`pages/${id}`)] : await all(`documents/${id}/pages`);
  const document_ = await get(`documents/${pages[0]?.document_id ?? id}`);
  const back = kind === "page" ? `#/page/${id}` : `#/collection/${document_.collection_id}`;
  const withImages = h("input", { type: "checkbox", id: "with-images", checked: recall("print.images") !== "no" });
  const withBreaks = h("input", { type: "checkbox", id: "with-breaks", checked: recall("print.breaks") !== "no" });
  const sheets = h("main", { class: "print" });
  fill(root,
    h("header", { class: "bar no-print" },
      h("a", { class: "button", href: back }, t("back")),
      h("h1", { dir: "auto" }, document_.name), h("div", { class: "push" }),
      h("label", { class: "check" }, withImages, t("print.images")),
      h("label", { class: "check" }, withBreaks, t("print.breaks")),
      h("button", { type: "button", class: "primary", onclick: () => print() }, t("print.button"))),
    sheets); // prettier-ignore
  document.title = document_.name;
  const options = () => {
    sheets.classList.toggle("no-images", !withImages.checked);
    sheets.classList.toggle("no-breaks", !withBreaks.checked);
    remember("print.images", withImages.checked ? null : "no");
    remember("print.breaks", withBreaks.checked ? null : "no");
  };
  withImages.addEventListener("change", options);
  withBreaks.addEventListener("change", options);
  options();
  let closed = false;
  const load = async () => {
    for (const [i, page] of pages.entries()) {
      const { lines, regions } = await get(`pages/${page.id}/lines`);
      if (closed) return;
      sheets.append(sheet(document_.name, page, page.number ?? i + 1, lines, regions));
    }
  };
  load().catch((error) => closed || tellFault(error)); // not awaited: the screen can be left meanwhile
  return { close: () => (closed = true) };
}

/**
 * @param {string} name Of the document.
 * @param {Page} page
 * @param {number} number
 * @param {import("../types.js").Line[]} lines
 * @param {import("../types.js").Region[]} regions
 */
function sheet(name, page, number, lines, regions) {
  const kinds = new Map(regions.map((region) => [region.id, region.kind]));
  lines.sort((a, b) => a.position - b.position);
  /** @type {HTMLElement[]} */
  const paragraphs = [];
  /** @type {number|null|undefined} */
  let region;
  for (const line of lines) {
    const kind = line.region_id === null ? "text" : (kinds.get(line.region_id) ?? "text");
    if (NOT_TEXT.includes(kind)) continue;
    if (!paragraphs.length || line.region_id !== region) paragraphs.push(h(kind === "heading" ? "h3" : "p", { class: `print-${kind}`, dir: "auto" }));
    region = line.region_id;
    const plain = { ...line, checked: true }; // doubts are not for paper
    paragraphs.at(-1)?.append(h("span", { class: "print-line" }, piecesOf(plain, line.text, []).map((piece) => (piece.classes ? h("span", { class: piece.classes }, piece.text) : piece.text))), " ");
  }
  return h("article", { class: "print-sheet" },
    h("header", null, h("span", { dir: "auto" }, name), h("span", null, page.label || t("page.number", { n: number }))),
    h("div", { class: "print-body" }, h("img", { src: images.page(page.id, 1000), alt: t("print.image") }), h("div", { class: "print-words" }, paragraphs))); // prettier-ignore
}
