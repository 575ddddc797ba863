// Dialogs, menus and short messages.

import { h, icon } from "./dom.js";
import { Offline, Problem } from "./api.js";
import { faultWords, t } from "./i18n.js";

/**
 * Open a dialog. Escape closes it, and the focus goes back to where it was.
 * @param {string} title
 * @param {(close: (answer?: any) => void) => (Node|string|null|false)[]} content
 * @param {{class?: string}} [facts]
 * @returns {Promise<any>} What `close` was called with; undefined if it was dismissed.
 */
export function openDialog(title, content, facts = {}) {
  return new Promise((resolve) => {
    /** @type {any} */
    let result;
    const before = /** @type {HTMLElement|null} */ (document.activeElement);
    const close = (/** @type {any} */ answer = undefined) => {
      result = answer;
      dialog.close();
    };
    const heading = h("h2", { id: "dialog-title" }, title.replace(/…$/, "")); // as on the button that opens it
    const cross = h("button", { type: "button", class: "plain square", "aria-label": t("close"), onclick: () => close() }, icon("close"));
    const dialog = h("dialog", { class: `dialog ${facts.class ?? ""}`, "aria-labelledby": "dialog-title" });
    dialog.append(h("header", null, heading, cross), h("div", { class: "dialog-body" }, content(close).filter((x) => x !== null && x !== false)));
    dialog.addEventListener("close", () => {
      dialog.remove();
      // The browser has given the focus back when it closed the dialog; this event comes later, when the next key may
      // have taken it elsewhere.
      if (document.activeElement === document.body && before?.isConnected) before.focus();
      resolve(result);
    });
    /** @type {EventTarget|null} */
    let pressed = null; // text that is selected beyond the edge ends there, and gives nothing up
    dialog.addEventListener("pointerdown", (event) => (pressed = event.target));
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog && pressed === dialog) close();
    });
    dialog.addEventListener("keydown", (event) => {
      // As in a field of text; the space bar opens the list.
      if (event.key !== "Enter" || !(event.target instanceof HTMLSelectElement) || !event.target.form) return;
      event.preventDefault();
      event.target.form.requestSubmit();
    });
    document.body.append(dialog);
    dialog.showModal();
    // Not the cross: with it Enter would give up what the dialog is about.
    /** @type {HTMLElement|null} */ (dialog.querySelector("[autofocus]") ?? dialog.querySelector(".dialog-body :is(input, select, textarea)"))?.focus();
  });
}

/**
 * Ask for a text.
 * @param {string} title
 * @param {{label: string, value?: string, button: string}} facts
 * @returns {Promise<string|undefined>}
 */
export function askText(title, facts) {
  return openDialog(title, (close) => {
    const input = h("input", { id: "ask", value: facts.value ?? "", maxlength: "200", required: true, autofocus: true, dir: "auto" });
    const form = h(
      "form",
      {
        class: "stack",
        onsubmit: (/** @type {Event} */ event) => {
          event.preventDefault();
          if (input.value.trim()) close(input.value.trim());
        },
      },
      h("label", { for: "ask" }, facts.label),
      input,
      buttons(() => close(), h("button", { class: "primary" }, facts.button)),
    );
    queueMicrotask(() => input.select());
    return [form];
  });
}

/**
 * Ask whether to do something.
 * @param {string} title
 * @param {{text: string, button: string, danger?: boolean}} facts
 * @returns {Promise<boolean>}
 */
export async function askWhether(title, facts) {
  const answer = await openDialog(title, (close) => [
    h("p", null, facts.text),
    buttons(() => close(false), h("button", { type: "button", class: facts.danger ? "danger" : "primary", autofocus: true, onclick: () => close(true) }, facts.button)),
  ]);
  return answer === true;
}

/**
 * The row of buttons at the end of a dialog.
 * @param {() => void} cancel
 * @param {...HTMLElement} main
 */
export function buttons(cancel, ...main) {
  return h("div", { class: "buttons" }, h("button", { type: "button", onclick: cancel }, t("cancel")), ...main);
}

/**
 * Say something shortly at the edge of the page, perhaps with something to do about it: that ends with the screen, unless
 * it `lasts`.
 * @param {string} text
 * @param {{action?: string, run?: () => void, kind?: "info"|"error", seconds?: number, lasts?: boolean}} [facts]
 */
export function toast(text, facts = {}) {
  const place = document.getElementById("toasts");
  const message = h("div", { class: `toast ${facts.kind ?? "info"}`, "data-ends": facts.action !== undefined && !facts.lasts, role: facts.kind === "error" ? "alert" : null }, h("span", { dir: "auto" }, text));
  const end = () => message.remove();
  if (facts.action) message.append(h("button", { type: "button", onclick: () => (end(), facts.run?.()) }, facts.action));
  message.append(h("button", { type: "button", class: "plain square", "aria-label": t("close"), onclick: end }, icon("close")));
  place?.append(message);
  while (place && place.childElementCount > 4) place.firstElementChild?.remove();
  let timer = setTimeout(end, (facts.seconds ?? (facts.action ? 12 : 6)) * 1000);
  message.addEventListener("pointerenter", () => clearTimeout(timer));
  message.addEventListener("focusin", () => clearTimeout(timer));
  message.addEventListener("pointerleave", () => (timer = setTimeout(end, 4000)));
}

