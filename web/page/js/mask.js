// "Change only this": a mask painted over a picture, by pointer, touch or keys.

import { button, fill, h } from "./dom.js";
import { t } from "./i18n.js";
import { showOrdered, submit } from "./jobs.js";
import { createPainter } from "./painter.js";
import { failure, field, notice, openDialog, toggle } from "./ui.js";

/** The new picture is faded in over this part of a side. */
const fadeShare = 24;

/**
 * Over a picture of the service.
 * @param {{ item: import("./viewer.js").Item, input: Partial<Api.JobRequest>, prompt: string, onOrdered: () => void }} of the job's input without its change
 */
export function openMask(of) {
  const { item } = of;
  openDialog({
    title: t("mask.title"),
    class: "sheet mask",
    content: (close) =>
      maskForm({
        item,
        prompt: of.prompt,
        extra: null,
        send: async (prompt, change) => {
          const { width, height } = item;
          await submit({ ...of.input, prompt, expand: false, size: `${width}x${height}`, edit: { image: item.id, ...change(width, height) } });
          close();
          of.onOrdered();
          showOrdered();
          notice(t("mask.ordered"));
        },
      }),
  });
}

/**
 * What is painted over, what should be there, how much may change.
 * @param {{ item: { url: string, width: number, height: number }, prompt: string, extra: HTMLElement | null, send: (prompt: string, change: (width: number, height: number) => Api.Edit) => Promise<void> }} of
 *   `change` is what is to be done to a picture that is drawn in so many pixels
 */
export function maskForm(of) {
  const painter = createPainter({ item: of.item, areas: [{ label: t("mask.top"), box: [0, 0, 1, 0.4] }, { label: t("mask.bottom"), box: [0, 0.6, 1, 1] }], ink: 0, label: t("mask.canvas") });
  const prompt = h("textarea", { rows: 3, maxLength: 2000, placeholder: t("mask.placeholder"), value: of.prompt });
  const strength = h("input", { type: "range", min: "0.2", max: "1", step: "0.05", value: "0.9" });
  let keepFace = false;
  const said = h("div", { "aria-live": "polite" });
  const paint = h("div", { class: "stack" }, h("p", { class: "hint", id: "mask-help" }, t("mask.help"), h("span", { class: "by-mouse" }, " ", t("mask.keys"))), painter.element, painter.tools);
  const keep = (/** @type {boolean} */ on) => {
    keepFace = on;
    paint.inert = on;
  };
  const go = button({
    icon: "spark",
    label: t("mask.go"),
    class: "primary wide",
    on: async () => {
      if (!keepFace && painter.empty()) return fill(said, h("p", { class: "hint warn" }, t("mask.empty")));
      if (!prompt.value.trim()) {
        prompt.focus();
        return fill(said, h("p", { class: "hint warn" }, t("compose.empty")));
      }
      go.classList.add("busy");
      try {
        await of.send(prompt.value.trim(), (width, height) => ({
          strength: Number(strength.value),
          ...(keepFace ? { keep_face: true } : { mask: painter.mask(width, height), feather: Math.round(Math.max(width, height) / fadeShare) }),
        }));
      } catch (error) {
        fill(said, failure(error, null));
      } finally {
        go.classList.remove("busy");
      }
    },
  });
  return h(
    "div",
    { class: "mask-body" },
    paint,
    h(
      "div",
      { class: "stack" },
      field(t("mask.prompt"), prompt, t("mask.prompt.hint")),
      of.extra,
      field(t("mask.strength"), strength, t("mask.strength.hint")),
      toggle(t("mask.keep_face"), false, keep, t("mask.keep_face.hint")),
      h("div", { class: "sheet-foot" }, said, go),
    ),
  );
}
