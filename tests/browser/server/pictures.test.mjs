import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { promisify } from "node:util";

import { another, assertClean, base, call, card, enrol, finished, imagine, known, open, openFirst, real, selfie } from "../harness.mjs";

async function withPictures({ selfie: inBrowser = false, n = 4 } = {}) {
  if (!inBrowser) await known();
  const page = await open();
  if (inBrowser) await enrol(page);
  await imagine(page, "as an astronaut", { n });
  await finished(page, n);
  await card(page).locator(".job-status", { hasText: /\d pictures? in/ }).waitFor();
  return page;
}

test("a picture large: likeness, every setting, arrows, compare, favourite, download, keys, delete", async () => {
  const page = await withPictures({ selfie: true });
  await openFirst(page);
  const [job] = (await call("GET", "/v1/jobs")).data;
  const [first, second] = job.output;
  const settings = page.locator(".settings");
  await settings.getByText(String(first.seed), { exact: true }).waitFor();
  for (const name of ["Seed", "Size", "Model", "Steps", "Guidance", "Scheduler", "Likeness strength"]) await settings.getByText(name, { exact: true }).waitFor();
  const likeness = await page.locator(".likeness strong").textContent();
  if (first.likeness[0] !== null) assert.match(likeness, /^(The same person|Somebody else) -?\d/);
  await page.keyboard.press("ArrowRight");
  await settings.getByText(String(second.seed), { exact: true }).waitFor();
  await page.keyboard.press("ArrowLeft");
  // before all is known of the picture: the key is not lost
  await page.keyboard.press("c");
  await settings.getByText(String(first.seed), { exact: true }).waitFor();
  const edge = page.getByRole("slider", { name: /Selfie or picture/ });
  await edge.press("Home");
  assert.equal(await page.locator("compare-slider").evaluate((slider) => slider.style.getPropertyValue("--at")), "0%");
  await page.keyboard.press("f");
  await page.locator("[data-act=favourite][aria-pressed=true]").waitFor();
  assert.equal((await call("GET", "/v1/images?favourite=true")).data.length, 1);
  await page.keyboard.press("?");
  await page.getByRole("heading", { name: "Keys" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("heading", { name: "Keys" }).waitFor({ state: "detached" });

  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download" }).click()]);
  assert.match(file.suggestedFilename(), new RegExp(`imagine-${first.seed}\\.(png|jpg|webp)`));
  const stored = Buffer.from(await (await fetch(base + first.url)).arrayBuffer());
  assert.ok(readFileSync(await file.path()).equals(stored), "the file as it is stored, with its mark");

  await page.keyboard.press("Delete");
  await page.locator("dialog.small").getByRole("button", { name: "Delete" }).click();
  await page.getByText("The picture is gone.").waitFor();
  assert.equal((await call("GET", "/v1/images")).data.length, 3);
  assertClean();
});

test("the copied command draws the same picture", async () => {
  await known();
  const page = await open();
  await page.getByLabel("Imagine me", { exact: true }).fill("as a pirate, it's \"me\" & $HOME");
  await page.getByRole("list", { name: "Parts of the scene" }).locator("input").first().waitFor();
  await page.getByRole("button", { name: "Imagine", exact: true }).click();
  await finished(page);
  await card(page).locator(".open-picture").nth(1).click();
  await page.locator(".settings").waitFor();
  await page.getByRole("button", { name: "Copy as curl" }).click();
  await page.getByText("Copied: the command").waitFor();
  const command = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(command, new RegExp(`^curl -s ${base}/v1/jobs `));
  const made = JSON.parse((await promisify(execFile)("sh", ["-c", command])).stdout);
  for (let job = made; !["succeeded", "failed"].includes(job.status); ) job = await (await fetch(`${base}/v1/jobs/${made.id}`, { headers: { Prefer: "wait=20" } })).json();
  if (!real) return; // the stand-in draws nothing
  const [again, first] = (await call("GET", "/v1/jobs")).data;
  const pixels = (output) => page.evaluate(async (url) => {
    const bitmap = await createImageBitmap(await (await fetch(url)).blob());
    const pen = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    pen.drawImage(bitmap, 0, 0);
    return [...pen.getImageData(0, 0, bitmap.width, bitmap.height).data];
  }, output.url);
  const [one, other] = await Promise.all([pixels(again.output[0]), pixels(first.output[1])]);
  // pictures that share a call may differ by a step of 255
  assert.ok(one.every((value, at) => Math.abs(value - other[at]) <= 1), "the same pixels");
});

test("change only this: what was painted is drawn anew, the rest stays", async () => {
  const page = await withPictures({ n: 1 });
  await openFirst(page);
  await page.getByRole("button", { name: "Change only this" }).click();
  await page.getByRole("button", { name: "Change it" }).click();
  await page.getByText("Paint over something first.").waitFor();
  const canvas = page.locator(".painter canvas");
  const box = await canvas.boundingBox();
  await page.mouse.move(box.x + box.width * 0.2, box.y + box.height * 0.12);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.8, box.y + box.height * 0.14, { steps: 5 });
  await page.mouse.up();
  await page.getByLabel("What should be there").fill("a person with a red hat");
  await page.getByRole("button", { name: "Change it" }).click();
  await page.locator("dialog").first().waitFor({ state: "detached" });
  await finished(page, 1);
  const [changed, before] = (await call("GET", "/v1/jobs")).data;
  assert.ok(changed.input.edit.strength > 0);
  if (!real) return;
  // mean difference in the painted band and at the bottom, of the picture that was changed
  const [painted, rest] = await page.evaluate(async (urls) => {
    const [old, now] = await Promise.all(urls.map(async (url) => {
      const bitmap = await createImageBitmap(await (await fetch(url)).blob());
      const pen = new OffscreenCanvas(64, 64).getContext("2d");
      pen.drawImage(bitmap, 0, 0, 64, 64);
      return pen.getImageData(0, 0, 64, 64).data;
    }));
    const mean = (from, to) => {
      let sum = 0;
      for (let at = from * 256; at < to * 256; at += 1) sum += Math.abs(old[at] - now[at]);
      return sum / ((to - from) * 256);
    };
    return [mean(4, 13), mean(40, 64)];
  }, [before.output[0].url, changed.output[0].url]);
  assert.ok(painted > 4 * rest && rest < 2, `painted ${painted}, rest ${rest}`);
});

test("a photo of one's own is changed where it was painted, and is not kept", async () => {
  await known();
  const page = await open();
  await page.getByRole("button", { name: "Change a photo" }).click();
  await page.locator("dialog input[type=file]").setInputFiles(selfie);
  await page.getByRole("button", { name: "I agree" }).click();
  await page.locator(".painter").waitFor();
  await page.getByRole("button", { name: "Upper part" }).click();
  await page.getByLabel("What should be there").fill("a person with a red hat");
  await page.getByRole("button", { name: "Change it" }).click();
  await page.locator("dialog").waitFor({ state: "detached" });
  await finished(page);
  const [job] = (await call("GET", "/v1/jobs")).data;
  assert.equal(job.input.edit.image, undefined);
  // mean difference to the photo, above and below the edge of what was painted
  const [above, below] = await page.evaluate(async ([url, photo]) => {
    const pixels = async (blob) => {
      const pen = new OffscreenCanvas(64, 64).getContext("2d");
      pen.drawImage(await createImageBitmap(blob), 0, 0, 64, 64);
      return pen.getImageData(0, 0, 64, 64).data;
    };
    const bytes = Uint8Array.from(atob(photo), (letter) => letter.charCodeAt(0));
    const [now, old] = await Promise.all([fetch(url).then((answer) => answer.blob()).then(pixels), pixels(new Blob([bytes]))]);
    const mean = (from, to) => {
      let sum = 0;
      for (let at = from * 256; at < to * 256; at += 1) sum += Math.abs(old[at] - now[at]);
      return sum / ((to - from) * 256);
    };
    return [mean(0, 20), mean(32, 64)];
  }, [job.output[0].url, readFileSync(selfie).toString("base64")]);
  if (real) assert.ok(above > 3 * below && below < 6, `above ${above}, below ${below}`);
});

test("strengths of what counts of a person reach the picture", { skip: real ? false : "the stand-in draws nothing" }, async () => {
  await known();
  const page = await open();
  await page.getByText("Advanced", { exact: true }).click();
  await page.getByText("Likeness in detail").click();
  await page.getByLabel("Seed").fill("5");
  await imagine(page, "as a king", { n: 1 });
  await finished(page, 1);
  await page.getByLabel("Skin and hair colour", { exact: false }).fill("0");
  await page.getByLabel("End", { exact: false }).fill("1.5");
  await imagine(page, "as a king");
  await finished(page, 1);
  const [changed, before] = (await call("GET", "/v1/jobs")).data;
  assert.deepEqual(changed.input.people[0].card_scale, { colours: 0 });
  assert.deepEqual(changed.input.people[0].stages.map((stage) => stage.scale), [1, 1, 1.5]);
  assert.equal(before.input.people[0].card_scale, undefined);
  const bytes = async (job) => Buffer.from(await (await fetch(base + job.output[0].url)).arrayBuffer());
  assert.notDeepEqual(await bytes(changed), await bytes(before), "the same seed, another picture");
});

test("more like this, vary, and the same seed with new words", async () => {
  const page = await withPictures({ n: 1 });
  const [before] = (await call("GET", "/v1/jobs")).data;
  await openFirst(page);
  await page.keyboard.press("r");
  await page.locator("article.job").nth(1).waitFor();
  await finished(page, 1);
  const [again] = (await call("GET", "/v1/jobs")).data;
  assert.notEqual(again.id, before.id);
  assert.notEqual(again.input.seed, before.input.seed);
  assert.equal(again.input.prompt, before.input.prompt);
  await openFirst(page);
  await page.getByRole("button", { name: "Vary" }).click();
  await page.locator("article.job").nth(2).waitFor();
  await finished(page, 1);
  assert.equal((await call("GET", "/v1/jobs")).data[0].input.edit.image, again.output[0].id);
  await page.locator("article.job").nth(1).locator(".open-picture").first().click();
  await page.locator(".settings").waitFor();
  await page.getByRole("button", { name: "Same seed, new prompt" }).click();
  await imagine(page, "as a chef");
  assert.equal((await call("GET", "/v1/jobs")).data[0].input.seed, again.output[0].seed);
  await finished(page, 1);
});

test("a batch: rows are seen, dropped anew when some are wrong, run one by one, opened large, and come back as a ZIP", async () => {
  await known();
  const page = await open();
  await page.goto(`${base}/#/batches`);
  await page.getByRole("heading", { level: 1, name: "Batches" }).waitFor();
  const drop = (where, name, text) => page.evaluate(([where, name, text]) => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([text], name));
    document.querySelector(where).dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
  }, [where, name, text]);
  await drop(".drop", "wrong.csv", "prompt,seed\na portrait of a person as a pirate,1\n,2\n");
  await page.getByText("1 row cannot be drawn", { exact: false }).waitFor();
  assert.equal(await page.getByRole("button", { name: /Start/ }).count(), 0);
  const rows = [{ person: "Eileen", prompt: "me as a pirate", seed: 1 }, { prompt: "a portrait of a person as a chef", seed: 2 }, { person: "Eileen", prompt: "me naked" }];
  await drop("main table", "three.jsonl", rows.map((row) => JSON.stringify(row)).join("\n"));
  await page.getByRole("row").nth(2).getByText("chef", { exact: false }).waitFor();
  await page.getByRole("button", { name: "Start 3 rows" }).click();
  const batch = page.locator("article.batch").first();
  await batch.getByText("Row by row").click();
  await batch.getByText("2 of 3 done · 1 failed").waitFor();
  await batch.getByRole("row").nth(3).getByText("Imagine does not undress people.", { exact: false }).waitFor();
  await batch.getByRole("button", { name: "Open picture 1 of row 2" }).click();
  await page.locator(".viewer-prompt", { hasText: "as a chef" }).waitFor();
  await page.keyboard.press("ArrowLeft");
  await page.locator(".viewer-prompt", { hasText: "as a pirate" }).waitFor();
  await page.keyboard.press("Escape");
  const [zip] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "All pictures (ZIP)" }).first().click()]);
  assert.match(zip.suggestedFilename(), /\.zip$/);
  if (real) {
    const bytes = readFileSync(await zip.path()).toString("latin1");
    assert.ok(bytes.includes("manifest.jsonl"));
    assert.equal(bytes.split("PK\x01\x02").length - 1, 3, "two pictures and what they are");
  }
  assertClean();
});

