// What a real server cannot be brought to on demand.

import assert from "node:assert/strict";
import { test } from "node:test";

import { base, call, card, enrol, finished, maskSeen, open, paintOver, posted, selfie } from "../harness.mjs";

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
  await page.getByLabel("API key").fill("imk_test");
  await page.getByRole("button", { name: "Use it" }).click();
  await finished(page);
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
