// A photo of one's own that is changed: chosen, agreed to, painted over. It goes along with one order and is not kept.

import { limits, modelNamed } from "./api.js";
import { askConsent, consentJson } from "./consent.js";
import { button, fill, focusHead, h } from "./dom.js";
import { chosenPeople, draft, orderOf, strengthsAt } from "./draft.js";
import { t } from "./i18n.js";
import { showOrdered, submit } from "./jobs.js";
import { maskForm } from "./mask.js";
import { people } from "./people.js";
import { dropPlace } from "./photo-tray.js";
import { picturesIn, shrink } from "./photos.js";
import { failure, field, notice, openDialog } from "./ui.js";

/** Opens the dialog. */
export function openPhotoEdit() {
  /** @type {string | null} */
  let address = null;
  let turn = 0;
  /** @type {(event: ClipboardEvent) => void} */
  let onPaste = () => undefined;
  openDialog({
    title: t("photo.edit"),
    class: "sheet",
    onClose: () => {
      turn += 1;
      document.removeEventListener("paste", onPaste);
      if (address) URL.revokeObjectURL(address);
    },
    content: (close) => {
      const said = h("div", { "aria-live": "polite" });
      const take = async (/** @type {Blob} */ file) => {
        const mine = ++turn;
        fill(said, h("p", { class: "quiet-text" }, t("loading")));
        try {
          const photo = await shrink(file);
          const hours = (await limits()).keep.one_shot_hours;
          if (mine !== turn) return;
          address = URL.createObjectURL(photo.blob);
          agree(body, { ...photo, url: address }, hours, close);
        } catch (error) {
          if (mine === turn) fill(said, failure(error, null));
        }
      };
      const drop = dropPlace({
        choose: t("welcome.choose"),
        take: ([first]) => take(first),
        content: (choose) => [
          h("p", { class: "drop-title" }, t("photo.drop")),
          button({ icon: "upload", label: t("welcome.choose"), class: "primary", on: choose }),
          h("p", { class: "hint" }, t("photo.smaller")),
        ],
      });
      onPaste = (event) => {
        const [first] = picturesIn(event.clipboardData);
        // one that was agreed to is not exchanged
        if (first && drop.isConnected) take(first);
      };
      document.addEventListener("paste", onPaste);
      const body = h("div", { class: "stack" }, h("p", null, t("photo.lead")), drop, said);
      return body;
    },
  });
}

/** @typedef {{ blob: Blob, width: number, height: number, url: string }} Photo */

/** @param {HTMLElement} body @param {Photo} photo @param {number} hours that it is kept at most @param {() => void} close */
function agree(body, photo, hours, close) {
  askConsent(body, {
    lead: t("consent.before.files", { count: 1 }),
    once: true,
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
        const now = draft.get();
        const order = orderOf({ ...now, people: who.value ? [who.value] : [], advanced: { ...now.advanced, strengths: [strengthsAt(now.advanced, now.people.indexOf(who.value))] }, style: "", expand: false }, model, undefined);
        await submit({ ...order, prompt, size: `${width}x${height}`, edit: change(width, height) }, { "edit.image": photo.blob, consent });
        close();
        showOrdered();
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
