// Files that are dropped or chosen, on their way to the server: small ones together in one request, large ones in pieces
// that are taken up again where they stopped (tus 1.0).

import { h } from "../dom.js";
import { address, call, Offline, Problem } from "../api.js";
import { faultText, toast } from "../dialog.js";
import { t } from "../i18n.js";
import { recall, remember } from "../storage.js";
import { noteJob, tellJob } from "./jobs.js";

/**
 * @typedef {object} Found
 * @property {File} file
 * @property {string[]} folder Names of the folders that it lies in; none for a file by itself.
 */

/**
 * @typedef {object} Chosen
 * @property {string} name Of the folder, or of the first file.
 * @property {{name: string|null, files: File[], document?: number}[]} groups Those of a folder become one document; the others one each.
 * @property {number} skipped Files of other kinds.
 */

const LARGE = 32e6; // bytes of a file that is sent in pieces
const TOGETHER = 64e6; // bytes of one request
const PIECE = 8e6;
const KNOWN = /^[^.].*\.(jpe?g|png|tiff?|webp|bmp|gif|heic|heif|jp2|pdf|zip|xml)$/i; // not ._scan.jpg, which a Mac adds
const ATTEMPTS = 40; // of a piece, with up to ten seconds between them
const OF_FILES = [400, 413, 415, 422]; // answers that say that a file cannot be taken

/**
 * Let files be chosen.
 * @param {boolean} folder
 * @returns {Promise<Chosen>}
 */
export function chooseFiles(folder) {
  return new Promise((resolve) => {
    const input = h("input", { type: "file", multiple: true, webkitdirectory: folder });
    input.addEventListener("change", () => {
      resolve(group([...(input.files ?? [])].map((file) => ({ file, folder: file.webkitRelativePath.split("/").slice(0, -1) }))));
    });
    input.addEventListener("cancel", () => resolve({ name: "", groups: [], skipped: 0 }));
    input.click();
  });
}

/** @param {string} name */
const stem = (name) => name.replace(/\.[^.]+$/, "").slice(0, 200) || t("collections.new");

/**
 * Which files become one document: those of one folder, with the XML of folders below it that hold nothing else.
 * @param {Found[]} found
 * @returns {Chosen}
 */
export function group(found) {
  const known = found.filter(({ file }) => KNOWN.test(file.name));
  /** @type {Map<string, Found[]>} */
  const folders = new Map();
  const put = (/** @type {string} */ key, /** @type {Found[]} */ more) => folders.set(key, [...(folders.get(key) ?? []), ...more]);
  for (const one of known) put(one.folder.join("/"), [one]);
  for (const [key, files] of [...folders]) {
    const above = key.split("/").slice(0, -1).join("/");
    if (!files.every(({ file }) => /\.xml$/i.test(file.name)) || !above || !folders.has(above)) continue;
    put(above, files); // as Transkribus and eScriptorium lay out what they export: page/, alto/
    folders.delete(key);
  }
  const roots = [...folders.keys()].map((key) => key.split("/")[0]);
  const named = (/** @type {string} */ key) => {
    const [root, ...below] = key.split("/");
    return (below.length && roots.filter((other) => other === root).length > 1 ? below : [root, ...below]).join(" / ").slice(0, 500);
  };
  const groups = [...folders].sort(([a], [b]) => byName(a, b)).map(([key, files]) => ({
    name: key && files.some(({ file }) => !/\.(pdf|zip)$/i.test(file.name)) ? named(key) : null, // a PDF is a book of its own
    files: files.map(({ file }) => file).sort((a, b) => byName(a.name, b.name)),
  })); // prettier-ignore
  return { name: stem(known[0]?.folder[0] ?? known[0]?.file.name ?? ""), groups, skipped: found.length - known.length };
}

/**
 * @param {string} a
 * @param {string} b
 */
const byName = (a, b) => a.localeCompare(b, undefined, { numeric: true });

/**
 * Send files to a collection.
 * @param {number} collection
 * @param {Chosen} chosen
 */
