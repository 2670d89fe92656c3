// The first screen: the welcome where nobody is known yet, else the prompt box and what came of it.

import { createComposer } from "./composer.js";
import { h } from "./dom.js";
import { preselect } from "./draft.js";
import { createFeed } from "./feed.js";
import { t } from "./i18n.js";
import { jobs, loadJobs, takeOrdered } from "./jobs.js";
import { loadPeople, people } from "./people.js";
import { failure } from "./ui.js";
import { createWelcome } from "./welcome.js";

/** @returns {import("./ui.js").Screen} */
export function createStudio() {
  const element = h("div", { class: "screen" });
  /** @type {import("./ui.js").Screen[]} */
  let parts = [];
  let shown = "";

  const clear = () => {
    for (const part of parts) part.close?.();
    parts = [];
    element.replaceChildren();
  };

  const draw = () => {
    const known = people.get();
    const had = jobs.get();
    if (!known || !had) return;
    const wanted = known.length || had.length ? "studio" : "welcome";
    preselect(known, had.map((one) => one.job));
    if (wanted === shown) return;
    shown = wanted;
    clear();
    if (wanted === "welcome") {
      const welcome = createWelcome();
      parts = [welcome];
      element.append(welcome.element);
      return;
    }
    const composer = createComposer();
    const feed = createFeed();
    parts = [composer, feed];
    element.append(
      h("h1", { class: "visually-hidden" }, t("nav.imagine")),
      h("div", { class: "studio" }, h("div", { class: "desk" }, composer.element), feed.element),
    );
  };

  const load = () => {
    Promise.all([loadPeople(), loadJobs()]).then(
      // what was ordered on another screen
      () => requestAnimationFrame(onOrdered),
      (error) => {
        if (!people.get() || !jobs.get()) element.replaceChildren(failure(error, () => (element.replaceChildren(), load())));
      },
    );
  };
  const stops = [people.watch(draw), jobs.watch(draw)];
  const onOrdered = () => {
    const results = element.isConnected && element.querySelector(".results");
    if (!results || !takeOrdered()) return;
    // beside the box they are in sight, unless somebody has gone down the page
    if (matchMedia("(max-width: 60rem)").matches || results.getBoundingClientRect().top < 0) results.scrollIntoView({ block: "start" });
  };
  document.addEventListener("imagine:ordered", onOrdered);
  load();
  return {
    element,
    title: t("nav.imagine"),
    close() {
      document.removeEventListener("imagine:ordered", onOrdered);
      stops.forEach((stop) => stop());
      clear();
    },
  };
}
