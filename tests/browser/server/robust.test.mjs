import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { test } from "node:test";

import { assertClean, base, call, card, finished, imagine, known, open, underWay } from "../harness.mjs";

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

/** A wire to the server that can be cut: Chromium's own "offline" leaves streams alone that are open already. */
async function wire() {
  const { hostname, port } = new URL(base);
  const open = new Set();
  let whole = true;
  const server = createServer((near) => {
    if (!whole) return void near.destroy();
    const far = connect({ host: hostname, port: Number(port) });
    for (const [one, other] of [[near, far], [far, near]]) {
      open.add(one);
      one.on("error", () => other.destroy());
      one.on("close", () => {
        open.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cut() {
      whole = false;
      for (const socket of open) socket.destroy();
    },
    mend: () => (whole = true),
    close() {
      for (const socket of open) socket.destroy();
      server.close();
    },
  };
}

test("offline in the middle: it says so, comes back, and resumes behind the last event", async () => {
  await known();
  const page = await open();
  const line = await wire();
  try {
    await page.goto(line.url);
    const asked = [];
    page.on("request", (request) => request.url().endsWith("/events") && asked.push(Number(request.headers()["last-event-id"] ?? 0)));
    await imagine(page, "as a wizard", slow);
    await underWay(page);
    line.cut();
    await page.context().setOffline(true);
    await page.locator(".connection", { hasText: "Connection lost. Trying again" }).waitFor();
    await card(page).locator(".job-status", { hasText: "Connection lost" }).waitFor();
    await page.context().setOffline(false);
    line.mend();
    await finished(page, slow.n);
    await page.locator(".connection").waitFor({ state: "hidden" });
    assert.equal(asked[0], 0);
    assert.ok(asked.length > 1 && asked.at(-1) > 0, `asked for what came behind: ${asked}`);
    assert.equal((await call("GET", "/v1/jobs")).data.length, 1);
  } finally {
    line.close();
  }
});

test("cancel stops it and says so", async () => {
  await known();
  const page = await open();
  await imagine(page, "as a queen", { steps: 150, n: 1 });
  await card(page).getByRole("button", { name: "Cancel" }).click();
  await card(page).getByText("Cancelled").waitFor();
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
  await card(page).getByText("Cancelled").waitFor();
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
