"""More hats, in the frame that hats.py describes: origin in the middle of the head at the rim, y upwards, z to the front."""

import numpy as np

from palette import linear
from solids import GOLD, Solid, ball, dome, lathe, ring, tube


def beret(head, colour):
    """A flat cap that leans to one side."""
    profile = [(1, 0.03, -0.05), (1, 0.06, -0.02), (1, 0.07, 0.08), (1, 0.16, 0.16), (1, 0.22, 0.27), (1, 0.17, 0.40),
               (0.75, 0.08, 0.52), (0.4, 0.03, 0.60), (0, 0, 0.62)]  # fmt: skip
    points, triangles = lathe(profile, head.radii)
    lift = np.clip((points[:, 1] - 0.05) / 0.5, 0, 1)
    points = points + (np.stack([0.26 * lift, (0.10 - 0.26 * points[:, 0]) * lift, -0.12 * lift], -1)).astype(np.float32)
    tip = points[-1]
    return [
        Solid((points, triangles), 'cloth', colour),
        Solid(lathe([(1, 0.02, -0.08), (1, 0.06, -0.07), (1, 0.07, 0.03), (1, 0.05, 0.05)], head.radii), 'cloth', colour * 0.5),
        Solid(ball(tip + [0, 0.04, 0], (0.05, 0.08, 0.05)), 'cloth', colour),
    ]


def straw_hat(head, _):
    """A wide sun hat with a band."""
    straw = linear('e2bf72')

    def floppy(angle, offset, y):
        return offset, y - 0.16 * (offset / 0.8) ** 2 + 0.05 * (offset / 0.8) * np.sin(3 * angle)

    rim = [(1, x, 0.02) for x in np.linspace(0.02, 0.8, 9)] + [(1, x, -0.01) for x in np.linspace(0.8, 0.02, 9)]
    crown = [
        (1, 0.05, -0.02),
        (0.99, 0.06, 0.3),
        (0.9, 0.05, head.height * 0.8),
        (0.6, 0.03, head.height + 0.1),
        (0, 0, head.height + 0.16),
    ]
    belt = [(1, 0.06, 0.02), (1, 0.085, 0.03), (1, 0.08, 0.20), (1, 0.06, 0.21)]
    return [
        Solid(lathe(rim, head.radii, 64, floppy), 'straw', straw),
        Solid(lathe(crown, head.radii), 'straw', straw),
        Solid(lathe(belt, head.radii), 'cloth', linear('b8323c')),
        Solid(ball((0.45, 0.16, head.depth * 0.9), (0.16, 0.16, 0.07)), 'petals', linear('f0b020')),
        Solid(ball((0.45, 0.16, head.depth * 0.9 + 0.06), 0.07), 'cloth', linear('5a3212')),
    ]


def horned_helmet(head, _):
    """An iron cap with two horns."""
    iron, bone = linear('8d929b'), linear('efe2c4')
    skull = [(1, 0.06, -0.06), (1, 0.09, -0.05), (1, 0.09, 0.05)] + [
        (s, 0.08 * s, y) for s, _, y in dome(head.height + 0.12, 0.06)
    ]
    found = [
        Solid(lathe(skull, head.radii), 'metal', iron),
        Solid(lathe([(1, 0.09, -0.08), (1, 0.13, -0.06), (1, 0.13, 0.08), (1, 0.09, 0.10)], head.radii), 'metal', GOLD),
    ]
    arch = np.linspace(0.05, np.pi - 0.05, 20)
    height = head.height + 0.18
    found.append(
        Solid(
            tube(
                np.stack([np.zeros(20), 0.05 + height * np.sin(arch), (head.depth + 0.09) * np.cos(arch)], -1),
                0.06,
                closed=False,
            ),
            'metal',
            GOLD,
        )
    )
    for k in range(10):
        a = 2 * np.pi * (k + 0.5) / 10
        found.append(
            Solid(ball(((head.width + 0.14) * np.sin(a), 0.01, (head.depth + 0.14) * np.cos(a)), 0.045, 5, 8), 'metal', iron)
        )
    t = np.linspace(0, 1, 16)
    for side in (-1, 1):
        root = np.array([side * (head.width - 0.02), 0.28, 0.0])
        path = root + np.stack([side * 0.62 * np.sin(t * 1.5), 0.85 * t**1.7, 0.12 * t], -1)
        points, triangles = tube(path, 1.0, 14, closed=False)
        rings, middle = points.reshape(16, 14, 3), path[:, None]
        radius = (0.19 * (1 - t) ** 0.75 + 0.012)[:, None, None]
        found.append(Solid(((middle + (rings - middle) * radius).reshape(-1, 3).astype(np.float32), triangles), 'gloss', bone))
        found.append(Solid(ball(root, (0.14, 0.22, 0.22)), 'metal', GOLD))
    return found


