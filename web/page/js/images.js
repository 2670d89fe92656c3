// Pictures: the list, what is done with one, and how an img shows one where a key is needed.

import { address, apiKey, call, request } from "./api.js";
import { forgetImage } from "./jobs.js";
import { onNews, tellTabs } from "./store.js";

/** @param {{ q?: string, person?: string, favourite?: boolean, after?: string | null, limit?: number }} of */
export function listImages(of) {
  const query = { q: of.q, person: of.person, favourite: of.favourite || undefined, after: of.after, limit: of.limit ?? 200 };
  return /** @type {Promise<Api.List<Api.Image>>} */ (call(address("/v1/images", query)));
}

/** @param {string} id @returns {Promise<Api.Image>} */
export function imageInfo(id) {
  return call(`/v1/images/${id}/info`);
}

/** @param {string} id @param {boolean} favourite */
export async function setFavourite(id, favourite) {
  await call(`/v1/images/${id}`, { method: "PATCH", json: { favourite } });
  tellTabs("images", id);
}

/** @param {string} id */
export async function deleteImage(id) {
  await request(`/v1/images/${id}`, { method: "DELETE" });
  forgetImage(id);
  tellTabs("images", id);
}

/** @param {() => void} listener */
export function onImagesChanged(listener) {
  onNews((news) => {
    if (news.what === "images") listener();
  });
}

/** Shows a picture of the service. An img cannot send a key: then its bytes are fetched. @param {HTMLImageElement} img @param {string} url */
export function show(img, url) {
  img.dataset.url = url;
  // what lies in the browser needs no key
  if (!apiKey() || /^(blob|data):/.test(url)) {
    if (img.getAttribute("src") !== url) img.src = url;
    return;
  }
  blobOf(url)
    .then((blob) => {
      if (img.dataset.url !== url) return;
      const local = URL.createObjectURL(blob);
      img.addEventListener("load", () => URL.revokeObjectURL(local), { once: true });
      img.src = local;
    })
    .catch(() => img.dispatchEvent(new Event("error")));
}

/** @param {string} url */
export async function blobOf(url) {
  return (await request(url)).blob();
}

/** Hands a file to the person. @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** The file as it is stored, with its mark. @param {{ url: string, seed: number }} image */
export async function download(image) {
  const blob = await blobOf(image.url);
  const kind = blob.type.split("/")[1]?.replace("jpeg", "jpg") || "png";
  save(blob, `imagine-${image.seed}.${kind}`);
}
