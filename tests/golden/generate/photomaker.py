"""Makes tests/golden/fixtures/photomaker: small PhotoMaker files of both versions in the published key layout,
what they make of references and prompts, and the ids of prompts with a trigger word.

Needs torch==2.11.0, diffusers==0.42.1, transformers==5.23.0, safetensors==0.8.0; run it from anywhere, after
lora.py and tokenizer.py:

    python tests/golden/generate/photomaker.py

The reference stands below: CLIP's vision network of transformers with a second projection, the module that fuses
words and person, and version 2's perceiver over the face embedding. Its heads are as wide as the published ones
(128), everything else is small.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from seeded import begin, reseed, save_json, save_tensors
from torch import nn
from transformers import CLIPTokenizer, CLIPVisionConfig, CLIPVisionModelWithProjection

FIXTURES = Path(__file__).parent.parent / "fixtures"
OUT = FIXTURES / "photomaker"
TOKENIZER = FIXTURES / "tokenizer" / "openai_saved"
LORA_BASE = FIXTURES / "lora" / "sdxl" / "unet" / "diffusion_pytorch_model.safetensors"

VISION = dict(hidden_size=16, intermediate_size=24, projection_dim=6, num_hidden_layers=2, num_attention_heads=2,
              image_size=8, patch_size=4)
# The first projection and the second, side by side, are as wide as the text condition.
SECOND, WIDTH = 10, 16
EMBEDDING, TOKENS, DEPTH, HEADS, HEAD_WIDTH = 12, 2, 2, 2, 128
TRIGGER = "img"


class Mlp(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layernorm = nn.LayerNorm(inputs)
        self.fc1 = nn.Linear(inputs, outputs)
        self.fc2 = nn.Linear(outputs, outputs)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(self.layernorm(x))))


class Fuse(nn.Module):
    """Words [K, C] and tokens of the person [K, C] to words about the person."""

    def __init__(self):
        super().__init__()
        self.mlp1 = Mlp(2 * WIDTH, WIDTH)
        self.mlp2 = Mlp(WIDTH, WIDTH)
        self.layer_norm = nn.LayerNorm(WIDTH)

    def forward(self, words, person):
        x = words + self.mlp1(torch.cat([words, person], dim=1))
        return self.layer_norm(x + self.mlp2(x))


class Read(nn.Module):
    """Queries read the picture's tokens and themselves."""

    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        inner = HEADS * HEAD_WIDTH
        self.to_q = nn.Linear(WIDTH, inner, bias=False)
        self.to_kv = nn.Linear(WIDTH, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, WIDTH, bias=False)

    def forward(self, x, queries):
        queries = self.norm2(queries)
        keys, values = self.to_kv(torch.cat([self.norm1(x), queries], dim=1)).chunk(2, dim=-1)
        split = lambda t: t.unflatten(-1, (HEADS, HEAD_WIDTH)).transpose(1, 2)
        weights = split(self.to_q(queries)) @ split(keys).mT / HEAD_WIDTH**0.5
        return self.to_out((weights.softmax(-1) @ split(values)).transpose(1, 2).flatten(2))


class Perceiver(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj_in = nn.Linear(VISION["hidden_size"], WIDTH)
        self.proj_out = nn.Linear(WIDTH, WIDTH)
        self.norm_out = nn.LayerNorm(WIDTH)
        wide = lambda: nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.GELU(),
                                     nn.Linear(4 * WIDTH, WIDTH, bias=False))
        self.layers = nn.ModuleList(nn.ModuleList([Read(), wide()]) for _ in range(DEPTH))

    def forward(self, queries, x):
        x = self.proj_in(x)
        for read, wide in self.layers:
            queries = queries + read(x, queries)
            queries = queries + wide(queries)
        return self.norm_out(self.proj_out(queries))


class QFormer(nn.Module):
    """Face embeddings [N, E] and CLIP's states [N, S, W] to two tokens each."""

    def __init__(self):
        super().__init__()
        wide = 4 * EMBEDDING
        self.token_proj = nn.Sequential(nn.Linear(EMBEDDING, wide), nn.GELU(), nn.Linear(wide, TOKENS * WIDTH))
        self.token_norm = nn.LayerNorm(WIDTH)
        self.perceiver_resampler = Perceiver()

    def forward(self, embeddings, states):
        tokens = self.token_norm(self.token_proj(embeddings).unflatten(-1, (TOKENS, WIDTH)))
        return tokens + self.perceiver_resampler(tokens, states)


