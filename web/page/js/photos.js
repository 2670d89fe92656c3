// Photos are made smaller here, before anything is sent: the copy holds pixels and nothing else of the file.

const longestSide = 1600;
const faceSide = 512;

/** A photo that no browser could open. */
export class UnreadablePhoto extends Error {}

/** Upright, at most 1600 pixels wide and high, as JPEG. @param {Blob} file @returns {Promise<{ blob: Blob, width: number, height: number }>} */
export async function shrink(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new UnreadablePhoto("name" in file ? String(file.name) : "photo");
  }
  const scale = Math.min(1, longestSide / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const blob = await draw(bitmap, [0, 0, bitmap.width, bitmap.height], width, height);
  bitmap.close();
  return { blob, width, height };
}

/**
 * The face with some room around it, square: as far as halfway to the next face at most.
 * @param {Blob} photo
 * @param {Api.Face} face in pixels of the photo
 * @param {Api.Face[]} [others]
 */
export async function cutFace(photo, face, others = []) {
  const bitmap = await createImageBitmap(photo);
  const wide = Math.max(face.width, face.height);
  // from the middle of the face to the nearest edge of each other face, along the farther of the two axes
  const reach = others.map((other) => Math.max(distance(face.x + face.width / 2, other.x, other.width), distance(face.y + face.height / 2, other.y, other.height)));
  const half = Math.min(wide * 0.95, ...reach.map((far) => Math.max(wide / 2, (wide / 2 + far) / 2)));
  const side = Math.min(2 * half, bitmap.width, bitmap.height);
  const left = clamp(face.x + face.width / 2 - side / 2, 0, bitmap.width - side);
  const top = clamp(face.y + face.height / 2 - side / 2, 0, bitmap.height - side);
  const blob = await draw(bitmap, [left, top, side, side], Math.min(side, faceSide), Math.min(side, faceSide));
  bitmap.close();
  return blob;
}

/** One frame of a video. @param {HTMLVideoElement} video @param {number} longest */
export function frame(video, longest) {
  const scale = Math.min(1, longest / Math.max(video.videoWidth, video.videoHeight));
  const whole = /** @type {[number, number, number, number]} */ ([0, 0, video.videoWidth, video.videoHeight]);
  return draw(video, whole, video.videoWidth * scale, video.videoHeight * scale);
}

/**
 * @param {CanvasImageSource} source
 * @param {[number, number, number, number]} from left, top, width, height
 * @param {number} width
 * @param {number} height
 * @returns {Promise<Blob>}
 */
function draw(source, [left, top, wide, high], width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width));
  canvas.height = Math.max(1, Math.round(height));
  const pen = canvas.getContext("2d");
  if (!pen) throw new UnreadablePhoto("canvas");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(source, left, top, wide, high, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new UnreadablePhoto("canvas"))), "image/jpeg", 0.92),
  );
}

/** How far a place lies outside of a span. @param {number} at @param {number} from @param {number} length */
function distance(at, from, length) {
  return Math.max(from - at, at - from - length, 0);
}

/** @param {number} value @param {number} least @param {number} most */
function clamp(value, least, most) {
  return Math.min(Math.max(value, least), most);
}

/** Pictures among dropped or pasted things. @param {DataTransfer | null} transfer @returns {File[]} */
export function picturesIn(transfer) {
  return [...(transfer?.files ?? [])].filter((file) => file.type.startsWith("image/"));
}
