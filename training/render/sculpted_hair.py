"""Hair as a sculptor would make it: a cap grown from the skull, and locks, curtains, buns and tails added to it.

A head is first measured as distances from a centre in a grid of directions; a hairstyle is a thickness and a hairline in the same
directions.  Azimuth 0 is the front and grows to the person's left (+x); polar angle 0 is the top.  Degrees throughout.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter, map_coordinates

from head_model import BODY_VERTICES
from solids import ball, grid_triangles, tube
from stylise import smoothstep

CENTRE = np.array([0, 7.45, 0.5], np.float32)  # on the template
POLAR_ROWS, AZIMUTHS, POLAR_END = 36, 72, 140.0
# the hairline: polar angle at which hair ends, by azimuth (mirrored)
HAIRLINE = ([0, 22, 38, 52, 64, 74, 84, 98, 112, 130, 155, 180], [56, 57, 61, 67, 80, 93, 90, 86, 95, 112, 121, 123])


def directions(azimuth, polar):
    """Unit vectors [..., 3]."""
    a, p = np.broadcast_arrays(np.radians(azimuth), np.radians(polar))
    return np.stack([np.sin(a) * np.sin(p), np.cos(p), np.cos(a) * np.sin(p)], -1)


class Skull:
    """How far the skin lies from the centre of the head, by direction: measured on the template, followed on every person."""

    def __init__(self, template, triangles):
        corners = template[triangles]
        keep = (corners[..., 1].max(1) > 6.2) & (triangles.max(1) < BODY_VERTICES)
        triangles, corners = triangles[keep], corners[keep]
        polar = np.linspace(0, POLAR_END, POLAR_ROWS)
        azimuth = np.arange(AZIMUTHS) * 360 / AZIMUTHS
        self.rays = directions(azimuth[None], polar[:, None])  # [rows, azimuths, 3]
        a, e, f = corners[:, 0] - CENTRE, corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        normal = np.cross(e, f)
        along = (a * normal).sum(1)
        self.anchors = np.zeros((POLAR_ROWS, AZIMUTHS, 3), np.int64)
        self.weights = np.zeros((POLAR_ROWS, AZIMUTHS, 3, 1), np.float32)
        for i, rays in enumerate(self.rays):
            with np.errstate(divide='ignore', invalid='ignore'):
                t = along / (rays @ normal.T)  # [azimuths, triangles]
                q = t[..., None] * rays[:, None] - a
                area = (normal * normal).sum(1)
                v = (np.cross(q, f) * normal).sum(-1) / area
                w = (np.cross(e, q) * normal).sum(-1) / area
            hit = (t > 0.3) & (v >= -1e-4) & (w >= -1e-4) & (v + w <= 1.0001)
            best = np.where(hit, t, np.inf).argmin(1)
            picked = np.arange(AZIMUTHS)
            self.anchors[i] = triangles[best]
            v, w = v[picked, best], w[picked, best]
            self.weights[i, :, :, 0] = np.stack([1 - v - w, v, w], -1)

    def measure(self, head, shift):
        """Centre and distances [rows, azimuths] on a head whose eyes lie `shift` from the template's."""
        centre = CENTRE + shift
        points = (head[self.anchors] * self.weights).sum(2)
        distance = np.linalg.norm(points - centre, axis=-1)
        return centre, gaussian_filter(distance, 1.0, mode=('nearest', 'wrap'))


@dataclass
class Style:
    """A hairstyle.  `cap(azimuth, polar, share)` is its thickness; `share` runs from the crown (0) to the hairline (1)."""

    cap: object
    flow: str = 'crown'  # which way hair runs: from the crown, "back", or to the "side"
    line: object = None  # change of the hairline, by azimuth
    curtain: tuple | None = None  # how far hair falls below the eyes, how wide it flares, waves; azimuth where it begins
    extras: object = None  # function(head) -> meshes with parts
    curly: bool = False
    taper: float = 0.18  # share of the way to the hairline over which hair thins out
    fuzz: float = 0.0  # how rough short hair looks


