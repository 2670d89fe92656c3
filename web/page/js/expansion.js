// What Llama makes of an idea, streamed in while the person looks on; every part can be changed.

import { button, fill, h, icon } from "./dom.js";
import { amend, assemble, chosenPeople, draft, expand, noScene, overlaid, slots, sourceOf } from "./draft.js";
import { has, language, t } from "./i18n.js";
import { sourcesList } from "./sources.js";
import { failure, inEnglish } from "./ui.js";

const typingPause = 500;
const shortestIdea = 4;

export function createExpansion() {
  const said = h("p", { class: "expansion-text", "aria-live": "off" });
  const chips = h("ul", { class: "parts", "aria-label": t("expand.parts") });
  const told = h("p", { class: "told" });
  const by = h("p", { class: "hint" });
  const toldBox = h("details", { class: "told-box" }, h("summary", null, t("expand.told")), told, by);
  const trouble = h("div", { class: "trouble" });
  const missing = h("div", { class: "missing", "aria-live": "polite" });
  const notes = h("div", { class: "notes" });
  const read = h("div", { class: "read" });
  const another = () => {
    // the same idea and seed give the same scene
    amend({ turn: crypto.getRandomValues(new Uint32Array(1))[0], touched: {} });
    run();
  };
  const again = button({ icon: "again", label: t("expand.again"), class: "quiet small", on: another });
  const element = h(
    "section",
    { class: "expansion", "aria-label": t("expand.title"), hidden: true },
    h("h2", { class: "visually-hidden" }, t("expand.title")),
    missing,
    said,
    chips,
    read,
    toldBox,
    notes,
  );

  /** @type {AbortController | null} */
  let running = null;
  /** @type {Promise<void> | null} */
  let work = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {AbortController | null} */
  let assembling = null;
  let seen = "";
  /** @type {Api.Expansion | null} */
  let drawn = null;
  /** Words of the settings take the place of the scene's own. */
  let overruled = false;

  const stop = () => {
    clearTimeout(timer);
    timer = undefined;
    running?.abort();
    running = null;
    assembling?.abort();
    element.classList.remove("busy");
  };

  /** What is shown belongs to other words. @param {boolean} stale */
  const markStale = (stale) => {
    element.classList.toggle("stale", stale);
    chips.inert = stale;
  };

  const run = () => {
    stop();
    const asked = draft.get();
    if (!asked.idea.trim()) return;
    const mine = new AbortController();
    const source = (seen = sourceOf(asked));
    running = mine;
    fill(trouble);
    said.textContent = "";
    markStale(true);
    element.classList.add("busy");
    element.hidden = again.hidden = false;
    const write = async () => {
      const written = await expand(asked, (text) => !mine.signal.aborted && (said.textContent = text), mine.signal);
      // another idea has another subject; what else was changed by hand stays
      const { subject: _, ...touched } = draft.get().touched;
      const expansion = Object.keys(touched).length ? await assemble(written, touched, mine.signal) : written;
      if (!mine.signal.aborted) amend({ written, expansion, touched, source });
    };
    work = write()
      .catch((error) => {
        if (mine.signal.aborted) return;
        amend(noScene);
        fill(trouble, failure(error, run), error?.code === "refused" ? null : h("p", { class: "hint" }, t("expand.without")));
      })
      .finally(() => {
        if (running !== mine) return;
        running = null;
        said.textContent = "";
        element.classList.remove("busy");
        drawParts();
      });
  };

  /** @param {Api.Touched} change */
  const changeParts = async (change) => {
    const { written, touched: before } = draft.get();
    if (!written) return;
    const touched = { ...before, ...change };
    amend({ expansion: overlaid(written, touched), touched });
    assembling?.abort();
    const mine = (assembling = new AbortController());
    try {
      const expansion = await assemble(written, touched, mine.signal);
      if (mine.signal.aborted) return;
      fill(trouble);
      amend({ expansion });
      sayOf(expansion);
    } catch (error) {
      if (!mine.signal.aborted) fill(trouble, failure(error, () => changeParts(change)));
    }
  };

  /** What the model is told, and what it is not. @param {Api.Expansion} expansion */
  const sayOf = (expansion) => {
    told.textContent = expansion.prompt;
    fill(read, sourcesList(expansion.sources));
    const who = chosenPeople(draft.get());
    // whoever stands beside is drawn by the face, not by the name
    const names = who.map((one) => one.name.toLowerCase());
    const dropped = (expansion.dropped ?? []).filter((words) => !names.includes(words.toLowerCase()));
    const lines = [
      dropped.length ? t("expand.dropped", { words: dropped.join(", ") }) : "",
      who.length && expansion.people > who.length ? t("expand.others", { count: expansion.people, names: who.map((one) => one.name).join(", ") }) : "",
    ];
    const line = lines.filter(Boolean).join(" ");
    fill(missing, line && h("p", { class: "hint" }, line));
    by.textContent = expansion.backend === "template" ? "" : t("expand.by", { backend: expansion.backend });
    fill(notes, expansion.note && noteOf(expansion));
  };

  const drawParts = () => {
    const now = draft.get();
    const { expansion } = now;
    drawn = now.written;
    overruled = Boolean(now.advanced.negative.trim());
    markStale(running !== null);
    element.hidden = again.hidden = !now.expand || (!expansion && !running);
    chips.hidden = toldBox.hidden = !expansion;
    if (!expansion) {
      fill(chips);
      fill(missing);
      fill(notes);
      fill(read);
      return;
    }
    sayOf(expansion);
    /** @type {(Api.Slot | "negative_prompt")[]} */
    const all = overruled ? [...slots] : [...slots, "negative_prompt"];
    const filled = all.filter((slot) => saidOf(expansion, slot));
    const free = all.filter((slot) => !saidOf(expansion, slot));
    fill(
      chips,
      partChip("subject", expansion.parts.subject, changeParts, null),
      ...filled.map((slot) =>
        partChip(slot, saidOf(expansion, slot), changeParts, () => {
          changeParts({ [slot]: "" });
          drawParts();
          focusPart(slot);
        }),
      ),
      ...free.map((slot) =>
        h(
          "li",
          null,
          h(
            "button",
            {
              type: "button",
              class: "part add",
              "data-slot": slot,
              on: {
                click: (/** @type {MouseEvent} */ event) => {
                  const place = /** @type {HTMLElement} */ (event.currentTarget).parentElement;
                  const chip = partChip(slot, "", changeParts, () => {
                    drawParts();
                    focusPart(slot);
                  });
                  place?.replaceWith(chip);
                  chip.querySelector("input")?.focus();
                },
              },
            },
            icon("plus"),
            t(`slot.${slot}`),
          ),
        ),
      ),
    );
  };

  /** The parts were drawn anew: whoever works by keyboard stays where they were. @param {string} slot */
  const focusPart = (slot) => /** @type {HTMLElement | null} */ (chips.querySelector(`[data-slot="${slot}"]`))?.focus();

  const stopWatching = draft.watch((now) => {
    const source = sourceOf(now);
    if (source === seen) {
      if ((now.written !== drawn || overruled !== Boolean(now.advanced.negative.trim())) && !running && timer === undefined) drawParts();
      return;
    }
    seen = source;
    stop();
    said.textContent = "";
    fill(trouble);
    // a scene that came along with these words
    if (source === now.source) return drawParts();
    if (!now.expand || now.idea.trim().length < shortestIdea) {
      if (now.expansion || !now.idea.trim()) amend({ ...noScene, ...(now.idea.trim() ? {} : { touched: {} }) });
      drawParts();
      return;
    }
    // what is on the screen stays, greyed, until the next one is there
    timer = setTimeout(run, typingPause);
    amend(noScene);
    markStale(true);
  });

  return {
    element,
    /** What went wrong: stands where the words are typed. */
    trouble,
    /** Asks for another scene. */
    again,
    /** Waits for an expansion that is being written, so that it is not lost. */
    async settled() {
      if (timer !== undefined) run();
      if (running) await work;
    },
    close() {
      stop();
      stopWatching();
    },
  };
}

