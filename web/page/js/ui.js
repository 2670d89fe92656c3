// Dialogs, notices, failures: what every screen needs.

import { Problem } from "./api.js";
import { button, fill, freshId, h, icon } from "./dom.js";
import { t } from "./i18n.js";
import { selfieAddress } from "./selfies.js";
import { explain } from "./words.js";

/** @typedef {{ element: HTMLElement, close?: () => void, title?: string }} Screen */

const notices = h("div", { class: "notices", role: "status", "aria-live": "polite" });
document.body.append(notices);

/**
 * Says something in passing. Nothing that must be read only here.
 * @param {string} text
 * @param {{ label: string, on: () => void }} [action]
 */
export function notice(text, action) {
  const shown = h("div", { class: "notice" }, h("span", null, text));
  if (action) {
    shown.append(
      button({
        label: action.label,
        class: "quiet",
        on: () => {
          shown.remove();
          action.on();
        },
      }),
    );
  }
  // an open dialog covers everything else: what is said must lie inside it
  (document.querySelector("dialog[open]") ?? document.body).append(notices);
  notices.append(shown);
  setTimeout(() => shown.remove(), action ? 9000 : 5000);
}

/** What happened, and what to do. @param {unknown} error @param {(() => void) | null} [retry] */
export function failure(error, retry) {
  const said = explain(error);
  const key = error instanceof Problem && error.status === 401;
  if (key) return failureText(said, button({ label: t("key.give"), class: "primary", on: () => document.dispatchEvent(new CustomEvent("imagine:key-needed")) }));
  return failureText(said, retry ? button({ icon: "again", label: t("again"), on: retry }) : null);
}

/** @param {import("./words.js").Told} told @param {HTMLElement | null} [action] */
export function failureText({ what, todo, said }, action) {
  return h(
    "div",
    { class: "failure", role: "alert" },
    icon("warn"),
    h("div", null, h("strong", null, what), todo ? h("p", null, todo) : null, said ? inEnglish(said) : null),
    action ?? null,
  );
}

/** Words of the service, which has no other language. @param {string} said */
export function inEnglish(said) {
  return h("p", { class: "hint" }, t("error.server_says"), " ", h("span", { lang: "en" }, said));
}

/** An empty place that says what would be here. @param {string} title @param {string} text @param {...HTMLElement} actions */
export function empty(title, text, ...actions) {
  return h("div", { class: "empty" }, h("h2", null, title), h("p", null, text), h("div", { class: "row" }, ...actions));
}

/**
 * A modal dialog. It closes by Escape, its button, a press beside it, or the back gesture of a phone.
 * @param {{ title: string, hideTitle?: boolean, class?: string, content: (close: () => void) => HTMLElement, onClose?: () => void }} of
 */
export function openDialog(of) {
  const before = document.activeElement;
  const titleId = freshId("title");
  const dialog = h("dialog", { class: `dialog ${of.class ?? ""}`, "aria-labelledby": titleId });
  const close = () => dialog.close();
  dialog.append(
    h(
      "header",
      { class: "dialog-head" },
      h("h2", { id: titleId, tabIndex: -1, autofocus: true, class: of.hideTitle ? "visually-hidden" : undefined }, of.title),
      button({ icon: "close", label: t("close"), hide: true, class: "round quiet", on: close }),
    ),
    of.content(close),
  );
  dialog.addEventListener("mousedown", (event) => {
    if (event.target === dialog) close();
  });
  dialog.addEventListener("close", () => {
    of.onClose?.();
    document.body.append(notices);
    dialog.remove();
    // the browser goes back by itself, or whoever closed it has gone on
    if (document.activeElement && document.activeElement !== document.body) return;
    // what was pressed may have been made anew meanwhile, or be gone
    const back = before instanceof HTMLElement && before.isConnected ? before : before?.id ? document.getElementById(before.id) : null;
    (back ?? document.querySelector("main"))?.focus({ preventScroll: !back });
  });
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, close };
}

/**
 * Asks before something that cannot be taken back.
 * @param {{ title: string, body: HTMLElement | string, yes: string, danger?: boolean }} of
 * @returns {Promise<boolean>}
 */
export function confirm(of) {
  return new Promise((resolve) => {
    let agreed = false;
    openDialog({
      title: of.title,
      class: "small",
      onClose: () => resolve(agreed),
      content: (close) =>
        h(
          "div",
          { class: "stack" },
          typeof of.body === "string" ? h("p", null, of.body) : of.body,
          h(
            "div",
            { class: "row end" },
            button({ label: t("cancel"), on: close }),
            button({
              label: of.yes,
              class: of.danger ? "danger" : "primary",
              on: () => {
                agreed = true;
                close();
              },
            }),
          ),
        ),
    });
  });
}

/** A person's face as this browser knows it, or the first letter of the name. @param {Api.Person} person */
export function avatar(person) {
  const place = h("span", { class: `avatar hue-${hueOf(person.id)}`, "aria-hidden": "true" }, [...person.name][0]?.toUpperCase() ?? "?");
  selfieAddress(person.id).then((address) => {
    if (address) fill(place, h("img", { src: address, alt: "" }));
  });
  return place;
}

/** @param {string} id */
function hueOf(id) {
  let sum = 0;
  for (const letter of id) sum = (sum * 31 + (letter.codePointAt(0) ?? 0)) % 997;
  return sum % 6;
}

/** A labelled form field. @param {string} label @param {HTMLElement} input @param {string} [hint] @param {string} [extra] */
export function field(label, input, hint, extra) {
  input.id ||= freshId("field");
  const hintId = `${input.id}-hint`;
  if (hint) input.setAttribute("aria-describedby", hintId);
  return h(
    "div",
    { class: `field ${extra ?? ""}` },
    h("label", { for: input.id }, label),
    input,
    hint ? h("p", { class: "hint", id: hintId }, hint) : null,
  );
}

/** An on/off switch. @param {string} label @param {boolean} checked @param {(on: boolean) => void} on @param {string} [hint] */
export function toggle(label, checked, on, hint) {
  const input = h("input", {
    type: "checkbox",
    role: "switch",
    checked,
    id: freshId("switch"),
    on: { change: (/** @type {Event} */ event) => on(/** @type {HTMLInputElement} */ (event.target).checked) },
  });
  return h(
    "div",
    { class: "switch" },
    input,
    h("label", { for: input.id }, label, hint ? h("span", { class: "hint" }, hint) : null),
  );
}
