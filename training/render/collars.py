"""Collars, built around a measured neck.

Frame: origin in the middle of the neck at the height where it leaves the shoulders, y upwards, z to the front.
"""

import numpy as np

from palette import linear
from solids import GOLD, Solid, ball, lathe, ring, tube


def turtleneck(radii, colour):
    rows = [
        (1, -0.05, -0.42),
        (1, 0.07, -0.20),
        (1, 0.085, 0.0),
        (1, 0.085, 0.10),
        (1, 0.10, 0.17),
        (1, 0.09, 0.205),
        (1, 0.05, 0.21),
        (1, 0.03, 0.15),
        (1, 0.02, 0.0),
    ]
    return [Solid(lathe(rows, radii), 'cloth', colour)]


def stand(radii, colour):
    """A short upright collar, open a little at the front."""

    def notch(angle, offset, y):
        gap = (abs((angle + 3.1416) % 6.2832 - 3.1416) < 0.28) & (y > -0.05)
        return offset + 0.04 * gap, y - 0.14 * gap

    rows = [(1, 0.02, -0.36), (1, 0.11, -0.14), (1, 0.12, 0.08), (1, 0.12, 0.14), (1, 0.09, 0.14), (1, 0.09, -0.05)]
    return [Solid(lathe(rows, radii, shape=notch), 'cloth', colour * 0.94)]


def lapels(radii, colour):
    """A turned-down shirt collar."""

    def opened(angle, offset, y):
        ahead = np.clip(1.35 - np.abs((angle + np.pi) % (2 * np.pi) - np.pi) / 0.42, 0, 1)
        return offset + 0.06 * ahead * (offset > 0.3), y - 0.20 * ahead - 0.08 * ahead * (offset > 0.3)

    rows = [(1, 0.40, -0.22), (1, 0.26, -0.06), (1, 0.15, 0.07), (1, 0.11, 0.07), (1, 0.09, -0.08)]
    return [Solid(lathe(rows, radii, shape=opened), 'cloth', colour * 0.93)]


def gold_lapels(radii, colour):
    return lapels(radii, colour) + [Solid(ring((radii[0] + 0.31, radii[1] + 0.31), 0.025, -0.13), 'metal', GOLD)]


def neckerchief(radii, _):
    def pointed(angle, offset, y):
        ahead = abs((angle + 3.1416) % 6.2832 - 3.1416)
        fall = (1 - ahead.clip(0, 0.9) / 0.9) * (y < -0.1)
        return offset + 0.12 * fall, y - 0.38 * fall

    rows = [(1, 0.28, -0.22), (1, 0.25, -0.12), (1, 0.20, 0.02), (1, 0.13, 0.07), (1, 0.07, 0.05)]
    return [Solid(lathe(rows, radii, shape=pointed), 'dots', linear('b82a2a'))]


def space_ring(radii, _):
    wide = (radii[0] + 0.50, radii[1] + 0.48)
    return [
        Solid(ring(wide, 0.15, -0.04), 'gloss', linear('d6dae0')),
        Solid(ring((wide[0], wide[1]), 0.12, 0.12), 'metal', linear('c8ccd4')),
        Solid(ring((wide[0] + 0.05, wide[1] + 0.05), 0.10, -0.20), 'gloss', linear('c0392b')),
    ]


def gorget(radii, _):
    rows = [
        (1, 0.62, -0.34),
        (1, 0.52, -0.22),
        (1, 0.30, -0.10),
        (1, 0.24, 0.02),
        (1, 0.22, 0.10),
        (1, 0.19, 0.12),
        (1, 0.16, 0.08),
    ]
    return [
        Solid(lathe(rows, radii), 'metal', linear('b8bec8')),
        Solid(ring((radii[0] + 0.57, radii[1] + 0.57), 0.035, -0.27), 'metal', GOLD),
    ]


def hood(radii, colour):
    """The folded hood of a hooded jumper, open at the front."""

    def folded(angle, offset, y):
        back = 0.5 - 0.5 * np.cos(angle)
        return offset + 0.22 * back * (offset > 0.15), y + 0.14 * back - 0.16 * (1 - back) ** 3

    rows = [
        (1, 0.22, -0.30),
        (1, 0.34, -0.16),
        (1, 0.36, 0.0),
        (1, 0.27, 0.12),
        (1, 0.16, 0.10),
        (1, 0.11, -0.04),
        (1, 0.10, -0.25),
    ]
    return [Solid(lathe(rows, radii, 64, folded), 'cloth', colour * 0.92)]


def shearling(radii, _):
    rows = [(1, 0.42, -0.26), (1, 0.48, -0.12), (1, 0.40, 0.06), (1, 0.26, 0.14), (1, 0.15, 0.08), (1, 0.12, -0.10)]

    def opened(angle, offset, y):
        ahead = np.abs((angle + np.pi) % (2 * np.pi) - np.pi) < 0.34
        return offset - 0.05 * ahead, y - 0.24 * ahead

    scarf = [(1, 0.10, -0.3), (1, 0.14, -0.1), (1, 0.13, 0.06), (1, 0.08, 0.10), (1, 0.04, 0.02)]
    return [
        Solid(lathe(rows, radii, 64, opened), 'fur', linear('e9dcc0')),
        Solid(lathe(scarf, radii), 'cloth', linear('f2efe8')),
    ]


