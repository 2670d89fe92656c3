// A person's identity card: what the photos tell, to be corrected and left out part by part. Every change is sent as
// it is made.

import { call } from "./api.js";
import { button, fill, freshId, h } from "./dom.js";
import { has, t } from "./i18n.js";
import { failure, openDialog, toggle } from "./ui.js";

/** @param {Api.Person} person */
export function openCard(person) {
  openDialog({
    title: t("card.title", { name: person.name }),
    content: () => {
      const parts = h("ul", { class: "card-parts" });
      const said = h("div", { "aria-live": "polite" });
      const path = `/v1/people/${person.id}/card`;
      /** @param {Api.Card} card */
      const show = (card) => {
        const focus = document.activeElement?.id;
        fill(parts, ...card.parts.map((part) => row(part, change)));
        // the row was made anew: whoever works by keyboard stays where they were
        if (focus) document.getElementById(focus)?.focus();
      };
      /** @param {Api.CardPatch} patch */
      const change = async (patch) => {
        parts.setAttribute("aria-busy", "true");
        try {
          show(await call(path, { method: "PATCH", json: patch }));
          fill(said, h("p", { class: "visually-hidden" }, t("card.saved")));
        } catch (error) {
          fill(said, failure(error, null));
          // what was not taken is not shown as if it were
          await load();
        } finally {
          parts.removeAttribute("aria-busy");
        }
      };
      const load = () => call(path).then(show, (error) => fill(parts, h("li", null, failure(error, load))));
      load();
      return h("div", { class: "stack" }, h("p", { class: "hint" }, t("card.hint")), said, parts);
    },
  });
}

/** @param {Api.CardPart} part @param {(patch: Api.CardPatch) => void} change */
function row(part, change) {
  const used = part.source !== "left_out";
  const unknown = part.source === "unknown";
  const name = nameOf("part", part.part);
  const use = toggle(name, used && !unknown, (on) => change(on ? { reset: [part.part] } : { without: [part.part] }), sourceOf(part));
  const input = /** @type {HTMLInputElement} */ (use.querySelector("input"));
  input.id = `card-${part.part}`;
  use.querySelector("label")?.setAttribute("for", input.id);
  // of what is not known there is nothing to leave out
  input.disabled = unknown;
  return h(
    "li",
    { class: "card-part" },
    use,
    used && part.input !== "nothing" ? control(part, name, change) : null,
    part.source === "corrected" ? button({ icon: "undo", label: t("card.back"), class: "small quiet", title: t("card.back_of", { part: name }), on: () => change({ reset: [part.part] }) }) : null,
  );
}

/** What takes a part's value. @param {Api.CardPart} part @param {string} name @param {(patch: Api.CardPatch) => void} change */
function control(part, name, change) {
  const props = {
    id: `card-${part.part}-value`,
    "aria-label": t("card.value", { part: name }),
    on: {
      change: (/** @type {Event} */ event) => {
        const input = /** @type {HTMLInputElement | HTMLSelectElement} */ (event.target);
        // the browser says what is wrong, in its own language
        if (input.reportValidity()) set(input.value);
      },
    },
  };
  const set = (/** @type {string} */ value) => {
    if (value) change({ set: { [part.part]: value } });
  };
  if (part.input === "choice") {
    const none = part.value === null ? h("option", { value: "", selected: true }, t("card.not_said")) : null;
    return h("select", props, none, ...part.choices.map((word) => h("option", { value: word, selected: word === part.value }, nameOf("word", word))));
  }
  if (part.input === "years") return h("input", { type: "number", min: "18", max: "100", step: "1", value: part.value ?? "", ...props });
  const colour = h("input", { type: "color", value: part.value ?? "#808080", ...props });
  if (!part.choices.length) return colour;
  // names of colours beside any colour
  const known = freshId("colours");
  const names = h(
    "select",
    { id: known, "aria-label": t("card.named", { part: name }), on: { change: (/** @type {Event} */ event) => set(/** @type {HTMLSelectElement} */ (event.target).value) } },
    h("option", { value: "", selected: true }, t("card.by_name")),
    ...part.choices.map((word) => h("option", { value: word }, nameOf("word", word))),
  );
  return h("div", { class: "card-colours" }, colour, names);
}

/** @param {"part" | "word"} kind @param {string} word */
function nameOf(kind, word) {
  return has(`card.${kind}.${word}`) ? t(`card.${kind}.${word}`) : word;
}

/** @param {Api.CardPart} part */
function sourceOf(part) {
  if (part.source !== "measured") return t(`card.${part.source}`);
  if (part.value === null || part.input === "nothing") return t("card.numbers", { count: part.numbers });
  const sure = part.confidence ?? 0;
  return t(`card.measured.${sure >= 0.7 ? "sure" : sure >= 0.4 ? "fairly" : "unsure"}`);
}
