// People: who is known, what is kept of them, and how to make it gone.

import { modelNamed } from "./api.js";
import { openCard } from "./card.js";
import { button, fill, freshId, h } from "./dom.js";
import { amend } from "./draft.js";
import { openEnrol } from "./enrol.js";
import { day, t } from "./i18n.js";
import { deletePerson, loadPeople, people, rename } from "./people.js";
import { selfieAddress } from "./selfies.js";
import { avatar, empty, failure, notice, openDialog } from "./ui.js";

/** @returns {import("./ui.js").Screen} */
export function createPeopleScreen() {
  const list = h("ul", { class: "people" });
  const add = () => openEnrol({ onDone: (person) => amend({ people: [person.id] }) });
  const head = button({ icon: "plus", label: t("people.add"), class: "primary", id: "add-person", on: add });
  const element = h(
    "div",
    { class: "screen" },
    h(
      "header",
      { class: "screen-head" },
      h("div", null, h("h1", null, t("nav.people")), h("p", { class: "hint" }, t("people.hint"))),
      head,
    ),
    list,
  );
  const stop = people.watch((known) => {
    if (!known) return;
    head.hidden = !known.length;
    if (!known.length) {
      fill(list, h("li", { class: "bare" }, empty(t("people.empty"), t("people.empty.text"), button({ icon: "plus", label: t("people.add"), class: "primary", on: add }))));
      return;
    }
    fill(list, ...known.map(card));
  });
  const load = () => {
    loadPeople().catch((error) => fill(list, h("li", { class: "bare" }, failure(error, load))));
  };
  load();
  return { element, close: stop, title: t("nav.people") };
}

/** @param {Api.Person} person */
function card(person) {
  const kept = person.photos.filter((photo) => photo.kept).length;
  const who =
    person.consent.basis === "self" ? t("people.self") : t("people.authorised", { by: person.consent.authorised_by ?? "" });
  return h(
    "li",
    { class: "person" },
    avatar(person),
    h(
      "div",
      { class: "person-words" },
      h("h2", null, person.name),
      h("p", { class: "hint" }, t("people.since", { day: day(person.created) }), " · ", who),
      h(
        "p",
        { class: "hint" },
        t("people.from", { count: person.embeddings }),
        " · ",
        kept ? t("people.photos_kept", { count: kept }) : t("people.no_photos"),
      ),
      person.pictures ? h("p", null, h("a", { href: `#/history?person=${person.id}` }, t("people.pictures", { count: person.pictures }))) : h("p", { class: "hint" }, t("people.pictures.none")),
      outdated(person),
    ),
    h(
      "div",
      { class: "row wrap person-acts" },
      button({
        icon: "spark",
        label: t("people.imagine"),
        class: "small primary",
        on: () => {
          amend({ people: [person.id] });
          location.hash = "#/";
        },
      }),
      button({ icon: "camera", label: t("people.more"), id: `more-${person.id}`, class: "small", on: () => openEnrol({ person }) }),
      person.card ? button({ icon: "settings", label: t("people.card"), id: `card-${person.id}`, class: "small", on: () => openCard(person) }) : null,
      button({ icon: "edit", label: t("people.rename"), id: `rename-${person.id}`, class: "small", on: () => openRename(person) }),
      button({ icon: "trash", label: t("people.delete"), id: `delete-${person.id}`, class: "small danger-text", on: () => openDelete(person) }),
    ),
  );
}

/** Where the model draws by cards and this person was met before it did. @param {Api.Person} person */
function outdated(person) {
  const said = h("p", { class: "hint warn", hidden: true }, t("people.outdated"));
  modelNamed()
    .then((model) => (said.hidden = model?.identity?.kind !== "card" || person.card))
    .catch(() => undefined);
  return said;
}

/** @param {Api.Person} person */
function openRename(person) {
  openDialog({
    title: t("people.rename"),
    class: "small",
    content: (close) => {
      const said = h("div", { "aria-live": "polite" });
      const name = h("input", { type: "text", value: person.name, maxLength: 60, required: true, "aria-label": t("enrol.name"), autocomplete: "off" });
      return h(
        "form",
        {
          class: "stack",
          on: {
            submit: async (/** @type {Event} */ event) => {
              event.preventDefault();
              try {
                await rename(person.id, name.value.trim());
                close();
              } catch (error) {
                fill(said, failure(error, null));
              }
            },
          },
        },
        name,
        said,
        h("div", { class: "row end" }, button({ label: t("cancel"), on: close }), button({ label: t("save"), type: "submit", class: "primary" })),
      );
    },
  });
}

/** What was removed, of what there was. @param {string} name @param {Api.Removed} removed */
function gone(name, { embeddings, photos, pictures }) {
  const counted = [embeddings && t("delete.done.numbers", { count: embeddings }), photos && t("delete.done.photos", { count: photos }), pictures && t("people.pictures", { count: pictures })];
  const what = counted.filter((words) => typeof words === "string").join(", ");
  return what ? t("delete.done", { name, what }) : t("delete.done.plain", { name });
}

/** Says plainly what will be gone. @param {Api.Person} person */
function openDelete(person) {
  openDialog({
    title: t("delete.title", { name: person.name }),
    class: "small",
    content: (close) => {
      const said = h("div", { "aria-live": "polite" });
      const group = freshId("pictures");
      /** @type {"keep" | "delete"} */
      let pictures = "delete";
      const choice = (/** @type {"keep" | "delete"} */ value, /** @type {string} */ label) => {
        const input = h("input", { type: "radio", name: group, id: freshId("pictures"), checked: value === pictures, on: { change: () => (pictures = value) } });
        return h("div", { class: "choice" }, input, h("label", { for: input.id }, label));
      };
      const go = button({
        icon: "trash",
        label: t("delete.yes"),
        class: "danger",
        on: async () => {
          go.classList.add("busy");
          try {
            const removed = await deletePerson(person.id, pictures);
            close();
            notice(gone(person.name, removed));
          } catch (error) {
            fill(said, failure(error, null));
          } finally {
            go.classList.remove("busy");
          }
        },
      });
      const photos = person.photos.filter((photo) => photo.kept).length;
      const browser = h("li", { hidden: true }, t("delete.browser"));
      selfieAddress(person.id).then((address) => (browser.hidden = !address));
      return h(
        "div",
        { class: "stack" },
        h("p", null, t("delete.gone")),
        h(
          "ul",
          { class: "plain" },
          h("li", null, t("delete.numbers", { count: person.embeddings })),
          person.card ? h("li", null, t("delete.card")) : null,
          photos ? h("li", null, t("delete.photos", { count: photos })) : null,
          browser,
          h("li", null, t("delete.consent")),
        ),
        person.pictures
          ? h(
              "fieldset",
              null,
              h("legend", null, t("delete.pictures", { count: person.pictures })),
              choice("delete", t("delete.pictures.delete")),
              choice("keep", t("delete.pictures.keep")),
            )
          : null,
        h("p", { class: "hint" }, t("delete.no_way_back")),
        said,
        h("div", { class: "row end" }, button({ label: t("cancel"), on: close }), go),
      );
    },
  });
}
