// Talking to the service this page came from, and to nobody else.

import { keep } from "./store.js";

const keyName = "imagine.key";
/** The key that was last accepted in this tab. */
const acceptedName = "imagine.key.accepted";

/** The API key of this tab; none is needed on one's own machine. */
export function apiKey() {
  return sessionStorage.getItem(keyName);
}

/** @param {string} key */
export function rememberKey(key) {
  sessionStorage.setItem(keyName, key);
}

/** Whether the key of this tab was good before: then it was revoked meanwhile. */
export function keyWorked() {
  return apiKey() !== null && sessionStorage.getItem(acceptedName) === apiKey();
}

/** An answer that is not what was asked for. */
export class Problem extends Error {
  /** @param {{ status: number, code: string, message: string, rule?: string | null, param?: string | null, least?: number, most?: number, requestId?: string | null, retryAfter?: number | null }} of */
  constructor(of) {
    super(of.message);
    this.name = "Problem";
    this.status = of.status;
    this.code = of.code;
    /** The safety rule that forbids it. */
    this.rule = of.rule ?? null;
    /** The value that is at fault, and what it may be. */
    this.param = of.param ?? null;
    this.least = of.least;
    this.most = of.most;
    this.requestId = of.requestId ?? null;
    this.retryAfter = of.retryAfter ?? null;
  }
}

/** @type {((online: boolean) => void)[]} */
const watchers = [];
let reachable = true;

/** Is told whenever the service is lost, or found again. @param {(reachable: boolean) => void} watcher */
export function watchConnection(watcher) {
  watchers.push(watcher);
}

/** @param {boolean} now */
export function sawConnection(now) {
  if (now === reachable) return;
  reachable = now;
  for (const watcher of watchers) watcher(now);
}

/**
 * @typedef {{ method?: string, json?: unknown, body?: BodyInit, headers?: Record<string, string>, signal?: AbortSignal }} CallOptions
 */

/** @param {string} path @param {CallOptions} [options] @returns {Promise<Response>} */
export async function request(path, options = {}) {
  const headers = new Headers(options.headers);
  const key = apiKey();
  if (key) headers.set("Authorization", `Bearer ${key}`);
  let body = options.body;
  if (options.json !== undefined) {
    headers.set("Content-Type", "application/json");
    body = JSON.stringify(options.json);
  }
  let answer;
  try {
    answer = await fetch(path, { method: options.method ?? "GET", headers, body, signal: options.signal });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    sawConnection(false);
    throw new Problem({ status: 0, code: "network", message: String(error) });
  }
  sawConnection(true);
  if (key && answer.ok && sessionStorage.getItem(acceptedName) !== key) keep(sessionStorage, acceptedName, key);
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

/** What the service says of a failure. @param {any} said @param {number} status @param {Headers} [headers] */
export function problemFrom(said, status, headers) {
  return new Problem({
    status: said.status ?? status,
    code: said.error?.code ?? `http_${status}`,
    message: said.detail ?? said.error?.message ?? said.title ?? "",
    rule: said.rule,
    param: said.error?.param,
    least: said.least,
    most: said.most,
    requestId: said.request_id || headers?.get("x-request-id"),
    retryAfter: Number(headers?.get("retry-after")) || null,
  });
}

/** @param {Response} answer */
async function problemOf(answer) {
  const problem = problemFrom(await answer.json().catch(() => ({ title: answer.statusText })), answer.status, answer.headers);
  if (answer.status === 401) document.dispatchEvent(new CustomEvent("imagine:key-needed"));
  return problem;
}

/** @template T @param {string} path @param {CallOptions} [options] @returns {Promise<T>} */
export async function call(path, options) {
  return (await request(path, options)).json();
}

/** @param {string} base @param {Record<string, string | number | boolean | null | undefined>} query */
export function address(base, query) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
  return given.length ? `${base}?${search}` : base;
}

/** Things that do not change while the page is open. @template T @param {() => Promise<T>} get */
function once(get) {
  /** @type {Promise<T> | null} */
  let got = null;
  return () => {
    got ??= get().catch((error) => {
      got = null;
      throw error;
    });
    return got;
  };
}

export const limits = once(() => call("/v1/limits").then((said) => /** @type {Api.Limits} */ (said)));
export const consentText = once(() => call("/v1/consent").then((said) => /** @type {Api.Consents} */ (said)));
export const models = once(() => call("/v1/models").then((said) => /** @type {Api.List<Api.Model>} */ (said).data));
export const styles = once(() =>
  call("/v1/styles").then((said) => (Array.isArray(said) ? said : /** @type {Api.List<Api.Style>} */ (said).data)),
);

/** The model of that name, else the one that draws where none is named. @param {Api.Model[]} known @param {string} [id] */
export function modelOf(known, id) {
  return known.find((model) => model.id === id) ?? known.find((model) => model.default) ?? known[0];
}

/** The same of those that the service has. @param {string} [id] */
export async function modelNamed(id) {
  return modelOf(await models(), id);
}