class HeadHair:
    """What extras are placed by: the centre, and points over the skull."""

    def __init__(self, centre, distance):
        self.centre, self.distance = centre, distance

    def at(self, azimuth, polar, above=0.0):
        """Points [..., 3], `above` the skin, in the given directions."""
        azimuth, polar = np.broadcast_arrays(np.asarray(azimuth, float), np.asarray(polar, float))
        where = np.stack([polar / POLAR_END * (POLAR_ROWS - 1), (azimuth % 360) / 360 * AZIMUTHS])
        flat = map_coordinates(self.distance, where.reshape(2, -1), order=1, mode='grid-wrap')
        distance = flat.reshape(azimuth.shape) + above
        return (self.centre + directions(azimuth, polar) * distance[..., None]).astype(np.float32)


def wave(azimuth, count, phase=0.0):
    return np.sin(np.radians(azimuth) * count + phase)


def signed(azimuth):
    """Azimuth in -180..180."""
    return (azimuth + 180) % 360 - 180


HAIRLINE_AT = PchipInterpolator(*HAIRLINE)


def unit(vectors):
    """Rows of length 1 [N, 3]."""
    flat = vectors.reshape(-1, 3)
    return (flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-9)).astype(np.float32)


def cap_mesh(style, head, cover=None, rows=30, columns=96):
    """(points, triangles, uv, direction of the hair, occlusion) of the cap.  Under a hat, `cover` is the most that hair may stand off."""
    azimuth = np.arange(columns) * 360 / columns
    line = HAIRLINE_AT(np.abs(signed(azimuth)))
    if style.line is not None:
        line = line + style.line(signed(azimuth))
    share = np.linspace(0, 1, rows)[:, None] ** 0.85
    polar = share * line[None]
    a = np.broadcast_to(signed(azimuth)[None], polar.shape)
    thick = style.cap(a, polar, np.broadcast_to(share, polar.shape))
    if cover is not None:
        thick = np.minimum(thick, cover)
    edge = np.sqrt(np.clip(1 - (np.clip(share - 1 + style.taper, 0, 1) / style.taper) ** 2, 0, 1))
    height = thick * (0.12 + 0.88 * edge)
    height[-1] = -0.05
    points = head.at(a, polar, height)
    offset = points - head.centre
    if style.flow == 'crown':
        uv, along = np.stack([a / 18 + 0 * polar, polar / 30], -1), np.gradient(points, axis=0)
    elif style.flow == 'back':
        uv, along = np.stack([offset[..., 0] * 3.2, offset[..., 2]], -1), np.broadcast_to([0.0, 0.0, 1.0], points.shape)
    else:
        uv = np.stack([offset[..., 2] * 3.2 + offset[..., 1] * 0.8, offset[..., 0]], -1)
        along = np.broadcast_to([1.0, 0.0, 0.0], points.shape)
    occlusion = np.clip(1.0 - 0.45 * share**6 + 0 * a, 0, 1)
    return points.reshape(-1, 3), grid_triangles(rows, columns), uv.reshape(-1, 2), unit(along), occlusion.ravel()


