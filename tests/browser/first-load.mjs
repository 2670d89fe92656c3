// How long the first load takes: `IMAGINE_BIN=… node first-load.mjs [times]`, each time in a browser that has never been there.

import { launch } from "./browser.mjs";
import { serve } from "./serve.mjs";

const times = Number(process.argv[2] ?? 9);
const { address, stop } = await serve();
const browser = await launch();
const rounds = [];
for (let turn = 0; turn < times; turn += 1) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  const wire = await context.newCDPSession(page);
  await wire.send("Network.enable");
  let bytes = 0;
  let requests = 0;
  wire.on("Network.loadingFinished", (event) => {
    bytes += event.encodedDataLength;
    requests += 1;
  });
  await page.goto(address);
  await page.locator(".welcome").waitFor();
  await page.waitForLoadState("networkidle");
  const seen = await page.evaluate(() => new Promise((resolve) => {
    new PerformanceObserver((list) => {
      const painted = performance.getEntriesByName("first-contentful-paint")[0].startTime;
      resolve({ painted, largest: list.getEntries().at(-1).startTime });
    }).observe({ type: "largest-contentful-paint", buffered: true });
  }));
  rounds.push({ ...seen, bytes, requests });
  await context.close();
}
await browser.close();
await stop();
const of = (name) => rounds.map((round) => Math.round(round[name])).sort((a, b) => a - b);
for (const [name, key] of [["first paint with content, ms", "painted"], ["largest paint, ms", "largest"], ["bytes on the wire", "bytes"], ["requests", "requests"]]) {
  const all = of(key);
  console.log(`${name}: median ${all[Math.floor(all.length / 2)]}, from ${all[0]} to ${all.at(-1)}`);
}
