"""Makes tests/golden/fixtures/few_step: U-Nets that are published alone, to be put over the checkpoints of
fixtures/pipeline (lcm) and fixtures/sdxl, and the pictures that diffusers draws with both together; and weights of eight bits with what they stand for.

Needs torch==2.11.0, diffusers==0.42.1, transformers==5.23.0, safetensors==0.8.0, numpy==2.4.6; run it from
anywhere after pipeline.py and sdxl.py:

    python tests/golden/generate/few_step.py

lcm/                          folder of a U-Net that takes the guidance as a number (time_cond_proj_dim)
dmd2_sdxl_4step_unet_fp16.bin.gz a lone U-Net as torch.save writes it
scaled_fp8.safetensors.gz     a lone U-Net in float8 as ComfyUI writes it: scale_weight, scale_input, scaled_fp8
row_scaled_fp8.safetensors.gz the same with a scale for each row, as ComfyUI's newer tools and torchao write them
plain_fp8.pt                  float8 tensors by torch.save
fp8.safetensors               every finite value of both float8 types, and what torch makes of them in float32
digests.json                  of the tensors of scaled_fp8 and of row_scaled_fp8 in float32
pictures.safetensors, runs.json
"""

import gzip
from pathlib import Path

import torch
from diffusers import (
    EulerDiscreteScheduler,
    LatentConsistencyModelImg2ImgPipeline,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from pipeline import CHECKPOINT, REQUEST
from safetensors.torch import save_file
from sdxl import CHECKPOINT as SDXL
from sdxl import REQUEST as SDXL_REQUEST
from sdxl import draw, load, look
from seeded import begin, reseed, save_json, save_model, save_tensors
from single_file import digest

FIXTURES = Path(__file__).parent.parent / "fixtures"
OUT = FIXTURES / "few_step"
WIDTH = 10
E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2

# preset: scheduler, what is changed of it, steps, arguments of the call
RECIPES = {
    "lightning-1": (EulerDiscreteScheduler, {"timestep_spacing": "trailing", "prediction_type": "sample"}, 1, {}),
    "hyper-sdxl-1-unet": (LCMScheduler, {}, 1, {"timesteps": [800]}),
    "dmd2-1": (LCMScheduler, {}, 1, {"timesteps": [399]}),
    "dmd2-4": (LCMScheduler, {}, 4, {"timesteps": [999, 749, 499, 249]}),
}

# name: which U-Net, which pipeline, changes of the request
LCM = {"unet": "lcm", "steps": 4, "guidance_scale": 8.5}
RUNS = {
    "lcm": {**LCM, "pipeline": "lcm"},
    "lcm_weak": {**LCM, "pipeline": "lcm", "guidance_scale": 2.0},
    # No classifier-free guidance either way, but another embedding than that of 1.
    "lcm_unguided": {**LCM, "pipeline": "lcm", "guidance_scale": 0.0, "steps": 2},
    "lcm_several": {**LCM, "pipeline": "lcm", "count": 2, "seed": 9},
    "lcm_euler": {**LCM, "pipeline": "euler", "steps": 5, "guidance_scale": 5.0},
    "lcm_edit": {**LCM, "pipeline": "edit", "strength": 0.6},
    # All steps are taken, of the lower part of the schedule.
    "lcm_own_edit": {**LCM, "pipeline": "own_edit", "strength": 0.6},
    "lcm_own_weak": {**LCM, "pipeline": "own_edit", "strength": 0.13, "steps": 3, "guidance_scale": 3.0},
    "lcm_own_whole": {**LCM, "pipeline": "own_edit", "strength": 1.0, "steps": 2, "seed": 4},
    "lone": {"unet": "lone"},
    "fp8": {"unet": "fp8"},
    "rows": {"unet": "rows"},
    **{name: {"unet": "lone", "preset": name, "guidance_scale": 0.0} for name in RECIPES},
}


def make_lcm(generator):
    config = UNet2DConditionModel.load_config(CHECKPOINT / "unet")
    small = {"block_out_channels": [4, 8], "time_cond_proj_dim": WIDTH}
    unet = reseed(UNet2DConditionModel.from_config({**config, **small}), generator)
    for key, parameter in unet.named_parameters():
        if "attn2.to_v" in key or "attn2.to_out.0.weight" in key or "cond_proj" in key:
            parameter.mul_(2).copy_(parameter.half())
    save_model(unet, OUT / "lcm")


def make_lone(generator):
    """Another training of the checkpoint's own U-Net."""
    unet = UNet2DConditionModel.from_pretrained(SDXL / "unet", torch_dtype=torch.float32)
    state = {}
    for key, tensor in unet.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator)
        state[key] = (tensor + 0.3 * tensor.std(correction=0) * noise).half()
    return state


