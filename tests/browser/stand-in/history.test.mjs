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
