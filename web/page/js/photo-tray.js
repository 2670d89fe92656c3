// The photos of one person while they are collected: each is made smaller, checked, and its face framed.

import { limits } from "./api.js";
import { button, fill, h, icon } from "./dom.js";
import { t } from "./i18n.js";
import { checkPhoto } from "./people.js";
import { cutFace, picturesIn, shrink } from "./photos.js";
import { failure, notice } from "./ui.js";
import { adviceOn, explain } from "./words.js";

/**
 * @typedef {object} TrayPhoto
 * @property {Blob | null} blob made smaller
 * @property {string | null} address for an img
 * @property {Api.PhotoCheck | null} check
 * @property {number} face
 * @property {unknown} error
 * @property {boolean} busy
 * @property {HTMLElement} element
 */

/**
 * @param {{ files: Blob[], onChange: () => void }} of
 */
export function createPhotoTray(of) {
  /** @type {TrayPhoto[]} */
  const photos = [];
  let most = 5;
  const closing = new AbortController();
  /** @type {(() => void) | null} */
  let closeCamera = null;

  const strip = h("ul", { class: "tray", "aria-label": t("tray.photos") });
  const said = h("p", { class: "hint", "aria-live": "polite" }, t("tray.hint"));
  const cameraPlace = h("div", { class: "camera-place" });
  const drop = dropPlace({
    class: "small",
    choose: t("tray.choose"),
    multiple: true,
    take: (files) => take(files),
    content: (choose) => [
      button({ icon: "upload", label: t("tray.choose"), on: choose }),
      button({ icon: "camera", label: t("tray.camera"), on: () => openCamera() }),
      h("p", { class: "hint" }, h("span", { class: "by-mouse" }, t("tray.drop"), " "), t("tray.smaller")),
    ],
  });
  const onPaste = (/** @type {ClipboardEvent} */ event) => {
    const files = picturesIn(event.clipboardData);
    if (files.length) take(files);
  };

  const changed = () => {
    drop.hidden = photos.length >= most || closeCamera !== null;
    const good = photos.filter((photo) => photo.check?.usable).length;
    said.textContent = photos.length ? t("tray.count", { count: good, most }) : t("tray.hint");
    of.onChange();
  };

  /** @param {Blob[]} files */
  const take = (files) => {
    const room = most - photos.length;
    if (files.length > room) notice(t("tray.most", { count: most }));
    for (const blob of files.slice(0, room)) add(blob);
    changed();
  };

  /** @param {Blob} source */
  const add = async (source) => {
    /** @type {TrayPhoto} */
    const photo = { blob: null, address: null, check: null, face: 0, error: null, busy: true, element: h("li", { class: "tray-photo" }) };
    photos.push(photo);
    strip.append(photo.element);
    draw(photo);
    try {
      photo.blob = (await shrink(source)).blob;
      photo.address = URL.createObjectURL(photo.blob);
      draw(photo);
      await check(photo);
    } catch (error) {
      photo.error = error;
      photo.busy = false;
      draw(photo);
      changed();
    }
  };

  /** @param {TrayPhoto} photo @param {number} [face] */
  const check = async (photo, face) => {
    photo.busy = true;
    photo.error = null;
    draw(photo);
    try {
      photo.check = await checkPhoto(/** @type {Blob} */ (photo.blob), face, closing.signal);
      photo.face = photo.check.chosen ?? face ?? 0;
    } catch (error) {
      if (closing.signal.aborted) return;
      photo.error = error;
    }
    photo.busy = false;
    draw(photo);
    changed();
  };

  /** @param {TrayPhoto} photo */
  const remove = (photo) => {
    photos.splice(photos.indexOf(photo), 1);
    if (photo.address) URL.revokeObjectURL(photo.address);
    photo.element.remove();
    changed();
    // whoever works by keyboard goes on with the next photo, or with choosing one
    /** @type {HTMLElement | null} */ (strip.querySelector(".button.over") ?? drop.querySelector("button"))?.focus();
  };

  /** @param {TrayPhoto} photo */
  const draw = (photo) => {
    const at = photos.indexOf(photo) + 1;
    fill(
      photo.element,
      h(
        "div",
        { class: "frame" },
        photo.address ? framed(photo, at, (face) => check(photo, face)) : h("div", { class: "waiting" }),
        button({ icon: "close", label: t("tray.remove", { at }), hide: true, class: "round over", on: () => remove(photo) }),
      ),
      verdict(photo, () => check(photo)),
    );
  };

  const openCamera = async () => {
    if (closeCamera) return;
    const { createCamera } = await import("./camera.js");
    const camera = createCamera({
      onPhoto: (blob) => take([blob]),
      // what can be done instead stays in sight
      onFailed: (error) => fill(cameraPlace, failure(error, openCamera)),
      onClose: () => {
        closeCamera = null;
        const inside = cameraPlace.contains(document.activeElement);
        fill(cameraPlace);
        changed();
        // the shutter had it; with five photos there is no more to choose
        if (inside) (drop.hidden ? strip : drop).querySelector("button")?.focus();
      },
    });
    closeCamera = camera.close;
    fill(cameraPlace, camera.element);
    changed();
    camera.start();
  };

  return {
    element: h("section", { class: "stack", "aria-label": t("tray.photos") }, cameraPlace, strip, said, drop),
    /** Starts to check; only after consent. */
    begin() {
      document.addEventListener("paste", onPaste);
      limits()
        .then((known) => (most = known.photos ?? most))
        .catch(() => undefined)
        .finally(() => take(of.files));
    },
    openCamera,
    busy: () => photos.some((photo) => photo.busy),
    usable: () =>
      photos.flatMap((photo) => (photo.blob && photo.check?.usable ? { blob: photo.blob, face: photo.face } : [])),
    /** The largest usable face, cut out, for this browser alone. */
    async bestFace() {
      const usable = photos.filter((photo) => photo.blob && photo.check?.usable);
      const width = (/** @type {TrayPhoto} */ photo) => faceOf(photo)?.width ?? 0;
      const best = usable.sort((a, b) => width(b) - width(a))[0];
      const face = best && faceOf(best);
      return best?.blob && face ? cutFace(best.blob, face, best.check?.faces.filter((one) => one !== face)) : null;
    },
    close() {
      closing.abort();
      closeCamera?.();
      document.removeEventListener("paste", onPaste);
      for (const photo of photos) if (photo.address) URL.revokeObjectURL(photo.address);
    },
  };
}

