// Jobs as this page follows them: what the service last said, and the newest preview of each picture.

import { Problem, address, call } from "./api.js";
import { previewEvery, sideBySide } from "./draft.js";
import { createStore, onNews, tellTabs } from "./store.js";
import { t } from "./i18n.js";
import { follow } from "./sse.js";

/**
 * @typedef {object} Followed
 * @property {Api.Job} job
 * @property {(string | null)[]} previews JPEG data addresses, by picture
 * @property {number} step
 * @property {number} steps
 * @property {number | null} etaAt when it should be done, milliseconds
 * @property {boolean} lost the connection is being sought again
 */

let older = false;

/** Whether there are earlier jobs than those that are followed. */
export function olderJobs() {
  return older;
}

/** Newest first. Null until they have been asked for. */
export const jobs = createStore(/** @type {Followed[] | null} */ (null));

const askedJobs = 50;
const shownJobs = 12;
/** A browser opens six connections to one server, for all its tabs together. */
const mostStreams = 2;
const pollEvery = 3000;

/** @type {Map<string, () => void>} */
const streams = new Map();
/** @type {ReturnType<typeof setTimeout> | undefined} */
let polling;

/** @param {Api.Job} job */
export function isOver(job) {
  return job.status === "succeeded" || job.status === "failed" || job.status === "canceled";
}

/** @param {Api.Job} job @returns {Followed} */
function followed(job) {
  return { job, previews: Array(job.input.n ?? 1).fill(null), step: 0, steps: 0, etaAt: etaOf(job.eta_seconds), lost: false };
}

/** @param {number | null | undefined} seconds */
function etaOf(seconds) {
  return typeof seconds === "number" ? Date.now() + seconds * 1000 : null;
}

export async function loadJobs() {
  /** @type {Api.List<Api.Job>} */
  const page = await call(address("/v1/jobs", { limit: askedJobs }));
  const known = new Map((jobs.get() ?? []).map((one) => [one.job.id, one]));
  // rows of a batch are shown where batches are
  const all = page.data.filter((job) => !job.batch);
  const own = all.slice(0, shownJobs);
  // what was deleted elsewhere holds no photo here
  if (!page.has_more) for (const id of ordered.keys()) if (!page.data.some((job) => job.id === id)) ordered.delete(id);
  older = page.has_more || all.length > shownJobs;
  jobs.set(own.map((job) => ({ ...followed(job), ...keepFrom(known.get(job.id)), job })));
  attend();
}

/** @param {Followed | undefined} old */
function keepFrom(old) {
  return old ? { previews: old.previews, step: old.step, steps: old.steps } : {};
}

/** `crypto.randomUUID` is missing where the page came over plain HTTP from another machine. */
function onceOnly() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

let toBeShown = false;

