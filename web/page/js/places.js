// Where two people stand: a frame for each, or an area that is painted.

import { button, fill, freshId, h, letNoFling } from "./dom.js";
import { amend, chosenPeople, draft, sideBySide } from "./draft.js";
import { t } from "./i18n.js";
import { createPainter } from "./painter.js";
import { avatar, openDialog } from "./ui.js";

/** @typedef {[number, number, number, number]} Box left, top, right, bottom, as parts of the picture */

const smallest = 0.15;
const stride = 0.05;

/** Opens the dialog. @param {{ width: number, height: number }} size of what will be drawn, in pixels */
export function openPlaces(size) {
  const people = chosenPeople(draft.get());
  /** @type {() => void} */
  let leave = () => undefined;
  openDialog({
    title: t("places.title"),
    class: "places",
    onClose: () => leave(),
    content: (close) => {
      const body = h("div", { class: "stack" });
      const show = (/** @type {boolean} */ painted) => {
        leave();
        const way = (painted ? paintedAreas : frames)(people, size);
        leave = () => way.close();
        fill(
          body,
          waysToSay(painted, show),
          way.element,
          h("div", { class: "row wrap between" }, h("div", { class: "row wrap" }, ...way.acts), button({ label: t("places.done"), class: "primary small", on: close })),
        );
      };
      show(Boolean(draft.get().places?.some((place) => place.mask)));
      return body;
    },
  });
}

/** @param {boolean} painted @param {(painted: boolean) => void} choose */
function waysToSay(painted, choose) {
  const name = freshId("ways");
  const one = (/** @type {boolean} */ value, /** @type {string} */ label) => {
    const input = h("input", { type: "radio", name, id: freshId("way"), class: "visually-hidden", checked: value === painted, on: { change: () => again(value) } });
    return h("span", null, input, h("label", { for: input.id }, label));
  };
  const again = (/** @type {boolean} */ value) => {
    choose(value);
    /** @type {HTMLElement | null} */ (document.querySelector(".places .segments input:checked"))?.focus();
  };
  return h("fieldset", { class: "segments" }, h("legend", { class: "visually-hidden" }, t("places.title")), one(false, t("places.frames")), one(true, t("places.painted")));
}

/** @typedef {{ element: HTMLElement, acts: HTMLElement[], close: () => void }} Way */

/** @param {Api.Person[]} people @param {{ width: number, height: number }} size @returns {Way} */
function frames(people, size) {
  const known = draft.get().places;
  /** @type {Box[]} */
  let boxes = people.map((_, at) => known?.[at]?.box ?? /** @type {Box} */ (sideBySide[at].box));
  const help = freshId("help");
  const stage = h("div", { class: "places-stage" });
  stage.style.setProperty("--wide", String(size.width / size.height));
  const all = people.map((person, at) => frame(person, help, () => boxes[at], (box) => put(boxes.with(at, box)), stage));
  fill(stage, ...all.map((one) => one.element));
  const put = (/** @type {Box[]} */ next) => {
    boxes = next;
    amend({ places: boxes.map((box) => ({ box })) });
    for (const one of all) one.draw();
  };
  for (const one of all) one.draw();
  return {
    element: h("div", { class: "stack" }, h("p", { class: "hint", id: help }, t("places.frames.help"), h("span", { class: "by-mouse" }, " ", t("places.frames.keys"))), stage),
    acts: [
      button({ icon: "vary", label: t("places.swap"), class: "small", on: () => put(boxes.toReversed()) }),
      button({ icon: "undo", label: t("places.beside"), class: "small", on: () => put(sideBySide.map(({ box }) => /** @type {Box} */ (box))) }),
    ],
    close: () => undefined,
  };
}

/**
 * A person's frame: moved by pointer and arrows, made larger and smaller at its corner, or by arrows with Shift.
 * @param {Api.Person} person
 * @param {string} help
 * @param {() => Box} read
 * @param {(box: Box) => void} write
 * @param {HTMLElement} stage
 */
