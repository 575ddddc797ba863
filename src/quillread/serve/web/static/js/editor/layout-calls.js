// Changes of the layout of a page, as the server makes them; the lines are loaded anew after each.

import { call } from "../api.js";
import { toast } from "../dialog.js";
import { t } from "../i18n.js";
import { outbox } from "../outbox.js";
import { boxOf } from "./textpane.js";
import { forServer } from "./words.js";

/** @typedef {import("./sheet.js").Sheet} Sheet */
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
 * Split a line where its text is split: the parts keep the text, and are not read again.
 * @param {Sheet} sheet
 * @param {number} id
 * @param {number} at Character where the second line begins.
 * @param {Follower} follower
 */
export async function splitLine(sheet, id, at, follower) {
  const { line } = /** @type {import("./sheet.js").Row} */ (sheet.byId.get(id));
  if (at <= 0 || at >= line.text.length) return toast(t("layout.splitWhere"));
  await change(sheet, "POST", `lines/${id}/split?read=false`, { x: placeOf(line, at), text_at: forServer(line.text, at) });
  follower.activate(id);
  offerUndo(t("layout.wasSplit"), null);
}

/**
 * Join lines with their texts, which are not read again.
 * @param {Sheet} sheet
 * @param {number[]} ids
 * @param {Follower} follower
 */
export async function joinLines(sheet, ids, follower) {
  const end = sheet.byId.get(ids[0])?.line.text.length ?? 0;
  const answer = await change(sheet, "POST", `pages/${sheet.id}/merge?read=false`, { line_ids: ids });
  follower.activate(answer?.lines?.[0]?.id ?? ids[0], { caret: end });
  toast(t("layout.wereJoined"));
}

/**
 * @param {Sheet} sheet
 * @param {number[]} ids
 */
export async function deleteLines(sheet, ids) {
  for (const id of ids) await change(sheet, "DELETE", `lines/${id}`);
  offerUndo(t("layout.wereDeleted", { n: ids.length }), async () => {
    for (const id of ids) await change(sheet, "POST", `lines/${id}/undelete`);
  });
}

/**
 * @param {string} text
 * @param {(() => Promise<void>)|null} undo
 */
function offerUndo(text, undo) {
  if (undo) toast(text, { action: t("undo"), run: () => void undo() });
  else toast(text);
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
