// Screenshots of every screen, at phone and desktop width, light and dark: `node shots.mjs FOLDER [name…]`.

import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { launch, photo } from "./browser.mjs";
import { start } from "./mock-server.mjs";

const [folder = "shots", ...wanted] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const server = await start();
const browser = await launch();
const post = (path, body) => fetch(server.url + path, { method: "POST", body: JSON.stringify(body) });

const screens = {
  async welcome() {},
  async consent(page) {
    await page.setInputFiles("input[type=file]", photo("someone.png"));
    await page.getByRole("button", { name: "I agree" }).waitFor();
  },
  async photos(page) {
    await screens.consent(page);
    await page.getByRole("button", { name: "I agree" }).click();
    await page.getByText("A good photo").waitFor();
    await page.getByLabel("Name").fill("Aki");
  },
  async camera(page) {
    await page.getByRole("button", { name: "Take a selfie" }).click();
    await page.getByRole("button", { name: "I agree" }).click();
    await page.locator(".guide.good").waitFor();
  },
  async studio(page) {
    await enrolled(page);
    await page.getByLabel("Imagine me").fill("as an astronaut in a starry night");
    await page.getByRole("list", { name: "Parts of the scene" }).locator("li").first().waitFor();
  },
  async drawing(page) {
    await post("/mock/settings", { stepMilliseconds: 4000 });
    await enrolled(page);
    await page.getByLabel("Imagine me").fill("as an astronaut in a starry night");
    await page.getByRole("list", { name: "Parts of the scene" }).locator("li").first().waitFor();
    await page.getByRole("button", { name: "Imagine", exact: true }).click();
    await page.locator(".tile .preview[src]").first().waitFor();
    await page.waitForFunction(() => /(33|42|50) %/.test(document.querySelector(".job-status")?.textContent ?? ""));
  },
  async results(page) {
    await post("/mock/seed", { pictures: 4 });
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
  async people(page) {
    await enrolled(page);
    await post("/mock/seed", { person: "Marta", pictures: 12 });
    await page.reload();
    await page.goto(`${server.url}/#/people`);
    await page.getByRole("heading", { name: "Marta" }).waitFor();
    await page.waitForTimeout(300);
  },
  async delete(page) {
    await screens.people(page);
    await page.getByRole("button", { name: "Delete" }).last().click();
    await page.getByText("There is no way back").waitFor();
  },
  async history(page) {
    await post("/mock/seed", { person: "Aki", pictures: 400 });
    await page.goto(`${server.url}/#/history`);
    await page.locator(".wall-tile img.here").nth(5).waitFor();
    await page.waitForTimeout(600);
  },
  async batch(page) {
    await post("/mock/seed", { person: "Aki", pictures: 0 });
    await page.goto(`${server.url}/#/batches`);
    await page.getByRole("heading", { level: 1, name: "Batches" }).waitFor();
    const text = "person,prompt,seed,size,n\nAki,me as a pirate,1,64x64,2\nAki,me as an astronaut,2,,1\nAki,me as a wizard,3,,1\n";
    await page.setInputFiles("input[type=file]", { name: "friends.csv", mimeType: "text/csv", buffer: Buffer.from(text) });
    await page.getByRole("button", { name: /Start 3 rows/ }).waitFor();
    await page.getByRole("button", { name: /Start 3 rows/ }).click();
    await page.getByText("3 of 3 done").waitFor();
    await page.getByText("Row by row").click();
    await page.locator("table img").nth(3).waitFor();
    await page.setInputFiles("input[type=file]", { name: "friends.csv", mimeType: "text/csv", buffer: Buffer.from(text) });
  },
  async failed(page) {
    await post("/mock/settings", { fail: { job: "failed" } });
    await enrolled(page);
    await page.getByLabel("Imagine me").fill("as a wizard in a forest");
    await page.getByRole("button", { name: "Imagine", exact: true }).click();
    await page.getByRole("alert").waitFor();
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

for (const [name, prepare] of Object.entries(screens)) {
  if (wanted.length && !wanted.includes(name)) continue;
  await post("/mock/reset", {});
  const context = await browser.newContext({ viewport: looks[0][2], colorScheme: "light", permissions: ["camera"], locale: "en-GB" });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.on("pageerror", (error) => console.error(name, error.message));
  try {
    await page.goto(server.url);
    await page.locator("main .screen > *").first().waitFor();
    await prepare(page);
    await page.mouse.move(0, 0);
    await page.locator(".notice").last().waitFor({ state: "detached" });
    for (const [size, colorScheme, viewport] of looks) {
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme });
      if (size === "phone") await page.evaluate(() => document.querySelector("article.job:not(.batch)")?.scrollIntoView());
      await page.evaluate(() => {
        const passing = document.getAnimations().filter((one) => one.effect?.getComputedTiming().iterations === 1);
        return Promise.all(passing.map((one) => one.finished.catch(() => 0)));
      });
      await page.waitForTimeout(500);
      await page.screenshot({ path: `${folder}/${name}-${size}-${colorScheme}.png` });
    }
  } catch (error) {
    console.error(name, error.message.split("\n").slice(0, 4).join(" "));
  }
  await context.close();
}
await browser.close();
server.close();
