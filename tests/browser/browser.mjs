// Chromium as the tests use it.

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

const flags = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
  "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
];

/** The browser that `CHROMIUM` names, else the system's. */
export function launch() {
  const places = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  const executablePath = places.find((place) => place && existsSync(place));
  if (!executablePath) throw new Error("no Chromium found: install the package chromium, or name one in CHROMIUM");
  return chromium.launch({ executablePath, args: flags });
}

/** @param {string} name */
export function photo(name) {
  return fileURLToPath(new URL(`photos/${name}`, import.meta.url));
}
