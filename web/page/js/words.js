// What numbers and failures are called.

import { Problem } from "./api.js";
import { decimals, has, language, t } from "./i18n.js";
import { UnreadablePhoto } from "./photos.js";

// Cosines between face embeddings; .36 is where SFace takes two photos for the same person.
const likenessWords = /** @type {const} */ ([
  [0.6, "striking"],
  [0.45, "close"],
  [0.36, "some"],
  [0.2, "faint"],
  [-2, "none"],
]);

/** Cards are compared by their face descriptors, where this and more is one person. */
const cardsSame = 0.44;

/** @param {number | null | undefined} cosine @param {string} [encoder] what the person is known by */
export function likenessWord(cosine, encoder) {
  if (cosine === null || cosine === undefined) return t("likeness.no_face");
  if (encoder === "card") return t(cosine >= cardsSame ? "likeness.same" : "likeness.none");
  const found = likenessWords.find(([from]) => cosine >= from);
  return t(`likeness.${found?.[1] ?? "none"}`);
}

/** @param {number | null | undefined} cosine */
export function likenessNumber(cosine) {
  return cosine === null || cosine === undefined ? "" : decimals(cosine);
}

/**
 * What happened and what to do, in the page's language. `said` are the service's own words, which are English: on a page in another language they are
 * there only where the page has none of its own.
 * @typedef {{ what: string, todo: string, said?: string }} Told
 */

/** What a value of a request is called on the page. @type {Record<string, string>} */
const valueNames = {
  prompt: "batch.prompt", idea: "batch.prompt", negative_prompt: "advanced.negative", model: "advanced.model", n: "advanced.n", size: "advanced.size", steps: "advanced.steps",
  guidance_scale: "advanced.guidance", scheduler: "advanced.scheduler", seed: "advanced.seed", style: "style.legend", name: "enrol.name", people: "who.label",
  "people.scale": "advanced.strength", "people.card_scale": "strength.groups", "people.stages": "strength.stages", "people.box": "places.title", "people.mask": "places.title",
  "edit.strength": "mask.strength", "edit.mask": "mask.canvas", "edit.image": "photo.edit", ground: "ground.switch", expand: "expand.switch",
};

/** Which value is at fault, by the name that the page has for it, and what it may be. @param {Problem} problem */
function valueAtFault({ param, least, most }) {
  const name = valueNames[param ?? ""];
  if (!name) return "";
  const value = t(name);
  if (least !== undefined) return t("error.value.between", { value, least, most: most ?? least });
  return most === undefined ? t("error.value", { value }) : t("error.value.most", { value, most });
}

/** @param {string} what @param {string} todo @param {string} [said] by the service @param {boolean} [known] whether the page says all of it @returns {Told} */
function told(what, todo, said = "", known = true) {
  if (language() === "en") return { what, todo: [todo, said].filter(Boolean).join(" ") };
  return { what, todo, said: known ? "" : said };
}

/** What the page has to say of a rule, or else of the first code that it knows. @param {string | null | undefined} rule @param {string[]} codes */
function keyOf(rule, codes) {
  if (rule && has(`refused.${rule}`)) return { what: "error.refused", todo: `refused.${rule}` };
  const code = codes.find((one) => has(`error.${one}`));
  return code ? { what: `error.${code}`, todo: `error.${code}.todo`, code } : null;
}

/** A value that cannot be used, a rule that the page does not know, a failure without a name: then the service's words are the better ones. @param {string | undefined} code */
const vague = (code) => ["invalid_request", "invalid_json", "refused", "failed"].includes(code ?? "");

/** @param {unknown} error @returns {Told} */
export function explain(error) {
  if (error instanceof UnreadablePhoto) return told(t("error.photo"), t("error.photo.todo"));
  if (error instanceof DOMException && has(`error.${error.name}`)) return told(t(`error.${error.name}`), t(`error.${error.name}.todo`));
  // an answer that broke off in the middle
  if (error instanceof TypeError && /fetch|network/i.test(error.message)) return told(t("error.network"), t("error.network.todo"));
  if (!(error instanceof Problem)) return told(t("error.page"), t("error.page.todo"), String(error), false);
  const { rule, code, status, message, retryAfter } = error;
  const key = keyOf(rule, [code, `http_${status}`]);
  if (!key) return told(t("error.service"), error.requestId ? t("error.request", { id: error.requestId }) : "", message, false);
  const value = code === "invalid_request" ? valueAtFault(error) : "";
  const silent = !key.code || ["network", "http_401", "enrol_again"].includes(key.code) || (Boolean(value) && error.most !== undefined);
  return told(t(key.what), value || t(key.todo, { seconds: retryAfter ?? 10 }), silent ? "" : message, Boolean(value) || !vague(key.code));
}

/** The same in a line, for a notice. @param {unknown} error */
export function explainShort(error) {
  const { what, todo, said } = explain(error);
  return [what, todo, said].filter(Boolean).join(" ");
}

/** Why a job failed. @param {{ code: string, message: string, rule?: string | null } | null} error @returns {Told} */
export function explainJob(error) {
  const key = keyOf(error?.rule, [error?.code ?? "failed"]);
  if (!key) return told(t("error.job"), t("error.job.todo"), error?.message, false);
  return told(t(key.what), t(key.todo), vague(key.code) ? error?.message : "", false);
}

/** @param {Api.PhotoProblem} problem */
export function adviceOn(problem) {
  return has(`photo.${problem.code}`) ? t(`photo.${problem.code}`) : problem.advice;
}