test("history finds words and people, and arrows walk through it", async () => {
  const eileen = await known("Eileen");
  const anna = await known("Anna", another);
  const order = (person, prompt, n) => call("POST", "/v1/jobs", { prompt, n, expand: false, people: [{ person: person.id }] });
  for (const job of await Promise.all([order(eileen, "me as a queen", 2), order(anna, "me as a cowboy", 3)])) {
    await fetch(`${base}/v1/jobs/${job.id}`, { headers: { Prefer: "wait=60" } });
  }
  const page = await open();
  await page.goto(`${base}/#/history`);
  await page.getByText("Those are all 5 pictures.").waitFor();
  await page.locator(".wall-tile img.here").nth(4).waitFor();
  await page.getByRole("searchbox").fill("queen");
  await page.getByText("Those are all 2 pictures.").waitFor();
  await page.getByRole("searchbox").fill("");
  await page.getByText("Those are all 5 pictures.").waitFor();
  await page.getByRole("combobox", { name: "Person" }).selectOption({ label: "Anna" });
  await page.getByText("Those are all 3 pictures.").waitFor();
  await page.locator(".wall-tile button").first().focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  await page.locator(".viewer-prompt", { hasText: "cowboy" }).waitFor();
  assertClean();
});

test("people: renamed, more photos, asked for by name", async () => {
  await known();
  const page = await open();
  await page.goto(`${base}/#/people`);
  await page.getByRole("button", { name: "Rename" }).click();
  await page.locator("dialog").getByLabel("Name").fill("Ada");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { name: "Ada" }).waitFor();
  await page.getByRole("button", { name: "Add photos" }).click();
  await page.locator("dialog input[type=file]").setInputFiles(selfie);
  await page.locator(".verdict.good, .verdict.fair").first().waitFor();
  await page.getByRole("button", { name: "Add these photos" }).click();
  await page.getByText("Known from 2 photos").waitFor();
  if (real) {
    await page.getByRole("button", { name: "Add photos" }).click();
    await page.locator("dialog input[type=file]").setInputFiles(another);
    await page.locator(".verdict.good, .verdict.fair").first().waitFor();
    await page.getByRole("button", { name: "Add these photos" }).click();
    await page.getByText("These photos do not show the same person.").waitFor();
  }
  assert.equal((await call("GET", "/v1/people")).data[0].name, "Ada");
});

