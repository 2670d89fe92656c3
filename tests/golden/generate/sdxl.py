"""Makes tests/golden/fixtures/sdxl: a tiny SDXL checkpoint in the published layout, and the pictures that
diffusers' StableDiffusionXLPipeline draws with it.

Needs torch==2.11.0, diffusers==0.42.1, transformers==5.23.0, safetensors==0.8.0, numpy==2.4.6; run it from
anywhere after tokenizer.py, whose small vocabulary it uses:

    python tests/golden/generate/sdxl.py
"""

from pathlib import Path

import diffusers
import numpy
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from pipeline import LENGTH, LONG, NEGATIVE, PROMPT, differ
from seeded import begin, reseed, save_json, save_tensors
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

FIXTURES = Path(__file__).parent.parent / "fixtures"
OUT = FIXTURES / "sdxl"
CHECKPOINT = OUT / "checkpoint"

WIDTHS, POOLED, SINUSOID = (8, 12), 10, 4

REQUEST = {"prompt": PROMPT, "negative_prompt": "", "seed": 42, "count": 1, "steps": 5, "guidance_scale": 5.0}

# Scheduler names of the product: class of diffusers, changes of the checkpoint's configuration
SCHEDULERS = {
    "ddim": ("DDIMScheduler", {}),
    "dpm++2m-karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "unipc": ("UniPCMultistepScheduler", {}),
}

# Keys of scheduler/scheduler_config.json that published few-step models have otherwise
TRAILING = {"timestep_spacing": "trailing"}

# name: changes of the request. `scheduler_keys` and `index_keys` change the checkpoint's files.
RUNS = {
    "default": {"negative_prompt": NEGATIVE},
    "no_negative": {},
    "negative_not_zero": {"index_keys": {"force_zeros_for_empty_prompt": False}},
    "turbo": {"guidance_scale": 0.0, "steps": 1, "scheduler_keys": TRAILING},
    "lightning": {"guidance_scale": 0.0, "steps": 4, "scheduler_keys": TRAILING},
    "wide": {"width": 48, "height": 24, "negative_prompt": NEGATIVE},
    "several": {"count": 2, "seed": 1000},
    "long_prompt": {"prompt": LONG, "steps": 3},
    "clip_skip": {"clip_skip": 1, "negative_prompt": NEGATIVE},
    "sizes": {
        "negative_prompt": NEGATIVE,
        "size_condition": {"original": [512, 384], "crop": [10, 64], "target": [1024, 768]},
    },
    "negative_sizes": {
        "negative_prompt": NEGATIVE,
        "negative_size_condition": {"original": [256, 512], "crop": [0, 7], "target": [1024, 1000]},
    },
    "ddim": {"scheduler": "ddim", "negative_prompt": NEGATIVE},
    "karras": {"scheduler": "dpm++2m-karras"},
    "unipc": {"scheduler": "unipc", "seed": 9},
}


def text_config(width, tokenizer, **more):
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **more,
    )


