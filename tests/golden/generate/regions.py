"""Makes tests/golden/fixtures/regions: two people in one picture, each in a region, on a tiny U-Net.

Needs torch==2.11.0, diffusers==0.42.1, transformers==5.23.0, safetensors==0.8.0; run it from anywhere:

    python tests/golden/generate/regions.py

The reference is diffusers' own attention processor with its masks; the adapter's projections are saved under
the published names.
"""

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0, IPAdapterAttnProcessor2_0
from seeded import begin, reseed, save_model, save_tensors, save_weights

OUT = Path(__file__).parent.parent / "fixtures" / "regions"
TOKENS, PEOPLE, ROWS = 4, 2, 3

# name: size of the latents; a cell is 8 pixels wide
SIZES = {"upright": (8, 6), "wide": (6, 16), "odd": (9, 7)}


def attach(unet):
    """Gives every cross-attention the reference's processor; returns what published files hold of it."""
    processors = {}
    for name in unet.attn_processors:
        attention = unet.get_submodule(name.removesuffix(".processor"))
        processors[name] = (
            IPAdapterAttnProcessor2_0(
                attention.to_q.out_features, unet.config.cross_attention_dim, num_tokens=(TOKENS,)
            )
            if "attn2" in name
            else AttnProcessor2_0()
        )
    unet.set_attn_processor(dict(processors))  # it empties the dictionary
    return processors


def published(processors):
    weights = {}
    for n, processor in enumerate(processors.values()):
        if isinstance(processor, IPAdapterAttnProcessor2_0):
            weights[f"ip_adapter.{n}.to_k_ip.weight"] = processor.to_k_ip[0].weight
            weights[f"ip_adapter.{n}.to_v_ip.weight"] = processor.to_v_ip[0].weight
    return weights


def picture_masks(height, width):
    """What a user paints: the left person, and a soft-edged right one that overlaps it a little."""
    left = torch.zeros(height, width)
    left[: height * 3 // 4, : width * 5 // 9] = 1
    ramp = torch.linspace(-1, 2, width).clamp(0, 1).expand(height, width).clone()
    ramp[: height // 5] = 0
    return torch.stack([left, ramp])[None]  # [1, PEOPLE, H, W]


def main():
    generator = begin(OUT)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=[4, 8],
        down_block_types=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
        layers_per_block=1,
        transformer_layers_per_block=[1, 2],
        norm_num_groups=2,
        cross_attention_dim=6,
        attention_head_dim=2,
    )
    reseed(unet, generator)
    save_model(unet, OUT / "unet")
    processors = attach(unet)
    for processor in processors.values():
        if isinstance(processor, IPAdapterAttnProcessor2_0):
            reseed(processor, generator)
    save_weights(published(processors), OUT / "adapter.safetensors")

    def run(io, tokens, scales, masks):
        for processor in processors.values():
            if isinstance(processor, IPAdapterAttnProcessor2_0):
                processor.scale = [scales]
        kwargs = None if masks is None else {"ip_adapter_masks": [masks]}
        condition = (io["text"], [tokens])
        return unet(io["sample"], io["timesteps"], condition, cross_attention_kwargs=kwargs).sample

    for name, (height, width) in SIZES.items():
        io = {
            "sample": torch.randn(ROWS, 4, height, width, generator=generator),
            "timesteps": torch.tensor([10.0, 500.0, 990.0]),
            "text": torch.randn(ROWS, 5, 6, generator=generator),
            "tokens": 2 * torch.randn(ROWS, PEOPLE, TOKENS, 6, generator=generator),
        }
        # At the picture's size, as diffusers' pipelines pass them, and at the latents'.
        io["masks.picture"] = picture_masks(8 * height, 8 * width)
        io["masks.latents"] = picture_masks(height, width)
        for kind in ("picture", "latents"):
            masks = io[f"masks.{kind}"]
            io[f"output.{kind}.both"] = run(io, io["tokens"], [0.7, 1.2], masks)
            io[f"output.{kind}.second"] = run(io, io["tokens"], [0.0, 0.9], masks)
        # Without masks diffusers joins the tokens of all references of one adapter.
        io["output.joined"] = run(io, io["tokens"], 0.8, None)
        io["output.nobody"] = run(io, io["tokens"], 0.0, None)
        shown = (io["output.picture.both"] - io["output.nobody"]).abs().max() / io["output.nobody"].abs().max()
        assert shown > 0.02, f"{name}: the people must show in the fixture: {shown}"
        save_tensors(io, OUT / f"{name}.safetensors")


if __name__ == "__main__":
    main()
