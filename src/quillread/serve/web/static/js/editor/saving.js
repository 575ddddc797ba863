// Whether all is saved: a button that says so, and behind it the edits that need a person, of whatever page.

import { fill, h, icon } from "../dom.js";
import { announce, openDialog } from "../dialog.js";
import { t } from "../i18n.js";
import { outbox } from "../outbox.js";
import { noteOf } from "./conflict.js";

/** Save now. */
export function save() {
  outbox.tryAgain();
  if (outbox.state === "saved") announce(t("save.saved"));
}

/**
 * @param {AbortSignal} signal Ends it.
 */
export function saveButton(signal) {
  const button = h("button", { type: "button", class: "plain save-state", onclick: () => (outbox.open.length ? showOpenEdits() : save()) });
  function show() {
    const { state } = outbox;
    const n = outbox.edits.size;
    button.dataset.state = state;
    fill(button, state === "saved" ? icon("check") : state === "saving" || state === "waiting" ? h("span", { class: "dot" }) : icon("warn"), h("span", null, t(`save.${state}`, { n })));
    button.title = t(`save.${state}.more`, { n });
  }
  outbox.addEventListener("state", show, { signal });
  show();
  return button;
}

/** Edits that need a person, until none does. */
function showOpenEdits() {
  const ends = new AbortController();
  const list = h("ol", { class: "open-edits", tabindex: "-1" });
  let shown = "";
  const closed = openDialog(t("edits.title"), (close) => {
    const draw = () => {
      const { open } = outbox;
      const wanted = open.map((edit) => `${edit.line} ${edit.theirs?.revision} ${edit.refused}`).join();
      if (wanted === shown) return;
      shown = wanted;
      fill(list, open.map((edit) => h("li", null,
        h("p", { class: "hint" }, t("edits.mine")),
        h("p", { class: "their-text", dir: "auto" }, edit.text),
        noteOf(edit, () => list.focus()),
        h("a", { class: "button plain", href: `#/page/${edit.page}?line=${edit.line}`, onclick: () => close() }, t("edits.go"))))); // prettier-ignore
      if (!open.length) close();
    };
    outbox.addEventListener("state", draw, { signal: ends.signal });
    draw();
    return [list];
  });
  closed.finally(() => ends.abort());
}
