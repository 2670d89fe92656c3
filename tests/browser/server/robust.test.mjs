import assert from "node:assert/strict";
import { test } from "node:test";

import { assertClean, call, card, finished, imagine, known, open, underWay } from "../harness.mjs";

/** So many that there is time to look at what happens on the way. */
const slow = { steps: 60, n: 2 };

test("a reload in the middle goes on where it was", async () => {
  await known();
  const page = await open();
  await imagine(page, "as a pirate", slow);
  await underWay(page);
  await page.reload();
  await card(page).waitFor();
  assert.equal(await page.getByLabel("Imagine me", { exact: true }).inputValue(), "as a pirate", "the words are still there");
  await finished(page, slow.n);
  assert.equal((await call("GET", "/v1/jobs")).data.length, 1, "nothing was ordered twice");
  assertClean();
});

test("offline in the middle: it says so, comes back, and resumes behind the last event", async () => {
  await known();
  const page = await open();
  const resumed = [];
  page.on("request", (request) => request.url().endsWith("/events") && resumed.push(request.headers()["last-event-id"] ?? null));
  await imagine(page, "as a wizard", slow);
  await underWay(page);
  await page.context().setOffline(true);
  await page.getByText("Connection lost. Trying again", { exact: false }).first().waitFor();
  await page.context().setOffline(false);
  await page.locator(".connection").waitFor({ state: "hidden" });
  await finished(page, slow.n);
  assert.equal(resumed[0], null);
  assert.ok(Number(resumed.at(-1)) > 0, `asked for what came behind: ${resumed}`);
  assert.equal((await call("GET", "/v1/jobs")).data.length, 1);
});

test("cancel stops it and says so", async () => {
  await known();
  const page = await open();
  await imagine(page, "as a queen", { steps: 150, n: 1 });
  await card(page).getByRole("button", { name: "Cancel" }).click();
  await card(page).getByText("Canceled").waitFor();
  assert.equal((await call("GET", "/v1/jobs")).data[0].status, "canceled");
});

test("a queue: whose turn it is, and how long it will take", async () => {
  await known();
  const page = await open();
  // more than a worker takes at once
  const orders = Array.from({ length: 40 }, (_, seed) => ({ prompt: "a portrait of a person", n: 4, steps: 150, expand: false, seed }));
  await Promise.all(orders.map((order) => call("POST", "/v1/jobs", order)));
  await imagine(page, "as a knight", { n: 1 });
  await card(page).locator(".job-status", { hasText: /Number \d+ in the queue/ }).waitFor();
  await card(page).getByRole("button", { name: "Cancel" }).click();
  await card(page).getByText("Canceled").waitFor();
});

test("two tabs show the same", async () => {
  await known();
  const one = await open();
  const other = await open({}, one);
  await imagine(one, "as a cowboy", { n: 2 });
  await finished(one, 2);
  await finished(other, 2);
  assert.equal(await one.locator(".tile.done").count(), await other.locator(".tile.done").count());
  await card(one).getByRole("button", { name: "Delete these pictures" }).click();
  await one.locator("dialog").getByRole("button", { name: "Delete" }).click();
  await card(other).waitFor({ state: "detached" });
  assertClean();
});
