// "Change only this": a mask painted over a picture, by pointer, touch or keys.

import { button, fill, h } from "./dom.js";
import { t } from "./i18n.js";
import { show } from "./images.js";
import { submit } from "./jobs.js";
import { failure, field, notice, openDialog, toggle } from "./ui.js";

const longestCanvas = 768;
const undoSteps = 30;
/** The new picture is faded in over this part of a side. */
const fadeShare = 24;

/** @typedef {{ url: string, width: number, height: number }} Canvas what is painted over */

/**
 * Over a picture of the service.
 * @param {{ item: import("./viewer.js").Item, input: Partial<Api.JobRequest>, prompt: string, onOrdered: () => void }} of the job's input without its change
 */
export function openMask(of) {
  const { item } = of;
  openDialog({
    title: t("mask.title"),
    class: "sheet mask",
    content: (close) =>
      maskForm({
        item,
        prompt: of.prompt,
        extra: null,
        send: async (prompt, change) => {
          const { width, height } = item;
          await submit({ ...of.input, prompt, expand: false, size: `${width}x${height}`, edit: { image: item.id, ...change(width, height) } });
          close();
          of.onOrdered();
          location.hash = "#/";
          notice(t("mask.ordered"));
        },
      }),
  });
}

/**
 * What is painted over, what should be there, how much may change.
 * @param {{ item: Canvas, prompt: string, extra: HTMLElement | null, send: (prompt: string, change: (width: number, height: number) => Api.Edit) => Promise<void> }} of
 *   `change` is what is to be done to a picture that is drawn in so many pixels
 */
export function maskForm(of) {
  const painter = createPainter(of.item);
  const prompt = h("textarea", { rows: 3, maxLength: 2000, placeholder: t("mask.placeholder"), value: of.prompt });
  const strength = h("input", { type: "range", min: "0.2", max: "1", step: "0.05", value: "0.9" });
  let keepFace = false;
  const said = h("div", { "aria-live": "polite" });
  const paint = h("div", { class: "stack" }, h("p", { class: "hint", id: "mask-help" }, t("mask.help"), h("span", { class: "by-mouse" }, " ", t("mask.keys"))), painter.element, painter.tools);
  const keep = (/** @type {boolean} */ on) => {
    keepFace = on;
    paint.inert = on;
  };
  const go = button({
    icon: "spark",
    label: t("mask.go"),
    class: "primary wide",
    on: async () => {
      if (!keepFace && painter.empty()) return fill(said, h("p", { class: "hint warn" }, t("mask.empty")));
      if (!prompt.value.trim()) {
        prompt.focus();
        return fill(said, h("p", { class: "hint warn" }, t("compose.empty")));
      }
      go.classList.add("busy");
      try {
        await of.send(prompt.value.trim(), (width, height) => ({
          strength: Number(strength.value),
          ...(keepFace ? { keep_face: true } : { mask: painter.mask(width, height), feather: Math.round(Math.max(width, height) / fadeShare) }),
        }));
      } catch (error) {
        fill(said, failure(error, null));
      } finally {
        go.classList.remove("busy");
      }
    },
  });
  return h(
    "div",
    { class: "mask-body" },
    paint,
    h(
      "div",
      { class: "stack" },
      field(t("mask.prompt"), prompt, t("mask.prompt.hint")),
      of.extra,
      field(t("mask.strength"), strength, t("mask.strength.hint")),
      toggle(t("mask.keep_face"), false, keep, t("mask.keep_face.hint")),
      said,
      go,
    ),
  );
}

/** Dark stripes and light ones: seen on skin, sky and leaves alike. @param {CanvasRenderingContext2D} pen @returns {CanvasPattern} */
function hatched(pen) {
  const side = 24;
  const tile = h("canvas", { width: side, height: side });
  const of = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
  of.fillStyle = "#c2187a";
  of.fillRect(0, 0, side, side);
  of.strokeStyle = "#fff";
  of.lineWidth = side / 4;
  of.beginPath();
  // the corners beside the diagonal, too, so that the stripes go on in the next tile
  for (const sum of [0, side, 2 * side]) {
    of.moveTo(sum + side, -side);
    of.lineTo(sum - 2 * side, 2 * side);
  }
  of.stroke();
  return /** @type {CanvasPattern} */ (pen.createPattern(tile, "repeat"));
}

