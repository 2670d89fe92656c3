"""Makes tests/golden/fixtures/single_file: tiny checkpoints in the original single-file layout with what their models
compute, the keys and shapes of the published ones at full size, and prompts as CLIP's own tokenizer splits them.

The inverse of diffusers' conversion is written out here and checked: diffusers' own functions must give the models'
tensors back from what it makes.

Needs torch==2.11.0, diffusers==0.42.1, transformers==5.23.0, safetensors==0.8.0, open_clip_torch==3.3.0 with ftfy and
regex; run it from anywhere:

    python tests/golden/generate/single_file.py
"""

import gzip
import importlib.util
import json
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
    infer_diffusers_model_type,
)
from seeded import begin, reseed, save_json, save_tensors
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

OUT = Path(__file__).parent.parent / "fixtures" / "single_file"

UNET, VAE = "model.diffusion_model.", "first_stage_model."
SD1, SD2 = "cond_stage_model.transformer.", "cond_stage_model.model."
SDXL_1, SDXL_2 = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
CROSS_DOWN, DOWN, CROSS_UP, UP = "CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"


# ---- from diffusers' names to the original ones ----


def renamed(name, pairs):
    for new, old in pairs:
        if name.startswith(new + "."):
            return old + name[len(new) :]
    raise KeyError(name)


RESNET = [
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
]
OUTSIDE = [
    ("conv_in", "input_blocks.0.0"),
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
    ("add_embedding.linear_1", "label_emb.0.0"),
    ("add_embedding.linear_2", "label_emb.0.2"),
    ("conv_norm_out", "out.0"),
    ("conv_out", "out.2"),
]


def original_unet_key(key, layers, attention_up):
    """`attention_up`: whether each upward block has attention."""
    parts = key.split(".")
    if parts[0] == "mid_block":
        number, rest = int(parts[2]), ".".join(parts[3:])
        if parts[1] == "attentions":
            return f"middle_block.1.{rest}"
        return f"middle_block.{2 * number}.{renamed(rest, RESNET)}"
    if parts[0] not in ("down_blocks", "up_blocks"):
        return renamed(key, OUTSIDE)
    block, what, number, rest = int(parts[1]), parts[2], int(parts[3]), ".".join(parts[4:])
    if parts[0] == "down_blocks":
        index = 1 + block * (layers + 1) + number
        if what == "downsamplers":
            return f"input_blocks.{1 + block * (layers + 1) + layers}.0.{renamed(rest, [('conv', 'op')])}"
        place = f"input_blocks.{index}"
    else:
        index = block * (layers + 1) + number
        if what == "upsamplers":
            return f"output_blocks.{block * (layers + 1) + layers}.{2 if attention_up[block] else 1}.{rest}"
        place = f"output_blocks.{index}"
    return f"{place}.1.{rest}" if what == "attentions" else f"{place}.0.{renamed(rest, RESNET)}"


def original_vae_key(key, levels):
    parts = key.split(".")
    if "quant_conv" in key:
        return key
    half, rest = parts[0], parts[1:]
    if rest[0] in ("conv_in", "conv_out"):
        return key
    if rest[0] == "conv_norm_out":
        return f"{half}.norm_out.{rest[1]}"
    end = ".".join(rest[3:])
    if rest[0] == "mid_block":
        if rest[1] == "attentions":
            names = [("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")]
            return f"{half}.mid.attn_1.{renamed(end, names)}"
        return f"{half}.mid.block_{int(rest[2]) + 1}.{end}"
    level = int(rest[1])
    place = f"down.{level}" if half == "encoder" else f"up.{levels - 1 - level}"
    end = ".".join(rest[4:]).replace("conv_shortcut", "nin_shortcut")
    if rest[2] == "resnets":
        return f"{half}.{place}.block.{rest[3]}.{end}"
    return f"{half}.{place}.{rest[2].removesuffix('rs')}.{end}"


