// How the stand-in reads what is sent to it.

/** An answer that is a failure. */
export class Problem extends Error {
  constructor(status, code, message, retryAfter, more) {
    super(message);
    Object.assign(this, { status, code, retryAfter, more });
  }
}

/** Width and height. */
export function jpegSize(file) {
  for (let at = 2; at < file.length - 9; ) {
    if (file[at + 1] >= 0xc0 && file[at + 1] <= 0xc3) return [file.readUInt16BE(at + 7), file.readUInt16BE(at + 5)];
    at += 2 + file.readUInt16BE(at + 2);
  }
  throw new Problem(422, "invalid_photo", "this is no JPEG");
}

/** Fields of a multipart body, each a list. */
export function multipart(request, body) {
  const boundary = /boundary=(.+)$/.exec(request.headers["content-type"] ?? "")?.[1];
  const fields = {};
  for (const part of body.toString("latin1").split(`--${boundary}`).slice(1, -1)) {
    const split = part.indexOf("\r\n\r\n");
    const name = /name="([^"]+)"/.exec(part.slice(0, split))?.[1];
    (fields[name] ??= []).push(Buffer.from(part.slice(split + 4, -2), "latin1"));
  }
  return fields;
}

/** Rows as objects, by the names in the first. */
export function csv(text) {
  const [head, ...rows] = text.trim().split(/\r?\n/).map((line) => line.split(","));
  return rows.map((row) => Object.fromEntries(head.map((name, at) => [name, row[at]])));
}
