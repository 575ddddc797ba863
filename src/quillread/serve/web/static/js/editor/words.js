// Words of a line, their doubts, and marks in its text: what is computed without the page.

/** @typedef {import("../types.js").Word} Word */
/** @typedef {import("../types.js").Line} Line */

/**
 * A line with places counted as strings of JavaScript count them: in units of 16 bits, where the server counts
 * characters. They differ only behind an emoji and the like.
 * @param {Line} line
 * @returns {Line}
 */
export function fromServer(line) {
  if (!hasPairs(line.text)) return line;
  const places = placesOf(line.text);
  const words = line.words.map((word) => ({ ...word, start: places[word.start] ?? word.start, end: places[word.end] ?? word.end }));
  return { ...line, words };
}

/**
 * How the server counts a place in a text that was typed, of which it holds less: see `asHeld`.
 * @param {string} text
 * @param {number} at
 */
export const forServer = (text, at) => [...asHeld(`${text.slice(0, at)}x`)].length - 1; // a space before it stays

/**
 * Where each character of a text begins, and where it ends.
 * @param {string} text
 */
export function placesOf(text) {
  const places = [0];
  for (const character of text) places.push(places[places.length - 1] + character.length);
  return places;
}

/** @param {string} text */
export const hasPairs = (text) => /[\ud800-\udbff]/.test(text);

const UNWRITTEN = /[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]/gu;

/**
 * A text as the server holds it: composed, in one row, without spaces at its ends and what cannot be seen.
 * @param {string} text
 */
export const asHeld = (text) =>
  text
    .replace(/(?<![-\u2010\u2e17\u00ac=\u00ad])\u00ad+(?=\s|$)/gu, "-")
    .replace(UNWRITTEN, "")
    .replace(/\s/gu, " ")
    .trim()
    .normalize("NFC");

/** Kinds of regions whose lines are no text: they are not read, and nobody's to check. */
export const NOT_TEXT = ["picture", "ignore"];

/** Characters of a line, which the server has by its settings; many more and browsers take minutes to break it into rows. */
export const LONGEST = 10_000;

/**
 * A text that was typed or pasted, in one row and without control characters, which no hand writes.
 * @param {string} text
 */
export const inOneRow = (text) => text.replace(/\s*[\r\n\v\f\u0085\u2028\u2029]+\s*/gu, " ").replace(/\t/g, " ").replace(/[\p{Cc}\p{Cs}]/gu, "");

/** Words of a machine that are less sure than this are marked. */
export const DOUBT = 0.75;

/**
 * Marks, as they stand in the text. They are characters that no hand writes, so that they cannot be mistaken for text:
 * the Leiden conventions have deletions in double brackets and additions above the line in raised ones; letters that an
 * editor supplies stand in angle brackets, and what cannot be read is an ellipsis in square brackets.
 * @typedef {"illegible"|"struck"|"added"|"expanded"} MarkKind
 * @type {Record<MarkKind, [string, string]>}
 */
export const MARKS = {
  illegible: ["[…", "]"],
  struck: ["⟦", "⟧"],
  added: ["⸌", "⸍"],
  expanded: ["⟨", "⟩"],
};

const MARK_PATTERN = /\[…\]|⟦[^⟦⟧]*⟧|⸌[^⸌⸍]*⸍|⟨[^⟨⟩]*⟩/gu;

/**
 * The marks of a text. They may lie within each other, not cross.
 * @param {string} text
 * @returns {{start: number, end: number, kind: MarkKind}[]}
 */
export function marksOf(text) {
  const found = [];
  for (const match of text.matchAll(MARK_PATTERN)) {
    const kind = /** @type {Record<string, MarkKind>} */ ({ "[": "illegible", "⟦": "struck", "⸌": "added", "⟨": "expanded" })[match[0][0]];
    found.push({ start: match.index, end: match.index + match[0].length, kind });
  }
  return found;
}

