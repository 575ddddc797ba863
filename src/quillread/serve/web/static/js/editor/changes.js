// What was changed on a page being edited, and how to undo it.

/**
 * @typedef {object} Step A change of a text.
 * @property {number} id
 * @property {string} before
 * @property {string} after
 * @property {boolean} wasChecked
 * @property {boolean} isChecked
 * @property {number} time
 */

/** @typedef {{id: number, caret: number}} Place Where something was taken back. */
/** @typedef {() => Promise<Place|null>} Reversal Takes back a change of the layout that was made in the text. */

export class Changes {
  /** @param {import("./sheet.js").Sheet} sheet */
  constructor(sheet) {
    this.sheet = sheet;
    /** @type {(Step|Reversal)[]} */
    this.done = [];
    /** @type {Step[]} */
    this.undone = [];
  }

  /**
   * @param {Step} step
   * @returns {Step} That it is part of.
   */
  note(step) {
    const last = this.done.at(-1);
    this.undone.length = 0;
    if (last && isStep(last) && last.id === step.id && last.after === step.before && last.isChecked === step.isChecked) {
      if (step.time > 0 && step.time - last.time < 800 && step.before !== step.after && !/\s$/u.test(step.before)) {
        return Object.assign(last, { after: step.after, time: step.time });
      }
    }
    this.done.push(step);
    return step;
  }

  /**
   * A change of the layout was made in the text.
   * @param {Reversal} reversal
   */
  noteLayout(reversal) {
    this.undone.length = 0;
    this.done.push(reversal);
  }

  /** Whether the last change is one of the layout. */
  get endsWithLayout() {
    const last = this.done.at(-1);
    return last !== undefined && !isStep(last);
  }

  /**
   * Take back the last change that still stands; none that is made after this was asked for.
   * @returns {Promise<Place|null>} Where.
   */
  undo() {
    const next = taker(this.done);
    let step = next();
    return this.sheet.inTurn(async () => {
      for (; step; step = next()) {
        if (!isStep(step)) return step();
        if (!this.sheet.stands(step.id, step.after, step.isChecked)) continue;
        this.undone.push(step);
        return this.put(step);
      }
      return null;
    });
  }

  /**
   * Take back certain changes and no others.
   * @param {(Step|null)[]} steps In the order in which they were made.
   */
  takeBack(steps) {
    for (const step of [...steps].reverse()) {
      if (!step || !this.done.includes(step) || !this.sheet.stands(step.id, step.after, step.isChecked)) continue;
      this.done.splice(this.done.indexOf(step), 1);
      this.put(step);
    }
  }

  /** @returns {Promise<Place|null>} Where something was done again. */
  redo() {
    const next = taker(this.undone);
    let step = next();
    return this.sheet.inTurn(() => {
      for (; step; step = next()) {
        if (!this.sheet.stands(step.id, step.before, step.wasChecked)) continue;
        this.done.push(step);
        this.sheet.edit(step.id, { text: step.after, checked: step.isChecked }, { silent: true });
        return { id: step.id, caret: changeEnd(step.before, step.after) };
      }
      return null;
    });
  }

  /**
   * Put a line back to where a step began.
   * @param {Step} step
   * @returns {Place}
   */
  put({ id, before, after, wasChecked }) {
    this.sheet.edit(id, { text: before, checked: wasChecked }, { silent: true });
    return { id, caret: changeEnd(after, before) };
  }
}

/**
 * @param {Step|Reversal} change
 * @returns {change is Step}
 */
const isStep = (change) => typeof change !== "function";

/**
 * Takes the last of a list as it is now, and with each call the one before; what is added or taken meanwhile is skipped.
 * @template T
 * @param {T[]} list
 * @returns {() => T|undefined}
 */
function taker(list) {
  const rest = [...list];
  return () => {
    for (let one = rest.pop(); one !== undefined; one = rest.pop()) {
      const at = list.indexOf(one);
      if (at >= 0) return list.splice(at, 1)[0];
    }
    return undefined;
  };
}

/**
 * Where a change ends in the text after it.
 * @param {string} before
 * @param {string} after
 */
function changeEnd(before, after) {
  let tail = 0;
  while (tail < Math.min(before.length, after.length) && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail++;
  return after.length - tail;
}
