// A value that is watched. State lives in a few of these; everything on screen is drawn from them.

/**
 * @template T
 * @param {T} initial
 */
export function createStore(initial) {
  let value = initial;
  /** @type {Set<(value: T) => void>} */
  const watchers = new Set();
  return {
    get: () => value,
    /** @param {T} next */
    set(next) {
      value = next;
      for (const watcher of [...watchers]) watcher(value);
    },
    /** Calls back now and after each change. @param {(value: T) => void} watcher @returns {() => void} stops it */
    watch(watcher) {
      watchers.add(watcher);
      watcher(value);
      return () => void watchers.delete(watcher);
    },
  };
}

/** Remembers it, where the browser has room: without, only a reload forgets it. @param {Storage} where @param {string} key @param {string} value */
export function keep(where, key, value) {
  try {
    where.setItem(key, value);
  } catch {
    where.removeItem(key);
  }
}

const channel = "BroadcastChannel" in window ? new BroadcastChannel("imagine") : null;

/** Says to the other tabs that something changed. @param {"people" | "jobs" | "images"} what @param {string} [id] */
export function tellTabs(what, id) {
  channel?.postMessage({ what, id });
}

/** @param {(news: { what: string, id?: string }) => void} listener */
export function onNews(listener) {
  channel?.addEventListener("message", (event) => listener(event.data));
}
