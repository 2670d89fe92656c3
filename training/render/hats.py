"""Hats, built around a measured head.

A hat is a list of solids in its own frame: origin in the middle of the head at the height of the rim, y upwards, z to the front.
"""

from dataclasses import dataclass

import numpy as np

import headgear
from palette import linear
from solids import GOLD, Solid, ball, dome, lathe, ring, tube


@dataclass
class HeadSize:
    """Ellipse of the head at the rim of a hat, room for hair included, and the height of the head above it."""

    width: float
    depth: float
    height: float

    @property
    def radii(self):
        return self.width, self.depth


def beanie(head, colour):
    cuff = [(1, 0.02, -0.24), (1, 0.12, -0.25), (1, 0.15, -0.18), (1, 0.15, 0.04), (1, 0.12, 0.10), (1, 0.05, 0.10)]
    crown = [(s, 0.07, y) for s, _, y in dome(head.height + 0.12, 0.02)]
    return [
        Solid(lathe(cuff, head.radii), 'knit', colour),
        Solid(lathe(crown[:-1] + [(0, 0, head.height + 0.14)], head.radii), 'knit', colour * 0.92),
        Solid(ball((0, head.height + 0.26, 0), 0.17), 'fur', colour),
    ]


def brimmed(head, colour, band, brim, curl, height):
    """Fedora and cowboy hat: a pinched crown and a brim that curls up at the sides."""

    def curled(angle, offset, y):
        return offset, y + curl * (offset / brim) ** 2 * np.sin(angle) ** 2 - 0.05 * (offset / brim) * np.cos(angle) ** 2

    def pinched(angle, offset, y):
        top = np.clip((y - height * 0.5) / (height * 0.5), 0, 1)
        return offset - 0.10 * top * np.sin(angle) ** 2, y - 0.10 * top * (np.abs(np.sin(angle)) < 0.35)

    rim = (
        [(1, x, 0) for x in np.linspace(0.02, brim, 6)]
        + [(1, brim, -0.03)]
        + [(1, x, -0.03) for x in np.linspace(brim, 0.02, 6)]
    )
    crown = [
        (1, 0.05, -0.02),
        (0.98, 0.05, 0.25),
        (0.92, 0.03, height * 0.7),
        (0.84, 0.02, height * 0.95),
        (0.74, 0, height),
        (0.4, 0, height * 0.92),
        (0, 0, height * 0.86),
    ]
    belt = [(1, 0.06, 0), (1, 0.075, 0.02), (1, 0.07, 0.16), (1, 0.05, 0.17)]
    return [
        Solid(lathe(rim, head.radii, shape=curled), 'cloth', colour),
        Solid(lathe(crown, head.radii, shape=pinched), 'cloth', colour),
        Solid(lathe(belt, head.radii), 'gloss', band),
    ]


def fedora(head, colour):
    return brimmed(head, colour, colour * 0.25, 0.42, 0.16, head.height + 0.22)


def cowboy_hat(head, _):
    return brimmed(head, linear('80522e'), linear('3a2012'), 0.68, 0.42, head.height + 0.28)


def toque(head, _):
    white = linear('f6f4f0')

    def pleated(angle, offset, y):
        fold = np.clip((y - 0.38) / 0.2, 0, 1) * np.clip((1.25 - y) / 0.2, 0, 1)
        return offset + 0.05 * fold * np.cos(9 * angle), y

    band = [(1, 0.04, -0.10), (1, 0.06, -0.08), (1, 0.05, 0.40), (1, 0.02, 0.42)]
    puff = [(1, 0.02, 0.38), (1, 0.14, 0.50), (1, 0.24, 0.70), (1, 0.24, 0.86), (1, 0.10, 1.0), (0.7, 0, 1.08), (0, 0, 1.08)]
    return [Solid(lathe(band, head.radii), 'cloth', white), Solid(lathe(puff, head.radii, 72, pleated), 'cloth', white)]