/** @param {TrayPhoto} photo */
function faceOf(photo) {
  return photo.check?.faces.find((face) => face.index === photo.face) ?? null;
}

/** The photo with a frame around its face; with several, each frame is a button. @param {TrayPhoto} photo @param {number} at @param {(face: number) => void} pick */
function framed(photo, at, pick) {
  const { check } = photo;
  const img = h("img", { src: photo.address, alt: t("tray.photo", { at }) });
  const place = h("div", { class: "framed" }, img);
  if (!check) return place;
  place.style.setProperty("aspect-ratio", `${check.width} / ${check.height}`);
  const many = check.faces.length > 1;
  for (const face of check.faces) {
    const chosen = face.index === photo.face;
    const frame = many
      ? h("button", {
          type: "button",
          class: "face",
          "aria-label": t("tray.face", { at: face.index + 1 }),
          "aria-pressed": String(chosen),
          on: { click: () => pick(face.index) },
        })
      : h("span", { class: "face" });
    if (chosen) frame.classList.add("chosen");
    if (chosen && check.usable) frame.classList.add("good");
    const percent = (/** @type {number} */ part, /** @type {number} */ whole) => `${(100 * part) / whole}%`;
    frame.style.left = percent(face.x, check.width);
    frame.style.top = percent(face.y, check.height);
    frame.style.width = percent(face.width, check.width);
    frame.style.height = percent(face.height, check.height);
    place.append(frame);
  }
  return place;
}

/** @param {TrayPhoto} photo @param {() => void} retry */
function verdict(photo, retry) {
  if (photo.busy) return h("p", { class: "verdict busy" }, t("tray.looking"));
  if (photo.error) {
    if (!photo.blob) return h("p", { class: "verdict bad" }, icon("warn"), explain(photo.error).todo);
    return failure(photo.error, retry);
  }
  if (!photo.check) return h("p", { class: "verdict" }, "");
  const first = photo.check.problems.find((problem) => problem.blocks) ?? photo.check.problems[0];
  if (!photo.check.usable) return h("p", { class: "verdict bad" }, icon("warn"), first ? adviceOn(first) : t("photo.no_face"));
  if (first) return h("p", { class: "verdict fair" }, icon("warn"), adviceOn(first));
  return h("p", { class: "verdict good" }, icon("check"), t("tray.good"));
}

/**
 * A place where files are dropped or chosen: pictures, unless `accept` and `filesIn` say otherwise. `content` is given what opens the choice.
 * @param {{ choose: string, take: (files: File[]) => void, content: (choose: () => void) => import("./dom.js").Child[], name?: string, class?: string,
 *   multiple?: boolean, accept?: string, filesIn?: (transfer: DataTransfer | null) => File[] }} of
 */
export function dropPlace(of) {
  const input = h("input", {
    type: "file",
    accept: of.accept ?? "image/jpeg,image/png,image/webp",
    multiple: of.multiple ?? false,
    class: "visually-hidden",
    tabIndex: -1,
    "aria-label": of.choose,
    on: {
      change: () => {
        const files = [...(input.files ?? [])];
        input.value = "";
        if (files.length) of.take(files);
      },
    },
  });
  /** @type {HTMLElement} */
  const place = h(of.name ? "section" : "div", { class: `drop ${of.class ?? ""}`, "aria-label": of.name }, input, ...of.content(() => input.click()));
  place.addEventListener("dragover", (event) => {
    event.preventDefault();
    place.classList.add("over");
  });
  place.addEventListener("dragleave", () => place.classList.remove("over"));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("over");
    const files = (of.filesIn ?? picturesIn)(event.dataTransfer);
    if (files.length) of.take(files);
    else if (event.dataTransfer?.files.length) notice(t("tray.no_picture"));
  });
  return place;
}
