// Selfies by webcam, guided: front, left, right. A small frame is shown to the service now and then, which
// says what to do; it keeps none of them.

import { Problem } from "./api.js";
import { button, fill, h, icon } from "./dom.js";
import { t } from "./i18n.js";
import { checkPhoto } from "./people.js";
import { frame } from "./photos.js";
import { adviceOn, explain } from "./words.js";

const poses = /** @type {const} */ (["front", "left", "right"]);
const lookEvery = 1200;
const lookSide = 480;
const photoSide = 1600;

/** @param {{ onPhoto: (photo: Blob) => void, onClose: () => void, onFailed: (error: unknown) => void }} of */
export function createCamera(of) {
  let pose = 0;
  /** @type {MediaStream | null} */
  let stream = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const closing = new AbortController();

  const video = h("video", { autoplay: true, muted: true, playsInline: true, "aria-label": t("camera.view") });
  const guide = h("div", { class: "guide" });
  const hint = h("p", { class: "camera-hint", role: "status" }, t("camera.starting"));
  const marks = h("ol", { class: "poses" });
  const shutter = button({ icon: "camera", label: t("camera.take"), class: "primary", disabled: true, on: () => shoot() });
  const element = h(
    "section",
    { class: "camera", "aria-label": t("tray.camera") },
    h("div", { class: "viewfinder" }, video, guide, hint),
    marks,
    h("div", { class: "row" }, shutter, button({ label: t("camera.done"), on: () => close() })),
  );

  const drawPoses = () => {
    fill(
      marks,
      ...poses.map((name, index) =>
        h(
          "li",
          { class: index < pose ? "done" : "", "aria-current": index === pose ? "step" : undefined },
          index < pose ? icon("check") : null,
          t(`camera.${name}`),
        ),
      ),
    );
  };

  /** @param {string} text @param {boolean} good */
  const say = (text, good) => {
    if (hint.textContent !== text) hint.textContent = text;
    guide.classList.toggle("good", good);
  };

  const look = async () => {
    try {
      if (video.videoWidth && !document.hidden) {
        const check = await checkPhoto(await frame(video, lookSide), undefined, closing.signal);
        const problem = check.problems.find((one) => one.blocks) ?? check.problems[0];
        // a turned head is what the second and third photo are for
        const asked = pose > 0 && problem?.code === "turned_away";
        if (check.faces.length > 1) say(t("camera.one_face"), false);
        else if (problem && !asked) say(adviceOn(problem), false);
        else say(t(`camera.${poses[Math.min(pose, 2)]}.hold`), check.usable);
      }
    } catch (error) {
      if (closing.signal.aborted) return;
      say(explain(error).what, false);
      const wait = error instanceof Problem ? error.retryAfter : null;
      timer = setTimeout(look, wait ? wait * 1000 : lookEvery);
      return;
    }
    timer = setTimeout(look, lookEvery);
  };

  let shooting = false;
  const shoot = async () => {
    // a second press while the first is being read would skip a pose
    if (shooting) return;
    shooting = true;
    const photo = await frame(video, photoSide).finally(() => (shooting = false));
    guide.classList.add("flash");
    setTimeout(() => guide.classList.remove("flash"), 250);
    of.onPhoto(photo);
    pose += 1;
    if (pose >= poses.length) return close();
    drawPoses();
    // what is wanted next is said at once, not when the next frame has been looked at
    say(t(`camera.${poses[pose]}.hold`), guide.classList.contains("good"));
  };

  const close = () => {
    closing.abort();
    clearTimeout(timer);
    for (const track of stream?.getTracks() ?? []) track.stop();
    of.onClose();
  };

  return {
    element,
    async start() {
      drawPoses();
      try {
        // browsers have no cameras for pages that come unencrypted from another machine
        if (!navigator.mediaDevices) throw new DOMException("", isSecureContext ? "NotFoundError" : "SecurityError");
        stream = await navigator.mediaDevices.getUserMedia({
          video: { facingMode: "user", width: { ideal: 1280 }, height: { ideal: 960 } },
          audio: false,
        });
        if (closing.signal.aborted) {
          for (const track of stream.getTracks()) track.stop();
          return;
        }
        video.srcObject = stream;
        await video.play();
        shutter.disabled = false;
        shutter.focus();
        look();
      } catch (error) {
        if (closing.signal.aborted) return;
        close();
        of.onFailed(error);
      }
    },
    close,
  };
}
