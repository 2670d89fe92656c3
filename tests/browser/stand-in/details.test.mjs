// Small things that a person stumbles over.

import assert from "node:assert/strict";
import { test } from "node:test";

import { axe, base, call, card, open, openFirst } from "../harness.mjs";

const someone = (pictures) => call("POST", "/mock/seed", { person: "Eileen", pictures });

test("an avatar holds one face, with a neighbour beside it", async () => {
  const page = await open();
  const cut = await page.evaluate(async () => {
    const { cutFace } = await import("/js/photos.js");
    const canvas = new OffscreenCanvas(800, 400);
    const pen = canvas.getContext("2d");
    pen.fillStyle = "red";
    pen.fillRect(0, 0, 800, 400);
    pen.fillStyle = "blue";
    pen.fillRect(220, 150, 100, 100);
    const photo = await canvas.convertToBlob();
    const face = { index: 0, x: 100, y: 150, width: 100, height: 100 };
    const bluest = async (others) => {
      const bitmap = await createImageBitmap(await cutFace(photo, face, others));
      const look = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
      look.drawImage(bitmap, 0, 0);
      const { data } = look.getImageData(0, 0, bitmap.width, bitmap.height);
      return { side: bitmap.width, blue: data.some((value, at) => at % 4 === 2 && value > 128) };
    };
    return { alone: await bluest([]), beside: await bluest([{ index: 1, x: 220, y: 150, width: 100, height: 100 }]) };
  });
  assert.deepEqual(cut, { alone: { side: 190, blue: true }, beside: { side: 120, blue: false } });
});

test("change only this begins with the words of the picture", async () => {
  await someone(4);
  const page = await open();
  await openFirst(page);
  await page.getByRole("button", { name: "Change only this" }).click();
  assert.equal(await page.getByLabel("What should be there").inputValue(), "me as an astronaut in a starry night");
});

test("the words of a picture stay in sight beside long settings; a small picture is not blown up", async () => {
  await someone(4);
  const page = await open({ viewport: { width: 1280, height: 560 } });
  await openFirst(page);
  const { height } = await page.locator(".viewer-prompt").boundingBox();
  assert.ok(height > 20, `${height} pixels of words`);
  const { width } = await page.locator(".stage img").boundingBox();
  assert.ok(width <= 5 * 64, `64 pixels are shown over ${width}`);
});

test("a likeness of cards is one person or it is not", async () => {
  const page = await open();
  const words = await page.evaluate(async () => {
    const { likenessWord } = await import("/js/words.js");
    return [likenessWord(0.43, "card"), likenessWord(0.44, "card"), likenessWord(0.37, "sface"), likenessWord(null, "card")];
  });
  assert.deepEqual(words, ["Somebody else", "The same person", "Some likeness", "Likeness not measured"]);
});

test("older pictures are where the link says", async () => {
  await someone(48);
  const page = await open();
  await card(page).waitFor();
  assert.equal(await page.getByRole("link", { name: /Older ones/ }).count(), 0, "twelve are all");
  await someone(4);
  await page.reload();
  await page.getByRole("link", { name: /Older ones/ }).click();
  await page.getByText("Those are all 52 pictures.").waitFor();
});

test("what is ordered on another screen, or far down the page, comes into sight", async () => {
  await someone(48);
  await call("POST", "/mock/settings", { queueMilliseconds: 600_000 });
  const page = await open({ viewport: { width: 390, height: 844 } });
  const inSight = () => page.waitForFunction(() => {
    const { top } = document.querySelector("article.job:not([data-status=succeeded])")?.getBoundingClientRect() ?? {};
    return top >= 0 && top < innerHeight / 4;
  });
  await page.goto(`${base}/#/history`);
  await page.locator(".wall-tile button").nth(6).click();
  await page.getByRole("button", { name: "More like this" }).click();
  await inSight();
  await page.locator(".open-picture").last().click();
  await page.getByRole("button", { name: "Vary" }).click();
  await page.locator("dialog").waitFor({ state: "detached" });
  await inSight();
});

test("a job that was cancelled stays so, though the answer tells of before", async () => {
  await someone(4);
  await call("POST", "/mock/settings", { stepMilliseconds: 2000 });
  const page = await open();
  await page.route("**/cancel", async (route) => {
    const job = await (await route.fetch()).json();
    await card(page).getByText("Cancelled").waitFor();
    await route.fulfill({ json: { ...job, status: "running", progress: 0.01 } });
  });
  await page.getByRole("button", { name: "Again, with a new seed" }).first().click();
  const answered = page.waitForResponse("**/cancel");
  await card(page).getByRole("button", { name: "Cancel" }).click();
  await (await answered).finished();
  await page.waitForTimeout(300);
  assert.equal(await card(page).locator(".job-status").textContent(), "Cancelled");
});

test("a failure in passing is said in the language of the page", async () => {
  await someone(4);
  const page = await open({ locale: "it-IT" });
  await call("POST", "/mock/settings", { fail: { "POST /v1/jobs": [429, "queue_full", "64 orders are waiting", 7] } });
  await page.getByRole("button", { name: "Di nuovo, con un altro seme" }).click();
  await page.locator(".notice").getByText(/^La coda è piena\. Riprova tra 7 secondi/).waitFor();
});

test("the prompt box with a scene and a warning has nothing that axe finds; all of it is in sight", async () => {
  await someone(4);
  for (const options of [{ viewport: { width: 1280, height: 850 } }, { viewport: { width: 844, height: 390 }, hasTouch: true, isMobile: true }]) {
    const page = await open(options);
    const words = page.getByLabel("Imagine me", { exact: true });
    await words.fill("as a pirate");
    await page.locator(".parts .part").nth(3).waitFor();
    if (options.hasTouch) {
      const free = await page.evaluate(() => document.querySelector(".go-row").getBoundingClientRect().height / innerHeight);
      assert.ok(free < 0.2, `the button takes ${free}`);
    } else {
      const [advanced, go] = await page.evaluate(() => [".advanced > summary", ".go-row"].map((one) => document.querySelector(one).getBoundingClientRect()));
      assert.ok(advanced.bottom <= go.top, `advanced (${advanced.bottom}) is not behind the button (${go.top})`);
      const tiles = await page.evaluate(() => [...document.querySelectorAll(".grid.count-4 .tile")].map((one) => one.getBoundingClientRect().toJSON()));
      for (const { bottom, width } of tiles) assert.ok(bottom <= 850 && width > 280, `all four are in sight, and large: ${bottom}, ${width}`);
    }
    await page.locator('.person-chip[aria-pressed="true"]').click();
    await page.getByText("will show strangers", { exact: false }).waitFor();
    await page.waitForFunction(() => !document.querySelector(".expansion.stale"));
    assert.deepEqual(await axe(page), []);
  }
  assert.ok(base);
});