def kabuto(head, _):
    """A samurai's helmet: a black bowl, a flared guard of the neck, a golden crescent."""
    black, red = linear('26242c'), linear('a81e22')
    bowl = [(1, 0.05, -0.04), (1, 0.10, -0.03), (1, 0.10, 0.04)] + [
        (s, 0.10 * s, y) for s, _, y in dome(head.height + 0.12, 0.05)
    ]

    def ribbed(angle, offset, y):
        return offset + 0.018 * np.abs(np.sin(angle * 8)) * (y > 0.06), y

    found = [Solid(lathe(bowl, head.radii, 96, ribbed), 'lacquer', black)]
    for k in range(4):
        low = -0.10 - 0.17 * k
        rows = [(1, 0.10 + 0.13 * k, low + 0.13), (1, 0.20 + 0.14 * k, low - 0.03), (1, 0.18 + 0.14 * k, low - 0.05)]
        points, triangles = lathe(rows, head.radii, 72)
        behind = points[triangles].mean(1)[:, 2] < 0.30 * head.depth
        found.append(Solid((points, triangles[behind]), 'lacquer', red if k % 2 else black))
    visor = [(1, x, 0.0 - 0.25 * x) for x in np.linspace(0.06, 0.34, 5)] + [
        (1, x, -0.03 - 0.25 * x) for x in np.linspace(0.34, 0.06, 5)
    ]
    points, triangles = lathe(visor, head.radii, 72)
    found.append(Solid((points, triangles[points[triangles].mean(1)[:, 2] > 0.45 * head.depth]), 'lacquer', black))
    a = np.linspace(-1.95, 1.95, 40)
    front = head.depth + 0.16
    path = np.stack([0.74 * np.sin(a), 0.84 - 0.60 * np.cos(a), np.full(40, front)], -1)
    points, triangles = tube(path, 1.0, 10, closed=False)
    radius = (0.085 * np.cos(a / 1.95 * 1.5) ** 0.8 + 0.012)[:, None, None]
    rings = path[:, None] + (points.reshape(40, 10, 3) - path[:, None]) * radius
    found.append(Solid((rings.reshape(-1, 3).astype(np.float32), triangles), 'metal', GOLD))
    found.append(Solid(ball((0, 0.24, front - 0.02), (0.14, 0.14, 0.08)), 'metal', GOLD))
    found.append(Solid(ring((head.width + 0.1, head.depth + 0.1), 0.03, 0.0), 'metal', GOLD))
    return found


def aviator_cap(head, _):
    """A leather cap with flaps over the ears and goggles on the brow."""
    leather, strap = linear('6b4226'), linear('3c2414')
    cap = [(1, 0.05, -0.06), (1, 0.06, 0.1)] + [(s, 0.06 * s, y) for s, _, y in dome(head.height + 0.03, 0.1)]

    def flaps(angle, offset, y):
        side = np.exp(-(((np.abs((angle + np.pi) % (2 * np.pi) - np.pi) - 1.75) / 0.55) ** 2))
        back = 0.5 - 0.5 * np.cos(angle)
        return offset, y - (0.78 * side + 0.30 * back**3) * (y < -0.1)

    lower = [(1, 0.05, 0.0), (1, 0.055, -0.06), (1, 0.05, -0.14), (0.98, 0.03, -0.14)]
    found = [
        Solid(lathe(cap, head.radii), 'leather', leather),
        Solid(lathe(lower, head.radii, 72, flaps), 'leather', leather * 0.9),
        Solid(ring((head.width + 0.07, head.depth + 0.07), 0.045, 0.14), 'leather', strap),
    ]
    for side in (-1, 1):
        middle = np.array([side * 0.30, 0.20, head.depth - 0.02])
        angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
        rim = middle + np.stack([0.24 * np.cos(angle), 0.19 * np.sin(angle), 0.16 - 0.10 * side * np.cos(angle)], -1)
        found.append(Solid(tube(rim, 0.05), 'metal', linear('c9a45a')))
        found.append(Solid(ball(middle + [0, 0, 0.12], (0.23, 0.18, 0.06)), 'gloss', linear('6f93a6')))
    return found


def scrub_cap(head, colour):
    cap = [(1, 0.03, -0.10), (1, 0.055, -0.09), (1, 0.06, 0.02)] + [
        (s, 0.06 + 0.06 * (1 - s), y) for s, _, y in dome(head.height, 0.06)
    ]
    band = [(1, 0.05, -0.11), (1, 0.075, -0.10), (1, 0.075, 0.02), (1, 0.05, 0.04)]
    return [Solid(lathe(cap, head.radii), 'cloth', colour), Solid(lathe(band, head.radii), 'cloth', colour * 0.8)]


