// A photo of one's own that is changed: agreed to, painted over, sent with one order.

import assert from "node:assert/strict";
import { test } from "node:test";

import { assertClean, axe, call, card, finished, maskSeen, open, openFirst, paintOver, posted } from "../harness.mjs";
import { encode } from "../png.mjs";

/** Two to three, as many phones take them. */
const upright = { name: "me.png", mimeType: "image/png", buffer: encode({ width: 1200, height: 1800, pixels: Buffer.alloc(1200 * 1800 * 3, 120) }) };
const choose = "dialog input[type=file]";
const orders = () => posted("/v1/jobs");
const field = (body, name) => body.split(/--+WebKitFormBoundary\w+/).find((part) => part.includes(`name="${name}"`));
const jobIn = (body) => JSON.parse(field(body, "job").split("\r\n\r\n")[1]);

/** The dialog in which a photo is chosen. */
async function dialog(options) {
  await call("POST", "/mock/seed", { person: "Eileen" });
  const page = await open(options);
  await page.getByRole("button", { name: "Change a photo" }).click();
  return page;
}

/** The dialog with a photo that is painted over, after consent. */
async function painted(options, how) {
  const page = await dialog(options);
  await page.locator(choose).setInputFiles(upright);
  await page.getByText("after 24 hours at the latest", { exact: false }).waitFor();
  assert.deepEqual(await orders(), [], "nothing goes before consent");
  await page.getByRole("button", { name: "I agree" }).click();
  await paintOver(page, "a person with a red hat; it's \"new\"", how);
  return page;
}

test("a photo is changed where it was painted; again, as a command, and after a reload", async () => {
  const page = await painted();
  assert.deepEqual(await axe(page), []);
  await page.getByRole("button", { name: "Change it" }).click();
  await page.locator("dialog").waitFor({ state: "detached" });
  await finished(page);
  const [body] = await orders();
  const job = jobIn(body);
  assert.equal(job.size, "48x80", "the photo's shape in as many pixels as the model draws");
  const { mask, ...edit } = job.edit;
  assert.deepEqual(edit, { strength: 0.9, feather: 3 });
  assert.deepEqual(await maskSeen(page, mask), { width: 48, height: 80, painted: 255, below: 0 });
  assert.equal(job.people.length, 1, "whoever is chosen is drawn");
  assert.equal(job.prompt, "a person with a red hat; it's \"new\"");
  assert.match(field(body, "edit.image"), /image\/jpeg/);
  assert.equal(field(body, "edit.mask"), undefined);
  assert.equal(JSON.parse(field(body, "consent").split("\r\n\r\n")[1]).agreed, true);

  await card(page).getByRole("button", { name: "Again, with a new seed" }).click();
  await page.locator("article.job").nth(1).waitFor();
  const again = (await orders())[1];
  assert.ok(field(again, "edit.image"), "the photo goes along again");
  assert.equal(jobIn(again).edit.mask, mask);
  await finished(page);
  await openFirst(page);
  await page.getByRole("button", { name: "Copy as curl" }).click();
  await page.getByText("the photo as photo.jpg and the consent as consent.json", { exact: false }).waitFor();
  const command = await page.evaluate(() => navigator.clipboard.readText());
  // -F would end the order at the semicolon
  const [, order, files] = command.match(/ \\\n {2}--form-string 'job=(\{[^]*?\n\})' \\\n([^]*)/);
  assert.deepEqual([JSON.parse(order.replaceAll("'\\''", "'")).prompt, JSON.parse(order.replaceAll("'\\''", "'")).edit.mask], [job.prompt, mask]);
  assert.equal(files, "  -F edit.image=@photo.jpg \\\n  -F 'consent=<consent.json'\n");
  await page.evaluate(() => (navigator.clipboard.writeText = () => Promise.reject(new Error("not here"))));
  await page.getByRole("button", { name: "Copy as curl" }).click();
  await page.locator("dialog.small").getByText("photo.jpg", { exact: false }).first().waitFor();
  assert.equal(await page.locator("dialog.small textarea").inputValue(), command);
  await page.reload();
  await card(page).getByRole("button", { name: "Again, with a new seed" }).click();
  await page.getByText("That photo is not known here any more", { exact: false }).waitFor();
  await openFirst(page);
  await page.getByRole("button", { name: "Copy as curl" }).click();
  await page.locator("dialog .notice", { hasText: "That photo is not known here any more" }).last().waitFor();
  assertClean();
});

test("on a small phone, by touch: all of it fits, and a failure is told in the dialog", async () => {
  const page = await painted({ viewport: { width: 320, height: 640 }, hasTouch: true, isMobile: true }, { touch: true });
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth));
  await call("POST", "/mock/settings", { fail: { "POST /v1/jobs": [429, "too_many_jobs", "20 wait", 30] } });
  await page.getByRole("button", { name: "Change it" }).tap();
  await page.getByRole("alert").getByText("in about 30 seconds", { exact: false }).waitFor();
  const { mask } = jobIn((await orders()).at(-1)).edit;
  assert.deepEqual(await maskSeen(page, mask), { width: 48, height: 80, painted: 255, below: 0 });
  await call("POST", "/mock/settings", { fail: {} });
  await page.getByRole("switch", { name: /Everything but the face/ }).setChecked(true);
  await page.getByRole("button", { name: "Change it" }).tap();
  await page.locator("dialog").waitFor({ state: "detached" });
  assert.deepEqual(jobIn((await orders()).at(-1)).edit, { strength: 0.9, keep_face: true });
});