export async function addFiles(collection, chosen) {
  const files = chosen.groups.flatMap((one) => one.files);
  const bar = h("progress", { max: String(files.reduce((sum, file) => sum + file.size, 0) || 1), value: "0", "aria-label": t("upload.running", { n: files.length }) });
  const place = h("div", { class: "toast upload" }, h("span", null, t("upload.running", { n: files.length })), bar);
  document.getElementById("toasts")?.append(place);
  let bytes = 0;
  const left = new Set(files);
  /** @type {string[]} */
  const refused = [];
  const tidings = {
    progress: (/** @type {number} */ more) => bar.setAttribute("value", String((bytes += more))),
    sent: (/** @type {File[]} */ some) => some.forEach((file) => left.delete(file)),
    refused: (/** @type {File[]} */ some, /** @type {Problem} */ why) => (tidings.sent(some), some.forEach(() => refused.push(faultText(why)))),
  };
  const stay = (/** @type {BeforeUnloadEvent} */ event) => event.preventDefault();
  addEventListener("beforeunload", stay); // a tab that is closed sends no more
  try {
    for (const one of chosen.groups) {
      one.document ??= (one.name === null ? undefined : (await patiently(() => call("POST", `collections/${collection}/documents`, { body: { name: one.name } }))).id);
      await sendGroup({ collection, document: one.document ?? null }, one.files, tidings);
    }
  } catch (error) {
    const rest = chosen.groups.map((one) => ({ ...one, files: one.files.filter((file) => left.has(file)) })).filter((one) => one.files.length);
    const again = () => addFiles(collection, { ...chosen, groups: rest, skipped: 0 });
    toast(`${t("upload.unsent", { n: left.size })} ${faultText(error)}`, { kind: "error", seconds: 600, action: t("fault.again"), run: () => void again(), lasts: true });
    if (!(error instanceof Problem || error instanceof Offline)) throw error;
  } finally {
    removeEventListener("beforeunload", stay);
    place.remove();
  }
  const sent = files.length - left.size - refused.length;
  const skipped = chosen.skipped ? t("upload.skipped", { n: chosen.skipped }) : "";
  if (sent || (skipped && !left.size)) toast([sent ? t("upload.done", { n: sent }) : "", skipped].join(" "));
  if (refused.length) toast([t("upload.refused", { n: refused.length }), ...refused.slice(0, 3), refused.length > 3 ? "…" : ""].join(" "), { kind: "error", seconds: 60 });
}

/** @typedef {{collection: number, document: number|null}} Target */

/**
 * What becomes of files on their way.
 * @typedef {object} Tidings
 * @property {(bytes: number) => void} progress
 * @property {(files: File[]) => void} sent
 * @property {(files: File[], why: Problem) => void} refused
 */

/**
 * @param {Target} target
 * @param {File[]} files
 * @param {Tidings} tidings
 */
async function sendGroup(target, files, tidings) {
  for (const pairs of batches(files.filter((file) => file.size <= LARGE))) await sendTogether(target, pairs, tidings);
  for (const file of files.filter((one) => one.size > LARGE)) {
    try {
      await sendPieces(target, file, tidings.progress);
      tidings.sent([file]);
    } catch (error) {
      if (!isOfFiles(error)) throw error;
      tidings.refused([file], error);
    }
  }
}

/**
 * @param {unknown} error
 * @returns {error is Problem}
 */
const isOfFiles = (error) => error instanceof Problem && OF_FILES.includes(error.status);

/**
 * Send files in one request; where some cannot be taken, the others are.
 * @param {Target} target
 * @param {File[][]} pairs
 * @param {Tidings} tidings
 * @returns {Promise<void>}
 */
async function sendTogether(target, pairs, tidings) {
  const files = pairs.flat();
  const form = new FormData();
  form.append("upload", newKey()); // by which the server knows a batch that it has taken already
  for (const file of files) form.append("file", file, file.name);
  if (target.document !== null) form.append("document_id", String(target.document));
  try {
    const { jobs } = await patiently(() => call("POST", `collections/${target.collection}/uploads`, { form }));
    jobs.forEach(noteJob);
  } catch (error) {
    if (!isOfFiles(error)) throw error;
    const half = pairs.length >> 1;
    if (!half) return tidings.refused(files, error);
    await sendTogether(target, pairs.slice(0, half), tidings);
    return sendTogether(target, pairs.slice(half), tidings);
  }
  tidings.sent(files);
  tidings.progress(files.reduce((sum, file) => sum + file.size, 0));
}

const newKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/**
 * Ask again while the server is away or busy.
 * @template T
 * @param {() => Promise<T>} ask
 * @returns {Promise<T>}
 */