function frame(person, help, read, write, stage) {
  const where = h("span", { class: "visually-hidden" });
  const corner = h("span", { class: "place-corner", "aria-hidden": "true" });
  const element = h("button", { type: "button", class: "place-frame", "aria-describedby": help }, avatar(person), h("span", { class: "person-name" }, person.name), " ", where, corner);
  /** @type {{ x: number, y: number, box: Box, resize: boolean } | null} */
  let held = null;
  element.addEventListener("pointerdown", (event) => {
    element.setPointerCapture(event.pointerId);
    held = { x: event.clientX, y: event.clientY, box: read(), resize: event.target === corner };
  });
  element.addEventListener("pointermove", (event) => {
    if (!held) return;
    const room = stage.getBoundingClientRect();
    write(moved(held.box, (event.clientX - held.x) / room.width, (event.clientY - held.y) / room.height, held.resize));
  });
  for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, () => (held = null));
  letNoFling(element);
  element.addEventListener("keydown", (event) => {
    /** @type {Record<string, [number, number]>} */
    const ways = { ArrowLeft: [-stride, 0], ArrowRight: [stride, 0], ArrowUp: [0, -stride], ArrowDown: [0, stride] };
    const way = ways[event.key];
    if (!way) return;
    event.preventDefault();
    write(moved(read(), ...way, event.shiftKey));
  });
  return {
    element,
    draw() {
      const [left, top, right, bottom] = read();
      Object.assign(element.style, { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%` });
      const percent = [left, top, right, bottom].map((part) => Math.round(100 * part));
      where.textContent = t("places.frame", { left: percent[0], top: percent[1], right: percent[2], bottom: percent[3] });
    },
  };
}

/** Within the picture. @param {Box} box @param {number} across @param {number} down @param {boolean} resize @returns {Box} */
function moved([left, top, right, bottom], across, down, resize) {
  const within = (/** @type {number} */ value, /** @type {number} */ least, /** @type {number} */ most) => Math.round(100 * Math.min(Math.max(value, least), most)) / 100;
  if (resize) return [left, top, within(right + across, left + smallest, 1), within(bottom + down, top + smallest, 1)];
  const x = within(left + across, 0, 1 - (right - left));
  const y = within(top + down, 0, 1 - (bottom - top));
  return [x, y, within(x + right - left, 0, 1), within(y + bottom - top, 0, 1)];
}

/** @param {Api.Person[]} people @param {{ width: number, height: number }} size @returns {Way} */
function paintedAreas(people, size) {
  const known = draft.get().places;
  const areas = [
    { label: t("places.left"), box: /** @type {Box} */ ([0, 0, 0.5, 1]) },
    { label: t("places.right"), box: /** @type {Box} */ ([0.5, 0, 1, 1]) },
  ];
  const painters = people.map((person, at) => createPainter({ item: size, areas, ink: at, label: t("places.area", { name: person.name }), onChange: () => keep() }));
  painters.forEach((painter, at) => known?.[at]?.mask && painter.load(`data:image/png;base64,${known[at].mask}`));
  const said = h("p", { class: "hint", role: "status" });
  const keep = () => {
    const missing = people.filter((_, at) => painters[at].empty()).map((person) => person.name);
    said.textContent = missing.length ? t("places.missing", { names: missing.join(", ") }) : "";
    // an area for one alone is none: then they stand side by side
    amend({ places: missing.length ? null : painters.map((painter) => ({ mask: painter.mask(size.width, size.height) })) });
  };
  const place = h("div", { class: "stack" });
  const show = (/** @type {number} */ at) => {
    painters[at].behind(painters[1 - at].url());
    fill(place, painters[at].element, painters[at].tools);
  };
  const name = freshId("whose");
  const whose = h(
    "fieldset",
    { class: "segments" },
    h("legend", { class: "visually-hidden" }, t("places.whose")),
    ...people.map((person, at) => {
      const input = h("input", { type: "radio", name, id: freshId("whose"), class: "visually-hidden", checked: at === 0, on: { change: () => show(at) } });
      return h("span", null, input, h("label", { for: input.id }, person.name));
    }),
  );
  show(0);
  if (!known?.some((one) => one.mask)) said.textContent = t("places.missing", { names: people.map((person) => person.name).join(", ") });
  return {
    element: h("div", { class: "stack" }, h("p", { class: "hint", id: "mask-help" }, t("places.painted.help"), h("span", { class: "by-mouse" }, " ", t("mask.keys"))), whose, place, said),
    acts: [],
    close: () => undefined,
  };
}
