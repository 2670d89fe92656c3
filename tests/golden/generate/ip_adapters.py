"""Makes tests/golden/fixtures/ip_adapters: IP-Adapters of every kind in their published file layouts, and what
diffusers makes of them: its own loader reads the files, so it proves the layouts.

Needs torch==2.11.0, diffusers==0.42.1, transformers==5.23.0, peft==0.21.2, pillow==13.0.0,
safetensors==0.8.0, and the fixtures of unet.py; run it from anywhere:

    python tests/golden/generate/ip_adapters.py

The U-Nets are fixtures/unet/{sd1,sdxl}. The weights are seeded and random.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from seeded import begin, reseed, save_tensors, save_weights
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

FIXTURES = Path(__file__).parent.parent / "fixtures"
OUT = FIXTURES / "ip_adapters"

# Widths: of the text condition, of a face embedding, of CLIP's states and of its projection
CROSS, FACE, STATES, PROJECTED, RANK = 6, 12, 10, 9, 2
SCALE = 0.7


def matrix(prefix, rows, columns, bias=True):
    return {f"{prefix}.weight": (rows, columns), **({f"{prefix}.bias": (rows,)} if bias else {})}


def norm(prefix, width):
    return {f"{prefix}.weight": (width,), f"{prefix}.bias": (width,)}


def resampler(prefix, inputs, dim, inner, queries=0):
    shapes = {f"{prefix}latents": (1, queries, dim)} if queries else {}
    shapes |= matrix(f"{prefix}proj_in", dim, inputs) | matrix(f"{prefix}proj_out", CROSS, dim)
    shapes |= norm(f"{prefix}norm_out", CROSS)
    for n in range(4):
        attention, feed_forward = f"{prefix}layers.{n}.0", f"{prefix}layers.{n}.1"
        shapes |= norm(f"{attention}.norm1", dim) | norm(f"{attention}.norm2", dim)
        shapes |= matrix(f"{attention}.to_q", inner, dim, False) | matrix(f"{attention}.to_kv", 2 * inner, dim, False)
        shapes |= matrix(f"{attention}.to_out", dim, inner, False)
        shapes |= norm(f"{feed_forward}.0", dim)
        shapes |= matrix(f"{feed_forward}.1", 4 * dim, dim, False) | matrix(f"{feed_forward}.3", dim, 4 * dim, False)
    return shapes


def face_mlp(tokens):
    first = matrix("proj.0", 2 * FACE, FACE)
    return first | matrix("proj.2", CROSS * tokens, 2 * FACE) | norm("norm", CROSS)


def image_proj(kind, inner):
    match kind:
        case "plain":
            return matrix("proj", 4 * CROSS, PROJECTED) | norm("norm", CROSS)
        case "plus":
            return resampler("", STATES, 6, inner, queries=5)
        case "full-face":
            return matrix("proj.0", STATES, STATES) | matrix("proj.2", CROSS, STATES) | norm("proj.3", CROSS)
        case "faceid":
            return face_mlp(4)
        case "portrait":
            return face_mlp(16)
        case "faceid-plus":
            return face_mlp(4) | resampler("perceiver_resampler.", STATES, CROSS, inner)
        case "instantid":
            return resampler("", 512, 6, inner, queries=3)


def attention(unet, lora):
    """The U-Net's part: numbered as `unet.attn_processors` is, which is how published adapters were saved."""
    shapes = {}
    for n, name in enumerate(unet.attn_processors):
        layer = unet.get_submodule(name.removesuffix(".processor"))
        hidden, context = layer.to_k.weight.shape
        if name.endswith("attn2.processor"):
            for part in ("to_k_ip", "to_v_ip"):
                shapes |= matrix(f"{n}.{part}", hidden, CROSS, False)
        if lora:
            for part, inputs in {"to_q": hidden, "to_k": context, "to_v": context, "to_out": hidden}.items():
                shapes |= matrix(f"{n}.{part}_lora.down", RANK, inputs, False)
                shapes |= matrix(f"{n}.{part}_lora.up", hidden, RANK, False)
    return shapes


def seeded(shapes, generator):
    """Random values that are exact in float16; 1-D weights are norms."""
    weights = {}
    for key, shape in shapes.items():
        value = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            value = value / value[0].numel() ** 0.5
        elif key.endswith("weight"):
            value = 1 + 0.3 * value
        else:
            value = 0.3 * value
        weights[key] = value.half()
    return weights


