"""Makes tests/golden/fixtures/eight_bits: the U-Net of fixtures/sdxl in float8 as torchao has diffusers save it.

Needs torch==2.11.0, torchao==0.18.0, diffusers==0.42.1, transformers==5.23.0, safetensors==0.8.0, numpy==2.4.6; run it
from anywhere after sdxl.py:

    python tests/golden/generate/eight_bits.py

unet/                  folder of the U-Net, float8 with a scale for each row
pictures.safetensors   what diffusers draws with it, and with the U-Net that it was made of
runs.json, digests.json
"""

import gzip
import json
from pathlib import Path

import torch
from diffusers import TorchAoConfig, UNet2DConditionModel
from sdxl import CHECKPOINT, REQUEST, draw, load, look
from seeded import begin, save_json, save_tensors
from single_file import digest
from torchao.quantization import Float8WeightOnlyConfig

OUT = Path(__file__).parent.parent / "fixtures/eight_bits"
WEIGHTS = "diffusion_pytorch_model.safetensors"


def uneven(state, generator):
    """Rows of very different sizes, which one scale for all would round away."""
    for key, tensor in sorted(state.items()):
        if tensor.dim() == 2:
            tensor.mul_(torch.exp2(torch.randint(-3, 4, (len(tensor), 1), generator=generator)))
    return state


def plain(tensor):
    return tensor.dequantize() if hasattr(tensor, "dequantize") and hasattr(tensor, "qdata") else tensor


def main():
    generator = begin(OUT)
    unet = UNet2DConditionModel.from_pretrained(CHECKPOINT / "unet", torch_dtype=torch.float32)
    unet.load_state_dict(uneven(unet.state_dict(), generator))
    unet.half().save_pretrained(OUT / "whole")
    config = TorchAoConfig(Float8WeightOnlyConfig())
    eight = UNet2DConditionModel.from_pretrained(
        OUT / "whole", torch_dtype=torch.float32, quantization_config=config
    )
    eight.save_pretrained(OUT / "unet")
    state = {key: plain(tensor) for key, tensor in eight.state_dict().items()}
    assert sum(hasattr(tensor, "qdata") for tensor in eight.state_dict().values()) > 50
    pictures, runs = {}, []
    for name in ("eight", "whole"):
        pipe = load()
        pipe.unet = UNet2DConditionModel.from_pretrained(
            OUT / {"eight": "unet"}.get(name, name), torch_dtype=torch.float32
        )
        pipe.set_progress_bar_config(disable=True)
        look(name, draw(pipe, REQUEST), pictures)
        runs.append({"name": name, **REQUEST})
    assert not torch.equal(pictures["eight"], pictures["whole"])
    config = json.loads((OUT / "unet/config.json").read_text())
    # Where it was made.
    del config["_name_or_path"]
    save_json(config, OUT / "unet/config.json")
    file = OUT / "unet" / WEIGHTS
    (OUT / "unet" / f"{WEIGHTS}.gz").write_bytes(gzip.compress(file.read_bytes(), 9, mtime=0))
    file.unlink()
    for path in (OUT / "whole").iterdir():
        path.unlink()
    (OUT / "whole").rmdir()
    save_tensors(pictures, OUT / "pictures.safetensors")
    save_json(runs[:1], OUT / "runs.json")
    save_json({"unet": digest(state)}, OUT / "digests.json")
    for path in OUT.rglob("*"):
        path.chmod(0o644 if path.is_file() else 0o755)


if __name__ == "__main__":
    main()
