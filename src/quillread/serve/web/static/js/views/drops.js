// Files that are dropped anywhere on the page: into the collection that is shown, or one that is asked for.

import { h, icon } from "../dom.js";
import { all, call, part } from "../api.js";
import { buttons, openDialog, tellFault, toast } from "../dialog.js";
import { t } from "../i18n.js";
import { mayAs, whoAmI } from "../session.js";

/** @typedef {import("../types.js").Collection} Collection */
/** @typedef {import("../types.js").View} View */
/** @typedef {import("./upload.js").Found} Found */

/**
 * Take files that are dropped, on whatever screen.
 * @param {() => View|null} view The screen that is shown.
 */
export function acceptDrops(view) {
  const veil = h("div", { class: "drop-veil", hidden: true }, h("div", null, icon("upload"), h("strong", null, t("upload.drop"))));
  document.body.append(veil);
  const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  const mayTake = () => whoAmI().name !== "" && !whoAmI().link && !view()?.readOnly && !document.querySelector("dialog[open]");
  let depth = 0;
  addEventListener("dragenter", (event) => hasFiles(event) && (depth++, (veil.hidden = !mayTake())));
  addEventListener("dragleave", (event) => hasFiles(event) && --depth <= 0 && ((depth = 0), (veil.hidden = true)));
  addEventListener("dragover", (event) => {
    if (!hasFiles(event) || !event.dataTransfer) return;
    event.preventDefault(); // or the browser would show the file instead of the page
    event.dataTransfer.dropEffect = mayTake() ? "copy" : "none";
  });
  addEventListener("drop", (event) => {
    if (!hasFiles(event) || !event.dataTransfer) return;
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    if (mayTake()) take(filesOf(event.dataTransfer), view()).catch(tellFault);
  });
}

/**
 * @param {Promise<Found[]>} found
 * @param {View|null} view
 */
async function take(found, view) {
  const { addFiles, group } = await part(() => import("./upload.js"));
  const chosen = group(await found);
  if (!chosen.groups.length) return toast(t("upload.nothing"), { kind: "error" });
  if (view?.collection && view.readOnly === false) return addFiles(view.collection, chosen);
  const collections = (await all("collections")).filter((one) => mayAs(one.role, "editor"));
  const mayMake = mayAs(whoAmI().role, "editor");
  if (!mayMake && !collections.length) return toast(t("upload.nowhere"), { kind: "error" });
  const target = await askCollection(collections, mayMake ? chosen.name : null, view?.collection);
  if (!target) return;
  const id = typeof target === "number" ? target : (await call("POST", "collections", { body: { name: target } })).id;
  location.hash = `#/collection/${id}`;
  await addFiles(id, chosen);
}

/**
 * Ask where dropped files are to go.
 * @param {Collection[]} collections
 * @param {string|null} name Proposed for a new one; null: none can be made.
 * @param {number} [shown] The one that the screen is about.
 * @returns {Promise<number|string|undefined>} An id, or the name of a new one.
 */
function askCollection(collections, name, shown) {
  return openDialog(t("upload.where"), (close) => {
    const input = h("input", { id: "new-name", value: name ?? "", dir: "auto", maxlength: "200", onfocus: () => input.select() });
    const select = h("select", { id: "target" },
      name === null ? null : h("option", { value: "" }, t("collections.new")), collections.map((one) => h("option", { value: one.id }, one.name))); // prettier-ignore
    if (collections.some((one) => one.id === shown)) select.value = String(shown);
    const naming = h("div", { class: "stack" }, h("label", { for: "new-name" }, t("name")), input);
    const follow = () => (naming.hidden = select.value !== "");
    follow();
    select.addEventListener("change", follow);
    (naming.hidden ? select : input).setAttribute("autofocus", "");
    const done = (/** @type {Event} */ event) => {
      event.preventDefault();
      if (select.value || input.value.trim()) close(select.value ? Number(select.value) : input.value.trim());
    };
    return [h("form", { class: "stack", onsubmit: done }, h("label", { for: "target" }, t("upload.collection")), select, naming, buttons(() => close(), h("button", { class: "primary" }, t("upload.add"))))];
  });
}

/**
 * The files of what was dropped, folders walked. What was dropped can be asked for at once only.
 * @param {DataTransfer} transfer
 * @returns {Promise<Found[]>}
 */
async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry !== null && entry !== undefined);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, folder: [] }));
  /** @type {Found[]} */
  const found = [];
  for (const entry of entries) await walk(entry, [], found);
  return found;
}

/**
 * @param {FileSystemEntry} entry
 * @param {string[]} folder That it lies in.
 * @param {Found[]} found
 */
async function walk(entry, folder, found) {
  if (entry.isFile) {
    found.push({ file: await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject)), folder });
    return;
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // some at a time
    if (!part.length) return;
    for (const child of part) await walk(child, [...folder, entry.name], found);
  }
}
