"""Makes tests/golden/fixtures/unet: tiny `UNet2DConditionModel`s with their inputs and outputs.

Needs torch==2.11.0, diffusers==0.42.1, transformers==5.23.0, safetensors==0.8.0; run it from anywhere:

    python tests/golden/generate/unet.py
"""

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from seeded import begin, reseed, save_model, save_tensors

OUT = Path(__file__).parent.parent / "fixtures" / "unet"

CROSS_DOWN, DOWN = "CrossAttnDownBlock2D", "DownBlock2D"
CROSS_UP, UP = "CrossAttnUpBlock2D", "UpBlock2D"

BASE = {
    "sample_size": 8,
    "block_out_channels": [4, 8],
    "down_block_types": [CROSS_DOWN, DOWN],
    "up_block_types": [UP, CROSS_UP],
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "cross_attention_dim": 6,
    "attention_head_dim": 2,
}

# name: changes of the base
CASES = {
    # SD 1.x: convolutions around the attention, one number of heads for all, two layers a block
    "sd1": {"layers_per_block": 2},
    # SD 2.x: linear layers around the attention, heads and layers of each block
    "sd2": {
        "block_out_channels": [4, 4, 8],
        "down_block_types": [CROSS_DOWN, CROSS_DOWN, DOWN],
        "up_block_types": [UP, CROSS_UP, CROSS_UP],
        "layers_per_block": [1, 2, 1],
        "attention_head_dim": [1, 2, 4],
        "use_linear_projection": True,
        "norm_num_groups": 4,
        "cross_attention_dim": 10,
        "upcast_attention": True,
    },
    # the middle without attention; the time embedding scales and shifts; residuals are divided
    "scale_shift": {
        "mid_block_type": "UNetMidBlock2D",
        "resnet_time_scale_shift": "scale_shift",
        "mid_block_scale_factor": 1.4,
        "norm_eps": 1e-3,
    },
    # no middle at all; the other sinusoid; input centred; one-sided padding; other kernels and channels
    "no_middle": {
        "mid_block_type": None,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "center_input_sample": True,
        "downsample_padding": 0,
        "time_embedding_dim": 20,
        "conv_in_kernel": 5,
        "conv_out_kernel": 1,
        "in_channels": 9,
        "out_channels": 8,
    },
    # SDXL: pooled text and sizes beside the time, several transformer blocks in each attention, attention
    # on the lowest level
    "sdxl": {
        "down_block_types": [DOWN, CROSS_DOWN],
        "up_block_types": [CROSS_UP, UP],
        "transformer_layers_per_block": [1, 2],
        "attention_head_dim": [1, 4],
        "only_cross_attention": [False, False],
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 6,
        "projection_class_embeddings_input_dim": 10 + 6 * 6,
    },
    "one_level": {
        "block_out_channels": [4],
        "down_block_types": [CROSS_DOWN],
        "up_block_types": [CROSS_UP],
        "norm_num_groups": 4,
    },
}


def inputs(config, size, generator):
    """Three rows, each at a timestep of its own: the first, the last, and one between two."""
    rows = 3
    tensors = {
        "sample": torch.randn(rows, config.in_channels, *size, generator=generator),
        "timesteps": torch.tensor([0.0, 999.0, 431.5]),
        "text": torch.randn(rows, 7, config.cross_attention_dim, generator=generator),
    }
    if config.addition_embed_type == "text_time":
        tensors["text_embeds"] = torch.randn(rows, 10, generator=generator)
        tensors["time_ids"] = torch.tensor([[64.0, 48, 3, 5, 64, 64], [512, 512, 0, 0, 32, 64], [1, 2, 3, 4, 5, 6]])
    return tensors


def run(model, tensors):
    added = {key: tensors[key] for key in ("text_embeds", "time_ids") if key in tensors}
    return model(
        tensors["sample"], tensors["timesteps"], tensors["text"], added_cond_kwargs=added or None
    ).sample


def main():
    generator = begin(OUT)
    for name, changes in CASES.items():
        model = reseed(UNet2DConditionModel(**{**BASE, **changes}), generator)
        # One in the type of training, the others in half of it.
        save_model(model, OUT / name, torch.float32 if name == "one_level" else torch.float16)
        io = {}
        for case, size in {"even": (4, 8), "odd": (9, 7)}.items():
            tensors = inputs(model.config, size, generator)
            tensors["output"] = run(model, tensors)
            io.update({f"{case}.{key}": tensor for key, tensor in tensors.items()})
        save_tensors(io, OUT / name / "io.safetensors")


if __name__ == "__main__":
    main()
