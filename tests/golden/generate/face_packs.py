"""Makes tests/golden/fixtures/face_packs: InsightFace model packs in small, and what insightface makes of them.

The published packs may not be copied (research only), so these hold seeded random networks with the inputs,
outputs, names and node order of the published files: det_10g and w600k_r50 of buffalo_l, scrfd_10g_bnkps and
glintr100 of antelopev2, and an ArcFace as MXNet exported it, which normalises its input itself. Everything
expected comes from insightface 2.1 (its SCRFD, ArcFaceONNX and norm_crop), whose code is MIT; it is installed into
a temporary folder, without what it depends on. Needs the packages of requirements.txt; run it from anywhere:

    python tests/golden/generate/face_packs.py
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.numpy import save_file

ROOT = Path(__file__).parents[3]
FACES = ROOT / "tests/golden/fixtures/faces"
OUT = ROOT / "tests/golden/fixtures/face_packs"
INSIGHTFACE = "insightface==2.1"
VERSIONS = {cv2: "5.0.0", onnxruntime: "1.32.0", onnx: "1.23.2", np: "2.4.6"}

CHANNELS = 8
STRIDES = (8, 16, 32)
THRESHOLD, NMS = 0.5, 0.4
# where the five key points lie in a face, from the middle, in face widths
PATTERN = (np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]]) - 56) / 112


class Graph:
    """Nodes in order, with weights."""

    def __init__(self, seed: int, name_of) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights = [], []
        self.name_of = name_of

    def weight(self, name: str, value: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes) -> str:
        name = self.name_of(op, len(self.nodes))
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def conv(self, x: str, y: str, shape: tuple, stride: int, pad: int, gain: float = 1.0, bias=None) -> str:
        fan = np.prod(shape[1:])
        weight = self.weight(f"{y}.weight", (gain * self.rng.standard_normal(shape) / fan**0.5).astype(np.float32))
        bias = 0.1 * self.rng.standard_normal(shape[0]) if bias is None else bias
        bias = self.weight(f"{y}.bias", np.asarray(bias, np.float32))
        kernel = {"kernel_shape": list(shape[2:]), "strides": [stride] * 2, "pads": [pad] * 4}
        return self.node("Conv", [x, weight, bias], y, **kernel)

    def model(self, inputs: dict, outputs: dict) -> onnx.ModelProto:
        info = lambda values: [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in values.items()
        ]
        graph = helper.make_graph(self.nodes, "torch-jit-export", info(inputs), info(outputs), self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
        onnx.checker.check_model(model)
        return model


def torch_name(op: str, number: int) -> str:
    return f"{op}_{number}"


def mxnet_name(op: str, number: int) -> str:
    return {"Sub": "_minusscalar0", "Mul": "_mulscalar0"}.get(op, f"{op.lower()}{number}")


def scrfd(seed: int, score_bias: list[float], names: list[str], shapes: list[list], batched: bool):
    """A detector of nine outputs: scores, boxes and key points at three strides, two anchors a cell."""
    g = Graph(seed, torch_name)
    x, channels = "input.1", 3
    levels = []
    for n, stride in enumerate((2, 4, 8, 16, 32)):
        x = g.conv(x, f"conv{n}", (CHANNELS, channels, 3, 3), 2, 1, gain=2.0)
        x = g.node("Relu", [x], f"relu{n}")
        channels = CHANNELS
        if stride >= 8:
            levels.append(x)
    target = g.weight("rows", np.array([1, -1, 1] if batched else [-1, 1]))
    boxes = g.weight("rows4", np.array([1, -1, 4] if batched else [-1, 4]))
    points = g.weight("rows10", np.array([1, -1, 10] if batched else [-1, 10]))
    order = {"perm": [0, 2, 3, 1]}
    for n, level in enumerate(levels):
        heads = [
            ("score", 2, 1.5, [score_bias[n]] * 2, target),
            # three cells and a half in every direction
            ("bbox", 8, 1.0, [3.5] * 8, boxes),
            ("kps", 20, 0.6, list((PATTERN * 7).ravel()) * 2, points),
        ]
        for part, (head, width, gain, bias, shape) in enumerate(heads):
            y = g.conv(level, f"{head}{n}", (width, CHANNELS, 1, 1), 1, 0, gain, bias)
            if head == "bbox":
                y = g.node("Relu", [y], f"{head}{n}.relu")
            y = g.node("Transpose", [y], f"{head}{n}.last", **order)
            out = names[part * 3 + n]
            if head == "score":
                y = g.node("Reshape", [y, shape], f"{head}{n}.rows")
                g.node("Sigmoid", [y], out)
            else:
                g.node("Reshape", [y, shape], out)
    return g.model({"input.1": [1, 3, "?", "?"]}, dict(zip(names, shapes, strict=True)))


def calibrated(seed: int, picture: np.ndarray, *rest) -> onnx.ModelProto:
    """The detector whose scores pass the threshold in a few cells of each level of a 640x640 picture."""
    model = scrfd(seed, [0.0] * 3, *rest)
    blob = (picture.transpose(2, 0, 1)[None].astype(np.float32) - 127.5) / 128
    biases = []
    for scores, count in zip(session(model).run(None, {"input.1": blob})[:3], (40, 12, 5), strict=True):
        logits = np.sort(np.log(scores / (1 - scores)).ravel())
        biases.append(-float(logits[-count - 1 : -count + 1].mean()))
    return scrfd(seed, biases, *rest)


def arcface(seed: int, name_of, inside: bool, output: str):
    """A recogniser, 112x112 to 512; `inside` where it takes samples of 0 to 255."""
    g = Graph(seed, name_of)
    x = first = "data" if inside else "input.1"
    if inside:
        x = g.node("Sub", [x, g.weight("mean", np.array([127.5], np.float32))], "minus")
        x = g.node("Mul", [x, g.weight("share", np.array([1 / 128], np.float32))], "mul")
    channels = 3
    for n in range(4):
        x = g.conv(x, f"conv{n}", (CHANNELS, channels, 3, 3), 2, 1, gain=1.6)
        slope = g.weight(f"slope{n}", (0.25 + 0.1 * g.rng.standard_normal((CHANNELS, 1, 1))).astype(np.float32))
        x = g.node("PRelu", [x, slope], f"prelu{n}")
        channels = CHANNELS
    x = g.conv(x, "whole", (CHANNELS, CHANNELS, 7, 7), 1, 0)
    x = g.node("Flatten", [x], "flat", axis=1)
    weight = g.weight("fc.weight", (2 * g.rng.standard_normal((512, CHANNELS))).astype(np.float32))
    bias = g.weight("fc.bias", (0.05 * g.rng.standard_normal(512)).astype(np.float32))
    g.node("Gemm", [x, weight, bias], output, transB=1)
    return g.model({first: ["None", 3, 112, 112]}, {output: [1, 512]})


def other(seed: int, side: int, width: int):
    """A network of a pack that is not used: age and sex, more landmarks."""
    g = Graph(seed, mxnet_name)
    x = g.node("GlobalAveragePool", ["data"], "mean")
    x = g.node("Flatten", [x], "flat", axis=1)
    weight = g.weight("w", g.rng.standard_normal((width, 3)).astype(np.float32))
    g.node("Gemm", [x, weight, g.weight("b", np.zeros(width, np.float32))], "fc1", transB=1)
    return g.model({"data": ["None", 3, side, side]}, {"fc1": [1, width]})


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def reference():
    """insightface's modules."""
    folder = tempfile.mkdtemp()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, INSIGHTFACE]
    subprocess.run(pip, check=True)
    sys.path.insert(0, folder)
    from insightface.model_zoo import model_zoo
    from insightface.utils import face_align

    shutil.rmtree(folder)
    return model_zoo, face_align


