// Languages are data: i18n/en.json and its sisters. A text that is missing is shown by its key.

import { keep } from "./store.js";

/** @type {Record<string, any>} */
let texts = {};

export const languages = /** @type {const} */ (["en", "it"]);
/** @typedef {(typeof languages)[number]} Language */

/** @type {Language} */
let current = "en";

export function language() {
  return current;
}

/** What was chosen before, else what the browser asks for. @returns {Language} */
export function preferredLanguage() {
  const chosen = localStorage.getItem("imagine.language");
  const asked = [chosen, ...navigator.languages].map((tag) => tag?.slice(0, 2).toLowerCase());
  return languages.find((known) => known === asked.find((tag) => languages.some((l) => l === tag))) ?? "en";
}

/** @param {string} code @returns {Promise<Record<string, any>>} */
async function load(code) {
  const answer = await fetch(new URL(`../i18n/${code}.json`, import.meta.url));
  if (!answer.ok) throw new Error(`i18n/${code}.json: ${answer.status}`);
  return answer.json();
}

/** @param {Language} code */
export async function useLanguage(code) {
  texts = await load(code);
  current = code;
  document.documentElement.lang = code;
}

/** @param {Language} code */
export function rememberLanguage(code) {
  keep(localStorage, "imagine.language", code);
}

/** @param {string} key */
function find(key) {
  return texts[key];
}

export function has(/** @type {string} */ key) {
  return find(key) !== undefined;
}

/**
 * The text of a key, with `{name}` filled in. An entry may be an object of plural forms, chosen by `count`.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function t(key, values = {}) {
  let text = find(key);
  if (text && typeof text === "object" && !Array.isArray(text)) {
    text = text[new Intl.PluralRules(current).select(Number(values.count))] ?? text.other;
  }
  if (typeof text !== "string") return key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    if (value === undefined) return whole;
    return typeof value === "number" ? format(0, 3).format(value) : value;
  });
}

/** As the browser's own country writes them, where it speaks the language of the page. */
function locale() {
  return navigator.languages.find((tag) => tag.toLowerCase().startsWith(current)) ?? current;
}

/** A list of texts. @param {string} key @returns {string[]} */
export function list(key) {
  const found = find(key);
  return Array.isArray(found) ? found : [];
}

/** A day, for people. @param {number} seconds since 1970 */
export function day(seconds) {
  return new Intl.DateTimeFormat(locale(), { dateStyle: "medium" }).format(seconds * 1000);
}

/** @param {number} seconds since 1970 */
export function moment(seconds) {
  return new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeStyle: "short" }).format(seconds * 1000);
}

/** How long, roughly: what is left rarely is known to the second. @param {number} seconds */
export function duration(seconds) {
  if (seconds < 90) return t("time.seconds", { count: Math.max(1, Math.round(seconds)) });
  return t("time.minutes", { count: Math.round(seconds / 60) });
}

/** Making a format takes longer than using it a thousand times. @type {Map<string, Intl.NumberFormat>} */
const formats = new Map();

/** @param {number} least decimals @param {number} most decimals */
function format(least, most) {
  const key = `${locale()} ${least} ${most}`;
  let known = formats.get(key);
  if (!known) formats.set(key, (known = new Intl.NumberFormat(locale(), { minimumFractionDigits: least, maximumFractionDigits: most })));
  return known;
}

/** @param {number} value @param {number} [digits] */
export function number(value, digits = 2) {
  return format(0, digits).format(value);
}

/** Two decimals, always, so that nothing moves beside a slider. @param {number} value */
export function decimals(value) {
  return format(2, 2).format(value);
}
