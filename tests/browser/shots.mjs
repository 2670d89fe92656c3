// Screenshots of every screen, at phone and desktop width, light and dark: `IMAGINE_BIN=… node shots.mjs [FOLDER [name…]]`. They
// show the real server with the shipped model, and people who do not exist; what it cannot be brought to comes from the stand-in.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { launch, photo } from "./browser.mjs";
import { start } from "./mock-server.mjs";
import { serve } from "./serve.mjs";

const [folder = join(import.meta.dirname, "../../docs/screens"), ...wanted] = process.argv.slice(2);
/** Smaller than the screen: for reading beside text. */
const widths = { desktop: 960, phone: 390 };
mkdirSync(folder, { recursive: true });
/** Screens of the stand-in. */
const staged = ["failed", "queue", "key", "nocamera", "places"];
const standIn = await start();
const real = wanted.length && wanted.every((name) => staged.includes(name)) ? null : await serve();
const browser = await launch();
let base = real?.address ?? standIn.url;

async function call(method, path, body) {
  const form = body instanceof FormData;
  const json = body && !form ? { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } } : { body };
  const answer = await fetch(base + path, { method, ...json });
  return answer.json();
}

async function known(name, file) {
  const consent = await call("GET", "/v1/consent");
  const form = new FormData();
  form.append("name", name);
  form.append("consent", JSON.stringify({ basis: "self", text_version: consent.version, text_sha256: consent.sha256, agreed: true }));
  form.append("photo", new Blob([readFileSync(photo(file))], { type: "image/jpeg" }), "photo.jpg");
  return call("POST", "/v1/people", form);
}

async function drawn(people, orders) {
  const jobs = [];
  for (const [at, prompt] of orders.entries()) {
    const person = people[at % people.length].id;
    jobs.push(await call("POST", "/v1/jobs", { prompt, n: 4, seed: 100 * at, expand: false, people: [{ person }] }));
  }
  for (const job of jobs) for (let now = job; now.status !== "succeeded"; ) now = await (await fetch(`${base}/v1/jobs/${job.id}`, { headers: { Prefer: "wait=30" } })).json();
}

async function clear() {
  for (const job of (await call("GET", "/v1/jobs?limit=100")).data) {
    await call("POST", `/v1/jobs/${job.id}/cancel`);
    await call("DELETE", `/v1/jobs/${job.id}`);
  }
  for (const person of (await call("GET", "/v1/people?limit=100")).data) await call("DELETE", `/v1/people/${person.id}?pictures=delete`);
}

const roles = [
  "me as an astronaut in space", "me as a pirate on the open sea", "me as a wizard in a night forest", "me as a queen in a castle hall", "me as a cowboy in the desert", "me as a chef in a kitchen",
  "me as a firefighter, flames", "me as a scientist in a laboratory", "me as a knight, snowy landscape", "me in a red t-shirt at the beach", "me as a captain on the open sea", "me in a garden, laughing",
];

