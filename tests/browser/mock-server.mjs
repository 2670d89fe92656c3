// A stand-in for the service, for developing the page and for its tests: it speaks the API, draws nothing
// (its pictures were made by the starter model), and fails on demand. `node mock-server.mjs [port]`.

import { createHash, randomUUID } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

import { cardParts, consent, model, negative, policy, scenes, seeded, settingsAtStart, styles, types, unknown } from "./mock/data.mjs";
import { Problem, csv, jpegSize, multipart } from "./mock/forms.mjs";
import { decode, noisy } from "./png.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const pageRoot = join(here, "../../web/page");
const pictures = readdirSync(join(here, "pictures")).sort().map((name) => ({ name, file: readFileSync(join(here, "pictures", name)) }));
for (const picture of pictures) picture.pixels = decode(picture.file);

let settings;
let people;
let jobs;
let images;
let batches;
let requests;
const streams = new Set();
reset();

function reset() {
  for (const job of jobs?.values() ?? []) job.stop = true;
  settings = { ...settingsAtStart, fail: {}, model: {}, sources: [] };
  people = new Map();
  jobs = new Map();
  images = new Map();
  batches = new Map();
  requests = [];
}

const id = (kind) => `${kind}_${randomUUID().replaceAll("-", "")}`;
const now = () => Math.floor(Date.now() / 1000);

// ---- jobs

const jobFields = ["prompt", "negative_prompt", "people", "model", "n", "size", "steps", "guidance_scale", "scheduler", "seed", "priority", "expand", "style", "previews", "output_format", "webhook", "edit"];

/** The model as the settings have it. */
const modelNow = () => ({ ...model, ...(settings.groups ? { identity: { ...model.identity, kind: "card", groups: settings.groups } } : {}), ...settings.model });

/** A job that came as a form: its files stand for the values of their paths. */
function jobOf(request, body) {
  if (!request.headers["content-type"]?.startsWith("multipart/")) return createJob(JSON.parse(body));
  const { job, consent: given, ...files } = multipart(request, body);
  const [image] = files["edit.image"] ?? [];
  if (image && ![consent.sha256, consent.once.sha256].includes(JSON.parse(given?.[0] ?? "{}").text_sha256)) throw new Problem(422, "consent_required", "consent is required");
  return createJob(JSON.parse(job[0]), undefined, Boolean(image));
}

function createJob(input, batch, photo = false) {
  for (const key of Object.keys(input)) if (!jobFields.includes(key)) throw new Problem(400, "invalid_request", `unknown field ${key}`);
  if (!input.prompt?.trim()) throw new Problem(400, "invalid_request", "the prompt is empty");
  for (const { card_scale: scales = {} } of input.people ?? []) for (const group of Object.keys(scales)) if (!modelNow().identity.groups.includes(group)) throw new Problem(400, "invalid_request", `there is no group ${group}`);
  for (const { person } of input.people ?? []) if (!people.has(person)) throw new Problem(404, "not_found", "there is no such person");
  if (input.people?.length > 1 && input.people.some((one) => Boolean(one.box) === Boolean(one.mask))) throw new Problem(400, "invalid_request", 'each of several people needs a "box" or a "mask"');
  if (input.people?.length && !modelNow().identity) throw new Problem(400, "invalid_request", "this model draws nobody in particular");
  if (input.edit && !photo && !images.has(input.edit.image)) throw new Problem(404, "not_found", "there is no such picture");
  const job = {
    id: id("job"), object: "job", status: "queued", created: now(), started: null, finished: null, queue_position: settings.queuePosition, progress: 0, eta_seconds: null, attempts: 1,
    // as the service: what was painted is not handed out again
    input: { n: 1, size: "64x64", ...input, ...(input.edit ? { edit: { ...input.edit, mask: undefined } } : {}), people: input.people?.map((one) => ({ ...one, mask: undefined })), seed: input.seed ?? Math.floor(Math.random() * 2 ** 32) },
    expansion: input.expand === true ? expansionOf(input.prompt, input.style) : input.expand || null,
    output: [], error: null, metrics: { queue_seconds: null, run_seconds: null }, events: [], listeners: new Set(), batch,
  };
  job.urls = { get: `/v1/jobs/${job.id}`, cancel: `/v1/jobs/${job.id}/cancel`, events: `/v1/jobs/${job.id}/events` };
  jobs.set(job.id, job);
  record(job, "job.queued", { queue_position: settings.queuePosition, eta_seconds: settings.eta });
  run(job);
  return job;
}

