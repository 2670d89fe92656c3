// Starts the program that IMAGINE_BIN names, on a free port with an empty data folder, and runs the page's tests against it.

import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const program = process.env.IMAGINE_BIN;
if (!program) {
  console.error("IMAGINE_BIN must name the program");
  process.exit(2);
}
const folder = mkdtempSync(join(tmpdir(), "imagine-page-"));
const server = spawn(program, ["serve", "--listen", "127.0.0.1:0", "--data-dir", folder], {
  stdio: ["ignore", "pipe", "inherit"],
  env: { ...process.env, IMAGINE_LOG: "warn" },
});
const address = await new Promise((resolve) => {
  server.once("exit", () => resolve(null));
  createInterface({ input: server.stdout }).on("line", (line) => {
    const found = line.match(/^listening on (\S+)/);
    if (found) resolve(found[1]);
  });
});
let status = 1;
if (address) {
  const env = { ...process.env, IMAGINE_URL: address };
  const tests = spawnSync(process.execPath, ["--test", "--test-concurrency=1"], { stdio: "inherit", env, cwd: import.meta.dirname });
  status = tests.status ?? 1;
} else {
  console.error("the server ended before it listened");
}
server.removeAllListeners("exit");
const ended = new Promise((resolve) => server.once("exit", resolve));
if (server.exitCode === null && server.kill()) await ended;
rmSync(folder, { recursive: true, force: true });
process.exit(status);
