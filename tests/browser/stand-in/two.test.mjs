// Two people in one picture: how strongly each counts, and where each stands.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { another, assertClean, axe, call, card, finished, imagine, open, openFirst, posted, selfie } from "../harness.mjs";

const orders = async () => (await posted("/v1/jobs")).map((body) => JSON.parse(body));
const boxes = async () => (await orders()).at(-1).people.map((one) => one.box);
const order = async (page) => {
  const before = await page.locator("article.job").count();
  await page.getByRole("button", { name: "Imagine", exact: true }).click();
  await page.locator("article.job").nth(before).waitFor();
  await finished(page);
};

/** Eileen is "me", Marta beside her. */
async function two(options, settings = {}) {
  await call("POST", "/mock/settings", settings);
  const ids = [];
  for (const person of ["Eileen", "Marta"]) ids.push((await call("POST", "/mock/seed", { person })).person);
  const page = await open(options);
  await page.getByRole("button", { name: "Marta" }).click();
  await page.getByRole("switch", { name: /Fill in the scene/ }).setChecked(false);
  await page.getByLabel("Imagine me", { exact: true }).fill("as kings");
  return { page, ids };
}

test("each has strengths of their own, which stay with them, are shown by name, and come back with the words", async () => {
  const { page, ids } = await two({}, { groups: ["descriptor"] });
  await page.getByText("Advanced", { exact: true }).click();
  const eileen = page.getByRole("group", { name: "Eileen", exact: true });
  const marta = page.getByRole("group", { name: "Marta", exact: true });
  await eileen.getByLabel("Likeness strength", { exact: false }).fill("0.6");
  await marta.getByText("Likeness in detail").click();
  await marta.getByRole("slider", { name: "Face" }).fill("1.4");
  assert.deepEqual(await axe(page), []);
  await order(page);
  const [first] = await orders();
  assert.deepEqual(first.people.map(({ box: _, ...one }) => one), [{ person: ids[0], scale: 0.6 }, { person: ids[1], card_scale: { descriptor: 1.4 } }]);
  await openFirst(page);
  await page.locator(".settings").getByText("0.6, 1", { exact: true }).waitFor();
  await page.locator(".settings").getByText("Marta: Face 1.40", { exact: true }).waitFor();
  await page.keyboard.press("Escape");

  // whoever stays keeps theirs, also alone and in the other's place
  await page.getByRole("button", { name: /^Eileen/ }).click();
  await page.getByText("Likeness in detail").first().click();
  assert.equal(await page.getByRole("slider", { name: "Face" }).inputValue(), "1.4");
  await order(page);
  assert.deepEqual((await orders())[1].people, [{ person: ids[1], card_scale: { descriptor: 1.4 } }]);
  await page.getByRole("button", { name: /^Eileen/ }).click();
  assert.equal(await eileen.getByLabel("Likeness strength", { exact: false }).inputValue(), "1", "who comes anew begins anew");

  await page.locator("article.job").nth(1).getByRole("button", { name: "Use these words and settings" }).click();
  assert.equal(await eileen.getByLabel("Likeness strength", { exact: false }).inputValue(), "0.6");
  assert.equal(await marta.getByRole("slider", { name: "Face" }).inputValue(), "1.4");
  assertClean();
});

