"""What a cheap camera does to a picture: white balance, exposure, blur, noise, JPEG.  For the pictures that stand for photos."""

import cv2
import numpy as np


def white_balance(linear, random):
    """Gains of red and blue for a light that was guessed wrong."""
    warmth, tint = random.normal(0, 0.10), random.normal(0, 0.035)
    return linear * np.exp(np.array([warmth + tint, -tint, -warmth + tint], np.float32))


def exposed(linear, random):
    return linear * np.exp(random.normal(0, 0.18)), float(np.clip(random.normal(1.0, 0.10), 0.78, 1.25))


def blurred(picture, random):
    """Out of focus, shaken, or taken with few pixels."""
    size = picture.shape[0]
    how = random.random()
    if how < 0.35:
        return cv2.GaussianBlur(picture, (0, 0), float(random.uniform(0.3, 1.4)) * size / 256)
    if how < 0.5:
        length = int(random.integers(3, 8) * size / 256) | 1
        kernel = np.zeros((length, length), np.float32)
        angle = random.uniform(0, np.pi)
        end = np.array([np.cos(angle), np.sin(angle)]) * length / 2
        middle = np.array([length // 2] * 2)
        cv2.line(kernel, tuple(int(v) for v in middle - end), tuple(int(v) for v in middle + end), 1.0)
        return cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)
    if how < 0.75:
        few = int(size * random.uniform(0.35, 0.85))
        return cv2.resize(
            cv2.resize(picture, (few, few), interpolation=cv2.INTER_AREA), (size, size), interpolation=cv2.INTER_CUBIC
        )
    return picture


def noisy(linear, random):
    """Photon and read noise, a part of it smeared by the camera's own cleaning."""
    level = float(np.exp(random.uniform(np.log(0.002), np.log(0.03))))
    grain = random.normal(0, 1, linear.shape).astype(np.float32)
    if random.random() < 0.5:
        grain = cv2.GaussianBlur(grain, (0, 0), 0.8) * 2.0
    return linear + grain * (level * np.sqrt(np.maximum(linear, 0)) + 0.3 * level)


def photo_of(picture, random):
    """The picture (bytes, height x width x RGB) as a camera would have kept it."""
    linear = (picture.astype(np.float32) / 255) ** 2.2
    linear, contrast = exposed(white_balance(linear, random), random)
    if random.random() < 0.5:
        height, width = picture.shape[:2]
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
        linear = linear * (1 - random.uniform(0, 0.25) * (x * x + y * y) / 2)[..., None]
    linear = noisy(np.maximum(blurred(linear, random), 0), random)
    encoded = np.clip(linear, 0, 1) ** (1 / 2.2)
    encoded = np.clip((encoded - 0.5) * contrast + 0.5, 0, 1)
    grey = encoded.mean(-1, keepdims=True)
    encoded = np.clip(grey + (encoded - grey) * random.normal(1.0, 0.10), 0, 1)
    if random.random() < 0.3:
        encoded = np.clip(encoded + 0.5 * (encoded - cv2.GaussianBlur(encoded, (0, 0), 1.2)), 0, 1)
    data = cv2.imencode(
        '.jpg', (encoded[..., ::-1] * 255 + 0.5).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(40, 96))]
    )[1]
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].copy()
