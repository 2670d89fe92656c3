// How quick the history is with 5,000 pictures in the program that IMAGINE_BIN names. IMAGINE_FILL names the program
// that fills its data folder (`cargo build -p imagine-worker --example fill`). `node many-pictures.mjs [count]`.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";

import { launch } from "./browser.mjs";
import { serve } from "./serve.mjs";

const count = Number(process.argv[2] ?? 5000);
const fill = process.env.IMAGINE_FILL;
if (!fill) throw new Error("IMAGINE_FILL must name the program that fills a data folder");

const took = {};
const timed = async (name, work) => {
  const begun = performance.now();
  const made = await work();
  took[name] = Math.round(performance.now() - begun);
  return made;
};

const { address, stop } = await serve((folder) => {
  const { status } = spawnSync(fill, [folder, String(count)], { stdio: "inherit" });
  assert.equal(status, 0, "filling failed");
});
const browser = await launch();
try {
  const list = async (query) => (await fetch(`${address}/v1/images?${query}`)).json();
  await timed("the API's first 200", () => list("limit=200"));
  await timed("the API's search", () => list("limit=200&q=pirate%20sea"));
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, locale: "en-GB" });
  page.setDefaultTimeout(120_000);
  await page.goto(address);
  await page.locator("main .screen > *").first().waitFor();
  await timed("history to its first picture", async () => {
    await page.goto(`${address}/#/history`);
    await page.locator(".wall-tile img.here").first().waitFor();
  });
  const most = await timed("scrolled to the last", () =>
    page.evaluate(async (wanted) => {
      let most = 0;
      let longest = 0;
      let last = performance.now();
      const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
      for (let at = 0; at < 20_000; at += 1) {
        window.scrollBy(0, 800);
        await frame();
        const tiles = [...document.querySelectorAll(".wall-tile")];
        most = Math.max(most, tiles.length);
        longest = Math.max(longest, performance.now() - last);
        last = performance.now();
        if (Math.max(...tiles.map((tile) => Number(tile.ariaPosInSet))) === wanted) return { most, longest: Math.round(longest) };
      }
      return { most, longest: Math.round(longest), lost: true };
    }, count),
  );
  assert.ok(!most.lost, "the last picture was never reached");
  assert.ok(most.most < 150, `${most.most} tiles at once`);
  await page.waitForFunction(() => [...document.querySelectorAll(".wall-tile")].at(-1)?.querySelector("img.here"));
  await timed("a search on the page", async () => {
    await page.getByRole("searchbox").fill("pirate sea");
    await page.locator(".wall-tile button[aria-label*=pirate]").first().waitFor();
    await page.waitForFunction(() => !document.querySelector(".wall-tile button:not([aria-label*=pirate])"));
  });
  await timed("one opened, with its settings", async () => {
    await page.locator(".wall-tile button").first().click();
    await page.locator("dialog.viewer .settings").waitFor();
  });
  await page.waitForFunction(() => document.querySelector("dialog.viewer .stage img")?.naturalWidth === 64);
  console.log(JSON.stringify({ pictures: count, milliseconds: took, "tiles at once": most.most, "longest frame": most.longest }, null, 1));
} finally {
  await browser.close();
  await stop();
}
