// Just enough PNG for previews that come out of the noise: 8 bits a channel, RGB, not interlaced.

import { crc32, deflateSync, inflateSync } from "node:zlib";

/** @param {Buffer} file */
export function decode(file) {
  let width = 0;
  let height = 0;
  const parts = [];
  for (let at = 8; at < file.length; ) {
    const length = file.readUInt32BE(at);
    const kind = file.toString("latin1", at + 4, at + 8);
    if (kind === "IHDR") {
      width = file.readUInt32BE(at + 8);
      height = file.readUInt32BE(at + 12);
      if (file[at + 16] !== 8 || file[at + 17] !== 2 || file[at + 20] !== 0) throw new Error("not a plain RGB PNG");
    }
    if (kind === "IDAT") parts.push(file.subarray(at + 8, at + 8 + length));
    at += length + 12;
  }
  const raw = inflateSync(Buffer.concat(parts));
  const stride = width * 3;
  const pixels = Buffer.alloc(stride * height);
  for (let y = 0; y < height; y += 1) {
    const filter = raw[y * (stride + 1)];
    for (let x = 0; x < stride; x += 1) {
      const left = x >= 3 ? pixels[y * stride + x - 3] : 0;
      const up = y ? pixels[(y - 1) * stride + x] : 0;
      const corner = y && x >= 3 ? pixels[(y - 1) * stride + x - 3] : 0;
      const base = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
      pixels[y * stride + x] = (raw[y * (stride + 1) + 1 + x] + base) & 255;
    }
  }
  return { width, height, pixels };
}

function paeth(a, b, c) {
  const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
  if (pa <= pb && pa <= pc) return a;
  return pb <= pc ? b : c;
}

/** @param {{ width: number, height: number, pixels: Buffer }} of */
export function encode({ width, height, pixels }) {
  const raw = Buffer.alloc((width * 3 + 1) * height);
  for (let y = 0; y < height; y += 1) pixels.copy(raw, y * (width * 3 + 1) + 1, y * width * 3, (y + 1) * width * 3);
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), chunk("IHDR", head), chunk("IDAT", deflateSync(raw)), chunk("IEND", Buffer.alloc(0))]);
}

function chunk(kind, body) {
  const named = Buffer.concat([Buffer.from(kind, "latin1"), body]);
  const size = Buffer.alloc(4);
  size.writeUInt32BE(body.length);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(named) >>> 0);
  return Buffer.concat([size, named, sum]);
}

/** A picture as it looks when `done` (0 to 1) of the noise is gone. */
export function noisy({ width, height, pixels }, done) {
  const mixed = Buffer.alloc(pixels.length);
  for (let at = 0; at < pixels.length; at += 1) mixed[at] = pixels[at] * done + Math.random() * 255 * (1 - done);
  return encode({ width, height, pixels: mixed });
}
