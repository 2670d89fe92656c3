// The prompt box that finishes "Imagine me…", and all that belongs to an order.

import { Problem, limits, modelNamed, modelOf, models, styles } from "./api.js";
import { advancedPanel } from "./advanced.js";
import { button, fill, freshId, h, icon } from "./dom.js";
import { amend, choosePeople, chosenPeople, draft, drawnPeople, mostPeople, orderOf, ownSize, sideBySide, sizeOf, sourceOf, speaksOfMe } from "./draft.js";
import { createExpansion } from "./expansion.js";
import { has, list, t } from "./i18n.js";
import { showOrdered, submit } from "./jobs.js";
import { openEnrol } from "./enrol.js";
import { people } from "./people.js";
import { avatar, failure, notice, toggle } from "./ui.js";
import { explainShort } from "./words.js";

const ideasShown = 4;

/** @returns {import("./ui.js").Screen & { focus: () => void }} */
export function createComposer() {
  const stops = /** @type {(() => void)[]} */ ([]);
  const said = h("div", { "aria-live": "polite" });

  const lead = h("span", { class: "imagine-lead", "aria-hidden": "true" });
  const idea = h("textarea", {
    rows: 1,
    maxLength: 2000,
    spellcheck: true,
    "aria-label": t("compose.label"),
    placeholder: t("compose.placeholder"),
    value: draft.get().idea,
    on: { input: () => amend({ idea: idea.value }) },
  });
  const go = button({ icon: "spark", label: t("compose.go"), key: "Control+Enter", class: "primary go", on: () => order() });

  const expansion = createExpansion();
  stops.push(expansion.close);

  /** @type {Api.Model[]} */
  let known = [];
  models()
    .then((said) => {
      known = said;
      amend({});
    })
    .catch(() => undefined);

  /** What a failure spoke of: other words may well be drawn. */
  let saidOf = "";
  const nobody = h("p", { class: "hint warn", role: "status" });
  let sending = false;
  const order = async () => {
    fill(said);
    if (sending) return;
    if (!draft.get().idea.trim()) {
      idea.focus();
      fill(said, h("p", { class: "hint warn" }, t("compose.empty")));
      saidOf = sourceOf(draft.get());
      return;
    }
    // a number that cannot be is shown where it stands, in the browser's own words
    if (!element.checkValidity()) {
      advanced.open = true;
      element.reportValidity();
      return;
    }
    sending = true;
    go.classList.add("busy");
    try {
      await expansion.settled();
      const model = await modelNamed(draft.get().advanced.model);
      const look = (await styles()).find((one) => one.id === draft.get().style);
      await submit(orderOf(draft.get(), model, look));
      showOrdered();
    } catch (error) {
      // the same was said above when the scene was asked for
      if (error instanceof Problem && error.code === "refused") fill(expansion.trouble);
      fill(said, failure(error, null));
      saidOf = sourceOf(draft.get());
    } finally {
      sending = false;
      go.classList.remove("busy");
    }
  };

  const advanced = advancedPanel(stops);
  const editPhoto = () => import("./photo-edit.js").then(({ openPhotoEdit }) => openPhotoEdit(), (error) => fill(said, failure(error, editPhoto)));
  const element = h(
    "form",
    {
      class: "composer",
      "aria-label": t("compose.form"),
      on: {
        submit: (/** @type {Event} */ event) => {
          event.preventDefault();
          order();
        },
      },
    },
    h(
      "div",
      { class: "composer-body" },
      h("div", { class: "who-box" }, whoPicker(stops), placesButton(stops), nobody),
      h("div", { class: "prompt" }, lead, idea),
      expansion.trouble,
      ideasRow((text) => {
        idea.value = text;
        amend({ idea: text });
        idea.focus();
      }),
      stylePicker(stops),
      h("div", { class: "row between scene-row" }, expandSwitch(), expansion.again),
      groundSwitch(stops),
      expansion.element,
      h("div", { class: "more-row" }, button({ icon: "brush", label: t("photo.edit"), class: "quiet small", id: "edit-photo", on: editPhoto }), advanced),
    ),
    h("div", { class: "go-row" }, said, go),
  );

  const onKey = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    order();
  };
  document.addEventListener("keydown", onKey);

  stops.push(
    () => document.removeEventListener("keydown", onKey),
    draft.watch((now) => {
      if (idea.value !== now.idea) idea.value = now.idea;
      const chosen = chosenPeople(now);
      lead.textContent = chosen.length ? t("compose.lead_me") : t("compose.lead");
      if (chosen.length > 1) lead.textContent = t("compose.lead_two", { name: chosen[1].name });
      if (saidOf && sourceOf(now) !== saidOf) {
        saidOf = "";
        fill(said);
      }
      const warning = whoIsMissing(now, modelOf(known, now.advanced.model));
      if (nobody.textContent !== warning) nobody.textContent = warning;
    }),
  );
  return { element, close: () => stops.forEach((stop) => stop()), focus: () => idea.focus() };
}

