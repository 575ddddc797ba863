// Below the text: other readings of the line, marks, and special characters.

import { fill, h, icon } from "../dom.js";
import { percent, t } from "../i18n.js";
import { differences, MARKS } from "./words.js";
import { keyCap } from "./keys.js";

/**
 * What a collection has at first: Unicode's, and by number those that MUFI has put into the private-use area (que, quir,
 * ser, con, the semicolon of abbreviations, that, four ligatures of the long s, ct, two punctus, a paragraph).
 */
export const PALETTE = "ſ ß þ Þ ð Ð æ Æ œ Œ ø ꝑ ꝓ ꝗ ꝙ ꝛ ꝝ ꝰ ꝯ ꝫ ⁊ ꝭ \ue8bf \ue8b3 \ue8b7 \uf1a6 \uf1ac \uf149 \ueba2 \ueba3 \ueba6 \ueada \ueec5 \uf160 \uf161 \uf1e1 ẏ ȝ ƿ ꜳ ꜷ ﬁ ﬂ ﬀ ﬅ ā ē ī ō ū ñ m̄ n̄ ů ͤ ͦ ᵉ ʳ ˢ ᵗ ¹ ² ³ ° § ¶ † ‡ ℔ ℥ ₰ £ ƒ ½ ¼ ¾ „ “ ” ‚ ‘ ’ « » – — … ⸗ ·";

export class Dock extends EventTarget {
  /**
   * Events: `reading` (detail: its text), `mark` (detail: its kind), `sign` (detail: the character), `edit-palette`.
   * @param {string[]} signs
   */
  constructor(signs) {
    super();
    this.readings = h("ol", { class: "readings", "aria-label": t("dock.readings") });
    this.marks = h("div", { class: "marks", role: "group", "aria-label": t("dock.marks") },
      /** @type {(keyof typeof MARKS)[]} */ (Object.keys(MARKS)).map((kind, i) =>
        h("button", { type: "button", class: "plain mark-button", "data-mark": kind, title: `${t(`mark.${kind}`)} (Alt+${i + 6})` },
          h("span", { class: `sample mark-${kind}`, "aria-hidden": "true" }, kind === "illegible" ? "[…]" : "abc"), h("span", { class: "unseen" }, t(`mark.${kind}`))))); // prettier-ignore
    this.signs = h("div", { class: "signs", role: "toolbar", "aria-label": t("dock.signs") });
    this.all = h("button", { type: "button", class: "plain square small toggle", "aria-pressed": "false", "aria-label": t("dock.allSigns"), title: t("dock.allSigns"), onclick: () => this.toggleSigns() }, icon("up"));
    this.edit = h("button", { type: "button", class: "plain square small", "aria-label": t("dock.edit"), title: t("dock.edit"), onclick: () => this.dispatchEvent(new Event("edit-palette")) }, icon("gear"));
    this.root = h("section", { class: "dock", "aria-label": t("dock.title") }, this.readings, h("div", { class: "dock-tools" }, this.marks, this.signs, this.all, this.edit));
    // The field keeps the focus, and with it the selection.
    this.root.addEventListener("pointerdown", (event) => {
      if (/** @type {HTMLElement} */ (event.target).closest("button")) event.preventDefault();
    });
    this.root.addEventListener("click", (event) => this.click(event));
    this.signs.addEventListener("keydown", (event) => this.walk(event));
    this.setSigns(signs);
  }

  /** @param {string[]} signs */
  setSigns(signs) {
    fill(this.signs, signs.map((sign, i) =>
      h("button", { type: "button", class: "plain sign-button", tabindex: i ? "-1" : "0", "data-sign": sign, "aria-label": nameOf(sign) },
        /^\p{M}/u.test(sign) ? `◌${sign}` : sign))); // prettier-ignore
  }

  /**
   * Show the readings of a line that differ from its text.
   * @param {import("../types.js").Line|null} line
   */
  showReadings(line) {
    const others = readingsOf(line);
    if (!line || !others.length) {
      fill(this.readings, h("li", { class: "none" }, t("dock.noReadings")));
      return;
    }
    fill(this.readings, others.map((reading, i) =>
      h("li", null,
        h("button", { type: "button", class: "plain reading", "data-reading": reading.text },
          keyCap(`Alt+${i + 1}`),
          h("span", { class: "reading-text", dir: "auto" }, differences(reading.text, line.text).map((piece) => (piece.differs ? h("mark", null, piece.text) : piece.text))),
          reading.confidence === null ? null : h("span", { class: "share" }, percent(reading.confidence)))))); // prettier-ignore
  }

  /** Show all signs, rather than a row of them. */
  toggleSigns() {
    this.all.setAttribute("aria-pressed", String(this.signs.classList.toggle("open")));
  }

  focusSigns() {
    /** @type {HTMLElement|null} */ (this.signs.querySelector("[tabindex='0']"))?.focus();
  }

  /** @param {MouseEvent} event */
  click(event) {
    const button = /** @type {HTMLElement} */ (event.target).closest("button");
    const { reading, mark, sign } = button?.dataset ?? {};
    if (reading !== undefined) this.dispatchEvent(new CustomEvent("reading", { detail: reading }));
    if (mark) this.dispatchEvent(new CustomEvent("mark", { detail: mark }));
    if (sign) this.dispatchEvent(new CustomEvent("sign", { detail: sign }));
  }

  /** @param {KeyboardEvent} event */
  walk(event) {
    const buttons = /** @type {HTMLButtonElement[]} */ ([...this.signs.children]);
    const at = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    const row = buttons.filter((button) => button.offsetTop === buttons[0].offsetTop).length;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row, Home: -at, End: buttons.length - 1 - at }[event.key];
    if (step === undefined || at < 0) return;
    event.preventDefault();
    const to = Math.max(0, Math.min(buttons.length - 1, at + step));
    buttons[at].tabIndex = -1;
    buttons[to].tabIndex = 0;
    buttons[to].focus();
  }
}

/**
 * Readings to choose from: at most five, other than the text.
 * @param {import("../types.js").Line|null} line
 */
export function readingsOf(line) {
  return (line?.alternatives ?? []).filter((reading) => reading.text !== line?.text).slice(0, 5);
}

/** @param {string} sign */
function nameOf(sign) {
  const codes = [...sign].map((letter) => `U+${/** @type {number} */ (letter.codePointAt(0)).toString(16).toUpperCase().padStart(4, "0")}`);
  return `${sign} ${codes.join(" ")}`;
}