def make_scaled(generator):
    """What ComfyUI makes of a U-Net: matrices in e4m3 with a scale, convolutions in e5m2, the rest as it was."""
    unet = UNet2DConditionModel.from_pretrained(SDXL / "unet", torch_dtype=torch.float32)
    state, whole = {"scaled_fp8": torch.zeros(0, dtype=E4M3)}, {}
    for key, tensor in unet.state_dict().items():
        if tensor.dim() == 2:
            stem = key.removesuffix(".weight")
            scale = tensor.abs().max() / 448
            stored = (tensor / scale).to(E4M3)
            state |= {key: stored, f"{stem}.scale_weight": scale, f"{stem}.scale_input": torch.tensor([0.7])}
            whole[key] = stored.float() * scale
        else:
            stored = tensor.to(E5M2) if tensor.dim() == 4 else tensor.half()
            state[key] = stored
            whole[key] = stored.float()
    return state, whole


def make_row_scaled(generator):
    """Every weight with more than one dimension in e4m3, a scale for each of its rows, in each of the shapes and under
    each of the names that are in use."""
    unet = UNet2DConditionModel.from_pretrained(SDXL / "unet", torch_dtype=torch.float32)
    state, whole = {}, {}
    for number, (key, tensor) in enumerate(sorted(unet.state_dict().items())):
        if tensor.dim() < 2:
            state[key] = whole[key] = tensor.half()
            continue
        stem = key.removesuffix(".weight")
        # Rows that one scale for all would round away.
        tensor = tensor * torch.exp2(torch.randint(-3, 4, (len(tensor),) + (1,) * (tensor.dim() - 1), generator=generator))
        scale = tensor.flatten(1).abs().amax(1) / 448
        stored = (tensor / scale.view(-1, *[1] * (tensor.dim() - 1))).to(E4M3)
        whole[key] = stored.float() * scale.view(-1, *[1] * (tensor.dim() - 1))
        match number % 4:
            case 0:
                state |= {key: stored, f"{stem}.scale_weight": scale.view(-1, 1)}
            case 1:
                state |= {key: stored, f"{stem}.weight_scale": scale}
            case 2:
                state |= {f"{stem}._weight_qdata": stored, f"{stem}._weight_scale": scale.view(-1, 1)}
            case 3:
                state |= {key: stored, f"{stem}.weight_scale": scale.view(-1, *[1] * (tensor.dim() - 1))}
                note = b'{"format": "float8_e4m3fn_rowwise"}'
                state[f"{stem}.comfy_quant"] = torch.frombuffer(bytearray(note), dtype=torch.uint8)
    return state, {key: tensor.float() for key, tensor in whole.items()}


def pack(name):
    file = OUT / name
    (OUT / f"{name}.gz").write_bytes(gzip.compress(file.read_bytes(), 9, mtime=0))
    file.unlink()


def every_value(dtype):
    bits = torch.arange(256).to(torch.uint8).view(dtype)
    return bits[torch.isfinite(bits.float())].clone()