const screens = {
  async welcome() {},
  async consent(page) {
    await page.setInputFiles("input[type=file]", photo("someone.jpg"));
    await page.getByRole("button", { name: "I agree" }).waitFor();
  },
  async photos(page) {
    await screens.consent(page);
    await page.getByRole("button", { name: "I agree" }).click();
    await page.locator(".verdict.good, .verdict.fair").first().waitFor();
    await page.getByLabel("Name").fill("Amara");
  },
  async camera(page) {
    await page.getByRole("button", { name: "Take a selfie" }).click();
    await page.getByRole("button", { name: "I agree" }).click();
    await page.locator(".guide.good").waitFor();
    // the film goes on, four looks take longer than its last scene
    await page.locator("video").evaluate((video) => video.pause());
    await page.locator(".camera-hint", { hasText: "Good" }).waitFor();
  },
  async studio(page) {
    await enrolled(page);
    await page.getByLabel("Imagine me").fill("as an astronaut in a starry night");
    await page.getByRole("list", { name: "Parts of the scene" }).locator("li").first().waitFor();
  },
  async drawing(page) {
    await enrolled(page);
    await page.locator("details.advanced").evaluate((details) => (details.open = true));
    await page.getByLabel("Steps").fill("150");
    await page.locator("details.advanced").evaluate((details) => (details.open = false));
    await page.getByLabel("Imagine me").fill("as an astronaut in a starry night");
    await page.getByRole("list", { name: "Parts of the scene" }).locator("li").first().waitFor();
    await page.getByRole("button", { name: "Imagine", exact: true }).click();
    await page.locator(".tile .preview[src]").first().waitFor();
    await page.waitForFunction(() => /(8[0-9]) %/.test(document.querySelector(".job-status")?.textContent ?? ""));
  },
  async results(page) {
    await enrolled(page);
    await page.getByLabel("Imagine me").fill("as a pirate on the open sea");
    await page.getByRole("list", { name: "Parts of the scene" }).locator("li").first().waitFor();
    await page.getByRole("button", { name: "Imagine", exact: true }).click();
    await page.locator("article").first().locator(".tile.done").nth(3).waitFor();
    await page.waitForTimeout(800);
  },
  async picture(page) {
    await screens.results(page);
    await page.locator(".open-picture").nth(1).click();
    await page.locator(".settings").waitFor();
    await page.waitForTimeout(600);
  },
  async compare(page) {
    await screens.picture(page);
    await page.keyboard.press("c");
    await page.locator("compare-slider").waitFor();
  },
  async mask(page) {
    await screens.picture(page);
    await page.getByRole("button", { name: "Change only this" }).click();
    await page.getByRole("button", { name: "Upper part" }).click();
    await page.getByLabel("What should be there").fill("a pirate with a red hat");
  },
  async strengths(page) {
    await enrolled(page);
    await page.getByText("Advanced", { exact: true }).click();
    await page.getByText("Likeness in detail").click();
    await page.getByLabel("Skin and hair colour", { exact: false }).fill("1.25");
    await page.getByLabel("Beginning", { exact: false }).fill("0.7");
    // the box alone: the window stays at its top
    await page.locator(".composer-body").evaluate((body) => {
      body.scrollTop += document.querySelector("details.strengths").getBoundingClientRect().top - body.getBoundingClientRect().top;
      window.scrollTo(0, 0);
    });
  },
  async change(page) {
    await enrolled(page);
    await page.getByRole("button", { name: "Change a photo" }).click();
    await page.locator("dialog input[type=file]").setInputFiles(photo("someone.jpg"));
    await page.getByRole("button", { name: "I agree" }).click();
    await page.getByRole("button", { name: "Upper part" }).click();
    await page.getByLabel("What should be there").fill("a person with a red hat");
    await page.locator("dialog").evaluate((dialog) => dialog.scrollTo(0, 0));
  },
  async people(page) {
    await enrolled(page);
    await drawn([await known("Marta", "another.jpg")], roles.slice(0, 3));
    await page.goto(`${base}/#/people`);
    await page.reload();
    await page.getByRole("heading", { name: "Marta" }).waitFor();
    await page.waitForTimeout(300);
  },
  async looks(page) {
    await enrolled(page);
    await page.goto(`${base}/#/people`);
    await page.getByRole("button", { name: "Looks" }).click();
    await page.getByRole("switch", { name: "Skin" }).waitFor();
  },
  async delete(page) {
    await screens.people(page);
    await page.getByRole("button", { name: "Delete" }).last().click();
    await page.getByText("There is no way back").waitFor();
  },
  async history(page) {
    await drawn([await known("Amara", "someone.jpg"), await known("Marta", "another.jpg")], roles);
    await page.goto(`${base}/#/history`);
    await page.locator(".wall-tile img.here").nth(20).waitFor();
  },
  async batch(page) {
    await known("Amara", "someone.jpg");
    await page.goto(`${base}/#/batches`);
    await page.getByRole("heading", { level: 1, name: "Batches" }).waitFor();
    const text = "person,prompt,seed,n\nAmara,me as a pirate,1,2\nAmara,me as an astronaut,2,1\nAmara,me as a wizard,3,1\n";
    await page.setInputFiles("input[type=file]", { name: "friends.csv", mimeType: "text/csv", buffer: Buffer.from(text) });
    await page.getByRole("button", { name: /Start 3 rows/ }).click();
    await page.getByText("3 of 3 done").first().waitFor();
    await page.getByText("Row by row").first().click();
    await page.locator("article.batch").first().locator("table img").nth(3).waitFor();
    await page.setInputFiles("input[type=file]", { name: "friends.csv", mimeType: "text/csv", buffer: Buffer.from(text) });
  },
  async failed(page) {
    await call("POST", "/mock/settings", { fail: { job: "failed" } });
    await enrolled(page);
    await page.getByLabel("Imagine me").fill("as a wizard in a forest");
    await page.getByRole("button", { name: "Imagine", exact: true }).click();
    await page.getByRole("alert").waitFor();
  },
  async queue(page) {
    await call("POST", "/mock/settings", { queueMilliseconds: 600_000, queuePosition: 137, eta: 5400 });
    await enrolled(page);
    await page.getByLabel("Imagine me").fill("as a wizard in a forest");
    await page.getByRole("button", { name: "Imagine", exact: true }).click();
    await page.getByText("Number 137 in the queue", { exact: false }).waitFor();
  },
  async key(page) {
    await call("POST", "/mock/settings", { key: "imk_…" });
    await page.reload();
    await page.getByLabel("API key").fill("imk_wrong");
    await page.getByRole("button", { name: "Use it" }).click();
    await page.getByText("That key was not accepted.").waitFor();
  },
  async nocamera(page) {
    await page.evaluate(() => (navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("", "NotAllowedError"))));
    await page.getByRole("button", { name: "Take a selfie" }).click();
    await page.getByRole("button", { name: "I agree" }).click();
    await page.getByRole("alert").waitFor();
  },
  async places(page) {
    for (const person of ["Amara", "Marta"]) await call("POST", "/mock/seed", { person });
    await page.reload();
    for (const person of ["Amara", "Marta"]) await page.locator(".person-chip[aria-pressed=false]", { hasText: person }).click();
    await page.getByRole("button", { name: "Where they stand" }).click();
    for (const key of ["Shift+ArrowUp", "Shift+ArrowUp", "Shift+ArrowUp", "ArrowDown", "ArrowDown", "ArrowDown"]) await page.locator(".place-frame").nth(1).press(key);
    await page.locator("dialog h2").focus();
  },
};

