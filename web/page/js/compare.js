// A picture over selfies with an edge to drag: by pointer, touch or arrow keys.

import { button, h } from "./dom.js";
import { t } from "./i18n.js";
import { withPlaces } from "./jobs.js";
import { personOf } from "./people.js";
import { selfieAddress } from "./selfies.js";
import { avatar } from "./ui.js";

/** Where somebody is in a picture: left, top, right, bottom, from 0 to 1. @typedef {[number, number, number, number]} Box */
/** @typedef {{ person: Api.Person, address: string | null, box: Box }} Compared */

class CompareSlider extends HTMLElement {
  connectedCallback() {
    const range = this.querySelector("input");
    const place = () => this.style.setProperty("--at", `${range?.value ?? 50}%`);
    range?.addEventListener("input", place);
    place();
  }
}
customElements.define("compare-slider", CompareSlider);

/** Who is in a picture, with the selfies that this browser has. @param {Api.Image} info @param {Api.Job | null} job @returns {Promise<Compared[]>} */
export function comparedIn(info, job) {
  const placed = job ? (withPlaces(job.input).people ?? []) : [];
  const several = info.people.length > 1;
  const known = info.people.flatMap((id) => personOf(id) ?? []);
  return Promise.all(
    known.map(async (person) => {
      const box = several ? placed.find((one) => one.person === person.id)?.box : undefined;
      return { person, address: await selfieAddress(person.id), box: box ?? [0, 0, 1, 1] };
    }),
  );
}

/** A selfie laid over where its person is. @param {Compared & { address: string }} one @param {HTMLImageElement} picture @param {boolean} several */
export function compareSlider({ person, address, box }, picture, several) {
  const slider = document.createElement("compare-slider");
  const name = several ? person.name : t("viewer.selfie");
  const selfie = h("img", { src: address, alt: several ? t("viewer.selfie_of", { name }) : name });
  const [left, top, right, bottom] = box.map((side) => 100 * side);
  Object.assign(selfie.style, { left: `${left}%`, top: `${top}%`, width: `${right - left}%`, height: `${bottom - top}%` });
  slider.style.setProperty("--from", `${left}%`);
  picture.classList.add("compare-right");
  slider.append(
    picture,
    h("div", { class: "compare-left" }, selfie),
    h("span", { class: "compare-edge", "aria-hidden": "true" }),
    h("span", { class: "compare-name left", "aria-hidden": "true" }, name),
    // beside somebody else there is no room for it
    ...(right - left > 60 ? [h("span", { class: "compare-name right", "aria-hidden": "true" }, t("viewer.picture"))] : []),
    h("input", {
      type: "range",
      min: "0",
      max: "100",
      value: String(Math.round((left + right) / 2)),
      "aria-label": several ? t("viewer.compare.label_of", { name }) : t("viewer.compare.label"),
    }),
  );
  return slider;
}

/** Whose selfie is compared, of several. @param {Compared[]} all @param {string} chosen @param {(person: string) => void} choose */
export function compareChoice(all, chosen, choose) {
  const here = all.filter((one) => one.address);
  const away = all.filter((one) => !one.address).map((one) => one.person.name);
  return h(
    "div",
    { class: "stack compare-choice", role: "group", "aria-label": t("viewer.compare.with") },
    h("p", { class: "hint", "aria-hidden": "true" }, t("viewer.compare.with")),
    h(
      "div",
      { class: "row wrap" },
      ...here.map(({ person }) => {
        const made = button({ label: person.name, class: `person-chip ${person.id === chosen ? "on" : ""}`, on: () => choose(person.id) });
        made.prepend(avatar(person));
        made.dataset.act = `with-${person.id}`;
        made.setAttribute("aria-pressed", String(person.id === chosen));
        return made;
      }),
    ),
    away.length ? h("p", { class: "hint" }, t("viewer.compare.away", { names: away.join(", ") })) : null,
  );
}
