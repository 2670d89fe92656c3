// Jobs, newest first: each a grid that fills while its pictures come out of the noise.

import { button, fill, h, icon } from "./dom.js";
import { advancedOf, amend, draft, placesOf, sourceOf } from "./draft.js";
import { duration, t } from "./i18n.js";
import { show } from "./images.js";
import { cancel, isOver, jobs, olderJobs, orderFor, remove, submit, unknownOf } from "./jobs.js";
import { personOf } from "./people.js";
import { avatar, confirm, empty, failureText, notice } from "./ui.js";
import { explainJob, explainShort, likenessNumber, likenessWord } from "./words.js";

/** @typedef {import("./jobs.js").Followed} Followed */

/** @returns {import("./ui.js").Screen} */
export function createFeed() {
  const column = h("div", { class: "feed" });
  /** @type {Map<string, ReturnType<typeof createCard>>} */
  const cards = new Map();
  const places = Array.from({ length: 4 }, () => h("div", { class: "tile void" }));
  const nothing = h("div", { class: "job nothing" }, h("div", { class: "grid count-4", "aria-hidden": "true" }, ...places), empty(t("feed.empty"), t("feed.empty.text")));

  const older = h("p", { class: "older" }, h("a", { href: "#/history" }, t("feed.older")));
  const stop = jobs.watch((all) => {
    older.hidden = !olderJobs() || !all?.length;
    if (!all) {
      fill(column, h("p", { class: "quiet-text" }, t("loading")));
      return;
    }
    const ids = new Set(all.map((one) => one.job.id));
    for (const [id, card] of cards) {
      if (ids.has(id)) continue;
      card.element.remove();
      cards.delete(id);
    }
    for (const one of all) {
      let card = cards.get(one.job.id);
      if (!card) cards.set(one.job.id, (card = createCard(one)));
      card.update(one);
    }
    const wanted = all.map((one) => /** @type {HTMLElement} */ (cards.get(one.job.id)?.element));
    if (!wanted.length) fill(column, nothing);
    else if (wanted.some((element, at) => column.children[at] !== element) || column.children.length !== wanted.length) fill(column, ...wanted);
  });
  const clock = setInterval(() => {
    for (const one of jobs.get() ?? []) if (!isOver(one.job)) cards.get(one.job.id)?.update(one);
  }, 1000);
  return {
    element: h("section", { class: "results", "aria-label": t("feed.title") }, column, older),
    close() {
      stop();
      clearInterval(clock);
    },
  };
}

/** @param {Followed} first */
function createCard(first) {
  const id = first.job.id;
  const people = (first.job.input.people ?? []).flatMap((one) => personOf(one.person) ?? []);
  const status = h("p", { class: "job-status", role: "status" });
  const bar = h("div", { class: "bar" }, h("span"));
  const actions = h("div", { class: "row" });
  const trouble = h("div");
  const count = first.job.input.n ?? 1;
  const tiles = Array.from({ length: count }, (_, index) => createTile(first, index));
  const grid = h("div", { class: `grid count-${Math.min(count, 4)}` }, ...tiles.map((tile) => tile.element));
  const element = h(
    "article",
    { class: "job", "aria-label": first.job.input.prompt, "data-job": id },
    h(
      "header",
      { class: "job-head" },
      people.length ? h("span", { class: "faces" }, ...people.map(avatar)) : null,
      h("div", { class: "job-words" }, h("h2", null, first.job.input.prompt), status),
      actions,
    ),
    bar,
    grid,
    trouble,
  );
  let drawnStatus = "";

  return {
    element,
    /** @param {Followed} now */
    update(now) {
      const { job } = now;
      const words = statusWords(now);
      if (status.textContent !== words) status.textContent = words;
      element.dataset.status = job.status;
      bar.style.setProperty("--done", String(job.status === "queued" ? 0 : job.progress));
      // its place stays, so that nothing moves when the last picture is there
      bar.classList.toggle("over", isOver(job));
      tiles.forEach((tile) => tile.update(now));
      if (drawnStatus === job.status) return;
      drawnStatus = job.status;
      fill(actions, ...jobActions(now));
      fill(trouble);
      if (job.status === "failed") {
        fill(trouble, failureText(explainJob(job.error), button({ icon: "again", label: t("again"), on: () => retry(job) })));
      }
      grid.hidden = isOver(job) && !job.output.length;
    },
  };
}

/** @param {Followed} now */
function statusWords(now) {
  const { job, etaAt, lost } = now;
  if (lost && !isOver(job)) return t("status.lost");
  // what is left is rarely known to the second
  const left = etaAt && etaAt - Date.now() > 1500 ? t("status.left", { time: duration(Math.max(0, etaAt - Date.now()) / 1000) }) : "";
  switch (job.status) {
    case "queued":
      return job.queue_position
        ? [t("status.position", { count: job.queue_position }), left].filter(Boolean).join(" · ")
        : t("status.queued");
    case "running":
      if (job.progress >= 0.995) return t("status.finishing");
      return [t("status.running", { percent: Math.round(job.progress * 100) }), left].filter(Boolean).join(" · ");
    case "succeeded": {
      const seconds = job.metrics?.run_seconds ?? (job.started && job.finished ? job.finished - job.started : null);
      return seconds ? t("status.done", { count: job.output.length, time: duration(seconds) }) : t("status.done_plain", { count: job.output.length });
    }
    case "canceled":
      return t("status.canceled");
    default:
      return t("status.failed");
  }
}

