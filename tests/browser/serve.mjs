// Starts the program that IMAGINE_BIN names, on a free port with an empty data folder.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** @param {(folder: string) => void} [prepare] fills the data folder @returns {Promise<{ address: string, stop: () => Promise<void> }>} */
export async function serve(prepare) {
  const program = process.env.IMAGINE_BIN;
  if (!program) throw new Error("IMAGINE_BIN must name the program");
  const folder = mkdtempSync(join(tmpdir(), "imagine-page-"));
  prepare?.(folder);
  const server = spawn(program, ["serve", "--listen", "127.0.0.1:0", "--data-dir", folder], {
    stdio: ["ignore", "pipe", "inherit"],
    // one thread: beside Chromium a second one waits more than it works
    env: { OMP_NUM_THREADS: "1", ...process.env, IMAGINE_LOG: "warn" },
  });
  const ended = new Promise((resolve) => server.once("exit", resolve));
  const listening = new Promise((resolve) => {
    createInterface({ input: server.stdout }).on("line", (line) => {
      const found = line.match(/^listening on (\S+)/);
      if (found) resolve(found[1]);
    });
  });
  const stop = async () => {
    server.kill();
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  const address = await Promise.race([listening, ended.then(() => null)]);
  if (address) return { address, stop };
  await stop();
  throw new Error("the server ended before it listened");
}
