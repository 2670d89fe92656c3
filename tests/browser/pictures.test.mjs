import assert from "node:assert/strict";
import { test } from "node:test";

import { assertClean, base, call, card, enrol, finished, imagine, open, real, selfie } from "./harness.mjs";

async function withPictures() {
  const page = await open();
  await enrol(page);
  await imagine(page, "as an astronaut");
  await finished(page);
  return page;
}

async function openFirst(page) {
  await card(page).locator(".open-picture").first().click();
  await page.locator(".settings").waitFor();
}

test("a picture large: likeness, settings, arrows, compare, favourite, download, delete", async () => {
  const page = await withPictures();
  await openFirst(page);
  const [job] = (await call("GET", "/v1/jobs")).data;
  const [first, second] = job.output;
  await page.locator(".settings").getByText(String(first.seed), { exact: true }).waitFor();
  await page.locator(".likeness strong").waitFor();
  await page.keyboard.press("ArrowRight");
  await page.locator(".settings").getByText(String(second.seed), { exact: true }).waitFor();
  await page.keyboard.press("ArrowLeft");
  await page.locator(".settings").getByText(String(first.seed), { exact: true }).waitFor();

  await page.keyboard.press("c");
  const edge = page.getByRole("slider", { name: /Selfie or picture/ });
  await edge.press("Home");
  assert.equal(await page.locator("compare-slider").evaluate((slider) => slider.style.getPropertyValue("--at")), "0%");
  await page.keyboard.press("f");
  await page.locator('[data-act=favourite][aria-pressed=true]').waitFor();
  assert.equal((await call("GET", "/v1/images?favourite=true")).data.length, 1);

  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download" }).click()]);
  assert.match(file.suggestedFilename(), new RegExp(`imagine-${first.seed}\\.(png|jpg|webp)`));

  await page.keyboard.press("Delete");
  await page.locator("dialog.small").getByRole("button", { name: "Delete" }).click();
  await page.getByText("The picture is gone.").waitFor();
  assert.equal((await call("GET", "/v1/images")).data.length, 3);
  assertClean();
});

test("change only this: a painted mask goes with the order", async () => {
  const page = await withPictures();
  await openFirst(page);
  await page.getByRole("button", { name: "Change only this" }).click();
  await page.getByRole("button", { name: "Change it" }).click();
  await page.getByText("Paint over something first.").waitFor();
  const canvas = page.locator(".painter canvas");
  const box = await canvas.boundingBox();
  await page.mouse.move(box.x + box.width * 0.3, box.y + box.height * 0.2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.7, box.y + box.height * 0.25, { steps: 5 });
  await page.mouse.up();
  await page.getByLabel("What should be there").fill("a person with a red hat");
  await page.getByRole("button", { name: "Change it" }).click();
  await page.locator("dialog").first().waitFor({ state: "detached" });
  const [job] = (await call("GET", "/v1/jobs")).data;
  assert.ok(job.input.edit.strength > 0);
  if (!real) {
    const sent = (await call("GET", "/mock/requests")).filter((one) => one.method === "POST" && one.path === "/v1/jobs").at(-1);
    const mask = Buffer.from(JSON.parse(sent.body).edit.mask, "base64");
    const share = await page.evaluate(async (data) => {
      const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))]));
      const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
      const pen = canvas.getContext("2d");
      pen.drawImage(bitmap, 0, 0);
      const pixels = pen.getImageData(0, 0, bitmap.width, bitmap.height).data;
      const at = (x, y) => pixels[4 * (Math.floor(y * bitmap.height) * bitmap.width + Math.floor(x * bitmap.width))];
      return { width: bitmap.width, painted: at(0.5, 0.22), below: at(0.5, 0.9) };
    }, mask.toString("base64"));
    assert.deepEqual(share, { width: 64, painted: 255, below: 0 });
  }
  await finished(page, job.input.n);
});

