"""Makes tests/golden/fixtures/key_point_image: InstantID's drawings of key points, made with OpenCV.

Needs opencv-python-headless==5.0.0.93 and numpy==2.4.6; run it from anywhere:

    python tests/golden/generate/key_point_image.py
"""

import json
import math
from pathlib import Path

import cv2
import numpy as np

OUT = Path(__file__).parent.parent / "fixtures" / "key_point_image"
COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255)]
FACE = np.array([[-30, -35], [30, -35], [0, 2], [-24, 36], [24, 36]], np.float32)


def draw(points, width, height):
    """A limb from the nose to every other point, dimmed; a disc on each point. `points` [5, 2] in float32."""
    canvas = np.zeros((height, width, 3))
    nose = points[2]
    for point, color in [(points[i], COLORS[i]) for i in (0, 1, 3, 4)]:
        dx, dy = point - nose
        half = (dx**2 + dy**2) ** 0.5 / 2
        center = np.stack([point, nose]).mean(0)
        outline = cv2.ellipse2Poly(
            (int(center[0]), int(center[1])), (int(half), 4), int(math.degrees(math.atan2(dy, dx))), 0, 360, 1
        )
        canvas = cv2.fillConvexPoly(canvas, outline, color)
    canvas = (canvas * 0.6).astype(np.uint8)
    for point, color in zip(points, COLORS):
        canvas = cv2.circle(canvas, (int(point[0]), int(point[1])), 10, color, -1)
    return canvas


def checksum(picture):
    """Every byte times its place, modulo 2^64."""
    values = picture.reshape(-1).astype(np.uint64)
    return int((values * np.arange(1, len(values) + 1, dtype=np.uint64)).sum(dtype=np.uint64))


def faces(random):
    """Faces of all sizes and turns, many over the border, and points strewn at random."""
    for i in range(400):
        width, height = (int(n) for n in random.integers(1, 40, 2) * 8)
        if i % 4 == 3:
            points = random.uniform(-0.6, 1.6, (5, 2)) * [width, height]
        else:
            size = random.uniform(0.02, 4) * (0.3 if i % 4 else 1)
            turn = random.uniform(-math.pi, math.pi)
            rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
            center = random.uniform(0, 1, 2) * [width, height]
            points = (FACE + random.normal(0, 6, (5, 2))) @ rotation.T * size + center
        if i % 10 == 0:
            points = points.round()
        if i % 50 == 7:
            points[:] = points[0]
        yield points.astype(np.float32), width, height


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(20241014)
    cases = []
    for i, (points, width, height) in enumerate(faces(random)):
        picture = draw(points, width, height)
        # A float32 has no shorter exact form than that of its double.
        cases.append({
            "points": [[float(v) for v in point] for point in points],
            "width": width,
            "height": height,
            "checksum": checksum(picture),
        })
    lines = ",\n".join(json.dumps(case) for case in cases)
    (OUT / "cases.json").write_text(f"[\n{lines}\n]\n")
    # One to look at, and to compare pixel by pixel.
    points = (FACE * 2.2 + [132.4, 120.7]).astype(np.float32)
    cv2.imwrite(str(OUT / "face.png"), draw(points, 256, 288)[:, :, ::-1])


if __name__ == "__main__":
    main()
