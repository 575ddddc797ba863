// What all screens have: the bar above, and the menu of language and theme.

import { h, icon } from "../dom.js";
import { call } from "../api.js";
import { menuButton, tellFault } from "../dialog.js";
import { chooseLanguage, currentLanguage, LANGUAGES, t } from "../i18n.js";
import { outbox } from "../outbox.js";
import { setTheme, theme, whoAmI } from "../session.js";
import { jobsButton } from "./jobs.js";

/** The menu of language, theme and account. */
export function settingsMenu() {
  const me = whoAmI();
  const tick = (/** @type {boolean} */ on) => (on ? { icon: /** @type {const} */ ("check") } : {});
  return menuButton(icon("gear"), [
    ...(me.name && !me.link ? [{ label: t("account.title"), run: () => (location.hash = "#/account") }] : []),
    ...(/** @type {const} */ (["auto", "light", "dark"])).map((name) => ({ label: t(`theme.${name}`), ...tick(theme() === name), run: () => setTheme(name) })),
    ...Object.entries(LANGUAGES).map(([code, name]) => ({ label: name, ...tick(currentLanguage() === code), run: () => chooseLanguage(code) })),
    ...(me.local ? [] : [{ label: me.link ? t("link.leave") : t("logout", { name: me.name }), run: () => void leave().catch(tellFault) }]),
  ], { name: t("settings.title"), class: "plain square" }); // prettier-ignore
}

async function leave() {
  const { link } = whoAmI();
  if (!link) await outbox.settle(); // nobody else sends them
  await call("POST", "logout");
  if (!link) await call("POST", "logout", { proves: true }).catch(() => {}); // the first may have left a link beside the login
  location.hash = link ? "#/" : "#/login";
  location.reload();
}

/** Says that nothing can be changed here. */
export const readOnlyMark = () => h("span", { class: "read-only" }, icon("eye"), t("readOnly"));

/**
 * The bar of a screen.
 * @param {{title: string, back?: string, backLabel?: string, actions?: (Node|null)[], collection?: number|null}} facts
 */
export function shellBar(facts) {
  document.title = `${facts.title} · Quillread`;
  return h("header", { class: "bar" },
    facts.back ? h("a", { class: "button plain square", href: facts.back, "aria-label": facts.backLabel ?? t("back"), title: facts.backLabel ?? t("back") }, icon("back")) : h("a", { class: "brand", href: "#/", "aria-label": t("collections.title") }, logo()),
    h("h1", { dir: "auto" }, facts.title),
    h("div", { class: "push" }),
    ...(facts.actions ?? []),
    jobsButton(facts.collection ?? null),
    settingsMenu()); // prettier-ignore
}

function logo() {
  return h("img", { src: new URL("../../icon.svg", import.meta.url).href, alt: "", width: "28", height: "28" });
}

/**
 * The bar where nobody is logged in.
 * @param {string} title
 */
export function shellMini(title) {
  document.title = `${title} · Quillread`;
  return h("header", { class: "bar" }, h("span", { class: "brand" }, logo()), h("span", { class: "bar-name" }, "Quillread"), h("div", { class: "push" }), settingsMenu());
}