/**
 * Put a mark around a part of a text, or take it away where it stands already.
 * @param {string} text
 * @param {number} start
 * @param {number} end
 * @param {MarkKind} kind
 * @returns {{text: string, start: number, end: number}} The text, and what is selected then.
 */
export function toggleMark(text, start, end, kind) {
  const [open, close] = MARKS[kind];
  const put = (/** @type {string} */ middle) => text.slice(0, start) + middle + text.slice(end);
  if (kind === "illegible") return { text: put(open + close), start: start + 3, end: start + 3 };
  const around = marksOf(text).find((mark) => mark.kind === kind && mark.start <= start && mark.end >= end);
  if (around) {
    const inner = text.slice(around.start + 1, around.end - 1);
    return { text: text.slice(0, around.start) + inner + text.slice(around.end), start: Math.max(around.start, start - 1), end: Math.max(around.start, end - 1) };
  }
  if (start === end) [start, end] = wordBounds(text, start);
  return { text: text.slice(0, start) + open + text.slice(start, end) + close + text.slice(end), start: start + 1, end: end + 1 };
}

/**
 * Where the word at a place begins and ends.
 * @param {string} text
 * @param {number} at
 * @returns {[number, number]}
 */
export function wordBounds(text, at) {
  let start = at;
  let end = at;
  while (start > 0 && !/\s/u.test(text[start - 1])) start--;
  while (end < text.length && !/\s/u.test(text[end])) end++;
  return [start, end];
}

/**
 * Words of a text that was changed: those before and after the change keep their place on the page; what a person has
 * touched is in doubt no more.
 * @param {Word[]} words
 * @param {string} before
 * @param {string} after
 * @returns {Word[]}
 */
