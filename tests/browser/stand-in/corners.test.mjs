// Corners that a demanding person looks into: long names, many people, small screens, the focus, a server that is gone.

import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { test } from "node:test";

import { another, assertClean, axe, base, call, card, known, open, selfie } from "../harness.mjs";

const longName = "Donaudampfschifffahrtsgesellschaftskapitänswitwe Annamaria Wilhelmina";
const smallPhone = { viewport: { width: 320, height: 640 }, hasTouch: true, isMobile: true };
const focused = (page) => page.evaluate(() => document.activeElement?.id || document.activeElement?.textContent?.trim() || document.activeElement?.tagName);
const fits = (page, of = "html") => page.locator(of).first().evaluate((one) => one.scrollWidth <= one.clientWidth);

test("long names and many people leave room for the words, on a wide screen and a small one", async () => {
  for (const name of [longName, "Bo", "Eileen", "Fatima", "Giulia", "Håkon", "Ines", "Jürgen", "Kwame", "Lucía", "Mohammed", "Noor"]) await known(name);
  for (const options of [{}, smallPhone]) {
    const page = await open(options);
    const last = page.locator(".person-chip").last();
    await last.click();
    await page.reload();
    await last.waitFor();
    assert.ok(await fits(page, ".composer-body"), "no name is wider than the box");
    const [words, row, chip] = await page.evaluate(() => [".prompt", ".who", '.person-chip[aria-pressed="true"]'].map((one) => document.querySelector(one).getBoundingClientRect().toJSON()));
    assert.ok(words.bottom < (options.viewport?.height ?? 900) - 150, `the words end at ${words.bottom}`);
    assert.ok(chip.top >= row.top - 1 && chip.top < row.bottom, "whoever is chosen is in sight");
    await page.close();
  }
});

test("a small phone in Italian: every screen fits, and axe finds nothing", async () => {
  await call("POST", "/mock/settings", { cards: true, groups: ["descriptor", "colours", "traits"] });
  await known(longName);
  await call("POST", "/mock/seed", { person: "Eileen", pictures: 8 });
  const page = await open({ ...smallPhone, locale: "it-IT" });
  await page.getByText("Avanzate").click();
  await page.getByText("Somiglianza nei dettagli").click();
  // what lies behind the bars at the edges is no target: seen whole
  const whole = async (what) => {
    assert.ok(await fits(page), what);
    await page.setViewportSize({ width: 320, height: 3000 });
    assert.deepEqual(await axe(page), [], what);
    await page.setViewportSize(smallPhone.viewport);
  };
  await whole("strengths");
  await call("POST", "/mock/settings", { fail: { job: "failed" } });
  await page.getByLabel("Immagina me", { exact: true }).fill("come re");
  await page.keyboard.press("Control+Enter");
  await card(page).getByText("it ran out of memory").waitFor();
  const last = await known(longName);
  await call("POST", "/mock/settings", { fail: {} });
  await call("POST", "/v1/jobs", { prompt: "me as a pirate", people: [{ person: last.id }] });
  await page.reload();
  await card(page).locator(".open-picture").click();
  await page.locator(".settings").waitFor();
  assert.ok(await fits(page, ".side"), "a picture");
  await page.keyboard.press("Escape");
  for (const place of ["history", "people", "batches"]) {
    await page.goto(`${base}/#/${place}`);
    await page.locator("h1:not(.visually-hidden)").waitFor();
    if (place === "history") await page.locator(".wall-tile img.here").first().waitFor();
    await whole(place);
  }
  await page.setInputFiles("main input[type=file]", { name: "amici.csv", mimeType: "text/csv", buffer: Buffer.from("person,prompt\nEileen,come re\n") });
  await page.getByRole("button", { name: "Avvia 1 riga" }).waitFor();
  await whole("rows");
  await page.goto(`${base}/#/people`);
  await page.getByRole("button", { name: "Aspetto" }).first().click();
  await page.getByRole("switch", { name: "Pelle" }).waitFor();
  assert.ok(await fits(page, "dialog"), "looks");
  assertClean();
});

test("a zoom of 200 %: nothing is cut off, nothing is hidden behind the bars", async () => {
  await call("POST", "/mock/seed", { person: "Eileen", pictures: 4 });
  const page = await open({ viewport: { width: 640, height: 450 }, deviceScaleFactor: 2 });
  for (const place of ["", "history", "people", "batches"]) {
    await page.goto(`${base}/#/${place}`);
    await page.locator("main .screen > *").first().waitFor();
    assert.ok(await fits(page), place || "studio");
  }
  await page.goto(`${base}/#/`);
  const words = page.getByLabel("Imagine me", { exact: true });
  await words.focus();
  await words.scrollIntoViewIfNeeded();
  assert.ok(await words.evaluate((one) => one.contains(document.elementFromPoint(one.getBoundingClientRect().left + 5, one.getBoundingClientRect().top + 5))), "what has the focus is seen");
});

