"""Makes tests/golden/fixtures/pipeline: a tiny complete checkpoint, a FaceID adapter for it, and the pictures
that diffusers' StableDiffusionPipeline draws with them.

Needs torch==2.11.0, diffusers==0.42.1, transformers==5.23.0, safetensors==0.8.0, numpy==2.4.6; run it from
anywhere after tokenizer.py, whose small vocabulary it uses:

    python tests/golden/generate/pipeline.py
"""

import tempfile
from pathlib import Path

import diffusers
import numpy
import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from faceid import faces, make_adapter
from seeded import begin, reseed, save_json, save_tensors, save_weights
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

FIXTURES = Path(__file__).parent.parent / "fixtures"
OUT = FIXTURES / "pipeline"
CHECKPOINT = OUT / "checkpoint"

CROSS_DIM = 16
LENGTH = 24

PROMPT = "a portrait of a smiling woman, red hair, dark forest"
NEGATIVE = "glasses, hat"
LONG = "an old man with a beard and glasses, wearing a red hat, sitting in a dark forest, oil painting, detailed"

# What every run asks for unless it says otherwise; the fields are those of a request.
REQUEST = {"prompt": PROMPT, "negative_prompt": "", "seed": 42, "count": 1, "steps": 6, "guidance_scale": 7.5}

# Scheduler names of the product: class of diffusers, changes of the checkpoint's configuration
SCHEDULERS = {
    "ddim": ("DDIMScheduler", {}),
    "euler-a": ("EulerAncestralDiscreteScheduler", {}),
    "dpm++2m-karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "lcm": ("LCMScheduler", {}),
}

# Other files in the place of scheduler/scheduler_config.json
FILES = {
    "v_prediction": ("DDIMScheduler", {"prediction_type": "v_prediction", "timestep_spacing": "trailing"}),
    "v_prediction_euler": ("EulerDiscreteScheduler", {"prediction_type": "v_prediction"}),
}

# name: changes of the request. `adapter`: with the FaceID adapter; `identity`: its strength.
RUNS = {
    "default": {"negative_prompt": NEGATIVE},
    "unguided": {"guidance_scale": 1.0},
    "wide": {"width": 48, "height": 24, "negative_prompt": NEGATIVE},
    "several": {"count": 3, "seed": 1000},
    "long_prompt": {"prompt": LONG, "steps": 3},
    "empty_prompt": {"prompt": "", "steps": 3},
    "large_seed": {"seed": 2**40 + 7, "steps": 2},
    "ddim": {"scheduler": "ddim"},
    "ancestral": {"scheduler": "euler-a", "negative_prompt": NEGATIVE, "seed": 7},
    "ancestral_several": {"scheduler": "euler-a", "count": 2, "seed": 7, "steps": 4},
    "karras": {"scheduler": "dpm++2m-karras"},
    "lcm": {"scheduler": "lcm", "guidance_scale": 1.0, "steps": 4},
    "v_prediction": {"file": "v_prediction"},
    "v_prediction_euler": {"file": "v_prediction_euler"},
    "person": {"adapter": True, "identity": 1.0, "negative_prompt": NEGATIVE},
    "person_unguided": {"adapter": True, "identity": 0.6, "guidance_scale": 1.0},
    "person_several": {"adapter": True, "identity": 0.8, "count": 2, "steps": 4},
    "nobody": {"adapter": True},
}


def make_checkpoint(generator):
    tokenizer_files = FIXTURES / "tokenizer" / "base"
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_files, model_max_length=LENGTH)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=CROSS_DIM,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=[8, 16],
        down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=CROSS_DIM,
        attention_head_dim=2,
    )
    vae = AutoencoderKL(
        sample_size=32,
        block_out_channels=[4, 8, 8],
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        norm_num_groups=4,
    )
    scheduler = PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    for model in (text_encoder, unet, vae):
        reseed(model, generator)
    # The text must be heard, and pixels should lie between black and white.
    for key, parameter in unet.named_parameters():
        if "attn2.to_v" in key or "attn2.to_out.0.weight" in key:
            parameter.mul_(2)
    vae.decoder.conv_out.weight.mul_(0.75)
    for model in (text_encoder, unet, vae):
        for parameter in model.parameters():
            parameter.copy_(parameter.half())
    pipe = StableDiffusionPipeline(
        vae, text_encoder, tokenizer, unet, scheduler, None, None, requires_safety_checker=False
    )
    pipe.to(torch.float16).save_pretrained(CHECKPOINT)
    for path in CHECKPOINT.rglob("*.safetensors"):
        path.chmod(0o644)


