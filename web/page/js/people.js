// The people the service knows.

import { call } from "./api.js";
import { createStore, onNews, tellTabs } from "./store.js";
import { forgetOthers, forgetSelfie, keepSelfie } from "./selfies.js";

/** Null until they have been asked for. */
export const people = createStore(/** @type {Api.Person[] | null} */ (null));

export async function loadPeople() {
  /** @type {Api.Person[]} */
  const all = [];
  /** @type {string | null} */
  let after = null;
  do {
    /** @type {Api.List<Api.Person>} */
    const page = await call(`/v1/people?limit=100${after ? `&after=${encodeURIComponent(after)}` : ""}`);
    all.push(...page.data);
    after = page.has_more ? page.next : null;
  } while (after);
  people.set(all);
  await forgetOthers(all.map((person) => person.id));
}

onNews((news) => {
  if (news.what === "people") loadPeople().catch(() => undefined);
});

/** @param {string} id */
export function personOf(id) {
  return people.get()?.find((person) => person.id === id) ?? null;
}

/**
 * @param {{ name: string, photos: { blob: Blob, face: number }[], keep: boolean, consent: string, selfie: Blob | null }} of
 *   consent as JSON; the selfie stays in this browser
 * @returns {Promise<{ person: Api.Person, kept: boolean }>} whether the selfie is here: a browser may have no room for it
 */
export async function enrol(of) {
  const form = new FormData();
  form.append("name", of.name);
  form.append("consent", of.consent);
  form.append("keep_photos", String(of.keep));
  appendPhotos(form, of.photos);
  /** @type {Api.Person} */
  const person = await call("/v1/people", { method: "POST", body: form });
  // whoever is known must not be met again for want of a picture
  const kept = of.selfie ? await keepSelfie(person.id, of.selfie) : true;
  people.set([...(people.get() ?? []), person]);
  tellTabs("people");
  return { person, kept };
}

/** @param {string} id @param {{ blob: Blob, face: number }[]} photos @returns {Promise<Api.Person>} */
export async function addPhotos(id, photos) {
  const form = new FormData();
  appendPhotos(form, photos);
  /** @type {Api.Person} */
  const person = await call(`/v1/people/${id}/photos`, { method: "POST", body: form });
  replace(person);
  return person;
}

/** @param {FormData} form @param {{ blob: Blob, face: number }[]} photos */
function appendPhotos(form, photos) {
  for (const photo of photos) {
    form.append("photo", photo.blob, "photo.jpg");
    form.append("face", String(photo.face));
  }
}

/** @param {string} id @param {string} name */
export async function rename(id, name) {
  replace(await call(`/v1/people/${id}`, { method: "PATCH", json: { name } }));
}

/** @param {Api.Person} person */
function replace(person) {
  people.set((people.get() ?? []).map((one) => (one.id === person.id ? person : one)));
  tellTabs("people");
}

/** @param {string} id @param {"keep" | "delete"} pictures @returns {Promise<Api.Removed>} */
export async function deletePerson(id, pictures) {
  /** @type {{ removed: Api.Removed }} */
  const answer = await call(`/v1/people/${id}?pictures=${pictures}`, { method: "DELETE" });
  await forgetSelfie(id);
  people.set((people.get() ?? []).filter((person) => person.id !== id));
  tellTabs("people");
  return answer.removed;
}

/** Looks at a photo; the service keeps nothing of it. @param {Blob} blob @param {number} [face] @param {AbortSignal} [signal] */
export function checkPhoto(blob, face, signal) {
  const form = new FormData();
  form.append("photo", blob, "photo.jpg");
  if (face !== undefined) form.append("face", String(face));
  return /** @type {Promise<Api.PhotoCheck>} */ (call("/v1/photos/check", { method: "POST", body: form, signal }));
}
