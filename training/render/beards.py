"""Beards with a volume: the skin of the jaw once more, lifted off along its normals."""

import numpy as np

from stylise import smoothstep

# name of the cut: (number in the shaders, thickness, how much it covers the skin below, phrase)
BEARDS = {
    'stubble': (1, 0.0, 0.42, 'stubble'),
    'moustache': (2, 0.11, 0.85, 'moustache'),
    'goatee': (3, 0.08, 0.85, 'goatee'),
    'short': (4, 0.045, 0.85, 'short beard'),
    'full': (5, 0.13, 0.9, 'full beard'),
}


def beard_depth(t, cut):
    """Depth inside the beard, negative outside, of points on the template [N, 3]; shaders/common.glsl computes the same."""
    x, y, z = np.abs(t[:, 0]), t[:, 1], t[:, 2]
    top = 6.835 - 0.22 * smoothstep(0.15, 0.38, x) + 0.12 * smoothstep(0.42, 0.56, x) + 0.55 * smoothstep(0.56, 0.74, x)
    mouth = (np.hypot(x / 0.285, (y - 6.59) / 0.105) - 1) * 0.12
    f = np.minimum.reduce([top - y, y - 6.02 - 0.25 * smoothstep(0.9, 0.4, z), (z - 0.42) * 0.8, mouth])
    if cut == 'moustache':
        f = np.minimum(f, np.minimum(y - 6.67 + 0.13 * smoothstep(0.2, 0.36, x), 0.38 - x))
    if cut == 'goatee':
        f = np.minimum(f, 0.36 - x)
    return f


class BeardShell:
    """The part of a mesh that may carry a beard.  `rows`, `triangles`: vertices and faces of the skin's corners."""

    def __init__(self, rest, triangles):
        inside = beard_depth(rest, 'full') > -0.25
        chosen = triangles[inside[triangles].any(1)]
        self.rows, inverse = np.unique(chosen, return_inverse=True)
        self.triangles, self.rest = inverse.reshape(-1, 3), rest[self.rows]

    def lifted(self, positions, normals, cut):
        """Positions of the shell over the skin's corners `positions` [N, 3]."""
        depth, thickness = beard_depth(self.rest, cut), BEARDS[cut][1]
        rise = thickness * np.sqrt(smoothstep(-0.02, 0.16, depth)) * np.where(depth > -0.02, 1, 0) + 0.006
        out = positions[self.rows] + normals[self.rows] * rise[:, None]
        if cut in ('full', 'goatee'):
            chin = smoothstep(6.45, 6.15, self.rest[:, 1]) * smoothstep(0.6, 1.1, self.rest[:, 2])
            out[:, 1] -= (0.16 if cut == 'full' else 0.09) * chin
            out[:, 2] += 0.05 * chin
        return out.astype(np.float32)
