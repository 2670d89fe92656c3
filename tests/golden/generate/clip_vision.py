"""Makes tests/golden/fixtures/clip_vision: tiny CLIP vision encoders with their inputs and outputs.

Needs torch==2.11.0, transformers==5.23.0, safetensors==0.8.0; run it from anywhere:

    python tests/golden/generate/clip_vision.py
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from seeded import begin, save_tensors
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
)

OUT = Path(__file__).parent.parent / "fixtures" / "clip_vision"

BASE = {
    "hidden_size": 16,
    "intermediate_size": 28,
    "projection_dim": 12,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 12,
    "patch_size": 4,
}

# name: (class, saved as old transformers did, changes of the configuration)
CASES = {
    # OpenAI's kind, as transformers 5 saves it without projection: no prefix.
    "quick_gelu": (CLIPVisionModel, False, {}),
    # OpenAI's ViT-L/14 in PhotoMaker
    "quick_gelu_projection": (CLIPVisionModelWithProjection, False, {"projection_dim": 20}),
    # OpenCLIP's kind, IP-Adapter's image_encoder; the patches do not cover the last rows and columns;
    # saved with position_ids
    "gelu_projection": (
        CLIPVisionModelWithProjection,
        True,
        {"hidden_act": "gelu", "image_size": 19, "patch_size": 5, "layer_norm_eps": 1e-3, "num_attention_heads": 2},
    ),
    # the state before the last layer is the embeddings
    "one_layer": (CLIPVisionModelWithProjection, False, {"hidden_act": "gelu", "num_hidden_layers": 1}),
}


def reseed(model, generator):
    """Large enough that no layer is nearly linear; norms stay near one."""
    for key, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator) * 0.3
        is_norm = ("norm" in key or "layrnorm" in key) and key.endswith("weight")
        parameter.copy_(1 + noise if is_norm else noise)
    return model.eval()


def run(vision, projection, side, folder, generator):
    """The last row holds zeros: what image adapters take as no picture."""
    pixels = torch.cat([torch.randn(2, 3, side, side, generator=generator), torch.zeros(1, 3, side, side)])
    out = vision(pixels, output_hidden_states=True)
    tensors = {
        "pixel_values": pixels,
        "last_hidden_state": out.last_hidden_state,
        "last_but_one": out.hidden_states[-2],
        "pooled": out.pooler_output,
    }
    if projection is not None:
        tensors["image_embeds"] = projection(out.pooler_output)
    save_tensors(tensors, folder / "io.safetensors")
    return tensors


def finish(folder, weights):
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)


def make(name, kind, old, changes, generator):
    config = CLIPVisionConfig(**{**BASE, **changes})
    model = reseed(kind(config), generator)
    folder = OUT / name
    model.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    if old:
        positions = (config.image_size // config.patch_size) ** 2 + 1
        weights["vision_model.embeddings.position_ids"] = torch.arange(positions)[None]
    finish(folder, weights)
    if kind is CLIPVisionModel:
        run(model, None, config.image_size, folder, generator)
    else:
        tensors = run(model.vision_model, model.visual_projection, config.image_size, folder, generator)
        assert torch.equal(model(tensors["pixel_values"]).image_embeds, tensors["image_embeds"])


def make_whole(generator):
    """A whole CLIP, both towers in one file, as LAION's are published."""
    text = CLIPTextConfig(vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    vision = CLIPVisionConfig(**{**BASE, "projection_dim": 512, "num_hidden_layers": 2})
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=10)
    model = reseed(CLIPModel(config), generator)
    folder = OUT / "whole_clip"
    model.save_pretrained(folder)
    finish(folder, load_file(folder / "model.safetensors"))
    run(model.vision_model, model.visual_projection, vision.image_size, folder, generator)


def main():
    generator = begin(OUT)
    for name, (kind, old, changes) in CASES.items():
        make(name, kind, old, changes, generator)
    make_whole(generator)


if __name__ == "__main__":
    main()
