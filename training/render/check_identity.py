"""Measures how well the stored SFace embeddings tell the rendered people apart.

    python check_identity.py DIR [--centre OTHER_DIR]

Cosines are given raw and after subtracting a mean embedding: that of DIR, or of OTHER_DIR (the training set, to judge people
held out).
"""

import argparse
import glob
import json
import os

import numpy as np


def load(folder):
    """Embeddings, person numbers, shot numbers, sexes and detection scores of a data set."""
    rows = []
    for path in sorted(glob.glob(os.path.join(folder, 'meta-*.jsonl'))):
        with open(path) as lines:
            rows += [json.loads(line) for line in lines if line.endswith('\n')]
    return (
        np.array([r['sface'] for r in rows]),
        np.array([r['person'] for r in rows]),
        np.array([r['shot'] for r in rows]),
        np.array([r['identity']['sex'] for r in rows]),
        np.array([r['face_score'] for r in rows]),
    )


def area_under_curve(positive, negative):
    """Chance that a random positive scores higher than a random negative."""
    return float(np.searchsorted(np.sort(negative), positive).mean() / len(negative))


def report(label, embeddings, people, shots, sexes):
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
    reference = np.flatnonzero(shots == 0)
    others = np.flatnonzero(shots != 0)
    nearest = reference[cosine[np.ix_(others, reference)].argmax(1)]
    right = (people[nearest] == people[others]).mean()
    print(f'  nearest plain portrait (shot 0) among {len(reference)} people is the right one: {right:.3f}')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder')
    parser.add_argument('--centre', help='data set whose mean embedding is subtracted')
    options = parser.parse_args()
    embeddings, people, shots, sexes, scores = load(options.folder)
    print(f'{len(people)} pictures of {len(set(people))} people')
    print(f'detection score {scores.mean():.3f} (5 %: {np.percentile(scores, 5):.3f})')
    report('raw', embeddings, people, shots, sexes)
    mean = (load(options.centre)[0] if options.centre else embeddings).mean(0)
    print(f'length of the mean embedding {np.linalg.norm(mean):.3f}')
    report('centred', embeddings - mean, people, shots, sexes)


if __name__ == '__main__':
    main()