function record(job, event, data, kept = true) {
  const entry = { id: kept ? job.events.length + 1 : null, event, data };
  if (kept) job.events.push(entry);
  for (const listener of job.listeners) listener(entry);
}

// What still waits when all tests are done keeps nobody.
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds).unref());

async function run(job) {
  await pause(settings.queueMilliseconds);
  if (job.status !== "queued") return;
  Object.assign(job, { status: "running", started: now(), queue_position: null });
  record(job, "job.started", {});
  const steps = job.input.steps ?? model.steps;
  const first = seriesFor(job.input.prompt);
  for (let step = 1; step <= steps; step += 1) {
    await pause(settings.stepMilliseconds);
    if (job.status !== "running" || job.stop) return;
    if (settings.fail.job && step === 3) {
      Object.assign(job, { status: "failed", finished: now(), error: { code: settings.fail.job, message: "it ran out of memory" } });
      record(job, "job.failed", view(job));
      return;
    }
    job.progress = step / steps;
    job.eta_seconds = ((steps - step) * settings.stepMilliseconds) / 1000;
    record(job, "job.progress", { progress: job.progress, step, steps, eta_seconds: job.eta_seconds });
    for (let index = 0; index < job.input.n; index += 1) {
      const done = finishedAt(index, job.input.n, steps);
      const picture = pictures[(first + index) % pictures.length];
      if (step < done && job.input.previews && step % job.input.previews === 0) {
        record(job, "job.preview", { index, step, b64_jpeg: noisy(picture.pixels, step / done).toString("base64") }, false);
      }
      if (step === done) finish(job, index, picture);
    }
  }
  Object.assign(job, { status: "succeeded", finished: now(), progress: 1, eta_seconds: 0 });
  job.metrics = { queue_seconds: settings.queueMilliseconds / 1000, run_seconds: (steps * settings.stepMilliseconds) / 1000 };
  record(job, "job.succeeded", view(job));
}

const finishedAt = (index, n, steps) => Math.max(1, Math.round(steps * (0.7 + (0.3 * (index + 1)) / n)));

function seriesFor(prompt) {
  const at = pictures.findIndex((picture) => prompt.toLowerCase().includes(picture.name.split("-")[0].slice(0, 5)));
  return at >= 0 ? at : createHash("sha256").update(prompt).digest()[0] % pictures.length;
}

function finish(job, index, picture) {
  const image = {
    id: id("img"), object: "image", job: job.id, index, seed: job.input.seed + index, width: 64, height: 64, prompt: job.input.prompt,
    people: (job.input.people ?? []).map((one) => one.person), favourite: false, created: now(), format: "png", bytes: picture.file.length, file: picture.file,
    likeness: (job.input.people ?? []).map(() => Math.round((0.28 + 0.09 * index) * 1000) / 1000),
  };
  image.url = `/v1/images/${image.id}`;
  image.thumb_url = `/v1/images/${image.id}/thumb`;
  images.set(image.id, image);
  const output = { id: image.id, index, seed: image.seed, url: image.url, width: 64, height: 64, likeness: image.likeness, format: "png", bytes: image.bytes };
  job.output.push(output);
  record(job, "job.output", output);
}

function view({ events, listeners, stop, ...job }) {
  return { ...job, output: job.output.filter((output) => images.has(output.id)) };
}

function cancelJob(job) {
  if (job.status !== "queued" && job.status !== "running") return;
  Object.assign(job, { status: "canceled", finished: now(), queue_position: null });
  record(job, "job.canceled", view(job));
}

// ---- other parts

const droppedOf = (parts) => unknown.filter((word) => Object.values(parts).join(" ").includes(word));

function expansionOf(idea, style, seed = 0, ground = false) {
  // as the service: "me" becomes a person whom the model knows how to draw
  const subject = idea.replace(/^(me|io)\b/, "a person");
  const parts = { subject, style: styles.find((one) => one.id === style)?.text ?? "", setting: scenes[seed % scenes.length], wardrobe: "white space suit", light: "soft studio light", camera: "close portrait", expression: "smiling", pose: "" };
  return { prompt: assembled(parts), negative_prompt: negative, parts, people: idea.includes(" and ") ? 2 : 1, dropped: droppedOf(parts), language: "en", backend: "mock", mode: "template", ...(ground ? { sources: settings.sources } : {}), ...settings.noted };
}