/** Why another backend answered, and the like. @param {Api.Expansion} expansion */
function noteOf({ note, note_codes: codes = [] }) {
  const own = codes.length && codes.every((code) => has(`note.${code}`));
  if (own) return h("p", { class: "hint" }, codes.map((code) => t(`note.${code}`)).join(" "));
  return language() === "en" ? h("p", { class: "hint" }, note) : inEnglish(note ?? "");
}

/** @param {Api.Expansion} expansion @param {Api.Slot | "negative_prompt"} slot */
function saidOf(expansion, slot) {
  return slot === "negative_prompt" ? expansion.negative_prompt : expansion.parts[slot];
}

/**
 * @param {"subject" | "negative_prompt" | Api.Slot} slot
 * @param {string} text
 * @param {(change: Api.Touched) => void} change
 * @param {(() => void) | null} remove
 */
function partChip(slot, text, change, remove) {
  const label = t(`slot.${slot}`);
  const input = h("input", {
    type: "text",
    value: text,
    size: Math.max(6, text.length),
    "aria-label": label,
    on: {
      input: () => {
        input.size = Math.max(6, input.value.length);
      },
      change: () => change({ [slot]: input.value.trim() }),
      keydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) {
          event.preventDefault();
          change({ [slot]: input.value.trim() });
        }
      },
    },
  });
  return h(
    "li",
    null,
    h(
      "span",
      { class: slot === "subject" ? "part subject" : slot === "negative_prompt" ? "part negative" : "part" },
      h("span", { class: "part-name", "aria-hidden": "true" }, label),
      input,
      remove ? button({ icon: "close", label: t("expand.remove", { part: label }), hide: true, class: "bare", on: remove }) : null,
    ),
  );
}