def fur_collar(radii, _):
    rows = [(1, 0.95, -0.52), (1, 0.98, -0.36), (1, 0.80, -0.12), (1, 0.52, 0.06), (1, 0.28, 0.04), (1, 0.18, -0.12)]
    clasp = (0, -0.42, radii[1] + 0.92)
    return [Solid(lathe(rows, radii, 64), 'fur', linear('7a5c42')), Solid(ball(clasp, (0.14, 0.14, 0.07)), 'metal', GOLD)]


def cape(radii, colour):
    """A cape's collar that stands behind the head, fastened at the front."""

    def standing(angle, offset, y):
        back = (0.5 - 0.5 * np.cos(angle)) ** 1.5
        return offset + 0.30 * back * (y > -0.1), y + 0.42 * back * (y > -0.1) - 0.12 * (1 - back)

    rows = [(1, 0.95, -0.62), (1, 0.60, -0.30), (1, 0.34, -0.12), (1, 0.30, 0.10), (1, 0.26, 0.12), (1, 0.26, -0.12)]
    points, triangles = lathe(rows, radii, 64, standing)
    middle = points[triangles].mean(1)
    aside = (middle[:, 2] < 0.1) | (np.abs(middle[:, 0]) > 0.42 + 0.3 * np.clip(middle[:, 1] + 0.3, 0, 1))
    found = [Solid((points, triangles[aside]), 'cloth', colour)]
    for side in (-1, 1):
        found.append(Solid(ball((side * 0.52, -0.34, radii[1] + 0.34), (0.11, 0.11, 0.07)), 'metal', GOLD))
    return found


def stethoscope(radii, colour):
    """A v-shaped edge with a stethoscope around the neck."""
    a = np.linspace(-2.6, 2.6, 48)
    drop = np.clip((1.2 - np.abs(a)) / 1.2, 0, 1)
    path = np.stack(
        [
            (radii[0] + 0.30 - 0.10 * drop) * np.sin(a),
            -0.02 - 0.10 * np.cos(a) - 0.48 * drop,
            (radii[1] + 0.26) * np.cos(a) + 0.22 * drop,
        ],
        -1,
    )
    bell_at = np.array([0.34, -0.80, radii[1] + 0.62])
    hang = np.linspace(0, 1, 12)[:, None] * (bell_at - path[24]) + path[24]
    dark = linear('2b3038')
    rows = [(1, 0.20, -0.22), (1, 0.17, -0.10), (1, 0.13, -0.06), (1, 0.11, -0.14)]
    return [
        Solid(lathe(rows, radii), 'cloth', colour * 0.85),
        Solid(tube(path, 0.05, 10, closed=False), 'gloss', dark),
        Solid(tube(hang, 0.045, 10, closed=False), 'gloss', dark),
        Solid(ball(bell_at, (0.16, 0.16, 0.07)), 'metal', linear('d4d8de')),
    ]


def bow(radii, colour):
    """A painter's soft bow."""
    z = radii[1] + 0.30
    found = [Solid(o.mesh, o.kind, o.colour) for o in lapels(radii, linear('f0ede4'))]
    for side in (-1, 1):
        found.append(Solid(ball((side * 0.20, -0.20, z), (0.22, 0.13, 0.09)), 'cloth', colour))
        found.append(Solid(ball((side * 0.12, -0.46, z + 0.06), (0.09, 0.24, 0.05)), 'cloth', colour * 0.9))
    return found + [Solid(ball((0, -0.20, z + 0.04), 0.09), 'cloth', colour * 0.8)]


def brass_ring(radii, _):
    wide = (radii[0] + 0.50, radii[1] + 0.48)
    return [
        Solid(ring(wide, 0.17, -0.04), 'metal', linear('d9a94e')),
        Solid(ring((wide[0] + 0.06, wide[1] + 0.06), 0.12, -0.22), 'metal', linear('b87340')),
    ]


def white_fur(radii, _):
    rows = [(1, 0.62, -0.36), (1, 0.60, -0.18), (1, 0.42, 0.02), (1, 0.24, 0.06), (1, 0.14, -0.08)]
    return [Solid(lathe(rows, radii, 64), 'fur', linear('f4f1ec'))]


def jacket_collar(radii, colour):
    return [Solid(o.mesh, 'leather', colour) for o in lapels(radii, colour)]


def trench_collar(radii, colour):
    def opened(angle, offset, y):
        ahead = abs((angle + 3.1416) % 6.2832 - 3.1416) < 0.42
        return offset, y - 0.16 * ahead

    rows = [(1, 0.52, -0.24), (1, 0.42, -0.02), (1, 0.27, 0.17), (1, 0.22, 0.16), (1, 0.14, -0.08)]
    return [Solid(lathe(rows, radii, shape=opened), 'cloth', colour * 0.95)]


CLOSE = ('turtleneck', 'stand')  # the neck hole of the cloth is narrower under these
COLLARS = {
    'brass ring': brass_ring,
    'white fur': white_fur,
    'jacket': jacket_collar,
    'trench': trench_collar,
    'hood': hood,
    'shearling': shearling,
    'fur': fur_collar,
    'cape': cape,
    'stethoscope': stethoscope,
    'bow': bow,
    'turtleneck': turtleneck,
    'stand': stand,
    'lapels': lapels,
    'gold lapels': gold_lapels,
    'neckerchief': neckerchief,
    'ring': space_ring,
    'gorget': gorget,
}
