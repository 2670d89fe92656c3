"""Procedural solids: surfaces of revolution, tubes and balls, as (vertices, triangles)."""

from dataclasses import dataclass

import numpy as np

from palette import linear

GOLD = linear('e8b53a')


@dataclass
class Solid:
    """Geometry with its material."""

    mesh: tuple
    kind: str
    colour: np.ndarray
    rest: np.ndarray | None = None  # where patterns are painted, if not where the vertices are


def grid_triangles(rows, columns, wrap=True):
    """Triangles of a grid of rows x columns vertices, closed around if `wrap`."""
    index = np.arange(rows * columns).reshape(rows, columns)
    if wrap:
        index = np.hstack([index, index[:, :1]])
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])


def lathe(profile, radii=(1.0, 1.0), segments=48, shape=None):
    """Surface of revolution around y over an ellipse.

    `profile` rows are (scale of the ellipse, added offset, height).  `shape(angle, offset, height)` may bend each row:
    it returns a new offset and height per angle; angle 0 is the front.
    """
    angle = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    rows = []
    for scale, offset, height in profile:
        offset, height = np.full(segments, offset, float), np.full(segments, height, float)
        if shape is not None:
            offset, height = shape(angle, offset, height)
        rows.append(
            np.stack([(radii[0] * scale + offset) * np.sin(angle), height, (radii[1] * scale + offset) * np.cos(angle)], -1)
        )
    return np.concatenate(rows).astype(np.float32), grid_triangles(len(profile), segments)


def dome(height, start=0.0, scale=1.0, offset=0.0, rows=9):
    """Profile of a dome, from `start` up to `start + height`, closed at the top."""
    t = np.linspace(0, np.pi / 2, rows)
    return [(scale * np.cos(a), offset * np.cos(a), start + height * np.sin(a)) for a in t]


def tube(path, radius, sides=8, closed=True):
    """A round tube along a path of points."""
    path = np.asarray(path, float)
    following = np.roll(path, -1, 0) if closed else np.vstack([path[1:], 2 * path[-1] - path[-2]])
    tangent = following - path
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    first = np.cross(tangent, [0, 0.3, 1.0])
    first /= np.linalg.norm(first, axis=1, keepdims=True) + 1e-9
    second = np.cross(tangent, first)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)[None, :, None]
    vertices = path[:, None] + radius * (np.cos(angle) * first[:, None] + np.sin(angle) * second[:, None])
    triangles = grid_triangles(len(path), sides)
    if closed:
        bridge = grid_triangles(2, sides)
        triangles = np.concatenate([triangles, np.where(bridge < sides, bridge + (len(path) - 1) * sides, bridge - sides)])
    return vertices.reshape(-1, 3).astype(np.float32), triangles


def ring(radii, radius, height=0.0, segments=48, sides=10):
    """A torus over an ellipse."""
    angle = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    return tube(np.stack([radii[0] * np.sin(angle), np.full(segments, height), radii[1] * np.cos(angle)], -1), radius, sides)


def ball(centre, radii, rows=9, segments=16):
    """An ellipsoid."""
    a, b = np.meshgrid(np.linspace(0, np.pi, rows), np.linspace(0, 2 * np.pi, segments, endpoint=False), indexing='ij')
    unit = np.stack([np.sin(a) * np.sin(b), np.cos(a), np.sin(a) * np.cos(b)], -1).reshape(-1, 3)
    return (np.asarray(centre) + unit * radii).astype(np.float32), grid_triangles(rows, segments)
