// What numbers and failures are called.

import { Problem } from "./api.js";
import { decimals, has, t } from "./i18n.js";
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
 * What the page itself has to say of a rule, or else of the first code that it knows. `message` is what the service says beside it.
 * @param {{ rule?: string | null, codes: string[], seconds?: number | null, message: (code: string) => string | undefined }} of
 * @returns {{ what: string, todo: string } | null}
 */
function saidOf(of) {
  if (of.rule && has(`refused.${of.rule}`)) return { what: t("error.refused"), todo: t(`refused.${of.rule}`) };
  const code = of.codes.find((one) => has(`error.${one}`));
  if (!code) return null;
  return { what: t(`error.${code}`), todo: [t(`error.${code}.todo`, { seconds: of.seconds ?? 10 }), of.message(code)].filter(Boolean).join(" ") };
}

/** What happened, and what to do. @param {unknown} error @returns {{ what: string, todo: string }} */
export function explain(error) {
  if (error instanceof UnreadablePhoto) return { what: t("error.photo"), todo: t("error.photo.todo") };
  if (error instanceof DOMException && has(`error.${error.name}`)) {
    return { what: t(`error.${error.name}`), todo: t(`error.${error.name}.todo`) };
  }
  // an answer that broke off in the middle
  if (error instanceof TypeError && /fetch|network/i.test(error.message)) return { what: t("error.network"), todo: t("error.network.todo") };
  if (!(error instanceof Problem)) return { what: t("error.page"), todo: String(error) };
  const { rule, code, status, message, retryAfter: seconds } = error;
  const said = saidOf({ rule, codes: [code, `http_${status}`], seconds, message: (of) => (["network", "http_401", "enrol_again"].includes(of) ? "" : message) });
  if (said) return said;
  const trace = error.requestId ? t("error.request", { id: error.requestId }) : "";
  return { what: t("error.service"), todo: [error.message, trace].filter(Boolean).join(" ") };
}

/** The same in a line, for a notice. @param {unknown} error */
export function explainShort(error) {
  const { what, todo } = explain(error);
  return [what, todo].filter(Boolean).join(" ");
}

/** Why a job failed. @param {{ code: string, message: string, rule?: string | null } | null} error */
export function explainJob(error) {
  const said = saidOf({ rule: error?.rule, codes: [error?.code ?? "failed"], message: (code) => (code === "invalid_request" ? error?.message : "") });
  return said ?? { what: t("error.job"), todo: [t("error.job.todo"), error?.message].filter(Boolean).join(" ") };
}

/** @param {Api.PhotoProblem} problem */
export function adviceOn(problem) {
  return has(`photo.${problem.code}`) ? t(`photo.${problem.code}`) : problem.advice;
}
