// Starts the page: language, theme, frame, and the screen that the address names.

import { apiKey, keyWorked, rememberKey, watchConnection, sawConnection } from "./api.js";
import { button, fill, h, icon, takesText } from "./dom.js";
import { language, languages, preferredLanguage, rememberLanguage, t, useLanguage } from "./i18n.js";
import { loadJobs } from "./jobs.js";
import { loadPeople } from "./people.js";
import { keep } from "./store.js";
import { openDialog } from "./ui.js";

/** @type {Record<string, (query: URLSearchParams) => Promise<import("./ui.js").Screen>>} */
const screens = {
  "/": async () => (await import("./studio.js")).createStudio(),
  "/history": async (query) => (await import("./history.js")).createHistory(query),
  "/people": async () => (await import("./people-screen.js")).createPeopleScreen(),
  "/batches": async () => (await import("./batches.js")).createBatches(),
};

/** @type {[string, import("./dom.js").IconName, string][]} */
const places = [
  ["/", "spark", "nav.imagine"],
  ["/history", "history", "nav.history"],
  ["/people", "people", "nav.people"],
  ["/batches", "batch", "nav.batches"],
];

const themes = /** @type {const} */ (["auto", "light", "dark"]);

/** @type {import("./ui.js").Screen | null} */
let shown = null;
let turn = 0;
const main = h("main", { id: "main", tabIndex: -1 });
const banner = h("div", { class: "connection", role: "status", hidden: true });

function here() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  return { path: screens[path] ? path : "/", query: new URLSearchParams(query ?? "") };
}

/** @param {boolean} [moved] by the person, so that the focus follows */
async function route(moved = false) {
  const mine = ++turn;
  // whoever goes back or elsewhere leaves what was open over the screen
  if (moved) for (const open of document.querySelectorAll("dialog[open]")) /** @type {HTMLDialogElement} */ (open).close();
  const { path, query } = here();
  const next = await screens[path](query);
  if (mine !== turn) {
    next.close?.();
    return;
  }
  shown?.close?.();
  shown = next;
  fill(main, next.element);
  document.title = next.title && path !== "/" ? `${next.title} · Imagine` : "Imagine";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#${path}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (moved) {
    window.scrollTo({ top: 0, behavior: "instant" });
    main.focus({ preventScroll: true });
  }
}

function navigation(/** @type {string} */ name) {
  return h(
    "nav",
    { class: name, "aria-label": t(name === "tabs" ? "nav.tabs" : "nav.label") },
    ...places.map(([path, symbol, key]) => h("a", { href: `#${path}` }, icon(symbol), h("span", null, t(key)))),
  );
}

function frame() {
  const menu = button({ icon: "settings", label: t("settings.title"), hide: true, class: "round quiet", id: "open-settings", on: openSettings });
  const help = button({ icon: "help", label: t("help.title"), hide: true, class: "round quiet", key: "?", id: "open-help", on: openHelp });
  document.querySelectorAll("body > header, body > nav, body > footer, body > .skip").forEach((old) => old.remove());
  document.body.prepend(
    h(
      "a",
      {
        class: "skip",
        href: "#main",
        on: {
          click: (/** @type {Event} */ event) => {
            event.preventDefault();
            main.focus();
          },
        },
      },
      t("nav.skip"),
    ),
    h("header", { class: "top" }, h("a", { class: "wordmark", href: "#/" }, icon("spark"), "Imagine"), navigation("links"), h("div", { class: "row tight" }, help, menu)),
  );
  main.after(h("footer", { class: "foot" }, t("footer")), navigation("tabs"));
}