/** Who will not be in the pictures. @param {import("./draft.js").Draft} now @param {Api.Model | undefined} model */
function whoIsMissing(now, model) {
  const chosen = chosenPeople(now);
  const drawn = drawnPeople(now, model);
  if (chosen.length && !drawn.length) return t("who.model_nobody");
  if (chosen.length > drawn.length) return t("who.model_one", { name: drawn[0].name });
  if (chosen.length || !speaksOfMe(now.idea)) return "";
  return t(people.get()?.length ? "who.nobody" : "who.unknown");
}

/** The off switch of the expansion; not there where the server has none. */
function expandSwitch() {
  const element = toggle(t("expand.switch"), draft.get().expand, (on) => amend({ expand: on }), t("expand.hint"));
  limits()
    .then((said) => {
      if (said.expansion) return;
      element.hidden = true;
      amend({ expand: false });
    })
    .catch(() => undefined);
  return element;
}

/** Looks ideas up on the web: there where the service has a search server, off until it is wanted. @param {(() => void)[]} stops */
function groundSwitch(stops) {
  const element = toggle(t("ground.switch"), draft.get().ground, (on) => amend({ ground: on }), t("ground.hint"));
  const box = h("div", { class: "ground", hidden: true }, element);
  limits()
    .then((said) => {
      if (!said.search) return amend({ ground: false });
      stops.push(draft.watch((now) => (box.hidden = !now.expand)));
    })
    .catch(() => undefined);
  return box;
}

/** Who is in the picture: the first chosen is "me", a second joins. @param {(() => void)[]} stops */
function whoPicker(stops) {
  const row = h("div", { class: "who", role: "group", "aria-label": t("who.label") });
  const draw = () => {
    const known = people.get() ?? [];
    const chosen = chosenPeople(draft.get()).map((person) => person.id);
    fill(
      row,
      ...known.map((person) => {
        const at = chosen.indexOf(person.id);
        return h(
          "button",
          {
            type: "button",
            class: "person-chip",
            "aria-pressed": String(at >= 0),
            on: { click: () => toggleIn(person.id, chosen) },
          },
          avatar(person),
          h("span", { class: "person-name" }, person.name),
          at === 0 && chosen.length > 1 ? h("span", { class: "tag" }, t("who.me")) : null,
        );
      }),
      button({
        icon: "plus",
        label: t("who.add"),
        hide: known.length > 0,
        class: "round",
        id: "add-person",
        on: () => openEnrol({ onDone: (person) => amend({ people: [person.id] }) }),
      }),
    );
  };
  // whoever is chosen is in sight, however many there are
  requestAnimationFrame(() => {
    const chosen = /** @type {HTMLElement | null} */ (row.querySelector("[aria-pressed=true]"));
    if (chosen) row.scrollTop = chosen.offsetTop - row.offsetTop - 4;
  });
  let drawn = "";
  const redraw = () => {
    const state = JSON.stringify([people.get()?.map((person) => [person.id, person.name]), draft.get().people]);
    if (state === drawn) return;
    drawn = state;
    const focused = row.contains(document.activeElement) ? [...row.children].indexOf(/** @type {Element} */ (document.activeElement)) : -1;
    draw();
    if (focused >= 0) /** @type {HTMLElement | undefined} */ (row.children[focused])?.focus();
  };
  stops.push(people.watch(redraw), draft.watch(redraw));
  return row;
}