test("looks: measured from the photo, corrected on the page, and the next picture is drawn by it", async () => {
  const person = await known();
  const page = await open();
  await page.goto(`${base}/#/people`);
  await page.getByRole("button", { name: "Looks" }).click();
  const row = (name) => page.locator(".card-part", { hasText: name });
  await row("Face").getByText("measured: 128 numbers").first().waitFor();
  assert.match(await page.getByLabel("Skin: correct it").inputValue(), /^#[0-9a-f]{6}$/);
  assert.ok(Number(await page.getByLabel("Age: correct it").inputValue()) >= 18);
  const drawn = async () => {
    const { id } = await call("POST", "/v1/jobs", { prompt: "me, smiling", people: [{ person: person.id }], seed: 11, expand: false });
    for (;;) {
      const job = await call("GET", `/v1/jobs/${id}`);
      if (job.status === "succeeded") return brightness(page, job.output[0].url);
      assert.ok(["queued", "running"].includes(job.status), JSON.stringify(job));
      await page.waitForTimeout(100);
    }
  };
  const asMeasured = await drawn();
  await page.getByLabel("Skin: correct it").fill("#f3d9c8");
  await row("Skin").getByText("as you said").waitFor();
  const lighter = await drawn();
  assert.ok(lighter > asMeasured + 10, `the face's brightness: ${asMeasured} as measured, ${lighter} with fair skin`);
  await row("Skin").getByRole("button", { name: "Back to the photos" }).click();
  await row("Skin").getByText("as you said").waitFor({ state: "detached" });
  assert.equal(await drawn(), asMeasured, "the same seed and card, the same picture");
});

/** Mean brightness, 0 to 255, of a picture where the face is. */
const brightness = (page, url) => page.evaluate(async (address) => {
  const bitmap = await createImageBitmap(await (await fetch(address)).blob());
  const pen = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  pen.drawImage(bitmap, 0, 0);
  const part = (share) => Math.round(bitmap.width * share);
  const { data } = pen.getImageData(part(0.4), part(0.35), part(0.2), part(0.25));
  return data.filter((_, at) => at % 4 < 3).reduce((sum, value) => sum + value, 0) / (data.length * 0.75);
}, url);

test("delete me: says what goes, and it is gone, here and there", async () => {
  const page = await withPictures({ selfie: true });
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

test("me and another: two people in one order, who stand where they are put", async () => {
  await known();
  const page = await open();
  await page.getByRole("button", { name: "Add a person" }).click();
  await page.locator("dialog").getByRole("radio", { name: /Somebody else/ }).check();
  await page.getByLabel("Who gave permission?").fill("Her, by mail");
  await page.getByRole("button", { name: "I agree" }).click();
  await page.locator("dialog input[type=file]").setInputFiles(another);
  await page.locator(".verdict.good, .verdict.fair").first().waitFor();
  await page.getByLabel("Name").fill("Anna");
  await page.getByRole("button", { name: "Done, let me imagine" }).click();
  await page.locator("dialog").waitFor({ state: "detached" });
  await page.locator(".person-chip", { hasText: "Eileen" }).click();
  await page.getByText("Imagine me and Eileen…").waitFor();
  await imagine(page, "as pirates", { n: 1 });
  const [job] = (await call("GET", "/v1/jobs")).data;
  assert.equal(job.input.people.length, 2);
  assert.equal(job.input.prompt, "me and Eileen as pirates");
  const anna = (await call("GET", "/v1/people")).data.find((person) => person.name === "Anna");
  assert.deepEqual([anna.consent.basis, anna.consent.authorised_by], ["authorised", "Her, by mail"]);
  await finished(page, 1);

  const again = async (edit) => {
    await page.getByRole("button", { name: "Where they stand" }).click();
    await edit(page.locator("dialog"));
    await page.getByRole("button", { name: "Done", exact: true }).click();
    await imagine(page, "as pirates", { n: 1 });
    await finished(page, 1);
    const [{ id }] = (await call("GET", "/v1/jobs")).data;
    const job = await call("GET", `/v1/jobs/${id}`);
    return { people: job.input.people, size: job.input.size, bytes: Buffer.from(await (await fetch(base + job.output[0].url)).arrayBuffer()) };
  };
  await page.getByLabel("Seed").fill("5");
  const beside = await again(() => undefined);
  const swapped = await again((dialog) => dialog.getByRole("button", { name: "Swap" }).click());
  assert.deepEqual(swapped.people.map((one) => one.box), [[0.5, 0, 1, 1], [0, 0, 0.5, 1]]);
  if (real) assert.equal(beside.size, "224x128", "room for both");
  const painted = await again(async (dialog) => {
    await dialog.getByText("Painted", { exact: true }).click();
    await dialog.getByRole("button", { name: "Left half" }).click();
    await dialog.getByText("Eileen", { exact: true }).click();
    await dialog.getByRole("button", { name: "Right half" }).click();
  });
  assert.ok(painted.people.every((one) => !one.box && !one.mask), "masks are not told again");
  if (!real) return;
  assert.notDeepEqual(swapped.bytes, beside.bytes, "the same seed, the other way round");
  assert.notDeepEqual(painted.bytes, swapped.bytes, "painted as they stood at first");
});
