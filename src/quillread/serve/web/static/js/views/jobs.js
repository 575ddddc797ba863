// Work that goes on behind: a button with its progress, and a panel with each job.

import { fill, h, icon } from "../dom.js";
import { address, all, call, get } from "../api.js";
import { faultParts, openDialog, tellFault, toast } from "../dialog.js";
import { duration, t } from "../i18n.js";
import { mayAs, whoAmI } from "../session.js";

/** @typedef {import("../types.js").Job} Job */

/** @type {Map<number, Job>} */
const jobs = new Map();
const heard = new EventTarget();
/** In which role one sees a collection. @type {Map<number, string>} */
const roles = new Map();

/**
 * A job was told of.
 * @param {string} kind Of the event.
 * @param {any} data
 */
export function hearJob(kind, data) {
  if (!kind.startsWith("job.") || (whoAmI().link && data.kind !== "export")) return;
  const before = jobs.get(data.job);
  if (before) Object.assign(before, { state: data.state, total: data.total, done: data.done, failed: data.failed, seconds_left: data.seconds_left ?? null });
  if (!before || kind === "job.finished") refresh(data.job);
  heard.dispatchEvent(new Event("change"));
}

/** @param {number} id */
async function refresh(id) {
  try {
    jobs.set(id, await get(`jobs/${id}`));
    heard.dispatchEvent(new Event("change"));
  } catch {
    // of a collection that one may not see, or gone
  }
}

/** @param {Job} job */
export function noteJob(job) {
  jobs.set(job.id, job);
  heard.dispatchEvent(new Event("change"));
}

export const isActive = (/** @type {Job} */ job) => job.state === "waiting" || job.state === "running";

/** @param {number|null} collection */
export function jobsButton(collection) {
  const label = h("span", { class: "wide-only" });
  const dot = h("span", { class: "ring" });
  const button = h("button", { type: "button", class: "plain jobs-button", onclick: () => showJobs(collection) }, icon("jobs"), label, dot);
  const draw = () => {
    if (!button.isConnected && button.dataset.was) return heard.removeEventListener("change", draw);
    const active = [...jobs.values()].filter(isActive);
    const [done, total] = active.reduce(([d, n], job) => [d + job.done, n + Math.max(job.total, 1)], [0, 0]);
    button.dataset.busy = String(active.length > 0);
    const shown = active.length ? t("jobs.progress", { done, total }) : t("jobs.title");
    // Who speaks to the machine says what is to be seen, so the name holds it.
    button.setAttribute("aria-label", active.length ? `${t("jobs.running", { n: active.length })}: ${shown}` : shown);
    fill(label, shown);
    dot.style.setProperty("--done", String(total ? done / total : 0));
    if (button.isConnected) button.dataset.was = "1";
  };
  heard.addEventListener("change", draw);
  draw();
  loadJobs(collection).catch(() => {});
  return button;
}

/** @param {number|null} collection */
export async function loadJobs(collection) {
  const { items } = await get("jobs", { collection_id: collection, limit: 50 });
  for (const job of items) jobs.set(job.id, job);
  heard.dispatchEvent(new Event("change"));
}

/** @param {number|null} collection */
export async function showJobs(collection) {
  await loadJobs(collection).catch(tellFault);
  for (const one of await all("collections").catch(() => [])) roles.set(one.id, one.role);
  const list = h("ol", { class: "jobs" });
  const draw = () => {
    const shown = [...jobs.values()].filter((job) => collection === null || job.collection_id === collection).sort((a, b) => b.id - a.id);
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.key : undefined;
    fill(list, shown.length ? shown.map(jobItem) : h("li", { class: "none" }, t("jobs.none")));
    if (focused) /** @type {HTMLElement|null} */ (list.querySelector(`[data-key="${focused}"]`))?.focus();
  };
  draw();
  heard.addEventListener("change", draw);
  await openDialog(t("jobs.title"), () => [list], { class: "wide" });
  heard.removeEventListener("change", draw);
}

/** @param {Job} job */
function jobItem(job) {
  const act = async (/** @type {string} */ what) => {
    try {
      const answer = await call("POST", `jobs/${job.id}/${what}`);
      if (answer?.id) noteJob(answer);
      else await refresh(job.id);
    } catch (error) {
      tellFault(error);
    }
  };
  const me = whoAmI();
  const isOwn = job.user_name === me.name && !me.link;
  const may = isOwn || mayAs(job.collection_id === null ? me.role : (roles.get(job.collection_id) ?? "none"), job.collection_id === null ? "admin" : "editor");
  const button = (/** @type {string} */ what, /** @type {string} */ label) => h("button", { type: "button", class: "small", "data-key": `${job.id}-${what}`, onclick: () => act(what) }, label);
  const kind = t(`job.${job.kind}`);
  const title = job.files && job.files > 1 ? t("job.more", { name: job.title, n: job.files - 1 }) : job.title;
  return h("li", { class: `job ${job.state}` },
    h("div", { class: "job-title" }, title ? h("span", { class: "hint" }, kind) : null, h("strong", { dir: "auto" }, title || kind), h("span", { class: "job-state" }, stateText(job))),
    isActive(job) ? h("progress", { max: String(Math.max(job.total, 1)), value: job.total ? job.done : null, "aria-label": title || kind }) : null,
    job.fault ? h("p", { class: "fault" }, faultParts(job.fault)) : null,
    h("div", { class: "buttons start" },
      may && isActive(job) && !job.cancelled ? button("cancel", t("jobs.cancel")) : null,
      may && job.failed && !isActive(job) && !job.cancelled ? button("retry", t("jobs.retry")) : null,
      job.kind === "export" && job.state === "done" ? h("a", { class: "button small", href: address(`jobs/${job.id}/result`), download: "" }, icon("download"), t("jobs.result")) : null)); // prettier-ignore
}

/** @param {Job} job */
function stateText(job) {
  if (!isActive(job)) return t(`jobs.${job.state}`, { failed: job.failed, total: job.total, n: job.failed });
  if (job.cancelled) return t("jobs.stopping");
  const left = job.seconds_left ? ` · ${t("jobs.left", { time: duration(job.seconds_left) })}` : "";
  return job.total ? `${t("jobs.progress", { done: job.done, total: job.total })}${left}` : t("jobs.waiting");
}

/**
 * Say that a job was begun.
 * @param {Job} job
 * @param {string} text
 */
export function tellJob(job, text) {
  noteJob(job);
  toast(text, { action: t("jobs.show"), run: () => showJobs(job.collection_id), lasts: true });
}
