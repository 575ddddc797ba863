// Talking with the server.

import { problemText } from "./i18n.js";

const BASE = new URL("api/v1/", document.baseURI);

/** An answer that is a problem (RFC 9457). */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {Record<string, any>} body
   * @param {number} wait Seconds after which to try again; 0 if not said.
   */
  constructor(status, body, wait = 0) {
    const own = problemText(body);
    super(own ?? (body.detail || body.title || `HTTP ${status}`));
    this.status = status;
    this.body = body;
    this.wait = wait;
    /** @type {string|null} */
    this.hint = own === null ? (body.hint ?? null) : null;
  }

  /** Whether the same request may do later. */
  get isPassing() {
    return this.status === 429 || this.status >= 500;
  }
}

/** The server cannot be reached. */
export class Offline extends Error {}

/**
 * @typedef {object} Asked
 * @property {any} [body] Sent as JSON.
 * @property {FormData} [form]
 * @property {number|string} [match] For `If-Match`.
 * @property {AbortSignal} [signal]
 * @property {boolean} [keepalive] Outlives the page.
 * @property {boolean} [proves] Whether it brings a password or a link: 401 says that it is wrong, not that one is needed.
 */

/**
 * The address of something below `/api/v1/`.
 * @param {string} path
 * @param {Record<string, string|number|boolean|null|undefined>} [query]
 */
export function address(path, query = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, String(value));
  }
  return url.href;
}

/**
 * Send a request.
 * @param {string} method
 * @param {string} url An address, or a path below `/api/v1/`.
 * @param {Asked} [asked]
 * @returns {Promise<Response>}
 */
export async function send(method, url, asked = {}) {
  /** @type {Record<string, string>} */
  const headers = {};
  if (asked.body !== undefined) headers["Content-Type"] = "application/json";
  if (asked.match !== undefined) headers["If-Match"] = `"${asked.match}"`;
  let answer;
  try {
    answer = await fetch(new URL(url, BASE), {
      method,
      headers,
      body: asked.body !== undefined ? JSON.stringify(asked.body) : asked.form,
      signal: asked.signal,
      keepalive: asked.keepalive,
      credentials: "same-origin",
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Offline(String(error));
  }
  if (answer.ok) return answer;
  const problem = await problemOf(answer);
  if (answer.status === 401 && !asked.proves) dispatchEvent(new CustomEvent("quill-login", { detail: problem.body }));
  throw problem;
}

/**
 * Send a request and take the JSON of its answer, or null where there is none.
 * @param {string} method
 * @param {string} url
 * @param {Asked} [asked]
 * @returns {Promise<any>}
 */
export async function call(method, url, asked) {
  const answer = await send(method, url, asked);
  if (answer.status === 204) return null;
  return (answer.headers.get("content-type") ?? "").includes("json") ? answer.json() : null;
}

/**
 * @param {string} path
 * @param {Record<string, string|number|boolean|null|undefined>} [query]
 * @param {AbortSignal} [signal]
 */
export const get = (path, query, signal) => call("GET", address(path, query), { signal });

/**
 * Go through a list that comes in parts.
 * @param {string} path
 * @param {Record<string, string|number|boolean|null|undefined>} query
 * @param {AbortSignal} [signal]
 * @returns {AsyncGenerator<any[]>}
 */
export async function* parts(path, query, signal) {
  let after = null;
  do {
    const part = await get(path, { limit: 1000, ...query, after }, signal);
    yield part.items;
    after = part.next;
  } while (after !== null && after !== undefined);
}

/**
 * The whole of a list.
 * @param {string} path
 * @param {Record<string, string|number|boolean|null|undefined>} [query]
 * @returns {Promise<any[]>}
 */
export async function all(path, query = {}) {
  const items = [];
  for await (const part of parts(path, query)) items.push(...part);
  return items;
}

/**
 * A part of the program that is loaded when it is needed.
 * @template T
 * @param {() => Promise<T>} load
 * @returns {Promise<T>}
 * @throws {Offline} If it does not come: browsers say so with the address of a file.
 */
export async function part(load) {
  try {
    return await load();
  } catch (error) {
    throw error instanceof TypeError ? new Offline(String(error)) : error;
  }
}

/** @param {Response} answer */
async function problemOf(answer) {
  /** @type {Record<string, any>} */
  let body = {};
  try {
    body = await answer.json();
  } catch {
    // a proxy's page, or nothing: the status says enough
  }
  return new Problem(answer.status, body, Number(answer.headers.get("retry-after")) || 0);
}

export const images = {
  /** @param {number} page */
  thumbnail: (page) => address(`pages/${page}/thumbnail`),
  /**
   * @param {number} page
   * @param {number} [width]
   */
  page: (page, width) => address(`pages/${page}/image`, { width }),
  /**
   * @param {number} line
   * @param {number} height
   * @param {number|string} version Changes with the outline.
   */
  line: (line, height, version) => address(`lines/${line}/image`, { height, v: version }),
  /** @param {number} page */
  tiles: (page) => address(`iiif/${page}/info.json`),
  /**
   * A part of a page.
   * @param {number} page
   * @param {number[]} box x, y, width, height
   * @param {number} width Of the answer.
   */
  part: (page, box, width) => address(`iiif/${page}/${box.map(Math.round).join(",")}/${width},/0/default.jpg`),
};
