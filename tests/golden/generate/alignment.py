"""Makes tests/golden/fixtures/alignment: five-point alignment to the ArcFace template.

Needs opencv-python-headless==5.0.0.93, numpy==2.4.6, safetensors==0.8.0, and the SFace file that `cargo xtask
setup` puts into .deps/faces (OpenCV's alignCrop belongs to the class that loads it); run it from anywhere:

    python tests/golden/generate/alignment.py

Matrices come twice: from the singular value decomposition of Umeyama 1991 and from OpenCV's
estimateAffinePartial2D made to use all points; they must agree here before Rust has to agree with them.
"""

from pathlib import Path

import cv2
import numpy as np
from safetensors.numpy import save_file

ROOT = Path(__file__).parents[3]
OUT = ROOT / "tests/golden/fixtures/alignment"
SFACE = ROOT / ".deps/faces/face_recognition_sface_2021dec.onnx"

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def template(size: int) -> np.ndarray:
    """InsightFace's rule for other sizes than 112."""
    if size % 112 == 0 or size % 128 != 0:
        return TEMPLATE * (size / 112)
    return TEMPLATE * (size / 128) + np.array([8 * size / 128, 0])


def umeyama(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity transform of least squares, [2, 3]."""
    source, target = source.astype(np.float64), target.astype(np.float64)
    middle_s, middle_t = source.mean(0), target.mean(0)
    s, t = source - middle_s, target - middle_t
    u, d, vt = np.linalg.svd(t.T @ s / len(s))
    sign = np.diag([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    turn = u @ sign @ vt
    scale = np.trace(np.diag(d) @ sign) / s.var(0).sum()
    return np.concatenate([scale * turn, (middle_t - scale * turn @ middle_s)[:, None]], axis=1)


def landmarks(rng: np.random.Generator, size: float, angle: float, centre: tuple[float, float], jitter: float):
    """The template, placed and distorted as a detector would see it, [5, 2] float32."""
    points = (TEMPLATE - 56) * size / 112
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points @ turn.T + centre + rng.normal(0, jitter * size, (5, 2))).astype(np.float32)


def picture(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Soft blobs with a little noise, [height, width, 3] uint8."""
    small = rng.uniform(0, 255, (9, 12, 3))
    soft = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(soft + rng.normal(0, 6, soft.shape), 0, 255).round().astype(np.uint8)


def main() -> None:
    assert cv2.__version__ == "5.0.0" and np.__version__ == "2.4.6", (cv2.__version__, np.__version__)
    cv2.setNumThreads(1)
    cv2.setRNGSeed(1)
    rng = np.random.default_rng(11)
    image = picture(rng, 150, 120)
    # upright; turned; large and shrunk; small and enlarged; lying on its side; half outside; upside down
    points = np.stack(
        [
            landmarks(rng, 60, 0.05, (70, 60), 0.01),
            landmarks(rng, 75, -0.5, (80, 55), 0.03),
            landmarks(rng, 110, 0.2, (76, 62), 0.02),
            landmarks(rng, 24, 0.1, (40, 70), 0.04),
            landmarks(rng, 70, 1.5, (75, 60), 0.02),
            landmarks(rng, 80, 0.1, (140, 20), 0.02),
            landmarks(rng, 70, 3.0, (70, 60), 0.05),
        ]
    )
    tensors = {"image": image, "landmarks": points}
    for size in (112, 224, 256):
        tensors[f"matrix_{size}"] = np.stack([umeyama(p, template(size)) for p in points])
    for p, matrix in zip(points, tensors["matrix_112"], strict=True):
        other, _ = cv2.estimateAffinePartial2D(
            p, TEMPLATE.astype(np.float32), method=cv2.RANSAC, ransacReprojThreshold=1e6, refineIters=100
        )
        assert np.abs(other - matrix).max() <= 1e-4 * np.abs(matrix).max(), (other, matrix)

    recogniser = cv2.FaceRecognizerSF.create(str(SFACE), "")
    crops = []
    for p in points[[0, 2, 5]]:
        face = np.concatenate([[0, 0, 1, 1], p.ravel(), [1]]).astype(np.float32)[None]
        # OpenCV's pictures are BGR; a warp does not mind, so the channels go in and come out as they are
        crops.append(recogniser.alignCrop(image, face))
    tensors["crop_112"] = np.stack(crops)
    tensors["warp_40"] = np.stack(
        [cv2.warpAffine(image, umeyama(p, template(40)), (40, 40), flags=cv2.INTER_LINEAR) for p in points]
    )
    OUT.mkdir(parents=True, exist_ok=True)
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, OUT / "alignment.safetensors")
    print({k: v.shape for k, v in tensors.items()})


if __name__ == "__main__":
    main()
