"""Renders faces with the truth about them written beside: what the gates of the identity card are measured on.

    python card_faces.py --people 0:900 --shots 3 --seed 7 --out DIR --assets DIR [--cache FILE]

Each picture is 384 x 384. A line of truth-<A>-<B>.jsonl says what was drawn: the colours of skin and hair as they
are in white light (sRGB, 0 to 255), how the head is turned as the camera sees it (degrees; yaw to the right of the
picture, pitch up, roll clockwise), and what is visible of hair, beard, glasses and hat. The rotation is given as a
matrix too (x right, y down, z away from the camera).
"""

import one_thread  # noqa: F401 (first: it must come before numpy)

# isort: split
import argparse
import json
import os

import cv2
import numpy as np

from captions import hair_visible
from people import LONG_HAIR, SHORT_HAIR, sample_person
from scene import Studio, rotation
from shots import sample_shot

HANGING = {'bob01', 'bob02', 'long01'}
DOWN = np.diag([1.0, -1.0, -1.0])  # from the renderer's axes (y up, z to the camera)


def srgb(colour):
    """Linear light as sRGB numbers, 0 to 255."""
    c = np.clip(colour, 0, 1)
    return [round(float(v), 1) for v in 255 * np.where(c <= 0.0031308, 12.92 * c, 1.055 * c ** (1 / 2.4) - 0.055)]


def head_rotation(shot):
    """The head's rotation as the camera sees it."""
    head = rotation(shot.yaw + shot.camera_yaw, shot.pitch, shot.roll)
    camera = rotation(shot.camera_yaw, -shot.camera_pitch)
    return DOWN @ camera.T @ head @ DOWN


def angles(turn):
    """Yaw, pitch and roll of a rotation, degrees."""
    nose = -turn[:, 2]
    yaw, pitch = np.arctan2(nose[0], -nose[2]), np.arcsin(np.clip(-nose[1], -1, 1))
    level = np.array([np.cos(yaw), 0, np.sin(yaw)])
    roll = np.arctan2(turn[:, 0] @ np.cross(-nose, level), turn[:, 0] @ level)
    return [round(float(v), 3) for v in np.degrees([yaw, pitch, roll])]


def hair_length(person, outfit):
    """bald, short or long, where the picture shows it."""
    if not hair_visible(person, outfit):
        return None
    if person.hair_style == 'bald':
        return 'bald'
    if person.hair_style in HANGING:
        return 'long'
    return 'short' if person.hair_style in SHORT_HAIR or person.hair_style == 'buzz' else None


def truth(person, shot, file):
    turn = head_rotation(shot)
    outfit = shot.outfit
    whole = hair_visible(person, outfit) and person.hair_style != 'bald'
    return {
        'file': file,
        'person': person.number,
        'shot': shot.number,
        'sex': person.sex,
        'years': round(person.years, 1),
        'skin': srgb(person.skin),
        'hair': srgb(person.hair) if whole and outfit.hat is None and person.hair_style in {*LONG_HAIR, *SHORT_HAIR} else None,
        'hair_length': hair_length(person, outfit),
        'beard': {0.0: 'none', 0.25: 'stubble', 0.6: 'short', 1.0: 'full'}[person.beard],
        'glasses': person.glasses is not None,
        'hat': outfit.hat is not None,
        'light': shot.light,
        'expression': shot.expression,
        'pose': angles(turn),
        'rotation': [[round(float(v), 6) for v in row] for row in turn],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--people', required=True, help='FIRST:END')
    parser.add_argument('--shots', type=int, default=3)
    parser.add_argument('--seed', type=int, default=7)
    parser.add_argument('--out', required=True)
    parser.add_argument('--assets', required=True, help="folder of MakeHuman's CC0 base assets (the one that contains base/hair)")
    parser.add_argument('--cache', help='file in which the parsed shape targets are kept')
    options = parser.parse_args()
    first, end = (int(x) for x in options.people.split(':'))
    cv2.setNumThreads(1)
    os.makedirs(os.path.join(options.out, 'images'), exist_ok=True)
    studio = Studio(options.assets, cache=options.cache)
    with open(os.path.join(options.out, f'truth-{first}-{end}.jsonl'), 'w') as out:
        for number in range(first, end):
            person = sample_person(studio.model, options.seed, number)
            for k in range(options.shots):
                shot = sample_shot(options.seed, person, k)
                file = f'images/{number:05}_{k}.jpg'
                picture = np.ascontiguousarray(studio.photograph(person, shot)[..., ::-1])
                cv2.imwrite(os.path.join(options.out, file), picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
                out.write(json.dumps(truth(person, shot, file)) + '\n')
            out.flush()


if __name__ == '__main__':
    main()