def crown(head, _):
    def pointed(angle, offset, y):
        spike = np.abs(((angle * 8 / (2 * np.pi)) % 1) - 0.5) * 2
        upper = y > 0.3
        return offset + 0.05 * spike * upper, np.where(upper, 0.20 + 0.34 * spike, y)

    wall = [
        (1, 0.05, -0.04),
        (1, 0.09, -0.05),
        (1, 0.09, 0.02),
        (1, 0.07, 0.04),
        (1, 0.08, 0.16),
        (1, 0.10, 0.31),
        (1, 0.07, 0.31),
        (1, 0.04, 0),
    ]
    found = [Solid(lathe(wall, head.radii, 96, pointed), 'metal', GOLD)]
    for k in range(8):
        a = 2 * np.pi * k / 8
        tip = ((head.width + 0.15) * np.sin(a), 0.57, (head.depth + 0.15) * np.cos(a))
        gem = ((head.width + 0.09) * np.sin(a), 0.10, (head.depth + 0.09) * np.cos(a))
        found.append(Solid(ball(tip, 0.055), 'metal', GOLD))
        found.append(Solid(ball(gem, (0.06, 0.075, 0.06)), 'gloss', linear('b01030' if k % 2 == 0 else '1840a8')))
    return found


def wizard_hat(head, colour):
    def droop(angle, offset, y):
        return offset, y - 0.07 * np.cos(2 * angle)

    brim = [(1, x, 0.02) for x in np.linspace(0.02, 0.66, 6)] + [(1, x, -0.02) for x in np.linspace(0.66, 0.02, 6)]
    t = np.linspace(0, 1, 9)
    cone = [(1 - x**1.1, 0.10 * (1 - x), 1.8 * x) for x in t]
    vertices, triangles = lathe(cone, head.radii)
    bend = np.clip(vertices[:, 1] / 1.8, 0, 1) ** 2
    vertices = vertices + np.stack([0.35 * bend, -0.1 * bend, -0.25 * bend], -1).astype(np.float32)
    belt = [(1, 0.055, 0), (0.99, 0.075, 0.02), (0.92, 0.07, 0.15), (0.9, 0.04, 0.16)]
    return [
        Solid(lathe(brim, head.radii, shape=droop), 'cloth', colour),
        Solid((vertices, triangles), 'stars', colour),
        Solid(lathe(belt, head.radii), 'cloth', linear('c89a20')),
    ]


def tricorne(head, _):
    black = linear('2b2a30')

    def folded(angle, offset, y):
        side = 0.5 - 0.5 * np.cos(3 * angle)
        out = np.clip(offset / 0.6, 0, 1)
        return np.where(out > 0, 0.02 + out * (0.62 - 0.38 * side), offset), y + out * (0.06 + 0.42 * side)

    rim = [(1, x, 0) for x in np.linspace(0.02, 0.6, 7)] + [(1, x, -0.03) for x in np.linspace(0.6, 0.02, 7)]
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    offset, y = folded(angle, np.full(72, 0.6), np.zeros(72))
    trim_path = np.stack([(head.width + offset) * np.sin(angle), y, (head.depth + offset) * np.cos(angle)], -1)
    return [
        Solid(lathe(rim, head.radii, 72, folded), 'cloth', black),
        Solid(lathe([(s, 0.03, y) for s, _, y in dome(head.height + 0.05, -0.03)], head.radii), 'cloth', black),
        Solid(tube(trim_path, 0.035), 'metal', GOLD),
    ]


def bandana(head, _):
    red = linear('b82a2a')
    cap = [(1, 0.03, -0.16), (1, 0.05, -0.15), (1, 0.05, -0.02)] + [(s, 0.05, y) for s, _, y in dome(head.height + 0.06)]
    knot = (head.width + 0.1, -0.1, -0.35)
    return [
        Solid(lathe(cap, head.radii), 'dots', red),
        Solid(ball(knot, 0.12), 'cloth', red),
        Solid(ball((knot[0] + 0.1, knot[1] - 0.28, knot[2] - 0.1), (0.07, 0.28, 0.12)), 'dots', red),
    ]