class Encoder(CLIPVisionModelWithProjection):
    def __init__(self, version):
        super().__init__(CLIPVisionConfig(**VISION))
        self.visual_projection_2 = nn.Linear(VISION["hidden_size"], SECOND, bias=False)
        self.fuse_module = Fuse()
        if version == 2:
            self.qformer_perceiver = QFormer()

    def tokens(self, pixels, embeddings):
        """Tokens of the person, [N or 2N, C]."""
        vision = self.vision_model(pixels)
        if embeddings is None:
            both = [self.visual_projection(vision.pooler_output), self.visual_projection_2(vision.pooler_output)]
            return torch.cat(both, dim=-1)
        return self.qformer_perceiver(embeddings, vision.last_hidden_state).flatten(0, 1)

    def forward(self, pixels, prompt, mask, embeddings=None):
        fused = prompt.clone()
        fused[mask] = self.fuse_module(prompt[mask], self.tokens(pixels, embeddings))
        return fused


def lora(generator):
    """A LoRA of a few layers of lora.py's U-Net, named as in the published files."""
    tensors = {}
    with safe_open(LORA_BASE, "pt") as unet:
        for key in sorted(unet.keys()):
            if not key.startswith("mid_block.") or not any(f".{name}." in key for name in ("to_q", "to_out")):
                continue
            shape = unet.get_slice(key).get_shape()
            if len(shape) != 2:
                continue
            stem, name = key.removesuffix(".weight").removesuffix(".0").rsplit(".", 1)
            for part, size in [("down", (2, shape[1])), ("up", (shape[0], 2))]:
                tensors[f"unet.{stem}.processor.{name}_lora.{part}.weight"] = torch.randn(size, generator=generator).half()
    assert tensors
    return tensors


def prompts():
    """Ids as the published pipeline makes them, for both versions' numbers of tokens."""
    tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER)
    tokenizer.add_tokens([TRIGGER], special_tokens=True)
    trigger = tokenizer.convert_tokens_to_ids(TRIGGER)
    length = tokenizer.model_max_length
    cases = []
    texts = ["a portrait of a man img, smiling", "a woman img", "  A king img wearing a Hat in the snow ",
             "photo of an astronaut img riding a horse, " + "detailed studio lighting, " * 20]
    for text in texts:
        for count in (1, 2, 4, 10):
            ids = tokenizer(text, padding="max_length", max_length=length, truncation=True).input_ids
            place = ids.index(trigger)
            assert ids.count(trigger) == 1
            clean = [i for i in ids if i != trigger]
            clean = clean[: place - 1] + [clean[place - 1]] * count + clean[place:]
            clean = (clean + [tokenizer.pad_token_id] * length)[:length]
            # As there: encoded, the trigger taken out, decoded, and encoded again.
            rest = tokenizer.encode(text, add_special_tokens=False)
            rest.remove(trigger)
            rest = tokenizer.decode(rest)
            alone = tokenizer(rest, padding="max_length", max_length=length, truncation=True).input_ids
            cases.append(dict(prompt=text, tokens=count, ids=clean, first=place - 1, text_only=alone))
    return dict(trigger=TRIGGER, length=length, cases=cases)


def main():
    generator = begin(OUT)
    io = {
        "pixels": torch.randn(3, 3, VISION["image_size"], VISION["image_size"], generator=generator),
        "prompt": torch.randn(1, 11, WIDTH, generator=generator),
        "embeddings": 4 * torch.randn(3, EMBEDDING, generator=generator),
    }
    for version in (1, 2):
        encoder = reseed(Encoder(version), generator)
        weights = {key: tensor.half().clone() for key, tensor in encoder.state_dict().items()}
        torch.save({"id_encoder": weights, "lora_weights": lora(generator)}, OUT / f"photomaker-v{version}.bin")
        for people in (1, 3):
            pixels = io["pixels"][:people]
            embeddings = io["embeddings"][:people] if version == 2 else None
            tokens = encoder.tokens(pixels, embeddings)
            mask = torch.zeros(1, 11, dtype=torch.bool)
            mask[:, 3 : 3 + len(tokens)] = True
            io[f"v{version}.{people}.tokens"] = tokens
            io[f"v{version}.{people}.fused"] = encoder(pixels, io["prompt"], mask, embeddings)
    save_tensors(io, OUT / "io.safetensors")
    save_json(VISION, OUT / "vision.json")
    save_json(prompts(), OUT / "prompts.json")


if __name__ == "__main__":
    main()
