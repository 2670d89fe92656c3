// A photo of one's own that is changed: chosen, agreed to, painted over. It goes along with one order and is not kept.

import { limits, modelNamed } from "./api.js";
import { askConsent, consentJson } from "./consent.js";
import { button, fill, focusHead, h } from "./dom.js";
import { chosenPeople, draft, orderOf } from "./draft.js";
import { t } from "./i18n.js";
import { submit } from "./jobs.js";
import { maskForm } from "./mask.js";
import { people } from "./people.js";
import { acceptDrops } from "./photo-tray.js";
import { measured, shrink } from "./photos.js";
import { failure, field, notice, openDialog } from "./ui.js";

/** Opens the dialog. */
export function openPhotoEdit() {
  /** @type {string | null} */
  let address = null;
  openDialog({
    title: t("photo.edit"),
    class: "sheet",
    onClose: () => address && URL.revokeObjectURL(address),
    content: (close) => {
      const body = h("div", { class: "stack" });
      const take = async (/** @type {Blob | undefined} */ file) => {
        if (!file) return;
        try {
          const blob = await shrink(file);
          const size = await measured(blob);
          if (address) URL.revokeObjectURL(address);
          address = URL.createObjectURL(blob);
          await agree(body, { blob, ...size, url: address }, close);
        } catch (error) {
          choose(body, take, failure(error, null));
        }
      };
      choose(body, take, null);
      return body;
    },
  });
}

/** @typedef {{ blob: Blob, width: number, height: number, url: string }} Photo */

/** @param {HTMLElement} body @param {(file: Blob | undefined) => void} take @param {HTMLElement | null} said */
function choose(body, take, said) {
  const file = h("input", {
    type: "file",
    accept: "image/jpeg,image/png,image/webp",
    class: "visually-hidden",
    tabIndex: -1,
    "aria-label": t("welcome.choose"),
    on: {
      change: () => {
        const [chosen] = file.files ?? [];
        file.value = "";
        take(chosen);
      },
    },
  });
  const drop = h(
    "div",
    { class: "drop" },
    file,
    h("p", { class: "drop-title" }, t("photo.drop")),
    button({ icon: "upload", label: t("welcome.choose"), class: "primary", on: () => file.click() }),
    h("p", { class: "hint" }, t("photo.smaller")),
  );
  acceptDrops(drop, ([first]) => take(first));
  fill(body, h("p", null, t("photo.lead")), said, drop);
}

/** @param {HTMLElement} body @param {Photo} photo @param {() => void} close */
async function agree(body, photo, close) {
  const hours = await limits().then((said) => said.keep.one_shot_hours, () => 24);
  askConsent(body, {
    lead: t("consent.before.files", { count: 1 }),
    note: t("photo.kept", { count: hours }),
    onAgreed: (given) => {
      paint(body, photo, consentJson(given), close);
      focusHead(body);
    },
  });
  focusHead(body);
}

/** @param {HTMLElement} body @param {Photo} photo @param {string} consent @param {() => void} close */
function paint(body, photo, consent, close) {
  body.closest("dialog")?.classList.add("mask");
  const chosen = chosenPeople(draft.get())[0]?.id ?? "";
  const who = h("select", null, h("option", { value: "" }, t("photo.nobody")), ...(people.get() ?? []).map((person) => h("option", { value: person.id }, person.name)));
  who.value = chosen;
  fill(
    body,
    maskForm({
      item: photo,
      prompt: draft.get().idea,
      extra: people.get()?.length ? field(t("photo.who"), who, t("photo.who.hint")) : null,
      send: async (prompt, change) => {
        const model = await modelNamed(draft.get().advanced.model);
        const { width, height } = drawnSize(photo, model);
        const order = orderOf({ ...draft.get(), people: who.value ? [who.value] : [], style: "", expand: false }, model, undefined);
        await submit({ ...order, prompt, size: `${width}x${height}`, edit: change(width, height) }, { "edit.image": photo.blob, consent });
        close();
        document.dispatchEvent(new CustomEvent("imagine:ordered"));
        notice(t("mask.ordered"));
      },
    }),
  );
}

/** The shape of the photo in as many pixels as the model draws. @param {Photo} photo @param {Api.Model} model */
function drawnSize({ width, height }, model) {
  const scale = Math.sqrt((model.width * model.height) / (width * height));
  const side = (/** @type {number} */ of) => Math.max(1, Math.round((of * scale) / model.side_multiple)) * model.side_multiple;
  return { width: side(width), height: side(height) };
}
