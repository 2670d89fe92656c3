import assert from "node:assert/strict";
import { test } from "node:test";

import { base, call, open } from "../harness.mjs";

test("history: 5,000 pictures, only those in sight in the page; search; keys", async () => {
  const { person } = await call("POST", "/mock/seed", { person: "Eileen", pictures: 5000 });
  const page = await open();
  await page.goto(`${base}/#/history`);
  await page.locator(".wall-tile img.here").first().waitFor();
  const most = await page.evaluate(async () => {
    let most = 0;
    let last = -1;
    for (let turn = 0; turn < 400 && last !== 5000; turn += 1) {
      window.scrollTo(0, document.documentElement.scrollHeight);
      await new Promise((resolve) => setTimeout(resolve, 30));
      const tiles = [...document.querySelectorAll(".wall-tile")];
      most = Math.max(most, tiles.length);
      last = Math.max(...tiles.map((tile) => Number(tile.ariaPosInSet)));
    }
    return { most, last };
  });
  assert.equal(most.last, 5000);
  assert.ok(most.most < 150, `${most.most} tiles at once`);
  await page.getByText("Those are all 5,000 pictures.").waitFor();

  // one is marked, another deleted, far down: the wall stays where it is
  const place = () => page.evaluate(() => scrollY);
  const before = await place();
  await page.locator(".wall-tile button").nth(-10).click();
  await page.locator("dialog.viewer .settings").waitFor();
  await page.keyboard.press("f");
  await page.locator(".wall-tile .fav").waitFor({ state: "attached" });
  await page.keyboard.press("ArrowRight");
  await page.locator("dialog.viewer .settings").waitFor();
  await page.keyboard.press("Delete");
  await page.locator("dialog.small").getByRole("button", { name: "Delete" }).click();
  await page.getByText("Those are all 4,999 pictures.").waitFor();
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  assert.ok(Math.abs((await place()) - before) < 400, `from ${before} to ${await place()}`);
  assert.equal(await page.locator(".wall-tile .fav").count(), 1);

  await page.getByRole("searchbox").fill("pirate sea");
  await page.waitForFunction(() => location.hash.includes("q=pirate"));
  await page.locator(".wall-tile button[aria-label*=pirate]").first().waitFor();
  assert.equal(await page.locator(".wall-tile button:not([aria-label*=pirate])").count(), 0);
  await page.getByRole("combobox", { name: "Person" }).selectOption(person);
  await page.locator(".wall-tile button").first().focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.locator("dialog.viewer .settings").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("searchbox").fill("zebra");
  await page.getByText("Nothing found").waitFor();
});

test("the large picture walks on over pictures that were not loaded yet", async () => {
  await call("POST", "/mock/seed", { person: "Eileen", pictures: 230 });
  const page = await open();
  await page.goto(`${base}/#/history`);
  // the list asks for 200 at a time: the wall is not scrolled, so that the rest is not there
  await page.setViewportSize({ width: 500, height: 500 });
  await page.locator(".wall-tile img.here").first().waitFor();
  const place = page.locator("dialog.viewer .place");
  const shown = (text) => page.waitForFunction((words) => document.querySelector("dialog.viewer .place")?.textContent === words, text);
  const asked = async () => (await call("GET", "/mock/requests")).filter((one) => one.path === "/v1/images").length;
  await page.locator(".wall-tile button").first().click();
  await page.locator("dialog.viewer .settings").waitFor();
  assert.equal(await place.textContent(), "Picture 1", "how many there are is not known yet");
  await page.keyboard.press("ArrowLeft");
  assert.equal(await place.textContent(), "Picture 1", "before the first there is nothing");
  assert.equal(await asked(), 1);
  for (let at = 2; at <= 200; at += 1) await page.keyboard.press("ArrowRight");
  await shown("Picture 200");
  await call("POST", "/mock/settings", { fail: { "GET /v1/images": [503, "unavailable", "not now"] } });
  await page.keyboard.press("ArrowRight");
  await page.locator(".notice").first().waitFor();
  await shown("Picture 200");
  await call("POST", "/mock/settings", { fail: {} });
  await page.keyboard.press("ArrowRight");
  await shown("201 of 230");
  for (let at = 202; at <= 230; at += 1) await page.keyboard.press("ArrowRight");
  await shown("230 of 230");
  await page.keyboard.press("ArrowRight");
  await shown("1 of 230");
  await page.locator("dialog.viewer .settings").waitFor();
});
