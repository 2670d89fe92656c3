"""Makes tests/golden/fixtures/presets: the schedulers of few-step recipes over whole runs, set up as the
recipes' model cards say.

Needs torch==2.11.0, diffusers==0.42.1; run it from anywhere:

    python tests/golden/generate/presets.py

As in schedulers.py, the model is replaced by output(k) = 0.8 * outputs[k] + 0.2 * scale_model_input(sample).

runs.json           per run: the preset (none for TCD's own runs), the checkpoint's configuration, steps,
                    timesteps, sigmas, init_noise_sigma
runs.safetensors    outputs [8, 1, 4, 2, 3]; start [1, 4, 2, 3] before scaling; per run all samples after a call
"""

import diffusers
import torch
from diffusers import (
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    TCDScheduler,
)
from pathlib import Path
from seeded import begin, save_json, save_tensors

OUT = Path(__file__).parent.parent / "fixtures" / "presets"
SHAPE = (1, 4, 2, 3)

# scheduler_config.json of the published checkpoints
COMMON = dict(beta_end=0.012, beta_schedule="scaled_linear", beta_start=0.00085, clip_sample=False,
              num_train_timesteps=1000, set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1, trained_betas=None)
XL = dict(COMMON, interpolation_type="linear", prediction_type="epsilon", sample_max_value=1.0, use_karras_sigmas=False)
CHECKPOINTS = {
    "sd15": dict(COMMON, _class_name="PNDMScheduler"),
    "sdxl": dict(XL, _class_name="EulerDiscreteScheduler", timestep_spacing="leading"),
    "sdxl_turbo": dict(XL, _class_name="EulerAncestralDiscreteScheduler", timestep_spacing="trailing"),
    "sd_turbo": dict(COMMON, _class_name="EulerDiscreteScheduler", timestep_spacing="trailing"),
}
TRAILING = dict(timestep_spacing="trailing")

# preset, checkpoints, class, changed settings, steps, arguments of set_timesteps in place of the steps, of step
RECIPES = [
    ("lcm-lora", ["sd15", "sdxl"], LCMScheduler, {}, 4, {}, {}),
    ("lcm", ["sd15", "sdxl"], LCMScheduler, {}, 4, {}, {}),
    ("lightning-1", ["sdxl"], EulerDiscreteScheduler, dict(TRAILING, prediction_type="sample"), 1, {}, {}),
    ("lightning-2", ["sdxl"], EulerDiscreteScheduler, TRAILING, 2, {}, {}),
    ("lightning-4", ["sdxl"], EulerDiscreteScheduler, TRAILING, 4, {}, {}),
    ("lightning-8", ["sdxl"], EulerDiscreteScheduler, TRAILING, 8, {}, {}),
    ("hyper-sd-1", ["sd15", "sdxl"], TCDScheduler, {}, 1, {}, dict(eta=1.0)),
    ("hyper-sd-2", ["sd15", "sdxl"], DDIMScheduler, TRAILING, 2, {}, {}),
    ("hyper-sd-4", ["sd15", "sdxl"], DDIMScheduler, TRAILING, 4, {}, {}),
    ("hyper-sd-8", ["sd15", "sdxl"], DDIMScheduler, TRAILING, 8, {}, {}),
    ("hyper-sdxl-1-unet", ["sdxl"], LCMScheduler, {}, 1, dict(timesteps=[800]), {}),
    ("turbo", ["sdxl_turbo"], EulerAncestralDiscreteScheduler, {}, 1, {}, {}),
    ("turbo", ["sd_turbo"], EulerDiscreteScheduler, {}, 1, {}, {}),
    ("dmd2-1", ["sdxl"], LCMScheduler, {}, 1, dict(timesteps=[399]), {}),
    ("dmd2-4", ["sdxl"], LCMScheduler, {}, 4, dict(timesteps=[999, 749, 499, 249]), {}),
]
# TCD alone: changed settings, steps, eta
TCD = [
    ({}, 4, None),
    ({}, 8, 0.0),
    ({}, 8, 1.0),
    ({}, 5, 0.7),
    (dict(prediction_type="v_prediction"), 4, 0.5),
    (dict(prediction_type="sample"), 3, 0.5),
    (dict(prediction_type="v_prediction", rescale_betas_zero_snr=True), 3, 0.3),
    (dict(original_inference_steps=10, num_train_timesteps=500), 7, 0.3),
    (dict(set_alpha_to_one=True, clip_sample=True, thresholding=True), 3, 0.3),
]


def runs():
    for preset, checkpoints, cls, changes, steps, timesteps, arguments in RECIPES:
        for name in checkpoints:
            config = CHECKPOINTS[name]
            yield f"{preset}.{name}", preset, config, cls.from_config(config, **changes), steps, timesteps, arguments
    for number, (changes, steps, eta) in enumerate(TCD):
        config = {**COMMON, **changes, "_class_name": "TCDScheduler"}
        arguments = {} if eta is None else {"eta": eta}
        yield f"tcd.{number}", None, {**config, **arguments}, TCDScheduler.from_config(config), steps, {}, arguments


def main():
    generator = begin(OUT)
    outputs = torch.randn(8, *SHAPE, generator=generator)
    seed = 42
    start = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))
    tensors, listing = {"outputs": outputs, "start": start}, []
    for name, preset, config, scheduler, steps, timesteps, arguments in runs():
        scheduler.set_timesteps(**timesteps) if timesteps else scheduler.set_timesteps(steps)
        noise = torch.Generator().manual_seed(seed)
        sample = torch.randn(SHAPE, generator=noise) * scheduler.init_noise_sigma
        draws = {} if isinstance(scheduler, DDIMScheduler) else {"generator": noise}
        kept = []
        for k, t in enumerate(scheduler.timesteps):
            output = 0.8 * outputs[k] + 0.2 * scheduler.scale_model_input(sample, t)
            sample = scheduler.step(output, t, sample, **draws, **arguments).prev_sample
            kept.append(sample)
        tensors[name] = torch.stack(kept)
        sigmas = scheduler.sigmas.tolist() if hasattr(scheduler, "sigmas") else None
        listing.append(dict(
            name=name, preset=preset, checkpoint=config, steps=steps, timesteps=scheduler.timesteps.tolist(),
            sigmas=sigmas, init_noise_sigma=float(scheduler.init_noise_sigma),
        ))
    save_tensors(tensors, OUT / "runs.safetensors")
    save_json(listing, OUT / "runs.json")


if __name__ == "__main__":
    assert diffusers.__version__ == "0.42.1"
    main()
