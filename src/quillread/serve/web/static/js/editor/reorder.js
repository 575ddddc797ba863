// Lines are put in another order by dragging their numbers; with keys, the layout has Alt and the arrows for it.

/**
 * @param {HTMLElement|null} list Of the lines.
 * @param {AbortSignal} signal Ends it.
 * @param {(from: number, to: number) => void} move
 */
export function acceptReorder(list, signal, move) {
  list?.addEventListener("pointerdown", (event) => {
    const number = /** @type {HTMLElement} */ (event.target).closest(".number");
    const item = number?.closest("li");
    if (!item || event.button !== 0) return;
    event.preventDefault();
    event.stopPropagation();
    drag(list, item, move);
  }, { signal, capture: true }); // prettier-ignore
}

/**
 * @param {HTMLElement} list
 * @param {HTMLLIElement} item
 * @param {(from: number, to: number) => void} move
 */
function drag(list, item, move) {
  const ends = new AbortController();
  /** @type {HTMLLIElement|null} */
  let over = null;
  let isBelow = false;
  item.classList.add("dragged");

  const clear = () => over?.classList.remove("drop-before", "drop-after");
  addEventListener("pointermove", (event) => {
    clear();
    const found = document.elementFromPoint(event.clientX, event.clientY)?.closest("li.line");
    over = found instanceof HTMLLIElement && found !== item ? found : null;
    if (!over) return;
    const box = over.getBoundingClientRect();
    isBelow = event.clientY > box.top + box.height / 2;
    over.classList.add(isBelow ? "drop-after" : "drop-before");
  }, { signal: ends.signal }); // prettier-ignore

  const stop = (/** @type {boolean} */ drop) => {
    ends.abort();
    clear();
    item.classList.remove("dragged");
    if (!drop || !over) return;
    const items = [...list.children];
    const from = items.indexOf(item);
    const to = items.indexOf(over) + Number(isBelow);
    move(from, to > from ? to - 1 : to);
  };
  addEventListener("pointerup", () => stop(true), { signal: ends.signal });
  addEventListener("pointercancel", () => stop(false), { signal: ends.signal });
}