export function shiftWords(words, before, after) {
  if (before === after) return words;
  let same = 0;
  const most = Math.min(before.length, after.length);
  while (same < most && before[same] === after[same]) same++;
  let tail = 0;
  while (tail < most - same && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail++;
  const end = before.length - tail; // the change is before[same:end]
  const shift = after.length - before.length;
  const shifted = [];
  for (const word of words) {
    if (word.end < same || (word.end === same && !touches(after, same))) shifted.push(word);
    else if (word.start > end || (word.start === end && end > same && word.start > same)) shifted.push({ ...word, start: word.start + shift, end: word.end + shift });
    else {
      const [from, to] = [Math.min(word.start, same), Math.max(word.end, end) + shift];
      if (to > from) shifted.push({ ...word, start: from, end: to, text: after.slice(from, to), confidence: null });
    }
  }
  return shifted;
}

/**
 * @param {string} text
 * @param {number} at
 */
const touches = (text, at) => at < text.length && !/\s/u.test(text[at]);

/**
 * Whether a word is to be looked at.
 * @param {Line} line
 * @param {Word} word
 */
export const isDoubtful = (line, word) => !line.checked && word.confidence !== null && word.confidence < DOUBT;

/**
 * How a line stands: `checked` by a person, else by its confidence (the probability that all of it is right), `sure`, `doubt` or `poor`; `none` without a reading.
 * @param {Line} line
 */
export function standing(line) {
  if (line.checked) return "checked";
  if (line.confidence === null) return line.text ? "sure" : "none";
  if (line.confidence >= 0.5) return "sure";
  return line.confidence >= 0.1 ? "doubt" : "poor";
}

/**
 * The word at a place of the text, or the one before it.
 * @param {Word[]} words
 * @param {number} at
 * @returns {Word|null}
 */
export function wordAt(words, at) {
  let best = null;
  for (const word of words) {
    if (word.start > at) break;
    best = word;
  }
  return best;
}

/**
 * Cut a text into pieces that look alike.
 * @param {Line} line
 * @param {string} text
 * @param {Word[]} words
 * @returns {{text: string, classes: string}[]}
 */
export function piecesOf(line, text, words) {
  const marks = marksOf(text);
  const doubts = words.filter((word) => isDoubtful(line, word));
  if (!marks.length && !doubts.length) return text ? [{ text, classes: "" }] : [];
  const cuts = new Set([0, text.length]);
  for (const { start, end } of [...marks, ...doubts]) cuts.add(Math.max(0, start)).add(Math.min(text.length, end));
  const places = [...cuts].sort((a, b) => a - b);
  const pieces = [];
  for (let i = 0; i + 1 < places.length; i++) {
    const [from, to] = [places[i], places[i + 1]];
    const classes = marks.filter((mark) => mark.start <= from && mark.end >= to).map((mark) => `mark-${mark.kind}`);
    if (doubts.some((word) => word.start <= from && word.end >= to)) classes.push("doubtful");
    pieces.push({ text: text.slice(from, to), classes: classes.join(" ") });
  }
  return pieces;
}

/** @typedef {[number, number, number, number]} Hunk Where a list differs from another: from, to, and from, to in the other. */

const MOST_PAIRS = 250_000; // from which on lists are compared as a whole

/**
 * @param {string[]} mine
 * @param {string[]} theirs
 * @returns {Hunk[]}
 */
function hunksOf(mine, theirs) {
  const [n, m] = [mine.length, theirs.length];
  if (n * m > MOST_PAIRS) return [[0, n, 0, m]];
  const longest = Array.from({ length: n + 1 }, () => new Uint16Array(m + 1));
  for (let i = n - 1; i >= 0; i--) {
    for (let j = m - 1; j >= 0; j--) {
      longest[i][j] = mine[i] === theirs[j] ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  const isSame = (/** @type {number} */ i, /** @type {number} */ j) => i < n && j < m && mine[i] === theirs[j];
  /** @type {Hunk[]} */
  const hunks = [];
  for (let i = 0, j = 0; i < n || j < m; i++, j++) {
    const [from, other] = [i, j];
    while ((i < n || j < m) && !isSame(i, j)) j >= m || (i < n && longest[i + 1][j] >= longest[i][j + 1]) ? i++ : j++;
    if (i > from || j > other) hunks.push([from, i, other, j]);
  }
  return hunks;
}

/**
 * Where a text differs from another, by words: for showing alternatives.
 * @param {string} text
 * @param {string} other
 * @returns {{text: string, differs: boolean}[]} Pieces of `text`.
 */
export function differences(text, other) {
  if (text === other) return [{ text, differs: false }];
  const parts = text.split(/(\s+)/u);
  const pieces = [];
  let at = 0;
  for (const [from, to] of hunksOf(parts, other.split(/(\s+)/u))) {
    pieces.push({ text: parts.slice(at, from).join(""), differs: false }, { text: parts.slice(from, to).join(""), differs: true });
    at = to;
  }
  return [...pieces, { text: parts.slice(at).join(""), differs: false }].filter((piece) => piece.text);
}

/** @param {string} text */
const runsOf = (text) => [...text.matchAll(/\S+/gu)].map((match) => ({ text: match[0], start: match.index, end: match.index + match[0].length }));

/**
 * Where two lists of words differ; as many words in place of as many are pairs.
 * @param {{text: string}[]} mine
 * @param {{text: string}[]} theirs
 * @returns {Hunk[]}
 */
function wordHunks(mine, theirs) {
  const hunks = hunksOf(mine.map((word) => word.text), theirs.map((word) => word.text)); // prettier-ignore
  return hunks.flatMap(([a, b, c, d]) => (b - a === d - c ? Array.from({ length: b - a }, (_, i) => /** @type {Hunk} */ ([a + i, a + i + 1, c + i, c + i + 1])) : [/** @type {Hunk} */ ([a, b, c, d])]));
}

/**
 * The letters of a word that the likeliest other reading of it has otherwise; all of it if there is none. Nothing is
 * selected where a letter is missing: the place is before its end.
 * @param {Line} line
 * @param {Word} word
 * @returns {[number, number]}
 */
export function doubtfulPart(line, word) {
  const mine = runsOf(line.text);
  const at = mine.findIndex((run) => run.start === word.start);
  for (const reading of at < 0 ? [] : line.alternatives) {
    const theirs = runsOf(reading.text);
    const pair = wordHunks(mine, theirs).find(([a, b, c, d]) => a === at && b === at + 1 && d === c + 1);
    if (!pair) continue;
    const [start, end] = changeIn(mine[at].text, theirs[pair[2]].text);
    if (end > 0) return [word.start + start, word.start + end];
  }
  return [word.start, word.end];
}

/**
 * The part of a word that is otherwise in another; no letter is cut from its accents.
 * @param {string} word
 * @param {string} other
 */
function changeIn(word, other) {
  const isWithin = (/** @type {number} */ at) => /[\p{M}\udc00-\udfff]/u.test(word[at] ?? "");
  const most = Math.min(word.length, other.length);
  let start = 0;
  while (start < most && word[start] === other[start]) start++;
  let tail = 0;
  while (tail < most - start && word[word.length - 1 - tail] === other[other.length - 1 - tail]) tail++;
  let end = word.length - tail;
  while (start > 0 && isWithin(start)) start--;
  while (isWithin(end)) end++;
  return [start, end];
}

/**
 * The next word in doubt behind what is selected.
 * @param {Line} line
 * @param {number} end Of the selection.
 */
export const nextDoubt = (line, end) => line.words.find((word) => word.start >= end && isDoubtful(line, word));

/**
 * The word in doubt before what is selected.
 * @param {Line} line
 * @param {number} start Of the selection.
 * @param {number} end
 */
export function previousDoubt(line, start, end) {
  return line.words.findLast((word) => {
    if (word.end > start || !isDoubtful(line, word)) return false;
    const part = doubtfulPart(line, word);
    return part[0] !== start || part[1] !== end; // there one is already
  });
}

/**
 * Take another reading of a line. Once a person has typed in the line, only words that they have not touched become as
 * they were read: the word at the cursor, or all if that is not read otherwise.
 * @param {string} text As it is now.
 * @param {string} reading
 * @param {string} base What the machine has read, before a person typed.
 * @param {number} start Of the selection.
 * @param {number} end
 */
export function takeReading(text, reading, base, start, end) {
  if (text === base) return reading;
  const [mine, theirs, read] = [text, reading, base].map(runsOf);
  const typed = wordHunks(read, mine);
  const untouched = wordHunks(read, theirs).filter((offer) => !typed.some((hunk) => areAtOdds(offer, hunk)));
  const offers = untouched.map(([a, b, c, d]) => {
    const shift = typed.reduce((sum, [from, to, first, last]) => (to <= a ? sum + last - first - (to - from) : sum), 0);
    return { from: a + shift, to: b + shift, words: reading.slice(theirs[c]?.start ?? 0, d > c ? theirs[d - 1].end : (theirs[c]?.start ?? 0)) };
  });
  if (!offers.length) return reading; // all that differs was typed: it is asked for all the same
  const isHere = (/** @type {{start: number, end: number}|undefined} */ word) => word !== undefined && word.start <= end && word.end >= start;
  const here = offers.filter(({ from, to }) => (from === to ? isHere(mine[from]) || isHere(mine[from - 1]) : mine.slice(from, to).some(isHere)));
  for (const { from, to, words } of (here.length ? here : offers).reverse()) {
    if (from === to) text = from < mine.length ? `${text.slice(0, mine[from].start)}${words} ${text.slice(mine[from].start)}` : `${text} ${words}`;
    else if (words) text = text.slice(0, mine[from].start) + words + text.slice(mine[to - 1].end);
    else text = (text.slice(0, mine[from].start).trimEnd() + text.slice(mine[to - 1].end)).trimStart();
  }
  return text;
}

/**
 * Whether two changes of one text meet.
 * @param {Hunk} one
 * @param {Hunk} other
 */
function areAtOdds([a, b], [c, d]) {
  if (a === b) return c <= a && a <= d;
  return c === d ? a < c && c < b : Math.max(a, c) < Math.min(b, d);
}
