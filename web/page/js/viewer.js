// One picture, large: how like it is, how it was made, and what can be done with it.

import { apiKey, call } from "./api.js";
import { compareChoice, comparedIn, compareSlider } from "./compare.js";
import { button, fill, h, takesText } from "./dom.js";
import { advancedOf, amend, draft, noScene, placesOf } from "./draft.js";
import { has, moment, number, t } from "./i18n.js";
import { deleteImage, download, imageInfo, setFavourite, show } from "./images.js";
import { ofPhoto, orderFor, showOrdered, submit, unknownOf, withPlaces } from "./jobs.js";
import { people, personOf } from "./people.js";
import { sourcesList } from "./sources.js";
import { strengthWords } from "./strengths.js";
import { confirm, failure, notice, openDialog } from "./ui.js";
import { explainShort, likenessNumber, likenessWord } from "./words.js";

/** @typedef {{ id: string, url: string, seed: number, width: number, height: number, job: string }} Item */

const varyStrength = 0.45;
const longestBeside = 28;

/**
 * @param {Item[]} items
 * @param {number} start
 * @param {(id: string, change: { favourite?: boolean, deleted?: boolean }) => void} [onChange] after one was deleted or marked
 * @param {{ count: () => number | null, more: (last: string) => Promise<Item[]> }} [beyond] how many there are in all, where that is
 *   known, and the pictures behind one of an id; none where there are no more
 */
