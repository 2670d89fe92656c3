// Settings for those who want them, folded away. Empty means the model's own choice, shown as the placeholder.

import { limits, modelOf, models } from "./api.js";
import { button, fill, h, icon } from "./dom.js";
import { amend, amendAdvanced, draft, drawnPeople, modelsChoice, ownSize, sizeOf, usualSizes } from "./draft.js";
import { t } from "./i18n.js";
import { keep } from "./store.js";
import { strengthSettings } from "./strengths.js";
import { field } from "./ui.js";

/** @typedef {import("./draft.js").Advanced} Advanced */
/** @typedef {Exclude<keyof Advanced, "strengths">} TypedKey */

/** @param {(() => void)[]} stops is given what ends it */
export function advancedPanel(stops) {
  const body = h("div", { class: "advanced-grid" });
  const details = h(
    "details",
    { class: "advanced", open: sessionStorage.getItem("imagine.advanced") === "open" },
    h("summary", null, icon("settings"), t("advanced.title")),
    body,
  );
  details.addEventListener("toggle", () => keep(sessionStorage, "imagine.advanced", details.open ? "open" : ""));
  Promise.all([models(), limits()])
    .then(([known, most]) => drawPanel(body, known, most, stops))
    .catch(() => drawPanel(body, [], null, stops));
  return details;
}

/** @param {HTMLElement} body @param {Api.Model[]} known @param {Api.Limits | null} most @param {(() => void)[]} stops */
function drawPanel(body, known, most, stops) {
  /** @type {{ draw: (now: Advanced, model: Api.Model | undefined) => void }[]} */
  const inputs = [];

  /** @param {TypedKey} key @param {Record<string, unknown>} props @param {(model: Api.Model | undefined) => string} placeholder */
  const numeric = (key, props, placeholder) => {
    const input = h("input", {
      type: "number",
      inputMode: "decimal",
      ...props,
      on: { input: () => amendAdvanced({ [key]: input.value }) },
    });
    inputs.push({
      draw: (now, model) => {
        if (document.activeElement !== input) input.value = now[key];
        input.placeholder = placeholder(model);
      },
    });
    return field(t(`advanced.${key}`), input);
  };

  /** @param {TypedKey} key @param {(model: Api.Model | undefined) => [string, string][]} options @param {string} [extra] @param {typeof ownSize} [read] */
  const choice = (key, options, extra, read = (now) => now[key]) => {
    const select = h("select", { on: { change: () => amendAdvanced({ [key]: select.value }) } });
    inputs.push({
      draw: (now, model) => {
        const wanted = options(model);
        const value = read(now, model);
        if (value && !wanted.some(([known]) => known === value)) wanted.push([value, value]);
        fill(select, ...wanted.map(([known, label]) => h("option", { value: known }, label)));
        select.value = value;
      },
    });
    return field(t(`advanced.${key}`), select, undefined, extra);
  };

  const strengths = strengthSettings();
  inputs.push(strengths);

  const negative = h("textarea", { rows: 2, on: { input: () => amendAdvanced({ negative: negative.value }) } });
  inputs.push({
    draw: (now) => {
      if (document.activeElement !== negative) negative.value = now.negative;
    },
  });

  fill(
    body,
    choice("model", () => [["", t("advanced.default")], ...known.map((one) => /** @type {[string, string]} */ ([one.id, one.id]))], "whole"),
    choice("n", () => Array.from({ length: Math.min(most?.n ?? 4, 12) }, (_, at) => [String(at + 1), String(at + 1)])),
    choice("size", (model) => [["", model ? sizeOf(model, drawnPeople(draft.get(), model).length).join(" × ") : t("advanced.default")], ...sizes(model)], "", ownSize),
    choice("scheduler", (model) => [
      ["", model?.scheduler ?? t("advanced.default")],
      ...(model?.schedulers ?? []).filter((name) => name !== model?.scheduler).map((name) => /** @type {[string, string]} */ ([name, name])),
    ]),
    numeric("steps", { min: "1", max: String(most?.steps ?? 200), step: "1", inputMode: "numeric" }, (model) => String(model?.steps ?? "")),
    numeric("guidance", { min: "0", max: "100", step: "any" }, (model) => String(model?.guidance_scale ?? "")),
    numeric("seed", { min: "0", max: String(Number.MAX_SAFE_INTEGER), step: "1", inputMode: "numeric" }, () => t("advanced.seed.any")),
    strengths.element,
    field(t("advanced.negative"), negative, undefined, "whole"),
    h(
      "div",
      { class: "whole" },
      button({ icon: "undo", label: t("advanced.reset"), class: "quiet small", on: () => amend({ advanced: modelsChoice }) }),
    ),
  );

  const stop = draft.watch((now) => {
    for (const input of inputs) input.draw(now.advanced, modelOf(known, now.advanced.model));
  });
  stops.push(stop);
}

/** What the model draws well, beside its usual sizes. @param {Api.Model | undefined} model @returns {[string, string][]} */
function sizes(model) {
  const usual = usualSizes(model);
  return (model?.sizes ?? []).filter((size) => !usual.includes(size)).map((size) => [size, size.replace("x", " × ")]);
}
