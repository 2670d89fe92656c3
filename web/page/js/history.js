// Every picture, newest first: only the rows in sight are in the page, however many there are.

import { button, fill, h, icon } from "./dom.js";
import { t } from "./i18n.js";
import { listImages, onImagesChanged, show } from "./images.js";
import { loadPeople, people, personOf } from "./people.js";
import { empty, failure } from "./ui.js";
import { likenessNumber, likenessWord } from "./words.js";

/** As many as the service gives at once. */
const pageSize = 200;
/** Milliseconds that a picture must stay when it comes by in a fling. */
const flingPause = 80;
const gap = 8;
const spareRows = 3;
const typingPause = 300;

/** @type {(() => void) | null} */
let refreshShown = null;
onImagesChanged(() => refreshShown?.());

/** @param {URLSearchParams} query @returns {import("./ui.js").Screen} */
export function createHistory(query) {
  const filter = { q: query.get("q") ?? "", person: query.get("person") ?? "", favourite: query.get("favourite") === "1" };
  /** @type {Api.Image[]} */
  let images = [];
  /** @type {string | null} */
  let next = null;
  let ended = false;
  let loading = false;
  let turn = 0;
  let topBefore = 0;

  const grid = h("ul", { class: "wall", "aria-label": t("nav.history") });
  const foot = h("div", { class: "wall-foot", "aria-live": "polite" });
  /** @type {Map<number, HTMLElement>} */
  const shown = new Map();

  const layout = () => {
    const width = grid.clientWidth || 320;
    const least = width < 560 ? 104 : width < 1400 ? 168 : 208;
    const columns = Math.max(2, Math.floor((width + gap) / (least + gap)));
    const side = (width - gap * (columns - 1)) / columns;
    return { columns, side };
  };

  const draw = () => {
    const { columns, side } = layout();
    const stride = side + gap;
    const rows = Math.ceil(images.length / columns);
    grid.style.setProperty("height", `${Math.max(0, rows * stride - gap)}px`);
    const top = -grid.getBoundingClientRect().top;
    const flung = Math.abs(top - topBefore) > innerHeight / 2;
    topBefore = top;
    const first = Math.max(0, Math.floor(top / stride) - spareRows) * columns;
    const last = Math.min(images.length, (Math.ceil((top + innerHeight) / stride) + spareRows) * columns);
    for (const [index, element] of shown) {
      if (index >= first && index < last) continue;
      if (element.contains(document.activeElement)) continue;
      element.remove();
      // what is not here yet would come before what is in sight
      element.querySelector("img:not(.here)")?.removeAttribute("src");
      shown.delete(index);
    }
    for (let index = first; index < last; index += 1) {
      let element = shown.get(index);
      if (!element) {
        element = tile(index, flung);
        shown.set(index, element);
        insert(element, index);
      }
      element.style.transform = `translate(${(index % columns) * stride}px, ${Math.floor(index / columns) * stride}px)`;
      element.style.width = element.style.height = `${side}px`;
    }
    // whoever scrolls is to find them there
    if (!ended && last > images.length - (top > 0 ? 2 * pageSize : 8 * columns)) more();
  };

  /** In the order of the pictures, so that Tab follows the eye. @param {HTMLElement} element @param {number} index */
  const insert = (element, index) => {
    const behind = (/** @type {Element | null} */ other) => Number(/** @type {HTMLElement | null} */ (other)?.dataset.index ?? -1) > index;
    const after = behind(grid.lastElementChild) ? [...grid.children].find(behind) : null;
    grid.insertBefore(element, after ?? null);
  };

  /** @param {number} index @param {boolean} flung */
  const tile = (index, flung) => {
    const image = images[index];
    const img = h("img", { alt: "", width: 256, height: 256 });
    img.addEventListener("load", () => img.classList.add("here"), { once: true });
    if (flung) setTimeout(() => img.isConnected && show(img, image.thumb_url), flingPause);
    else show(img, image.thumb_url);
    const best = image.likeness?.[0];
    const name = [
      t("history.open", { prompt: image.prompt }),
      image.likeness?.length ? `${likenessWord(best, personOf(image.people?.[0] ?? "")?.encoder)} ${likenessNumber(best)}` : "",
      image.favourite ? t("viewer.favourite") : "",
    ]
      .filter(Boolean)
      .join(". ");
    return h(
      "li",
      { class: "wall-tile", "data-index": index, "aria-posinset": index + 1, "aria-setsize": ended ? images.length : -1 },
      h(
        "button",
        { type: "button", id: `open-${image.id}`, "aria-label": name, on: { click: () => open(images.findIndex((one) => one.id === image.id)) } },
        img,
        image.favourite ? h("span", { class: "fav", "aria-hidden": "true" }, icon("heart")) : null,
        typeof best === "number" ? h("span", { class: "badge", "aria-hidden": "true" }, likenessNumber(best)) : null,
      ),
    );
  };

  const open = async (/** @type {number} */ index) => {
    const { openViewer } = await import("./viewer.js");
    openViewer(images, index, changed, {
      count: () => (ended ? images.length : null),
      // the wall behind the large picture grows along
      more: async (last) => {
        if (failed) ended = false;
        for (;;) {
          const at = images.findIndex((image) => image.id === last);
          if (at >= 0 && at < images.length - 1) return images.slice(at + 1);
          if (ended) return [];
          await more();
          if (failed) throw failed;
        }
      },
    });
  };

  /** @type {Promise<void> | null} */
  let coming = null;
  /** Why the last page did not come. @type {unknown} */
  let failed = null;

  /** The next page; one at a time. */
  const more = () => {
    if (ended) return Promise.resolve();
    if (!loading || !coming) coming = load();
    return coming;
  };

  const load = async () => {
    loading = true;
    failed = null;
    const mine = turn;
    fill(foot, h("p", { class: "quiet-text" }, t("loading")));
    try {
      const page = await listImages({ ...filter, after: next, limit: pageSize });
      if (mine !== turn) return;
      images = [...images, ...page.data];
      next = page.next;
      ended = !page.has_more;
      drawFoot();
    } catch (error) {
      if (mine === turn) {
        failed = error;
        loading = false;
        ended = true;
        fill(
          foot,
          failure(error, () => {
            ended = false;
            more();
          }),
        );
      }
      return;
    } finally {
      if (mine === turn) loading = false;
    }
    draw();
  };

  const drawFoot = () => {
    if (!ended) fill(foot);
    else fill(foot, images.length ? h("p", { class: "quiet-text" }, t("history.all", { count: images.length })) : nothing());
  };

  /** One is gone or was marked: the others stay where they are. @param {string} id @param {{ favourite?: boolean, deleted?: boolean }} change */
  const changed = (id, { deleted, ...change }) => {
    const at = images.findIndex((image) => image.id === id);
    if (at < 0) return;
    images = deleted ? images.toSpliced(at, 1) : images.with(at, { ...images[at], ...change });
    shown.clear();
    fill(grid);
    drawFoot();
    draw();
  };

  const nothing = () => {
    const filtered = filter.q || filter.person || filter.favourite;
    if (filtered) return empty(t("history.none"), t("history.none.text"), button({ label: t("history.clear"), on: () => (location.hash = "#/history") }));
    return empty(t("history.empty"), t("history.empty.text"), button({ icon: "spark", label: t("nav.imagine"), class: "primary", on: () => (location.hash = "#/") }));
  };

  const restart = () => {
    turn += 1;
    images = [];
    next = null;
    ended = false;
    loading = false;
    const focused = grid.contains(document.activeElement);
    shown.clear();
    fill(grid);
    more().then(() => {
      if (focused) grid.querySelector("button")?.focus();
    });
  };

  let pending = 0;
  const onScroll = () => {
    cancelAnimationFrame(pending);
    pending = requestAnimationFrame(draw);
  };
  window.addEventListener("scroll", onScroll, { passive: true });
  const resize = new ResizeObserver(onScroll);
  resize.observe(grid);

  grid.addEventListener("keydown", (event) => {
    const current = Number(/** @type {HTMLElement | null} */ (document.activeElement?.closest(".wall-tile"))?.dataset.index);
    if (Number.isNaN(current)) return;
    const { columns } = layout();
    /** @type {Record<string, number>} */
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -current, End: images.length - 1 - current };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const index = Math.min(images.length - 1, Math.max(0, current + step));
    const { side } = layout();
    const y = grid.getBoundingClientRect().top + scrollY + Math.floor(index / columns) * (side + gap);
    if (y < scrollY + 120 || y + side > scrollY + innerHeight - 90) window.scrollTo({ top: y - innerHeight / 3, behavior: "instant" });
    draw();
    shown.get(index)?.querySelector("button")?.focus({ preventScroll: true });
  });

  refreshShown = () => {
    if (scrollY < innerHeight) restart();
  };
  const stop = loadBar(filter, restart);
  const element = h("div", { class: "screen" }, h("header", { class: "screen-head" }, h("h1", null, t("nav.history")), stop.element), grid, foot);
  requestAnimationFrame(() => restart());
  return {
    element,
    title: t("nav.history"),
    close() {
      turn += 1;
      refreshShown = null;
      window.removeEventListener("scroll", onScroll);
      resize.disconnect();
      stop.close();
    },
  };
}