const assembled = (parts) => Object.values(parts).filter(Boolean).join(", ");
const imageView = ({ file, ...image }) => image;
const personView = ({ said, ...person }) => ({ ...person, card: settings.cards, pictures: [...images.values()].filter((image) => image.people.includes(person.id)).length });

function cardView(person) {
  if (!settings.cards) throw new Problem(409, "no_card", "the face encoder sface makes no identity cards, and the model draws by none");
  const parts = cardParts.map(([part, input, found, confidence, choices = []]) => {
    const measured = typeof found === "string" ? found : null;
    const said = person.said?.[part];
    const source = said === null ? "left_out" : said !== undefined ? "corrected" : found === null ? "unknown" : "measured";
    return { part, source, value: said === undefined ? measured : said, measured, numbers: typeof found === "number" ? found : measured ? 1 : 0, confidence, input, choices };
  });
  return { object: "card", person: person.id, parts };
}

function checkOf(photo, face) {
  if (settings.check) return { ...settings.check, chosen: face ?? settings.check.chosen };
  const [width, height] = jpegSize(photo);
  const box = { index: 0, x: 0.27 * width, y: 0.2 * height, width: 0.44 * width, height: 0.54 * height };
  return { width, height, faces: [box], chosen: 0, usable: true, problems: [] };
}

function page(all, url) {
  const limit = Number(url.searchParams.get("limit") ?? 20);
  if (!(limit >= 1 && limit <= 200)) throw new Problem(400, "invalid_request", "limit is from 1 to 200");
  const after = url.searchParams.get("after");
  const from = after ? all.findIndex((one) => one.id === after) + 1 : 0;
  const data = all.slice(from, from + limit);
  const more = from + limit < all.length;
  return { object: "list", data, has_more: more, next: more ? data.at(-1).id : null };
}

const must = (map, key) => map.get(key) ?? raise(new Problem(404, "not_found", "it is not there"));
function raise(problem) {
  throw problem;
}

const json = (status, body, headers = {}) => ({ status, body: JSON.stringify(body), headers: { "Content-Type": "application/json", ...headers } });

