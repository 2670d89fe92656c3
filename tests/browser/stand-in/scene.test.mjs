// The prompt box: who is in the picture, and the scene that is filled in.

import assert from "node:assert/strict";
import { test } from "node:test";

import { base, call, card, finished, known, open, posted } from "../harness.mjs";

const idea = (page) => page.getByLabel("Imagine me", { exact: true });
const part = (page, name) => page.locator(".parts").getByLabel(name, { exact: true });
const told = (page) => page.locator(".told");
const until = (page, selector, text) => page.waitForFunction(([where, words]) => document.querySelector(where)?.textContent?.includes(words), [selector, text]);
const asked = async (path) => (await posted(path)).map((body) => JSON.parse(body));
const ordered = async () => (await asked("/v1/jobs")).at(-1);

/** Until the scene on the screen belongs to the words. */
const written = (page, words) => page.waitForFunction((text) => !document.querySelector(".expansion.stale") && document.querySelector(".part.subject input")?.value.includes(text), words);

async function someone() {
  const { person } = await call("POST", "/mock/seed", { person: "Eileen", pictures: 4 });
  return person;
}

test("a new tab chooses whoever was drawn last, once", async () => {
  await known("Anna");
  const eileen = await someone();
  const page = await open();
  const chip = page.locator(".person-chip", { hasText: "Eileen" });
  await page.locator('.person-chip[aria-pressed="true"]', { hasText: "Eileen" }).waitFor();
  assert.equal(await page.locator('.person-chip[aria-pressed="true"]').count(), 1);
  await idea(page).fill("as a pirate");
  await page.keyboard.press("Control+Enter");
  await page.locator("article.job").nth(1).waitFor();
  assert.deepEqual((await ordered()).people.map((one) => one.person), [eileen]);
  await chip.click();
  await finished(page);
  assert.equal(await chip.getAttribute("aria-pressed"), "false", "who was left out stays so");
  await page.reload();
  await page.locator(".person-chip").first().waitFor();
  assert.equal(await page.locator('.person-chip[aria-pressed="true"]').count(), 0);
});

test("words about me with nobody chosen are warned of, in both languages", async () => {
  await someone();
  for (const [locale, mine, other, said] of [["en-GB", "me as a pirate", "a lighthouse by the meadow", "will show strangers"], ["it-IT", "io da pirata", "un faro nella nebbia", "mostreranno estranei"]]) {
    const page = await open({ locale });
    await page.locator('.person-chip[aria-pressed="true"]').click();
    const words = page.locator(".prompt textarea");
    await words.fill(mine);
    await page.getByText(said, { exact: false }).waitFor();
    await words.fill(other);
    await page.getByText(said, { exact: false }).waitFor({ state: "detached" });
    await words.fill(mine);
    await page.locator(".person-chip").first().click();
    await page.getByText(said, { exact: false }).waitFor({ state: "detached" });
  }
});

test("another scene is another one, and is the one that is drawn", async () => {
  await someone();
  const page = await open();
  await idea(page).fill("as a pirate");
  await written(page, "as a pirate");
  const first = await part(page, "Place").inputValue();
  const seeds = new Set();
  const places = new Set([first]);
  for (let press = 0; press < 6; press += 1) {
    await page.getByRole("button", { name: "Another" }).click();
    await written(page, "as a pirate");
    places.add(await part(page, "Place").inputValue());
  }
  for (const { seed } of (await asked("/v1/prompts/expand")).slice(1)) seeds.add(seed);
  assert.equal(seeds.size, 6);
  assert.ok(places.size > 1, [...places].join());
  const shown = await part(page, "Place").inputValue();
  await page.reload();
  await written(page, "as a pirate");
  assert.equal(await part(page, "Place").inputValue(), shown, "the seed is kept");
  await page.keyboard.press("Control+Enter");
  await page.locator("article.job").nth(1).waitFor();
  assert.equal((await ordered()).expand.parts.setting, shown);
});