def fire_helmet(head, _):
    red, yellow = linear('c4161a'), linear('e8b820')

    def long_back(angle, offset, y):
        back = 0.5 - 0.5 * np.cos(angle)
        return offset * (0.5 + 0.7 * back**2), y - 0.16 * back**2 * (offset > 0.05)

    brim = [(1, 0.02, 0.0), (1, 0.2, -0.02), (1, 0.5, -0.08), (1, 0.52, -0.11), (1, 0.2, -0.06), (1, 0.02, -0.05)]
    shell = [(1, 0.07, -0.02), (1, 0.09, 0.15)] + [(s, 0.09 * s, y) for s, _, y in dome(head.height - 0.02, 0.2)]
    arch = np.linspace(-0.1, np.pi + 0.1, 24)
    height = head.height + 0.22
    ridge = np.stack([np.zeros(24), 0.12 + height * np.sin(arch), (head.depth + 0.08) * np.cos(arch)], -1)
    front = head.depth + 0.12
    return [
        Solid(lathe(brim, head.radii, shape=long_back), 'gloss', red),
        Solid(lathe(shell, head.radii), 'gloss', red),
        Solid(tube(ridge, 0.06, closed=False), 'gloss', red),
        Solid(lathe([(1, 0.10, 0.02), (1, 0.115, 0.03), (1, 0.115, 0.12), (1, 0.10, 0.13)], head.radii), 'gloss', yellow),
        Solid(ball((0, 0.36, front - 0.04), (0.2, 0.27, 0.07)), 'metal', GOLD),
    ]


def peaked_cap(head, _):
    white, navy = linear('f2f2f0'), linear('1a2138')
    band = [(1, 0.03, -0.08), (1, 0.06, -0.07), (1, 0.06, 0.16), (1, 0.05, 0.17)]
    top = [(1, 0.05, 0.15), (1, 0.24, 0.36), (1, 0.27, 0.42), (1, 0.22, 0.48), (0.6, 0.1, 0.54), (0, 0, 0.55)]

    def visor(angle, offset, y):
        ahead = np.clip(np.cos(angle), 0, 1) ** 0.6
        return 0.04 + (offset - 0.04) * ahead, y - 0.2 * (offset / 0.42) * ahead

    def tilted(angle, offset, y):
        return offset, y + 0.1 * np.cos(angle) * np.clip((y - 0.2) / 0.2, 0, 1)

    peak = [(1, x, -0.06) for x in np.linspace(0.04, 0.42, 5)] + [(1, x, -0.09) for x in np.linspace(0.42, 0.04, 5)]
    return [
        Solid(lathe(band, head.radii), 'cloth', navy),
        Solid(lathe(top, head.radii, shape=tilted), 'cloth', white),
        Solid(lathe(peak, head.radii, shape=visor), 'gloss', linear('16161a')),
        Solid(ring((head.width + 0.08, head.depth + 0.08), 0.025, -0.05), 'metal', GOLD),
        Solid(ball((0, 0.12, head.depth + 0.1), (0.13, 0.11, 0.06)), 'metal', GOLD),
    ]


def knight_helmet(head, _):
    steel, mail = linear('c0c6d0'), linear('8a9098')
    skull = [(1, 0.10, -0.20), (1, 0.13, -0.19), (1, 0.12, -0.08), (1, 0.10, -0.05)] + [
        (s, 0.10 * s, y) for s, _, y in dome(head.height + 0.14)
    ]
    rows = [
        (1.05, 0.12, 0.0),
        (1.1, 0.12, -0.25),
        (1.1, 0.1, -0.5),
        (1.06, 0.06, -0.8),
        (0.95, 0.04, -1.1),
        (0.85, 0.05, -1.35),
        (0.9, 0.12, -1.6),
        (1.1, 0.3, -1.85),
    ]
    vertices, triangles = lathe(rows, head.radii, 72)
    middle = vertices[triangles].mean(1)
    face = (middle[:, 2] > 0.15) & (np.abs(middle[:, 0]) < head.width * 0.92) & (middle[:, 1] > -1.7)
    return [
        Solid(lathe(skull, head.radii), 'metal', steel),
        Solid((vertices, triangles[~face]), 'mail', mail),
        Solid(ring((head.width + 0.12, head.depth + 0.12), 0.05, -0.12), 'metal', GOLD),
    ]