test("frames say where they stand: by pointer, by keys, swapped, put back, and over a reload", async () => {
  const { page } = await two();
  await order(page);
  assert.deepEqual(await boxes(), [[0, 0, 0.5, 1], [0.5, 0, 1, 1]], "side by side");
  await page.getByRole("button", { name: "Where they stand" }).click();
  assert.deepEqual(await axe(page), []);
  assert.ok(await page.locator("dialog").evaluate((dialog) => dialog.scrollWidth <= dialog.clientWidth), "nothing wider than the dialog");
  const frames = page.locator(".place-frame");
  const room = await page.locator(".places-stage").boundingBox();
  // the corner of the second one up to the middle, then all of it to the left
  await page.mouse.move(room.x + room.width - 8, room.y + room.height - 8);
  await page.mouse.down();
  await page.mouse.move(room.x + room.width - 8, room.y + room.height / 2 - 8, { steps: 4 });
  await page.mouse.up();
  await page.mouse.move(room.x + room.width * 0.75, room.y + room.height * 0.25);
  await page.mouse.down();
  await page.mouse.move(room.x + room.width * 0.5, room.y + room.height * 0.25, { steps: 4 });
  await page.mouse.up();
  await frames.first().press("ArrowDown");
  await frames.first().press("Shift+ArrowLeft");
  // it stays in the picture
  await page.getByRole("button", { name: "Eileen from 0 % to 45 % across, from 0 % to 100 % down" }).waitFor();
  await page.getByRole("button", { name: "Done" }).click();
  await page.reload();
  await order(page);
  const [eileen, marta] = await boxes();
  assert.deepEqual(eileen, [0, 0, 0.45, 1]);
  for (const [at, side] of [0.25, 0, 0.75, 0.5].entries()) assert.ok(Math.abs(marta[at] - side) < 0.03, `${marta}`);

  await page.getByRole("button", { name: "Where they stand" }).click();
  await page.getByRole("button", { name: "Swap" }).click();
  await page.keyboard.press("Escape");
  await order(page);
  assert.deepEqual(await boxes(), [marta, eileen]);
  await page.getByRole("button", { name: "Where they stand" }).click();
  await page.getByRole("button", { name: "Side by side" }).click();
  await page.keyboard.press("Escape");
  await card(page).getByRole("button", { name: "Use these words and settings" }).click();
  await order(page);
  assert.deepEqual(await boxes(), [marta, eileen], "earlier words bring their places");
  assertClean();
});

test("places are painted: one mask each, sent again in this tab, asked for anew after a reload", async () => {
  const { page } = await two();
  await page.getByRole("button", { name: "Where they stand" }).click();
  await page.getByText("Painted", { exact: true }).click();
  await page.getByText("Not painted yet: Eileen, Marta.", { exact: false }).waitFor();
  await page.getByRole("button", { name: "Left half" }).click();
  await page.getByText("Not painted yet: Marta.", { exact: false }).waitFor();
  await page.locator("dialog").getByText("Marta", { exact: true }).click();
  await page.getByRole("button", { name: "Right half" }).click();
  assert.equal(await page.getByText("Not painted yet", { exact: false }).count(), 0);
  assert.deepEqual(await axe(page), []);
  await page.getByRole("button", { name: "Done" }).click();
  await order(page);
  const { people } = (await orders())[0];
  assert.ok(people.every((one) => one.mask && !one.box));
  const seen = await page.evaluate(async (masks) => {
    const whiteAt = async (mask) => {
      const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(mask), (letter) => letter.charCodeAt(0))]));
      const pen = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
      pen.drawImage(bitmap, 0, 0);
      return [bitmap.width, bitmap.height, ...[0.25, 0.75].map((x) => pen.getImageData(x * bitmap.width, bitmap.height / 2, 1, 1).data[0])];
    };
    return Promise.all(masks.map(whiteAt));
  }, people.map((one) => one.mask));
  assert.deepEqual(seen, [[64, 64, 255, 0], [64, 64, 0, 255]]);

  // opened again, both areas are still there
  await page.getByRole("button", { name: "Where they stand" }).click();
  await page.locator(".painter").waitFor();
  assert.equal(await page.getByText("Not painted yet", { exact: false }).count(), 0);
  await page.getByRole("button", { name: "Undo" }).click();
  await page.keyboard.press("Escape");
  await card(page).getByRole("button", { name: "Again, with a new seed" }).click();
  await page.locator("article.job").nth(1).waitFor();
  assert.deepEqual((await orders())[1].people.map((one) => one.mask), people.map((one) => one.mask));
  await finished(page);
  await page.reload();
  await card(page).getByRole("button", { name: "Again, with a new seed" }).click();
  await page.getByText("Where each of them stands was painted", { exact: false }).waitFor();
  await openFirst(page);
  await page.getByRole("button", { name: "More like this" }).click();
  await page.locator("article.job").nth(2).waitFor();
  assert.deepEqual(await boxes(), [[0, 0, 0.5, 1], [0.5, 0, 1, 1]], "more of it is drawn side by side");
  assertClean();
});

