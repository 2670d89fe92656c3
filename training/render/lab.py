"""CIE L*a*b* (D65) of linear sRGB, and back."""

import numpy as np

TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = TO_XYZ.sum(1)


def lab(linear):
    xyz = TO_XYZ @ np.clip(np.asarray(linear, np.float64), 0, 1) / WHITE
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def linear_of_lab(colour):
    """Cut to what a screen can show."""
    lightness, a, b = colour
    y = (lightness + 16) / 116
    roots = np.array([y + a / 500, y, y - b / 200])
    xyz = np.where(roots > 0.206893, roots**3, (roots - 16 / 116) / 7.787) * WHITE
    return np.clip(np.linalg.solve(TO_XYZ, xyz), 0, 1).astype(np.float32)
