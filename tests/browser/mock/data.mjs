// What the stand-in always says: its texts, its model, what may be in a card.

import { createHash } from "node:crypto";

export const policy =
  "default-src 'self'; img-src 'self' blob: data:; style-src 'self'; script-src 'self'; media-src 'self' blob:; connect-src 'self'; " +
  "font-src 'none'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
export const types = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".json": "application/json", ".svg": "image/svg+xml", ".webp": "image/webp" };

export const consent = {
  version: "1",
  text: {
    en: "I am adding photos of a face so that pictures of this person can be made.\n\n- The person is me, or has allowed me to do this.\n- Numbers that describe the face are kept, encrypted, and never sent anywhere else.\n- The photos are deleted when this is done, unless keeping them is asked for.\n- Consent can be withdrawn at any time by deleting the person.",
    it: "Aggiungo foto di un volto perché si possano creare immagini di questa persona.\n\n- La persona sono io, oppure mi ha autorizzato.\n- Si conservano numeri che descrivono il volto, cifrati, mai inviati altrove.\n- Le foto vengono cancellate subito dopo, a meno che non si chieda di conservarle.\n- Il consenso si può revocare eliminando la persona.",
  },
};
consent.once = {
  version: "once-1",
  text: {
    en: "I am handing in a photo with faces for one order.\n\n- The people in it are me, or have allowed me to do this.\n- The photo is used only for the pictures of this order, and is then deleted. Nobody is remembered.",
    it: "Consegno una foto con dei volti per un solo ordine.\n\n- Le persone nella foto sono io, oppure mi hanno autorizzato.\n- La foto serve solo alle immagini di questo ordine, poi viene cancellata. Nessuno viene ricordato.",
  },
};
for (const one of [consent, consent.once]) one.sha256 = createHash("sha256").update(`${one.text.en}\n${one.text.it}`).digest("hex");

export const styles = [
  ["photo", "Photo", "photograph, natural light"],
  ["film", "Film", "cinematic film still"],
  ["watercolour", "Watercolour", "loose watercolour painting"],
  ["noir", "Noir", "black-and-white film noir still"],
  ["comic", "Comic", "comic book illustration"],
  ["oil", "Oil", "classical oil painting"],
].map(([id, name, text]) => ({ id, name, text }));

export const model = {
  id: "starter", object: "model", created: 1, owned_by: "imagine", width: 64, height: 64, width_per_person: 0, sizes: ["64x64", "64x96", "96x64"], side_multiple: 16, steps: 12,
  guidance_scale: 1.6, scheduler: "dpm++2m", schedulers: ["dpm++2m", "ddim", "euler", "unipc"], identity: { kind: "faceid", regions: true, groups: [], face: false }, inpainting: false, default: true,
};

/** What a test may change. */
export const settingsAtStart = { fail: {}, stepMilliseconds: 60, queueMilliseconds: 0, queuePosition: 1, eta: 4, check: null, key: null, cards: false, groups: null, model: {}, search: false, sources: [] };

/** Where the stand-in's scenes are set, by seed. */
export const scenes = ["starry night", "castle hall", "open sea", "desert", "garden", "snowy landscape", "night forest"];
/** What its model has no words for. */
export const unknown = ["zeppelin", "Marta"];

/** Parts of a card: name, what it takes, what was measured (null where the photos do not tell), how surely. */
export const cardParts = [
  ["descriptor", "nothing", 128, 0.8],
  ["geometry", "nothing", 136, 0.8],
  ["pose", "nothing", 3, 0.9],
  ["skin", "colour", "#c99b82", 0.5],
  ["hair-colour", "colour", "#66452d", 0.75, ["black", "dark-brown", "brown", "auburn", "red", "blonde", "platinum", "grey", "white"]],
  ["hair-length", "choice", "short", 0.3, ["bald", "short", "long"]],
  ["beard", "choice", null, null, ["yes", "no"]],
  ["glasses", "choice", "yes", 0.6, ["yes", "no"]],
  ["sex", "choice", "woman", 0.9, ["woman", "man"]],
  ["age", "years", "41", 0.4],
];

export const negative = "blurry, extra fingers";

/** Words of pictures that were not drawn. */
export const seeded = ["me as an astronaut in a starry night", "me as a pirate on the open sea", "me as a wizard in a forest", "me as a queen in the royal hall", "me as a cowboy at sunset", "me as a firefighter"];