async function enrolled(page) {
  await screens.photos(page);
  await page.getByRole("button", { name: "Done, let me imagine" }).click();
  await page.locator("dialog").waitFor({ state: "detached" });
}

// One preparation, four looks: size and colours are changed under the finished page.
const looks = [
  ["desktop", "light", { width: 1360, height: 850 }],
  ["desktop", "dark", { width: 1360, height: 850 }],
  ["phone", "light", { width: 390, height: 844 }],
  ["phone", "dark", { width: 390, height: 844 }],
];

/** A screenshot as WebP, so wide. */
async function write(page, path, width) {
  const picture = (await page.screenshot()).toString("base64");
  const data = await helper.evaluate(
    async ([data, width]) => {
      const bitmap = await createImageBitmap(await (await fetch(`data:image/png;base64,${data}`)).blob());
      const height = Math.round((bitmap.height * width) / bitmap.width);
      const canvas = new OffscreenCanvas(width, height);
      const pen = canvas.getContext("2d");
      pen.imageSmoothingQuality = "high";
      pen.drawImage(bitmap, 0, 0, width, height);
      const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: "image/webp", quality: 0.86 })).arrayBuffer());
      return btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""));
    },
    [picture, width],
  );
  writeFileSync(path, Buffer.from(data, "base64"));
}

const helper = await browser.newPage();
let failed = false;
for (const [name, prepare] of Object.entries(screens)) {
  if (wanted.length && !wanted.includes(name)) continue;
  base = staged.includes(name) ? standIn.url : real.address;
  if (staged.includes(name)) await call("POST", "/mock/reset", {});
  else await clear();
  const context = await browser.newContext({ viewport: looks[0][2], colorScheme: "light", permissions: ["camera"], locale: "en-GB" });
  const page = await context.newPage();
  page.setDefaultTimeout(120_000);
  page.on("pageerror", (error) => console.error(name, error.message));
  // the same pictures every time
  await page.addInitScript(() => sessionStorage.getItem("imagine.draft") ?? sessionStorage.setItem("imagine.draft", JSON.stringify({ advanced: { seed: "7" } })));
  try {
    await page.goto(base);
    await page.locator("main .screen > *").first().waitFor();
    await prepare(page);
    await page.mouse.move(0, 0);
    await page.locator(".notice").last().waitFor({ state: "detached" });
    for (const [size, colorScheme, viewport] of looks) {
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme });
      if (size === "phone") await page.evaluate(() => document.querySelector("article.job:not(.batch), details.strengths[open]")?.scrollIntoView());
      await page.evaluate(() => {
        const passing = document.getAnimations().filter((one) => one.effect?.getComputedTiming().iterations === 1);
        return Promise.all(passing.map((one) => one.finished.catch(() => 0)));
      });
      await page.waitForTimeout(500);
      await write(page, join(folder, `${name}-${size}-${colorScheme}.webp`), widths[size]);
    }
  } catch (error) {
    failed = true;
    console.error(name, error.message.split("\n").slice(0, 4).join(" "));
  }
  await context.close();
}
await browser.close();
standIn.close();
await real?.stop();
process.exit(failed ? 1 : 0);
