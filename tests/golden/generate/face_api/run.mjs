// face-api itself, on node and TensorFlow.js's plain JavaScript backend.
//
//     node run.mjs CASES.json RESULTS.json
//
// Each case has a picture (width, height, and a file of its RGB bytes) and a rectangle of it in whole pixels. The
// result has the 68 points in it (pixels of the picture), the rectangle that they give the descriptor, and the
// descriptor itself.

import { createRequire } from 'node:module';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const require = createRequire(import.meta.url);
const faceapi = require('@vladmandic/face-api/dist/face-api.node-wasm.js');
const { tf } = faceapi;
const models = join(dirname(require.resolve('@vladmandic/face-api/package.json')), 'model');

await tf.setBackend('cpu');
await tf.ready();
await faceapi.nets.faceLandmark68Net.loadFromDisk(models);
await faceapi.nets.faceRecognitionNet.loadFromDisk(models);

const [casesFile, resultsFile] = process.argv.slice(2);
const results = [];
for (const { file, width, height, rectangle } of JSON.parse(readFileSync(casesFile))) {
  const picture = tf.tensor3d(new Uint8Array(readFileSync(file)), [height, width, 3], 'int32');
  const [x, y, w, h] = rectangle;
  const detection = new faceapi.FaceDetection(1, new faceapi.Rect(x / width, y / height, w / width, h / height), { width, height });
  const [face] = await faceapi.extractFaceTensors(picture, [new faceapi.Rect(x, y, w, h)]);
  const raw = await faceapi.nets.faceLandmark68Net.detectLandmarks(face);
  const { landmarks } = faceapi.extendWithFaceLandmarks({ detection }, raw);
  const aligned = landmarks.align(null, { useDlibAlignment: true });
  const [cut] = await faceapi.extractFaceTensors(picture, [aligned]);
  const descriptor = await faceapi.nets.faceRecognitionNet.computeFaceDescriptor(cut);
  results.push({
    points: landmarks.positions.map((p) => [p.x, p.y]),
    rectangle: [aligned.x, aligned.y, aligned.width, aligned.height],
    cut: [cut.shape[1], cut.shape[0]],
    descriptor: Array.from(descriptor),
  });
}
writeFileSync(resultsFile, JSON.stringify(results));
