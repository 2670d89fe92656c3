"""Packs a data set, so that it can be carried to another machine: pictures as one strip of WebP a person, numbers as precise
as training needs them, and nothing that training does not read.

    python pack.py DATA PACKED --quality 85

Cards and landmarks must have been measured (`imagine-training cards`, `landmarks`): the photos that they were measured on stay
behind.  Training reads PACKED as it reads DATA.
"""

import argparse
import glob
import json
import os

import cv2
import numpy as np

SIDE, SHOTS = 128, 8
ATTRIBUTES = ('years', 'hair_length', 'hat', 'clothes_colour', 'yaw')


def lines_by_person(data):
    """All meta lines of the folder, by person."""
    found = {}
    for path in sorted(glob.glob(os.path.join(data, 'meta-*.jsonl'))):
        with open(path) as lines:
            for line in lines:
                if line.endswith('\n'):
                    shot = json.loads(line)
                    found.setdefault(shot['person'], []).append(shot)
    return found


def strip_of(data, shots):
    """The pictures of a person beside one another, each at the place of its number; grey where there is none."""
    strip = np.full((SIDE, SIDE * max(SHOTS, 1 + max(shot['shot'] for shot in shots)), 3), 128, np.uint8)
    for shot in shots:
        path = os.path.join(data, shot['file'])
        picture = cv2.imread(path)
        if picture is None or picture.shape[:2] != (SIDE, SIDE):
            raise SystemExit(f'{path}: no picture of {SIDE} x {SIDE}')
        strip[:, shot['shot'] * SIDE : (shot['shot'] + 1) * SIDE] = picture
    return strip


def trimmed(shots):
    """Meta lines with the person's mean embedding in the place of each shot's: training reads no more than the mean."""
    mean = [round(float(x), 4) for x in np.mean([shot['sface'] for shot in shots], axis=0)]
    for shot in shots:
        yield {
            'file': shot['file'],
            'photo': None,
            'person': shot['person'],
            'shot': shot['shot'],
            'sface': mean,
            'identity': shot['identity'],
            'clauses': shot['clauses'],
            'attributes': {name: shot['attributes'][name] for name in ATTRIBUTES},
        }


def rounded(value, digits):
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, list):
        return [rounded(x, digits) for x in value]
    if isinstance(value, dict):
        return {key: rounded(x, digits) for key, x in value.items()}
    return value


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data')
    parser.add_argument('packed')
    parser.add_argument('--quality', type=int, default=85, help='of WebP')
    options = parser.parse_args()
    os.makedirs(os.path.join(options.packed, 'strips'), exist_ok=True)
    people, files = lines_by_person(options.data), set()
    with open(os.path.join(options.packed, 'meta-packed.jsonl'), 'w') as meta:
        for number, shots in sorted(people.items()):
            path = os.path.join(options.packed, f'strips/{number:05}.webp')
            if not os.path.exists(path):
                cv2.imwrite(path, strip_of(options.data, shots), [cv2.IMWRITE_WEBP_QUALITY, options.quality])
            files.update(shot['file'] for shot in shots)
            meta.writelines(json.dumps(line) + '\n' for line in trimmed(shots))
    for name, digits in (('cards.json', 4), ('colours.json', 1), ('landmarks.json', 1)):
        path = os.path.join(options.data, name)
        if os.path.exists(path):
            with open(path) as source, open(os.path.join(options.packed, name), 'w') as target:
                known = {file: value for file, value in json.load(source).items() if file in files}
                json.dump(rounded(known, digits), target)
    print(f'{len(people)} people, {len(files)} pictures')


if __name__ == '__main__':
    main()
