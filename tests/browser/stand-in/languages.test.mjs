// What the service says in English, as a page in another language tells it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { assertClean, axe, call, card, finished, open } from "../harness.mjs";

const read = (path) => readFileSync(new URL(`../../../${path}`, import.meta.url), "utf8");
const texts = Object.fromEntries(["en", "it"].map((code) => [code, JSON.parse(read(`web/page/i18n/${code}.json`))]));
const found = (path, pattern) => [...read(path).matchAll(pattern)].map((match) => match[1]);

test("every rule, code, note and verdict that the service can name has words in both languages", () => {
  const rules = [...found("encoders/expansion/data/safety.toml", /^name = "([\w-]+)"/gm), ...found("encoders/expansion/data/refusals/reasons.tsv", /^([\w-]+)\t/gm)];
  const statuses = Object.fromEntries([...read("api/src/error.rs").matchAll(/\(\s*(\d{3}), "(\w+)", "/g)].map((match) => [match[2], match[1]]));
  const jobs = ["api/worker/src/order.rs", "api/worker/src/job.rs", "api/worker/src/pictures.rs", "api/store/src/db/queue.rs", "api/store/src/db/retention.rs"].flatMap((path) =>
    found(path, /(?:fails|failed|JobError::new)\(\s*"(\w+)"/g),
  );
  const photos = found("identity/src/quality.rs", /=> "(\w+)",/g);
  const specific = found("api/cli/src/faces.rs", /"((?:too_large|unsupported_format|damaged|no_such_face|failed))"/g);
  const notes = found("pipeline/contract/src/expansion.rs", /NoteCode \{([^}]*)\}/g)[0].match(/^ +\w+,/gm).map((name) => name.trim().slice(0, -1).replace(/(?!^)[A-Z]/g, "_$&").toLowerCase());
  assert.ok(rules.length > 20 && Object.keys(statuses).length > 20 && jobs.length > 10 && photos.length > 5 && specific.length > 4 && notes.length > 2);
  // what no page can bring about, and what ends in a word of its own
  const never = ["method_not_allowed", "range_not_satisfiable", "unsupported_media_type", "job_failed", "canceled"];
  for (const [language, known] of Object.entries(texts)) {
    const wanted = [
      ...rules.map((rule) => [`refused.${rule}`]),
      ...Object.entries(statuses).filter(([code]) => !never.includes(code)).map(([code, status]) => [`error.${code}`, `error.http_${status}`]),
      ...[...jobs, ...specific].filter((code) => !never.includes(code)).map((code) => [`error.${code}`]),
      ...photos.map((code) => [`photo.${code}`]),
      ...notes.map((code) => [`note.${code}`]),
    ];
    for (const keys of wanted) {
      const key = keys.find((one) => known[one]);
      assert.ok(key, `${language}: ${keys}`);
      if (language === "it") assert.notEqual(known[key], texts.en[key], `${key} is not translated`);
      if (key.startsWith("error.")) assert.ok(known[`${key}.todo`], `${language}: ${key} does not say what to do`);
    }
  }
});

const words = (page) => page.locator(".prompt textarea");
const alone = async (page) => page.getByRole("switch", { name: /Completa la scena/ }).setChecked(false);

test("failures are told in the page's language, by name and by value; English is the last resort, and is marked", async () => {
  await call("POST", "/mock/seed", { person: "Eileen" });
  const page = await open({ locale: "it-IT" });
  await alone(page);
  await words(page).fill("come re");
  const said = page.locator(".go-row").getByRole("alert");
  for (const [failure, tells, english] of [
    [[400, "invalid_request", '"steps" is 900, it must be between 1 and 150', null, { error: { code: "invalid_request", param: "steps" }, least: 1, most: 150 }], "«Passi» va da 1 a 150."],
    [[400, "invalid_request", '"scheduler" is one of a, b', null, { error: { code: "invalid_request", param: "scheduler" } }], "Controlla «Campionatore»."],
    [[500, "internal", "the server's log says more"], "Qualcosa è andato storto sul server."],
    [[403, "foreign_origin", "another site"], "Il server non accetta ordini da questo indirizzo."],
    [[422, "refused", "not beside him", null, { rule: "company-of-a-criminal" }], "né accanto a chi è noto per averne commessi"],
    [[422, "refused", "a rule of tomorrow", null, { rule: "tomorrow" }], "Dillo in un altro modo.", "a rule of tomorrow"],
    [[400, "invalid_request", "the moon is full"], "Controlla le parole e le impostazioni avanzate.", "the moon is full"],
    [[418, "teapot", "short and stout"], "Non è riuscito.", "short and stout"],
  ]) {
    await call("POST", "/mock/settings", { fail: { "POST /v1/jobs": failure } });
    await page.keyboard.press("Control+Enter");
    await said.getByText(tells, { exact: false }).waitFor();
    if (english) assert.equal(await said.locator("[lang=en]").textContent(), english);
    else assert.ok(!(await said.textContent()).includes(failure[2]), `${await said.textContent()}`);
  }
  assert.deepEqual(await axe(page), []);
  // in English the two are one
  await page.evaluate(() => localStorage.setItem("imagine.language", "en"));
  await page.reload();
  await page.getByRole("button", { name: "Imagine", exact: true }).click();
  await said.getByText("short and stout", { exact: false }).waitFor();
  assert.equal(await said.locator("[lang]").count(), 0);
  assertClean();
});

test("why a job failed is told in the page's language", async () => {
  await call("POST", "/mock/seed", { person: "Eileen" });
  await call("POST", "/mock/settings", { fail: { job: "out_of_memory" } });
  const page = await open({ locale: "it-IT" });
  await alone(page);
  await words(page).fill("come re");
  await page.keyboard.press("Control+Enter");
  await card(page).getByText("La memoria non basta per questa immagine.").waitFor();
  assert.doesNotMatch(await card(page).textContent(), /it ran out of memory/);
  await call("POST", "/mock/settings", { fail: {} });
  await card(page).getByRole("button", { name: "Riprova" }).click();
  await finished(page);
  assertClean();
});

test("notes of a scene are told by their codes, and as they came where there is none", async () => {
  await call("POST", "/mock/seed", { person: "Eileen" });
  const noted = { note: "the web search failed: 500; template answered, because it is away", note_codes: ["search_failed", "other_backend"] };
  await call("POST", "/mock/settings", { noted });
  const page = await open({ locale: "it-IT" });
  const notes = page.locator(".notes");
  await words(page).fill("come re nella neve");
  await notes.getByText("La ricerca sul web non ha funzionato", { exact: false }).waitFor();
  assert.match(await notes.textContent(), /l'hanno scritta le regole incluse/);
  assert.doesNotMatch(await notes.textContent(), /failed/);
  await call("POST", "/mock/settings", { noted: { ...noted, note_codes: ["of_tomorrow"] } });
  await words(page).fill("come regina nella neve");
  await notes.locator("[lang=en]").getByText("the web search failed", { exact: false }).waitFor();
  assertClean();
});
