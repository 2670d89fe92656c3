// What a new person sees: one sentence, pictures made by the shipped model, and a place for a selfie.

import { button, h, icon } from "./dom.js";
import { amend } from "./draft.js";
import { openEnrol } from "./enrol.js";
import { t } from "./i18n.js";
import { dropPlace } from "./photo-tray.js";
import { picturesIn } from "./photos.js";

const shown = ["astronaut", "pirate", "wizard", "queen", "firefighter", "cowboy", "chef", "scientist"];

/** @returns {import("./ui.js").Screen} */
export function createWelcome() {
  const begin = (/** @type {{ files?: Blob[], camera?: boolean }} */ start) =>
    openEnrol({ ...start, onDone: (person) => amend({ people: [person.id] }) });

  const drop = dropPlace({
    name: t("tray.photos"),
    choose: t("tray.choose"),
    multiple: true,
    take: (files) => begin({ files }),
    content: (choose) => [
      h("p", { class: "drop-title" }, t("welcome.drop")),
      h(
        "div",
        { class: "row center wrap" },
        button({ icon: "camera", label: t("welcome.camera"), class: "primary", on: () => begin({ camera: true }) }),
        button({ icon: "upload", label: t("welcome.choose"), on: choose }),
      ),
      h("p", { class: "hint" }, h("span", { class: "by-mouse" }, t("welcome.paste"), " "), t("welcome.before")),
    ],
  });
  const onPaste = (/** @type {ClipboardEvent} */ event) => {
    if (document.querySelector("dialog[open]")) return;
    const files = picturesIn(event.clipboardData);
    if (files.length) begin({ files });
  };
  document.addEventListener("paste", onPaste);

  const element = h(
    "div",
    { class: "welcome" },
    h(
      "div",
      { class: "welcome-words" },
      h("h1", null, t("welcome.title")),
      h("p", { class: "lead" }, t("welcome.lead")),
      drop,
      h(
        "ul",
        { class: "promises" },
        h("li", null, icon("shield"), h("span", null, h("b", null, t("promise.here")), " ", t("promise.here.text"))),
        h("li", null, icon("trash"), h("span", null, h("b", null, t("promise.gone")), " ", t("promise.gone.text"))),
        h("li", null, icon("spark"), h("span", null, h("b", null, t("promise.marked")), " ", t("promise.marked.text"))),
      ),
    ),
    h(
      "figure",
      { class: "showcase" },
      h(
        "ul",
        null,
        ...shown.map((name) =>
          h(
            "li",
            null,
            h("img", { class: "shown", src: picture(name), alt: t(`show.${name}`), width: 64, height: 64 }),
            h("img", { class: "from", src: picture(`${name}-from`), alt: "", width: 64, height: 64 }),
          ),
        ),
      ),
      h("figcaption", null, t("show.caption")),
    ),
  );
  return { element, close: () => document.removeEventListener("paste", onPaste) };
}

/** @param {string} name */
function picture(name) {
  return new URL(`../img/${name}.webp`, import.meta.url).href;
}
