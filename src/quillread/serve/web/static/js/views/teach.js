// Teaching: what there is to learn from, the training as it runs, and what it brought.

import { fill, h, icon, svg } from "../dom.js";
import { call, get } from "../api.js";
import { faultParts, tellFault, toast } from "../dialog.js";
import { watch } from "../events.js";
import { duration, number, percent, t } from "../i18n.js";
import { mayAs } from "../session.js";
import { readAgain } from "./bulk.js";
import { hearJob, isActive } from "./jobs.js";
import { shellBar } from "./shell.js";

/** @typedef {import("../types.js").Job} Job */
/** @typedef {import("../types.js").Collection} Collection */

/**
 * @typedef {object} Lesson
 * @property {number} checked_lines
 * @property {number} held_back
 * @property {number} fewest
 * @property {boolean} can_train
 * @property {string|null} hint
 * @property {string|null} model
 * @property {{lines: number, cer_factor: number}[]} curve
 */

const ENOUGH = 20; // lines, below which teaching brings little

class Teaching {
  /**
   * @param {HTMLElement} root
   * @param {number} id
   */
  constructor(root, id) {
    this.root = root;
    this.id = id;
    this.timer = 0;
    this.isClosed = false;
  }

  async open() {
    /** @type {Collection} */
    this.collection = await get(`collections/${this.id}`);
    if (!mayAs(this.collection.role, "editor")) return location.replace(`#/collection/${this.id}`);
    this.main = h("main", { class: "page narrow teach" });
    fill(this.root, shellBar({ title: `${t("teach.title")} · ${this.collection.name}`, back: `#/collection/${this.id}`, backLabel: this.collection.name, collection: this.id }), this.main);
    this.stop = watch(this.id, (kind, data) => {
      hearJob(kind, data);
      if (kind.startsWith("job.") && data.kind === "train") this.soon(kind === "job.finished" ? 0 : 700);
    }, (missed) => missed && this.soon(0)); // prettier-ignore
    await this.load();
  }

  /** @param {number} wait */
  soon(wait) {
    clearTimeout(this.timer);
    if (!this.isClosed) this.timer = setTimeout(() => this.load().catch(() => this.soon(3000)), wait);
  }

  async load() {
    /** @type {[Lesson, {items: Job[]}, {items: any[]}]} */
    const [lesson, jobs, models] = await Promise.all([get(`collections/${this.id}/teach`), get("jobs", { collection_id: this.id, kind: "train", limit: 20 }), get("models")]);
    const collection = await get(`collections/${this.id}`);
    if (this.isClosed) return; // which was left meanwhile
    this.lesson = lesson;
    this.collection = collection;
    const running = jobs.items.find(isActive);
    const last = jobs.items.find((job) => !isActive(job)); // the latest comes first
    const offered = models.items.filter((model) => model.builtin || (model.collection_id === this.id && model.card));
    const focus = document.activeElement instanceof HTMLElement ? document.activeElement.id : "";
    fill(/** @type {HTMLElement} */ (this.main),
      this.numbers(lesson),
      running ? this.progress(running) : null,
      !running && last && last.state !== "done" ? this.ended(last) : null,
      !running && last?.state === "done" && last.result?.card ? this.card(last.result) : null,
      running ? null : this.begin(lesson),
      this.models(offered)); // prettier-ignore
    if (focus) document.getElementById(focus)?.focus();
    if (running) this.soon(2000);
  }

  /** @param {Lesson} lesson */
  numbers(lesson) {
    return h("section", { class: "numbers" },
      this.figure(number(lesson.checked_lines), t("teach.checked", { n: lesson.checked_lines })),
      this.figure(number(lesson.held_back), t("teach.heldBack")),
      h("div", { class: "forecast" }, chart(lesson), h("p", { class: "hint" }, forecast(lesson)))); // prettier-ignore
  }

  /**
   * @param {string} value
   * @param {string} label
   * @param {string} [range]
   */
  figure(value, label, range) {
    return h("div", { class: "figure" }, h("strong", null, value), h("span", null, label), range ? h("span", { class: "range" }, range) : null);
  }