test("a new idea is written anew; only what was changed by hand stays", async () => {
  await someone();
  const page = await open();
  await idea(page).fill("as a pirate");
  await written(page, "as a pirate");
  await part(page, "Place").fill("Venice");
  await part(page, "Place").press("Enter");
  await part(page, "Subject").fill("somebody tall");
  await part(page, "Subject").press("Enter");
  await until(page, ".told", "somebody tall");
  await idea(page).fill("as a chef");
  await written(page, "as a chef");
  assert.equal(await part(page, "Subject").inputValue(), "a person as a chef");
  assert.equal(await part(page, "Place").inputValue(), "Venice");
  const prompt = await told(page).textContent();
  assert.match(prompt, /^a person as a chef, Venice, /);
  // in the middle of the pause, too, what was changed goes along
  await idea(page).fill("as a queen");
  await page.keyboard.press("Control+Enter");
  await page.locator("article.job").nth(1).waitFor();
  const { expand } = await ordered();
  assert.deepEqual([expand.parts.subject, expand.parts.setting], ["a person as a queen", "Venice"]);
  await idea(page).fill("");
  await idea(page).fill("as a wizard");
  await written(page, "as a wizard");
  assert.equal(await part(page, "Place").inputValue(), "starry night", "an empty box is a new beginning");
});

test("the words of earlier pictures bring their scene, and a new idea another", async () => {
  await someone();
  const page = await open();
  await idea(page).fill("as a pirate");
  await written(page, "as a pirate");
  await part(page, "Place").fill("Venice");
  await part(page, "Place").press("Enter");
  await until(page, ".told", "Venice");
  await page.keyboard.press("Control+Enter");
  await page.locator("article.job").nth(1).waitFor();
  await finished(page);
  await idea(page).fill("");
  await page.locator(".expansion").waitFor({ state: "hidden" });
  const before = (await asked("/v1/prompts/expand")).length;
  await card(page).getByRole("button", { name: "Use these words" }).click();
  await written(page, "as a pirate");
  assert.equal(await idea(page).inputValue(), "as a pirate");
  assert.equal(await part(page, "Place").inputValue(), "Venice");
  assert.equal((await asked("/v1/prompts/expand")).length, before, "the scene that was drawn is not written again");
  await idea(page).fill("as a chef");
  await written(page, "as a chef");
  assert.match(await told(page).textContent(), /^a person as a chef, starry night, /);
});

test("what is refused takes the old scene away, is said in sight, and goes with the words", async () => {
  await someone();
  for (const [locale, reason] of [["en-GB", "does not undress people"], ["it-IT", "non spoglia nessuno"]]) {
    const page = await open({ locale, viewport: { width: 1280, height: 850 } });
    const words = page.locator(".prompt textarea");
    await words.fill("as a pirate");
    await written(page, "as a pirate");
    const refusal = [422, "refused", "Imagine does not undress people. Describe the picture with clothes on.", undefined, { rule: "undressed" }];
    await call("POST", "/mock/settings", { fail: { "POST /v1/prompts/expand": refusal, "POST /v1/jobs": refusal } });
    await words.fill("as something else");
    const trouble = page.locator(".trouble").getByRole("alert");
    await trouble.getByText(reason, { exact: false }).waitFor();
    if (locale === "it-IT") assert.doesNotMatch(await trouble.textContent(), /undress/);
    assert.equal(await page.locator(".parts .part").count(), 0);
    const seen = await trouble.evaluate((one) => one.getBoundingClientRect().bottom <= document.querySelector(".go-row").getBoundingClientRect().top);
    assert.ok(seen, "it is not below the fold");
    assert.ok(await page.locator(".expansion").isHidden());
    await page.keyboard.press("Control+Enter");
    await page.locator(".go-row").getByText(reason, { exact: false }).waitFor();
    await call("POST", "/mock/settings", { fail: {} });
    await words.fill("as a chef");
    await page.locator(".go-row").getByText(reason, { exact: false }).waitFor({ state: "detached" });
    await written(page, "as a chef");
    assert.equal(await page.getByRole("alert").count(), 0);
  }
});

test("words that the model does not know are named, also after a change, and so is who will not be recognised", async () => {
  await someone();
  const page = await open();
  const missing = page.locator(".missing");
  await idea(page).fill("and Marta as pirates");
  await missing.getByText("left out: Marta", { exact: false }).waitFor();
  await missing.getByText("only Eileen will be recognised", { exact: false }).waitFor();
  await part(page, "Place").fill("a zeppelin");
  await part(page, "Place").press("Enter");
  await missing.getByText("left out: Marta, zeppelin", { exact: false }).waitFor();
  await part(page, "Place").fill("a garden");
  await part(page, "Place").press("Enter");
  await page.waitForFunction(() => !document.querySelector(".missing")?.textContent?.includes("zeppelin"));
  await part(page, "Subject").fill("two pirates");
  await part(page, "Subject").press("Enter");
  await page.waitForFunction(() => !document.querySelector(".missing")?.textContent?.includes("Marta"));
  assert.ok(base);
});

