// What the tests share. They run against the real server that IMAGINE_URL names, where every person and job of the key
// is deleted before each test (give it a data folder of its own), or else against the stand-in.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, beforeEach } from "node:test";

import { launch, photo } from "./browser.mjs";
import { start } from "./mock-server.mjs";

export const real = process.env.IMAGINE_URL?.replace(/\/$/, "") ?? null;
export const selfie = photo("someone.jpg");
export const another = photo("another.jpg");
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** How long anything may take on a machine that is busy with other things, milliseconds. */
const patience = 120_000;

/** The address of the server under test. */
export let base = real ?? "";
let browser;
let server;
/** @type {{ page: import("playwright-core").Page, foreign: string[], errors: string[] }[]} */
let opened = [];

before(async () => {
  if (!real) {
    server = await start();
    base = server.url;
  }
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});
beforeEach(async () => {
  for (const { page } of opened) await page.context().close().catch(() => undefined);
  opened = [];
  await clear();
});

export async function call(method, path, body) {
  const answer = await fetch(base + path, { method, ...(body ? { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } } : {}) });
  return answer.json().catch(() => null);
}

/** What the page sent to a path of the stand-in, oldest first: bodies as text. */
export async function posted(path) {
  return (await call("GET", "/mock/requests")).filter((one) => one.method === "POST" && one.path === path).map((one) => one.body);
}

async function clear() {
  if (!real) return call("POST", "/mock/reset");
  for (const job of (await call("GET", "/v1/jobs?limit=100")).data) {
    await call("POST", `/v1/jobs/${job.id}/cancel`);
    await call("DELETE", `/v1/jobs/${job.id}`);
  }
  for (const person of (await call("GET", "/v1/people?limit=100")).data) await call("DELETE", `/v1/people/${person.id}?pictures=delete`);
}

/** Somebody who was enrolled before, elsewhere. @returns {Promise<{ id: string }>} */
export async function known(name = "Eileen", file = selfie) {
  const consent = await call("GET", "/v1/consent");
  const form = new FormData();
  form.append("name", name);
  form.append("consent", JSON.stringify({ basis: "self", text_version: consent.version, text_sha256: consent.sha256, agreed: true }));
  form.append("photo", new Blob([readFileSync(file)], { type: "image/jpeg" }), "photo.jpg");
  const answer = await fetch(`${base}/v1/people`, { method: "POST", body: form });
  const person = await answer.json();
  assert.equal(answer.status, 201, JSON.stringify(person));
  return person;
}

/** A page in a browser of its own, or, with `beside`, in that page's. */
export async function open(options = {}, beside) {
  const context = beside?.context() ?? (await browser.newContext({ locale: "en-GB", viewport: { width: 1280, height: 900 }, permissions: ["camera", "clipboard-read", "clipboard-write"], ...options }));
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  const seen = { page, foreign: [], errors: [] };
  opened.push(seen);
  page.on("request", (request) => {
    if (!/^(blob:|data:)/.test(request.url()) && !request.url().startsWith(base)) seen.foreign.push(request.url());
  });
  page.on("pageerror", (error) => seen.errors.push(error.message));
  page.on("console", (message) => {
    if (/Content Security Policy/i.test(message.text())) seen.errors.push(message.text());
  });
  await page.addInitScript(() => {
    window.shifts = [];
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        const what = entry.sources.map((source) => source.node?.className ?? source.node?.nodeName);
        if (!entry.hadRecentInput) window.shifts.push({ at: entry.startTime, value: entry.value, what });
      }
    }).observe({ type: "layout-shift", buffered: true });
  });
  await page.goto(base);
  await page.locator("main .screen > *").first().waitFor();
  return page;
}

/** Nothing from elsewhere was asked for, no policy was broken, nothing failed unseen. */
export function assertClean() {
  for (const { foreign, errors } of opened) {
    assert.deepEqual(foreign, []);
    assert.deepEqual(errors, []);
  }
}

/** Through consent, photo and name. */
export async function enrol(page, name = "Eileen") {
  await page.locator("main input[type=file]").first().setInputFiles(selfie);
  await agreeAndName(page, name);
}

