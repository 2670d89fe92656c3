import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { assertClean, axe, base, call, card, enrol, finished, imagine, known, open, openFirst, selfie } from "../harness.mjs";

const phone = { width: 390, height: 844 };

test("axe finds nothing on any screen, in the light and in the dark", async () => {
  const page = await open();
  assert.deepEqual(await axe(page), [], "welcome");
  await page.locator("main input[type=file]").first().setInputFiles(selfie);
  await page.getByRole("button", { name: "I agree" }).waitFor();
  assert.deepEqual(await axe(page), [], "consent");
  await page.getByRole("button", { name: "I agree" }).click();
  await page.locator(".verdict.good, .verdict.fair").first().waitFor();
  assert.deepEqual(await axe(page), [], "photos");
  await page.getByLabel("Name").fill("Eileen");
  await page.getByRole("button", { name: "Done, let me imagine" }).click();
  await page.locator("dialog").waitFor({ state: "detached" });
  await page.locator("details.advanced").evaluate((details) => (details.open = true));
  await imagine(page, "as a pirate", { expand: true });
  await finished(page);
  assert.deepEqual(await axe(page), [], "results");
  await page.setViewportSize(phone);
  await card(page).evaluate((one) => one.scrollIntoView());
  assert.deepEqual(await axe(page), [], "results on a phone");
  await page.setViewportSize({ width: 1280, height: 900 });
  await openFirst(page);
  await page.keyboard.press("c");
  await page.locator("compare-slider").waitFor();
  assert.deepEqual(await axe(page), [], "picture");
  await page.getByRole("button", { name: "Change only this" }).click();
  await page.locator(".painter").waitFor();
  assert.deepEqual(await axe(page), [], "mask");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  for (const place of ["history", "people", "batches"]) {
    await page.goto(`${base}/#/${place}`);
    await page.locator("h1:not(.visually-hidden)").waitFor();
    if (place === "history") await page.locator(".wall-tile img.here").first().waitFor();
    assert.deepEqual(await axe(page), [], place);
  }
  await page.goto(`${base}/#/people`);
  await page.locator(".person").getByRole("button", { name: "Delete" }).click();
  assert.deepEqual(await axe(page), [], "delete");
  assertClean();
});

test("dark and light follow the system, and can be chosen", async () => {
  const page = await open({ colorScheme: "dark" });
  const lightness = () => page.evaluate(() => Number(getComputedStyle(document.documentElement).backgroundColor.match(/\d+/)[0]));
  assert.ok((await lightness()) < 60);
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByText("Light", { exact: true }).click();
  assert.ok((await lightness()) > 200);
  await page.reload();
  await page.locator(".welcome").waitFor();
  assert.ok((await lightness()) > 200, "it is remembered");
});

test("both languages, every text; chosen by the browser or by the person", async () => {
  const texts = Object.fromEntries(["en", "it"].map((code) => [code, JSON.parse(readFileSync(new URL(`../../../web/page/i18n/${code}.json`, import.meta.url), "utf8"))]));
  assert.deepEqual(Object.keys(texts.it).sort(), Object.keys(texts.en).sort());
  for (const [key, text] of Object.entries(texts.en)) {
    const names = (one) => [...JSON.stringify(one).matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();
    assert.deepEqual([...new Set(names(texts.it[key]))], [...new Set(names(text))], key);
  }
  const page = await open({ locale: "it-IT" });
  await page.getByRole("heading", { name: texts.it["welcome.title"] }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.lang), "it");
  const press = (key) => page.getByRole("button", { name: texts.it[key], exact: true }).click();
  await page.locator("main input[type=file]").first().setInputFiles(selfie);
  await press("consent.agree");
  await page.locator(".verdict.good, .verdict.fair").first().waitFor();
  await page.getByLabel(texts.it["enrol.name"]).fill("Elena");
  await press("enrol.create");
  await page.getByLabel(texts.it["compose.label"], { exact: true }).fill("come pirata");
  await page.getByRole("list", { name: texts.it["expand.parts"] }).locator("input").first().waitFor();
  await press("compose.go");
  await finished(page);
  const [job] = (await call("GET", "/v1/jobs")).data;
  assert.match(job.expansion.prompt, /pirate/, "the model is told in its own language");
  await page.getByRole("button", { name: texts.it["settings.title"], exact: true }).click();
  await page.getByText("English", { exact: true }).click();
  await page.getByRole("button", { name: texts.en["compose.go"], exact: true }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.lang), "en");
});

test("a phone: nothing wider than the screen, targets large enough, the whole way works", async () => {
  const page = await open({ viewport: phone, hasTouch: true, isMobile: true });
  // on a phone the window grows with what is too wide
  const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth);
  assert.ok(await fits(), "welcome");
  await enrol(page);
  await imagine(page, "as an astronaut", { n: 2 });
  await finished(page, 2);
  assert.ok(await fits(), "results");
  await card(page).locator(".open-picture").first().tap();
  await page.locator(".settings").waitFor();
  assert.ok(await fits(), "picture");
  const small = await page.evaluate(() =>
    [...document.querySelectorAll("button, a, select, input:not(.visually-hidden)")]
      .filter((one) => one.checkVisibility() && !one.closest("[inert]"))
      .map((one) => [one.textContent, one.getBoundingClientRect()])
      .filter(([, box]) => box.width > 1 && (box.width < 24 || box.height < 24))
      .map(([text]) => text),
  );
  assert.deepEqual(small, [], "targets of 24 pixels at least");
  await page.keyboard.press("Escape");
  for (const place of ["History", "People", "Batches"]) {
    await page.getByRole("navigation", { name: "Main, below" }).getByRole("link", { name: place }).tap();
    await page.getByRole("heading", { level: 1, name: place }).waitFor();
    assert.ok(await fits(), place);
  }
});

test("by keyboard alone: from the address to a picture and back", async () => {
  await known();
  const page = await open();
  const reach = async (wanted) => {
    for (let turn = 0; turn < 80; turn += 1) {
      await page.keyboard.press("Tab");
      if (await page.evaluate((selector) => document.activeElement?.matches(selector), wanted)) return;
    }
    assert.fail(`${wanted} cannot be reached`);
  };
  await page.keyboard.press("Tab");
  assert.ok(await page.evaluate(() => document.activeElement?.matches(".skip")), "the way past the navigation comes first");
  await page.keyboard.press("Enter");
  await reach(".prompt textarea");
  await page.keyboard.type("as a knight");
  await page.keyboard.press("Control+Enter");
  await finished(page);
  await reach(".open-picture");
  const seen = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(seen, "none", "the focus is seen");
  await page.keyboard.press("Enter");
  await page.locator(".settings").waitFor();
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  assert.ok(await page.evaluate(() => document.activeElement?.matches(".open-picture")), "the focus is where it was");
  await page.keyboard.press("?");
  await page.getByRole("heading", { name: "Keys" }).waitFor();
  await page.keyboard.press("Escape");
});

test("less motion where it is asked for", async () => {
  await known();
  const page = await open({ reducedMotion: "reduce" });
  const long = await page.evaluate(() => [...document.querySelectorAll("*")].map((one) => parseFloat(getComputedStyle(one).transitionDuration)).filter((seconds) => seconds > 0.01));
  assert.deepEqual(long, []);
});
