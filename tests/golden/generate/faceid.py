"""Makes tests/golden/fixtures/faceid: FaceID adapters in the published key layout on a tiny U-Net.

Needs torch==2.11.0, diffusers==0.42.1, transformers==5.23.0, safetensors==0.8.0; run it from anywhere:

    python tests/golden/generate/faceid.py

The reference stands below: the MLP to tokens, attention beside the text's, and the LoRA applied at run
time (the code under test merges it into the weights instead).
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from seeded import begin, reseed, save_json, save_model, save_tensors, save_weights
from torch import nn

OUT = Path(__file__).parent.parent / "fixtures" / "faceid"
HIDDEN, RANK = 12, 3

# name: (width of the embedding, tokens, with LoRA)
ADAPTERS = {"arcface": (512, 4, True), "sface": (128, 4, True), "portrait": (512, 16, False)}


class ImageProjection(nn.Module):
    """Face embeddings [B, E] to tokens [B, T, C]."""

    def __init__(self, embedding, tokens, cross_dim):
        super().__init__()
        self.tokens, self.cross_dim = tokens, cross_dim
        self.proj = nn.Sequential(nn.Linear(embedding, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, tokens * cross_dim))
        self.norm = nn.LayerNorm(cross_dim)

    def forward(self, embeddings):
        return self.norm(self.proj(embeddings).view(-1, self.tokens, self.cross_dim))


class Lora(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.down = nn.Linear(inputs, RANK, bias=False)
        self.up = nn.Linear(RANK, outputs, bias=False)

    def forward(self, x):
        return self.up(self.down(x))


class Person:
    """What the attention layers are given beside their arguments: tokens [B, T, C], scale [B]."""

    tokens = None
    scale = None


class Attention(nn.Module):
    """One attention layer's part of the adapter, and the layer's computation with it."""

    def __init__(self, attn, cross_dim, is_cross, lora, person):
        super().__init__()
        hidden = attn.to_q.out_features
        context = cross_dim if is_cross else hidden
        if lora:
            self.to_q_lora = Lora(hidden, hidden)
            self.to_k_lora = Lora(context, hidden)
            self.to_v_lora = Lora(context, hidden)
            self.to_out_lora = Lora(hidden, hidden)
        if is_cross:
            self.to_k_ip = nn.Linear(cross_dim, hidden, bias=False)
            self.to_v_ip = nn.Linear(cross_dim, hidden, bias=False)
        self.lora, self.is_cross, self.person = lora, is_cross, [person]

    def project(self, layer, name, x):
        return layer(x) + getattr(self, f"{name}_lora")(x) if self.lora else layer(x)

    def forward(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, **_):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        split = lambda x: x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        attend = lambda q, k, v: F.scaled_dot_product_attention(q, split(k), split(v)).transpose(1, 2).flatten(2)
        query = split(self.project(attn.to_q, "to_q", hidden_states))
        key = self.project(attn.to_k, "to_k", context)
        out = attend(query, key, self.project(attn.to_v, "to_v", context))
        if self.is_cross:
            person = self.person[0]
            tokens = person.tokens
            out = out + person.scale[:, None, None] * attend(query, self.to_k_ip(tokens), self.to_v_ip(tokens))
        return self.project(attn.to_out[0], "to_out", out)


class Adapter(nn.Module):
    """A FaceID adapter for `unet`; `attach` makes the U-Net use it with `person`."""

    def __init__(self, unet, embedding, tokens, lora):
        super().__init__()
        cross_dim = unet.config.cross_attention_dim
        self.person = Person()
        self.image_proj = ImageProjection(embedding, tokens, cross_dim)
        self.paths = [name.removesuffix(".processor") for name in unet.attn_processors]
        self.ip_adapter = nn.ModuleList(
            Attention(unet.get_submodule(path), cross_dim, path.endswith("attn2"), lora, self.person)
            for path in self.paths
        )

    def attach(self, unet):
        unet.set_attn_processor({f"{path}.processor": layer for path, layer in zip(self.paths, self.ip_adapter)})


def make_adapter(unet, embedding, tokens, lora, generator):
    adapter = reseed(Adapter(unet, embedding, tokens, lora), generator)
    # Published adapters count the layers down, up, middle, self-attention before cross-attention.
    order = [path.split("_")[0] for path in adapter.paths]
    assert order == sorted(order, key=["down", "up", "mid"].index), order
    assert all(path.endswith(f"attn{1 + i % 2}") for i, path in enumerate(adapter.paths))
    return adapter


def faces(rows, width, generator):
    return F.normalize(torch.randn(rows, width, generator=generator), dim=-1)


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
    rows = 3
    io = {
        "sample": torch.randn(rows, 4, 6, 8, generator=generator),
        "timesteps": torch.tensor([10.0, 500.0, 990.0]),
        "text": torch.randn(rows, 5, 6, generator=generator),
    }
    arguments = io["sample"], io["timesteps"], io["text"]
    plain = unet(*arguments).sample
    for name, (width, tokens, lora) in ADAPTERS.items():
        adapter = make_adapter(unet, width, tokens, lora, generator)
        save_weights(adapter.state_dict(), OUT / f"{name}.safetensors")
        adapter.attach(unet)
        person = adapter.person
        embeddings = faces(rows, width, generator)
        io[f"{name}.embeddings"] = embeddings
        io[f"{name}.tokens"] = adapter.image_proj(embeddings)
        io[f"{name}.nobody"] = adapter.image_proj(torch.zeros(1, width))
        scales = {"0": [0.0] * rows, "0.7": [0.7] * rows, "1": [1.0] * rows, "rows": [0.0, 0.4, 1.3]}
        for scale, values in scales.items():
            person.tokens, person.scale = io[f"{name}.tokens"], torch.tensor(values)
            io[f"{name}.output.{scale}"] = unet(*arguments).sample
        # The last row as nobody beside two persons: the rows of guidance.
        person.tokens = torch.cat([io[f"{name}.tokens"][:2], io[f"{name}.nobody"]])
        person.scale = torch.ones(rows)
        io[f"{name}.output.nobody"] = unet(*arguments).sample
        without = torch.allclose(io[f"{name}.output.0"], plain, atol=1e-5)
        assert without != lora, "at scale 0 the LoRA alone must show"
    io["plain"] = plain
    save_tensors(io, OUT / "io.safetensors")
    save_json(adapter.paths, OUT / "layers.json")


if __name__ == "__main__":
    main()