export async function agreeAndName(page, name) {
  await page.getByRole("button", { name: "I agree" }).click();
  await page.locator(".verdict.good, .verdict.fair").first().waitFor();
  await page.getByLabel("Name").fill(name);
  await page.getByRole("button", { name: "Done, let me imagine" }).click();
  await page.locator("dialog").waitFor({ state: "detached" });
}

/** Orders pictures; with many steps there is time to look at what happens on the way. */
export async function imagine(page, idea, { steps, n, expand = false } = {}) {
  if (!expand) await page.getByRole("switch", { name: /Fill in the scene/ }).setChecked(false);
  if (steps || n) await page.locator("details.advanced").evaluate((details) => (details.open = true));
  if (steps) await page.getByLabel("Steps").fill(String(steps));
  if (n) await page.getByRole("combobox", { name: "Pictures", exact: true }).selectOption(String(n));
  await page.getByLabel("Imagine me", { exact: true }).fill(idea);
  const before = await page.locator("article.job").count();
  await page.getByRole("button", { name: "Imagine", exact: true }).click();
  await page.locator("article.job").nth(before).waitFor();
}

/** Until drawing has begun and is seen. */
export const underWay = (page) => page.waitForFunction(() => /\d+ %/.test(document.querySelector(".job-status")?.textContent ?? ""));
export const card = (page) => page.locator("article.job").first();
export const finished = (page, count = 4) => card(page).locator(".tile.done").nth(count - 1).waitFor();

export async function openFirst(page) {
  await card(page).locator(".open-picture").first().click();
  await page.locator(".settings").waitFor();
}

/** A stroke over the upper part of what is changed, by mouse or by touch, and what should be there. */
export async function paintOver(page, words, { touch = false } = {}) {
  const canvas = page.locator(".painter canvas");
  await canvas.scrollIntoViewIfNeeded();
  const box = await canvas.boundingBox();
  const places = [0, 1, 2, 3, 4].map((at) => ({ x: box.x + box.width * (0.3 + at / 10), y: box.y + box.height * (0.2 + at / 80) }));
  if (touch) {
    const devtools = await page.context().newCDPSession(page);
    for (const [at, place] of places.entries()) await devtools.send("Input.dispatchTouchEvent", { type: at ? "touchMove" : "touchStart", touchPoints: [place] });
    await devtools.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  } else {
    await page.mouse.move(places[0].x, places[0].y);
    await page.mouse.down();
    for (const { x, y } of places) await page.mouse.move(x, y);
    await page.mouse.up();
  }
  await page.getByLabel("What should be there").fill(words);
}

/** A mask in base64: its size, and how white it is where `paintOver` went and below. */
export const maskSeen = (page, mask) =>
  page.evaluate(async (data) => {
    const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))]));
    const pen = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    pen.drawImage(bitmap, 0, 0);
    const pixels = pen.getImageData(0, 0, bitmap.width, bitmap.height).data;
    const at = (x, y) => pixels[4 * (Math.floor(y * bitmap.height) * bitmap.width + Math.floor(x * bitmap.width))];
    return { width: bitmap.width, height: bitmap.height, painted: at(0.5, 0.22), below: at(0.5, 0.9) };
  }, mask);

/** What axe finds wrong, in short, in the light and in the dark. */
export async function axe(page) {
  const found = [];
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.evaluate(() => Promise.all(document.getAnimations().filter((one) => one.effect?.getComputedTiming().iterations === 1).map((one) => one.finished.catch(() => 0))));
    await page.evaluate(axeSource);
    // only colours differ in the dark
    const only = colorScheme === "light" ? { type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] } : { type: "rule", values: ["color-contrast"] };
    const { violations } = await page.evaluate((runOnly) => window.axe.run(document, { runOnly, resultTypes: ["violations"] }), only);
    for (const one of violations) found.push(`${colorScheme} ${one.id}: ${one.nodes.slice(0, 3).map((node) => `${node.target} ${node.any[0]?.message ?? ""}`).join(" | ")}`);
  }
  return found;
}
