import assert from "node:assert/strict";
import { test } from "node:test";

import { assertClean, call, card, enrol, finished, imagine, open, real } from "./harness.mjs";

const many = 40;

test("a reload in the middle goes on where it was", async () => {
  const page = await open();
  await enrol(page);
  await imagine(page, "as a pirate", { steps: many });
  await page.waitForFunction(() => /\d+ %/.test(document.querySelector(".job-status")?.textContent ?? ""));
  await page.reload();
  await card(page).waitFor();
  assert.equal(await page.getByLabel("Imagine me", { exact: true }).inputValue(), "as a pirate", "the words are still there");
  await finished(page);
  assert.equal((await call("GET", "/v1/jobs")).data.length, 1, "nothing was ordered twice");
  assertClean();
});

test("offline in the middle: it says so, comes back, and resumes behind the last event", async () => {
  const page = await open();
  await enrol(page);
  const resumed = [];
  page.on("request", (request) => request.url().endsWith("/events") && resumed.push(request.headers()["last-event-id"] ?? null));
  await imagine(page, "as a wizard", { steps: many });
  await page.waitForFunction(() => /\d+ %/.test(document.querySelector(".job-status")?.textContent ?? ""));
  await page.context().setOffline(true);
  await page.getByText("Connection lost. Trying again", { exact: false }).first().waitFor();
  await page.context().setOffline(false);
  await finished(page);
  await page.locator(".connection").waitFor({ state: "hidden" });
  assert.equal(resumed[0], null);
  assert.equal((await call("GET", "/v1/jobs")).data.length, 1);
});

test("cancel stops it and says so", async () => {
  const page = await open();
  await enrol(page);
  await imagine(page, "as a queen", { steps: 190 });
  await card(page).getByRole("button", { name: "Cancel" }).click();
  await card(page).getByText("Canceled").waitFor();
  assert.equal((await call("GET", "/v1/jobs")).data[0].status, "canceled");
});

test("two tabs show the same", async () => {
  const one = await open();
  const other = await open({}, one);
  await enrol(one);
  await other.getByLabel("Imagine me", { exact: true }).waitFor();
  await imagine(one, "as a cowboy");
  await finished(one);
  await finished(other);
  assert.equal(await one.locator(".tile.done").count(), await other.locator(".tile.done").count());
  await card(one).getByRole("button", { name: "Delete these pictures" }).click();
  await one.locator("dialog").getByRole("button", { name: "Delete" }).click();
  await card(other).waitFor({ state: "detached" });
  assertClean();
});

test("a failure says what happened and what to do", { skip: real ? "needs failures on demand" : false }, async () => {
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

test("where a key is needed the page asks for it, and pictures come with it", { skip: real ? "needs a server with keys" : false }, async () => {
  await call("POST", "/mock/seed", { person: "Eileen", pictures: 4 });
  await call("POST", "/mock/settings", { key: "imk_test" });
  const page = await open();
  await page.getByLabel("API key").fill("imk_test");
  await page.getByRole("button", { name: "Use it" }).click();
  await finished(page);
});
