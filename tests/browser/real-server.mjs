// Runs the tests in server/, or the files named, against the program that IMAGINE_BIN names.

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";

import { serve } from "./serve.mjs";

const here = import.meta.dirname;
const named = process.argv.slice(2);
const files = named.length ? named : readdirSync(join(here, "server")).map((name) => `server/${name}`);
const { address, stop } = await serve();
const env = { ...process.env, IMAGINE_URL: address };
const tests = spawnSync(process.execPath, ["--test", "--test-concurrency=1", "--test-timeout=1200000", ...files], { stdio: "inherit", env, cwd: here });
await stop();
process.exit(tests.status ?? 1);
