"""Makes tests/golden/fixtures/vae: tiny `AutoencoderKL`s with their inputs and outputs.

Needs torch==2.11.0, diffusers==0.42.1, transformers==5.23.0, safetensors==0.8.0; run it from anywhere:

    python tests/golden/generate/vae.py
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from seeded import begin, reseed, save_model, save_tensors, save_weights

OUT = Path(__file__).parent.parent / "fixtures" / "vae"

BASE = {"sample_size": 16, "norm_num_groups": 2, "latent_channels": 4}

# name: (channels of the levels, changes of the base)
CASES = {
    # the kind of SD 1.x, 2.x and XL
    "sd": ([4, 8], {}),
    # the kind of SD 3 and Flux: no convolutions on the latents, which are shifted
    "no_quant": (
        [4, 4, 8],
        {
            "layers_per_block": 2,
            "use_quant_conv": False,
            "use_post_quant_conv": False,
            "latent_channels": 6,
            "shift_factor": 0.1159,
            "scaling_factor": 0.3611,
        },
    ),
    "no_attention": ([4, 8], {"mid_block_add_attention": False, "use_quant_conv": False, "sample_size": 8}),
}

# names of the attention's layers before diffusers 0.18
OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def old_names(weights):
    renamed = {}
    for key, tensor in weights.items():
        for new, old in OLD.items():
            key = key.replace(f".{new}.", f".{old}.")
        renamed[key] = tensor
    assert len(renamed) == len(weights) and any(".query." in key for key in renamed)
    return renamed


def main():
    generator = begin(OUT)
    for name, (channels, changes) in CASES.items():
        model = AutoencoderKL(
            block_out_channels=channels,
            down_block_types=["DownEncoderBlock2D"] * len(channels),
            up_block_types=["UpDecoderBlock2D"] * len(channels),
            **{**BASE, **changes},
        )
        reseed(model, generator)
        save_model(model, OUT / name)
        latents = model.config.latent_channels
        cells = (15, 21) if len(channels) == 2 else (8, 11)
        tensors = {
            "pixels": torch.rand(2, 3, 20, 12, generator=generator) * 2 - 1,
            "latents": torch.randn(2, latents, 3, 5, generator=generator),
            "large": torch.randn(1, latents, *cells, generator=generator),
        }
        posterior = model.encode(tensors["pixels"]).latent_dist
        tensors["mean"], tensors["log_variance"] = posterior.mean, posterior.logvar
        tensors["kl"] = posterior.kl()
        tensors["decoded"] = model.decode(tensors["latents"]).sample
        whole = model.decode(tensors["large"]).sample
        tensors["tiled"] = model.tiled_decode(tensors["large"]).sample
        assert not torch.allclose(whole, tensors["tiled"], atol=1e-2), "tiles must make a difference to show"
        save_tensors(tensors, OUT / name / "io.safetensors")
        if name == "sd":
            save_weights(old_names(model.state_dict()), OUT / name / "old_names.safetensors")


if __name__ == "__main__":
    main()
