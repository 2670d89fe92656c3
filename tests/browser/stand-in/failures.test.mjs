// What a real server cannot be brought to on demand.

import assert from "node:assert/strict";
import { test } from "node:test";

import { assertClean, axe, base, call, card, enrol, finished, maskSeen, open, paintOver, posted, selfie, underWay } from "../harness.mjs";

test("a failure says what happened and what to do", async () => {
  const page = await open();
  await enrol(page);
  await call("POST", "/mock/settings", { fail: { "POST /v1/jobs": [429, "queue_full", "64 orders are waiting", 7] } });
  await page.getByLabel("Imagine me", { exact: true }).fill("as a king");
  await page.keyboard.press("Control+Enter");
  const said = page.getByRole("alert");
  await said.getByText("The queue is full.").waitFor();
  await said.getByText("Try again in 7 seconds", { exact: false }).waitFor();
  await call("POST", "/mock/settings", { fail: { job: "worker_lost" } });
  await page.keyboard.press("Control+Enter");
  await card(page).getByText("The computer that drew it failed three times.").waitFor();
  await call("POST", "/mock/settings", { fail: {} });
  await card(page).getByRole("button", { name: "Try again" }).click();
  await finished(page);
});

test("where a key is needed the page asks for it, and pictures come with it", async () => {
  await call("POST", "/mock/seed", { person: "Eileen", pictures: 4 });
  await call("POST", "/mock/settings", { key: "imk_test" });
  const page = await open();
  await page.getByLabel("API key").fill("imk_wrong");
  await page.getByRole("button", { name: "Use it" }).click();
  await page.getByText("That key was not accepted.").waitFor();
  await page.getByLabel("API key").fill("imk_test");
  await page.getByRole("button", { name: "Use it" }).click();
  await finished(page);
});

test("a key that is revoked in the middle: said once, nothing is asked for over and over, and a new one goes on where it was", async () => {
  await call("POST", "/mock/seed", { person: "Eileen" });
  await call("POST", "/mock/settings", { key: "imk_test", stepMilliseconds: 3000 });
  const page = await open();
  await page.getByLabel("API key").fill(" imk_test… ");
  await page.getByRole("button", { name: "Use it" }).click();
  await page.getByLabel("Imagine me", { exact: true }).fill("as a king");
  await page.getByRole("button", { name: "Imagine", exact: true }).click();
  await underWay(page);
  await call("POST", "/mock/settings", { key: "imk_other" });
  await page.getByText("Your key is not accepted any more", { exact: false }).waitFor();
  const asked = async () => (await call("GET", "/mock/requests")).length;
  const before = await asked();
  await page.waitForTimeout(2000);
  assert.equal(await asked(), before, "whoever is refused does not ask again");
  // put away, it is asked for again where something failed for want of it
  await page.keyboard.press("Escape");
  await page.goto(`${base}/#/history`);
  await page.getByLabel("API key").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("alert").getByRole("button", { name: "Enter the key" }).click();
  assert.deepEqual(await axe(page), []);
  await page.getByLabel("API key").fill("imk_other");
  await page.getByRole("button", { name: "Use it" }).click();
  await page.goto(`${base}/#/`);
  await call("POST", "/mock/settings", { stepMilliseconds: 20 });
  await finished(page);
  assertClean();
});

test("a browser without room: the person is met once, the draft goes on, and what is missing is said", async () => {
  const page = await open();
  await page.evaluate(() => {
    const full = () => {
      throw new DOMException("no room", "QuotaExceededError");
    };
    IDBObjectStore.prototype.put = full;
    Storage.prototype.setItem = full;
  });
  const said = page.getByText("no room for the selfie", { exact: false }).waitFor();
  await enrol(page);
  await said;
  assert.equal((await posted("/v1/people")).length, 1);
  await page.getByLabel("Imagine me", { exact: true }).fill("as a king");
  await page.keyboard.press("Control+Enter");
  await finished(page);
  assertClean();
});

test("a camera that is refused leaves the other ways in sight, and can be tried again", async () => {
  const page = await open();
  await page.evaluate(() => {
    const { getUserMedia } = navigator.mediaDevices;
    window.refuse = true;
    navigator.mediaDevices.getUserMedia = function (...of) {
      return window.refuse ? Promise.reject(new DOMException("", "NotAllowedError")) : getUserMedia.apply(navigator.mediaDevices, of);
    };
  });
  await page.getByRole("button", { name: "Take a selfie" }).click();
  await page.getByRole("button", { name: "I agree" }).click();
  await page.getByRole("alert").getByText("The camera may not be used.").waitFor();
  await page.locator("dialog .drop button", { hasText: "Choose photos" }).waitFor();
  await page.evaluate(() => (window.refuse = false));
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByRole("button", { name: "Take photo" }).click();
  await page.locator(".verdict.good").waitFor();
  assertClean();
});

test("a refusal is said once", async () => {
  await call("POST", "/mock/seed", { person: "Eileen" });
  const refused = [422, "refused", "no", null, { rule: "as-a-real-person" }];
  await call("POST", "/mock/settings", { fail: { "POST /v1/prompts/expand": refused, "POST /v1/jobs": refused } });
  const page = await open();
  await page.getByLabel("Imagine me", { exact: true }).fill("as Lionel Messi");
  await page.getByRole("alert").waitFor();
  await page.getByRole("button", { name: "Imagine", exact: true }).click();
  await page.locator(".go-row [role=alert]").waitFor();
  assert.equal(await page.getByRole("alert").count(), 1);
});

test("a painted mask is white where it was painted, in the picture's own size", async () => {
  await call("POST", "/mock/seed", { person: "Eileen", pictures: 4 });
  const page = await open();
  await card(page).locator(".open-picture").first().click();
  await page.getByRole("button", { name: "Change only this" }).click();
  await paintOver(page, "a person with a red hat");
  await page.getByRole("button", { name: "Change it" }).click();
  await page.locator("dialog").first().waitFor({ state: "detached" });
  const { mask, feather } = JSON.parse((await posted("/v1/jobs")).at(-1)).edit;
  assert.deepEqual(await maskSeen(page, mask), { width: 64, height: 64, painted: 255, below: 0 });
  assert.equal(feather, 3);
  await finished(page);

  await card(page).getByRole("button", { name: "Again, with a new seed" }).click();
  await page.locator("article.job").nth(2).waitFor();
  assert.equal(JSON.parse((await posted("/v1/jobs")).at(-1)).edit.mask, mask, "the mask goes with it");
  await page.reload();
  await card(page).getByRole("button", { name: "Again, with a new seed" }).click();
  await page.getByText("not known here any more", { exact: false }).waitFor();
});

test("a picture that is damaged is told before anything is sent", async () => {
  const page = await open();
  await page.locator("main input[type=file]").first().setInputFiles({ name: "me.jpg", mimeType: "image/jpeg", buffer: Buffer.from("no picture") });
  await page.getByRole("button", { name: "I agree" }).click();
  await page.locator(".verdict.bad", { hasText: "Use JPEG, PNG or WebP" }).waitFor();
  assert.deepEqual(await posted("/v1/photos/check"), []);
  await page.locator("dialog input[type=file]").setInputFiles(selfie);
  await page.locator(".verdict.good").waitFor();
  assert.ok(base);
});