def pipe_of(request, unets):
    if request["unet"] == "lcm":
        unet = UNet2DConditionModel.from_pretrained(OUT / "lcm", torch_dtype=torch.float32)
        kind = {
            "lcm": LatentConsistencyModelPipeline,
            "euler": StableDiffusionPipeline,
            "edit": StableDiffusionImg2ImgPipeline,
            "own_edit": LatentConsistencyModelImg2ImgPipeline,
        }[request["pipeline"]]
        pipe = kind.from_pretrained(
            CHECKPOINT, unet=unet, torch_dtype=torch.float32, requires_safety_checker=False
        )
        euler = request["pipeline"] == "euler"
        pipe.scheduler = (EulerDiscreteScheduler if euler else LCMScheduler).from_config(pipe.scheduler.config)
    else:
        pipe = load()
        pipe.unet.load_state_dict(unets[request["unet"]])
        if "preset" in request:
            kind, changes, _, _ = RECIPES[request["preset"]]
            pipe.scheduler = kind.from_config(pipe.scheduler.config, **changes)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def edited(pipe, request, picture):
    image = pipe(
        request["prompt"],
        image=picture,
        strength=request["strength"],
        num_inference_steps=request["steps"],
        guidance_scale=request["guidance_scale"],
        generator=torch.Generator("cpu").manual_seed(request["seed"]),
    ).images[0]
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(1, image.height, image.width, 3)


def drawn(pipe, request):
    if request.get("pipeline") != "lcm":
        return draw(pipe, request, **(RECIPES[request["preset"]][3] if "preset" in request else {}))
    seeds = [request["seed"] + i for i in range(request["count"])]
    images = pipe(
        [request["prompt"]] * len(seeds),
        num_inference_steps=request["steps"],
        guidance_scale=request["guidance_scale"],
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
    ).images
    rows = [torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8) for image in images]
    return torch.stack(rows).view(len(images), images[0].height, images[0].width, 3)


def main():
    generator = begin(OUT)
    make_lcm(generator)
    lone = make_lone(generator)
    torch.save(lone, OUT / "dmd2_sdxl_4step_unet_fp16.bin")
    scaled, whole = make_scaled(generator)
    save_file(scaled, OUT / "scaled_fp8.safetensors")
    pack("dmd2_sdxl_4step_unet_fp16.bin")
    pack("scaled_fp8.safetensors")
    values = {}
    for name, dtype in {"e4m3": E4M3, "e5m2": E5M2}.items():
        stored = every_value(dtype)
        values |= {name: stored, f"{name}.float": stored.float()}
    save_file(values, OUT / "fp8.safetensors")
    torch.save({name: values[name].view(2, -1).t() for name in ("e4m3", "e5m2")}, OUT / "plain_fp8.pt")

    row_scaled, rows_whole = make_row_scaled(generator)
    save_file(row_scaled, OUT / "row_scaled_fp8.safetensors")
    pack("row_scaled_fp8.safetensors")
    save_json({"unet": digest(whole), "rows": digest(rows_whole)}, OUT / "digests.json")
    lone = {key: tensor.float() for key, tensor in lone.items()}
    unets = {"lone": lone, "fp8": whole, "rows": rows_whole}
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    picture = torch.stack([rows * 8, columns * 8, (rows + columns) * 4], -1).to(torch.uint8)
    pictures, runs = {}, []
    for name, changes in RUNS.items():
        request = {**(REQUEST if changes["unet"] == "lcm" else SDXL_REQUEST), **changes}
        if "preset" in request:
            request["steps"] = RECIPES[request["preset"]][2]
        pipe = pipe_of(request, unets)
        if "strength" in request:
            pixels = edited(pipe, request, Image.fromarray(picture.numpy()))
        else:
            pixels = drawn(pipe, request)
        look(name, pixels, pictures)
        runs.append({"name": name, **request})
    save_tensors({**pictures, "picture": picture}, OUT / "pictures.safetensors")
    save_json(runs, OUT / "runs.json")
    for path in OUT.rglob("*"):
        path.chmod(0o644 if path.is_file() else 0o755)


if __name__ == "__main__":
    main()