def load_unet(base):
    return UNet2DConditionModel.from_pretrained(FIXTURES / "unet" / base).eval()


def make_file(base, kind, file, inner, generator):
    unet = load_unet(base)
    lora = kind.startswith("faceid")
    parts = {
        "image_proj": seeded(image_proj(kind, inner), generator),
        "ip_adapter": seeded(attention(unet, lora), generator),
    }
    if file.endswith(".bin"):
        torch.save(parts, OUT / file)
        (OUT / file).chmod(0o644)
    else:
        flat = {f"{part}.{key}": value for part, weights in parts.items() for key, value in weights.items()}
        save_weights(flat, OUT / file)


def make_image_encoder(generator):
    config = CLIPVisionConfig(
        hidden_size=STATES,
        intermediate_size=14,
        projection_dim=PROJECTED,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=16,
        patch_size=4,
        hidden_act="gelu",
    )
    model = reseed(CLIPVisionModelWithProjection(config), generator)
    model.save_pretrained(OUT / "image_encoder")
    (OUT / "image_encoder/model.safetensors").chmod(0o644)
    return model


class Reference:
    """One adapter in one pipeline of diffusers."""

    def __init__(self, base, file, image_encoder):
        side = image_encoder.config.image_size
        self.unet = load_unet(base)
        self.pipe = StableDiffusionPipeline(
            vae=None,
            text_encoder=None,
            tokenizer=None,
            unet=self.unet,
            scheduler=DDIMScheduler(),
            safety_checker=None,
            feature_extractor=CLIPImageProcessorPil(size=side, crop_size=side),
            image_encoder=image_encoder,
            requires_safety_checker=False,
        )
        self.pipe.load_ip_adapter(str(OUT), subfolder="", weight_name=file, image_encoder_folder=None)
        self.pipe.set_ip_adapter_scale(SCALE)
        self.projection = self.unet.encoder_hid_proj.image_projection_layers[0]

    def clip(self, pictures):
        """CLIP's states for nobody and for the pictures: [2, R, W] or [2, R, S, W]."""
        return self.pipe.prepare_ip_adapter_image_embeds([pictures], None, "cpu", 1, True)[0]

    def tokens(self, embeds):
        """[B, R, ..] → [B, R, T, C]"""
        return self.unet.encoder_hid_proj([embeds])[0]

    def step(self, io, base, embeds):
        added = {"image_embeds": [embeds]}
        if base == "sdxl":
            added |= {"text_embeds": io["text_embeds"], "time_ids": io["time_ids"]}
        return self.unet(io["sample"], io["timesteps"], io["text"], added_cond_kwargs=added).sample


def mean_face(faces):
    return F.normalize(faces.mean(0, keepdim=True), dim=-1)


def run(base, kind, name, reference, pictures, faces, io):
    """Nobody and one person of one reference, then of two side by side: tokens and a step of the U-Net."""
    results = {}
    needs_clip = kind in ("plain", "plus", "full-face", "faceid-plus")
    for count in (1, 2):
        clip = reference.clip(pictures[:count]) if needs_clip else None
        face = torch.stack([torch.zeros_like(faces[:count]), faces[:count]])  # [2, R, E]
        if kind == "instantid":
            embeds = face.unsqueeze(2)  # [2, R, 1, E]
        elif kind.startswith("faceid") or kind == "portrait":
            embeds = face
        else:
            embeds = clip
        settings = {"": None}
        if kind == "faceid-plus":
            reference.projection.clip_embeds = clip
            settings = {"v1.": None, "v2.": 1.0, "v2_weak.": 0.4}
        for setting, shortcut in settings.items():
            if kind == "faceid-plus":
                reference.projection.shortcut = shortcut is not None
                reference.projection.shortcut_scale = shortcut or 1.0
            nobody, person = reference.tokens(embeds).flatten(1, 2)[:, None].unbind(0)  # [1, R·T, C] each
            results |= {
                f"{setting}nobody.{count}": nobody,
                f"{setting}tokens.{count}": person,
                f"{setting}output.{count}": reference.step(io, base, embeds),
            }
    if kind == "faceid":
        results["tokens.mean"] = reference.tokens(mean_face(faces)[None])[0]
    if kind == "faceid-plus":
        reference.projection.clip_embeds = reference.clip(pictures)[1:]  # without nobody
        reference.projection.shortcut, reference.projection.shortcut_scale = True, 1.0
        each = reference.tokens(mean_face(faces).expand_as(faces)[None])[0]  # [R, T, C]
        results["v2.tokens.mean"] = each.mean(0, keepdim=True)
    return {f"{base}.{name}.{key}": value for key, value in results.items()}