function streamJob(request, response, job) {
  const last = Number(request.headers["last-event-id"] ?? 0);
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  const write = ({ id: number, event, data }) => {
    response.write(`${number === null ? "" : `id: ${number}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    if (/succeeded|failed|canceled/.test(event)) response.end();
  };
  response.write(": hello\n\n");
  streams.add(response);
  for (const entry of job.events) if (entry.id > last) write(entry);
  if (response.writableEnded) return;
  if (["succeeded", "failed", "canceled"].includes(job.status)) return void response.end();
  job.listeners.add(write);
  response.on("close", () => {
    job.listeners.delete(write);
    streams.delete(response);
  });
}

async function streamExpansion(response, { idea, style, seed, ground }) {
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  const expansion = expansionOf(idea, style, seed, ground);
  for (const word of expansion.prompt.match(/\S+\s*/g)) {
    response.write(`event: expansion.delta\ndata: ${JSON.stringify({ text: word })}\n\n`);
    await pause(15);
  }
  response.end(`event: expansion.completed\ndata: ${JSON.stringify({ expansion })}\n\n`);
}

// ---- batches

const only = (values, names) => Object.fromEntries(Object.entries(values).filter(([key, value]) => names.includes(key) && value !== "" && value !== undefined));

function createBatch(text, type) {
  const lines = type.includes("csv") ? csv(text) : text.split("\n").filter((line) => line.trim()).map((line) => JSON.parse(line));
  const batch = { id: id("batch"), created: now(), jobs: [] };
  batches.set(batch.id, batch);
  for (const line of lines) {
    const who = [...people.values()].find((person) => person.id === line.person || person.name === line.person);
    const numbers = Object.fromEntries(["seed", "n"].filter((key) => line[key]).map((key) => [key, Number(line[key])]));
    batch.jobs.push(createJob({ ...only(line, jobFields), ...numbers, ...(who ? { people: [{ person: who.id }] } : {}) }, batch.id));
  }
  return batchView(batch);
}

function batchView(batch) {
  const counts = { total: batch.jobs.length, queued: 0, running: 0, succeeded: 0, failed: 0, canceled: 0 };
  for (const job of batch.jobs) counts[job.status] += 1;
  return { id: batch.id, object: "batch", status: counts.queued + counts.running ? "running" : "succeeded", created: batch.created, counts, urls: {} };
}

// ---- routes

/** @type {[string, RegExp, (of: any) => any][]} */
const routes = [
  ["GET", /^\/v1\/consent$/, () => json(200, consent)],
  ["GET", /^\/v1\/limits$/, () => json(200, { photo_bytes: 25e6, photos: 5, n: 8, steps: 150, sizes: model.sizes, expansion: true, search: settings.search, expand_by_default: true, keep: { photos: false, jobs_days: 0, one_shot_hours: 24 } })],
  ["GET", /^\/v1\/models$/, () => json(200, { object: "list", data: [modelNow()] })],
  ["GET", /^\/v1\/styles$/, () => json(200, { object: "list", data: styles })],
  ["POST", /^\/v1\/photos\/check$/, ({ request, body }) => {
    const { photo, face } = multipart(request, body);
    return json(200, checkOf(photo[0], face ? Number(face[0].toString()) : undefined));
  }],
  ["GET", /^\/v1\/people$/, ({ url }) => json(200, page([...people.values()].map(personView), url))],
  ["POST", /^\/v1\/people$/, ({ request, body }) => {
    const form = multipart(request, body);
    const said = JSON.parse(form.consent?.[0] ?? "{}");
    if (!said.agreed || said.text_sha256 !== consent.sha256) throw new Problem(422, "consent_required", "consent is required");
    const keep = form.keep_photos?.[0].toString() === "true";
    return json(201, personView(addPerson(form.name[0].toString("utf8"), form.photo.length, said, keep)));
  }],
  ["GET", /^\/v1\/people\/(\w+)$/, ({ at }) => json(200, personView(must(people, at[1])))],
  ["PATCH", /^\/v1\/people\/(\w+)$/, ({ at, body }) => json(200, personView(Object.assign(must(people, at[1]), { name: JSON.parse(body).name })))],
  ["GET", /^\/v1\/people\/(\w+)\/card$/, ({ at }) => json(200, cardView(must(people, at[1])))],
  ["PATCH", /^\/v1\/people\/(\w+)\/card$/, ({ at, body }) => {
    const person = must(people, at[1]);
    const { set = {}, without = [], reset = [] } = JSON.parse(body);
    person.said ??= {};
    for (const part of reset) delete person.said[part];
    for (const part of without) person.said[part] = null;
    for (const [part, value] of Object.entries(set)) person.said[part] = value === "grey" ? "#8d8a88" : value;
    return json(200, cardView(person));
  }],
  ["POST", /^\/v1\/people\/(\w+)\/photos$/, ({ at, request, body }) => {
    const person = must(people, at[1]);
    person.embeddings += multipart(request, body).photo.length;
    return json(200, personView(person));
  }],
  ["DELETE", /^\/v1\/people\/(\w+)$/, ({ at, url }) => {
    const person = must(people, at[1]);
    const gone = url.searchParams.get("pictures") === "delete" ? [...images.values()].filter((image) => image.people.includes(person.id)) : [];
    for (const image of gone) images.delete(image.id);
    people.delete(person.id);
    return json(200, { id: person.id, deleted: true, removed: { photos: 0, embeddings: person.embeddings, pictures: gone.length, jobs: 0 } });
  }],
  ["GET", /^\/v1\/jobs$/, ({ url }) => json(200, page([...jobs.values()].reverse().map(view), url))],
  ["POST", /^\/v1\/jobs$/, ({ request, body }) => {
    const job = jobOf(request, body);
    return json(202, view(job), { Location: `/v1/jobs/${job.id}` });
  }],
  ["GET", /^\/v1\/jobs\/(\w+)$/, ({ at }) => json(200, view(must(jobs, at[1])))],
  ["DELETE", /^\/v1\/jobs\/(\w+)$/, ({ at }) => {
    const job = must(jobs, at[1]);
    for (const output of job.output) images.delete(output.id);
    jobs.delete(job.id);
    return json(200, { id: job.id, deleted: true });
  }],
  ["POST", /^\/v1\/jobs\/(\w+)\/cancel$/, ({ at }) => {
    cancelJob(must(jobs, at[1]));
    return json(200, view(jobs.get(at[1])));
  }],
  ["GET", /^\/v1\/jobs\/(\w+)\/events$/, ({ at, request, response }) => streamJob(request, response, must(jobs, at[1]))],
  ["GET", /^\/v1\/images$/, ({ url }) => {
    const [q, person, favourite] = ["q", "person", "favourite"].map((name) => url.searchParams.get(name));
    const words = (q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const found = [...images.values()].reverse().filter((image) => words.every((word) => image.prompt.toLowerCase().includes(word)) && (!person || image.people.includes(person)) && (!favourite || image.favourite));
    return json(200, page(found.map(imageView), url));
  }],
  ["GET", /^\/v1\/images\/(\w+)(\/thumb)?$/, ({ at }) => ({ status: 200, body: must(images, at[1]).file, headers: { "Content-Type": "image/png", ETag: `"${at[1]}"`, "Cache-Control": "private, max-age=3600" } })],
  ["GET", /^\/v1\/images\/(\w+)\/info$/, ({ at }) => json(200, imageView(must(images, at[1])))],
  ["PATCH", /^\/v1\/images\/(\w+)$/, ({ at, body }) => json(200, imageView(Object.assign(must(images, at[1]), { favourite: JSON.parse(body).favourite })))],
  ["DELETE", /^\/v1\/images\/(\w+)$/, ({ at }) => {
    must(images, at[1]);
    images.delete(at[1]);
    return json(200, { id: at[1], deleted: true });
  }],
  ["GET", /^\/v1\/batches$/, ({ url }) => json(200, page([...batches.values()].reverse().map(batchView), url))],
  ["POST", /^\/v1\/batches$/, ({ request, body }) => json(202, createBatch(body.toString("utf8"), request.headers["content-type"] ?? ""))],
  ["POST", /^\/v1\/batches\/(\w+)\/cancel$/, ({ at }) => {
    const batch = must(batches, at[1]);
    batch.jobs.forEach(cancelJob);
    return json(200, batchView(batch));
  }],
  ["GET", /^\/v1\/batches\/(\w+)\/results$/, ({ at }) => ({
    status: 200,
    body: must(batches, at[1]).jobs.map((job, line) => JSON.stringify({ line: line + 1, job: job.id, status: job.status, output: view(job).output, error: job.error })).join("\n"),
    headers: { "Content-Type": "application/jsonl" },
  })],
  ["GET", /^\/v1\/batches\/(\w+)\/pictures\.zip$/, ({ at }) => {
    must(batches, at[1]);
    return { status: 200, body: Buffer.concat([Buffer.from("PK\x05\x06", "latin1"), Buffer.alloc(18)]), headers: { "Content-Type": "application/zip" } };
  }],
  ["POST", /^\/v1\/prompts\/expand$/, ({ request, response, body }) => {
    const asked = JSON.parse(body);
    for (const key of Object.keys(asked)) if (!["idea", "seed", "style", ...(settings.search ? ["ground"] : [])].includes(key)) throw new Problem(400, "invalid_request", `unknown field ${key}`);
    if (request.headers.accept !== "text/event-stream") return json(200, expansionOf(asked.idea, asked.style, asked.seed, asked.ground));
    return streamExpansion(response, asked).then(() => null);
  }],
  ["POST", /^\/v1\/prompts\/assemble$/, ({ body }) => {
    const { parts } = JSON.parse(body).expansion;
    return json(200, { prompt: assembled(parts), dropped: droppedOf(parts) });
  }],
  // for the tests alone
  ["POST", /^\/mock\/settings$/, ({ body }) => {
    const given = JSON.parse(body);
    Object.assign(settings, given);
    // with another key whoever listens has to show it
    if ("key" in given) for (const stream of streams) stream.end();
    return json(200, {});
  }],
  ["POST", /^\/mock\/reset$/, () => {
    reset();
    return json(200, {});
  }],
  ["POST", /^\/mock\/seed$/, ({ body }) => json(200, seed(JSON.parse(body)))],
  ["GET", /^\/mock\/requests$/, () => json(200, requests)],
];

function addPerson(name, photos, said, keep) {
  const person = {
    id: id("person"), object: "person", name, created: now(), embeddings: photos, encoder: "sface", keep_photos: keep,
    photos: Array.from({ length: photos }, (_, index) => ({ index, usable: true, problems: [], kept: keep })),
    consent: { basis: said.basis, authorised_by: said.authorised_by ?? null, text_version: "1", text_sha256: consent.sha256, time: now() },
  };
  people.set(person.id, person);
  return person;
}

/** People and finished pictures without drawing them. */
function seed({ person, pictures: count = 0 }) {
  const who = person ? addPerson(person, 2, { basis: "self" }, false) : null;
  for (let at = 0; at < count; at += 4) {
    const prompt = seeded[(at / 4) % seeded.length];
    const job = { id: id("job"), object: "job", status: "succeeded", created: now() - 60, started: now() - 60, finished: now() - 57, queue_position: null, progress: 1, eta_seconds: 0, attempts: 1, input: { prompt, n: 4, size: "64x64", seed: 1000 + at, people: who ? [{ person: who.id }] : [], model: "starter", steps: 12, guidance_scale: 1.6, scheduler: "dpm++2m" }, expansion: null, output: [], error: null, metrics: { queue_seconds: 0, run_seconds: 3 }, events: [], listeners: new Set(), urls: {} };
    jobs.set(job.id, job);
    const first = seriesFor(prompt);
    for (let index = 0; index < Math.min(4, count - at); index += 1) finish(job, index, pictures[(first + index) % pictures.length]);
    record(job, "job.succeeded", view(job));
  }
  return { person: who?.id ?? null };
}

function staticFile(path) {
  const name = normalize(path === "/" ? "/index.html" : path);
  try {
    return { status: 200, body: readFileSync(join(pageRoot, name)), headers: { "Content-Type": types[extname(name)] ?? "application/octet-stream", "Content-Security-Policy": policy, "Cache-Control": "no-cache" } };
  } catch {
    throw new Problem(404, "not_found", "there is nothing at this path");
  }
}

async function answer(request, response) {
  const url = new URL(request.url, "http://mock");
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  if (url.pathname.startsWith("/v1")) requests.push({ method: request.method, path: url.pathname, body: body.length < 1e6 ? body.toString("latin1") : "", lastEventId: request.headers["last-event-id"] ?? null });
  try {
    const failing = settings.fail[`${request.method} ${url.pathname}`];
    if (failing) throw new Problem(...failing);
    if (settings.key && url.pathname.startsWith("/v1") && request.headers.authorization !== `Bearer ${settings.key}`) throw new Problem(401, "missing_key", "a key is needed");
    for (const [method, pattern, handle] of routes) {
      const at = pattern.exec(url.pathname);
      if (!at || method !== request.method) continue;
      const made = await handle({ request, response, url, body, at });
      if (made) send(response, made);
      return;
    }
    if (request.method !== "GET") throw new Problem(404, "not_found", "there is nothing at this path");
    send(response, staticFile(url.pathname));
  } catch (error) {
    if (!(error instanceof Problem)) console.error(error);
    const { status = 500, code = "internal", message, retryAfter, more } = error;
    const said = { type: "about:blank", title: code, status, detail: message, request_id: "req_mock", error: { message, type: "invalid_request_error", code, param: null }, ...more };
    send(response, json(status, said, { "Content-Type": "application/problem+json", ...(retryAfter ? { "Retry-After": String(retryAfter) } : {}) }));
  }
}

function send(response, { status, body, headers }) {
  if (response.headersSent) return;
  response.writeHead(status, { "X-Content-Type-Options": "nosniff", ...headers });
  response.end(body);
}

/** @returns {Promise<{ url: string, close: () => void }>} */
export function start(port = 0) {
  return new Promise((resolve) => {
    const server = createServer(answer);
    server.listen(port, "127.0.0.1", () => {
      const url = `http://127.0.0.1:${server.address().port}`;
      const close = () => {
        reset();
        server.closeAllConnections();
        server.close();
      };
      resolve({ url, close });
    });
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) start(Number(process.argv[2] ?? 8099)).then(({ url }) => console.log(url));
