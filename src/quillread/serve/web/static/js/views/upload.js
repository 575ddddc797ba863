// Files that are dropped or chosen, on their way to the server: small ones together in one request, large ones in pieces
// that are taken up again where they stopped (tus 1.0).

import { h, icon } from "../dom.js";
import { address, call, Offline, Problem } from "../api.js";
import { tellFault, toast } from "../dialog.js";
import { t } from "../i18n.js";
import { recall, remember } from "../storage.js";
import { noteJob, tellJob } from "./jobs.js";

/**
 * @typedef {object} Chosen
 * @property {string} name Of the folder, or of the first file.
 * @property {boolean} isFolder
 * @property {File[]} files
 */

const LARGE = 32e6; // bytes of a file that is sent in pieces
const TOGETHER = 64e6; // bytes of one request
const PIECE = 8e6;
const KNOWN = /\.(jpe?g|png|tiff?|webp|bmp|gif|heic|heif|jp2|pdf|zip|xml)$/i;

/**
 * Take files that are dropped anywhere on a screen.
 * @param {HTMLElement} root
 * @param {(chosen: Chosen) => void} take
 * @returns {() => void} Ends it.
 */
export function acceptDrops(root, take) {
  const ends = new AbortController();
  const { signal } = ends;
  const veil = h("div", { class: "drop-veil", hidden: true }, h("div", null, icon("upload"), h("strong", null, t("upload.drop"))));
  root.append(veil);
  const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  let depth = 0;
  addEventListener("dragenter", (event) => hasFiles(event) && (depth++, (veil.hidden = false)), { signal });
  addEventListener("dragleave", (event) => hasFiles(event) && --depth <= 0 && ((depth = 0), (veil.hidden = true)), { signal });
  addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault(), { signal });
  addEventListener("drop", async (event) => {
    if (!hasFiles(event) || !event.dataTransfer) return;
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    try {
      const chosen = await dropped(event.dataTransfer);
      if (chosen.files.length) take(chosen);
      else toast(t("upload.nothing"), { kind: "error" });
    } catch (error) {
      tellFault(error);
    }
  }, { signal }); // prettier-ignore
  return () => (ends.abort(), veil.remove());
}

/**
 * Let files be chosen.
 * @param {boolean} folder
 * @returns {Promise<Chosen>}
 */
export function chooseFiles(folder) {
  return new Promise((resolve) => {
    const input = h("input", { type: "file", multiple: true, webkitdirectory: folder });
    input.addEventListener("change", () => {
      const all = [...(input.files ?? [])];
      const name = folder ? (all[0]?.webkitRelativePath.split("/")[0] ?? "") : (all[0]?.name ?? "");
      resolve({ name: stem(name), isFolder: folder, files: all.filter((file) => KNOWN.test(file.name)) });
    });
    input.addEventListener("cancel", () => resolve({ name: "", isFolder: folder, files: [] }));
    input.click();
  });
}

/** @param {string} name */
const stem = (name) => name.replace(/\.[^.]+$/, "").slice(0, 200) || t("collections.new");

/**
 * The files of what was dropped, folders walked.
 * @param {DataTransfer} transfer
 * @returns {Promise<Chosen>}
 */
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry !== null && entry !== undefined);
  if (!entries.length) return { name: stem(transfer.files[0]?.name ?? ""), isFolder: false, files: [...transfer.files] };
  /** @type {File[]} */
  const files = [];
  for (const entry of entries) await walk(entry, files);
  const known = files.filter((file) => KNOWN.test(file.name));
  return { name: stem(entries[0].name), isFolder: entries.some((entry) => entry.isDirectory), files: known };
}

/**
 * @param {FileSystemEntry} entry
 * @param {File[]} files
 */
async function walk(entry, files) {
  if (entry.isFile) {
    files.push(await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject)));
    return;
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // some at a time
    if (!part.length) return;
    part.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
    for (const child of part) await walk(child, files);
  }
}

/**
 * Send files to a collection. Those of a folder become one document.
 * @param {number} collection
 * @param {Chosen} chosen
 * @param {{read?: boolean, document?: number}} [facts]
 */