/** Search by words and person. @param {{ q: string, person: string, favourite: boolean }} filter @param {() => void} restart */
function loadBar(filter, restart) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const changed = () => {
    const query = new URLSearchParams();
    if (filter.q) query.set("q", filter.q);
    if (filter.person) query.set("person", filter.person);
    if (filter.favourite) query.set("favourite", "1");
    history.replaceState(null, "", `#/history${query.size ? `?${query}` : ""}`);
    restart();
  };
  const q = h("input", {
    type: "search",
    value: filter.q,
    placeholder: t("history.search"),
    "aria-label": t("history.search"),
    on: {
      input: () => {
        clearTimeout(timer);
        timer = setTimeout(() => {
          filter.q = q.value.trim();
          changed();
        }, typingPause);
      },
    },
  });
  const who = h("select", {
    "aria-label": t("history.person"),
    on: {
      change: () => {
        filter.person = who.value;
        changed();
      },
    },
  });
  const favourite = button({
    icon: "heart",
    label: t("history.favourites"),
    class: filter.favourite ? "on" : "",
    on: () => {
      filter.favourite = !filter.favourite;
      favourite.classList.toggle("on", filter.favourite);
      favourite.setAttribute("aria-pressed", String(filter.favourite));
      changed();
    },
  });
  favourite.setAttribute("aria-pressed", String(filter.favourite));
  const stop = people.watch((known) => {
    fill(who, h("option", { value: "" }, t("history.everyone")), ...(known ?? []).map((person) => h("option", { value: person.id }, person.name)));
    who.value = filter.person;
  });
  if (!people.get()) loadPeople().catch(() => undefined);
  return {
    element: h("search", { class: "row wrap search" }, h("span", { class: "search-box" }, icon("search"), q), who, favourite),
    close() {
      clearTimeout(timer);
      stop();
    },
  };
}
