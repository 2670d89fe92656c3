// What Llama makes of an idea, streamed in while the person looks on; every part can be changed.

import { button, fill, h, icon } from "./dom.js";
import { amend, assemble, draft, expand, ideaText, slots } from "./draft.js";
import { t } from "./i18n.js";
import { failure } from "./ui.js";

const typingPause = 1100;
const shortestIdea = 4;

export function createExpansion() {
  const said = h("p", { class: "expansion-text", "aria-live": "off" });
  const chips = h("ul", { class: "parts", "aria-label": t("expand.parts") });
  const told = h("p", { class: "told" });
  const trouble = h("div");
  const again = button({ icon: "again", label: t("expand.again"), class: "quiet small", on: () => run() });
  const element = h(
    "section",
    { class: "expansion", "aria-label": t("expand.title"), hidden: true },
    h("div", { class: "row between" }, h("h2", null, t("expand.title")), again),
    said,
    chips,
    h("details", { class: "told-box" }, h("summary", null, t("expand.told")), told),
    trouble,
  );

  /** @type {AbortController | null} */
  let running = null;
  /** @type {Promise<void> | null} */
  let work = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let seen = sourceOf();

  /** What an expansion is made of; when it changes the expansion is stale. */
  function sourceOf() {
    const now = draft.get();
    return JSON.stringify([ideaText(now), now.style, now.expand]);
  }

  const stop = () => {
    clearTimeout(timer);
    running?.abort();
    running = null;
  };

  const run = () => {
    stop();
    if (!draft.get().idea.trim()) return;
    const mine = new AbortController();
    running = mine;
    fill(trouble);
    said.textContent = "";
    element.classList.add("busy");
    element.hidden = false;
    work = expand(draft.get(), (text) => !mine.signal.aborted && (said.textContent = text), mine.signal)
      .then((expansion) => {
        if (mine.signal.aborted) return;
        amend({ expansion, edited: false });
        said.textContent = "";
        drawParts();
      })
      .catch((error) => {
        if (mine.signal.aborted) return;
        said.textContent = "";
        fill(trouble, failure(error, run), h("p", { class: "hint" }, t("expand.without")));
      })
      .finally(() => {
        if (running !== mine) return;
        running = null;
        element.classList.remove("busy");
      });
  };

  /** @type {AbortController | null} */
  let assembling = null;
  /** @param {Partial<Api.Parts>} change */
  const changeParts = async (change) => {
    const old = draft.get().expansion;
    if (!old) return;
    const expansion = { ...old, parts: { ...old.parts, ...change } };
    amend({ expansion, edited: true });
    assembling?.abort();
    assembling = new AbortController();
    const { signal } = assembling;
    try {
      const prompt = await assemble(expansion, signal);
      const now = draft.get().expansion;
      if (signal.aborted || !now) return;
      amend({ expansion: { ...now, prompt } });
      told.textContent = prompt;
    } catch (error) {
      if (!signal.aborted) fill(trouble, failure(error, () => changeParts(change)));
    }
  };

  const drawParts = () => {
    const now = draft.get();
    const { expansion } = now;
    element.hidden = !now.expand || (!expansion && !running);
    chips.hidden = !expansion;
    if (!expansion) return;
    told.textContent = expansion.prompt;
    const filled = slots.filter((slot) => expansion.parts[slot]);
    const free = slots.filter((slot) => !expansion.parts[slot]);
    fill(
      chips,
      partChip("subject", expansion.parts.subject, changeParts, null),
      ...filled.map((slot) =>
        partChip(slot, expansion.parts[slot], changeParts, () => {
          changeParts({ [slot]: "" });
          drawParts();
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
              on: {
                click: (/** @type {MouseEvent} */ event) => {
                  const place = /** @type {HTMLElement} */ (event.currentTarget).parentElement;
                  const chip = partChip(slot, "", changeParts, drawParts);
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
    const writer = expansion.backend === "template" ? "" : t("expand.by", { backend: expansion.backend });
    const notes = [writer, expansion.note, expansion.dropped?.length ? t("expand.dropped", { words: expansion.dropped.join(", ") }) : ""];
    fill(trouble, ...notes.filter(Boolean).map((note) => h("p", { class: "hint" }, note)));
  };

  const stopWatching = draft.watch((now) => {
    const source = sourceOf();
    if (source === seen) return;
    seen = source;
    stop();
    element.classList.remove("busy");
    if (!now.expand || now.idea.trim().length < shortestIdea) {
      if (now.expansion) amend({ expansion: null, edited: false });
      drawParts();
      return;
    }
    // parts that were changed by hand stay until the person asks for others
    if (now.edited) {
      changeParts({ subject: ideaText(now) }).then(drawParts);
      return;
    }
    if (now.expansion) amend({ expansion: null });
    timer = setTimeout(run, typingPause);
  });
  drawParts();

  return {
    element,
    /** Waits for an expansion that is being written, so that it is not lost. */
    async settled() {
      clearTimeout(timer);
      if (running) await work;
    },
    close() {
      stop();
      stopWatching();
    },
  };
}

/**
 * @param {"subject" | Api.Slot} slot
 * @param {string} text
 * @param {(change: Partial<Api.Parts>) => void} change
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
      { class: slot === "subject" ? "part subject" : "part" },
      h("span", { class: "part-name", "aria-hidden": "true" }, label),
      input,
      remove ? button({ icon: "close", label: t("expand.remove", { part: label }), hide: true, class: "bare", on: remove }) : null,
    ),
  );
}