/** To where pictures appear that were just ordered, from whatever screen. */
export function showOrdered() {
  toBeShown = true;
  if (!/^#?\/?$/.test(location.hash)) location.hash = "#/";
  document.dispatchEvent(new CustomEvent("imagine:ordered"));
}

/** Whether something was just ordered that is not in sight yet; true once. */
export function takeOrdered() {
  const was = toBeShown;
  toBeShown = false;
  return was;
}

/** What goes along with an order in a form, by the form's names. @typedef {Record<string, Blob | string>} Files */

/** What this tab ordered, by job: the service does not hand out masks and photos again. @type {Map<string, { order: Api.JobRequest, files?: Files }>} */
const ordered = new Map();

/** @param {Api.JobRequest} wanted @param {Files} [files] @returns {Promise<Api.Job>} */
export async function submit(wanted, files) {
  // what another program ordered, and is ordered again here, is seen on its way, too
  const order = { previews: previewEvery(wanted.steps), ...wanted };
  /** @type {Api.Job} */
  const job = await call("/v1/jobs", { method: "POST", headers: { "Idempotency-Key": onceOnly() }, ...(files ? { body: formOf(order, files) } : { json: order }) });
  if (files || order.edit?.mask || order.people?.some((one) => one.mask)) ordered.set(job.id, { order, files });
  put(job);
  attend();
  tellTabs("jobs", job.id);
  return job;
}

/** @param {Api.JobRequest} order @param {Files} files */
function formOf(order, files) {
  const form = new FormData();
  form.append("job", JSON.stringify(order));
  for (const [name, file] of Object.entries(files)) form.append(name, file);
  return form;
}

/** Whether it changes a photo that came along with the order. @param {Api.Job} job */
export function ofPhoto(job) {
  return Boolean(job.input.edit && !job.input.edit.image);
}

/** Whether somebody's place was painted. @param {Api.JobRequest} input */
function placesPainted(input) {
  return (input.people?.length ?? 0) > 1 && Boolean(input.people?.some((one) => !one.box));
}

/** An order of which nothing that was painted is known: its people stand side by side. @param {Api.JobRequest} input @returns {Api.JobRequest} */
export function withPlaces(input) {
  return placesPainted(input) ? { ...input, people: input.people?.map((one, at) => ({ ...one, box: sideBySide[at]?.box ?? [0, 0, 1, 1] })) } : input;
}

/** What to say where `orderFor` knows no order. @param {Api.Job} job */
export function unknownOf(job) {
  if (ofPhoto(job)) return t("job.photo_unknown");
  return t(job.input.edit ? "job.mask_unknown" : "job.places_unknown");
}

/**
 * The order that draws a job's pictures, its seed included; null where a mask or a photo came from another tab or before a reload.
 * @param {Api.Job} job
 * @returns {{ order: Api.JobRequest, files?: Files } | null}
 */
export function orderFor(job) {
  const known = ordered.get(job.id);
  const edit = job.input.edit && { ...job.input.edit, ...known?.order.edit };
  // the page fades in where it painted, and nowhere else
  if (edit && !known && (ofPhoto(job) || edit.feather !== undefined)) return null;
  if (!known && placesPainted(job.input)) return null;
  const people = known?.order.people ?? job.input.people;
  return { order: { ...job.input, people, ...(edit ? { edit } : {}), ...(job.expansion ? { expand: job.expansion } : {}) }, files: known?.files };
}

/** @param {string} id */
export async function cancel(id) {
  put(await call(`/v1/jobs/${id}/cancel`, { method: "POST" }));
  tellTabs("jobs", id);
}

/** With its pictures. @param {string} id */
export async function remove(id) {
  await call(`/v1/jobs/${id}`, { method: "DELETE" });
  drop(id);
  tellTabs("jobs");
  tellTabs("images");
}

/** @param {string} id */
function drop(id) {
  streams.get(id)?.();
  streams.delete(id);
  ordered.delete(id);
  jobs.set((jobs.get() ?? []).filter((one) => one.job.id !== id));
}

/** A picture is gone: its place stays empty. @param {string} image */
export function forgetImage(image) {
  jobs.set(
    (jobs.get() ?? []).map((one) =>
      one.job.output.some((output) => output.id === image)
        ? { ...one, job: { ...one.job, output: one.job.output.filter((output) => output.id !== image) } }
        : one,
    ),
  );
}

/** @param {Api.Job} job */
function put(job) {
  const all = jobs.get() ?? [];
  const old = all.find((one) => one.job.id === job.id);
  if (old) change(job.id, (one) => ({ ...one, job, lost: false }));
  else jobs.set([followed(job), ...all]);
}

/**
 * A job that is over stays so: an answer or an event that was on its way for longer tells of before.
 * @param {string} id @param {(one: Followed) => Followed} how
 */
function change(id, how) {
  jobs.set(
    (jobs.get() ?? []).map((one) => {
      if (one.job.id !== id) return one;
      const next = how(one);
      return isOver(one.job) && !isOver(next.job) ? one : next;
    }),
  );
}

/** Sees to it that every job that is not over is either streamed or asked for now and then. */
function attend() {
  const open = (jobs.get() ?? []).filter((one) => !isOver(one.job)).reverse();
  const streamed = document.hidden ? [] : open.slice(0, mostStreams).map((one) => one.job.id);
  for (const [id, close] of streams) {
    if (streamed.includes(id)) continue;
    close();
    streams.delete(id);
  }
  for (const id of streamed) if (!streams.has(id)) streams.set(id, stream(id));
  clearTimeout(polling);
  const polled = open.map((one) => one.job.id).filter((id) => !streamed.includes(id));
  if (polled.length) polling = setTimeout(() => poll(polled), pollEvery);
}

document.addEventListener("visibilitychange", () => {
  if (jobs.get()) attend();
});

/** @param {string[]} ids */
async function poll(ids) {
  await Promise.all(ids.map(refresh));
  attend();
}

/** @param {string} id */
async function refresh(id) {
  try {
    put(await call(`/v1/jobs/${id}`));
  } catch (error) {
    if (error instanceof Problem && error.status === 404) drop(id);
  }
}

/** @param {string} id */
function stream(id) {
  return follow(`/v1/jobs/${id}/events`, {
    onMessage: (message) => take(id, message.event, message.data),
    onLost: () => change(id, (one) => ({ ...one, lost: true })),
    onRefused: (error) => {
      streams.delete(id);
      if (error.status === 404) drop(id);
      // without a key every new try is refused, too: whoever gives one begins anew
      else if (error.status !== 401) setTimeout(attend, pollEvery);
    },
  });
}

/** @param {string} id @param {string} event @param {any} data @returns {boolean} whether that was the last word */
function take(id, event, data) {
  switch (event) {
    case "job.queued":
      change(id, (one) => ({
        ...one,
        lost: false,
        etaAt: etaOf(data.eta_seconds),
        job: { ...one.job, status: "queued", queue_position: data.queue_position ?? null, eta_seconds: data.eta_seconds ?? null },
      }));
      return false;
    case "job.started":
      change(id, (one) => ({ ...one, lost: false, job: { ...one.job, status: "running", queue_position: null } }));
      return false;
    case "job.progress":
      change(id, (one) => ({
        ...one,
        lost: false,
        step: data.step ?? one.step,
        steps: data.steps ?? one.steps,
        etaAt: etaOf(data.eta_seconds),
        job: { ...one.job, status: "running", progress: data.progress ?? one.job.progress },
      }));
      return false;
    case "job.preview":
      change(id, (one) => ({
        ...one,
        lost: false,
        previews: one.previews.map((old, index) => (index === data.index ? `data:image/jpeg;base64,${data.b64_jpeg}` : old)),
      }));
      return false;
    case "job.output":
      change(id, (one) => ({ ...one, lost: false, job: { ...one.job, output: withOutput(one.job.output, data) } }));
      return false;
    case "job.succeeded":
    case "job.failed":
    case "job.canceled":
      streams.delete(id);
      put({ ...data, progress: event === "job.succeeded" ? 1 : data.progress });
      tellTabs("images");
      document.dispatchEvent(new CustomEvent("imagine:job-over", { detail: data }));
      attend();
      return true;
    default:
      return false;
  }
}

/** Events may come twice. @param {Api.Output[]} outputs @param {Api.Output} output */
function withOutput(outputs, output) {
  return [...outputs.filter((one) => one.index !== output.index), output].sort((a, b) => a.index - b.index);
}

onNews((news) => {
  if (news.what === "jobs" && jobs.get()) loadJobs().catch(() => undefined);
});
