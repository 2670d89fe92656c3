"""Makes tests/golden/fixtures/edits: a picture and a mask, what a U-Net made for inpainting has otherwise than the
tiny checkpoints of pipeline.py and sdxl.py, and the pictures that diffusers' image-to-image and inpainting
pipelines make of them.

Needs torch==2.11.0, diffusers==0.42.1, transformers==5.23.0, safetensors==0.8.0, numpy==2.4.6; run it from
anywhere after those two:

    python tests/golden/generate/edits.py
"""

from pathlib import Path

import diffusers
import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from pipeline import CHECKPOINT as SD
from pipeline import NEGATIVE, REQUEST
from sdxl import CHECKPOINT as SDXL
from sdxl import draw, load, look, set_scheduler
from seeded import begin, save_json, save_tensors, save_weights

OUT = Path(__file__).parent.parent / "fixtures" / "edits"
WIDTH, HEIGHT = 40, 24

PIPELINES = {
    ("sd", False): "StableDiffusionImg2ImgPipeline",
    ("sd", True): "StableDiffusionInpaintPipeline",
    ("sdxl", False): "StableDiffusionXLImg2ImgPipeline",
    ("sdxl", True): "StableDiffusionXLInpaintPipeline",
}

SCHEDULERS = {
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler-karras": ("EulerDiscreteScheduler", {"use_karras_sigmas": True}),
    "euler-a": ("EulerAncestralDiscreteScheduler", {}),
    "dpm++2m": ("DPMSolverMultistepScheduler", {}),
    "dpm++2m-karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
    "heun-karras": ("HeunDiscreteScheduler", {"use_karras_sigmas": True}),
    "lms-karras": ("LMSDiscreteScheduler", {"use_karras_sigmas": True}),
    "unipc-karras": ("UniPCMultistepScheduler", {"use_karras_sigmas": True}),
}
# TCD's stochasticity is an argument of the pipelines, 0 if left out; the class's own is this.
ETA = {"tcd": 0.3}

# `mask`: with the mask; `channels`: with the U-Net of nine channels
IMAGE = {"strength": 0.6}
MASKED = {"strength": 1.0, "mask": True}
NINE = {**MASKED, "channels": True}
RUNS = {
    "own": IMAGE,
    "weak": {"strength": 0.35, "negative_prompt": NEGATIVE},
    "whole": {"strength": 1.0},
    "unguided": {**IMAGE, "guidance_scale": 1.0},
    "several": {**IMAGE, "scheduler": "euler-a", "count": 2},
    **{f"image_{name}": {**IMAGE, "scheduler": name, "seed": i} for i, name in enumerate(SCHEDULERS)},
    "masked": MASKED,
    "masked_part": {**MASKED, "strength": 0.7, "negative_prompt": NEGATIVE},
    **{
        f"masked_{name}": {**MASKED, "strength": 0.8, "scheduler": name, "seed": 50 + i}
        for i, name in enumerate(SCHEDULERS)
        if name != "ddpm"
    },
    "nine": NINE,
    "nine_part": {**NINE, "strength": 0.7},
    "nine_ancestral": {**NINE, "scheduler": "euler-a"},
    "xl_image": {**IMAGE, "checkpoint": "sdxl", "negative_prompt": NEGATIVE},
    "xl_masked": {**MASKED, "checkpoint": "sdxl", "strength": 0.8},
    "xl_masked_karras": {**MASKED, "checkpoint": "sdxl", "scheduler": "dpm++2m-karras"},
    "xl_nine": {**NINE, "checkpoint": "sdxl"},
}


def make_picture(generator):
    """Smooth colours with some noise, and a mask with a hole whose values lie on both sides of one half."""
    coarse = torch.rand(1, 3, 4, 6, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bicubic")[0].permute(1, 2, 0)
    noisy = smooth + 0.05 * torch.randn(smooth.shape, generator=generator)
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.uint8)
    mask[5:17, 9:34] = 255
    mask[8:13, 16:22] = 127
    mask[17:20, 9:34] = 128
    return (noisy * 255).round().clamp(0, 255).to(torch.uint8), mask


def nine_channels(folder, generator):
    """The checkpoint's U-Net with an input of latents, mask and masked picture."""
    base = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=torch.float32)
    unet = UNet2DConditionModel.from_config(base.config, in_channels=9)
    weights = base.state_dict()
    shape = (weights["conv_in.weight"].shape[0], 9, 3, 3)
    weights["conv_in.weight"] = (torch.randn(shape, generator=generator) / 9).half().float()
    unet.load_state_dict(weights)
    return unet.eval()


def main():
    generator = begin(OUT)
    picture, mask = make_picture(generator)
    folders = {"sd": SD, "sdxl": SDXL}
    unets = {name: nine_channels(folder, generator) for name, folder in folders.items()}
    save_weights({name: unet.conv_in.weight for name, unet in unets.items()}, OUT / "conv_in.safetensors")
    made, runs = {}, []
    for name, changes in RUNS.items():
        request = {**REQUEST, "steps": 10, **changes}
        checkpoint, masked = request.get("checkpoint", "sd"), "mask" in request
        more = {"unet": unets[checkpoint]} if "channels" in request else {}
        pipe = load(getattr(diffusers, PIPELINES[checkpoint, masked]), folders[checkpoint], **more)
        set_scheduler(pipe, request, SCHEDULERS)
        inputs = {"image": Image.fromarray(picture.numpy()), "strength": request["strength"]}
        if masked:
            inputs |= {"mask_image": Image.fromarray(mask.numpy()), "width": WIDTH, "height": HEIGHT}
        if request.get("scheduler") in ETA:
            inputs["eta"] = ETA[request["scheduler"]]
        result = draw(pipe, request, **inputs)
        assert result.shape[1:3] == (HEIGHT, WIDTH)
        look(name, result, made)
        runs.append({"name": name, **request})
    save_tensors({**made, "picture": picture, "mask": mask}, OUT / "pictures.safetensors")
    save_json(runs, OUT / "runs.json")


if __name__ == "__main__":
    main()
