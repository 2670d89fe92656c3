// High contrast, small and spaced-out text, small targets, and the way back.

import assert from "node:assert/strict";
import { test } from "node:test";

import { assertClean, call, open } from "../harness.mjs";

const scene = async (page) => {
  await page.locator(".prompt textarea").fill("as a pirate at sea");
  await page.locator(".parts .part").first().waitFor();
};
const viewer = async (page) => {
  await page.locator(".open-picture").first().click();
  await page.locator(".settings").waitFor();
};

/** Whatever can be pressed and is smaller than 24 by 24 pixels (WCAG 2.5.8), links within words apart. */
const tooSmall = (page) =>
  page.evaluate(() => {
    const root = document.querySelector("dialog[open]") ?? document.body;
    const all = [...root.querySelectorAll("button, select, summary, input, textarea, nav a")].filter((one) => one.checkVisibility() && !one.closest(".visually-hidden"));
    // by layout: what grows in is smaller for a moment
    return all.filter((one) => one.offsetWidth < 24 || one.offsetHeight < 24).map((one) => `${one.className} ${one.textContent || one.ariaLabel} ${one.offsetWidth}×${one.offsetHeight}`);
  });
const tooWide = (page) => page.evaluate(() => [document.documentElement, ...document.querySelectorAll("dialog[open]")].filter((one) => one.scrollWidth > one.clientWidth).map((one) => `${one.className} ${one.scrollWidth} of ${one.clientWidth}`));

test("at 320 pixels, with the text spaced out as WCAG 1.4.12 has it: nothing is wider, no target smaller than 24 pixels", async () => {
  await call("POST", "/mock/seed", { person: "Eileen", pictures: 4 });
  for (const locale of ["en-GB", "it-IT"]) {
    const page = await open({ locale, viewport: { width: 320, height: 640 } });
    await page.evaluate(() => {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync("* { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important } p { margin-bottom: 2em !important }");
      document.adoptedStyleSheets = [sheet];
    });
    const right = async (where) => {
      assert.deepEqual(await tooWide(page), [], `${locale} ${where}`);
      assert.deepEqual(await tooSmall(page), [], `${locale} ${where}`);
    };
    await scene(page);
    await page.locator("details.advanced").evaluate((details) => (details.open = true));
    await right("studio");
    await page.locator("#add-person").click();
    await page.locator("dialog .consent-text").waitFor();
    await right("meeting somebody");
    await page.keyboard.press("Escape");
    await viewer(page);
    await right("a picture");
    await page.keyboard.press("Escape");
    for (const place of ["history", "people", "batches"]) {
      await page.evaluate((name) => (location.hash = `#/${name}`), place);
      await page.locator("main h1").waitFor();
      await right(place);
    }
  }
  assertClean();
});

test("in forced colours what has the focus, a list to choose from and a notice are told from the rest", async () => {
  await call("POST", "/mock/seed", { person: "Eileen", pictures: 4 });
  const page = await open({ forcedColors: "active" });
  const style = (place, name) => page.locator(place).first().evaluate((one, what) => getComputedStyle(one)[what], name);
  await scene(page);
  assert.notEqual(await style(".prompt", "outlineStyle"), "none", "its own sign is a shadow, which is gone there");
  await page.locator(".part input").first().focus();
  assert.notEqual(await style(".part:focus-within", "outlineStyle"), "none");
  assert.equal(await style(".prompt", "outlineStyle"), "none");
  assert.equal(await style("select", "appearance"), "auto", "the arrow is a background, which is gone there");
  assert.equal(await style(".idea", "borderTopStyle"), "solid");
  await viewer(page);
  await page.keyboard.press("c");
  await page.locator(".notice").waitFor();
  assert.equal(await style(".notice", "borderTopStyle"), "solid");
  assertClean();
});

test("going back leaves what was open over the screen", async () => {
  await call("POST", "/mock/seed", { person: "Eileen", pictures: 4 });
  const page = await open();
  await page.getByRole("link", { name: "History" }).first().click();
  await page.locator(".wall-tile button").first().click();
  await page.locator(".settings").waitFor();
  await page.goBack();
  await page.locator(".composer").waitFor();
  await page.locator("dialog").waitFor({ state: "detached" });
  assertClean();
});