def pictures() -> dict[str, np.ndarray]:
    """RGB. The canvas is that of faces.py; the other two are not square and have to be shrunk or enlarged."""
    astronaut, render = (np.array(Image.open(FACES / f"{n}.png").convert("RGB")) for n in ("astronaut", "render"))
    canvas = np.zeros((640, 640, 3), np.uint8)
    canvas[0:224, 0:224] = astronaut
    canvas[16:240, 320:544] = render
    canvas[320:544, 16:240] = render[:, ::-1]
    canvas[400:512, 400:512] = astronaut[::2, ::2]
    wide = canvas[60:420].repeat(3, axis=0).repeat(3, axis=1)
    tall = np.ascontiguousarray(astronaut[10:210, 50:180])
    return {"canvas": canvas, "wide": wide, "tall": tall}


def overlaps(det: np.ndarray) -> np.ndarray:
    """Intersection over union of all pairs, borders counted."""
    low, high = np.maximum(det[:, None, :2], det[None, :, :2]), np.minimum(det[:, None, 2:4], det[None, :, 2:4])
    both = np.prod(np.maximum(0, high - low + 1), axis=2)
    area = np.prod(det[:, 2:4] - det[:, :2] + 1, axis=1)
    return both / (area[:, None] + area[None] - both)


def detect(detector, picture: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes with scores [n, 5], key points [n, 5, 2], and all boxes before suppression."""
    bgr = np.ascontiguousarray(picture[:, :, ::-1])
    det, kps = detector.detect(bgr, input_size=(size, size))
    candidates, _ = detector._detect_candidates(bgr, (size, size), 0.3)
    passed = candidates[candidates[:, 4] >= THRESHOLD]
    # no decision may hang on the last bits of a float
    if len(candidates) and np.abs(candidates[:, 4] - THRESHOLD).min() < 2e-5:
        raise Doubtful("a score at the threshold")
    if len(passed) > 1 and np.diff(np.sort(passed[:, 4])).min() < 2e-6:
        raise Doubtful("two equal scores")
    if len(passed) > 1 and np.abs(overlaps(passed) - NMS).min() < 2e-5:
        raise Doubtful("an overlap at the threshold")
    return det, kps, passed


class Doubtful(Exception):
    """Another seed is needed."""


def largest(det: np.ndarray) -> int:
    return int(((det[:, 2] - det[:, 0]) * (det[:, 3] - det[:, 1])).argmax())


def close_up(detector, picture: np.ndarray) -> tuple[np.ndarray, list[int], int]:
    """A part of the picture in which nothing is found at 640 and something at a smaller size."""
    rng = np.random.default_rng(5)
    for _ in range(40):
        side = int(rng.integers(24, 120))
        left, top = (int(rng.integers(0, 224 - side)) for _ in range(2))
        part = np.ascontiguousarray(picture[top : top + side, left : left + side])
        for size in range(640, 128, -64):
            det, _, _ = detect(detector, part, size)
            if len(det):
                if size < 576:
                    return part, [left, top, side], size
                break
    raise Doubtful("no close-up found")


def expected(pack: str, detector, photos: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the detector finds in all photos."""
    tensors = {}
    if pack == "buffalo_l":
        close, place, size = close_up(detector, photos["canvas"][:224, :224])
        det, kps, _ = detect(detector, close, size)
        tensors |= {"close.place": np.array([*place, size], np.int32), "close.det": det, "close.kps": kps}
    for name, picture in photos.items():
        det, kps, passed = detect(detector, picture, 640)
        if not len(passed) >= len(det) + 3 >= 6:
            raise Doubtful(f"{len(det)} of {len(passed)} in {name}")
        tensors |= {f"{name}.det": det, f"{name}.kps": kps}
    width = tensors["canvas.det"][:, 2] - tensors["canvas.det"][:, 0]
    # about 56, 112 and 224 pixels at strides 8, 16 and 32
    if not ((width < 80).any() and ((width > 80) & (width < 160)).any() and (width > 160).any()):
        raise Doubtful("not every stride finds something")
    return {f"{pack}.{name}": value for name, value in tensors.items()}


def main() -> None:
    for module, version in VERSIONS.items():
        assert module.__version__ == version, f"{module.__name__} {module.__version__}, expected {version}"
    cv2.setNumThreads(1)
    model_zoo, face_align = reference()
    shutil.rmtree(OUT, ignore_errors=True)
    photos = pictures()
    # names and declared shapes of det_10g, which hold for 640x640 though any size goes in
    fixed = [[640 * 640 // s // s * 2, width] for width in (1, 4, 10) for s in STRIDES]
    open_ = [[1, f"n{s}", width] for width in (1, 4, 10) for s in STRIDES]
    ten_g = ["448", "471", "494", "451", "474", "497", "454", "477", "500"]
    bnkps = [f"{part}_{s}" for part in ("score", "bbox", "kps") for s in STRIDES]
    detectors = {
        "buffalo_l": ("det_10g", 100, (ten_g, fixed, False)),
        "antelopev2": ("scrfd_10g_bnkps", 200, (bnkps, open_, True)),
    }
    models = {
        "buffalo_l/2d106det": other(3, 192, 212),
        "buffalo_l/genderage": other(4, 96, 3),
        "buffalo_l/w600k_r50": arcface(13, torch_name, False, "683"),
        "antelopev2/genderage": other(4, 96, 3),
        "antelopev2/glintr100": arcface(14, torch_name, False, "1333"),
        "mxnet": arcface(15, mxnet_name, True, "fc1"),
    }
    def save(name: str, model: onnx.ModelProto):
        path = OUT / f"{name}.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(model.SerializeToString())
        path.chmod(0o644)
        return model_zoo.get_model(str(path), providers=["CPUExecutionProvider"])

    opened = {name: save(name, model) for name, model in models.items()}
    kinds = ["Landmark", "Attribute", "ArcFaceONNX", "Attribute", "ArcFaceONNX", "ArcFaceONNX"]
    assert [type(model).__name__ for model in opened.values()] == kinds
    assert (opened["mxnet"].input_mean, opened["mxnet"].input_std) == (0.0, 1.0)

    tensors = {}
    for pack, (file, first, layout) in detectors.items():
        for seed in range(first, first + 100):
            detector = save(f"{pack}/{file}", calibrated(seed, photos["canvas"], *layout))
            try:
                tensors |= expected(pack, detector, photos)
            except Doubtful as why:
                print(pack, seed, why)
                continue
            break
        else:
            raise RuntimeError(f"no seed for {pack}")

    for pack, file in (("buffalo_l", "w600k_r50"), ("antelopev2", "glintr100")):
        recogniser = opened[f"{pack}/{file}"]
        picture = photos["wide"]
        points = tensors[f"{pack}.wide.kps"][largest(tensors[f"{pack}.wide.det"])]
        crops = {n: face_align.norm_crop(picture, points, image_size=n) for n in (112, 224, 256)}
        tensors |= {
            f"{pack}.crop_112": crops[112],
            # a quarter of the rows and columns is enough to tell a crop
            f"{pack}.crop_224": crops[224][::4, ::4],
            f"{pack}.crop_256": crops[256][::4, ::4],
            f"{pack}.embedding": recogniser.get_feat(np.ascontiguousarray(crops[112][:, :, ::-1])).ravel(),
        }
    crop = np.ascontiguousarray(tensors["buffalo_l.crop_112"][:, :, ::-1])
    tensors["mxnet.embedding"] = opened["mxnet"].get_feat(crop).ravel()
    types = {np.dtype(np.uint8): np.uint8, np.dtype(np.int32): np.int32}
    stored = {k: np.ascontiguousarray(v, types.get(v.dtype, np.float32)) for k, v in tensors.items()}
    save_file(stored, OUT / "expected.safetensors")
    (OUT / "expected.safetensors").chmod(0o644)
    print({k: v.shape for k, v in stored.items()}, tensors["buffalo_l.close.place"])


if __name__ == "__main__":
    main()
