// A person's card: parts that the photos do not tell, and services without cards, which the shipped model's is not.

import assert from "node:assert/strict";
import { test } from "node:test";

import { axe, base, call, open } from "../harness.mjs";

/** The page at the people, one of whom has a card. */
async function people(options) {
  await call("POST", "/mock/settings", { cards: true });
  const { person } = await call("POST", "/mock/seed", { person: "Eileen" });
  const page = await open(options);
  await page.goto(`${base}/#/people`);
  const look = async () => {
    await page.getByRole("button", { name: "Looks" }).click();
    await page.getByRole("switch", { name: "Skin" }).waitFor();
  };
  const path = `/v1/people/${person}/card`;
  const part = async (name) => (await call("GET", path)).parts.find((one) => one.part === name);
  return { page, look, part, path };
}

const patches = async () => (await call("GET", "/mock/requests")).filter((one) => one.method === "PATCH").map((one) => JSON.parse(one.body));

test("a card is seen, corrected, left out in parts, and taken back", async () => {
  const { page, look, part } = await people();
  await look();
  const row = (name) => page.locator(".card-part", { hasText: name });
  await row("Face").getByText("measured: 128 numbers").first().waitFor();
  await row("Beard").getByText("the photos do not tell").waitFor();
  assert.ok(await row("Beard").getByRole("switch").isDisabled(), "there is nothing to leave out");
  assert.equal(await page.getByLabel("Age: correct it").inputValue(), "41");

  await page.getByLabel("Glasses: correct it").focus();
  await page.getByLabel("Glasses: correct it").selectOption("no");
  await row("Glasses").getByText("as you said").waitFor();
  assert.deepEqual([(await part("glasses")).value, (await part("glasses")).source], ["no", "corrected"]);
  assert.ok(await page.getByLabel("Glasses: correct it").evaluate((one) => one === document.activeElement), "the focus stays");
  await page.getByLabel("Beard: correct it").selectOption("yes");
  await page.getByLabel("Colour of the hair: by name").selectOption("grey");
  await row("Colour of the hair").getByText("as you said").waitFor();
  assert.equal(await page.getByLabel("Colour of the hair: correct it").inputValue(), "#8d8a88");
  await page.getByLabel("Skin: correct it").fill("#aa7755");
  await row("Skin").getByText("as you said").waitFor();
  await page.getByRole("switch", { name: "Drawn as" }).setChecked(false);
  await row("Drawn as").getByText("left out").waitFor();
  assert.equal(await row("Drawn as").getByRole("combobox").count(), 0);
  assert.deepEqual(await axe(page), []);

  await page.reload();
  await look();
  await row("Glasses").getByRole("button", { name: "Back to the photos" }).click();
  await row("Glasses").getByText("from the photos, not quite sure").waitFor();
  await page.getByRole("switch", { name: "Drawn as" }).setChecked(true);
  await page.getByLabel("Drawn as: correct it").waitFor();
  assert.deepEqual(await patches(), [
    { set: { glasses: "no" } }, { set: { beard: "yes" } }, { set: { "hair-colour": "grey" } }, { set: { skin: "#aa7755" } },
    { without: ["sex"] }, { reset: ["glasses"] }, { reset: ["sex"] },
  ]);
});

test("what the service does not take is said, and not shown as kept", async () => {
  const { page, look, path } = await people({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
  await look();
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth), "a phone");
  const age = page.getByLabel("Age: correct it");
  await age.fill("7");
  await age.blur();
  assert.ok(await age.evaluate((one) => one.matches(":invalid")));
  assert.deepEqual(await patches(), [], "what cannot be is not sent");
  await call("POST", "/mock/settings", { fail: { [`PATCH ${path}`]: [400, "invalid_request", "nobody is 34"] } });
  await age.fill("34");
  await age.blur();
  await page.getByRole("alert").getByText("nobody is 34", { exact: false }).waitFor();
  await page.waitForFunction(() => document.querySelector("#card-age-value")?.value === "41");
});

test("where the service has no cards the page does not speak of them", async () => {
  await call("POST", "/mock/seed", { person: "Eileen" });
  const page = await open();
  await page.goto(`${base}/#/people`);
  await page.getByRole("button", { name: "Rename" }).waitFor();
  assert.equal(await page.getByRole("button", { name: "Looks" }).count(), 0);
});