OPEN_CLIP = [
    ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"),
    ("self_attn.out_proj", "attn.out_proj"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
]


def original_unet(state, config):
    attention_up = [name == CROSS_UP for name in config["up_block_types"]]
    layers = config["layers_per_block"]
    return {UNET + original_unet_key(key, layers, attention_up): tensor for key, tensor in state.items()}


def original_vae(state, config):
    levels = len(config["down_block_types"])
    made = {}
    for key, tensor in state.items():
        name = original_vae_key(key, levels)
        is_projection = ".attn_1." in name and name.endswith("weight") and ".norm." not in name
        made[VAE + name] = tensor[:, :, None, None] if is_projection else tensor
    return made


def with_root(state):
    """transformers 5 saves a model without projection without its first name."""
    whole = ("text_model.", "text_projection.")
    return {key if key.startswith(whole) else f"text_model.{key}": tensor for key, tensor in state.items()}


def original_clip(state, prefix):
    return {prefix + key: tensor for key, tensor in with_root(state).items()}


def original_open_clip(state, prefix):
    state, made = with_root(state), {}
    for key, tensor in state.items():
        if key == "text_projection.weight":
            made["text_projection"] = tensor.T.contiguous()
        elif key.startswith("text_model.encoder.layers."):
            number, rest = key.removeprefix("text_model.encoder.layers.").split(".", 1)
            place = f"transformer.resblocks.{number}"
            if "q_proj" in rest:
                parts = [state[key.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
                made[f"{place}.attn.in_proj_{rest.split('.')[-1]}"] = torch.cat(parts)
            elif "k_proj" not in rest and "v_proj" not in rest:
                made[f"{place}.{renamed(rest, OPEN_CLIP)}"] = tensor
        else:
            names = [
                ("text_model.embeddings.token_embedding.weight", "token_embedding.weight"),
                ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
                ("text_model.final_layer_norm.weight", "ln_final.weight"),
                ("text_model.final_layer_norm.bias", "ln_final.bias"),
            ]
            made[dict(names)[key]] = tensor
    return {prefix + key: tensor for key, tensor in made.items()}


# ---- whole checkpoints ----


def leftovers(kind):
    """What the original files hold besides the weights."""
    common = {name: torch.linspace(0, 1, 4) for name in ("betas", "alphas_cumprod", "sqrt_one_minus_alphas_cumprod")}
    positions = torch.arange(5)[None]
    if kind == "sd1":
        ema = {"model_ema.decay": torch.tensor(0.5), "model_ema.diffusion_modeltime_embed0weight": torch.zeros(2)}
        return {**common, **ema, f"{SD1}text_model.embeddings.position_ids": positions}
    if kind == "sd2":
        mask = torch.full((5, 5), float("-inf")).triu(1)
        return {**common, f"{SD2}logit_scale": torch.tensor(4.6), f"{SD2}attn_mask": mask}
    return {
        "denoiser.sigmas": torch.linspace(0, 1, 4),
        f"{SDXL_1}text_model.embeddings.position_ids": positions,
        f"{SDXL_2}logit_scale": torch.tensor(4.6),
    }


def original(kind, models):
    """The single file of a kind, and a check that diffusers gives the models back from it."""
    states = {name: model.state_dict() for name, model in models.items()}
    unet, vae = models["unet"], models["vae"]
    file = original_unet(states["unet"], unet.config) | original_vae(states["vae"], vae.config)
    if kind == "sd2":
        file |= original_open_clip(states["text_encoder"], SD2)
        hidden = models["text_encoder"].config.hidden_size
        device = unet.device
        last = {
            key.replace(".22.", ".23."): torch.full_like(tensor, 9.0, device=device)
            for key, tensor in file.items()
            if key.startswith(f"{SD2}transformer.resblocks.22.")
        }
        file |= last | {f"{SD2}text_projection": torch.full((hidden, hidden), 9.0, device=device)}
    elif kind == "sdxl":
        file |= original_clip(states["text_encoder"], SDXL_1)
        file |= original_open_clip(states["text_encoder_2"], SDXL_2)
    else:
        file |= original_clip(states["text_encoder"], SD1)

    def same(part, converted):
        state = states[part] if part in ("unet", "vae") else with_root(states[part])
        assert converted.keys() == state.keys(), (kind, part, converted.keys() ^ state.keys())
        for key, tensor in state.items():
            assert converted[key].shape == tensor.shape, (kind, part, key)
            assert tensor.is_meta or torch.equal(converted[key], tensor), (kind, part, key)

    same("unet", convert_ldm_unet_checkpoint(dict(file), dict(unet.config)))
    same("vae", convert_ldm_vae_checkpoint(dict(file), dict(vae.config)))
    if kind == "sd2":
        same("text_encoder", convert_open_clip_checkpoint(models["text_encoder"], file, prefix=SD2))
    else:
        # For SDXL the second text encoder's keys do not have this prefix.
        same("text_encoder", convert_ldm_clip_checkpoint(file))
    if kind == "sdxl":
        same("text_encoder_2", convert_open_clip_checkpoint(models["text_encoder_2"], file, prefix=SDXL_2))
    return file


def text_config(hidden, layers, act, **more):
    values = {"vocab_size": 49408, "max_position_embeddings": 77, "intermediate_size": 4 * hidden} | more
    return CLIPTextConfig(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=max(1, hidden // 64),
        hidden_act=act,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=1,
        **values,
    )


def make_unet(widths, cross, heads, depths, **changes):
    """`depths`: transformer blocks at each level, 0 where there is no attention."""
    return UNet2DConditionModel(
        block_out_channels=widths,
        down_block_types=[CROSS_DOWN if depth else DOWN for depth in depths],
        up_block_types=[CROSS_UP if depth else UP for depth in reversed(depths)],
        cross_attention_dim=cross,
        attention_head_dim=heads,
        transformer_layers_per_block=[depth or 1 for depth in depths] if max(depths) > 1 else 1,
        **changes,
    )


def make_vae(widths, size, scale, **changes):
    return AutoencoderKL(
        block_out_channels=widths,
        down_block_types=["DownEncoderBlock2D"] * len(widths),
        up_block_types=["UpDecoderBlock2D"] * len(widths),
        sample_size=size,
        scaling_factor=scale,
        **changes,
    )


TINY_TEXT = {"vocab_size": 20, "max_position_embeddings": 5}


def tiny(kind):
    if kind == "sd1":
        text = CLIPTextModel(text_config(8, 2, "quick_gelu", **TINY_TEXT))
        unet = make_unet([8, 8], 8, 8, [1, 0], sample_size=64, norm_num_groups=8, layers_per_block=1)
        vae = make_vae([2, 4], 512, 0.18215, norm_num_groups=2, layers_per_block=1, latent_channels=4)
        return {"unet": unet, "vae": vae, "text_encoder": text}
    if kind == "sd2":
        text = CLIPTextModel(text_config(4, 23, "gelu", **TINY_TEXT))
        changes = {"sample_size": 96, "norm_num_groups": 4, "layers_per_block": 2, "use_linear_projection": True}
        unet = make_unet([4, 4], 4, [1, 1], [1, 0], upcast_attention=True, **changes)
        vae = make_vae([4], 768, 0.18215, norm_num_groups=4, layers_per_block=1, latent_channels=4)
        return {"unet": unet, "vae": vae, "text_encoder": text}
    text = CLIPTextModel(text_config(4, 2, "quick_gelu", **TINY_TEXT))
    second = CLIPTextModelWithProjection(text_config(8, 3, "gelu", **TINY_TEXT, projection_dim=6))
    added = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": 6 + 6 * 4,
    }
    changes = {"sample_size": 128, "norm_num_groups": 4, "layers_per_block": 1, "use_linear_projection": True}
    unet = make_unet([4, 8], 12, [1, 1], [0, 2], **changes, **added)
    vae = make_vae([4], 1024, 0.13025, norm_num_groups=4, layers_per_block=1, latent_channels=4)
    return {"unet": unet, "vae": vae, "text_encoder": text, "text_encoder_2": second}


def published(kind):
    """The published models at full size, without their weights."""
    with torch.device("meta"):
        vae = {"widths": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 4}
        if kind == "sd15":
            text = CLIPTextModel(text_config(768, 12, "quick_gelu", projection_dim=768))
            unet = make_unet([320, 640, 1280, 1280], 768, 8, [1, 1, 1, 0], sample_size=64)
            return {"unet": unet, "vae": make_vae(size=512, scale=0.18215, **vae), "text_encoder": text}
        if kind == "sd21":
            text = CLIPTextModel(text_config(1024, 23, "gelu", projection_dim=1024))
            changes = {"sample_size": 96, "use_linear_projection": True, "upcast_attention": True}
            unet = make_unet([320, 640, 1280, 1280], 1024, [5, 10, 20, 20], [1, 1, 1, 0], **changes)
            return {"unet": unet, "vae": make_vae(size=768, scale=0.18215, **vae), "text_encoder": text}
        text = CLIPTextModel(text_config(768, 12, "quick_gelu", projection_dim=768))
        second = CLIPTextModelWithProjection(text_config(1280, 32, "gelu", projection_dim=1280))
        added = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        }
        unet = make_unet(
            [320, 640, 1280], 2048, [5, 10, 20], [0, 2, 10], sample_size=128, use_linear_projection=True, **added
        )
        vae = make_vae(size=1024, scale=0.13025, **vae)
        return {"unet": unet, "vae": vae, "text_encoder": text, "text_encoder_2": second}


# What diffusers takes each for
TYPES = {"sd15": "v1", "sd21": "v2", "sdxl": "xl_base"}


def config_of(model):
    """As config.json has it."""
    values = model.config.to_dict() if hasattr(model.config, "to_dict") else dict(model.config)
    keep = {key: value for key, value in values.items() if not key.startswith("_") and key != "dtype"}
    # Newer keys that mean nothing here.
    return json.loads(json.dumps(keep, default=str))


def digest(state):
    """One number for all tensors of a model: 64-bit FNV-1a over sorted keys and values in float32."""
    value = 0xCBF29CE484222325
    for key, tensor in sorted(state.items()):
        for byte in key.encode() + tensor.float().contiguous().numpy().tobytes():
            value = ((value ^ byte) * 0x100000001B3) & (2**64 - 1)
    return f"{value:016x}"


def outputs(models, generator):
    """Inputs of every model and what it makes of them."""
    ids = torch.tensor([[18, 3, 4, 19, 19], [18, 5, 6, 7, 19]])
    rows = 2
    io = {"ids": ids}
    for name in ("text_encoder", "text_encoder_2"):
        if name in models:
            output = models[name](ids, output_hidden_states=True)
            io |= {f"{name}.last": output.last_hidden_state, f"{name}.penultimate": output.hidden_states[-2]}
            if name == "text_encoder_2":
                io[f"{name}.embeds"] = output.text_embeds
    unet, vae = models["unet"], models["vae"]
    io["sample"] = torch.randn(rows, 4, 4, 8, generator=generator)
    io["timesteps"] = torch.tensor([999.0, 431.0])
    if "text_encoder_2" in models:
        io["text"] = torch.cat([io["text_encoder.penultimate"], io["text_encoder_2.penultimate"]], -1)
        io["time_ids"] = torch.tensor([[64.0, 48, 3, 5, 64, 64], [512, 512, 0, 0, 32, 64]])
        added = {"text_embeds": io["text_encoder_2.embeds"], "time_ids": io["time_ids"]}
    else:
        io["text"], added = io["text_encoder.last"], None
    io["unet"] = unet(io["sample"], io["timesteps"], io["text"], added_cond_kwargs=added).sample
    io["pixels"] = torch.rand(1, 3, 4, 8, generator=generator) * 2 - 1
    io["vae.mean"] = vae.encode(io["pixels"]).latent_dist.mean
    io["vae.decoded"] = vae.decode(io["sample"][:1]).sample
    return io


def save_as_checkpoint(file, path):
    """A .ckpt whose tensors are views of one storage."""
    halves = {key: tensor.half() for key, tensor in file.items()}
    flat = torch.cat([tensor.flatten() for tensor in halves.values()])
    state, at = {}, 0
    for key, tensor in halves.items():
        state[key] = flat[at : at + tensor.numel()].view(tensor.shape)
        at += tensor.numel()
    torch.save({"global_step": 875000, "state_dict": state}, path)


PROMPTS = [
    "a photo of a cat",
    "A PORTRAIT of an old man, wearing a red hat; 35mm, f/1.8, bokeh",
    "don't they've it's I'll we're I'd I'm",
    "Gemälde einer Straße in Zürich, 1920er",
    "東京の夜景, улица, 🙂🙂",
    "masterpiece, best quality, (detailed:1.2), 8k uhd --ar 16:9",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "hello!world!!! #hashtag @someone",
    "",
]


def clip_ids():
    """By OpenAI's tokenizer as open_clip_torch carries it."""
    spec = importlib.util.find_spec("open_clip")
    file = Path(spec.submodule_search_locations[0]) / "tokenizer.py"
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location("clip_tokenizer", file))
    sys.modules["clip_tokenizer"] = module
    module.__spec__.loader.exec_module(module)
    tokenizer = module.SimpleTokenizer()
    assert len(tokenizer.encoder) == 49408 and tokenizer.sot_token_id == 49406
    return [{"text": text, "ids": tokenizer.encode(text)} for text in PROMPTS]


def main():
    generator = begin(OUT)
    for kind in ("sd1", "sd2", "sdxl"):
        models = {name: reseed(model, generator) for name, model in tiny(kind).items()}
        file = original(kind, models)
        file |= leftovers(kind)
        name = f"{kind}.ckpt" if kind == "sd2" else f"{kind}.safetensors"
        if kind == "sd2":
            save_as_checkpoint(file, OUT / name)
        else:
            floats = {key: tensor.half() for key, tensor in file.items() if tensor.is_floating_point()}
            save_tensors(file | floats, OUT / name)
        (OUT / f"{name}.gz").write_bytes(gzip.compress((OUT / name).read_bytes(), 9, mtime=0))
        (OUT / name).unlink()
        save_tensors(outputs(models, generator), OUT / f"{kind}_io.safetensors")
        digests = {}
        for name, model in models.items():
            state = model.state_dict()
            digests[name] = digest(with_root(state) if name.startswith("text") else state)
        configs = {name: config_of(model) for name, model in models.items()}
        save_json({"digests": digests, "configs": configs}, OUT / f"{kind}.json")

    (OUT / "published").mkdir()
    for name, model_type in TYPES.items():
        models = published(name)
        file = original({"sd21": "sd2", "sdxl": "sdxl"}.get(name, "sd1"), models)
        assert infer_diffusers_model_type(file) == model_type
        shapes = {key: list(tensor.shape) for key, tensor in file.items()}
        parts = {}
        for part, model in models.items():
            state = model.state_dict()
            state = with_root(state) if part.startswith("text") else state
            parts[part] = {
                "config": config_of(model),
                "shapes": {key: list(tensor.shape) for key, tensor in state.items()},
            }
        text = json.dumps({"file": shapes, "parts": parts}, sort_keys=True)
        (OUT / "published" / f"{name}.json.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    save_json(clip_ids(), OUT / "clip_ids.json")
    for path in OUT.rglob("*"):
        path.chmod(0o644 if path.is_file() else 0o755)


if __name__ == "__main__":
    main()
