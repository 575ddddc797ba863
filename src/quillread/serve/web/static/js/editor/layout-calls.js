// Changes of the layout of a page, as the server makes them; the lines are loaded anew after each.

import { call } from "../api.js";
import { toast } from "../dialog.js";
import { t } from "../i18n.js";
import { outbox } from "../outbox.js";
import { boxOf } from "./textpane.js";
import { forServer } from "./words.js";

/** @typedef {import("./sheet.js").Sheet} Sheet */
/** @typedef {import("../types.js").Line} Line */
/** @typedef {import("../types.js").Point} Point */
/** @typedef {{activate: (id: number, facts?: {caret?: number}) => void}} Follower */

/**
 * Change the layout, on the state that is shown; edits of lines are saved before.
 * @param {Sheet} sheet
 * @param {string} method
 * @param {string} path
 * @param {any} [body]
 * @returns {Promise<any>}
 */
export async function change(sheet, method, path, body) {
  await outbox.settle(sheet.id);
  try {
    const answer = await call(method, path, { body, match: sheet.page.version });
    await sheet.load();
    return answer;
  } catch (error) {
    await sheet.load().catch(() => {}); // another has changed it: show how it is now
    throw error;
  }
}

/**
 * Split a line in two.
 * @param {Sheet} sheet
 * @param {number} id
 * @param {{x: number, text_at?: number}} where
 * @param {boolean} read Whether the parts are read again; else they keep the text.
 */
export async function split(sheet, id, where, read) {
  const { line } = rowOf(sheet, id);
  const { lines } = await change(sheet, "POST", `lines/${id}/split?read=${read}`, where);
  const parts = lines.map((/** @type {Line} */ one) => one.id);
  sheet.noteLayout(id, async () => {
    await change(sheet, "POST", `pages/${sheet.id}/merge?read=false`, { line_ids: parts });
    await becomeAgain(sheet, line, read);
  });
}

/**
 * Join lines into the first of them.
 * @param {Sheet} sheet
 * @param {number[]} ids
 * @param {boolean} read Whether it is read again; else it has their texts.
 * @returns {Promise<number>} The line that they are now.
 */
export async function join(sheet, ids, read) {
  const lines = ids.map((id) => rowOf(sheet, id).line);
  const answer = await change(sheet, "POST", `pages/${sheet.id}/merge?read=${read}`, { line_ids: ids });
  const kept = answer.lines[0]?.id ?? ids[0];
  sheet.noteLayout(kept, async () => {
    for (const line of lines) {
      if (line.id === kept) await becomeAgain(sheet, line, read);
      else await change(sheet, "POST", `lines/${line.id}/undelete`);
    }
  });
  return kept;
}

/**
 * Give a line the shape and the text that it had.
 * @param {Sheet} sheet
 * @param {Line} line As it was.
 * @param {boolean} read Whether what a machine has read is read again.
 */
async function becomeAgain(sheet, line, read) {
  const isRead = read && line.kind !== "person";
  const shape = { baseline: line.baseline, ...(line.polygon.length ? { polygon: line.polygon } : {}) };
  await change(sheet, "PATCH", `lines/${line.id}/layout?read=${isRead}`, shape);
  if (!isRead) sheet.edit(line.id, { text: line.text, checked: line.checked }, { silent: true, now: true });
}

/**
 * @param {Sheet} sheet
 * @param {number} id
 */
const rowOf = (sheet, id) => /** @type {import("./sheet.js").Row} */ (sheet.byId.get(id));

/**
 * Split a line where its text is split: the parts keep the text.
 * @param {Sheet} sheet
 * @param {number} id
 * @param {number} at Character where the second line begins.
 * @param {Follower} follower
 */
export async function splitLine(sheet, id, at, follower) {
  const { line } = rowOf(sheet, id);
  if (at <= 0 || at >= line.text.length) return toast(t("layout.splitWhere"));
  await split(sheet, id, { x: placeOf(line, at), text_at: forServer(line.text, at) }, false);
  follower.activate(id);
  toast(t("layout.wasSplit"));
}

/**
 * Join lines with their texts.
 * @param {Sheet} sheet
 * @param {number[]} ids
 * @param {Follower} follower
 */
export async function joinLines(sheet, ids, follower) {
  const end = rowOf(sheet, ids[0]).line.text.length;
  follower.activate(await join(sheet, ids, false), { caret: end });
  toast(t("layout.wereJoined"));
}

/**
 * Where on the page a character of a line begins.
 * @param {import("../types.js").Line} line
 * @param {number} at
 */
export function placeOf(line, at) {
  const next = line.words.find((word) => word.start >= at && word.polygon?.length);
  const last = line.words.findLast((word) => word.end <= at && word.polygon?.length);
  const leftOf = (/** @type {Point[]} */ polygon) => Math.min(...polygon.map((point) => point[0]));
  const rightOf = (/** @type {Point[]} */ polygon) => Math.max(...polygon.map((point) => point[0]));
  if (next?.polygon && last?.polygon) return (leftOf(next.polygon) + rightOf(last.polygon)) / 2;
  const [left, , right] = boxOf(line);
  return left + ((right - left) * at) / Math.max(1, line.text.length);
}