# (base, kind, file, width of the resampler's heads together)
ADAPTERS = [
    ("sd1", "plain", "ip-adapter_sd15.bin", 0),
    ("sd1", "plus", "ip-adapter-plus-face_sd15.safetensors", 128),
    ("sd1", "full-face", "ip-adapter-full-face_sd15.safetensors", 0),
    ("sd1", "faceid", "ip-adapter-faceid_sd15.safetensors", 0),
    ("sd1", "portrait", "ip-adapter-faceid-portrait_sd15.bin", 0),
    ("sd1", "faceid-plus", "ip-adapter-faceid-plus_sd15.safetensors", 64),
    ("sdxl", "plain", "ip-adapter_sdxl_vit-h.safetensors", 0),
    ("sdxl", "plus", "ip-adapter-plus_sdxl_vit-h.safetensors", 64),
    ("sdxl", "faceid", "ip-adapter-faceid_sdxl.safetensors", 0),
    ("sdxl", "faceid-plus", "ip-adapter-faceid-plusv2_sdxl.safetensors", 64),
    ("sdxl", "instantid", "ip-adapter_instantid.safetensors", 64),
    ("sdxl", "full-face", "ip-adapter-full-face_sdxl.safetensors", 0),
    ("sdxl", "portrait", "ip-adapter-faceid-portrait_sdxl.bin", 0),
    ("sdxl", "faceid-plus", "ip-adapter-faceid-plus_sdxl.safetensors", 64),
]
# Two files of one kind, told apart in the names of the results.
NAMES = {"ip-adapter-faceid-plus_sdxl.safetensors": "faceid-plus-of-v1"}


def main():
    generator = begin(OUT)
    image_encoder = make_image_encoder(generator)
    pixels = [torch.randint(0, 256, size, generator=generator, dtype=torch.uint8) for size in ((30, 21, 3), (17, 40, 3))]
    pictures = [Image.fromarray(p.numpy()) for p in pixels]
    io = {
        "sample": torch.randn(2, 4, 4, 6, generator=generator),
        "timesteps": torch.tensor([500.0, 500.0]),
        "text": torch.randn(2, 5, CROSS, generator=generator),
        "text_embeds": torch.randn(2, 10, generator=generator),
        "time_ids": torch.tensor([[64.0, 48, 3, 5, 64, 64]] * 2),
        "faces": F.normalize(torch.randn(2, FACE, generator=generator), dim=-1),
        "raw_faces": torch.randn(2, 512, generator=generator) * 0.9,
        "picture.0": pixels[0],
        "picture.1": pixels[1],
    }
    for base, kind, file, inner in ADAPTERS:
        make_file(base, kind, file, inner, generator)
        faces = io["raw_faces"] if kind == "instantid" else io["faces"]
        reference = Reference(base, file, image_encoder)
        name = NAMES.get(file, kind)
        if base == "sd1" and kind in ("plain", "plus"):
            states = reference.clip(pictures)
            io |= {f"clip.{kind}.nobody": states[0, :1], f"clip.{kind}.person": states[1]}
        io |= run(base, kind, name, reference, pictures, faces, io)
        if kind.startswith("faceid"):
            # That the LoRA is at work: with the identity switched off the picture still differs.
            reference.pipe.set_ip_adapter_scale(0.0)
            embeds = torch.zeros(2, 1, FACE)
            if kind == "faceid-plus":
                reference.projection.clip_embeds = reference.clip(pictures[:1])
            off = reference.step(io, base, embeds)
            added = {"text_embeds": io["text_embeds"], "time_ids": io["time_ids"]}
            plain = load_unet(base)(io["sample"], io["timesteps"], io["text"], added_cond_kwargs=added).sample
            assert not torch.allclose(off, plain, atol=1e-3), "the LoRA was not loaded"
            io[f"{base}.{name}.output.off"] = off
    save_tensors(io, OUT / "io.safetensors")


if __name__ == "__main__":
    main()