test("the focus stays where the work is: after dialogs, on things that were drawn anew, after what was taken away", async () => {
  const page = await open();
  await page.locator("main input[type=file]").first().setInputFiles([selfie, another]);
  await page.getByRole("button", { name: "I agree" }).click();
  await page.locator(".verdict.good").nth(1).waitFor();
  assert.match(await focused(page), /^title-/, "the next step begins at its head");
  await page.getByRole("button", { name: "Remove photo 2" }).click();
  assert.equal(await focused(page), "Remove photo 1");
  await page.getByText("A name is still missing.").waitFor();
  await page.getByLabel("Name").fill("Eileen");
  await page.getByRole("button", { name: "Done, let me imagine" }).click();
  await page.locator("dialog").waitFor({ state: "detached" });
  assert.ok(await page.evaluate(() => document.activeElement.matches(".prompt textarea")), "on to the sentence");

  await page.getByLabel("Imagine me", { exact: true }).fill("as a pirate at sea");
  await page.getByRole("button", { name: "Remove: Clothes" }).click();
  assert.equal(await focused(page), "Clothes", "the part that can be put back");

  await page.goto(`${base}/#/people`);
  await page.getByRole("button", { name: "Rename" }).click();
  await page.locator("dialog input").fill("Eve");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Eve" }).waitFor();
  await page.locator("dialog").waitFor({ state: "detached" });
  assert.match(await focused(page), /^rename-/);
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByText("Italiano", { exact: true }).click();
  await page.getByRole("heading", { level: 1, name: "Persone" }).waitFor();
  await page.locator("dialog").waitFor({ state: "detached" });
  assert.equal(await focused(page), "open-settings");
  await page.getByRole("button", { name: "Elimina" }).click();
  await page.getByRole("button", { name: "Elimina per sempre" }).click();
  await page.locator("dialog").waitFor({ state: "detached" });
  assert.equal(await focused(page), "main");

  await page.goto(`${base}/#/batches`);
  await page.setInputFiles("main input[type=file]", { name: "friends.csv", mimeType: "text/csv", buffer: Buffer.from("prompt\nas a king\n") });
  await page.getByRole("heading", { name: "friends.csv" }).waitFor();
  assert.equal(await focused(page), "friends.csv");
});

test("deleting names what there is, and nothing else", async () => {
  await known("Bo");
  const page = await open();
  await page.goto(`${base}/#/people`);
  await page.getByText("No pictures yet").waitFor();
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByText("There is no way back").waitFor();
  const text = await page.locator("dialog").innerText();
  assert.match(text, /description of the face, from 1 photo/);
  assert.doesNotMatch(text, /kept on the server|selfie in this browser|pictures made so far|\b0\b/);
  await page.getByRole("button", { name: "Delete for good" }).click();
  await page.getByText("Bo is gone: 1 face description.").waitFor();
});

test("rows for nobody, for several and without words are told before anything is sent", async () => {
  for (const name of ["Bo", "Eve", "eve"]) await known(name);
  const page = await open();
  await page.goto(`${base}/#/batches`);
  const rows = "person,prompt\nBo,as a king\nPaul,as a chef\nEVE,as a queen\nBo,\n";
  await page.setInputFiles("main input[type=file]", { name: "friends.csv", mimeType: "text/csv", buffer: Buffer.from(rows) });
  await page.getByText("3 rows cannot be drawn.", { exact: false }).waitFor();
  const problems = await page.locator("tbody tr").evaluateAll((all) => all.map((row) => row.cells[1].textContent));
  assert.deepEqual(problems, ["", "nobody of this name", "several of this name: use the id", "no prompt"]);
  assert.equal(await page.getByRole("button", { name: "Start 4 rows" }).count(), 0);
  assert.deepEqual(await axe(page), []);
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.getByRole("button", { name: "Choose another file" }).click()]);
  await chooser.setFiles({ name: "mended.csv", mimeType: "text/csv", buffer: Buffer.from("person,prompt\nBo,as a king\n") });
  await page.getByRole("heading", { name: "mended.csv" }).waitFor();
  await page.getByRole("button", { name: "Start 1 row" }).waitFor();
});