test("a model that wants room for each gives it to two, whatever an earlier order of one had", async () => {
  const { page } = await two({}, { model: { width_per_person: 48 } });
  await page.getByText("Advanced", { exact: true }).click();
  const size = page.getByRole("combobox", { name: "Size" });
  const shown = () => size.evaluate((select) => select.selectedOptions[0].textContent);
  assert.equal(await shown(), "112 × 64");
  await page.getByRole("button", { name: /^Marta/ }).click();
  assert.equal(await shown(), "64 × 64");
  await order(page);
  await card(page).getByRole("button", { name: "Use these words and settings" }).click();
  await page.getByRole("button", { name: /^Marta/ }).click();
  assert.equal(await shown(), "112 × 64");
  await order(page);
  assert.ok((await orders()).every((one) => one.size === undefined), "left to the service");
  await size.selectOption("64x96");
  await order(page);
  assert.equal((await orders()).at(-1).size, "64x96");
  assertClean();
});

test("a model that draws nobody, or one at a time, says so before anything is ordered", async () => {
  const { page, ids } = await two({}, { model: { identity: { kind: "faceid", regions: false, groups: [] } } });
  await page.getByText("only Eileen will be in the pictures", { exact: false }).waitFor();
  assert.equal(await page.getByRole("button", { name: "Where they stand" }).isVisible(), false);
  await order(page);
  assert.deepEqual((await orders())[0].people, [{ person: ids[0] }]);
  await call("POST", "/mock/settings", { model: { identity: null } });
  await page.reload();
  await page.getByText("This model cannot draw anybody's face", { exact: false }).waitFor();
  await imagine(page, "as a queen");
  await finished(page);
  assert.equal((await orders())[1].people, undefined);
  assertClean();
});

/** As if somebody had been met in this browser. */
const keep = (page, id, file) =>
  page.evaluate(
    async ([person, bytes]) => {
      const { keepSelfie } = await import("/js/selfies.js");
      await keepSelfie(person, new Blob([Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0))], { type: "image/jpeg" }));
    },
    [id, readFileSync(file).toString("base64")],
  );

test("of two people either one's selfie is compared, where they stand, by keys alone", async () => {
  const { page, ids } = await two();
  await keep(page, ids[0], selfie);
  await order(page);
  await openFirst(page);
  // only one of them was met here
  await page.keyboard.press("c");
  const slider = page.locator("compare-slider");
  await slider.waitFor();
  await page.getByText("No selfie in this browser: Marta.").waitFor();
  await page.keyboard.press("c");
  await slider.waitFor({ state: "detached" });

  await keep(page, ids[1], another);
  await page.keyboard.press("c");
  const whose = page.getByRole("group", { name: "Compare with" });
  await whose.waitFor();
  assert.deepEqual(await whose.getByRole("button", { pressed: true }).allTextContents(), ["Eileen"]);
  const place = () => slider.locator(".compare-left img").evaluate((img) => ["left", "top", "width", "height"].map((side) => img.style[side]));
  assert.deepEqual(await place(), ["0%", "0%", "50%", "100%"]);
  assert.equal(await page.getByRole("slider", { name: "Selfie of Eileen, or the picture: move the edge" }).inputValue(), "25");
  const first = await slider.getByAltText("Selfie of Eileen").getAttribute("src");
  assert.deepEqual(await axe(page), []);

  await whose.getByRole("button", { name: "Marta" }).focus();
  await page.keyboard.press("Enter");
  const edge = page.getByRole("slider", { name: "Selfie of Marta, or the picture: move the edge" });
  await edge.waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent.trim()), "Marta", "the focus stays");
  assert.deepEqual(await place(), ["50%", "0%", "50%", "100%"]);
  assert.notEqual(await slider.getByAltText("Selfie of Marta").getAttribute("src"), first);
  await edge.focus();
  await page.keyboard.press("End");
  assert.equal(await slider.evaluate((one) => one.style.getPropertyValue("--at")), "100%");
  await page.keyboard.press("c");
  await slider.waitFor({ state: "detached" });
  assert.equal(await whose.count(), 0);
  assertClean();
});