test("what is not to be shown is a part of the scene: changed, taken away, overruled, and in the picture's details", async () => {
  await someone();
  const page = await open();
  await idea(page).fill("as a pirate");
  await written(page, "as a pirate");
  const negative = part(page, "Not shown");
  assert.equal(await negative.inputValue(), "blurry, extra fingers");
  await negative.fill("crowd");
  await negative.press("Enter");
  await idea(page).fill("as a chef");
  await written(page, "as a chef");
  assert.equal(await negative.inputValue(), "crowd", "it stays with the next idea");
  await page.keyboard.press("Control+Enter");
  await page.locator("article.job").nth(1).waitFor();
  assert.equal((await ordered()).expand.negative_prompt, "crowd");
  await finished(page);
  await card(page).locator(".open-picture").first().click();
  await page.locator(".settings dt", { hasText: "What not to show" }).waitFor();
  assert.match(await page.locator(".settings").textContent(), /What not to showcrowd/);
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Remove: Not shown" }).click();
  await page.locator(".part.add", { hasText: "Not shown" }).waitFor();
  await page.keyboard.press("Control+Enter");
  await page.locator("article.job").nth(2).waitFor();
  assert.equal((await ordered()).expand.negative_prompt, "");
  await page.locator("details.advanced").evaluate((details) => (details.open = true));
  await page.getByLabel("What not to show").fill("rain");
  await page.locator(".parts", { hasText: "Not shown" }).waitFor({ state: "detached" });
});

test("looking up on the web: off, only where the service can, and what was read is shown as text with safe links", async () => {
  await someone();
  const without = await open();
  await idea(without).fill("in Ivrea");
  await written(without, "in Ivrea");
  assert.equal(await without.getByRole("switch", { name: /Look it up/ }).count(), 0);
  assert.equal(await without.locator(".sources").count(), 0);
  const sources = [
    { title: "Carnival of Ivrea", url: "https://example.org/ivrea?a=1", snippet: "oranges" },
    { title: "<img src=x onerror=\"window.hacked = 1\">Free oranges", url: "http://example.net/", snippet: "<script>window.hacked = 1</script>" },
    { title: "Click me", url: "javascript:window.hacked=1", snippet: "" },
    { title: "", url: "data:text/html,<script>window.hacked=1</script>", snippet: "" },
  ];
  await call("POST", "/mock/settings", { search: true, sources });
  const page = await open();
  const ground = page.getByRole("switch", { name: /Look it up/ });
  await ground.waitFor();
  assert.equal(await ground.isChecked(), false);
  await idea(page).fill("in Ivrea at noon");
  await written(page, "in Ivrea at noon");
  assert.equal((await asked("/v1/prompts/expand")).at(-1).ground, undefined);
  await ground.setChecked(true);
  const list = page.locator(".expansion .sources");
  await list.waitFor();
  assert.equal((await asked("/v1/prompts/expand")).at(-1).ground, true);
  const check = async (where) => {
    const links = await where.locator("a").evaluateAll((all) => all.map((a) => [a.href, a.rel.includes("noopener"), a.target, a.textContent]));
    assert.deepEqual(links, [
      ["https://example.org/ivrea?a=1", true, "_blank", "Carnival of Ivrea"],
      ["http://example.net/", true, "_blank", "<img src=x onerror=\"window.hacked = 1\">Free oranges"],
    ]);
    assert.equal(await where.locator("img, script").count(), 0);
    assert.equal(await where.locator("li").count(), 4, "others stand there without a link");
  };
  await check(list);
  await page.keyboard.press("Control+Enter");
  await page.locator("article.job").nth(1).waitFor();
  assert.equal((await ordered()).expand.sources.length, 4);
  await finished(page);
  await card(page).locator(".open-picture").first().click();
  await page.locator("dialog.viewer .sources").waitFor();
  await check(page.locator("dialog.viewer .sources"));
  assert.equal(await page.evaluate(() => window.hacked), undefined);
});
