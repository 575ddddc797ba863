// The language of the page. One file a language in `locales/`; a text is found by its key.

import { recall, remember } from "./storage.js";

export const LANGUAGES = { en: "English", fr: "Français", de: "Deutsch", es: "Español" };

/** @typedef {Record<string, string|Record<string, string>>} Texts */

/** @type {Texts} */
let texts = {};
let language = "en";
let plurals = new Intl.PluralRules("en");

/** Load the texts of the language that was chosen, or else that the browser prefers. */
export async function loadLanguage() {
  language = preferred();
  const answer = await fetch(new URL(`../locales/${language}.json`, import.meta.url));
  texts = await answer.json();
  plurals = new Intl.PluralRules(language);
  document.documentElement.lang = language;
  document.documentElement.dir = "ltr"; // of all four; texts of pages have a direction of their own
}

/** @param {string} code */
export function chooseLanguage(code) {
  remember("language", code);
  location.reload();
}

export const currentLanguage = () => language;

/**
 * The text of a key, with `{names}` filled in; `n` chooses among plural forms.
 * @param {string} key
 * @param {Record<string, string|number>} [values]
 * @returns {string}
 */
export function t(key, values = {}) {
  let text = texts[key] ?? key;
  if (typeof text !== "string") text = text[plurals.select(Number(values.n))] ?? text.other ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    return value === undefined ? whole : typeof value === "number" ? number(value) : value;
  });
}

/**
 * The page's own words for a problem that the server has answered with; null if it has none for its code.
 * @param {Record<string, any>} problem
 */
export function problemText(problem) {
  const key = `problem.${problem.code}`;
  return key in texts ? t(key, problem) : null;
}

/**
 * The page's own words for a kind of fault of a page or a job.
 * @param {string} [kind]
 */
export const faultWords = (kind) => (`fault.${kind}` in texts ? t(`fault.${kind}`) : t("state.failed"));

/** @param {number} value */
export const number = (value) => value.toLocaleString(language);

/**
 * A share as a percentage.
 * @param {number} value From 0 to 1.
 * @param {number} [digits]
 * @param {"auto"|"exceptZero"} [signDisplay]
 */
export const percent = (value, digits = 0, signDisplay = "auto") =>
  value.toLocaleString(language, { style: "percent", maximumFractionDigits: digits, signDisplay });

/** @param {string} time */
export const when = (time) =>
  new Date(time).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });

/** @param {string} time */
export const day = (time) => new Date(time).toLocaleDateString(language, { dateStyle: "medium" });

/**
 * A span of time in words.
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds < 90) return t("time.seconds", { n: Math.max(1, Math.round(seconds)) });
  if (seconds < 5400) return t("time.minutes", { n: Math.round(seconds / 60) });
  return t("time.hours", { n: Math.round(seconds / 3600) });
}

function preferred() {
  const wished = [recall("language"), ...navigator.languages].map((code) => (code ?? "").slice(0, 2));
  return wished.find((code) => code in LANGUAGES) ?? "en";
}
