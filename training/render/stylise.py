"""What turns a realistic head into the drawn one: larger eyes, a rounder skull, a finer jaw, a slender neck, narrow shoulders.

The warp is smooth in space and measured from the person's own eyes.  It is applied after shape and expression, so that lids go
on closing over their eyeballs.
"""

import numpy as np

EYE_REACH = np.array([0.23, 0.25], np.float32)  # half axes of the region that grows with the eye


def smoothstep(low, high, x):
    """0 at `low`, 1 at `high`, smooth between; `low` may be above `high`."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


class Warp:
    """The warp of one person.  `eyes`: centres of the eyeballs; `size`: how much they grow; `axis`: depth of the middle of the neck."""

    def __init__(self, eyes, size, axis):
        self.size = size
        self.eyes = [np.asarray(eye, np.float32) for eye in eyes]
        self.level, self.axis = float(np.mean([eye[1] for eye in self.eyes])), float(axis)

    def __call__(self, points):
        """Warped copy of `points` [N, 3]."""
        out = np.array(points, np.float32)
        height = out[:, 1] - self.level
        for eye in self.eyes:
            near = np.flatnonzero((np.abs(out[:, 0] - eye[0]) < 0.8) & (np.abs(height) < 0.7) & (out[:, 2] > eye[2] - 0.4))
            offset = out[near] - eye
            radius = np.sqrt(((offset[:, :2] / EYE_REACH) ** 2).sum(1))
            share = (1 - smoothstep(0.7, 1.6, radius)) * smoothstep(-0.38, -0.2, offset[:, 2])
            share *= smoothstep(0.0, 0.14, points[near, 0] * np.sign(eye[0]))  # an eye moves its own side of the face
            out[near] += offset * ((self.size - 1) * share)[:, None]
            out[near, 0] += np.sign(eye[0]) * 0.035 * share
            out[near, 2] -= 0.015 * share
        jaw = smoothstep(-0.40, -1.05, height) * smoothstep(-1.75, -1.25, height)
        neck = smoothstep(-1.05, -1.35, height) * smoothstep(-1.95, -1.5, height)
        shoulders = smoothstep(-1.5, -2.1, height)
        skull = smoothstep(0.2, 0.95, height)
        out[:, 0] *= 1 - 0.07 * jaw - 0.05 * neck - 0.17 * shoulders + 0.025 * skull
        out[:, 2] = self.axis + (out[:, 2] - self.axis) * (1 - 0.05 * neck - 0.06 * shoulders)
        out[:, 1] += 0.07 * skull
        return out