  /** @param {Lesson} lesson */
  begin(lesson) {
    if (!lesson.can_train) return h("section", { class: "panel" }, h("h2", null, t("teach.cannot")), h("p", null, h("code", null, lesson.hint ?? "pip install 'quillread[train]'")));
    const few = lesson.checked_lines < ENOUGH;
    const tooFew = lesson.checked_lines < lesson.fewest;
    return h("section", { class: "panel" },
      h("h2", null, t("teach.heading")),
      h("p", null, t("teach.how")),
      lesson.model === null ? h("p", { class: "doubts" }, t("teach.chooseOne")) : tooFew ? h("p", { class: "doubts" }, t("teach.tooFew", { n: lesson.fewest - lesson.checked_lines })) : few ? h("p", { class: "doubts" }, t("teach.few", { n: ENOUGH - lesson.checked_lines })) : null,
      h("div", { class: "buttons start" },
        h("button", { type: "button", id: "teach-begin", class: "primary", disabled: tooFew || lesson.model === null, onclick: () => this.start() }, icon("teach"), t("teach.begin")),
        h("a", { class: "button", href: `#/collection/${this.id}/review` }, t("teach.more")))); // prettier-ignore
  }

  async start() {
    try {
      await call("POST", `collections/${this.id}/teach`, { body: {} });
      await this.load();
    } catch (error) {
      tellFault(error);
    }
  }

  /** @param {Job} job */
  progress(job) {
    const at = job.progress ?? {};
    const left = at.measuring ? null : (at.seconds_left ?? job.seconds_left);
    const title = t(at.measuring ? "teach.measuring" : "teach.running");
    const steps = at.measuring ? t("teach.measuringHow") : at.steps ? t("jobs.progress", { done: at.step, total: at.steps }) : t("jobs.waiting");
    return h("section", { class: "panel" },
      h("h2", null, title),
      h("progress", { max: String(at.steps || 1), value: at.steps && !at.measuring ? String(at.step) : null, "aria-label": title }),
      h("p", { role: "status" }, [steps, left ? t("jobs.left", { time: duration(left) }) : ""].filter(Boolean).join(" · ")),
      at.history?.length ? liveCurve(at.history, at.cer_before) : null,
      h("div", { class: "buttons start" }, job.cancelled ? h("span", { class: "hint" }, t("jobs.stopping")) : h("button", { type: "button", id: "teach-stop", onclick: () => call("POST", `jobs/${job.id}/cancel`).then(() => this.load(), tellFault) }, t("jobs.cancel")))); // prettier-ignore
  }

  /** @param {Job} job */
  ended(job) {
    // One that was stopped is taken up by teaching again; one that failed by trying its tasks again.
    const goOn = () => (job.state === "cancelled" ? this.start() : call("POST", `jobs/${job.id}/retry`).then(() => this.load(), tellFault));
    return h("section", { class: "panel" },
      h("h2", null, job.state === "cancelled" ? t("teach.stopped") : t("teach.failed")),
      job.fault ? h("p", null, faultParts(job.fault)) : null,
      h("div", { class: "buttons start" }, h("button", { type: "button", onclick: goOn }, t("teach.goOn")))); // prettier-ignore
  }