/** @param {Followed} now @returns {HTMLElement[]} */
function jobActions({ job }) {
  if (!isOver(job)) {
    return [
      button({
        icon: "close",
        label: t("cancel"),
        class: "small",
        on: () => cancel(job.id).catch((error) => notice(`${t("cancel.failed")} ${explainShort(error)}`)),
      }),
    ];
  }
  return [
    button({ icon: "edit", label: t("job.reuse"), hide: true, class: "round quiet", on: () => reuse(job) }),
    button({ icon: "again", label: t("job.again"), hide: true, class: "round quiet", on: () => retry(job) }),
    button({
      icon: "trash",
      label: t("job.delete"),
      hide: true,
      class: "round quiet",
      on: async () => {
        const sure = await confirm({
          title: t("job.delete"),
          body: t("job.delete.text", { count: job.output.length }),
          yes: t("delete"),
          danger: true,
        });
        if (sure) await remove(job.id).catch((error) => notice(explainShort(error)));
      },
    }),
  ];
}

/** The same order with a new seed. @param {Api.Job} job */
async function retry(job) {
  const known = orderFor(job);
  if (!known) return notice(unknownOf(job));
  const { seed: _, ...order } = known.order;
  try {
    await submit(order, known.files);
  } catch (error) {
    notice(explainShort(error));
  }
}

/** Puts the order back into the prompt box. @param {Api.Job} job */
function reuse(job) {
  const who = (job.input.people ?? []).flatMap((one) => personOf(one.person) ?? []);
  const order = {
    ...draft.get(),
    idea: withoutMe(job.input.prompt, who),
    people: (job.input.people ?? []).map((one) => one.person),
    places: placesOf(job.input),
    style: job.input.style ?? "",
    expand: job.input.expand !== false,
    expansion: job.expansion,
    written: job.expansion,
    touched: {},
    advanced: { ...advancedOf(job.input), seed: draft.get().advanced.seed },
  };
  // the scene that was drawn belongs to these words; other words get another
  amend({ ...order, source: job.expansion ? sourceOf(order) : "" });
  document.querySelector("textarea")?.focus();
}

/** @param {Followed} first @param {number} index */
function createTile(first, index) {
  const place = h("div", { class: "tile" });
  const [width, height] = (first.job.input.size ?? "").split("x").map(Number);
  if (width && height) place.style.setProperty("aspect-ratio", `${width} / ${height}`);
  let drawn = "";
  const preview = h("img", { class: "preview", alt: "" });

  return {
    element: place,
    /** @param {Followed} now */
    update(now) {
      const output = now.job.output.find((one) => one.index === index);
      if (output) {
        if (drawn === output.id) return;
        drawn = output.id;
        const img = h("img", { class: "final", alt: "", width: output.width, height: output.height });
        img.addEventListener("load", () => place.classList.add("done"), { once: true });
        show(img, output.url);
        place.style.setProperty("aspect-ratio", `${output.width} / ${output.height}`);
        const best = output.likeness?.[0];
        fill(
          place,
          preview.src ? preview : null,
          h(
            "button",
            {
              type: "button",
              class: "open-picture",
              "aria-label": t("tile.open", { at: index + 1, likeness: output.likeness?.length ? `${likenessWord(best, personOf(now.job.input.people?.[0]?.person ?? "")?.encoder)} ${likenessNumber(best)}` : "" }),
              on: { click: () => openFrom(now.job.id, output.id) },
            },
            img,
            typeof best === "number" ? h("span", { class: "badge", "aria-hidden": "true" }, likenessNumber(best)) : null,
          ),
        );
        return;
      }
      if (drawn && drawn !== "gone" && isOver(now.job)) {
        drawn = "gone";
        place.classList.remove("done");
        fill(place, h("span", { class: "gone" }, t("tile.deleted")));
        return;
      }
      if (drawn) return;
      if (isOver(now.job)) {
        // what was drawn and is not there any more was deleted
        const gone = now.job.status === "succeeded" ? [t("tile.deleted")] : [icon("close"), h("span", { class: "visually-hidden" }, t("tile.none"))];
        fill(place, h("span", { class: "gone" }, ...gone));
        place.classList.add("void");
        return;
      }
      const shown = now.previews[index];
      if (shown && preview.src !== shown) {
        preview.src = shown;
        if (!preview.isConnected) fill(place, preview);
      }
      place.style.setProperty("--clear", String(now.job.progress));
      place.classList.toggle("working", now.job.status === "running");
    },
  };
}

/** @param {string} job @param {string} image */
async function openFrom(job, image) {
  const { openViewer } = await import("./viewer.js");
  const all = jobs.get()?.find((one) => one.job.id === job)?.job.output ?? [];
  const items = all.map((output) => ({ id: output.id, url: output.url, seed: output.seed, width: output.width, height: output.height, job }));
  openViewer(items, items.findIndex((item) => item.id === image));
}

/** The idea alone: the prompt box says "me" by itself. @param {string} prompt @param {Api.Person[]} who */
function withoutMe(prompt, who) {
  const begins = [who.length > 1 ? t("prompt.me_and", { name: who[1].name }) : "", t("prompt.me"), "me", "io"];
  const begin = begins.find((words) => words && prompt.toLowerCase().startsWith(`${words.toLowerCase()} `));
  return begin ? prompt.slice(begin.length + 1) : prompt;
}
