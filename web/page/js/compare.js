// Two pictures on top of each other with an edge to drag: by pointer, touch or arrow keys.

import { h } from "./dom.js";

class CompareSlider extends HTMLElement {
  connectedCallback() {
    const range = this.querySelector("input");
    const place = () => this.style.setProperty("--at", `${range?.value ?? 50}%`);
    range?.addEventListener("input", place);
    place();
  }
}
customElements.define("compare-slider", CompareSlider);

/** @param {{ left: HTMLImageElement, right: HTMLImageElement, label: string, leftName: string, rightName: string }} of */
export function compareSlider(of) {
  const slider = document.createElement("compare-slider");
  of.left.classList.add("compare-left");
  of.right.classList.add("compare-right");
  slider.append(
    of.right,
    of.left,
    h("span", { class: "compare-edge", "aria-hidden": "true" }),
    h("span", { class: "compare-name left", "aria-hidden": "true" }, of.leftName),
    h("span", { class: "compare-name right", "aria-hidden": "true" }, of.rightName),
    h("input", { type: "range", min: "0", max: "100", value: "50", "aria-label": of.label }),
  );
  return slider;
}
