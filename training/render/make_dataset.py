"""Renders the data set: pictures, identity embeddings and truthful clauses.

    python make_dataset.py --people 64:1082 --shots 5 --seed 1 --out DIR --assets DIR --faces DIR

Several processes may share one output folder if their ranges of people do not overlap: each writes its own meta-<A>-<B>.jsonl.
A person is written in one go, and people already in any meta file of the folder are passed over, so a run can be stopped and
taken up again at any time.  People 0 to 63 are held out: they are rendered for evaluation and never trained on.
"""

import one_thread  # noqa: F401 (first: it must come before numpy)

# isort: split
import argparse
import glob
import json
import os
import time

import cv2

from captions import clauses, identity
from embed import FaceEmbedder
from people import sample_person
from scene import Studio
from shots import sample_shot

FACE_SIZE, SAVED_SIZE = 256, 128


def people_done(folder):
    """Numbers of the people in the meta files of the folder."""
    done = set()
    for path in glob.glob(os.path.join(folder, 'meta-*.jsonl')):
        with open(path) as lines:
            done.update(json.loads(line)['person'] for line in lines if line.endswith('\n'))
    return done


def drop_torn_line(path):
    """Removes a last line that a stopped run left unfinished."""
    if os.path.exists(path):
        with open(path, 'rb+') as f:
            data = f.read()
            f.truncate(data.rfind(b'\n') + 1)


def photograph_person(studio, embedder, seed, number, shots, out):
    """Renders and saves all shots of a person; returns their meta lines and how many had no detectable face."""
    person, lines, missed = sample_person(studio.model, seed, number), [], 0
    for k in range(shots):
        shot = sample_shot(seed, person, k)
        picture = studio.photograph(person, shot)
        face = embedder(cv2.resize(picture, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_AREA))
        if face is None:
            missed += 1
            continue
        name = f'images/{number:05}_{k}.png'
        small = cv2.resize(picture, (SAVED_SIZE, SAVED_SIZE), interpolation=cv2.INTER_AREA)
        cv2.imwrite(os.path.join(out, name), small[..., ::-1])
        lines.append(
            json.dumps(
                {
                    'file': name,
                    'person': number,
                    'shot': k,
                    'sface': [round(float(x), 6) for x in face[0]],
                    'face_score': round(face[1], 4),
                    'identity': identity(person, shot.outfit),
                    'clauses': clauses(person, shot),
                }
            )
        )
    return lines, missed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--people', required=True, help='FIRST:END')
    parser.add_argument('--shots', type=int, default=5)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--out', required=True)
    parser.add_argument('--assets', required=True, help="folder of MakeHuman's CC0 base assets (the one that contains base/hair)")
    parser.add_argument('--faces', required=True, help='folder with the YuNet and SFace ONNX files')
    parser.add_argument('--cache', help='file in which the parsed shape targets are kept')
    options = parser.parse_args()
    first, end = (int(x) for x in options.people.split(':'))
    cv2.setNumThreads(1)
    os.makedirs(os.path.join(options.out, 'images'), exist_ok=True)
    meta = os.path.join(options.out, f'meta-{first}-{end}.jsonl')
    drop_torn_line(meta)
    done = people_done(options.out)
    studio = Studio(options.assets, cache=options.cache)
    embedder = FaceEmbedder(options.faces, FACE_SIZE)
    start, frames, missed = time.time(), 0, 0
    with open(meta, 'a') as out:
        for number in range(first, end):
            if number in done:
                continue
            lines, without_face = photograph_person(studio, embedder, options.seed, number, options.shots, options.out)
            out.write(''.join(line + '\n' for line in lines))
            out.flush()
            frames, missed = frames + len(lines), missed + without_face
            if number % 20 == 0:
                rate = (frames + missed) / (time.time() - start)
                print(f'person {number}: {frames} pictures, {missed} without a face, {rate:.1f} a second', flush=True)
    print(f'done: {frames} pictures, {missed} without a face', flush=True)


if __name__ == '__main__':
    main()
