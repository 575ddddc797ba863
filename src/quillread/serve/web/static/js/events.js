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
 * @param {(connected: boolean, missed: boolean) => void} [connection] Told when the connection stands, with whether
 *   something may have happened meanwhile that nobody will tell; and when it is lost.
 * @returns {() => void} Ends it.
 */
export function watch(collection, hear, connection) {
  /** @type {EventSource|null} */
  let source = null;
  /** @type {number|undefined} */
  let timer;
  let wait = 1000;
  let missed = false;
  const ends = new AbortController();
  const { signal } = ends;

  function open() {
    source = new EventSource(address("events", { collection_id: collection }));
    source.onopen = () => {
      wait = 1000;
      connection?.(true, missed);
      missed = false;
    };
    source.onerror = () => {
      connection?.(false, false);
      if (source?.readyState !== EventSource.CLOSED) return; // the browser tries again
      close(); // refused, so that the browser has given up: by a server that starts,
      get("me").catch(() => {}); // or as a login or a link has ended, which the answer to this one tells
      timer = setTimeout(rest, wait);
      wait = Math.min(wait * 2, 30_000);
    };
    source.addEventListener("reset", () => connection?.(true, true));
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
   * nobody looks at gives its own back.
   */
  function rest() {
    clearTimeout(timer);
    if (document.visibilityState !== "visible") timer = setTimeout(close, 15_000);
    else if (!source) open();
  }

  addEventListener("visibilitychange", rest, { signal });
  addEventListener("pagehide", close, { signal }); // it may live on, to be come back to
  addEventListener("pageshow", (event) => event.persisted && rest(), { signal });
  if (document.visibilityState === "visible") open();
  else missed = true; // opened behind others
  return () => (ends.abort(), close());
}