def scheduler_of(name, config, table):
    kind, changes = table[name]
    return getattr(diffusers, kind).from_config(config, **changes)


def draw(pipe, request, embedding, adapter):
    pipe.set_progress_bar_config(disable=True)
    seeds = [request["seed"] + i for i in range(request["count"])]
    guided = request["guidance_scale"] > 1
    if adapter is not None:
        nobody = adapter.image_proj(torch.zeros_like(embedding))
        strength = request.get("identity")
        person = nobody if strength is None else adapter.image_proj(embedding)
        tokens = [nobody] * len(seeds) * guided + [person] * len(seeds)
        adapter.person.tokens = torch.cat(tokens)
        adapter.person.scale = torch.full((len(tokens),), 1.0 if strength is None else strength)
        adapter.attach(pipe.unet)
    images = pipe(
        [request["prompt"]] * len(seeds),
        negative_prompt=[request["negative_prompt"]] * len(seeds),
        height=request.get("height"),
        width=request.get("width"),
        num_inference_steps=request["steps"],
        guidance_scale=request["guidance_scale"],
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        output_type="pil",
    ).images
    return torch.from_numpy(numpy.stack([numpy.asarray(image) for image in images]))


def differ(picture, other):
    """Whether a mistake that makes the one of the other would be noticed."""
    return (picture.int() - other.int()).abs().max() >= 8


def load():
    pipe = StableDiffusionPipeline.from_pretrained(CHECKPOINT, torch_dtype=torch.float32)
    assert {pipe.unet.dtype, pipe.vae.dtype, pipe.text_encoder.dtype} == {torch.float32}
    return pipe


def main():
    generator = begin(OUT)
    make_checkpoint(generator)
    embedding = faces(1, 128, generator)
    pipe = load()
    adapter = make_adapter(pipe.unet, 128, 4, True, generator)
    save_weights(adapter.state_dict(), OUT / "adapter.safetensors")
    own = pipe.scheduler.config
    for name in FILES:
        with tempfile.TemporaryDirectory() as folder:
            scheduler_of(name, own, FILES).save_config(folder)
            (OUT / f"{name}.json").write_text((Path(folder) / "scheduler_config.json").read_text())

    pictures, runs = {}, []
    for name, changes in RUNS.items():
        request = {**REQUEST, **changes}
        pipe = load()
        if "scheduler" in request:
            pipe.scheduler = scheduler_of(request["scheduler"], own, SCHEDULERS)
        if "file" in request:
            pipe.scheduler = scheduler_of(request["file"], own, FILES)
        picture = draw(pipe, request, embedding, adapter if "adapter" in request else None)
        assert all(differ(picture, other) for other in pictures.values() if other.shape == picture.shape)
        for key, value in {"negative_prompt": "", "prompt": "a cat", "seed": 43, "guidance_scale": 6.5}.items():
            if name == "default":
                assert differ(picture, draw(load(), {**request, key: value}, embedding, None)), f"{key} must show"
        edge = ((picture == 0) | (picture == 255)).float().mean().item()
        print(f"{name}: {list(picture.shape)}, deviation {picture.float().std():.1f}, at the edge {edge:.1%}")
        assert edge < 0.2, "a picture of black and white shows little"
        pictures[name] = picture
        runs.append({"name": name, **request})
    save_tensors({**pictures, "embedding": embedding}, OUT / "pictures.safetensors")
    save_json(runs, OUT / "runs.json")


if __name__ == "__main__":
    main()