/** The screen is left: what its messages offer to do is not to be done on another. */
export function endToasts() {
  for (const message of document.querySelectorAll(".toast[data-ends]")) message.remove();
}

/** The screen is left: nothing of it stands before the next one, which could not be used. */
export function endDialogs() {
  for (const dialog of /** @type {NodeListOf<HTMLDialogElement>} */ (document.querySelectorAll("dialog[open]"))) dialog.close();
}

/**
 * Put a text into the clipboard.
 * @param {string} text
 */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast(t("conflict.copied"));
  } catch {
    toast(text, { seconds: 30 }); // the clipboard is denied: it can be taken from here
  }
}

/**
 * Show a secret that nobody can show again.
 * @param {string} title
 * @param {string} secret
 * @param {string} label
 */
export function showSecret(title, secret, label) {
  return openDialog(title, (close) => {
    const field = h("input", { id: "secret", readonly: true, value: secret, dir: "ltr", class: "secret", onfocus: () => field.select() });
    return [
      h("label", { for: "secret" }, label),
      h("div", { class: "row" }, field, h("button", { type: "button", class: "primary", autofocus: true, onclick: () => copyText(secret) }, icon("copy"), t("copy"))),
      h("p", { class: "hint" }, t("secret.once")),
      h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => close() }, t("close"))),
    ]; // prettier-ignore
  });
}

/**
 * Ask for several things at once.
 * @param {string} title
 * @param {string} button
 * @param {() => (Node|null)[]} fields Labels and fields.
 * @param {() => Promise<any>} run With what they hold; where it fails, the dialog stays and says so.
 * @returns {Promise<any>} What `run` has given; undefined if it was dismissed.
 */
export function askForm(title, button, fields, run) {
  return openDialog(title, (close) => {
    const fault = h("p", { class: "fault", role: "alert", dir: "auto" });
    const main = h("button", { class: "primary" }, button);
    const send = async (/** @type {Event} */ event) => {
      event.preventDefault();
      main.disabled = true;
      fault.textContent = "";
      try {
        close((await run()) ?? true);
      } catch (error) {
        fault.textContent = faultText(error);
        if (!(error instanceof Problem || error instanceof Offline)) throw error;
      } finally {
        main.disabled = false;
      }
    };
    return [h("form", { class: "stack", onsubmit: send }, fields(), fault, buttons(() => close(), main))];
  });
}

/**
 * Say that something failed, with what to do next.
 * @param {unknown} error
 */
export function tellFault(error) {
  if (error instanceof DOMException && error.name === "AbortError") return;
  toast(faultText(error), { kind: "error", seconds: 10 });
  if (!(error instanceof Problem || error instanceof Offline)) throw error;
}

/**
 * @param {unknown} error
 * @returns {string}
 */
export function faultText(error) {
  if (error instanceof Offline) return t("fault.offline");
  if (error instanceof Problem) return error.hint ? `${error.message} – ${error.hint}` : error.message;
  return String(error instanceof Error ? error.message : error);
}

/**
 * What went wrong with a page or a job: in the words of the page, and in those of the server, which name what it met.
 * @param {{kind?: string, message: string, hint?: string|null}} fault
 * @returns {(Node|string)[]}
 */
export function faultParts({ kind, message, hint }) {
  return [`${faultWords(kind)} `, h("small", { lang: "en", dir: "auto" }, hint ? `${message} – ${hint}` : message)];
}

/**
 * Tell screen readers.
 * @param {string} text
 */
export function announce(text) {
  const place = document.getElementById("announcer");
  if (place) place.textContent = text;
}

/**
 * A button that opens a menu.
 * @param {Node|string} label
 * @param {{label: string, run: () => void, danger?: boolean, icon?: Parameters<typeof icon>[0]}[]} entries
 * @param {{name?: string, class?: string, key?: string}} [facts]
 */
export function menuButton(label, entries, facts = {}) {
  const id = `menu-${Math.random().toString(36).slice(2)}`;
  const menu = h("div", { class: "menu", id, popover: "auto", role: "menu" });
  const items = entries.map((entry) =>
    h("button", {
      type: "button", role: "menuitem", tabindex: "-1", class: entry.danger ? "danger-text" : null,
      onclick: () => { menu.hidePopover(); entry.run(); },
    }, entry.icon ? icon(entry.icon) : null, entry.label),
  ); // prettier-ignore
  menu.append(...items);
  items[0]?.setAttribute("autofocus", ""); // at once: the event that tells of the opening comes later than the next key
  const button = h("button", { type: "button", class: facts.class ?? "plain", "aria-haspopup": "menu", popovertarget: id, "aria-label": facts.name ?? null, "data-key": facts.key ?? null }, label);
  menu.addEventListener("toggle", (event) => {
    const isOpen = /** @type {ToggleEvent} */ (event).newState === "open";
    button.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) return;
    const box = button.getBoundingClientRect();
    menu.style.top = `${Math.min(box.bottom + 4, innerHeight - menu.offsetHeight - 8)}px`;
    menu.style.left = `${Math.max(8, Math.min(box.left, innerWidth - menu.offsetWidth - 8))}px`;
  });
  menu.addEventListener("keydown", (event) => {
    const at = items.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    items[(to + items.length) % items.length].focus();
  });
  return h("span", { class: "menu-holder" }, button, menu);
}
