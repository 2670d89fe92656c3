// What was read on the web for a scene: texts by strangers, shown as text, with links that go nowhere but to the web.

import { h } from "./dom.js";
import { t } from "./i18n.js";

/** The address as a link may have it; none where it is not one of the web. @param {string} text */
export function webAddress(text) {
  try {
    const url = new URL(text);
    return ["http:", "https:"].includes(url.protocol) ? url : null;
  } catch {
    return null;
  }
}

/** @param {Api.Source} source */
function row(source) {
  const url = webAddress(source.url);
  const name = source.title.trim() || url?.host || source.url;
  if (!url) return h("li", null, name);
  // the host as the browser reads it: a title may claim to be anything
  return h("li", null, h("a", { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow", referrerPolicy: "no-referrer" }, name), " ", h("span", { class: "hint" }, url.host));
}

/** @param {Api.Source[] | undefined} sources @returns {HTMLElement | null} */
export function sourcesList(sources) {
  if (!sources?.length) return null;
  return h("div", { class: "sources" }, h("p", { class: "hint" }, t("expand.sources")), h("ul", null, ...sources.map(row)));
}
