"""Makes tests/golden/fixtures/faces/faces.safetensors: face detection and embedding.

Needs opencv-python-headless==5.0.0.93, onnxruntime==1.32.0, numpy==2.4.6, pillow==13.0.0, safetensors==0.8.0,
and the two ONNX files that `cargo xtask setup` puts into .deps/faces; run it from anywhere:

    python tests/golden/generate/faces.py

Two pictures lie beside the result: astronaut.png, a part of NASA's portrait of Eileen Collins (public
domain, see assets/portraits/README.md), and render.png, a rendered person who does not exist.
"""

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import PIL
from PIL import Image
from safetensors.numpy import save_file

ROOT = Path(__file__).parents[3]
OUT = ROOT / "tests/golden/fixtures/faces"
MODELS = ROOT / ".deps/faces"
YUNET = str(MODELS / "face_detection_yunet_2023mar.onnx")
SFACE = str(MODELS / "face_recognition_sface_2021dec.onnx")
VERSIONS = {cv2: "5.0.0", onnxruntime: "1.32.0", np: "2.4.6", PIL: "13.0.0"}

SIZE = 640
THRESHOLD, NMS, TOP_K = 0.6, 0.3, 5000
# every how many rows of a raw output are kept
EVERY = 41


def network(path: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def planes(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None].astype(np.float32))


class Faces:
    """OpenCV's detector on 640x640 pixels, and around it what imagine-identity adds. Pictures are RGB."""

    def __init__(self) -> None:
        self.detector = cv2.FaceDetectorYN.create(YUNET, "", (SIZE, SIZE), THRESHOLD, NMS, TOP_K)
        self.recogniser = cv2.FaceRecognizerSF.create(SFACE, "")

    def canvas(self, picture: np.ndarray) -> np.ndarray:
        """[faces, 15]: box, landmarks, score; best score first."""
        found = self.detector.detect(np.ascontiguousarray(picture[:, :, ::-1]))[1]
        return np.zeros((0, 15), np.float32) if found is None else found

    def look(self, picture: np.ndarray, box: tuple[int, int, int, int], scale: float) -> np.ndarray:
        """Faces of a region (left, top, right, bottom) seen at a scale, in pixels of the picture."""
        left, top, right, bottom = box
        width, height = (min(SIZE, max(1, round(n * scale))) for n in (right - left, bottom - top))
        small = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR, box)
        padded = np.zeros((SIZE, SIZE, 3), np.uint8)
        padded[:height, :width] = np.asarray(small)
        faces = self.canvas(padded).astype(np.float64)
        zoom = np.array([(right - left) / width, (bottom - top) / height])
        for at in (0, 4, 6, 8, 10, 12):
            faces[:, at : at + 2] = (faces[:, at : at + 2] + 0.5) * zoom - 0.5 + [left, top]
        faces[:, 2:4] *= zoom
        return faces

    def largest(self, picture: np.ndarray) -> tuple[np.ndarray, float]:
        """The largest face and the scale at which the photo was seen; twice for close-ups."""
        height, width = picture.shape[:2]
        scale = SIZE / max(width, height)
        faces = self.look(picture, (0, 0, width, height), scale)
        if len(faces) == 0 or (faces[:, 3] * scale).max() > 320:
            faces = np.concatenate([faces, self.look(picture, (0, 0, width, height), scale / 2)])
            faces = faces[faces[:, 14].argmax()][None]  # these pictures hold one face
        return faces[(faces[:, 2] * faces[:, 3]).argmax()], scale

    def refined(self, picture: np.ndarray, face: np.ndarray, scale: float) -> np.ndarray:
        """A second look with the face 300 pixels high."""
        if 240 <= face[3] * scale <= 400:
            return face
        height, width = picture.shape[:2]
        scale = 300 / face[3]
        side = SIZE / scale
        x, y = face[0] + face[2] / 2, face[1] + face[3] / 2
        left, top = max(0, int(np.floor(x - side / 2))), max(0, int(np.floor(y - side / 2)))
        right, bottom = min(width, int(np.ceil(x + side / 2))), min(height, int(np.ceil(y + side / 2)))
        found = self.look(picture, (left, top, right, bottom), scale)
        return found[(found[:, 2] * found[:, 3]).argmax()]

    def crop(self, picture: np.ndarray, face: np.ndarray) -> np.ndarray:
        return self.recogniser.alignCrop(picture, face.astype(np.float32)[None])

    def feature(self, crop: np.ndarray) -> np.ndarray:
        """The recogniser's 128 values; OpenCV swaps the channels of its BGR pictures itself."""
        return self.recogniser.feature(np.ascontiguousarray(crop[:, :, ::-1])).ravel().copy()


def main() -> None:
    for module, version in VERSIONS.items():
        assert module.__version__ == version, f"{module.__name__} {module.__version__}, expected {version}"
    cv2.setNumThreads(1)
    faces = Faces()
    pictures = {
        name: np.array(Image.open(OUT / f"{name}.png").convert("RGB")) for name in ("astronaut", "render")
    }

    # Four faces in a picture of the detector's own size, so that nothing is resized.
    canvas = np.zeros((SIZE, SIZE, 3), np.uint8)
    canvas[0:224, 0:224] = pictures["astronaut"]
    canvas[16:240, 320:544] = pictures["render"]
    canvas[320:544, 16:240] = pictures["render"][:, ::-1]
    canvas[400:512, 400:512] = pictures["astronaut"][::2, ::2]
    tensors = {"canvas.faces": faces.canvas(canvas)}
    assert len(tensors["canvas.faces"]) == 4
    tensors["canvas.features"] = np.stack(
        [faces.feature(faces.crop(canvas, face)) for face in tensors["canvas.faces"]]
    )
    yunet = network(YUNET)
    names = [output.name for output in yunet.get_outputs()]
    for name, value in zip(names, yunet.run(None, {"input": planes(canvas[:, :, ::-1])}), strict=True):
        tensors[f"canvas.raw.{name}"] = value[0, ::EVERY]

    # The canvas with every pixel three times: a photo that has to be shrunk.
    large = canvas.repeat(3, axis=0).repeat(3, axis=1)
    tensors["large.faces"] = faces.look(large, (0, 0, 3 * SIZE, 3 * SIZE), 1 / 3)
    tensors["large.refined"] = np.stack([faces.refined(large, face, 1 / 3) for face in tensors["large.faces"]])
    # A selfie that the face fills: most of it is above what the detector was trained for.
    tensors["close.faces"] = faces.largest(pictures["astronaut"][16:176, 56:168].copy())[0][None]

    sface = network(SFACE)
    for name, picture in pictures.items():
        face, _ = faces.largest(picture)
        crop = faces.crop(picture, face)
        feature = faces.feature(crop)
        raw = sface.run(None, {"data": planes(crop)})[0].ravel()
        assert np.abs(raw - feature).max() <= 1e-4 * np.abs(raw).max()
        tensors |= {
            f"{name}.face": face,
            f"{name}.crop": crop,
            f"{name}.feature": feature,
            f"{name}.raw": raw,
        }
    likeness = [tensors[f"{name}.feature"] / np.linalg.norm(tensors[f"{name}.feature"]) for name in pictures]
    tensors["likeness"] = np.array([likeness[0] @ likeness[1]])
    OUT.mkdir(parents=True, exist_ok=True)
    save_file(
        {k: np.ascontiguousarray(v, np.uint8 if v.dtype == np.uint8 else np.float32) for k, v in tensors.items()},
        OUT / "faces.safetensors",
    )
    print({k: v.shape for k, v in tensors.items()})


if __name__ == "__main__":
    main()
