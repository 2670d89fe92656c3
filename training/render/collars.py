"""Collars, built around a measured neck.

Frame: origin in the middle of the neck at the height where it leaves the shoulders, y upwards, z to the front.
"""

from hats import GOLD, Solid
from palette import linear
from solids import lathe, ring


def turtleneck(radii, colour):
    rows = [
        (1, 0.12, -0.42),
        (1, 0.10, -0.20),
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

    rows = [(1, 0.20, -0.34), (1, 0.14, -0.14), (1, 0.12, 0.08), (1, 0.12, 0.14), (1, 0.09, 0.14), (1, 0.09, -0.05)]
    return [Solid(lathe(rows, radii, shape=notch), 'cloth', colour * 0.94)]


def lapels(radii, colour):
    """A turned-down shirt collar."""

    def opened(angle, offset, y):
        ahead = abs((angle + 3.1416) % 6.2832 - 3.1416) < 0.3
        return offset, y - 0.12 * ahead

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


COLLARS = {
    'turtleneck': turtleneck,
    'stand': stand,
    'lapels': lapels,
    'gold lapels': gold_lapels,
    'neckerchief': neckerchief,
    'ring': space_ring,
    'gorget': gorget,
}
