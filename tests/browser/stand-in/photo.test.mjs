// A photo of one's own that is changed: agreed to, painted over, sent with one order.

import assert from "node:assert/strict";
import { test } from "node:test";

import { assertClean, axe, call, card, finished, open, openFirst, selfie } from "../harness.mjs";

const sent = async () => (await call("GET", "/mock/requests")).filter((one) => one.method === "POST" && one.path === "/v1/jobs");
const field = (body, name) => body.split(/--+WebKitFormBoundary\w+/).find((part) => part.includes(`name="${name}"`));

/** The dialog with a photo that is painted over, after consent. */
async function painted(options) {
  await call("POST", "/mock/seed", { person: "Eileen" });
  const page = await open(options);
  await page.getByRole("button", { name: "Change a photo" }).click();
  await page.locator("dialog input[type=file]").setInputFiles(selfie);
  await page.getByText("after 24 hours at the latest", { exact: false }).waitFor();
  assert.deepEqual(await sent(), [], "nothing goes before consent");
  await page.getByRole("button", { name: "I agree" }).click();
  const box = await page.locator(".painter canvas").boundingBox();
  await page.mouse.move(box.x + box.width * 0.3, box.y + box.height * 0.2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.7, box.y + box.height * 0.25, { steps: 5 });
  await page.mouse.up();
  await page.getByLabel("What should be there").fill("a person with a red hat");
  return page;
}

test("a photo is changed where it was painted; again, as a command, and after a reload", async () => {
  const page = await painted();
  assert.deepEqual(await axe(page), []);
  await page.getByRole("button", { name: "Change it" }).click();
  await page.locator("dialog").waitFor({ state: "detached" });
  await finished(page);
  const [{ body }] = await sent();
  const job = JSON.parse(field(body, "job").split("\r\n\r\n")[1]);
  assert.deepEqual(job.edit, { strength: 0.9 });
  assert.equal(job.size, "64x64", "the photo's shape in as many pixels as the model draws");
  assert.equal(job.people.length, 1, "whoever is chosen is drawn");
  assert.equal(job.prompt, "a person with a red hat");
  assert.match(field(body, "edit.image"), /image\/jpeg/);
  assert.match(field(body, "edit.mask"), /image\/png/);
  assert.equal(JSON.parse(field(body, "consent").split("\r\n\r\n")[1]).agreed, true);

  await card(page).getByRole("button", { name: "Again, with a new seed" }).click();
  await page.locator("article.job").nth(1).waitFor();
  assert.ok(field((await sent())[1].body, "edit.image"), "the photo goes along again");
  await finished(page);
  await openFirst(page);
  await page.getByRole("button", { name: "Copy as curl" }).click();
  await page.getByText("Put beside it the files", { exact: false }).waitFor();
  const command = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(command, /-F 'job=\{[^]*-F 'edit.image=@photo.jpg'[^]*-F 'edit.mask=@mask.png'[^]*-F 'consent=<consent.json'/);
  await page.keyboard.press("Escape");
  await page.reload();
  await card(page).getByRole("button", { name: "Again, with a new seed" }).click();
  await page.getByText("That photo is not known here any more", { exact: false }).waitFor();
  assertClean();
});

test("on a small phone, by touch: all of it fits, and a failure is told in the dialog", async () => {
  const page = await painted({ viewport: { width: 320, height: 640 }, hasTouch: true, isMobile: true });
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth));
  await call("POST", "/mock/settings", { fail: { "POST /v1/jobs": [429, "too_many_jobs", "20 wait", 30] } });
  await page.getByRole("switch", { name: /Everything but the face/ }).setChecked(true);
  await page.getByRole("button", { name: "Change it" }).click();
  await page.getByRole("alert").getByText("in about 30 seconds", { exact: false }).waitFor();
  await call("POST", "/mock/settings", { fail: {} });
  await page.getByRole("button", { name: "Change it" }).click();
  await page.locator("dialog").waitFor({ state: "detached" });
  const { body } = (await sent()).at(-1);
  assert.deepEqual(JSON.parse(field(body, "job").split("\r\n\r\n")[1]).edit, { strength: 0.9, keep_face: true });
  assert.equal(field(body, "edit.mask"), undefined);
});