def make_checkpoint(generator):
    files = FIXTURES / "tokenizer" / "base"
    tokenizer = CLIPTokenizer.from_pretrained(files, model_max_length=LENGTH)
    tokenizer_2 = CLIPTokenizer.from_pretrained(files, model_max_length=LENGTH, pad_token="!")
    assert tokenizer_2.pad_token_id == 0
    text_encoder = CLIPTextModel(text_config(WIDTHS[0], tokenizer))
    text_encoder_2 = CLIPTextModelWithProjection(
        text_config(WIDTHS[1], tokenizer_2, hidden_act="gelu", projection_dim=POOLED)
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=[4, 8],
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
        layers_per_block=1,
        transformer_layers_per_block=[1, 2],
        norm_num_groups=4,
        cross_attention_dim=sum(WIDTHS),
        attention_head_dim=[2, 4],
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=SINUSOID,
        projection_class_embeddings_input_dim=POOLED + 6 * SINUSOID,
    )
    vae = AutoencoderKL(
        sample_size=32,
        block_out_channels=[4, 4, 8],
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        norm_num_groups=4,
        scaling_factor=0.13025,
        force_upcast=True,
    )
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        timestep_spacing="leading",
        interpolation_type="linear",
    )
    for model in (text_encoder, text_encoder_2, unet, vae):
        reseed(model, generator)
    # The text must be heard in both ways, and pixels should lie between black and white.
    for key, parameter in unet.named_parameters():
        if "attn2.to_v" in key or "attn2.to_out.0.weight" in key or "add_embedding" in key:
            parameter.mul_(2)
    vae.decoder.conv_out.weight.mul_(0.75)
    for model in (text_encoder, text_encoder_2, unet, vae):
        for parameter in model.parameters():
            parameter.copy_(parameter.half())
    pipe = StableDiffusionXLPipeline(
        vae, text_encoder, text_encoder_2, tokenizer, tokenizer_2, unet, scheduler, add_watermarker=False
    )
    pipe.to(torch.float16).save_pretrained(CHECKPOINT)
    for path in CHECKPOINT.rglob("*.safetensors"):
        path.chmod(0o644)


def load(kind=StableDiffusionXLPipeline, folder=CHECKPOINT, **more):
    pipe = kind.from_pretrained(folder, torch_dtype=torch.float32, **more)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def set_scheduler(pipe, request, table):
    own = pipe.scheduler.config
    if "scheduler" in request:
        kind, changes = table[request["scheduler"]]
        pipe.scheduler = getattr(diffusers, kind).from_config(own, **changes)
    if "scheduler_keys" in request:
        pipe.scheduler = type(pipe.scheduler).from_config(own, **request["scheduler_keys"])


def sizes(request):
    """The size condition in diffusers' order: height before width, top before left."""
    arguments = {}
    for key, start in (("size_condition", ""), ("negative_size_condition", "negative_")):
        if key in request:
            condition = {name: tuple(reversed(pair)) for name, pair in request[key].items()}
            arguments[f"{start}original_size"] = condition["original"]
            arguments[f"{start}crops_coords_top_left"] = condition["crop"]
            arguments[f"{start}target_size"] = condition["target"]
    return arguments


def draw(pipe, request, **more):
    """Pictures [n, height, width, 3] in bytes."""
    seeds = [request["seed"] + i for i in range(request["count"])]
    negative = [request["negative_prompt"]] * len(seeds) if request["negative_prompt"] else None
    images = pipe(
        [request["prompt"]] * len(seeds),
        negative_prompt=negative,
        num_inference_steps=request["steps"],
        guidance_scale=request["guidance_scale"],
        clip_skip=request.get("clip_skip"),
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        output_type="pil",
        **more,
    ).images
    return torch.from_numpy(numpy.stack([numpy.asarray(image) for image in images]))


def look(name, picture, pictures):
    """Pictures must differ from one another and show something."""
    for other_name, other in pictures.items():
        if other.shape == picture.shape:
            assert differ(picture, other), f"{name} is as {other_name}"
    edge = ((picture == 0) | (picture == 255)).float().mean().item()
    print(f"{name}: {list(picture.shape)}, deviation {picture.float().std():.1f}, at the edge {edge:.1%}")
    assert edge < 0.2, "a picture of black and white shows little"
    pictures[name] = picture


def main():
    make_checkpoint(begin(OUT))
    pictures, runs = {}, []
    for name, changes in RUNS.items():
        request = {**REQUEST, **changes}
        pipe = load(**request.get("index_keys", {}))
        set_scheduler(pipe, request, SCHEDULERS)
        side = {key: request.get(key) for key in ("width", "height")}
        look(name, draw(pipe, request, **side, **sizes(request)), pictures)
        runs.append({"name": name, **request})
    save_tensors(pictures, OUT / "pictures.safetensors")
    save_json(runs, OUT / "runs.json")


if __name__ == "__main__":
    main()
