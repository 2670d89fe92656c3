// A mask that is painted over something, by pointer, touch or keys.

import { button, h, letNoFling } from "./dom.js";
import { t } from "./i18n.js";
import { show } from "./images.js";
import { field } from "./ui.js";

const longestCanvas = 768;
const undoSteps = 30;
const inks = ["#c2187a", "#1769aa"];

/** Dark stripes and light ones: seen on skin, sky and leaves alike. @param {CanvasRenderingContext2D} pen @param {string} colour @returns {CanvasPattern} */
function hatched(pen, colour) {
  const side = 24;
  const tile = h("canvas", { width: side, height: side });
  const of = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
  of.fillStyle = colour;
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

/**
 * @param {{ item: { url?: string, width: number, height: number }, areas: { label: string, box: [number, number, number, number] }[], ink: number, label: string,
 *   onChange?: () => void }} of what is painted over, if it is seen; parts of it that are filled at a press; whose colour; what it is called
 */
export function createPainter(of) {
  const { item } = of;
  const changed = () => of.onChange?.();
  const scale = longestCanvas / Math.max(item.width, item.height);
  const width = Math.round(item.width * scale);
  const height = Math.round(item.height * scale);
  const canvas = h("canvas", {
    width,
    height,
    tabIndex: 0,
    role: "application",
    "aria-label": of.label,
    "aria-describedby": "mask-help",
  });
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  const ink = hatched(pen, inks[of.ink]);
  const cursor = h("span", { class: "brush-cursor", "aria-hidden": "true", hidden: true });
  const img = h("img", { alt: "" });
  if (item.url) show(img, item.url);
  const element = h("div", { class: "painter" }, img, canvas, cursor);
  element.style.setProperty("aspect-ratio", `${width} / ${height}`);
  element.style.setProperty("--wide", String(width / height));

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
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, () => {
      drawing = false;
      changed();
    });
  }
  letNoFling(canvas);
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
      if (keyPaint) changed();
    } else if (event.key === " ") {
      keyPaint = !keyPaint;
      if (keyPaint) {
        remember();
        stroke(at, at);
        changed();
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
    changed();
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
          changed();
        },
      }),
      button({
        icon: "trash",
        label: t("mask.clear"),
        class: "small",
        on: () => {
          remember();
          pen.clearRect(0, 0, width, height);
          changed();
        },
      }),
      h(
        "div",
        { class: "row" },
        ...of.areas.map(({ label, box }) => button({ label, class: "small", on: () => area(box) })),
      ),
    ),
    field(t("mask.brush"), size),
    state,
  );

  return {
    element,
    tools,
    empty: () => !pen.getImageData(0, 0, width, height).data.some((value, index) => index % 4 === 3 && value > 0),
    /** What lies behind, in the place of a picture. @param {string} url */
    behind: (url) => show(img, url),
    url: () => canvas.toDataURL("image/png"),
    /** Paints what is white in a mask. @param {string} url @returns {Promise<void>} */
    async load(url) {
      const mask = h("img", { src: url });
      await mask.decode();
      const room = h("canvas", { width, height });
      const copy = /** @type {CanvasRenderingContext2D} */ (room.getContext("2d"));
      copy.drawImage(mask, 0, 0, width, height);
      const pixels = copy.getImageData(0, 0, width, height);
      for (let index = 0; index < pixels.data.length; index += 4) pixels.data[index + 3] = pixels.data[index];
      copy.putImageData(pixels, 0, 0);
      copy.globalCompositeOperation = "source-in";
      copy.fillStyle = ink;
      copy.fillRect(0, 0, width, height);
      pen.globalCompositeOperation = "source-over";
      pen.drawImage(room, 0, 0);
    },
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
