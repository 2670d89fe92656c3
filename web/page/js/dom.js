// Elements made by code: text is always text, never markup.

/** @typedef {Node | string | number | null | undefined | false} Child */
/** @typedef {Record<string, unknown> & { on?: Record<string, (event: any) => void> }} Props */

const asAttribute = new Set(["for", "role", "list", "form", "colspan"]);

/**
 * Makes an element. Names with a dash, and a few more, become attributes, `class` and `on` are what they
 * say, everything else is set as a property.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Props | null} [props]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null) continue;
    if (name === "class") element.className = String(value);
    else if (name === "on") {
      for (const [event, listener] of Object.entries(props?.on ?? {})) element.addEventListener(event, listener);
    } else if (name.includes("-") || asAttribute.has(name)) element.setAttribute(name, String(value));
    else Reflect.set(element, name, value);
  }
  element.append(...nodes(children));
  return element;
}

/** @param {(Child | Child[])[]} children @returns {(Node | string)[]} */
function nodes(children) {
  return children
    .flat()
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : String(child)));
}

/** Replaces what is in an element. @param {Element} element @param {...(Child | Child[])} children */
export function fill(element, ...children) {
  element.replaceChildren(...nodes(children));
}

// Strokes on a grid of 24, drawn for this page.
const strokes = {
  spark: "M12 3c.7 5.2 3.3 8 9 9-5.7 1-8.3 3.8-9 9-.7-5.2-3.3-8-9-9 5.7-1 8.3-3.8 9-9z",
  people: "M9 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM2.5 21c.4-4.2 2.7-6.5 6.5-6.5s6.1 2.3 6.5 6.5M16 3.5a4 4 0 0 1 0 7M18.5 15c2 .9 3 3 3.2 6",
  history: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  batch: "M4 5h16M4 10h16M4 15h10M4 20h10M18 14v7M14.5 17.5h7",
  camera: "M3 8h4l2-3h6l2 3h4v11H3zM12 16.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7z",
  upload: "M12 16V4M7 8.5 12 4l5 4.5M4 16v4h16v-4",
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6 6 18",
  check: "M5 12.5l4.5 4.5L19 7.5",
  heart: "M12 20C5 15.5 3 12 3 8.8A4.8 4.8 0 0 1 12 6.5a4.8 4.8 0 0 1 9 2.3C21 12 19 15.5 12 20z",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  download: "M12 4v12M7 11.5l5 4.5 5-4.5M4 20h16",
  code: "M8 7l-5 5 5 5M16 7l5 5-5 5M13.5 5l-3 14",
  compare: "M12 3v18M4 6h5v12H4zM15 6h5v12h-5z",
  again: "M20 12a8 8 0 1 1-2.5-5.8M20 3v5h-5",
  vary: "M3 7h4c5 0 5 10 10 10h4M18 14l3 3-3 3M3 17h4c1.5 0 2.6-.9 3.5-2.2M13.5 9.2C14.4 7.9 15.5 7 17 7h4M18 4l3 3-3 3",
  seed: "M6 11h12v9H6zM8.5 11V7.5a3.5 3.5 0 0 1 7 0V11",
  brush: "M20 4 10 14M8 13.5c-2.5 0-3.5 1.5-3.5 3.5 0 1.5-.8 2.5-2 3 4 1 8-.5 8-4z",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM20 20l-4.7-4.7",
  settings: "M4 7h9M17 7h3M15 9.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM4 17h3M11 17h9M9 19.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z",
  edit: "M4 20l1-4.5L16.5 4 20 7.5 8.5 19z",
  undo: "M8 5 4 9l4 4M4 9h10a6 6 0 0 1 0 12h-3",
  help: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM9.5 9.5A2.5 2.5 0 1 1 13 12c-.7.4-1 .8-1 1.8M12 17v.2",
  shield: "M12 3l8 3c0 7-2.5 12-8 15-5.5-3-8-8-8-15z",
  wait: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7v5l3.5 2",
  warn: "M12 4 2.5 20h19zM12 10v4.5M12 17.3v.2",
};

/** @typedef {keyof typeof strokes} IconName */

/** A decorative icon. @param {IconName} name @returns {SVGSVGElement} */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", strokes[name]);
  svg.append(path);
  return svg;
}

/** As keyboards have it, where `aria-keyshortcuts` has another name. @type {Record<string, string>} */
const keyNames = { "Control+Enter": "Ctrl+Enter", ArrowLeft: "←", ArrowRight: "→", Delete: "Del" };

/**
 * A button with an icon, and a text that may be for screen readers only. While it has the class "busy" it does nothing. An `id` lets the focus find it again after it was made anew.
 * @param {{ icon?: IconName, label: string, hide?: boolean, class?: string, on?: (event: MouseEvent) => void, key?: string, id?: string,
 *   disabled?: boolean, type?: string, title?: string }} of
 */
export function button(of) {
  const title = of.title ?? (of.hide ? of.label : undefined);
  return h(
    "button",
    {
      type: of.type ?? "button",
      id: of.id,
      class: `button ${of.class ?? ""}`,
      disabled: of.disabled ?? false,
      title: of.key ? `${title ?? of.label} (${keyNames[of.key] ?? of.key})` : title,
      "aria-keyshortcuts": of.key,
      on: { click: (event) => event.currentTarget.classList.contains("busy") || of.on?.(event) },
    },
    of.icon ? icon(of.icon) : null,
    h("span", { class: of.hide ? "visually-hidden" : undefined }, of.label),
  );
}

/** Takes whoever works by keyboard to the head of the dialog whose content was exchanged. @param {HTMLElement} inside */
export function focusHead(inside) {
  const dialog = inside.closest("dialog");
  dialog?.scrollTo(0, 0);
  /** @type {HTMLElement | null | undefined} */ (dialog?.querySelector(".dialog-head h2"))?.focus();
}

/**
 * A stroke that ends in motion is a fling to Chromium, which then swallows the next tap anywhere, even where `touch-action` lets nothing be flung.
 * @param {HTMLElement} element over which strokes are drawn
 */
export function letNoFling(element) {
  element.addEventListener("touchmove", (event) => event.preventDefault(), { passive: false });
}

let counted = 0;

/** An id that no other element has. @param {string} stem */
export function freshId(stem) {
  counted += 1;
  return `${stem}-${counted}`;
}

/** Whether typed keys belong to this element. @param {EventTarget | null} target */
export function takesText(target) {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return !["checkbox", "radio", "button", "range"].includes(target.type);
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement || target.isContentEditable;
}
