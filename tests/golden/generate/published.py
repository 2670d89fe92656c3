"""Makes tests/golden/fixtures/published: keys and shapes of the published networks, as diffusers and transformers build
them. No weights.

Needs torch==2.11.0, diffusers==0.42.1, transformers==5.23.0; run it from anywhere:

    python tests/golden/generate/published.py

shapes.json.gz   {network: {key: shape}}
"""

import gzip
import json
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from seeded import begin
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

OUT = Path(__file__).parent.parent / "fixtures/published"

CROSS, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"
UP, PLAIN_UP = "CrossAttnUpBlock2D", "UpBlock2D"
SD15 = {
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": [CROSS, CROSS, CROSS, PLAIN],
    "up_block_types": [PLAIN_UP, UP, UP, UP],
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
SD21 = {**SD15, "cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}
SDXL = {
    "block_out_channels": [320, 640, 1280],
    "down_block_types": [PLAIN, CROSS, CROSS],
    "up_block_types": [UP, UP, PLAIN_UP],
    "transformer_layers_per_block": [1, 2, 10],
    "cross_attention_dim": 2048,
    "attention_head_dim": [5, 10, 20],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
TEXTS = {
    "vit_l": (CLIPTextModel, (768, 3072, 12, 12)),
    "vit_h": (CLIPTextModel, (1024, 4096, 16, 23)),
    "vit_big_g": (CLIPTextModelWithProjection, (1280, 5120, 20, 32)),
}
VIT_H = {"hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 16, "num_hidden_layers": 32}


def shapes(model):
    return {key: list(tensor.shape) for key, tensor in sorted(model.state_dict().items())}


def text(kind, sizes):
    keys = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers")
    return kind(CLIPTextConfig(**dict(zip(keys, sizes, strict=True)), projection_dim=sizes[0]))


def main():
    begin(OUT)
    with torch.device("meta"):
        found = {
            "sd15": shapes(UNet2DConditionModel(**SD15)),
            "sd15_inpainting": shapes(UNet2DConditionModel(**SD15, in_channels=9)),
            "sd21": shapes(UNet2DConditionModel(**SD21)),
            "sdxl": shapes(UNet2DConditionModel(**SDXL)),
            **{name: shapes(text(*of)) for name, of in TEXTS.items()},
            "vit_h_vision": shapes(
                CLIPVisionModelWithProjection(CLIPVisionConfig(**VIT_H, patch_size=14, projection_dim=1024))
            ),
        }
    for name, keys in found.items():
        print(name, len(keys))
    text_of = json.dumps(found, separators=(",", ":")).encode()
    (OUT / "shapes.json.gz").write_bytes(gzip.compress(text_of, 9, mtime=0))
    for path in OUT.rglob("*"):
        path.chmod(0o644)


if __name__ == "__main__":
    main()