def curtain_mesh(style, head, level, cover=None, rows=30, columns=110):
    """Hair that falls from the cap behind the ears and beside the face."""
    length, flare, waves, begin = style.curtain
    azimuth = np.linspace(begin, 360 - begin, columns)
    top = head.at(azimuth, 62.0, 0.02)
    start = head.at(azimuth, 88.0, 0.10 if cover is None else 0.07)
    t = np.linspace(0, 1, rows)[:, None]
    radial = directions(azimuth, 90.0)
    lowest = level - length + 0.05 * wave(azimuth, 13) + 0.04 * wave(azimuth, 29, 1.0)
    fall = np.clip((t - 0.22) / 0.78, 0, 1)
    rise = np.clip(t / 0.22, 0, 1)
    points = top[None] * (1 - rise[..., None]) + start[None] * rise[..., None]
    points[..., 1] = np.where(t < 0.22, points[..., 1], start[None, :, 1] * (1 - fall) + lowest[None] * fall)
    out = flare * np.sin(np.pi * np.minimum(0.12 + fall * 0.52, 1)) - 0.10 * smoothstep(0.86, 1.0, fall)
    locks = 0.022 * wave(azimuth, 17)[None] * smoothstep(0, 0.4, fall)
    wavy = waves * np.sin(fall * 13 + 1.3 * wave(azimuth, 5)[None]) * smoothstep(0.05, 0.4, fall)
    points = points + radial[None] * (out + locks + wavy)[..., None]
    # the two front edges roll inwards, so that the curtain has a thickness
    side = np.minimum(np.arange(columns), np.arange(columns)[::-1])
    roll = np.clip(1 - side / 14, 0, 1) ** 1.7
    points -= radial[None] * (0.40 * roll[None] * np.clip(fall * 1.6 + 0.3, 0, 1))[..., None]
    uv = np.stack([np.broadcast_to(azimuth / 18, points.shape[:2]), np.broadcast_to(t * 3, points.shape[:2])], -1)
    occlusion = np.broadcast_to(0.75 + 0.25 * np.abs(wave(azimuth, 8.5))[None], points.shape[:2])
    along = unit(np.gradient(points, axis=0))
    return (
        points.reshape(-1, 3).astype(np.float32),
        grid_triangles(rows, columns, wrap=False),
        uv.reshape(-1, 2),
        along,
        occlusion.ravel(),
    )


def strand(path, radii, sides=12, bulges=0):
    """A lock along a path: (points, triangles, uv, direction); `radii` by point."""
    points, triangles = tube(path, 1.0, sides, closed=False)
    points = points.reshape(len(path), sides, 3)
    radii = np.asarray(radii, float)
    if bulges:
        radii = radii * (0.78 + 0.30 * np.abs(np.sin(np.linspace(0, np.pi * bulges, len(path)))))
    middle = np.asarray(path, np.float32)[:, None]
    points = middle + (points - middle) * radii[:, None, None]
    u = np.broadcast_to(np.arange(sides) / sides * 4, points.shape[:2])
    v = np.broadcast_to(np.linspace(0, 3, len(path))[:, None], points.shape[:2])
    along = unit(np.gradient(points, axis=0))
    return points.reshape(-1, 3).astype(np.float32), triangles, np.stack([u, v], -1).reshape(-1, 2), along


def round_ball(centre, radii):
    points, triangles = ball(centre, radii, 13, 22)
    v, u = np.meshgrid(np.linspace(0, 2, 13), np.linspace(0, 5, 22), indexing='ij')
    return points, triangles, np.stack([u, v], -1).reshape(-1, 2), unit(np.gradient(points.reshape(13, 22, 3), axis=0))


def bezier(*points, count=22):
    t = np.linspace(0, 1, count)[:, None]
    points = [np.asarray(p, float) for p in points]
    while len(points) > 1:
        points = [a * (1 - t) + b * t for a, b in zip(points, points[1:], strict=False)]
    return points[0]


def bun(polar, azimuth=180.0, size=0.36):
    def make(head):
        return [round_ball(head.at(azimuth, polar, size * 0.62), (size, size * 0.88, size))]

    return make


def tail(head):
    """A pony tail that comes forward over one shoulder."""
    root = head.at(165, 62, 0.05)
    drop = root + np.array([0.30, 0.22, -0.28]), root + np.array([0.95, -0.35, -0.35]), root + np.array([0.98, -1.9, 0.35])
    path = bezier(root, *drop)
    t = np.linspace(0, 1, len(path))
    return [strand(path, 0.27 * (np.sin(np.pi * (0.14 + 0.80 * t)) ** 0.6)), round_ball(root, 0.15)]


