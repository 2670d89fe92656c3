"""Makes tests/golden/fixtures/card/card.safetensors: 68 landmarks and dlib's face descriptor, from face-api itself.

Needs node 20 and npm beside the packages of requirements.txt, and fetches the packages that face_api/package-lock.json
names; run it from anywhere:

    python tests/golden/generate/card.py

The pictures are renders of people who do not exist: faces/render.png, and turned.png beside the result. The
rectangles are of odd sizes, wider and taller than they are high and wide, and one reaches the picture's edge.
"""

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

HERE = Path(__file__).parent
FIXTURES = HERE.parent / "fixtures"
OUT = FIXTURES / "card"
FACE_API = HERE / "face_api"
# picture, and left, top, width, height of the face's rectangle
CASES = [
    ("faces/render.png", (62, 50, 151, 170)),
    ("faces/render.png", (30, 61, 205, 156)),
    ("faces/render.png", (90, 100, 112, 112)),
    ("card/turned.png", (41, 34, 108, 121)),
    ("card/turned.png", (0, 20, 160, 150)),
]


def main() -> None:
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=FACE_API, check=True)
    with tempfile.TemporaryDirectory() as folder:
        cases = []
        for n, (name, rectangle) in enumerate(CASES):
            picture = Image.open(FIXTURES / name).convert("RGB")
            file = Path(folder) / f"{n}.rgb"
            file.write_bytes(picture.tobytes())
            width, height = picture.size
            cases.append({"file": str(file), "width": width, "height": height, "rectangle": rectangle})
        (Path(folder) / "cases.json").write_text(json.dumps(cases))
        files = [str(Path(folder) / name) for name in ("cases.json", "results.json")]
        subprocess.run(["node", "run.mjs", *files], cwd=FACE_API, check=True)
        results = json.loads(Path(files[1]).read_text())
    tensors = {}
    for n, ((_, rectangle), result) in enumerate(zip(CASES, results, strict=True)):
        tensors[f"{n}.rectangle"] = np.array(rectangle, np.float32)
        tensors[f"{n}.points"] = np.array(result["points"], np.float32)
        tensors[f"{n}.aligned"] = np.array(result["rectangle"], np.float32)
        tensors[f"{n}.cut"] = np.array(result["cut"], np.int64)
        tensors[f"{n}.descriptor"] = np.array(result["descriptor"], np.float32)
    save_file(tensors, OUT / "card.safetensors", {"pictures": " ".join(name for name, _ in CASES)})


if __name__ == "__main__":
    main()