async function patiently(ask) {
  for (let failures = 1; ; failures++) {
    try {
      return await ask();
    } catch (error) {
      const isPassing = error instanceof Offline || (error instanceof Problem && error.isPassing);
      if (!isPassing || failures > ATTEMPTS) throw error;
      const wait = error instanceof Problem ? error.wait * 1000 : 0;
      await new Promise((resolve) => setTimeout(resolve, Math.max(wait, Math.min(10_000, 1000 * failures))));
    }
  }
}

/**
 * Files that go together, in pairs: an image and the XML of the same name stay side by side.
 * @param {File[]} files
 * @returns {File[][][]}
 */
function batches(files) {
  /** @type {Map<string, File[]>} */
  const pairs = new Map();
  for (const file of files) {
    const key = file.name.replace(/(\.(page|alto))?\.[^.]+$/i, "");
    pairs.set(key, [...(pairs.get(key) ?? []), file]);
  }
  /** @type {File[][][]} */
  const groups = [];
  let size = Infinity;
  for (const pair of pairs.values()) {
    const more = pair.reduce((sum, file) => sum + file.size, 0);
    const last = groups.at(-1);
    if (!last || size + more > TOGETHER || last.flat().length >= 100) groups.push([pair]), (size = more);
    else last.push(pair), (size += more);
  }
  return groups;
}

/**
 * Send a large file in pieces; after a fault it goes on where the server has it.
 * @param {Target} target
 * @param {File} file
 * @param {(bytes: number) => void} progress
 */
async function sendPieces(target, file, progress) {
  const key = `upload.${target.collection}.${file.name}.${file.size}.${file.lastModified}`;
  const before = recall(key);
  const known = before ? await stateOf(before) : null;
  const url = known && before ? before : await beginUpload(target, file);
  remember(key, url);
  try {
    const job = await sendRest(url, file, known ?? { offset: 0, job: null }, progress);
    remember(key, null);
    call("GET", `jobs/${job}`).then(noteJob, () => {}); // events tell of it, too
  } catch (error) {
    if (isOfFiles(error) || (error instanceof Problem && error.status === 404)) remember(key, null); // it cannot go on
    throw error;
  }
}

/**
 * @param {Target} target
 * @param {File} file
 * @returns {Promise<string>} The address of an upload that has just begun.
 */
async function beginUpload({ collection, document: into }, file) {
  const encode = (/** @type {string} */ text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
  const facts = { collection_id: collection, filename: file.name, read: true, ...(into === null ? {} : { document_id: into }) };
  const metadata = Object.entries(facts).map(([name, value]) => `${name} ${encode(String(value))}`).join(","); // prettier-ignore
  const answer = await tus("POST", address("uploads"), { "Upload-Length": String(file.size), "Upload-Metadata": metadata });
  return new URL(answer.headers.get("location") ?? "", address("uploads")).href;
}

/**
 * @typedef {object} UploadState
 * @property {number} offset How much the server has.
 * @property {string|null} job Of the import; null before it has begun.
 */

/**
 * Send what the server lacks of a file. It may have all bytes and not have begun their import, as its queue was full or it
 * was killed: a piece without bytes asks for it.
 * @param {string} url
 * @param {File} file
 * @param {UploadState} state
 * @param {(bytes: number) => void} progress
 * @returns {Promise<string>} The job of the import.
 */
async function sendRest(url, file, { offset, job }, progress) {
  progress(offset);
  let failures = 0;
  while (job === null) {
    let next;
    try {
      next = stateIn(await tus("PATCH", url, { "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream" }, file.slice(offset, offset + PIECE)));
      failures = 0;
    } catch (error) {
      if (++failures > ATTEMPTS || (error instanceof Problem && !error.isPassing && ![409, 423].includes(error.status))) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.min(10_000, 1000 * failures)));
      next = (await stateOf(url).catch(() => null)) ?? { offset, job }; // parts of a piece are kept, too
    }
    progress(next.offset - offset);
    ({ offset, job } = next);
  }
  return job;
}

/**
 * @param {Response} answer
 * @returns {UploadState}
 */
const stateIn = ({ headers }) => ({ offset: Number(headers.get("upload-offset")), job: headers.get("x-job") });

/**
 * @param {string} url
 * @returns {Promise<UploadState|null>} Null if the server knows nothing of it.
 */
async function stateOf(url) {
  try {
    return stateIn(await tus("HEAD", url, {}));
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

