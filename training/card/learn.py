"""What is learnt from renders: the mean head as the landmark network sees it, and linear probes."""

import numpy as np

RIDGE = 0.02  # weight of the squared weights against the mean loss of an example
ROUNDS = 12


def mean_head(points, rotations):
    """The head in space, [68, 3], that best explains points [N, 68, 2] seen under known rotations [N, 3, 3] by a camera
    without perspective; in eye distances, mean zero."""
    flat = points - points.mean(1, keepdims=True)
    cameras = rotations[:, :2]  # [N, 2, 3]
    scale = 1 / np.linalg.norm(flat, axis=(1, 2))
    shape = None
    for _ in range(20):
        seen = flat * scale[:, None, None]
        left = np.einsum('nij,nik->jk', cameras, cameras)
        shape = np.linalg.solve(left, np.einsum('nij,npi->jp', cameras, seen)).T  # [68, 3]
        shape -= shape.mean(0)
        model = np.einsum('nij,pj->npi', cameras, shape)
        scale = (model * flat).sum((1, 2)) / (flat**2).sum((1, 2))
        scale /= scale.mean() * np.linalg.norm(flat, axis=(1, 2)).mean()
    eyes = np.linalg.norm(shape[36:42].mean(0) - shape[42:48].mean(0))
    mirrored = shape[MIRROR] * [-1, 1, 1]
    return ((shape + mirrored) / 2 / eyes).astype(np.float32)


# which point is which in the mirror
MIRROR = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
    + [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    + [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)


def frontal(mean, points):
    """Pose (yaw, pitch, roll; degrees) and shape [68, 2] from the front: what imagine-identity's `pose::fit` does."""
    middle = points.mean(0)
    rows = np.linalg.solve(mean.T @ mean, mean.T @ (points - middle)).T  # [2, 3]
    lengths = np.linalg.norm(rows, axis=1)
    scale = lengths.mean()
    u, v = rows / lengths[:, None]
    lean = u @ v
    u, v = u - v * lean / 2, v - u * lean / 2
    u /= np.linalg.norm(u)
    v -= u * (u @ v)
    v /= np.linalg.norm(v)
    turn = np.stack([u, v, np.cross(u, v)])
    nose = -turn[:, 2]
    yaw, pitch = np.arctan2(nose[0], -nose[2]), np.arcsin(np.clip(-nose[1], -1, 1))
    level = np.array([np.cos(yaw), 0, np.sin(yaw)])
    roll = np.arctan2(turn[:, 0] @ np.cross(-nose, level), turn[:, 0] @ level)
    off = (points - middle) / scale - mean @ turn[:2].T
    plane = off @ np.linalg.inv(turn[:2, :2]).T if abs(np.linalg.det(turn[:2, :2])) > 0.2 else off
    shape = mean[:, :2] + plane
    left, right = shape[36:42].mean(0), shape[42:48].mean(0)
    across = (right - left) / np.linalg.norm(right - left) ** 2
    d = shape - (left + right) / 2
    shape = np.stack([d @ across, d @ np.array([-across[1], across[0]])], 1)
    return np.degrees([yaw, pitch, roll]), shape, float(np.sqrt((off**2).sum(1).mean()))


def logistic(x, y, ridge=RIDGE, balanced=True):
    """Weight and bias of a linear probe for y in 0, 1 (ridge, Newton's method); both classes count the same."""
    mean, spread = x.mean(0), x.std(0) + 1e-3
    z = np.concatenate([(x - mean) / spread, np.ones((len(x), 1))], 1)
    share = np.where(y > 0.5, 0.5 / max(y.mean(), 1e-6), 0.5 / max(1 - y.mean(), 1e-6)) if balanced else np.ones(len(y))
    w = np.zeros(z.shape[1])
    penalty = np.full(z.shape[1], ridge * len(x) / 10)
    penalty[-1] = 1e-6
    for _ in range(ROUNDS):
        p = 1 / (1 + np.exp(-np.clip(z @ w, -30, 30)))
        gradient = z.T @ (share * (p - y)) + penalty * w
        curve = (z * (share * np.maximum(p * (1 - p), 1e-4))[:, None]).T @ z + np.diag(penalty)
        w -= np.linalg.solve(curve, gradient)
    weight = w[:-1] / spread
    return weight.astype(np.float32), np.float32(w[-1] - mean @ weight)


def ridge_regression(x, y, ridge=RIDGE):
    """Weight and bias of a linear probe for a number."""
    mean, spread = x.mean(0), x.std(0) + 1e-3
    z = (x - mean) / spread
    w = np.linalg.solve(z.T @ z + ridge * len(x) * np.eye(z.shape[1]), z.T @ (y - y.mean()))
    return w / spread, y.mean() - mean @ (w / spread)


def auc(scores, labels):
    """Chance that a positive scores higher than a negative; ties count half."""
    scores, labels = np.asarray(scores, float), np.asarray(labels, bool)
    positive, negative = np.sort(scores[labels]), np.sort(scores[~labels])
    if not len(positive) or not len(negative):
        return float('nan')
    low, high = np.searchsorted(negative, positive, 'left'), np.searchsorted(negative, positive, 'right')
    return float((low + high).mean() / 2 / len(negative))


def interval(statistic, *arrays, rounds=400, seed=0):
    """A statistic with the bounds within which 95 % of its bootstrap samples lie."""
    random = np.random.default_rng(seed)
    n = len(arrays[0])
    found = []
    for _ in range(rounds):
        rows = random.integers(n, size=n)
        found.append(statistic(*(a[rows] for a in arrays)))
    low, high = np.nanpercentile(found, [2.5, 97.5])
    return statistic(*arrays), low, high