  /** @param {Record<string, any>} result */
  card(result) {
    const { card, name } = result; // a model that is not better was not kept, and has no name
    const option = card.better ? full(name) : "";
    const isUsed = card.better && this.isUsed(option);
    return h("section", { class: "panel card-panel" },
      h("h2", { dir: "auto" }, card.better ? t("teach.result", { name: shortOf(name) }) : t("teach.title")),
      h("div", { class: "before-after" },
        this.figure(percent(card.cer_before, 1), t("teach.before"), rangeOf(card.ci95_before)), h("span", { class: "arrow", "aria-hidden": "true" }, "→"), this.figure(percent(card.cer_after, 1), t("teach.after"), rangeOf(card.ci95_after))),
      h("p", { class: "hint" }, t("teach.measured", { lines: card.lines, held: card.held_back, change: signed(card.difference), range: changeOf(card.ci95) })),
      card.better ? null : h("p", { class: "banner bad" }, icon("warn"), h("span", null, t("teach.notBetter"))),
      h("table", { class: "examples" },
        h("thead", null, h("tr", null, [t("teach.truth"), t("teach.before"), t("teach.after")].map((name_) => h("th", { scope: "col" }, name_)))),
        h("tbody", null, (card.examples ?? []).slice(0, 3).map((/** @type {any} */ one) => h("tr", null, [one.truth, one.before, one.after].map((text) => h("td", { dir: "auto" }, text)))))),
      h("div", { class: "buttons start" },
        isUsed ? h("strong", { class: "good" }, icon("check"), t("teach.isUsed")) : null,
        card.better && !isUsed ? h("button", { type: "button", id: "teach-use-reread", class: "primary", onclick: () => this.use(option, true) }, icon("read"), t("teach.useAndRead")) : null,
        card.better && !isUsed ? h("button", { type: "button", id: "teach-use", onclick: () => this.use(option) }, t("teach.use")) : null,
        isUsed ? h("button", { type: "button", id: "teach-reread", class: "primary", onclick: () => readAgain(`collections/${this.id}`, "unchecked") }, icon("read"), t("read.unchecked")) : null)); // prettier-ignore
  }

  /** @param {string} option A model, as options name it. */
  isUsed(option) {
    const models = this.collection?.settings.options?.models ?? [BUILTIN];
    return models.length === 1 && models[0] === option;
  }

  /**
   * @param {string} option A model, as options name it.
   * @param {boolean} [reread] The pages that are not checked.
   */
  async use(option, reread = false) {
    try {
      const { settings } = await get(`collections/${this.id}`);
      const options = { ...settings.options };
      if (option === BUILTIN) delete options.models;
      else options.models = [option];
      await call("PATCH", `collections/${this.id}`, { body: { settings: { ...settings, options } } });
      toast(option === BUILTIN ? t("teach.builtinUsed") : t("teach.nowUsed", { name: shortOf(option) }));
      if (reread) await readAgain(`collections/${this.id}`, "unchecked");
      await this.load();
    } catch (error) {
      tellFault(error);
    }
  }

  /** @param {any[]} offered Those that ship, and those that were taught here. */
  models(offered) {
    const row = (/** @type {any} */ model) => {
      const hint = model.builtin ? SHIPPED[model.name]?.() : model.card.cer_after === undefined ? null : t("teach.cardLine", { before: percent(model.card.cer_before, 1), after: percent(model.card.cer_after, 1), n: model.card.lines }); // prettier-ignore
      return h("li", null,
        h("div", null, h("strong", { dir: "auto" }, model.name === BUILTIN ? t("teach.builtin") : shortOf(model.name)), hint ? h("p", { class: "hint" }, hint) : null),
        h("div", { class: "push" }),
        this.isUsed(model.name) ? h("span", { class: "good" }, icon("check"), t("teach.isUsed")) : h("button", { type: "button", class: "small", onclick: () => this.use(model.name) }, t("teach.use"))); // prettier-ignore
    };
    return h("section", null, h("h2", null, t("teach.models")), h("ul", { class: "plain-list" }, offered.map(row)));
  }

  close() {
    this.isClosed = true;
    clearTimeout(this.timer);
    this.stop?.();
  }
}

const BUILTIN = "builtin";

/** @type {Record<string, () => string>} What the models that ship are for; of any others there is nothing to say. */
const SHIPPED = { auto: () => t("teach.auto"), medieval: () => t("teach.medieval"), open: () => t("teach.open") };

/** @param {string} name */
const full = (name) => (name.startsWith("archive:") ? name : `archive:${name}`);

/** @param {string} name */
const shortOf = (name) => name.replace(/^archive:/, "");

/** @param {[number|null, number|null]|undefined} range */
function rangeOf(range) {
  const [low, high] = range ?? [null, null];
  return low === null || high === null ? "" : `${percent(low, 1)} – ${percent(high, 1)}`;
}

/** @param {[number, number]} range Of a change. */
const changeOf = (range) => `${signed(range[0])} … ${signed(range[1])}`;

/** @param {number} value */
const signed = (value) => percent(value, 1, "exceptZero");

/**
 * What is to be expected, in words.
 * @param {Lesson} lesson
 */