/** @param {Canvas} item */
function createPainter(item) {
  const scale = longestCanvas / Math.max(item.width, item.height);
  const width = Math.round(item.width * scale);
  const height = Math.round(item.height * scale);
  const canvas = h("canvas", {
    width,
    height,
    tabIndex: 0,
    role: "application",
    "aria-label": t("mask.canvas"),
    "aria-describedby": "mask-help",
  });
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  const ink = hatched(pen);
  const cursor = h("span", { class: "brush-cursor", "aria-hidden": "true", hidden: true });
  const img = h("img", { alt: "" });
  show(img, item.url);
  const element = h("div", { class: "painter" }, img, canvas, cursor);
  element.style.setProperty("aspect-ratio", `${width} / ${height}`);

  let brush = Math.round(Math.max(width, height) / 9);
  let erase = false;
  let keyPaint = false;
  /** @type {[number, number]} */
  let at = [width / 2, height / 2];
  /** @type {ImageData[]} */
  const past = [];
  const state = h("p", { class: "visually-hidden", role: "status" });

  const remember = () => {
    past.push(pen.getImageData(0, 0, width, height));
    if (past.length > undoSteps) past.shift();
  };

  /** @param {[number, number]} from @param {[number, number]} to */
  const stroke = (from, to) => {
    pen.globalCompositeOperation = erase ? "destination-out" : "source-over";
    pen.strokeStyle = ink;
    pen.lineWidth = brush;
    pen.lineCap = "round";
    pen.lineJoin = "round";
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(to[0] + 0.01, to[1]);
    pen.stroke();
  };

  const drawCursor = () => {
    cursor.style.left = `${(100 * at[0]) / width}%`;
    cursor.style.top = `${(100 * at[1]) / height}%`;
    cursor.style.width = `${(100 * brush) / width}%`;
    cursor.classList.toggle("painting", keyPaint);
  };

  /** @param {PointerEvent} event @returns {[number, number]} */
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
  };

  let drawing = false;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    remember();
    drawing = true;
    at = point(event);
    stroke(at, at);
    drawCursor();
  });
  canvas.addEventListener("pointermove", (event) => {
    const next = point(event);
    if (drawing) stroke(at, next);
    at = next;
    cursor.hidden = event.pointerType === "touch";
    drawCursor();
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (drawing = false));
  canvas.addEventListener("pointerleave", () => (cursor.hidden = document.activeElement !== canvas));
  canvas.addEventListener("focus", () => {
    cursor.hidden = false;
    drawCursor();
  });
  canvas.addEventListener("blur", () => (cursor.hidden = true));
  canvas.addEventListener("keydown", (event) => {
    const stride = event.shiftKey ? brush : Math.max(2, brush / 3);
    /** @type {Record<string, [number, number]>} */
    const moves = { ArrowLeft: [-stride, 0], ArrowRight: [stride, 0], ArrowUp: [0, -stride], ArrowDown: [0, stride] };
    const move = moves[event.key];
    if (move) {
      /** @type {[number, number]} */
      const next = [Math.min(width, Math.max(0, at[0] + move[0])), Math.min(height, Math.max(0, at[1] + move[1]))];
      if (keyPaint) stroke(at, next);
      at = next;
    } else if (event.key === " ") {
      keyPaint = !keyPaint;
      if (keyPaint) {
        remember();
        stroke(at, at);
      }
      state.textContent = t(keyPaint ? "mask.painting" : "mask.lifted");
    } else if (event.key === "[" || event.key === "]") {
      size.value = String(Number(size.value) + (event.key === "]" ? 2 : -2));
      brush = sized();
    } else return;
    event.preventDefault();
    drawCursor();
  });

  const size = h("input", {
    type: "range",
    min: "2",
    max: "40",
    value: "11",
    on: {
      input: () => {
        brush = sized();
        drawCursor();
      },
    },
  });
  const sized = () => (Number(size.value) / 100) * Math.max(width, height);

  const eraser = button({
    icon: "close",
    label: t("mask.erase"),
    class: "small",
    on: () => {
      erase = !erase;
      eraser.setAttribute("aria-pressed", String(erase));
      eraser.classList.toggle("on", erase);
    },
  });
  eraser.setAttribute("aria-pressed", "false");
  /** @param {[number, number, number, number]} box parts of the picture: left, top, right, bottom */
  const area = ([left, top, right, bottom]) => {
    remember();
    pen.globalCompositeOperation = "source-over";
    pen.fillStyle = ink;
    pen.fillRect(left * width, top * height, (right - left) * width, (bottom - top) * height);
  };
  const tools = h(
    "div",
    { class: "stack" },
    h(
      "div",
      { class: "row wrap" },
      eraser,
      button({
        icon: "undo",
        label: t("mask.undo"),
        class: "small",
        on: () => {
          const before = past.pop();
          if (before) pen.putImageData(before, 0, 0);
        },
      }),
      button({
        icon: "trash",
        label: t("mask.clear"),
        class: "small",
        on: () => {
          remember();
          pen.clearRect(0, 0, width, height);
        },
      }),
      h(
        "div",
        { class: "row" },
        button({ label: t("mask.top"), class: "small", on: () => area([0, 0, 1, 0.4]) }),
        button({ label: t("mask.bottom"), class: "small", on: () => area([0, 0.6, 1, 1]) }),
      ),
    ),
    field(t("mask.brush"), size),
    state,
  );

  return {
    element,
    tools,
    empty: () => !pen.getImageData(0, 0, width, height).data.some((value, index) => index % 4 === 3 && value > 0),
    /** PNG in base64, in pixels of what is drawn: white is drawn anew, black stays. @param {number} wide @param {number} high */
    mask(wide, high) {
      const flat = h("canvas", { width: wide, height: high });
      const copy = /** @type {CanvasRenderingContext2D} */ (flat.getContext("2d"));
      copy.drawImage(canvas, 0, 0, wide, high);
      copy.globalCompositeOperation = "source-in";
      copy.fillStyle = "white";
      copy.fillRect(0, 0, wide, high);
      copy.globalCompositeOperation = "destination-over";
      copy.fillStyle = "black";
      copy.fillRect(0, 0, wide, high);
      return flat.toDataURL("image/png").split(",")[1];
    },
  };
}