/** Where two people stand, in small; there where the model can tell them apart. @param {(() => void)[]} stops */
function placesButton(stops) {
  const mini = h("span", { class: "places-mini", "aria-hidden": "true" }, h("span"), h("span"));
  const open = async () => {
    const model = await modelNamed(draft.get().advanced.model);
    const size = ownSize(draft.get().advanced, model);
    const [width, height] = size ? size.split("x").map(Number) : sizeOf(model, mostPeople);
    const { openPlaces } = await import("./places.js");
    openPlaces({ width, height });
  };
  const element = button({ label: t("places.title"), class: "quiet small places-open", id: "places-open", on: () => open().catch((error) => notice(explainShort(error))) });
  element.prepend(mini);
  element.hidden = true;
  const draw = async () => {
    const now = draft.get();
    const shown = now.places ?? sideBySide;
    [...mini.children].forEach((one, at) => {
      const box = shown[at]?.box;
      /** @type {HTMLElement} */ (one).classList.toggle("painted", !box);
      const [left, top, right, bottom] = box ?? [at / 2, 0, at / 2 + 0.5, 1];
      Object.assign(/** @type {HTMLElement} */ (one).style, { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%` });
    });
    const model = await modelNamed(now.advanced.model).catch(() => undefined);
    element.hidden = drawnPeople(draft.get(), model).length < 2;
  };
  stops.push(draft.watch(draw), people.watch(draw));
  return element;
}

/** @param {string} id @param {string[]} chosen */
function toggleIn(id, chosen) {
  choosePeople(chosen.includes(id) ? chosen.filter((one) => one !== id) : [...chosen, id].slice(-mostPeople));
}

/** Ideas to click. @param {(text: string) => void} take */
function ideasRow(take) {
  const all = list("ideas");
  let from = Math.floor(Math.random() * all.length);
  const row = h("ul", { class: "ideas", "aria-label": t("ideas.label") });
  const draw = () => {
    const shown = Array.from({ length: Math.min(ideasShown, all.length) }, (_, at) => all[(from + at) % all.length]);
    fill(
      row,
      ...shown.map((text) => h("li", null, h("button", { type: "button", class: "idea", on: { click: () => take(text) } }, text))),
      h(
        "li",
        null,
        button({
          icon: "again",
          label: t("ideas.more"),
          hide: true,
          class: "round quiet small",
          on: () => {
            from += ideasShown;
            draw();
            row.querySelector("button")?.focus();
          },
        }),
      ),
    );
  };
  draw();
  return row;
}

/** @param {(() => void)[]} stops */
function stylePicker(stops) {
  const name = freshId("style");
  const row = h("div", { class: "styles" });
  const set = h("fieldset", { class: "style-set", hidden: true }, h("legend", null, t("style.legend")), row);
  styles()
    .then((known) => {
      if (!known.length) return;
      set.hidden = false;
      const options = [{ id: "", name: t("style.none"), text: "" }, ...known];
      const inputs = options.map((style) =>
        h("input", {
          type: "radio",
          name,
          value: style.id,
          id: freshId("style"),
          class: "visually-hidden",
          on: { change: () => amend({ style: style.id }) },
        }),
      );
      fill(
        row,
        ...options.map((style, index) =>
          h("div", { class: "style" }, inputs[index], h("label", { for: inputs[index].id }, styleThumb(style.id), h("span", null, has(`style.${style.id}`) ? t(`style.${style.id}`) : style.name))),
        ),
      );
      stops.push(draft.watch((now) => inputs.forEach((input) => (input.checked = input.value === now.style))));
    })
    .catch(() => undefined);
  return set;
}

/** What a style looks like, where the page has a picture of it. @param {string} id */
function styleThumb(id) {
  const place = h("span", { class: "style-thumb" });
  if (!id) {
    place.append(icon("spark"));
    return place;
  }
  const img = h("img", { alt: "", loading: "lazy", width: 64, height: 64 });
  img.addEventListener("error", () => img.remove());
  img.src = new URL(`../img/styles/${encodeURIComponent(id)}.webp`, import.meta.url).href;
  place.append(img);
  return place;
}