function openSettings() {
  openDialog({
    title: t("settings.title"),
    class: "small",
    content: (close) =>
      h(
        "div",
        { class: "stack" },
        chooser(t("settings.language"), languages.map((code) => [code, t(`language.${code}`)]), language(), async (code) => {
          const chosen = languages.find((one) => one === code) ?? "en";
          rememberLanguage(chosen);
          await useLanguage(chosen);
          frame();
          await route();
          close();
        }),
        chooser(t("settings.theme"), themes.map((name) => [name, t(`theme.${name}`)]), localStorage.getItem("imagine.theme") ?? "auto", (name) => {
          keep(localStorage, "imagine.theme", name);
          applyTheme(name);
        }),
        h("p", { class: "hint" }, h("a", { href: "/docs" }, t("settings.docs"))),
      ),
  });
}

/** @param {string} label @param {[string, string][]} options @param {string} chosen @param {(value: string) => void} on */
function chooser(label, options, chosen, on) {
  const name = `choice-${label}`;
  return h(
    "fieldset",
    { class: "segments" },
    h("legend", null, label),
    ...options.map(([value, text]) => {
      const id = `${name}-${value}`;
      return h("span", null, h("input", { type: "radio", name, id, value, checked: value === chosen, class: "visually-hidden", on: { change: () => on(value) } }), h("label", { for: id }, text));
    }),
  );
}

function openHelp() {
  /** @type {[string, string][]} */
  const keys = [
    ["Ctrl Enter", "help.go"],
    ["← →", "help.arrows"],
    ["C", "help.compare"],
    ["R", "help.more"],
    ["F", "help.favourite"],
    ["Del", "help.delete"],
    ["Esc", "help.close"],
    ["?", "help.help"],
  ];
  openDialog({
    title: t("help.title"),
    class: "small",
    content: () => h("dl", { class: "keys" }, ...keys.flatMap(([key, text]) => [h("dt", null, h("kbd", null, key)), h("dd", null, t(text))])),
  });
}

function openKey() {
  if (document.querySelector("dialog.key")) return;
  const refused = apiKey() !== null;
  openDialog({
    title: t("key.title"),
    class: "small key",
    content: (close) => {
      const key = h("input", { type: "password", required: true, autocomplete: "off", "aria-label": t("key.label"), placeholder: "imk_…" });
      return h(
        "form",
        {
          class: "stack",
          on: {
            submit: (/** @type {Event} */ event) => {
              event.preventDefault();
              // what no header can hold is no part of a key
              const given = key.value.replace(/[^!-~]/g, "");
              if (!given) return;
              rememberKey(given);
              close();
              location.reload();
            },
          },
        },
        refused ? h("p", { class: "hint warn", role: "alert" }, t(keyWorked() ? "key.revoked" : "key.refused")) : null,
        h("p", null, t("key.text")),
        key,
        h("div", { class: "row end" }, button({ label: t("key.use"), type: "submit", class: "primary" })),
      );
    },
  });
}

/** @param {string} theme */
function applyTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

applyTheme(localStorage.getItem("imagine.theme") ?? "auto");
watchConnection((reachable) => {
  banner.hidden = reachable;
  banner.textContent = reachable ? "" : t("connection.lost");
  if (reachable) Promise.all([loadPeople(), loadJobs()]).catch(() => undefined);
});
window.addEventListener("offline", () => sawConnection(false));
window.addEventListener("online", () => {
  loadPeople().catch(() => undefined);
});
document.addEventListener("imagine:key-needed", openKey);
document.addEventListener("imagine:job-over", (event) => {
  const job = /** @type {CustomEvent<Api.Job>} */ (event).detail;
  if (document.hidden && job.status === "succeeded") document.title = `✓ ${t("nav.imagine")}`;
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && document.title.startsWith("✓")) document.title = "Imagine";
});
document.addEventListener("keydown", (event) => {
  if (event.key === "?" && !takesText(event.target) && !document.querySelector("dialog.small[open]")) openHelp();
});
window.addEventListener("hashchange", () => route(true));
// a file dropped beside the place for it must not replace the page
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());

await useLanguage(preferredLanguage());
document.body.append(banner, main);
frame();
document.body.classList.add("ready");
await route();
