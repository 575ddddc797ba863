// What happens in the archive, as the server tells it (server-sent events); the browser takes a lost connection up again.

import { address, get } from "./api.js";

const KINDS = [
  "collection.created", "collection.changed", "collection.deleted", "collection.restored", "collection.purged",
  "document.created", "document.changed", "document.deleted", "document.restored", "document.moved", "document.purged",
  "page.created", "page.changed", "page.deleted", "page.restored", "page.purged", "page.reading", "page.read", "page.failed",
  "line.changed", "layout.changed", "job.created", "job.progress", "job.finished",
]; // prettier-ignore

/** Milliseconds that a first connection may take until something may have happened since what is shown was loaded. */
const LATE = 250;

/**
 * Watch a collection, or all.
 * @param {number|null} collection
 * @param {(kind: string, data: any) => void} hear
 * @param {(missed: boolean) => void} [connected] Told when the connection stands, and whether events may be missing: what is shown is to be loaded anew.
 * @returns {() => void} Ends it.
 */
export function watch(collection, hear, connected) {
  /** @type {EventSource|null} */
  let source = null;
  /** @type {number|undefined} */
  let timer;
  let wait = 1000;
  let missed = document.visibilityState !== "visible"; // else what is shown was loaded just now
  let loaded = performance.now();
  const ends = new AbortController();
  const { signal } = ends;

  function open() {
    source = new EventSource(address("events", { collection_id: collection }));
    const begin = (/** @type {boolean} */ isReset) => {
      connected?.(missed || isReset || performance.now() - loaded > LATE);
      missed = false; // a connection that the browser takes up again by itself goes on where it was
      loaded = Infinity;
      wait = 1000;
    };
    source.addEventListener("ready", () => begin(false));
    source.addEventListener("reset", () => begin(true));
    source.onerror = () => {
      if (source?.readyState !== EventSource.CLOSED) return; // the browser tries again
      close(); // refused, so that the browser has given up: by a server that starts,
      get("me").catch(() => {}); // or as a login or a link has ended, which the answer to this one tells
      timer = setTimeout(rest, wait);
      wait = Math.min(wait * 2, 30_000);
    };
    for (const kind of KINDS) source.addEventListener(kind, (event) => hear(kind, JSON.parse(event.data)));
  }

  function close() {
    clearTimeout(timer);
    source?.close();
    source = null;
    missed = true;
  }

  /**
   * Browsers have few connections for a server, and a page whose connections wait for others never loads: a tab that
   * nobody looks at takes none, or gives its own back.
   */
  function rest() {
    clearTimeout(timer);
    if (document.visibilityState !== "visible") timer = setTimeout(close, 15_000);
    else if (!source) open();
  }

  addEventListener("visibilitychange", rest, { signal });
  addEventListener("pagehide", close, { signal }); // it may live on, to be come back to
  addEventListener("pageshow", (event) => event.persisted && rest(), { signal });
  rest();
  return () => (ends.abort(), close());
}
