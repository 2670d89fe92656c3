"""Writes an autoencoder with A's encoder and a decoder between two: PART of the way from A's to B's, weight by weight.

    python training/blend_vae.py A/vae B/vae 0.75 OUT/vae

B has been trained on from A with a critic (`vae --from A --decoder-only --critic-weight`): on the way to it pictures get clearer, and only near its
end does it draw scraps of edges where a U-Net leaves something open (network interpolation, arXiv 1809.00219).  Needs torch 2.11.0, safetensors.
"""

import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

FILE = 'diffusion_pytorch_model.safetensors'

a, b, part, out = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
first, second = load_file(a / FILE), load_file(b / FILE)


def blended(key):
    if key.startswith(('encoder.', 'quant_conv.')):
        return first[key].half()
    return first[key].float().lerp(second[key].float(), part).half()


blend = {key: blended(key).contiguous() for key in first}
out.mkdir(parents=True, exist_ok=True)
save_file(blend, out / FILE, metadata={'format': 'pt'})
shutil.copy(a / 'config.json', out / 'config.json')
