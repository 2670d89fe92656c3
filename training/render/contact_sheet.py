"""A sheet of pictures to look at: some people in several shots, or every role, place, expression and hair style once."""

import argparse
import dataclasses
import time

import cv2
import numpy as np

from palette import LIGHTS
from people import LONG_HAIR, PAINTED_HAIR, SHORT_HAIR, sample_person
from roles import PLACES, ROLES
from scene import Studio
from shots import EXPRESSIONS, everyday_outfit, sample_shot


def variants(what, person, shot, random):
    """The person and the shot, changed to show each value of one property."""
    plain = dataclasses.replace(shot, role=None, light='soft studio light')
    if what == 'roles':
        for role, outfits in ROLES.items():
            for outfit in outfits:
                yield person, dataclasses.replace(plain, role=role, outfit=outfit, place=outfit.place)
    elif what == 'places':
        for place in PLACES:
            yield person, dataclasses.replace(plain, place=place)
    elif what == 'expressions':
        for expression in EXPRESSIONS:
            yield person, dataclasses.replace(plain, expression=expression, strength=1.0)
    elif what == 'lights':
        for light in LIGHTS:
            yield person, dataclasses.replace(plain, light=light)
    elif what == 'hair':
        for style in (*LONG_HAIR, *SHORT_HAIR, *PAINTED_HAIR):
            yield dataclasses.replace(person, hair_style=style, cache={}), plain
    elif what == 'hats':
        for hat in (None, 'beanie', 'fedora'):
            outfit, colour = everyday_outfit(random, hats=False)
            yield person, dataclasses.replace(plain, outfit=dataclasses.replace(outfit, hat=hat), hat_colour=colour)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--assets', required=True, help="folder of MakeHuman's CC0 base assets (the one that contains base/hair)")
    parser.add_argument('--out', default='sheet.png')
    parser.add_argument(
        '--what', default='people', choices=['people', 'roles', 'places', 'expressions', 'lights', 'hair', 'hats']
    )
    parser.add_argument('--people', default='0:6', help='numbers of the people, FIRST:END')
    parser.add_argument('--shots', type=int, default=5)
    parser.add_argument('--size', type=int, default=384)
    parser.add_argument('--columns', type=int, default=1, help='people side by side')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--cache')
    options = parser.parse_args()
    studio = Studio(options.assets, options.size, options.cache)
    random, rows, times = np.random.default_rng(0), [], []
    for number in range(*(int(x) for x in options.people.split(':'))):
        person = sample_person(studio.model, options.seed, number)
        if options.what == 'people':
            frames = [(person, sample_shot(options.seed, person, k)) for k in range(options.shots)]
        else:
            frames = list(variants(options.what, person, sample_shot(options.seed, person, 0), random))
        row = []
        for someone, shot in frames:
            start = time.time()
            row.append(studio.photograph(someone, shot))
            times.append(time.time() - start)
        rows.append(np.hstack(row))
    rows = [np.hstack(rows[i : i + options.columns]) for i in range(0, len(rows) - len(rows) % options.columns, options.columns)]
    sheet = np.vstack(rows)
    sheet = cv2.resize(sheet, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    cv2.imwrite(options.out, sheet[..., ::-1])
    print(f'{len(times)} pictures, median {1000 * np.median(times):.0f} ms')


if __name__ == '__main__':
    main()
