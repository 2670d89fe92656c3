// What the person is about to ask for: kept over a reload, for this tab alone.

import { problemFrom, request } from "./api.js";
import { t } from "./i18n.js";
import { personOf } from "./people.js";
import { readEvents } from "./sse.js";
import { createStore, keep } from "./store.js";

/**
 * @typedef {object} Strengths how strongly one person is heard
 * @property {string} strength
 * @property {Record<string, string>} groups of groups of the identity card, by the model's names of them; 1 where left out
 * @property {string[]} stages of the run's beginning, middle and end
 */
/** Where one of several people is: a box, or a mask as PNG in base64. @typedef {Pick<Api.JobPerson, "box" | "mask">} Place */
/**
 * @typedef {object} Advanced numbers as typed; empty is the model's own choice
 * @property {string} model
 * @property {string} n
 * @property {string} size
 * @property {string} steps
 * @property {string} guidance
 * @property {Strengths[]} strengths of the people, in their order; plain where left out
 * @property {string} seed
 * @property {string} scheduler
 * @property {string} negative
 */
/**
 * @typedef {object} Draft
 * @property {string} idea what follows "Imagine me"
 * @property {string[]} people ids, at most two
 * @property {Place[] | null} places where they are, in their order; side by side where nobody was moved
 * @property {string} style
 * @property {boolean} expand
 * @property {boolean} ground look the idea up on the web first
 * @property {Api.Expansion | null} expansion the scene, with what was changed by hand
 * @property {Api.Expansion | null} written the scene as it was written
 * @property {Api.Touched} touched parts that were changed by hand: they outlive the next idea
 * @property {string} source what the scene was made of: it is stale where that is not `sourceOf` the draft
 * @property {number} turn seed of the scene
 * @property {Advanced} advanced
 */

export const mostPeople = 2;
/** Where the run's beginning, middle and end begin and end. */
export const stageSteps = /** @type {[number, number][]} */ ([[0, 0.3333], [0.3333, 0.6666], [0.6666, 1]]);

/** Whether parts of a run are its beginning, middle and end. @param {Api.JobPerson["stages"]} stages */
export function isThirds(stages) {
  return JSON.stringify(stages?.map((stage) => stage.steps)) === JSON.stringify(stageSteps);
}

export const slots = /** @type {const} */ (["style", "setting", "wardrobe", "light", "camera", "expression", "pose"]);

/** @type {Strengths} */
export const plainStrengths = { strength: "1", groups: {}, stages: ["1", "1", "1"] };
/** @type {Place[]} */
export const sideBySide = [{ box: [0, 0, 0.5, 1] }, { box: [0.5, 0, 1, 1] }];

/** @type {Advanced} */
export const modelsChoice = {
  model: "",
  n: "4",
  size: "",
  steps: "",
  guidance: "",
  strengths: [],
  seed: "",
  scheduler: "",
  negative: "",
};

/** @type {Draft} */
const empty = { idea: "", people: [], places: null, style: "", expand: true, ground: false, expansion: null, written: null, touched: {}, source: "", turn: 0, advanced: modelsChoice };

/** @returns {Draft | null} null in a tab that has asked for nothing yet */
function restored() {
  try {
    const kept = JSON.parse(sessionStorage.getItem("imagine.draft") ?? "null");
    return kept && { ...empty, ...kept, advanced: { ...modelsChoice, ...kept.advanced } };
  } catch {
    return null;
  }
}

const before = restored();
/** Nobody has been chosen, nor left out, in this tab. */
let undecided = !before;

export const draft = createStore(before ?? empty);
draft.watch((now) => keep(sessionStorage, "imagine.draft", JSON.stringify(now)));

/** @param {Partial<Draft>} change */
export function amend(change) {
  draft.set({ ...draft.get(), ...change });
}

/** @param {Partial<Advanced>} change */
export function amendAdvanced(change) {
  amend({ advanced: { ...draft.get().advanced, ...change } });
}

/** Others are in the picture: strengths stay with whoever they are of; somebody alone takes over those of whoever was. @param {string[]} ids */
export function choosePeople(ids) {
  const { people, advanced } = draft.get();
  const before = (/** @type {string} */ id) => (people.includes(id) || ids.length > 1 ? people.indexOf(id) : 0);
  const strengths = ids.length ? ids.map((id) => strengthsAt(advanced, before(id))) : advanced.strengths;
  amend({ people: ids, places: null, advanced: { ...advanced, strengths } });
}

/** @param {Advanced} advanced @param {number} at whose, by their place among the people */
export function strengthsAt(advanced, at) {
  return advanced.strengths[at] ?? plainStrengths;
}

/** No scene: the next one is written anew. @type {Pick<Draft, "expansion" | "written" | "source">} */
export const noScene = { expansion: null, written: null, source: "" };

