// What happens in the archive, as the server tells it (server-sent events); the browser takes a lost connection up again.

import { address, get } from "./api.js";

const KINDS = [
  "collection.created", "collection.changed", "collection.deleted", "collection.restored",
  "document.created", "document.changed", "document.deleted", "document.restored",
  "page.created", "page.changed", "page.deleted", "page.restored", "page.reading", "page.read", "page.failed",
  "line.changed", "layout.changed", "job.created", "job.progress", "job.finished",
]; // prettier-ignore

/**
 * Watch a collection, or all.
 * @param {number|null} collection
 * @param {(kind: string, data: any) => void} hear
 * @param {(connected: boolean) => void} [connection] Told when the connection stands, and when it is lost.
 * @returns {() => void} Ends it.
 */
export function watch(collection, hear, connection) {
  /** @type {EventSource|null} */
  let source = null;
  /** @type {number|undefined} */
  let timer;
  let wait = 1000;

  function open() {
    source = new EventSource(address("events", { collection_id: collection }));
    source.onopen = () => {
      wait = 1000;
      connection?.(true);
    };
    source.onerror = () => {
      connection?.(false);
      if (source?.readyState !== EventSource.CLOSED) return; // the browser tries again
      timer = setTimeout(open, wait); // refused, so that the browser has given up: by a server that starts,
      get("me").catch(() => {}); // or as a login or a link has ended, which the answer to this one tells
      wait = Math.min(wait * 2, 30_000);
    };
    for (const kind of KINDS) source.addEventListener(kind, (event) => hear(kind, JSON.parse(event.data)));
  }

  /** Browsers have few connections for a server: a tab that nobody looks at gives its own back. */
  function rest() {
    clearTimeout(timer);
    if (document.visibilityState === "visible") {
      if (!source) open();
    } else {
      timer = setTimeout(() => (source?.close(), (source = null)), 15_000);
    }
  }

  open();
  addEventListener("visibilitychange", rest);
  return () => {
    removeEventListener("visibilitychange", rest);
    clearTimeout(timer);
    source?.close();
  };
}
