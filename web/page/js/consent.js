// Consent in plain words, asked for before a photo leaves the device.

import { consentText } from "./api.js";
import { button, fill, freshId, h } from "./dom.js";
import { language, t } from "./i18n.js";
import { failure, field } from "./ui.js";

/** @typedef {{ text: Api.Consent, basis: "self" | "authorised", by: string }} Given */

/** As the service reads it. @param {Given} given */
export function consentJson(given) {
  return JSON.stringify({
    basis: given.basis,
    ...(given.basis === "authorised" ? { authorised_by: given.by } : {}),
    text_version: given.text.version,
    text_sha256: given.text.sha256,
    agreed: true,
  });
}

/**
 * Fills a place with the question; `onAgreed` is told what was answered. `once` where the photo is for one order, and nobody is remembered.
 * @param {HTMLElement} place
 * @param {{ lead: string, note: string, once?: boolean, onAgreed: (given: Given) => void }} of
 */
export function askConsent(place, of) {
  fill(place, h("p", { class: "quiet-text" }, t("loading")));
  consentText()
    .then((texts) => fill(place, ...view(of.once ? texts.once : texts, of)))
    .catch((error) => fill(place, failure(error, () => askConsent(place, of))));
}

/** @param {Api.Consent} text @param {Parameters<typeof askConsent>[1]} of */
function view(text, of) {
  /** @type {Given["basis"]} */
  let basis = "self";
  const once = of.once ? ".once" : "";
  const by = h("input", { type: "text", required: true, maxLength: 200, autocomplete: "off" });
  const byField = field(t("consent.by"), by, t("consent.by.hint"));
  byField.hidden = true;
  const group = freshId("basis");
  const choice = (/** @type {Given["basis"]} */ value, /** @type {string} */ label, /** @type {string} */ hint) => {
    const input = h("input", {
      type: "radio",
      name: group,
      id: freshId("basis"),
      checked: basis === value,
      on: {
        change: () => {
          basis = value;
          byField.hidden = value === "self";
        },
      },
    });
    return h("div", { class: "choice" }, input, h("label", { for: input.id }, label, h("span", { class: "hint" }, hint)));
  };
  const agree = button({
    label: t("consent.agree"),
    class: "primary wide",
    on: () => {
      by.value = by.value.trim();
      if (basis === "authorised" && !by.reportValidity()) return;
      of.onAgreed({ text, basis, by: by.value });
    },
  });
  return [
    h("p", { class: "lead" }, of.lead),
    h(
      "fieldset",
      null,
      h("legend", null, t(`consent.who${once}`)),
      choice("self", t(`consent.self${once}`), t(`consent.self.hint${once}`)),
      choice("authorised", t(`consent.authorised${once}`), t(`consent.authorised.hint${once}`)),
    ),
    byField,
    h(
      "div",
      { class: "consent-text", tabIndex: 0, role: "region", "aria-label": t("consent.text") },
      ...paragraphs(text.text[language()] ?? text.text.en ?? ""),
    ),
    agree,
    h("p", { class: "hint center" }, of.note),
  ];
}

/** Lines that begin with a dash are a list. @param {string} text */
function paragraphs(text) {
  const lines = text.split(/\n+/).filter(Boolean);
  const dashed = lines.filter((line) => line.startsWith("- "));
  return [
    ...lines.filter((line) => !line.startsWith("- ")).map((line) => h("p", null, line)),
    dashed.length ? h("ul", { class: "plain" }, ...dashed.map((line) => h("li", null, line.slice(2)))) : h("span"),
  ];
}
