// Server-sent events over fetch, so that they can carry a key, be a POST, and be resumed.

import { request } from "./api.js";

/** @typedef {{ id: string | null, event: string, data: any }} Message */

/**
 * Reads one stream to its end.
 * @param {Response} answer
 * @param {(message: Message) => void} onMessage
 */
export async function readEvents(answer, onMessage) {
  if (!answer.body) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const message = parse(block);
      if (message) onMessage(message);
    }
  }
}

/** @param {string} block @returns {Message | null} none for a comment */
export function parse(block) {
  /** @type {string | null} */
  let id = null;
  let event = "message";
  const data = [];
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon === 0) continue;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "id") id = value;
    else if (field === "event") event = value;
    else if (field === "data") data.push(value);
  }
  if (!data.length) return null;
  try {
    return { id, event, data: JSON.parse(data.join("\n")) };
  } catch {
    return null;
  }
}

const firstWait = 500;
const longestWait = 8000;

/**
 * Follows a stream over lost connections until `onMessage` returns true or it is closed. After a loss it
 * goes on behind the last event that was seen.
 * @param {string} path
 * @param {{ onMessage: (message: Message) => boolean, onLost?: () => void, onRefused: (error: any) => void }} to
 * @returns {() => void} closes it
 */
export function follow(path, to) {
  const closing = new AbortController();
  /** @type {string | null} */
  let last = null;
  let wait = firstWait;
  let over = false;

  const run = async () => {
    while (!over && !closing.signal.aborted) {
      try {
        /** @type {Record<string, string>} */
        const headers = { Accept: "text/event-stream" };
        if (last !== null) headers["Last-Event-ID"] = last;
        const answer = await request(path, { headers, signal: closing.signal });
        await readEvents(answer, (message) => {
          wait = firstWait;
          if (message.id !== null) last = message.id;
          if (!over && to.onMessage(message)) {
            over = true;
            closing.abort();
          }
        });
      } catch (error) {
        if (over || closing.signal.aborted) return;
        const status = /** @type {any} */ (error).status;
        if (status >= 400 && status < 500 && status !== 429) {
          to.onRefused(error);
          return;
        }
      }
      if (over) return;
      to.onLost?.();
      await pause(wait, closing.signal);
      wait = Math.min(wait * 2, longestWait);
    }
  };
  run();
  return () => closing.abort();
}

/** Waits, but no longer than until the network is back. @param {number} milliseconds @param {AbortSignal} signal */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const go = () => {
      clearTimeout(timer);
      window.removeEventListener("online", go);
      signal.removeEventListener("abort", go);
      resolve(undefined);
    };
    const timer = setTimeout(go, milliseconds);
    window.addEventListener("online", go);
    signal.addEventListener("abort", go);
  });
}