export async function addFiles(collection, chosen, facts = {}) {
  const read = facts.read ?? true;
  const files = [...chosen.files].sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  const bar = h("progress", { max: String(files.reduce((sum, file) => sum + file.size, 0) || 1), value: "0", "aria-label": t("upload.running", { n: files.length }) });
  const place = h("div", { class: "toast upload" }, h("span", null, t("upload.running", { n: files.length })), bar);
  document.getElementById("toasts")?.append(place);
  let sent = 0;
  const progress = (/** @type {number} */ bytes) => bar.setAttribute("value", String((sent += bytes)));
  try {
    let { document: into } = facts;
    const isBook = chosen.isFolder && files.some((file) => !/\.(pdf|zip)$/i.test(file.name));
    if (into === undefined && isBook) into = (await call("POST", `collections/${collection}/documents`, { body: { name: chosen.name } })).id;
    for (const batch of batches(files.filter((file) => file.size <= LARGE))) {
      const form = new FormData();
      for (const file of batch) form.append("file", file, file.name);
      form.append("read", String(read));
      if (into !== undefined) form.append("document_id", String(into));
      const { jobs } = await call("POST", `collections/${collection}/uploads`, { form });
      jobs.forEach(noteJob);
      progress(batch.reduce((sum, file) => sum + file.size, 0));
    }
    for (const file of files.filter((one) => one.size > LARGE)) await sendPieces(collection, file, read, progress);
    toast(t("upload.done", { n: files.length }));
  } catch (error) {
    tellFault(error);
  } finally {
    place.remove();
  }
}

/**
 * Files that go together: an image and the XML of the same name stay side by side.
 * @param {File[]} files
 * @returns {File[][]}
 */
function batches(files) {
  /** @type {Map<string, File[]>} */
  const pairs = new Map();
  for (const file of files) {
    const key = file.name.replace(/(\.(page|alto))?\.[^.]+$/i, "");
    pairs.set(key, [...(pairs.get(key) ?? []), file]);
  }
  /** @type {File[][]} */
  const groups = [];
  let size = Infinity;
  for (const pair of pairs.values()) {
    const more = pair.reduce((sum, file) => sum + file.size, 0);
    const last = groups.at(-1);
    if (!last || size + more > TOGETHER || last.length >= 100) groups.push([...pair]), (size = more);
    else last.push(...pair), (size += more);
  }
  return groups;
}

/**
 * Send a large file in pieces; after a fault it goes on where the server has it.
 * @param {number} collection
 * @param {File} file
 * @param {boolean} read
 * @param {(bytes: number) => void} progress
 */
async function sendPieces(collection, file, read, progress) {
  const key = `upload.${collection}.${file.name}.${file.size}.${file.lastModified}`;
  let url = recall(key);
  let offset = url ? await offsetOf(url) : null;
  if (offset === null) {
    const encode = (/** @type {string} */ text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
    const metadata = `collection_id ${encode(String(collection))},filename ${encode(file.name)},read ${encode(String(read))}`;
    const answer = await tus("POST", address("uploads"), { "Upload-Length": String(file.size), "Upload-Metadata": metadata });
    url = new URL(answer.headers.get("location") ?? "", address("uploads")).href;
    remember(key, url);
    offset = 0;
  }
  progress(offset);
  let failures = 0;
  while (offset < file.size) {
    try {
      const answer = await tus("PATCH", /** @type {string} */ (url), { "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream" }, file.slice(offset, offset + PIECE));
      const next = Number(answer.headers.get("upload-offset"));
      progress(next - offset);
      offset = next;
      failures = 0;
      const job = answer.headers.get("x-job");
      if (job) noteJob(await call("GET", `jobs/${job}`));
    } catch (error) {
      if (++failures > 8 || (error instanceof Problem && !error.isPassing && error.status !== 409)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * failures));
      offset = (await offsetOf(/** @type {string} */ (url)).catch(() => null)) ?? offset;
    }
  }
  remember(key, null);
}

/**
 * @param {string} url
 * @returns {Promise<number|null>} How much the server has; null if it knows nothing of it.
 */
async function offsetOf(url) {
  try {
    return Number((await tus("HEAD", url, {})).headers.get("upload-offset"));
  } catch (error) {
    if (error instanceof Problem) return null;
    throw error;
  }
}

/**
 * @param {string} method
 * @param {string} url
 * @param {Record<string, string>} headers
 * @param {Blob} [body]
 */
async function tus(method, url, headers, body) {
  let answer;
  try {
    answer = await fetch(url, { method, headers: { "Tus-Resumable": "1.0.0", ...headers }, body, credentials: "same-origin" });
  } catch (error) {
    throw new Offline(String(error));
  }
  if (!answer.ok) throw new Problem(answer.status, await answer.json().catch(() => ({})));
  return answer;
}

/**
 * Read an address of the web: a IIIF manifest or an image.
 * @param {number} collection
 * @param {string} url
 */
export async function addAddress(collection, url) {
  const job = await call("POST", `collections/${collection}/imports`, { body: { address: url, read: true } });
  tellJob(job, t("upload.addressBegun"));
}

