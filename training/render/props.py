"""Things beside or before the person.  Frame: the middle of the neck where it leaves the shoulders, y upwards, z to the front."""

import numpy as np

from palette import linear
from solids import GOLD, Solid, ball, grid_triangles, tube


def disc(centre, radii, normal, thickness=0.04):
    """A flat round plate that looks along `normal`."""
    normal = np.asarray(normal, float) / np.linalg.norm(normal)
    side = np.cross([0, 1, 0], normal)
    side /= np.linalg.norm(side)
    up = np.cross(normal, side)
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    around = np.cos(angle)[:, None] * radii[0] * side + np.sin(angle)[:, None] * radii[1] * up
    rows = [
        around * s + normal * h
        for s, h in ((0.001, thickness), (0.96, thickness), (1.0, 0), (0.96, -thickness), (0.001, -thickness))
    ]
    return (np.asarray(centre) + np.concatenate(rows)).astype(np.float32), grid_triangles(5, 40)


def football(_):
    points, triangles = ball((0, 0, 0), 0.58, 25, 40)
    return [Solid((points + np.array([-0.84, -0.86, 1.25], np.float32), triangles), 'football', linear('f2f2f2'), points)]


def microphone(_):
    head, foot = np.array([0.50, -0.40, 1.50]), np.array([0.98, -1.6, 1.7])
    t = np.linspace(0, 1, 12)[:, None]
    path = head * (1 - t) + foot * t
    return [
        Solid(ball(head, (0.20, 0.22, 0.20), 13, 22), 'mail', linear('c8ccd2')),
        Solid(tube(head + (path - head) * 0.38, 0.10, 12, closed=False), 'gloss', linear('26282e')),
        Solid(tube(path, 0.045, 10, closed=False), 'metal', linear('9a9ea6')),
    ]


def palette_and_brush(_):
    centre = np.array([-0.98, -0.80, 1.35])
    normal = np.array([0.35, 0.25, 1.0])
    found = [Solid(disc(centre, (0.66, 0.52), normal), 'gloss', linear('b9824a'))]
    for k, colour in enumerate(('d8262c', 'f0b81c', '2a5fd0', '2c9a4a', 'f2f0ea', '7a3fa8')):
        a = 0.4 + k * 0.78
        at = centre + np.array([0.44 * np.cos(a), 0.34 * np.sin(a), 0.10 - 0.15 * np.cos(a) - 0.08 * np.sin(a)])
        found.append(Solid(ball(at, (0.12, 0.10, 0.06)), 'gloss', linear(colour)))
    t = np.linspace(0, 1, 8)[:, None]
    low, high = np.array([0.95, -1.5, 1.4]), np.array([0.72, 0.02, 1.25])
    stick = low * (1 - t) + high * t
    return found + [
        Solid(tube(stick, 0.045, 10, closed=False), 'gloss', linear('8a5a2c')),
        Solid(tube(stick[-2:] + [0, 0.06, 0], 0.06, 10, closed=False), 'metal', GOLD),
        Solid(ball(high + [-0.01, 0.20, 0], (0.08, 0.20, 0.08)), 'gloss', linear('d8262c')),
    ]


def magnifier(_):
    centre = np.array([-0.86, -0.42, 1.42])
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    rim = centre + np.stack([0.36 * np.cos(angle), 0.36 * np.sin(angle), 0 * angle], -1)
    t = np.linspace(0, 1, 8)[:, None]
    handle = centre + np.array([-0.24, -0.30, 0]) + t * np.array([-0.42, -0.75, 0.05])
    return [
        Solid(tube(rim, 0.055), 'metal', GOLD),
        Solid(disc(centre, (0.34, 0.34), (0, 0.1, 1), 0.01), 'glow', linear('a9cfe0') * 0.55),
        Solid(tube(handle, 0.075, 10, closed=False), 'gloss', linear('4a2a16')),
    ]


def sunflower(_):
    centre = np.array([-0.88, -0.42, 1.20])
    found = []
    for k in range(14):
        a = 2 * np.pi * k / 14
        out = np.array([np.cos(a), np.sin(a), 0.12])
        points, triangles = ball((0, 0, 0), (0.20, 0.085, 0.04), 9, 14)
        c, s = np.cos(a), np.sin(a)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        found.append(Solid(((points @ turn.T + centre + out * 0.32).astype(np.float32), triangles), 'gloss', linear('f5b81c')))
    t = np.linspace(0, 1, 8)[:, None]
    stem = centre + [0, -0.1, -0.06] + t * np.array([0.12, -1.4, 0.05])
    return found + [
        Solid(ball(centre + [0, 0, 0.03], (0.23, 0.23, 0.10), 13, 22), 'fur', linear('5a3416')),
        Solid(tube(stem, 0.05, 10, closed=False), 'gloss', linear('3f8a3a')),
        Solid(ball(stem[4] + [0.2, 0.05, 0], (0.24, 0.10, 0.05)), 'gloss', linear('3f8a3a')),
    ]


def flask(_):
    """A chemist's flask with something green in it."""
    centre = np.array([-0.84, -0.66, 1.30])
    t = np.linspace(0, 1, 10)[:, None]
    neck = centre + [0, 0.25, 0] + t * np.array([0, 0.55, 0])
    return [
        Solid(ball(centre, (0.40, 0.38, 0.38), 17, 28), 'glow', linear('35c26a') * 0.7),
        Solid(tube(neck, 0.12, 14, closed=False), 'gloss', linear('cfe6ec')),
        Solid(tube(neck[-2:], 0.15, 14, closed=False), 'gloss', linear('e6f2f4')),
        Solid(ball(centre + [0.12, 0.14, 0.30], (0.07, 0.09, 0.05)), 'glow', linear('d8ffe4')),
    ]


PROPS = {
    'football': football,
    'microphone': microphone,
    'palette': palette_and_brush,
    'magnifying glass': magnifier,
    'sunflower': sunflower,
    'flask': flask,
}