function forecast(lesson) {
  const now = factorAt(lesson.curve, lesson.checked_lines - lesson.held_back);
  const more = factorAt(lesson.curve, lesson.checked_lines - lesson.held_back + 80);
  if (!lesson.curve.length) return "";
  if (now > 0.99) return t("teach.forecastFirst", { more: percent(1 - more) });
  return t("teach.forecast", { now: percent(1 - now), more: percent(1 - more) });
}

/**
 * @param {Lesson["curve"]} curve
 * @param {number} lines
 */
function factorAt(curve, lines) {
  const points = [{ lines: 0, cer_factor: 1 }, ...curve].sort((a, b) => a.lines - b.lines);
  const next = points.findIndex((point) => point.lines >= lines);
  if (next < 0) return points[points.length - 1].cer_factor;
  if (next === 0) return points[0].cer_factor;
  const [a, b] = [points[next - 1], points[next]];
  return a.cer_factor + ((b.cer_factor - a.cer_factor) * (lines - a.lines)) / Math.max(1, b.lines - a.lines);
}

/** @param {Lesson} lesson */
function chart(lesson) {
  const points = [{ lines: 0, cer_factor: 1 }, ...lesson.curve].sort((a, b) => a.lines - b.lines);
  if (points.length < 2) return null;
  const most = points[points.length - 1].lines;
  const place = (/** @type {number} */ lines, /** @type {number} */ factor) => `${38 + (Math.min(lines, most) / most) * 252},${100 - factor * 85}`;
  const here = Math.max(0, lesson.checked_lines - lesson.held_back);
  const [x, y] = place(here, factorAt(lesson.curve, here)).split(",");
  return svg("svg", { viewBox: "0 0 300 122", class: "chart", role: "img", "aria-label": t("teach.chart") },
    svg("path", { class: "axis", d: "M38 8V100H292" }),
    svg("polyline", { class: "curve", points: points.map((point) => place(point.lines, point.cer_factor)).join(" ") }),
    svg("circle", { class: "here", cx: x, cy: y, r: 5 }),
    svg("text", { x: 38, y: 116 }, "0"), svg("text", { x: 292, y: 116, "text-anchor": "end" }, t("count.lines", { n: most })),
    svg("text", { x: 34, y: 20, "text-anchor": "end" }, percent(1)), svg("text", { x: 34, y: 103, "text-anchor": "end" }, "0")); // prettier-ignore
}

/**
 * The error on the lines held back, as the training goes on.
 * @param {{seconds: number, cer: number}[]} history
 * @param {number|undefined} before
 */
function liveCurve(history, before) {
  const points = before === undefined ? history : [{ seconds: 0, cer: before }, ...history];
  const last = points[points.length - 1];
  const longest = Math.max(...points.map((point) => point.seconds), 1);
  const top = Math.max(...points.map((point) => point.cer), 0.01) * 1.1;
  const place = (/** @type {{seconds: number, cer: number}} */ point) => `${40 + (point.seconds / longest) * 250},${100 - (point.cer / top) * 90}`;
  return svg("svg", { viewBox: "0 0 300 122", class: "chart live", role: "img", "aria-label": t("teach.live", { cer: percent(last.cer, 1) }) },
    svg("path", { class: "axis", d: "M40 8V100H292" }),
    svg("polyline", { class: "curve", points: points.map(place).join(" ") }),
    svg("text", { x: 36, y: 18, "text-anchor": "end" }, percent(top, 0)), svg("text", { x: 36, y: 103, "text-anchor": "end" }, "0"),
    svg("text", { x: 292, y: 116, "text-anchor": "end" }, duration(longest)),
    svg("text", { class: "value", x: 292, y: Math.max(14, 94 - (last.cer / top) * 90), "text-anchor": "end" }, percent(last.cer, 1))); // prettier-ignore
}

/** @type {import("../types.js").Show} */
export async function show(root, address) {
  const teaching = new Teaching(root, Number(address.path[1]));
  try {
    await teaching.open();
  } catch (error) {
    teaching.close();
    throw error;
  }
  return { collection: teaching.id, close: () => teaching.close() };
}
