// How strongly a person counts, in detail: groups of the card, parts of the run.

import assert from "node:assert/strict";
import { test } from "node:test";

import { assertClean, axe, call, card, finished, imagine, open, openFirst } from "../harness.mjs";

const orders = async () => (await call("GET", "/v1/jobs")).data.map((job) => job.input);

/** The prompt box with somebody chosen and the detailed strengths open. */
async function withStrengths(groups, options) {
  await call("POST", "/mock/settings", { groups });
  await call("POST", "/mock/seed", { person: "Eileen" });
  const page = await open(options);
  await page.getByText("Advanced", { exact: true }).click();
  await page.getByText("Likeness in detail").click();
  return page;
}

const slider = (page, name) => page.getByRole("slider", { name, exact: true });

/** Moves a slider by its arrow keys. */
async function slide(page, name, value) {
  const steps = Math.round((value - Number(await slider(page, name).inputValue())) / 0.05);
  for (let step = 0; step < Math.abs(steps); step += 1) await slider(page, name).press(steps > 0 ? "ArrowRight" : "ArrowLeft");
}

test("groups of the card and parts of the run have a strength of their own, which is sent, kept, shown and taken back", async () => {
  const page = await withStrengths(["descriptor", "colours", "unheard-of"]);
  assert.deepEqual(await axe(page), []);
  await slide(page, "Face", 1.3);
  await slide(page, "unheard-of", 0);
  await slide(page, "Beginning", 0.5);
  assert.equal(await slider(page, "Face").getAttribute("aria-valuetext"), "1.30", "what is read out");
  await page.getByRole("group", { name: "When it counts", description: "The beginning decides the outlines, the end the details." }).waitFor();
  await imagine(page, "as a king");
  await finished(page);
  const stages = [[0, 0.3333, 0.5], [0.3333, 0.6666, 1], [0.6666, 1, 1]].map(([from, to, scale]) => ({ steps: [from, to], scale }));
  const [first] = await orders();
  assert.deepEqual(first.people[0].card_scale, { descriptor: 1.3, "unheard-of": 0 });
  assert.deepEqual(first.people[0].stages, stages);
  await openFirst(page);
  await page.locator(".settings").getByText("Face 1.30, unheard-of 0.00, Beginning 0.50").waitFor();
  await page.keyboard.press("Escape");

  await page.reload();
  await page.getByText("Likeness in detail").click();
  assert.equal(await slider(page, "Face").inputValue(), "1.3", "a reload keeps it");
  await page.getByRole("button", { name: "Back to the model's own settings" }).click();
  assert.equal(await slider(page, "Face").inputValue(), "1");
  await imagine(page, "as a queen");
  await finished(page);
  const [plain] = await orders();
  assert.deepEqual(Object.keys(plain.people[0]), ["person"], "what is 1 is left to the service");

  await page.locator("article.job").nth(1).getByRole("button", { name: "Use these words and settings" }).click();
  assert.equal(await slider(page, "Face").inputValue(), "1.3");
  assert.equal(await slider(page, "Beginning").inputValue(), "0.5");
  assertClean();
});

test("parts of the run that another program chose are told as they lie, and are not taken for thirds", async () => {
  await call("POST", "/mock/settings", { groups: ["descriptor"] });
  const { person } = await call("POST", "/mock/seed", { person: "Eileen" });
  const stages = [[0, 0.1, 0.5], [0.1, 0.2, 1], [0.2, 1, 1]].map(([from, to, scale]) => ({ steps: [from, to], scale }));
  await call("POST", "/v1/jobs", { prompt: "me as a king", people: [{ person, card_scale: { descriptor: 1.3 }, stages }] });
  const page = await open();
  await finished(page, 1);
  await openFirst(page);
  await page.locator(".settings").getByText("Face 1.30, 0.00–0.10 0.50").waitFor();
  await page.keyboard.press("Escape");
  await card(page).getByRole("button", { name: "Use these words and settings" }).click();
  await page.locator("details").evaluateAll((all) => all.forEach((one) => (one.open = true)));
  assert.equal(await slider(page, "Face").inputValue(), "1.3");
  assert.equal(await slider(page, "Beginning").inputValue(), "1");
});

test("a model without cards has parts of the run alone; Italian writes its own numbers", async () => {
  const page = await withStrengths(null);
  assert.equal(await page.getByText("What counts of a person").isVisible(), false);
  await slider(page, "End").waitFor();
  await page.close();
  const italian = await open({ locale: "it-IT" });
  await italian.getByText("Avanzate").click();
  await italian.getByText("Somiglianza nei dettagli").click();
  await slider(italian, "Fine").fill("1.5");
  await italian.locator("output", { hasText: "1,50" }).waitFor();
});

test("a number that cannot be is shown where it stands, and not sent", async () => {
  await call("POST", "/mock/seed", { person: "Eileen" });
  const page = await open();
  await page.getByRole("switch", { name: /Fill in the scene/ }).setChecked(false);
  await page.getByText("Advanced", { exact: true }).click();
  await page.getByLabel("Steps").fill("9999");
  await page.getByText("Advanced", { exact: true }).click();
  await page.getByLabel("Imagine me", { exact: true }).fill("as a king");
  await page.keyboard.press("Control+Enter");
  await page.waitForFunction(() => document.querySelector("details.advanced").open && document.activeElement.matches("input:invalid"));
  assert.deepEqual(await orders(), []);
  await page.getByLabel("Steps").fill("12");
  await page.keyboard.press("Control+Enter");
  await card(page).waitFor();
});
