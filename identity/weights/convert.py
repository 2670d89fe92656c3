"""Makes face_descriptor.safetensors and face_landmarks_68.safetensors from the weights of face-api.

    npm pack @vladmandic/face-api@1.7.15
    pip install numpy==2.4.6 safetensors==0.8.0
    python convert.py vladmandic-face-api-1.7.15.tgz

The package holds the weights as TensorFlow.js does: 8 bits a number and, for each tensor, a scale and a least
value. They are kept that way, bit for bit; only names and the order of dimensions become those of PyTorch
([out, in, height, width]). Beside each tensor KEY of bytes, KEY.range holds scale and least value as f64.
"""

import hashlib
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

HERE = Path(__file__).parent
PACKAGE = "@vladmandic/face-api 1.7.15 (npm)"
PACKAGE_SHA256 = "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031"
NETWORKS = {"face_recognition_model": "face_descriptor", "face_landmark_68_model": "face_landmarks_68"}
TYPES = {"uint8": np.uint8, "float32": np.float32, "int32": np.int32}


def entries(package: tarfile.TarFile, model: str):
    """Name, numbers as stored, and scale and least value where the numbers are bytes."""
    manifest = json.load(package.extractfile(f"package/model/{model}-weights_manifest.json"))
    for group in manifest:
        data = b"".join(package.extractfile(f"package/model/{path}").read() for path in group["paths"])
        at = 0
        for weight in group["weights"]:
            packed = weight.get("quantization")
            kind = np.dtype(TYPES[packed["dtype"] if packed else weight["dtype"]])
            size = int(np.prod(weight["shape"])) * kind.itemsize
            values = np.frombuffer(data[at : at + size], kind).reshape(weight["shape"])
            at += size
            yield weight["name"], values, (packed["scale"], packed["min"]) if packed else None
        assert at == len(data), f"{model}: {len(data) - at} bytes are left over"


def as_in_torch(name: str, values: np.ndarray) -> np.ndarray:
    """From TensorFlow's order of dimensions."""
    if name.endswith("depthwise_filter"):
        return values.transpose(2, 3, 0, 1)  # [H, W, C, 1] -> [C, 1, H, W]
    if values.ndim == 4:
        return values.transpose(3, 2, 0, 1)  # [H, W, in, out] -> [out, in, H, W]
    return values.T if values.ndim == 2 else values


def main() -> None:
    path = Path(sys.argv[1])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest == PACKAGE_SHA256, f"{path} is another package: {digest}"
    with tarfile.open(path) as package:
        for model, out in NETWORKS.items():
            tensors = {}
            for name, values, packed in entries(package, model):
                key = name.replace("/", ".")
                tensors[key] = np.ascontiguousarray(as_in_torch(name, values))
                if packed:
                    tensors[f"{key}.range"] = np.array(packed, np.float64)
            about = {"source": f"{PACKAGE}, model/{model}.bin", "licence": "MIT; see README.md"}
            save_file(tensors, HERE / f"{out}.safetensors", about)
            print(out, len(tensors), sum(t.nbytes for t in tensors.values()))


if __name__ == "__main__":
    main()