test("more like this, and the same seed with new words", async () => {
  const page = await withPictures();
  const [before] = (await call("GET", "/v1/jobs")).data;
  await openFirst(page);
  await page.keyboard.press("r");
  await page.locator("article.job").nth(1).waitFor();
  await finished(page);
  const [again] = (await call("GET", "/v1/jobs")).data;
  assert.notEqual(again.id, before.id);
  assert.notEqual(again.input.seed, before.input.seed);
  assert.equal(again.input.prompt, before.input.prompt);
  await openFirst(page);
  await page.getByRole("button", { name: "Same seed, new prompt" }).click();
  await imagine(page, "as a chef");
  await page.waitForFunction(() => document.querySelectorAll("article.job").length === 3);
  assert.equal((await call("GET", "/v1/jobs")).data[0].input.seed, again.output[0].seed);
});

test("history: 5,000 pictures, only those in sight in the page; search; keys", { skip: real ? "needs seeded pictures" : false }, async () => {
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

test("a batch: rows are seen, run, and come back as a ZIP", async () => {
  const page = await open();
  await page.goto(`${base}/#/batches`);
  await page.getByRole("heading", { level: 1, name: "Batches" }).waitFor();
  const file = (text, name) => ({ name, mimeType: "text/csv", buffer: Buffer.from(text) });
  const drop = page.locator("main input[type=file]");
  await drop.setInputFiles(file("prompt,seed\na portrait of a person as a pirate,1\n,2\n", "wrong.csv"));
  await page.getByText("1 row cannot be read", { exact: false }).waitFor();
  assert.ok(await page.getByRole("button", { name: /Start/ }).isDisabled());
  await page.getByRole("button", { name: "Cancel" }).click();
  await drop.setInputFiles(file('prompt,seed\n"a portrait of a person as a pirate",1\na portrait of a person as a chef,2\n', "two.csv"));
  await page.getByRole("row").nth(2).getByText("chef", { exact: false }).waitFor();
  await page.getByRole("button", { name: "Start 2 rows" }).click();
  await page.getByText("2 of 2 done").first().waitFor();
  const [zip] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "All pictures (ZIP)" }).first().click()]);
  assert.match(zip.suggestedFilename(), /\.zip$/);
  assertClean();
});

test("delete me: says what goes, and it is gone, here and there", async () => {
  const page = await withPictures();
  await page.goto(`${base}/#/people`);
  await page.getByRole("heading", { name: "Eileen" }).waitFor();
  await page.locator(".person").getByRole("button", { name: "Delete" }).click();
  const dialog = page.locator("dialog");
  await dialog.getByText("the description of the face, from 1 photo").waitFor();
  await dialog.getByText("And the 4 pictures made so far?").waitFor();
  await dialog.getByRole("button", { name: "Delete for good" }).click();
  await page.getByText("Eileen is gone", { exact: false }).waitFor();
  assert.deepEqual((await call("GET", "/v1/people")).data, []);
  assert.deepEqual((await call("GET", "/v1/images")).data, []);
  const selfies = await page.evaluate(
    () => new Promise((resolve) => {
      const opening = indexedDB.open("imagine");
      opening.onsuccess = () => {
        const all = opening.result.transaction("selfies").objectStore("selfies").getAllKeys();
        all.onsuccess = () => resolve(all.result);
      };
    }),
  );
  assert.deepEqual(selfies, []);
});

test("me and another: two people in one order", async () => {
  const page = await open();
  await enrol(page, "Eileen");
  await page.getByRole("button", { name: "Add a person" }).click();
  await page.locator("dialog").getByRole("radio", { name: /Somebody else/ }).check();
  await page.getByLabel("Who gave permission?").fill("Her, by mail");
  await page.getByRole("button", { name: "I agree" }).click();
  await page.locator("dialog input[type=file]").setInputFiles(selfie);
  await page.locator(".verdict.good, .verdict.fair").first().waitFor();
  await page.getByLabel("Name").fill("Anna");
  await page.getByRole("button", { name: "Done, let me imagine" }).click();
  await page.locator("dialog").waitFor({ state: "detached" });
  await page.locator(".person-chip", { hasText: "Eileen" }).click();
  await page.getByText("Imagine me and Eileen…").waitFor();
  await imagine(page, "as pirates");
  const [job] = (await call("GET", "/v1/jobs")).data;
  assert.equal(job.input.people.length, 2);
  assert.equal(job.input.prompt, "me and Eileen as pirates");
  const anna = (await call("GET", "/v1/people")).data.find((person) => person.name === "Anna");
  assert.equal(anna.consent.basis, "authorised");
  assert.equal(anna.consent.authorised_by, "Her, by mail");
});