export function openViewer(items, start, onChange, beyond) {
  const list = [...items];
  /** Whether there may be more behind the last one. */
  let openEnded = Boolean(beyond);
  let fetching = false;
  let at = Math.max(0, start);
  let turn = 0;
  const nothing = { info: null, job: null, compared: [], comparing: "" };
  /** `comparing` is the person whose selfie lies over the picture. @type {{ info: Api.Image | null, job: Api.Job | null, compared: import("./compare.js").Compared[], comparing: string }} */
  let now = nothing;

  const stage = h("div", { class: "stage" });
  const side = h("div", { class: "side stack" });
  const { dialog, close } = openDialog({
    title: t("viewer.title"),
    hideTitle: true,
    class: "viewer",
    content: () => h("div", { class: "viewer-body" }, stage, side),
  });

  const item = () => list[at];
  /** @param {number} by */
  const go = async (by) => {
    if (by > 0 && at === list.length - 1 && openEnded && beyond) {
      if (fetching) return;
      fetching = true;
      const known = list.length;
      try {
        const more = await beyond.more(list[known - 1].id);
        openEnded = more.length > 0;
        list.push(...more);
      } catch (error) {
        return notice(explainShort(error));
      } finally {
        fetching = false;
      }
      // closed, or gone elsewhere, while they came
      if (!dialog.open || at !== known - 1) return;
    }
    // before the first there is nothing while the last is not known
    if (list.length < 2 || (openEnded && at + by < 0)) return;
    at = (at + by + list.length) % list.length;
    open();
  };

  /** Ends when all is known of the picture that is shown. */
  let opened = Promise.resolve();
  const open = () => (opened = load());
  /** A key that is pressed before that is not lost. @param {() => unknown} act */
  const once = (act) => async () => {
    const mine = turn;
    await opened;
    if (mine === turn && now.info && dialog.open) act();
  };

  const load = async () => {
    const mine = ++turn;
    now = nothing;
    drawStage();
    fill(side, h("p", { class: "quiet-text" }, t("loading")));
    try {
      const [info, job] = await Promise.all([
        imageInfo(item().id),
        call(`/v1/jobs/${item().job}`)
          .then((said) => /** @type {Api.Job} */ (said))
          .catch(() => null),
        people.get(),
      ]);
      if (mine !== turn) return;
      now = { ...now, info, job };
      drawSide();
    } catch (error) {
      if (mine === turn) fill(side, failure(error, open));
    }
  };

  const drawStage = () => {
    const one = item();
    const img = h("img", {
      alt: now.info ? t("viewer.alt", { prompt: now.info.prompt }) : t("viewer.picture"),
      width: one.width,
      height: one.height,
    });
    img.addEventListener("error", () => stage.classList.add("broken"), { once: true });
    stage.classList.remove("broken");
    show(img, one.url);
    stage.style.setProperty("--wide", String(one.width / one.height));
    stage.style.setProperty("--pixels", String(one.width));
    const over = now.compared.find((one) => one.person.id === now.comparing);
    const picture = over?.address ? compareSlider({ ...over, address: over.address }, img, now.compared.length > 1) : img;
    const many = list.length > 1;
    fill(
      stage,
      h("figure", null, picture, h("figcaption", { class: "ai-mark" }, t("viewer.mark"))),
      many ? button({ icon: "left", label: t("viewer.previous"), hide: true, class: "round over previous", key: "ArrowLeft", on: () => go(-1) }) : null,
      many ? button({ icon: "right", label: t("viewer.next"), hide: true, class: "round over next", key: "ArrowRight", on: () => go(1) }) : null,
      many ? h("p", { class: "place", "aria-live": "polite" }, placeText()) : null,
    );
  };

  /** @param {string} person none puts the selfie away */
  const compareWith = (person) => {
    now = { ...now, comparing: person };
    drawStage();
    drawSide();
  };

  const placeText = () => {
    const of = openEnded ? (beyond?.count() ?? null) : list.length;
    return of === null ? t("viewer.place.open", { at: at + 1 }) : t("viewer.place", { at: at + 1, of });
  };

  const acts = {
    async compare() {
      const mine = turn;
      if (!now.info?.people.length) return;
      if (now.comparing) return compareWith("");
      const compared = await comparedIn(now.info, now.job);
      if (mine !== turn) return;
      const first = compared.find((one) => one.address);
      if (!first) return notice(t("viewer.no_selfie"));
      now = { ...now, compared };
      compareWith(first.person.id);
    },
    async favourite() {
      if (!now.info) return;
      const favourite = !now.info.favourite;
      const { id } = item();
      await setFavourite(id, favourite).then(
        () => {
          if (now.info) now = { ...now, info: { ...now.info, favourite } };
          drawSide();
          onChange?.(id, { favourite });
        },
        (error) => notice(explainShort(error)),
      );
    },
    more: () => orderAgain(null, t("viewer.more.ordered")),
    vary: () => orderAgain({ image: item().id, strength: varyStrength }, t("viewer.vary.ordered")),
    newPrompt() {
      const input = now.job?.input;
      amend({
        people: now.info?.people ?? [],
        places: input ? placesOf(input) : null,
        style: input?.style ?? "",
        ...noScene,
        touched: {},
        idea: "",
        advanced: { ...(input ? advancedOf(input) : draft.get().advanced), n: "1", seed: String(item().seed) },
      });
      close();
      location.hash = "#/";
      setTimeout(() => document.querySelector("textarea")?.focus(), 60);
      notice(t("viewer.seed.kept", { seed: String(item().seed) }));
    },
    async onlyThis() {
      const { openMask } = await import("./mask.js");
      const { seed: _, expand: __, edit: ___, ground: ____, ...input } = now.job?.input ?? { prompt: "", people: (now.info?.people ?? []).map((person) => ({ person })) };
      openMask({ item: item(), input: withPlaces(input), prompt: now.job?.expansion?.prompt ?? now.info?.prompt ?? "", onOrdered: close });
    },
    save: () => download(item()).catch((error) => notice(explainShort(error))),
    async curl() {
      const known = now.job ? orderFor(now.job) : { order: inputOf(now.info) };
      const photo = Boolean(now.job && ofPhoto(now.job));
      if (!known) return now.job && notice(unknownOf(now.job));
      const text = curlOf(known.order, item().seed, photo);
      const files = photo ? t("viewer.curl.photo") : "";
      try {
        await navigator.clipboard.writeText(text);
        notice([t("viewer.curl.copied"), files].filter(Boolean).join(" "));
      } catch {
        const code = h("textarea", { class: "code", readOnly: true, rows: 8, value: text, "aria-label": t("viewer.curl") });
        openDialog({ title: t("viewer.curl"), class: "small", content: () => h("div", { class: "stack" }, files ? h("p", null, files) : null, code) });
      }
    },
    async remove() {
      const sure = await confirm({ title: t("viewer.delete"), body: t("viewer.delete.text"), yes: t("delete"), danger: true });
      if (!sure) return;
      const { id } = item();
      try {
        await deleteImage(id);
      } catch (error) {
        notice(explainShort(error));
        return;
      }
      onChange?.(id, { deleted: true });
      list.splice(at, 1);
      if (!list.length) return close();
      at = Math.min(at, list.length - 1);
      open();
      notice(t("viewer.deleted"));
    },
  };

  /** With a new seed, and another change of a picture where one is named. @param {Api.Edit | null} edit @param {string} said */
  const orderAgain = async (edit, said) => {
    const { job } = now;
    const plain = withPlaces(job?.input ?? inputOf(now.info));
    // what was painted elsewhere cannot be repeated: then the words are
    const known = (edit || !job ? null : orderFor(job)) ?? { order: { ...plain, ...(job?.expansion ? { expand: job.expansion } : {}), edit: undefined } };
    const { seed: _, ...order } = known.order;
    try {
      await submit(edit ? { ...order, edit } : order, known.files);
      close();
      showOrdered();
      notice(said);
    } catch (error) {
      notice(explainShort(error));
    }
  };

  const drawSide = () => {
    const { info, job } = now;
    if (!info) return;
    const focused = side.contains(document.activeElement) ? document.activeElement?.getAttribute("data-act") : null;
    const act = (/** @type {Parameters<typeof button>[0]} */ of, /** @type {string} */ name) => {
      const made = button(of);
      made.dataset.act = name;
      return made;
    };
    const heart = act({ icon: "heart", label: t("viewer.favourite"), key: "F", class: info.favourite ? "on" : "", on: acts.favourite }, "favourite");
    heart.setAttribute("aria-pressed", String(info.favourite));
    const compare = act({ icon: "compare", label: t("viewer.compare"), key: "C", class: now.comparing ? "on" : "", on: acts.compare }, "compare");
    compare.setAttribute("aria-pressed", String(Boolean(now.comparing)));
    const words = h("p", { class: "viewer-prompt" }, info.prompt);
    fill(
      side,
      words,
      ...likenessRows(info),
      h(
        "div",
        { class: "acts main" },
        act({ icon: "again", label: t("viewer.more"), key: "R", class: "primary", on: acts.more }, "more"),
        act({ icon: "vary", label: t("viewer.vary"), on: acts.vary }, "vary"),
        act({ icon: "seed", label: t("viewer.new_prompt"), on: acts.newPrompt }, "prompt"),
        act({ icon: "brush", label: t("viewer.only_this"), on: acts.onlyThis }, "mask"),
      ),
      h(
        "div",
        { class: "acts" },
        info.people.length ? compare : null,
        heart,
        act({ icon: "download", label: t("viewer.download"), on: acts.save }, "save"),
        act({ icon: "code", label: t("viewer.curl"), on: acts.curl }, "curl"),
        act({ icon: "trash", label: t("viewer.delete"), key: "Delete", class: "danger-text", on: acts.remove }, "delete"),
      ),
      now.comparing && now.compared.length > 1 ? compareChoice(now.compared, now.comparing, compareWith) : null,
      settingsList(info, job),
      sourcesList(job?.expansion?.sources),
    );
    // long words scroll, so that what can be done stays in sight
    if (words.scrollHeight > words.clientHeight + 1) words.tabIndex = 0;
    if (focused) /** @type {HTMLElement | null} */ (side.querySelector(`[data-act="${focused}"]`))?.focus();
  };

  dialog.addEventListener("keydown", (event) => {
    if (takesText(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
    const onRange = event.target instanceof HTMLInputElement;
    /** @type {Record<string, (() => unknown) | undefined>} */
    const keys = {
      ArrowLeft: onRange ? undefined : () => go(-1),
      ArrowRight: onRange ? undefined : () => go(1),
      c: once(acts.compare),
      r: once(acts.more),
      f: once(acts.favourite),
      Delete: acts.remove,
    };
    const does = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!does) return;
    event.preventDefault();
    does();
  });
  open();
}

/** @param {Api.Image | null} info @returns {Api.JobRequest} */
function inputOf(info) {
  return { prompt: info?.prompt ?? "", n: 4, people: (info?.people ?? []).map((person) => ({ person })) };
}

/** @param {Api.Image} info */
function likenessRows(info) {
  return (info.likeness ?? []).map((cosine, index) => {
    const meter = h("div", { class: "likeness-bar", "aria-hidden": "true" }, h("span"));
    meter.style.setProperty("--done", String(Math.max(0, Math.min(1, cosine ?? 0))));
    const name = info.people.length > 1 && personOf(info.people[index] ?? "")?.name;
    return h(
      "div",
      { class: "likeness" },
      h("span", { class: "hint" }, name ? t("viewer.likeness_to", { name }) : t("viewer.likeness")),
      h("strong", null, likenessWord(cosine, personOf(info.people[index] ?? "")?.encoder), " ", h("span", { class: "figure" }, likenessNumber(cosine))),
      meter,
    );
  });
}

/** Strengths in detail, with the names of several. @param {Api.JobPerson[]} people */
function inDetail(people) {
  return people
    .map((one) => [people.length > 1 ? personOf(one.person)?.name : "", strengthWords(one)])
    .filter(([, words]) => words)
    .map((parts) => parts.filter(Boolean).join(": "))
    .join("; ");
}

/** The seed and every setting. @param {Api.Image} info @param {Api.Job | null} job */
function settingsList(info, job) {
  const input = job?.input;
  /** @type {[string, string | number | null | undefined][]} */
  const rows = [
    [t("advanced.seed"), String(info.seed)],
    [t("viewer.size"), `${info.width} × ${info.height}`],
    [t("advanced.model"), input?.model],
    [t("advanced.steps"), input?.steps],
    [t("advanced.guidance"), input?.guidance_scale === undefined ? "" : number(input.guidance_scale)],
    [t("advanced.scheduler"), input?.scheduler],
    [t("advanced.strength"), input?.people?.map((one) => number(one.scale ?? 1)).join(", ")],
    [t("strength.title"), inDetail(input?.people ?? [])],
    [t("style.legend"), input?.style && has(`style.${input.style}`) ? t(`style.${input.style}`) : input?.style],
    [t("advanced.negative"), input?.negative_prompt || job?.expansion?.negative_prompt],
    [t("expand.told"), job?.expansion?.prompt],
    [t("viewer.edit"), input?.edit ? number(input.edit.strength) : ""],
    [t("viewer.made"), moment(info.created)],
  ];
  return h(
    "dl",
    { class: "settings" },
    ...rows
      .filter(([, value]) => value !== undefined && value !== null && value !== "")
      .flatMap(([name, value]) => {
        // beside its name a sentence would be a column of single words
        const long = String(value).length > longestBeside ? "long" : undefined;
        return [h("dt", { class: long }, name), h("dd", { class: long }, value)];
      }),
  );
}

/**
 * A shell command that draws this very picture. A photo that came along goes along again, from a file.
 * @param {Api.JobRequest} input
 * @param {number} seed
 * @param {boolean} [photo]
 */
export function curlOf(input, seed, photo) {
  const { previews: _, ...order } = input;
  const body = JSON.stringify({ ...order, n: 1, seed }, null, 1).replaceAll("'", "'\\''");
  const key = apiKey() ? ` \\\n  -H "Authorization: Bearer $IMAGINE_KEY"` : "";
  // -F would read what follows a ";" in the words as settings of its own
  const form = [`--form-string 'job=${body}'`, "-F edit.image=@photo.jpg", "-F 'consent=<consent.json'"].map((part) => ` \\\n  ${part}`).join("");
  const json = ` \\\n  -H 'Content-Type: application/json' \\\n  -d '${body}'`;
  return `curl -s ${location.origin}/v1/jobs${key}${photo ? form : json}\n`;
}
