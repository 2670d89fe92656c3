// Meeting a person: consent first, then photos, then a name. Nothing is uploaded before consent.

import { consentText, limits } from "./api.js";
import { button, fill, freshId, h, icon } from "./dom.js";
import { language, t } from "./i18n.js";
import { addPhotos, enrol } from "./people.js";
import { createPhotoTray } from "./photo-tray.js";
import { failure, field, notice, openDialog, toggle } from "./ui.js";

/**
 * Opens the dialog. `start` says with what it begins: photos that were dropped, or the camera.
 * @param {{ files?: Blob[], camera?: boolean, person?: Api.Person, onDone?: (person: Api.Person) => void }} start
 */
export function openEnrol(start = {}) {
  /** @type {(() => void) | null} */
  let release = null;
  openDialog({
    title: start.person ? t("enrol.more", { name: start.person.name }) : t("enrol.title"),
    class: "sheet",
    onClose: () => release?.(),
    content: (close) => {
      const body = h("div", { class: "stack enrol" });
      const done = (/** @type {Api.Person} */ person) => {
        close();
        start.onDone?.(person);
        // on to the sentence; where a keyboard would cover half the screen the person presses it
        if (matchMedia("(hover: hover)").matches) /** @type {HTMLElement | null} */ (document.querySelector(".prompt textarea"))?.focus();
      };
      release = fillSheet(body, start, done);
      return body;
    },
  });
}

/**
 * @param {HTMLElement} body
 * @param {{ files?: Blob[], camera?: boolean, person?: Api.Person }} start
 * @param {(person: Api.Person) => void} done
 */
function fillSheet(body, start, done) {
  /** @type {{ text: Api.Consent | null, basis: "self" | "authorised", by: string, keep: boolean, name: string }} */
  const form = { text: null, basis: "self", by: "", keep: false, name: "" };
  const tray = createPhotoTray({ files: start.files ?? [], onChange: () => update() });

  const agree = button({
    label: t("consent.agree"),
    class: "primary wide",
    on: () => {
      if (form.basis === "authorised" && !form.by.trim()) {
        by.reportValidity();
        by.focus();
        return;
      }
      showPhotos();
    },
  });
  const by = h("input", { type: "text", required: true, autocomplete: "off", on: { input: () => (form.by = by.value) } });
  const byField = field(t("consent.by"), by, t("consent.by.hint"));
  byField.hidden = true;

  const name = h("input", {
    type: "text",
    maxLength: 60,
    autocomplete: "off",
    on: {
      input: () => {
        form.name = name.value;
        update();
      },
    },
  });
  const said = h("div", { "aria-live": "polite" });
  const create = button({
    label: start.person ? t("enrol.add") : t("enrol.create"),
    class: "primary wide",
    disabled: true,
    on: () => send(),
  });

  const update = () => {
    const usable = tray.usable();
    create.disabled = !usable.length || tray.busy() || (!start.person && !form.name.trim());
  };

  const send = async () => {
    fill(said);
    create.disabled = true;
    create.classList.add("busy");
    try {
      const photos = tray.usable();
      const person = start.person
        ? await addPhotos(start.person.id, photos)
        : await enrol({
            name: form.name.trim(),
            photos,
            keep: form.keep,
            basis: form.basis,
            authorisedBy: form.by.trim(),
            consent: /** @type {Api.Consent} */ (form.text),
            selfie: await tray.bestFace(),
          });
      notice(start.person ? t("enrol.added") : t("enrol.created", { name: person.name }));
      done(person);
    } catch (error) {
      fill(said, failure(error, null));
      update();
    } finally {
      create.classList.remove("busy");
    }
  };

  const showPhotos = () => {
    fill(
      body,
      tray.element,
      start.person ? null : field(t("enrol.name"), name, t("enrol.name.hint")),
      start.person ? null : kept(form),
      said,
      create,
    );
    tray.begin();
    if (start.camera) tray.openCamera();
    update();
  };

  if (start.person) showPhotos();
  else {
    fill(body, h("p", { class: "quiet-text" }, t("loading")));
    consentText()
      .then((text) => {
        form.text = text;
        fill(body, consentView(form, text, byField, agree, start.files ?? []));
      })
      .catch((error) => fill(body, failure(error, () => fillSheet(body, start, done))));
  }
  return () => tray.close();
}

/**
 * @param {{ basis: "self" | "authorised" }} form
 * @param {Api.Consent} text
 * @param {HTMLElement} byField
 * @param {HTMLElement} agree
 * @param {Blob[]} files
 */
function consentView(form, text, byField, agree, files) {
  const group = freshId("basis");
  const choice = (/** @type {"self" | "authorised"} */ basis, /** @type {string} */ label, /** @type {string} */ hint) => {
    const input = h("input", {
      type: "radio",
      name: group,
      id: freshId("basis"),
      checked: form.basis === basis,
      on: {
        change: () => {
          form.basis = basis;
          byField.hidden = basis === "self";
        },
      },
    });
    return h("div", { class: "choice" }, input, h("label", { for: input.id }, label, h("span", { class: "hint" }, hint)));
  };
  return [
    h("p", { class: "lead" }, files.length ? t("consent.before.files", { count: files.length }) : t("consent.before")),
    h(
      "fieldset",
      null,
      h("legend", null, t("consent.who")),
      choice("self", t("consent.self"), t("consent.self.hint")),
      choice("authorised", t("consent.authorised"), t("consent.authorised.hint")),
    ),
    byField,
    h(
      "div",
      { class: "consent-text", tabIndex: 0, role: "region", "aria-label": t("consent.text") },
      ...paragraphs(text.text[language()] ?? text.text.en ?? ""),
    ),
    agree,
    h("p", { class: "hint center" }, t("consent.back")),
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

/** What is kept and for how long, said where it is decided. @param {{ keep: boolean }} form */
function kept(form) {
  const rows = h("ul", { class: "kept" });
  /** @type {number | null} */
  let days = null;
  const draw = () => {
    const row = (/** @type {string} */ what, /** @type {string} */ until) =>
      h("li", null, icon("shield"), h("span", null, h("b", null, what), " ", until));
    fill(
      rows,
      row(t("kept.photos"), form.keep ? t("kept.photos.yes") : t("kept.photos.no")),
      row(t("kept.numbers"), t("kept.numbers.until")),
      row(t("kept.browser"), t("kept.browser.until")),
      days === null ? null : row(t("kept.pictures"), days ? t("kept.pictures.days", { count: days }) : t("kept.pictures.until")),
    );
  };
  draw();
  const change = (/** @type {boolean} */ on) => {
    form.keep = on;
    draw();
  };
  limits()
    .then((said) => {
      days = said.keep.jobs_days;
      draw();
    })
    .catch(() => undefined);
  return h(
    "section",
    { class: "kept-box", "aria-label": t("kept.title") },
    h("h3", null, t("kept.title")),
    rows,
    toggle(t("kept.keep"), form.keep, change, t("kept.keep.hint")),
  );
}