/** Chooses whoever was drawn last, or was met first, where nothing was decided in this tab. @param {Api.Person[]} known @param {Api.Job[]} had newest first */
export function preselect(known, had) {
  const { people } = draft.get();
  // who was chosen may have been deleted since
  if (people.length ? chosenPeople(draft.get()).length : !undecided) {
    undecided = false;
    return;
  }
  if (!known.length) return;
  undecided = false;
  const last = had.flatMap((job) => job.input.people ?? []).find((one) => personOf(one.person));
  amend({ people: [last?.person ?? known[0].id] });
}

// "me" in the languages of the page; "as a pirate" goes on from "Imagine me"
const aboutMe = /^\s*(as|come|da)\s|(?<![\p{L}\p{N}])(me|my|myself|i|i['’]m|io|mi|mio|mia|miei|mie)(?![\p{L}\p{N}'’])/iu;

/** Whether the words speak of whoever types them. @param {string} idea */
export function speaksOfMe(idea) {
  return aboutMe.test(idea);
}

/** What a scene is made of. @param {Draft} of */
export function sourceOf(of) {
  return JSON.stringify([ideaText(of), of.style, of.expand, of.turn, ...(of.ground ? ["web"] : [])]);
}

/** People that still exist, of those chosen. @param {Draft} of */
export function chosenPeople(of) {
  return of.people.flatMap((id) => personOf(id) ?? []);
}

/** Those of them that the model can draw. @param {Draft} of @param {Api.Model | undefined} model */
export function drawnPeople(of, model) {
  return chosenPeople(of).slice(0, !model ? mostPeople : !model.identity ? 0 : model.identity.regions ? mostPeople : 1);
}

/** The idea as a sentence about "me". @param {Draft} of */
export function ideaText(of) {
  const idea = of.idea.trim();
  const who = chosenPeople(of);
  if (!who.length) return idea;
  const subject = who.length > 1 ? t("prompt.me_and", { name: who[1].name }) : t("prompt.me");
  return `${subject} ${idea}`.trim();
}

/** @param {string} text */
function asNumber(text) {
  const value = Number(text.trim().replace(",", "."));
  return text.trim() && Number.isFinite(value) ? value : undefined;
}

/** After how many steps a picture is shown again on its way. @param {number} [steps] */
export function previewEvery(steps = 20) {
  return Math.max(1, Math.round(steps / 8));
}

/**
 * The order for the service.
 * @param {Draft} of
 * @param {Api.Model | undefined} model
 * @param {Api.Style | undefined} look
 * @returns {Api.JobRequest}
 */
export function orderOf(of, model, look) {
  const { advanced } = of;
  const who = drawnPeople(of, model);
  const steps = asNumber(advanced.steps);
  /** @type {Api.JobRequest} */
  const order = {
    // without an expansion nobody else would say what the look is
    prompt: look && !of.expand ? `${ideaText(of)}, ${look.text}` : ideaText(of),
    n: asNumber(advanced.n) ?? 4,
    previews: previewEvery(steps ?? model?.steps),
    expand: of.expand ? (of.expansion ?? true) : false,
  };
  if (who.length) {
    order.people = who.map((person, index) => ({
      person: person.id,
      ...strengthsOf(strengthsAt(advanced, of.people.indexOf(person.id)), model),
      ...(who.length > 1 ? (of.places ?? sideBySide)[index] : {}),
    }));
  }
  if (look && of.expand) order.style = look.id;
  // what is shown was looked up already
  if (of.ground && order.expand === true) order.ground = true;
  if (advanced.model) order.model = advanced.model;
  const size = ownSize(advanced, model);
  if (size) order.size = size;
  if (advanced.scheduler) order.scheduler = advanced.scheduler;
  if (advanced.negative.trim()) order.negative_prompt = advanced.negative.trim();
  if (steps !== undefined) order.steps = steps;
  const guidance = asNumber(advanced.guidance);
  if (guidance !== undefined) order.guidance_scale = guidance;
  const seed = asNumber(advanced.seed);
  if (seed !== undefined) order.seed = seed;
  return order;
}

/** The size of a picture of so many people that is asked for without one. @param {Api.Model} model @param {number} people @returns {[number, number]} */
export function sizeOf(model, people) {
  return [model.width + Math.max(people - 1, 0) * model.width_per_person, model.height];
}

/** All of those. @param {Api.Model | undefined} model */
export function usualSizes(model) {
  return model ? Array.from({ length: mostPeople }, (_, at) => sizeOf(model, at + 1).join("x")) : [];
}

/**
 * The size that was chosen; empty where it is the model's choice. An earlier order tells what it was given: with others in the picture
 * that may be another.
 * @param {Advanced} advanced
 * @param {Api.Model | undefined} model
 */