test("a batch knows who was added elsewhere meanwhile, and shows the file that was chosen last", async () => {
  await known("Bo");
  const page = await open();
  await page.goto(`${base}/#/people`);
  await page.getByRole("heading", { name: "Bo" }).waitFor();
  await known("Eve");
  await page.goto(`${base}/#/batches`);
  const rows = (name) => ({ name: `${name}.csv`, mimeType: "text/csv", buffer: Buffer.from(`person,prompt\n${name},as a king\n`) });
  const held = new EventEmitter();
  await page.route("**/v1/people?*", (route) => new Promise((done) => held.emit("one", () => route.continue().then(done))));
  const choose = async (name) => (await Promise.all([once(held, "one"), page.setInputFiles("main input[type=file]", rows(name))]))[0][0];
  const late = await choose("Bo");
  const soon = await choose("Eve");
  await soon();
  await page.getByRole("heading", { name: "Eve.csv" }).waitFor();
  assert.ok(await page.getByRole("button", { name: "Start 1 row" }).isEnabled());
  await Promise.all([page.waitForResponse(/v1.people/), late()]);
  await page.evaluate(() => new Promise(requestAnimationFrame));
  assert.ok(await page.getByRole("heading", { name: "Eve.csv" }).isVisible());
});

test("too many photos, and what is no photo, are told", async () => {
  const page = await open();
  await page.locator("main input[type=file]").first().setInputFiles(Array(6).fill(selfie));
  await page.getByRole("button", { name: "I agree" }).click();
  await page.getByText("5 photos are taken at most", { exact: false }).waitFor();
  assert.equal(await page.locator("dialog .enrol").evaluate((body) => getComputedStyle(body).paddingLeft), "24px", "what is said in a dialog does not take its margin away");
  await page.locator(".verdict.good").nth(4).waitFor();
  assert.equal(await page.locator(".tray-photo").count(), 5);
  await page.getByRole("button", { name: "Remove photo 1" }).click();
  await page.locator(".drop.small").evaluate((place) => {
    const data = new DataTransfer();
    data.items.add(new File(["%PDF"], "me.pdf", { type: "application/pdf" }));
    place.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
  });
  await page.getByText("That is no picture.", { exact: false }).waitFor();
});

test("somebody who was met for another model is told what to do", async () => {
  await call("POST", "/mock/settings", { groups: ["descriptor"] });
  await call("POST", "/mock/seed", { person: "Eileen" });
  const page = await open({ locale: "it-IT" });
  await call("POST", "/mock/settings", { fail: { "POST /v1/jobs": [400, "enrol_again", "person_1 was enrolled with the face encoder sface; enrol them again"] } });
  await page.getByLabel("Immagina me", { exact: true }).fill("come re");
  await page.keyboard.press("Control+Enter");
  await page.getByRole("alert").getByText("Questa persona è stata aggiunta per un altro modello.").waitFor();
  assert.doesNotMatch(await page.getByRole("alert").innerText(), /enrolled/, "the service's English is not shown where the page has its own words");
  await page.goto(`${base}/#/people`);
  await page.getByText("Questo modello ha bisogno di una nuova foto", { exact: false }).waitFor();
  await call("POST", "/mock/settings", { cards: true });
  await page.reload();
  await page.getByRole("button", { name: "Aspetto" }).waitFor();
  assert.equal(await page.getByText("Questo modello ha bisogno", { exact: false }).isVisible(), false);
});

test("a server that is gone: every screen says so and offers to try again; what was there stays", async () => {
  await call("POST", "/mock/seed", { person: "Eileen", pictures: 4 });
  const page = await open();
  await page.goto(`${base}/#/batches`);
  await page.setInputFiles("main input[type=file]", { name: "friends.csv", mimeType: "text/csv", buffer: Buffer.from("prompt,n\nas a king,1\nas a queen,1\n") });
  await call("POST", "/mock/settings", { stepMilliseconds: 400 });
  await page.getByRole("button", { name: "Start 2 rows" }).click();
  await page.locator("article.batch").waitFor();
  await page.route("**/v1/**", (route) => route.abort());
  await page.getByText("Connection lost", { exact: false }).waitFor();
  assert.equal(await page.locator("article.batch").count(), 1, "the batch stays in sight");
  await page.goto(`${base}/#/history`);
  await page.getByRole("alert").getByText("The server cannot be reached.").waitFor();
  await page.unroute("**/v1/**");
  await page.getByRole("button", { name: "Try again" }).click();
  await page.locator(".wall-tile img.here").first().waitFor();
  await page.goto(`${base}/#/batches`);
  await page.getByText("2 of 2 done").waitFor();
  await page.route("**/v1/**", (route) => route.abort());
  await page.reload();
  await page.getByRole("alert").getByText("The server cannot be reached.").waitFor();
  await page.goto(`${base}/#/`);
  await page.locator("main .screen:not(.batch-screen)").getByRole("alert").waitFor();
  await page.unroute("**/v1/**");
  await page.getByRole("button", { name: "Try again" }).first().click();
  await card(page).waitFor();
});

test("adding photos says what is kept of them", async () => {
  await known("Bo");
  const page = await open();
  await page.goto(`${base}/#/people`);
  await page.getByRole("button", { name: "Add photos" }).click();
  await page.getByText("These photos are not kept", { exact: false }).waitFor();
  await page.getByText("A photo that can be used is still missing.").waitFor();
});