def diving_helmet(head, _):
    """An old copper helmet with a wide round window, its glass swung open.  It sits on the suit."""
    copper, brass = linear('c07a45'), linear('d9a94e')
    centre, radius = np.array([0, -0.42, 0.06]), np.array([1.36, 1.42, 1.40])
    points, triangles = ball(centre, radius, 41, 72)
    middle = (points[triangles].mean(1) - centre) / radius
    window = np.hypot(middle[:, 0], middle[:, 1] * 0.98) < 0.86
    shell = triangles[~(window & (middle[:, 2] > 0)) & (middle[:, 1] > -0.9)]
    found = [Solid((points, shell), 'metal', copper)]
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    deep = np.sqrt(1 - 0.86**2)
    rim = centre + np.stack([0.86 * np.cos(angle), 0.87 * np.sin(angle), np.full(72, deep)], -1) * radius
    found.append(Solid(tube(rim, 0.10), 'metal', brass))
    for k in range(12):
        a = 2 * np.pi * k / 12
        at = centre + np.array([0.86 * np.cos(a), 0.87 * np.sin(a), deep + 0.06]) * radius
        found.append(Solid(ball(at, 0.06, 5, 8), 'metal', linear('8a5a30')))
    for side in (-1, 1):
        found.append(Solid(ball(centre + [side * 1.36, 0.1, -0.1], (0.14, 0.34, 0.34)), 'metal', brass))
    return found


def diving_mask(head, _):
    """A mask pushed up on the brow, with its strap and a snorkel."""
    black, blue = linear('1d1e24'), linear('f0c020')
    angle = np.linspace(0, 2 * np.pi, 56, endpoint=False)
    c, s = np.cos(angle), np.sin(angle)
    x = 0.66 * np.sign(c) * np.abs(c) ** 0.55
    y = 0.30 + 0.27 * np.sign(s) * np.abs(s) ** 0.6
    z = np.sqrt(np.maximum(1 - (x / (head.width + 0.35)) ** 2, 0.1)) * (head.depth + 0.13) - 0.25 * (y - 0.3)
    pane = ball((0, 0.30, 0), 1.0, 9, 24)
    glass = pane[0] * 0 + np.stack(
        [0.60 * pane[0][:, 0], 0.30 + 0.22 * (pane[0][:, 1] - 0.30), head.depth + 0.02 + 0.07 * pane[0][:, 2]], -1
    )
    t = np.linspace(0, 1, 20)[:, None]
    root = np.array([head.width + 0.14, -0.55, 0.45])
    pipe = root + np.concatenate([0.10 * np.sin(t * 3), 1.75 * t, -0.15 * t], 1)
    return [
        Solid(tube(np.stack([x, y, z], -1), 0.075), 'gloss', blue),
        Solid((glass.astype(np.float32), pane[1]), 'gloss', linear('7fc4d8')),
        Solid(ring((head.width + 0.06, head.depth + 0.03), 0.06, 0.22), 'gloss', black),
        Solid(tube(pipe, 0.085, 12, closed=False), 'gloss', blue),
        Solid(tube(pipe[-5:], 0.095, 12, closed=False), 'gloss', linear('d83a2a')),
    ]


def santa_hat(head, _):
    red, white = linear('c0181f'), linear('f4f1ec')
    t = np.linspace(0, 1, 14)
    points, triangles = lathe([(1 - x**1.1, 0.07 * (1 - x), 1.55 * x) for x in t], head.radii)
    bend = np.clip(points[:, 1] / 1.55, 0, 1)
    points = points + np.stack([0.85 * bend**2.2, -0.85 * bend**2.5, -0.10 * bend], -1).astype(np.float32)
    trim = [(1, 0.02, -0.16), (1, 0.14, -0.15), (1, 0.19, -0.06), (1, 0.19, 0.06), (1, 0.14, 0.14), (1, 0.04, 0.15)]
    return [
        Solid((points, triangles), 'cloth', red),
        Solid(lathe(trim, head.radii), 'fur', white),
        Solid(ball(points[-1], 0.19, 11, 18), 'fur', white),
    ]


def mortarboard(head, colour):
    black = linear('20222c')
    cap = [(1, 0.03, -0.06), (1, 0.05, -0.05), (1, 0.04, 0.25), (0.96, 0.02, head.height * 0.9), (0.5, 0, head.height + 0.02)]
    top, half = head.height + 0.06, head.depth + 0.42
    board = np.array(
        [[x * half, top + dy - 0.10 * z, z * half] for dy in (0, 0.05) for x, z in ((0, 1), (1, 0), (0, -1), (-1, 0))],
        np.float32,
    )
    faces = [(0, 1, 2), (0, 2, 3), (4, 5, 6), (4, 6, 7)] + [
        f for i in range(4) for f in ((i, (i + 1) % 4, 4 + i), ((i + 1) % 4, 4 + (i + 1) % 4, 4 + i))
    ]
    # every face with its own corners, so that edges stay sharp
    points = board[np.array(faces)].reshape(-1, 3)
    cord = np.array(
        [
            [0, top + 0.07, 0],
            [0.3, top + 0.06, 0.35],
            [0.62, top + 0.02, 0.45],
            [0.72, top - 0.2, 0.47],
            [0.73, top - 0.45, 0.47],
        ]
    )
    return [
        Solid(lathe(cap, head.radii), 'cloth', black),
        Solid((points, np.arange(len(points)).reshape(-1, 3)), 'cloth', black),
        Solid(ball((0, top + 0.07, 0), 0.06), 'metal', GOLD),
        Solid(tube(cord, 0.028, closed=False), 'metal', GOLD),
        Solid(ball((0.73, top - 0.58, 0.47), (0.07, 0.17, 0.07)), 'metal', GOLD),
    ]