def space_helmet(head, _):
    """An open bubble: a shell around the back of the head.  It sits on the suit and does not turn with the head."""
    centre, radius = np.array([0, -0.42, 0.06]), np.array([1.34, 1.38, 1.36])
    vertices, triangles = ball(centre, radius, 33, 64)
    middle = (vertices[triangles].mean(1) - centre) / radius
    shell = triangles[(middle[:, 2] < 0.28) & (middle[:, 1] > -0.86)]
    opening = np.sqrt(1 - 0.28**2)
    angle = np.linspace(-0.32 * np.pi, 1.32 * np.pi, 60)
    path = centre + np.stack([np.cos(angle) * opening, np.sin(angle) * opening, np.full(60, 0.28)], -1) * radius
    found = [
        Solid((vertices, shell), 'shell', linear('f4f4f6')),
        Solid(tube(path, 0.085, closed=False), 'gloss', linear('d8dce2')),
    ]
    for side in (-1, 1):
        found.append(Solid(ball((side * 1.36, -0.42, -0.05), (0.12, 0.22, 0.22)), 'gloss', linear('b8402a')))
    return found


HATS = {
    'beanie': beanie,
    'fedora': fedora,
    'cowboy hat': cowboy_hat,
    'toque': toque,
    'crown': crown,
    'wizard hat': wizard_hat,
    'tricorne': tricorne,
    'bandana': bandana,
    'fire helmet': fire_helmet,
    'peaked cap': peaked_cap,
    'knight helmet': knight_helmet,
    'space helmet': space_helmet,
    'beret': headgear.beret,
    'straw hat': headgear.straw_hat,
    'horned helmet': headgear.horned_helmet,
    'kabuto': headgear.kabuto,
    'aviator cap': headgear.aviator_cap,
    'scrub cap': headgear.scrub_cap,
    'diving helmet': headgear.diving_helmet,
    'diving mask': headgear.diving_mask,
    'santa hat': headgear.santa_hat,
    'mortarboard': headgear.mortarboard,
}
# how far above the brow line the rim sits
RIM_RAISED = {
    'crown': 0.16,
    'toque': 0.06,
    'wizard hat': -0.04,
    'beret': 0.10,
    'diving mask': 0.02,
    'mortarboard': 0.06,
    'straw hat': 0.06,
}
RIM = 0.04  # of all others
SITS_ON_SUIT = {'space helmet', 'diving helmet'}  # does not turn with the head
SHOWS_ALL_HAIR = {'crown', 'space helmet', 'diving helmet', 'diving mask'}
HIDES_ALL_HAIR = {'knight helmet'}
# how tall a hat stands over the head, of the height of the head: the camera steps back for it
TALL = {'wizard hat': 0.52, 'toque': 0.42, 'santa hat': 0.30, 'crown': 0.24, 'horned helmet': 0.30, 'kabuto': 0.40, 'cowboy hat': 0.22,
        'space helmet': 0.26, 'diving helmet': 0.28, 'fedora': 0.12, 'tricorne': 0.16, 'straw hat': 0.16, 'mortarboard': 0.16,
        'beanie': 0.14, 'fire helmet': 0.12, 'peaked cap': 0.16, 'knight helmet': 0.12, 'beret': 0.14, 'diving mask': 0.06, 'aviator cap': 0.13, 'bandana': 0.05, 'scrub cap': 0.05}  # fmt: skip
