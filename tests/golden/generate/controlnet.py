"""Makes tests/golden/fixtures/controlnet: tiny `ControlNetModel`s of SD 1.x and SDXL, each beside its U-Net.

Needs torch==2.11.0, diffusers==0.42.1, transformers==5.23.0, safetensors==0.8.0; run it from anywhere:

    python tests/golden/generate/controlnet.py
"""

from pathlib import Path

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from seeded import begin, reseed, save_model, save_tensors

OUT = Path(__file__).parent.parent / "fixtures" / "controlnet"

CROSS_DOWN, DOWN = "CrossAttnDownBlock2D", "DownBlock2D"
CROSS_UP, UP = "CrossAttnUpBlock2D", "UpBlock2D"

SD1 = {
    "block_out_channels": [4, 6],
    "down_block_types": [CROSS_DOWN, DOWN],
    "layers_per_block": 2,
    "norm_num_groups": 2,
    "cross_attention_dim": 6,
    "attention_head_dim": 2,
}
SDXL = {
    "block_out_channels": [4, 6],
    "down_block_types": [DOWN, CROSS_DOWN],
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "cross_attention_dim": 6,
    "transformer_layers_per_block": [1, 2],
    "attention_head_dim": [1, 3],
    "use_linear_projection": True,
    "upcast_attention": None,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 6,
    "projection_class_embeddings_input_dim": 10 + 6 * 6,
}

# name: (what both have, what the ControlNet has, the U-Net's way up, pixels of a cell)
CASES = {
    "sd1": (SD1, {"conditioning_embedding_out_channels": [2, 4, 6, 8]}, [UP, CROSS_UP], 8),
    "sdxl": (SDXL, {"conditioning_embedding_out_channels": [2, 4, 6, 8]}, [CROSS_UP, UP], 8),
    # the other order of colours, a middle without attention, another number of halvings and of channels
    "bgr": (
        {
            **SD1,
            "block_out_channels": [2, 4],
            "layers_per_block": 1,
            "mid_block_type": "UNetMidBlock2D",
            "resnet_time_scale_shift": "scale_shift",
        },
        {
            "conditioning_embedding_out_channels": [3, 5],
            "controlnet_conditioning_channel_order": "bgr",
            "conditioning_channels": 3,
        },
        [UP, CROSS_UP],
        2,
    ),
}


def inputs(config, size, cell, rows, generator):
    tensors = {
        "sample": torch.randn(rows, 4, *size, generator=generator),
        "timesteps": torch.tensor([20.0, 431.5, 999.0])[:rows],
        "text": torch.randn(rows, 7, 6, generator=generator),
        # One picture for all rows, or one for each.
        "picture": torch.randint(
            0, 256, (1 if rows == 3 else rows, 3, size[0] * cell, size[1] * cell), generator=generator
        ).to(torch.uint8),
        # The ControlNet's own condition, as InstantID gives it: other tokens than the U-Net's text.
        "tokens": torch.randn(rows, 3, 6, generator=generator),
    }
    if config.addition_embed_type == "text_time":
        tensors["text_embeds"] = torch.randn(rows, 10, generator=generator)
        ids = torch.tensor([[64.0, 48, 3, 5, 64, 64], [512, 512, 0, 0, 32, 64], [1, 2, 3, 4, 5, 6]])
        tensors["time_ids"] = ids[:rows]
    return tensors


def main():
    generator = begin(OUT)
    for name, (shared, own, up, cell) in CASES.items():
        unet = reseed(UNet2DConditionModel(sample_size=8, up_block_types=up, **shared), generator)
        controlnet = reseed(ControlNetModel(**shared, **own), generator)
        save_model(unet, OUT / name / "unet")
        save_model(controlnet, OUT / name / "controlnet")
        io = {}
        for case, (size, rows) in {"even": ((8, 4), 2), "odd": ((5, 7), 3)}.items():
            tensors = inputs(unet.config, size, cell, rows, generator)
            added = {key: tensors[key] for key in ("text_embeds", "time_ids") if key in tensors} or None
            picture = (tensors["picture"].float() / 255).expand(rows, -1, -1, -1)
            arguments = tensors["sample"], tensors["timesteps"]
            for scale in (1.0, 0.6):
                down, mid = controlnet(
                    *arguments, tensors["tokens"], picture, scale, added_cond_kwargs=added, return_dict=False
                )
                tensors[f"output.{scale}"] = unet(
                    *arguments,
                    tensors["text"],
                    added_cond_kwargs=added,
                    down_block_additional_residuals=down,
                    mid_block_additional_residual=mid,
                ).sample
                if scale != 1.0 and case == "even":
                    tensors["mid"] = mid
                    tensors.update({f"down.{i}": t for i, t in enumerate(down)})
            plain = unet(*arguments, tensors["text"], added_cond_kwargs=added).sample
            shown = (plain - tensors["output.1.0"]).abs().max() / plain.abs().max()
            assert shown > 0.1, f"{name}: the ControlNet must show in the fixture: {shown}"
            io.update({f"{case}.{key}": tensor for key, tensor in tensors.items()})
        save_tensors(io, OUT / name / "io.safetensors")


if __name__ == "__main__":
    main()
