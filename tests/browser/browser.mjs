// Chromium as the tests use it.

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

const flags = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
  "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
];

/** What the camera films, over and over: seconds and photo. Thirty pictures a second. */
const film = [[3, "camera-far.jpg"], [3, "camera-two.jpg"], [24, "camera-near.jpg"]];

/** The browser that `CHROMIUM` names, else the system's. Before its camera is somebody who does not exist. */
export async function launch() {
  const places = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  const executablePath = places.find((place) => place && existsSync(place));
  if (!executablePath) throw new Error("no Chromium found: install the package chromium, or name one in CHROMIUM");
  const folder = mkdtempSync(join(tmpdir(), "imagine-camera-"));
  const file = join(folder, "camera.mjpeg");
  writeFileSync(file, Buffer.concat(film.flatMap(([seconds, name]) => Array(30 * seconds).fill(readFileSync(photo(name))))));
  const browser = await chromium.launch({ executablePath, args: [...flags, `--use-file-for-fake-video-capture=${file}`] });
  browser.on("disconnected", () => rmSync(folder, { recursive: true, force: true }));
  return browser;
}

/** A photo of people who do not exist. @param {string} name */
export function photo(name) {
  return fileURLToPath(new URL(`photos/${name}`, import.meta.url));
}