def plaits(head):
    found = []
    for sign in (1, -1):
        root = head.at(sign * 108, 92, 0.06)
        path = bezier(root, root + np.array([sign * 0.22, -0.5, -0.05]), root + np.array([sign * 0.12, -1.2, 0.45]),
                      root + np.array([sign * 0.02, -2.1, 0.55]), count=40)  # fmt: skip
        found.append(strand(path, 0.165 * np.linspace(1, 0.75, 40), bulges=7))
    return found


def bunches(head):
    found = []
    for sign in (1, -1):
        root = head.at(sign * 105, 58, 0.08)
        path = bezier(
            root,
            root + np.array([sign * 0.42, 0.16, 0]),
            root + np.array([sign * 0.62, -0.4, 0.1]),
            root + np.array([sign * 0.42, -1.15, 0.15]),
        )
        t = np.linspace(0, 1, len(path))
        found.append(strand(path, 0.25 * np.sin(np.pi * (0.12 + 0.82 * t)) ** 0.7))
    return found


def crest(head):
    """The fin of a mohawk."""
    found = []
    for polar, azimuth in ((38, 0), (22, 0), (6, 0), (12, 180), (30, 180), (48, 180), (66, 180)):
        root = head.at(azimuth, polar, 0.0)
        out = root - head.centre
        out = out / np.linalg.norm(out)
        tip = root + out * 0.40 + np.array([0, 0.10, -0.05])
        path = bezier(root - out * 0.1, root + out * 0.3, tip, count=10)
        found.append(strand(path, 0.24 * np.linspace(1, 0.2, 10)))
    return found


