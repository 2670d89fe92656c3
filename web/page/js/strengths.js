// How strongly the face counts: as a whole, by groups of the identity card where the model has them, by parts of the run.

import { fill, freshId, h } from "./dom.js";
import { amendAdvanced, draft, isThirds } from "./draft.js";
import { decimals, has, t } from "./i18n.js";
import { field } from "./ui.js";

/** @typedef {import("./draft.js").Advanced} Advanced */
/** @typedef {{ element: HTMLElement, draw: (now: Advanced, model: Api.Model | undefined) => void }} Setting */

const stageNames = /** @type {const} */ (["begin", "middle", "end"]);

/**
 * @param {string} label
 * @param {string} hint
 * @param {(now: Advanced) => string | undefined} read
 * @param {(value: string) => Partial<Advanced>} write
 * @returns {Setting}
 */
function slider(label, hint, read, write) {
  const input = h("input", { type: "range", min: "0", max: "2", step: "0.05", on: { input: () => amendAdvanced(write(input.value)) } });
  // the slider says it by itself
  const value = h("output", { "aria-hidden": "true" });
  const element = field(label, input, hint);
  element.querySelector("label")?.append(" ", value);
  return {
    element,
    draw(now) {
      input.value = read(now) || "1";
      // an order from elsewhere may have asked for more than the slider has
      value.textContent = decimals(Number(read(now) || "1"));
      input.setAttribute("aria-valuetext", value.textContent);
    },
  };
}

/** What belongs together, below its name and a hint. @param {HTMLElement} set @param {string} name @param {string} hint @param {Setting[]} sliders */
function fillSet(set, name, hint, sliders) {
  const id = freshId("hint");
  set.setAttribute("aria-describedby", id);
  fill(set, h("legend", null, name), h("p", { class: "hint", id }, hint), ...sliders.map((one) => one.element));
}

/** What the page calls a group of the card; its own name where the page has none. @param {string} group */
export function groupName(group) {
  return has(`strength.group.${group}`) ? t(`strength.group.${group}`) : group;
}

/** @returns {Setting} */
export function strengthSettings() {
  const whole = slider(t("advanced.strength"), t("advanced.strength.hint"), (now) => now.strength, (strength) => ({ strength }));
  const stages = stageNames.map((name, at) =>
    slider(t(`strength.stage.${name}`), "", (now) => now.stages[at], (value) => ({ stages: draft.get().advanced.stages.map((old, index) => (index === at ? value : old)) })),
  );
  /** @type {Setting[]} */
  let groups = [];
  let drawn = "";
  const groupSet = h("fieldset", { class: "stack" });
  const stageSet = h("fieldset", { class: "stack" });
  fillSet(stageSet, t("strength.stages"), t("strength.stages.hint"), stages);
  const details = h(
    "details",
    { class: "strengths" },
    h("summary", null, t("strength.title")),
    h("div", { class: "stack" }, groupSet, stageSet),
  );
  return {
    element: h("div", { class: "whole stack" }, whole.element, details),
    draw(now, model) {
      const names = model?.identity?.groups ?? [];
      // a model that knows nobody has nothing to be told here
      details.hidden = !model?.identity;
      groupSet.hidden = !names.length;
      if (drawn !== names.join()) {
        drawn = names.join();
        groups = names.map((name) =>
          slider(groupName(name), "", (of) => of.groups[name], (value) => ({ groups: { ...draft.get().advanced.groups, [name]: value } })),
        );
        fillSet(groupSet, t("strength.groups"), t("strength.groups.hint"), groups);
      }
      for (const one of [whole, ...groups, ...stages]) one.draw(now, model);
    },
  };
}

/** The strengths of an order that are not 1, in words. @param {Api.JobPerson} person */
export function strengthWords(person) {
  const words = (/** @type {[string, number][]} */ all) => all.filter(([, scale]) => scale !== 1).map(([name, scale]) => `${name} ${decimals(scale)}`);
  const thirds = isThirds(person.stages) ? stageNames.map((name) => t(`strength.stage.${name}`)) : null;
  return [
    ...words(Object.entries(person.card_scale ?? {}).map(([group, scale]) => [groupName(group), scale])),
    ...words((person.stages ?? []).map(({ steps, scale }, at) => [thirds?.[at] ?? steps.map((part) => decimals(part)).join("–"), scale])),
  ].join(", ");
}
