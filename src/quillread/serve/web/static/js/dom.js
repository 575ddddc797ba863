// Making elements. Text is text: nothing is ever parsed as HTML.

/** @typedef {Node|string|number|null|undefined|false} Child */

/**
 * Make an element.
 *
 * Keys that begin with `on` are listeners; `class`, `data-*`, `aria-*` and the like are attributes; true is an empty
 * attribute, and null, undefined and false are none. `style` is an object of CSS properties.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>|null} [facts]
 * @param {...(Child|Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, facts, ...children) {
  const element = document.createElement(tag);
  apply(element, facts);
  element.append(.../** @type {(Node|string)[]} */ (children.flat().filter(isShown).map(asNode)));
  return element;
}

/**
 * Make an element of SVG.
 * @param {string} tag
 * @param {Record<string, any>|null} [facts]
 * @param {...(Child|Child[])} children
 * @returns {SVGElement}
 */
export function svg(tag, facts, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  apply(element, facts);
  element.append(...children.flat().filter(isShown).map(asNode));
  return element;
}

/**
 * An icon, drawn in a box of 24 units; it says nothing to screen readers.
 * @param {keyof typeof ICONS} name
 */
export function icon(name) {
  const picture = svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" });
  for (const d of ICONS[name].split("|")) picture.append(svg("path", { d }));
  return picture;
}

/**
 * Replace the children of an element.
 * @param {Element} element
 * @param {...(Child|Child[])} children
 */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter(isShown).map(asNode));
}

/**
 * Replace the children of an element that may have the focus: it goes to the new one with the same `data-key`, or else
 * to another element.
 * @param {HTMLElement} element
 * @param {(Child|Child[])[]} children
 * @param {HTMLElement|null} [otherwise]
 */
export function refill(element, children, otherwise = null) {
  const focus = document.activeElement;
  const key = focus instanceof HTMLElement && element.contains(focus) ? (focus.dataset.key ?? "") : null;
  fill(element, ...children);
  if (key === null) return;
  const same = /** @type {HTMLElement|null} */ (element.querySelector(`[data-key="${CSS.escape(key)}"]`));
  (same ?? otherwise)?.focus();
}

/**
 * @param {Element} element
 * @param {Record<string, any>|null} [facts]
 */
function apply(element, facts) {
  for (const [name, value] of Object.entries(facts ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, what] of Object.entries(value)) setStyle(element, key, what);
    else if (name === "value" || name === "checked" || name === "indeterminate") Object.assign(element, { [name]: value });
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

/**
 * @param {Element} element
 * @param {string} key
 * @param {any} value
 */
function setStyle(element, key, value) {
  /** @type {HTMLElement} */ (element).style.setProperty(key, String(value));
}

/** @param {Child} child */
const isShown = (child) => child !== null && child !== undefined && child !== false;

/**
 * @param {Child} child
 * @returns {Node|string}
 */
const asNode = (child) => (child instanceof Node ? child : String(child));

const ICONS = {
  back: "M15 5l-7 7 7 7",
  next: "M9 5l7 7-7 7",
  up: "M5 15l7-7 7 7",
  down: "M5 9l7 7 7-7",
  close: "M6 6l12 12M18 6L6 18",
  check: "M5 12.5l4.5 4.5L19 7.5",
  search: "M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13zM15.5 15.5L20 20",
  more: "M5 11.2h1.600v1.600H5zM11.200 11.200h1.600v1.600h-1.600zM17.400 11.200h1.600v1.600h-1.600z",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  upload: "M12 16V5M7 10l5-5 5 5M5 19h14",
  download: "M12 5v11M7 11l5 5 5-5M5 19h14",
  book: "M5 5h6a2 2 0 0 1 2 2v12a2 2 0 0 0-2-2H5zM21 5h-6a2 2 0 0 0-2 2v12a2 2 0 0 1 2-2h6z",
  teach: "M3 9l9-4 9 4-9 4zM7 11v5c3 2 7 2 10 0v-5M21 9v6",
  read: "M4 7V4h3M17 4h3v3M20 17v3h-3M7 20H4v-3M7 9h10M7 12h10M7 15h6",
  eye: "M2.5 12C5 7.5 8.5 5.5 12 5.5s7 2 9.5 6.5c-2.5 4.5-6 6.5-9.5 6.5S5 16.5 2.5 12zM12 9a3 3 0 1 1 0 6 3 3 0 0 1 0-6z",
  trash: "M5 7h14M10 7V4.5h4V7M7 7l1 13h8l1-13",
  move: "M4 7h6l2 2h8v10H4zM10 14h6M13.5 11.5L16 14l-2.5 2.5",
  gear: "M12 9a3 3 0 1 1 0 6 3 3 0 0 1 0-6zM12 3v3M12 18v3M3 12h3M18 12h3M5.600 5.600l2.100 2.100M16.300 16.300l2.100 2.100M18.400 5.600l-2.100 2.100M7.700 16.300l-2.100 2.100",
  history: "M4 12a8 8 0 1 0 2.5-5.800L4 8.5M4 4v4.5h4.5M12 8v4.5l3 2",
  keys: "M3 7h18v10H3zM7 10.5h.01M11 10.5h.01M15 10.5h.01M8 14h8",
  light: "M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.300 5.300l1.400 1.400M17.300 17.300l1.400 1.400M18.700 5.300l-1.400 1.400M6.700 17.300l-1.400 1.400",
  print: "M7 9V4h10v5M7 17H4V9h16v8h-3M7 14h10v6H7z",
  lines: "M4 6h16M4 12h16M4 18h10",
  side: "M4 5h16v14H4zM12 5v14",
  strips: "M4 5h16v5H4zM4 14h16M4 18h11",
  layout: "M4 5h16v14H4zM7 9h5M7 12h4M15 9h2M15 12h2M7 15h7",
  pen: "M4 20l1-4L16.5 4.5l3 3L8 19z",
  warn: "M12 4l9 16H3zM12 10v4M12 17h.01",
  undo: "M9 7L4 12l5 5M4 12h10a6 6 0 0 1 6 6",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  jobs: "M4 6h10M4 12h16M4 18h7",
  filter: "M4 6h16M7 12h10M10 18h4",
  people: "M9 5a3.200 3.200 0 1 1 0 6.400A3.200 3.200 0 0 1 9 5zM3 19c.6-3.600 3-5.200 6-5.200s5.400 1.600 6 5.200M15.500 5.600a3 3 0 0 1 0 5.600M17.500 14c2 .7 3.200 2.300 3.500 5",
  link: "M10 14a4 4 0 0 0 5.700 0l3-3A4 4 0 0 0 13 5.300l-1 1M14 10a4 4 0 0 0-5.700 0l-3 3A4 4 0 0 0 11 18.700l1-1",
  copy: "M9 9h10v10H9zM5 15V5h10",
  palette: "M6 19V9a4 4 0 0 1 4-4M6 11h5M14 19l3.5-9 3.5 9M15.200 16h4.600",
};
