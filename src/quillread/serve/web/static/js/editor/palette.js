// The special characters of a collection, edited as text.

import { h } from "../dom.js";
import { call, get } from "../api.js";
import { buttons, openDialog, tellFault } from "../dialog.js";
import { t } from "../i18n.js";

/**
 * @param {import("../types.js").Collection} collection
 * @param {string} standard
 * @returns {Promise<import("../types.js").Collection|undefined>}
 */
export function editPalette(collection, standard) {
  return openDialog(t("palette.title"), (close) => {
    const text = h("textarea", { id: "palette-text", class: "palette-text", rows: "5", spellcheck: "false", autofocus: true, maxlength: "4000", value: collection.settings.palette ?? standard });
    const save = async (/** @type {string|null} */ palette) => {
      try {
        const { settings } = await get(`collections/${collection.id}`); // others may have set something else
        delete settings.palette;
        if (palette !== null) settings.palette = palette;
        close(await call("PATCH", `collections/${collection.id}`, { body: { settings } }));
      } catch (error) {
        tellFault(error);
      }
    };
    const form = h("form", { class: "stack", onsubmit: (/** @type {Event} */ event) => (event.preventDefault(), save(text.value.trim())) },
      h("label", { for: "palette-text" }, t("palette.label")),
      text,
      h("button", { type: "button", class: "plain small", onclick: () => save(null) }, t("palette.standard")),
      buttons(() => close(), h("button", { class: "primary" }, t("save")))); // prettier-ignore
    return [form];
  });
}
