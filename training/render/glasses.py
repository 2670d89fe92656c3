"""Frames of glasses that sit before the eyes and reach back to the ears."""

import numpy as np

from head_model import BODY_VERTICES
from solids import tube

WIDTH, HEIGHT, THICKNESS = 0.345, 0.285, 0.021


def glasses_meshes(head, template, eye_vertices, power):
    """Two rims, two temples and a bridge.  `power` shapes the rims: 2 is an ellipse, more is squarer."""
    skin = np.arange(len(template)) < BODY_VERTICES
    middles = {side: (head[rows].min(0) + head[rows].max(0)) / 2 for side, rows in eye_vertices.items()}
    level = skin & (np.abs(template[:, 1] - 7.25) < 0.12)
    front = head[level & (np.abs(template[:, 0]) < 0.12), 2].max()
    ear = np.abs(head[level & (np.abs(template[:, 2] - 0.5) < 0.15), 0]).max() + 0.02
    bridge_height = middles['l'][1]
    inner = max(abs(middles['l'][0]), 0.43)
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)

    def rounded(x):
        return np.sign(x) * np.abs(x) ** (2 / power)

    def depth(x):
        return front + 0.13 - 0.10 * np.abs(x)

    found = []
    for side, sign in (('l', 1), ('r', -1)):
        x, y = sign * inner, middles[side][1]
        across = x + WIDTH * rounded(np.cos(angle))
        found.append(tube(np.stack([across, y - 0.03 + HEIGHT * rounded(np.sin(angle)), depth(across)], -1), THICKNESS))
        hinge = np.array([x + sign * WIDTH, y + 0.08, depth(inner + WIDTH)])
        along = np.linspace(0, 1, 8)[:, None]
        found.append(tube(hinge * (1 - along) + np.array([sign * ear, y + 0.05, 0.25]) * along, THICKNESS * 0.9, closed=False))
    across = np.linspace(-1, 1, 9)
    found.append(
        tube(
            np.stack(
                [across * (inner - WIDTH), bridge_height + 0.05 - 0.03 * across**2, front + 0.10 + 0.02 * (1 - across**2)], -1
            ),
            THICKNESS * 0.9,
            closed=False,
        )
    )
    return found
