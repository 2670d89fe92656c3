// Meeting a person: consent first, then photos, then a name. Nothing is uploaded before consent.

import { limits } from "./api.js";
import { askConsent, consentJson } from "./consent.js";
import { button, fill, focusHead, h, icon } from "./dom.js";
import { t } from "./i18n.js";
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
  /** @type {{ consent: import("./consent.js").Given | null, keep: boolean, name: string }} */
  const form = { consent: null, keep: false, name: "" };
  const tray = createPhotoTray({ files: start.files ?? [], onChange: () => update() });

  const name = h("input", {
    type: "text",
    maxLength: 60,
    autocomplete: "off",
    on: {
      input: () => {
        form.name = name.value;
        update();
      },
      keydown: (/** @type {KeyboardEvent} */ event) => event.key === "Enter" && !event.isComposing && create.click(),
    },
  });
  const said = h("div", { "aria-live": "polite" });
  const create = button({
    label: start.person ? t("enrol.add") : t("enrol.create"),
    class: "primary wide",
    disabled: true,
    on: () => send(),
  });

  /** What is still wanted before the button can be pressed. */
  const wanted = h("p", { class: "hint center", role: "status" });
  const update = () => {
    const photo = !tray.usable().length && !tray.busy();
    const named = Boolean(start.person || form.name.trim());
    create.disabled = !tray.usable().length || tray.busy() || !named;
    const words = photo ? t("enrol.need.photo") : named ? "" : t("enrol.need.name");
    if (wanted.textContent !== words) wanted.textContent = words;
    wanted.hidden = !words;
  };

  const send = async () => {
    fill(said);
    create.disabled = true;
    create.classList.add("busy");
    try {
      const photos = tray.usable();
      const { person, kept: here } = start.person
        ? { person: await addPhotos(start.person.id, photos), kept: true }
        : await enrol({
            name: form.name.trim(),
            photos,
            keep: form.keep,
            consent: consentJson(/** @type {import("./consent.js").Given} */ (form.consent)),
            selfie: await tray.bestFace(),
          });
      notice(start.person ? t("enrol.added") : t("enrol.created", { name: person.name }));
      if (!here) notice(t("enrol.no_room"));
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
      start.person ? h("p", { class: "hint" }, t(start.person.keep_photos ? "enrol.kept.yes" : "enrol.kept.no")) : kept(form),
      // in sight however far down it is: what it waits for stands above
      h("div", { class: "sheet-foot" }, said, create, wanted),
    );
    tray.begin();
    if (start.camera) tray.openCamera();
    update();
  };

  if (start.person) showPhotos();
  else {
    const count = start.files?.length ?? 0;
    askConsent(body, {
      lead: count ? t("consent.before.files", { count }) : t("consent.before"),
      note: t("consent.back"),
      onAgreed: (given) => {
        form.consent = given;
        showPhotos();
        focusHead(body);
      },
    });
  }
  return () => tray.close();
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
