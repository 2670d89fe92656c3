// How strongly the face counts: as a whole, by groups of the identity card where the model has them, by parts of the run.

import { fill, h } from "./dom.js";
import { amendAdvanced, draft } from "./draft.js";
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
  const value = h("output", null);
  const element = field(label, input, hint);
  element.querySelector("label")?.append(" ", value);
  return {
    element,
    draw(now) {
      input.value = read(now) || "1";
      // an order from elsewhere may have asked for more than the slider has
      value.textContent = decimals(Number(read(now) || "1"));
    },
  };
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
  const details = h(
    "details",
    { class: "strengths" },
    h("summary", null, t("strength.title")),
    h(
      "div",
      { class: "stack" },
      groupSet,
      h("fieldset", { class: "stack" }, h("legend", null, t("strength.stages")), h("p", { class: "hint" }, t("strength.stages.hint")), ...stages.map((one) => one.element)),
    ),
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
        fill(groupSet, h("legend", null, t("strength.groups")), h("p", { class: "hint" }, t("strength.groups.hint")), ...groups.map((one) => one.element));
      }
      for (const one of [whole, ...groups, ...stages]) one.draw(now, model);
    },
  };
}

/** The strengths of an order that are not 1, in words. @param {Api.JobPerson} person */
export function strengthWords(person) {
  const words = (/** @type {[string, number][]} */ all) => all.filter(([, scale]) => scale !== 1).map(([name, scale]) => `${name} ${decimals(scale)}`);
  const thirds = person.stages?.length === stageNames.length ? stageNames.map((name) => t(`strength.stage.${name}`)) : null;
  return [
    ...words(Object.entries(person.card_scale ?? {}).map(([group, scale]) => [groupName(group), scale])),
    ...words((person.stages ?? []).map(({ steps, scale }, at) => [thirds?.[at] ?? steps.map((part) => decimals(part)).join("–"), scale])),
  ].join(", ");
}