test("a photo is pasted; its consent is the one for a single order; limits that cannot be read are told, and asked for again", async () => {
  const page = await dialog();
  await call("POST", "/mock/settings", { fail: { "GET /v1/limits": [503, "unavailable", "starting", 3] } });
  await page.reload();
  await page.getByRole("button", { name: "Change a photo" }).click();
  const paste = () =>
    page.evaluate((data) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))], "me.png", { type: "image/png" }));
      document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
    }, upright.buffer.toString("base64"));
  await page.locator("dialog .drop").waitFor();
  await paste();
  await page.getByRole("alert").getByText("The server is not ready.").waitFor();
  assert.equal(await page.locator("dialog .drop").count(), 1, "another can be chosen");
  await call("POST", "/mock/settings", { fail: {} });
  await paste();
  await page.getByText("I am handing in a photo with faces for one order.").waitFor();
  await page.getByRole("group", { name: "Who is in the photo?" }).waitFor();
  assert.deepEqual(await axe(page), []);
  await page.getByRole("button", { name: "I agree" }).click();
  await page.locator(".painter").waitFor();
  await paste();
  await paintOver(page, "a red hat");
  await page.getByRole("button", { name: "Change it" }).click();
  await page.locator("dialog").waitFor({ state: "detached" });
  const { once } = await call("GET", "/v1/consent");
  const said = JSON.parse(field((await orders())[0], "consent").split("\r\n\r\n")[1]);
  assert.deepEqual([said.text_version, said.text_sha256, said.basis], [once.version, once.sha256, "self"]);
  await page.evaluate(() => document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: new DataTransfer() })));
  assertClean();
});

test("what was handed in is let go with its pictures, here and when they are deleted in another tab", async () => {
  const page = await painted();
  await page.getByRole("button", { name: "Change it" }).click();
  await finished(page);
  await card(page).getByRole("button", { name: "Again, with a new seed" }).click();
  await finished(page);
  await page.locator("article.job .tile.done").nth(7).waitFor();
  const held = () => page.evaluate(async () => {
    const { jobs, orderFor } = await import("/js/jobs.js");
    window.had ??= jobs.get().map((one) => one.job);
    return window.had.map((job) => orderFor(job) !== null);
  });
  assert.deepEqual(await held(), [true, true]);
  await card(page).getByRole("button", { name: "Delete these pictures" }).click();
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await page.waitForFunction(() => document.querySelectorAll("article.job").length === 1);
  assert.deepEqual(await held(), [false, true]);
  const other = await open({}, page);
  await card(other).getByRole("button", { name: "Delete these pictures" }).click();
  await other.getByRole("button", { name: "Delete", exact: true }).click();
  await page.waitForFunction(() => document.querySelectorAll("article.job").length === 0);
  assert.deepEqual(await held(), [false, false]);
  assertClean();
});

test("by keyboard: a second press orders nothing more, and what lies at the right comes before what lies below", async () => {
  const page = await painted();
  /** @type {() => void} */
  let answer = () => undefined;
  const waiting = new Promise((resolve) => (answer = () => resolve(undefined)));
  await page.route("**/v1/jobs", async (route) => {
    await waiting;
    await route.continue();
  });
  const go = page.getByRole("button", { name: "Change it" });
  await go.press("Enter");
  await page.locator(".button.busy").waitFor();
  await go.press("Enter");
  answer();
  await page.locator("dialog").waitFor({ state: "detached" });
  await finished(page);
  assert.equal((await orders()).length, 1);
  await page.locator("#edit-photo").focus();
  await page.keyboard.press("Tab");
  assert.ok(await page.evaluate(() => document.activeElement.matches("details.advanced > summary")));
});

test("what is no photo is told with the choice still there; a photo that comes too late is let go", async () => {
  const page = await dialog();
  const button = page.locator("dialog .drop button");
  await button.focus();
  await page.locator(choose).setInputFiles({ name: "me.jpg", mimeType: "image/jpeg", buffer: Buffer.from("no picture") });
  await page.getByRole("alert").getByText("Use JPEG, PNG or WebP", { exact: false }).waitFor();
  assert.ok(await button.evaluate((one) => one === document.activeElement), "the focus stays");

  // photos are read one by one, when the test says so
  await page.evaluate(() => {
    const read = window.createImageBitmap;
    window.held = [];
    window.addresses = 0;
    window.createImageBitmap = (...of) => new Promise((resolve) => window.held.push(() => resolve(read(...of))));
    const { createObjectURL } = URL;
    URL.createObjectURL = (of) => ((window.addresses += 1), createObjectURL(of));
  });
  await page.locator(choose).setInputFiles(upright);
  await page.locator("dialog").getByText("One moment…").waitFor();
  await page.locator(choose).setInputFiles(upright);
  await page.waitForFunction(() => window.held.length === 2);
  await page.evaluate(() => window.held[1]());
  await page.getByRole("button", { name: "I agree" }).click();
  await page.locator(".painter").waitFor();
  await page.evaluate(() => window.held[0]());
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Change a photo" }).click();
  await page.locator(choose).setInputFiles(upright);
  await page.waitForFunction(() => window.held.length === 3);
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  await page.evaluate(async () => {
    window.held[2]();
    // as long as a photo takes that is wanted
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [1200, 1800];
    for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg"));
  });
  assert.equal(await page.evaluate(() => window.addresses), 1, "only the photo that was shown has an address");
  assertClean();
});
