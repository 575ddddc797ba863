// Changes of the layout of a page, as the server makes them; the lines are loaded anew after each.

import { call, get } from "../api.js";
import { toast } from "../dialog.js";
import { t } from "../i18n.js";
import { outbox } from "../outbox.js";
import { boxOf } from "./textpane.js";
import { forServer } from "./words.js";

/** @typedef {import("./sheet.js").Sheet} Sheet */
/** @typedef {import("../types.js").Line} Line */
/** @typedef {import("../types.js").Point} Point */
/** @typedef {[method: string, path: string, body?: any]} Call */
/** @typedef {{activate: (id: number, facts?: {caret?: number}) => void}} Follower */

/**
 * Make changes of the layout one after the other, on the state that is shown; edits of lines are saved before.
 * @param {Sheet} sheet
 * @param {Call[]} calls
 * @returns {Promise<any[]>}
 */
export async function changeAll(sheet, calls) {
  await outbox.settle(sheet.id);
  const answers = [];
  let { version } = sheet.page;
  try {
    for (const [method, path, body] of calls) {
      const answer = await call(method, path, { body, match: version });
      // So that what the server tells of this change loads nothing; lines may be loaded in between all the same.
      sheet.page.version = version = answer.page_version;
      answers.push(answer);
    }
  } catch (error) {
    await sheet.load().catch(() => {}); // another has changed it: show how it is now
    throw error;
  }
  await sheet.load();
  return answers;
}

/**
 * @param {Sheet} sheet
 * @param {string} method
 * @param {string} path
 * @param {any} [body]
 * @returns {Promise<any>}
 */
export async function change(sheet, method, path, body) {
  return (await changeAll(sheet, [[method, path, body]]))[0];
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
  const { lines } = await change(sheet, "POST", `lines/${id}/split?read=false`, { x: placeOf(line, at), text_at: forServer(line.text, at) });
  sheet.changes.noteLayout(async () => {
    await joinParts(sheet, line, lines, "?read=false");
    return { id, caret: at };
  });
  follower.activate(id);
  toast(t("layout.wasSplit"));
}

/**
 * Join lines with their texts, which are not read again.
 * @param {Sheet} sheet
 * @param {number[]} ids
 * @param {Follower} follower
 */
export async function joinLines(sheet, ids, follower) {
  const lines = ids.map((id) => /** @type {import("./sheet.js").Row} */ (sheet.byId.get(id)).line);
  const caret = lines[0].text.length;
  const answer = await change(sheet, "POST", `pages/${sheet.id}/merge?read=false`, { line_ids: ids });
  const [joined] = answer.lines;
  sheet.changes.noteLayout(async () => {
    const isParted = await partJoined(sheet, lines, joined);
    return isParted ? { id: ids[0], caret } : null;
  });
  follower.activate(joined.id, { caret });
  toast(t("layout.wereJoined"));
}

/**
 * Take back that a line was split.
 * @param {Sheet} sheet
 * @param {Line} line As it was.
 * @param {Line[]} parts
 * @param {string} [query]
 */
export async function joinParts(sheet, line, parts, query = "") {
  const joined = parts.map((part) => part.text).filter(Boolean).join(" "); // prettier-ignore
  const calls = [/** @type {Call} */ (["POST", `pages/${sheet.id}/merge${query}`, { line_ids: parts.map((part) => part.id) }])];
  if (areInPlace(sheet, parts)) calls.push(["PATCH", `lines/${line.id}/layout?read=false`, { baseline: line.baseline, polygon: line.polygon }]);
  await changeAll(sheet, calls);
  // A word that was split is one again; not if another has written in a part meanwhile.
  if (joined !== line.text && sheet.stands(line.id, joined, line.checked)) await putBack(sheet, line);
}

/**
 * Give a line its text back: where a machine has read it, as its reading.
 * @param {Sheet} sheet
 * @param {Line} line As it was.
 */
async function putBack(sheet, { id, kind, text, checked }) {
  const row = sheet.byId.get(id);
  /** @type {{items: import("../types.js").Version[]}} */
  const { items } = kind === "machine" ? await get(`lines/${id}/versions`) : { items: [] };
  const number = items.findLast((version) => version.kind === "machine" && version.text === text)?.number;
  if (!row || number === undefined) return void sheet.edit(id, { text, checked }, { silent: true, now: true });
  sheet.take(await call("POST", `lines/${id}/restore`, { body: { number, as_read: true }, match: row.server.revision }));
}

/**
 * Whether lines are where a change has put them.
 * @param {Sheet} sheet
 * @param {Line[]} lines
 */
export const areInPlace = (sheet, lines) => lines.every(({ id, baseline }) => String(sheet.byId.get(id)?.line.baseline) === String(baseline));

/**
 * Take back that lines were joined: not if a person has written in the line since, of whose words nobody knows to which
 * line they belong.
 * @param {Sheet} sheet
 * @param {Line[]} lines As they were.
 * @param {Line} joined
 * @returns {Promise<boolean>} Whether it was done.
 */
export async function partJoined(sheet, lines, joined) {
  await outbox.settle(sheet.id);
  const now = sheet.byId.get(joined.id)?.line;
  const was = lines.find((line) => line.id === joined.id);
  if (!was || !now || (now.kind !== "machine" && !sheet.stands(joined.id, joined.text, joined.checked))) {
    toast(t("undo.changed"));
    return false;
  }
  const { baseline, polygon } = was;
  const isRead = was.kind !== null; // else it is read now
  const others = lines.filter((line) => line !== was);
  await changeAll(sheet, [
    ["PATCH", `lines/${was.id}/layout${isRead ? "?read=false" : ""}`, { baseline, polygon }],
    ...others.map((line) => /** @type {Call} */ (["POST", `lines/${line.id}/undelete`])),
  ]);
  if (isRead) await putBack(sheet, was);
  return true;
}

/** Letters of the scripts that run from right to left. */
const LEFTWARD = /(?=\p{L})[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

/**
 * Where on the page a character of a line begins.
 * @param {Line} line
 * @param {number} at
 */
export function placeOf(line, at) {
  const isLeftward = LEFTWARD.test(line.text);
  const next = line.words.find((word) => word.start >= at && word.polygon?.length);
  const last = line.words.findLast((word) => word.end <= at && word.polygon?.length);
  const leftOf = (/** @type {Point[]} */ polygon) => Math.min(...polygon.map((point) => point[0]));
  const rightOf = (/** @type {Point[]} */ polygon) => Math.max(...polygon.map((point) => point[0]));
  const [before, after] = isLeftward ? [next, last] : [last, next];
  // Words that a person has written may stand where a machine has read others, which run the other way.
  if (before?.polygon && after?.polygon && leftOf(before.polygon) < leftOf(after.polygon)) {
    return (rightOf(before.polygon) + leftOf(after.polygon)) / 2;
  }
  const [left, , right] = boxOf(line);
  const share = at / Math.max(1, line.text.length);
  return left + (right - left) * (isLeftward ? 1 - share : share);
}