STYLES = {
    'crop': Style(
        lambda a, p, s: 0.07 + 0.09 * smoothstep(70, 30, p) + 0.022 * wave(a, 11, p / 6) * wave(p, 9, a / 25) + 0.012 * wave(a, 23, p / 3),
        'back',
        lambda a: 2 * wave(a, 13) + 1.2 * wave(a, 29, 1.0),
        taper=0.3,
        fuzz=0.8,
    ),
    'side part': Style(
        lambda a, p, s: 0.10
        + 0.15 * smoothstep(78, 40, p)
        + 0.10 * smoothstep(-10, 45, a) * smoothstep(100, 40, a) * smoothstep(75, 40, p)
        - 0.09 * np.exp(-(((a + 32) / 9) ** 2)) * smoothstep(12, 25, p)
        + 0.012 * wave(p, 16),
        'side',
        lambda a: 5 * np.exp(-(((a - 24) / 18) ** 2)),
    ),
    'quiff': Style(
        lambda a, p, s: 0.07 + 0.16 * smoothstep(66, 36, p) + 0.30 * np.exp(-((a / 42) ** 2)) * smoothstep(16, 42, p) + 0.015 * wave(a, 22),
        'back',
        taper=0.3,
        fuzz=0.25,
    ),
    'slick': Style(lambda a, p, s: 0.075 + 0.06 * smoothstep(70, 40, p) + 0.010 * wave(a, 26), 'back', taper=0.5),
    'curls': Style(
        lambda a, p, s: 0.17 + 0.09 * smoothstep(80, 40, p) + 0.045 * wave(a, 9, p / 9) * wave(p, 8.0, a / 30),
        line=lambda a: 4 + 3 * wave(a, 9),
        curly=True,
    ),
    'afro': Style(lambda a, p, s: 0.50 + 0.10 * smoothstep(80, 30, p) + 0.02 * wave(a, 13, p / 7) * wave(p, 11), curly=True),
    'mohawk': Style(lambda a, p, s: 0.03 + 0 * a, extras=crest, fuzz=0.6),
    'top knot': Style(lambda a, p, s: 0.06 + 0.02 * wave(a, 24) * s, 'crown', extras=bun(26, size=0.25), taper=0.5),
    'pixie': Style(
        lambda a, p, s: 0.12 + 0.12 * smoothstep(85, 40, p) + 0.02 * wave(a, 11),
        'side',
        lambda a: 13 * np.exp(-(((a - 16) / 30) ** 2)) + 2 * wave(a, 10) + 4 * smoothstep(50, 75, np.abs(a)) * smoothstep(100, 80, np.abs(a)),
    ),
    'bun': Style(lambda a, p, s: 0.085 + 0.01 * wave(a, 24), 'crown', extras=bun(24), taper=0.5),
    'low bun': Style(lambda a, p, s: 0.09 + 0.05 * smoothstep(60, 30, p) - 0.05 * np.exp(-((a / 5) ** 2)), 'side', extras=bun(62, 152, 0.36), taper=0.45),
    'ponytail': Style(lambda a, p, s: 0.085 + 0.01 * wave(a, 26), 'back', extras=tail, taper=0.5),
    'plaits': Style(lambda a, p, s: 0.09 + 0.03 * smoothstep(60, 20, p) - 0.06 * np.exp(-((a / 5) ** 2)), 'side', extras=plaits, taper=0.45),
    'bunches': Style(lambda a, p, s: 0.09 - 0.05 * np.exp(-((a / 5) ** 2)), 'side', lambda a: 12 * np.exp(-((a / 34) ** 4)) + 1.5 * wave(a, 12), extras=bunches),
    'bob': Style(
        lambda a, p, s: 0.13 + 0.06 * smoothstep(70, 30, p) - 0.06 * np.exp(-(((a + 20) / 7) ** 2)) + 0.012 * wave(a, 17) * s,
        'side',
        lambda a: 3 * np.exp(-(((a - 26) / 16) ** 2)),
        (1.12, 0.22, 0.0, 57),
    ),
    'fringe bob': Style(
        lambda a, p, s: 0.14 + 0.05 * smoothstep(70, 30, p) + 0.010 * wave(a, 15) * s,
        'crown',
        lambda a: 15 * np.exp(-((a / 40) ** 6)) + 1.0 * wave(a, 15),
        (1.02, 0.25, 0.0, 55),
    ),
    'long': Style(
        lambda a, p, s: 0.11 + 0.05 * smoothstep(70, 30, p) - 0.07 * np.exp(-((a / 6) ** 2)) + 0.012 * wave(a, 17) * s,
        'side',
        None,
        (2.25, 0.26, 0.0, 58),
    ),
    'wavy': Style(
        lambda a, p, s: 0.15 + 0.07 * smoothstep(70, 30, p) - 0.07 * np.exp(-(((a + 24) / 7) ** 2)) + 0.016 * wave(a, 13) * s,
        'side',
        lambda a: 4 * np.exp(-(((a - 26) / 18) ** 2)),
        (2.1, 0.36, 0.06, 56),
    ),
    'fringe long': Style(
        lambda a, p, s: 0.12 + 0.05 * smoothstep(70, 30, p) + 0.010 * wave(a, 15) * s,
        'crown',
        lambda a: 15 * np.exp(-((a / 40) ** 6)) + 1.0 * wave(a, 15),
        (2.2, 0.25, 0.0, 56),
    ),
    'shoulder curls': Style(
        lambda a, p, s: 0.22 + 0.10 * smoothstep(80, 40, p) + 0.03 * wave(a, 9, p / 9) * wave(p, 8.0),
        'crown',
        lambda a: 3 + 2 * wave(a, 7),
        (1.5, 0.46, 0.10, 56),
        curly=True,
    ),
}  # fmt: skip


def hair_meshes(style_name, head, level, covered):
    """[(points, triangles, uv, direction of the hair, occlusion, part)] of a hairstyle; `covered` when a hat sits on it."""
    style, cover = STYLES[style_name], 0.09 if covered else None
    found = [(*cap_mesh(style, head, cover), 'hair')]
    if style.curtain:
        found.append((*curtain_mesh(style, head, level, cover), 'hair'))
    if style.extras and not (covered and style_name in ('bun', 'top knot', 'mohawk')):
        found += [(*mesh, 1.0, 'tail') for mesh in style.extras(head)]
    return found