export function ownSize({ size }, model) {
  return usualSizes(model).includes(size) ? "" : size;
}

/**
 * How strongly a person is heard: as a whole, by groups of the card, by parts of the run. What is 1 is left to the service.
 * @param {Strengths} of
 * @param {Api.Model | undefined} model
 * @returns {Pick<Api.JobPerson, "scale" | "card_scale" | "stages">}
 */
function strengthsOf(of, model) {
  const one = (/** @type {string | undefined} */ text) => asNumber(text ?? "") ?? 1;
  const scale = one(of.strength);
  const groups = (model?.identity?.groups ?? []).map((group) => /** @type {const} */ ([group, one(of.groups[group])])).filter(([, strength]) => strength !== 1);
  const stages = stageSteps.map((steps, at) => ({ steps, scale: one(of.stages[at]) }));
  return {
    ...(scale !== 1 ? { scale } : {}),
    ...(groups.length ? { card_scale: Object.fromEntries(groups) } : {}),
    ...(stages.some((stage) => stage.scale !== 1) ? { stages } : {}),
  };
}

/** Settings of an earlier job, to go on from. @param {Api.JobRequest} input @returns {Advanced} */
export function advancedOf(input) {
  const text = (/** @type {number | string | undefined | null} */ value) => (value === undefined || value === null ? "" : String(value));
  return {
    model: text(input.model),
    n: text(input.n ?? 4),
    size: text(input.size),
    steps: text(input.steps),
    guidance: text(input.guidance_scale),
    strengths: (input.people ?? []).map((person) => ({
      strength: text(person.scale ?? 1),
      groups: Object.fromEntries(Object.entries(person.card_scale ?? {}).map(([group, strength]) => [group, String(strength)])),
      stages: stageSteps.map((_, at) => text(isThirds(person.stages) ? person.stages?.[at].scale : 1)),
    })),
    seed: "",
    scheduler: text(input.scheduler),
    negative: text(input.negative_prompt),
  };
}

/** Where an earlier job had its people; null where they were painted, or stood side by side. @param {Api.JobRequest} input @returns {Place[] | null} */
export function placesOf(input) {
  const boxes = (input.people ?? []).flatMap(({ box }) => (box ? [{ box }] : []));
  return boxes.length === mostPeople && JSON.stringify(boxes) !== JSON.stringify(sideBySide) ? boxes : null;
}

/**
 * Lets the service fill in the scene. `onText` is handed the text as it grows.
 * @param {Draft} of
 * @param {(text: string) => void} onText
 * @param {AbortSignal} signal
 * @returns {Promise<Api.Expansion>}
 */
export async function expand(of, onText, signal) {
  const answer = await request("/v1/prompts/expand", {
    method: "POST",
    json: { idea: ideaText(of), ...(of.style ? { style: of.style } : {}), ...(of.turn ? { seed: of.turn } : {}), ...(of.ground ? { ground: true } : {}) },
    headers: { Accept: "text/event-stream" },
    signal,
  });
  if (!answer.headers.get("content-type")?.startsWith("text/event-stream")) return answer.json();
  /** @type {Api.Expansion | null} */
  let whole = null;
  let text = "";
  await readEvents(answer, ({ event, data }) => {
    if (event === "expansion.delta") onText((text += data.text));
    else if (event === "expansion.completed") whole = data.expansion;
    else if (event === "error") throw problemFrom(data, answer.status);
  });
  if (!whole) throw new Error(t("expand.broken"));
  return whole;
}

/**
 * A scene with parts that were changed by hand, put together again; what the model does not know of it is among `dropped`.
 * @param {Api.Expansion} written
 * @param {Api.Touched} touched
 * @param {AbortSignal} signal
 * @returns {Promise<Api.Expansion>}
 */
export async function assemble(written, touched, signal) {
  const expansion = overlaid(written, touched);
  const answer = await request("/v1/prompts/assemble", { method: "POST", json: { expansion }, signal });
  /** @type {{ prompt: string, dropped?: string[] }} */
  const said = await answer.json();
  // what was dropped of a part that is no longer there says nothing any more
  const { negative_prompt: _, ...parts } = touched;
  const gone = Object.keys(parts).map((slot) => written.parts[/** @type {keyof Api.Parts} */ (slot)].toLowerCase());
  const still = (written.dropped ?? []).filter((words) => !gone.some((part) => part.includes(words.toLowerCase())));
  return { ...expansion, prompt: said.prompt, dropped: [...new Set([...still, ...(said.dropped ?? [])])] };
}

/** @param {Api.Expansion} written @param {Api.Touched} touched @returns {Api.Expansion} */
export function overlaid(written, touched) {
  const { negative_prompt = written.negative_prompt, ...parts } = touched;
  return { ...written, negative_prompt, parts: { ...written.parts, ...parts } };
}
