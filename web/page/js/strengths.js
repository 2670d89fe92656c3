// How strongly each face counts: as a whole, by groups of the identity card where the model has them, by parts of the run.

import { fill, freshId, h } from "./dom.js";
import { amendAdvanced, chosenPeople, draft, isThirds, mostPeople, strengthsAt } from "./draft.js";
import { decimals, has, t } from "./i18n.js";
import { avatar, field } from "./ui.js";

/** @typedef {import("./draft.js").Advanced} Advanced */
/** @typedef {import("./draft.js").Strengths} Strengths */
/** @typedef {{ element: HTMLElement, draw: (of: Strengths) => void }} Slider */

const stageNames = /** @type {const} */ (["begin", "middle", "end"]);

/**
 * @param {string} label
 * @param {string} hint
 * @param {(of: Strengths) => string | undefined} read
 * @param {(value: string) => void} write
 * @returns {Slider}
 */
function slider(label, hint, read, write) {
  const input = h("input", { type: "range", min: "0", max: "2", step: "0.05", on: { input: () => write(input.value) } });
  // the slider says it by itself
  const value = h("output", { "aria-hidden": "true" });
  const element = field(label, input, hint);
  element.querySelector("label")?.append(" ", value);
  return {
    element,
    draw(of) {
      input.value = read(of) || "1";
      // an order from elsewhere may have asked for more than the slider has
      value.textContent = decimals(Number(read(of) || "1"));
      input.setAttribute("aria-valuetext", value.textContent);
    },
  };
}

/** What belongs together, below its name and a hint. @param {HTMLElement} set @param {string} name @param {string} hint @param {Slider[]} sliders */
function fillSet(set, name, hint, sliders) {
  const id = freshId("hint");
  set.setAttribute("aria-describedby", id);
  fill(set, h("legend", null, name), h("p", { class: "hint", id }, hint), ...sliders.map((one) => one.element));
}

/** What the page calls a group of the card; its own name where the page has none. @param {string} group */
export function groupName(group) {
  return has(`strength.group.${group}`) ? t(`strength.group.${group}`) : group;
}

/** For whoever is chosen, one by one. @returns {{ element: HTMLElement, draw: (now: Advanced, model: Api.Model | undefined) => void }} */
export function strengthSettings() {
  const all = Array.from({ length: mostPeople }, (_, at) => strengthsOfOne(at));
  const element = h("div", { class: "whole stack" });
  return {
    element,
    draw(now, model) {
      const shown = all.slice(0, Math.max(1, chosenPeople(draft.get()).length));
      if (element.children.length !== shown.length) fill(element, ...shown.map((one) => one.element));
      for (const one of shown) one.draw(now, model);
    },
  };
}

/** @param {number} at whose, by their place among the people */
function strengthsOfOne(at) {
  const now = () => strengthsAt(draft.get().advanced, at);
  const write = (/** @type {Partial<Strengths>} */ change) => {
    const { advanced } = draft.get();
    const others = Array.from({ length: Math.max(at + 1, advanced.strengths.length) }, (_, index) => strengthsAt(advanced, index));
    amendAdvanced({ strengths: others.with(at, { ...now(), ...change }) });
  };
  const whole = slider(t("advanced.strength"), at ? "" : t("advanced.strength.hint"), (of) => of.strength, (strength) => write({ strength }));
  const stages = stageNames.map((name, stage) => slider(t(`strength.stage.${name}`), "", (of) => of.stages[stage], (value) => write({ stages: now().stages.with(stage, value) })));
  /** @type {Slider[]} */
  let groups = [];
  let drawn = "";
  const groupSet = h("fieldset", { class: "stack" });
  const stageSet = h("fieldset", { class: "stack" });
  fillSet(stageSet, t("strength.stages"), t("strength.stages.hint"), stages);
  const details = h("details", { class: "strengths" }, h("summary", null, t("strength.title")), h("div", { class: "stack" }, groupSet, stageSet));
  const who = h("p", { class: "strengths-of" });
  const element = h("div", { class: "stack", role: "group" }, who, whole.element, details);
  let named = "";
  return {
    element,
    /** @param {Advanced} advanced @param {Api.Model | undefined} model */
    draw(advanced, model) {
      const chosen = chosenPeople(draft.get());
      const person = chosen.length > 1 ? chosen[at] : null;
      // a model that knows nobody has nothing to be told here
      element.hidden = !model?.identity;
      if (named !== (person?.id ?? "")) {
        named = person?.id ?? "";
        fill(who, person && avatar(person), person?.name);
      }
      who.hidden = !person;
      element.setAttribute("aria-label", person?.name ?? t("advanced.strength"));
      const names = model?.identity?.groups ?? [];
      groupSet.hidden = !names.length;
      if (drawn !== names.join()) {
        drawn = names.join();
        groups = names.map((name) => slider(groupName(name), "", (of) => of.groups[name], (value) => write({ groups: { ...now().groups, [name]: value } })));
        fillSet(groupSet, t("strength.groups"), t("strength.groups.hint"), groups);
      }
      for (const one of [whole, ...groups, ...stages]) one.draw(strengthsAt(advanced, at));
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
