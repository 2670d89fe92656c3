"""Golden fixtures of the samplers and of torch's CPU noise.

Needs the versions in requirements.txt beside this file, of which it checks torch and diffusers.
Run:  python schedulers.py [OUTPUT FOLDER]     (default: ../fixtures/schedulers)

A "run" is a whole trajectory of one sampler under one configuration. The model is replaced by
    output(k) = 0.8 * outputs[k] + 0.2 * scale_model_input(sample)
where `outputs` are stored random tensors and k counts the calls, so that both the input scaling and the
feedback of errors over the trajectory are tested. Noise of stochastic samplers goes on from the generator
that drew the start, as in a pipeline.

trajectories.safetensors   outputs [60, 1, 4, 2, 3]; start [1, 4, 2, 3] before scaling;
                           per run [4, 1, 4, 2, 3]: the sample after a third, two thirds and all of the
                           calls, and outputs[0] noised with outputs[1] to the level of the middle call
runs.json                  per run: configuration, steps, timesteps, init_noise_sigma
noise.safetensors/.json    torch.randn draws from one generator after another
"""

import json
import logging
import sys
import warnings
from pathlib import Path

import diffusers
import numpy as np
import torch
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
torch.set_num_threads(1)
for module, version in {torch: "2.11.0", diffusers: "0.42.1"}.items():
    if module.__version__.split("+")[0] != version:
        sys.exit(f"{module.__name__} is {module.__version__}, the fixtures are made with {version}")

from diffusers.schedulers.scheduling_ddim import DDIMScheduler  # noqa: E402
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler  # noqa: E402
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler  # noqa: E402
from diffusers.schedulers.scheduling_euler_ancestral_discrete import EulerAncestralDiscreteScheduler  # noqa: E402
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler  # noqa: E402
from diffusers.schedulers.scheduling_heun_discrete import HeunDiscreteScheduler  # noqa: E402
from diffusers.schedulers.scheduling_lcm import LCMScheduler  # noqa: E402
from diffusers.schedulers.scheduling_lms_discrete import LMSDiscreteScheduler  # noqa: E402
from diffusers.schedulers.scheduling_pndm import PNDMScheduler  # noqa: E402
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler  # noqa: E402

CLASSES = {
    c.__name__: c
    for c in [
        DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler,
        EulerDiscreteScheduler, HeunDiscreteScheduler, LCMScheduler, LMSDiscreteScheduler, PNDMScheduler,
        UniPCMultistepScheduler,
    ]
}
SHAPE = (1, 4, 2, 3)
SEED = 42

# What the checkpoints of the Stable Diffusion family have in common.
BASE = dict(
    num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
    steps_offset=1, clip_sample=False, set_alpha_to_one=False, skip_prk_steps=True,
)
# scheduler_config.json as well-known checkpoints have it, each turned to every sampler.
PUBLISHED = {
    "sd15": dict(
        beta_end=0.012, beta_schedule="scaled_linear", beta_start=0.00085, num_train_timesteps=1000,
        set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1, trained_betas=None, clip_sample=False,
    ),
    "sd21v": dict(
        beta_end=0.012, beta_schedule="scaled_linear", beta_start=0.00085, clip_sample=False,
        num_train_timesteps=1000, prediction_type="v_prediction", set_alpha_to_one=False, skip_prk_steps=True,
        steps_offset=1, trained_betas=None,
    ),
    "sdxl": dict(
        beta_end=0.012, beta_schedule="scaled_linear", beta_start=0.00085, clip_sample=False,
        interpolation_type="linear", num_train_timesteps=1000, prediction_type="epsilon", sample_max_value=1.0,
        set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1, timestep_spacing="leading",
        trained_betas=None, use_karras_sigmas=False,
    ),
    "zero_snr": dict(
        beta_end=0.012, beta_schedule="scaled_linear", beta_start=0.00085, clip_sample=False,
        num_train_timesteps=1000, prediction_type="v_prediction", rescale_betas_zero_snr=True,
        set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1, timestep_spacing="trailing",
    ),
    # a class at all of its own defaults
    "defaults": dict(skip_prk_steps=True),
}


def runs():
    """(name, class, whole configuration, steps); a name with "from" starts at that call"""
    spacings = ["linspace", "leading", "trailing"]
    predictions = ["epsilon", "v_prediction", "sample"]
    karras = ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "HeunDiscreteScheduler",
              "LMSDiscreteScheduler", "UniPCMultistepScheduler"]
    no_sample = ["EulerAncestralDiscreteScheduler", "PNDMScheduler"]

    for source, config in PUBLISHED.items():
        for name in CLASSES:
            yield f"{source}", name, config, 4 if name == "LCMScheduler" else 7

    def arm(label, name, steps=7, **keys):
        return label, name, {**BASE, **keys}, steps

    for name in CLASSES:
        for spacing in spacings:
            for prediction in predictions:
                if prediction == "sample" and name in no_sample:
                    continue
                if name == "LCMScheduler" and spacing != "leading":
                    continue
                yield arm(f"{spacing}.{prediction}", name, timestep_spacing=spacing, prediction_type=prediction)
        if name in karras:
            for spacing in spacings:
                yield arm(f"karras.{spacing}", name, timestep_spacing=spacing, use_karras_sigmas=True)
            yield arm("karras.v", name, prediction_type="v_prediction", use_karras_sigmas=True)
            yield arm("karras.range", name, use_karras_sigmas=True, sigma_min=0.05, sigma_max=9.0)
            yield arm("exponential", name, use_exponential_sigmas=True)
            yield arm("beta", name, use_beta_sigmas=True)
            yield arm("karras.25", name, 25, use_karras_sigmas=True)
            yield arm("karras.1", name, 1, use_karras_sigmas=True)
            yield arm("karras.cosine", name, use_karras_sigmas=True, beta_schedule="squaredcos_cap_v2")
        yield arm("linear", name, beta_schedule="linear", beta_start=0.0001, beta_end=0.02)
        yield arm("cosine", name, beta_schedule="squaredcos_cap_v2")
        yield arm("trained", name, 5, num_train_timesteps=50, original_inference_steps=25,
                  trained_betas=np.geomspace(0.002, 0.3, 50).round(6).tolist())
        yield arm("25", name, 25)
        yield arm("2", name, 2)
        yield arm("1", name, 1)
        yield arm("1.trailing", name, 1, timestep_spacing="trailing")
        yield arm("offset0", name, steps_offset=0, timestep_spacing="leading")
        yield arm("from4", name, 9)  # as image to image does

    for name in ["DDIMScheduler", "DDPMScheduler", "LCMScheduler"]:
        yield arm("clip", name, clip_sample=True)
        yield arm("clip.range", name, clip_sample=True, clip_sample_range=0.5)
    yield arm("clip.range", "HeunDiscreteScheduler", clip_sample=True, clip_sample_range=0.5)
    for name in ["DDIMScheduler", "DDPMScheduler", "LCMScheduler", "DPMSolverMultistepScheduler",
                 "UniPCMultistepScheduler"]:
        yield arm("threshold", name, thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=1.5,
                  clip_sample=True)
    for name in ["DDIMScheduler", "PNDMScheduler", "LCMScheduler"]:
        yield arm("alpha_to_one", name, set_alpha_to_one=True)
    for name in ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"]:
        yield arm("sigma_min", name, final_sigmas_type="sigma_min")
        yield arm("sigma_min.karras", name, final_sigmas_type="sigma_min", use_karras_sigmas=True)
        yield arm("sigma_min.25", name, 25, final_sigmas_type="sigma_min")

    ddpm = "DDPMScheduler"
    yield arm("sigmoid", ddpm, beta_schedule="sigmoid")
    yield arm("laplace", ddpm, beta_schedule="laplace")
    for variance in ["fixed_small_log", "fixed_large", "learned", "learned_range"]:
        yield arm(variance, ddpm, variance_type=variance)
    yield arm("exp", "HeunDiscreteScheduler", beta_schedule="exp")

    euler = "EulerDiscreteScheduler"
    yield arm("log_linear", euler, interpolation_type="log_linear")
    yield arm("log_linear.karras", euler, interpolation_type="log_linear", use_karras_sigmas=True)
    yield arm("continuous", euler, timestep_type="continuous", prediction_type="v_prediction",
              use_karras_sigmas=True, sigma_min=0.002, sigma_max=80.0)

    yield arm("runge_kutta", "PNDMScheduler", skip_prk_steps=False)
    yield arm("runge_kutta.4", "PNDMScheduler", 4, skip_prk_steps=False)
    yield arm("runge_kutta.v.trailing", "PNDMScheduler", 9, skip_prk_steps=False,
              prediction_type="v_prediction", timestep_spacing="trailing")

    dpm = "DPMSolverMultistepScheduler"
    for algorithm in ["dpmsolver++", "dpmsolver", "sde-dpmsolver++", "sde-dpmsolver"]:
        for order in [1, 2, 3]:
            for solver in ["midpoint", "heun"]:
                if order == 3 and algorithm == "sde-dpmsolver" or order != 2 and solver == "heun":
                    continue
                final = "zero" if algorithm.endswith("++") else "sigma_min"
                yield arm(f"{algorithm}.{order}.{solver}", dpm, algorithm_type=algorithm, solver_order=order,
                          solver_type=solver, final_sigmas_type=final, lower_order_final=order != 2)
    yield arm("dpmsolver.v", dpm, algorithm_type="dpmsolver", final_sigmas_type="sigma_min",
              prediction_type="v_prediction")
    yield arm("dpmsolver.sample", dpm, algorithm_type="dpmsolver", final_sigmas_type="sigma_min",
              prediction_type="sample")
    yield arm("dpmsolver.threshold", dpm, algorithm_type="dpmsolver", final_sigmas_type="sigma_min",
              thresholding=True)
    yield arm("sde.karras", dpm, algorithm_type="sde-dpmsolver++", use_karras_sigmas=True)
    yield arm("order3.25", dpm, 25, solver_order=3)
    yield arm("order3.25.not_lower", dpm, 25, solver_order=3, lower_order_final=False)
    yield arm("euler_at_final", dpm, 25, euler_at_final=True, final_sigmas_type="sigma_min")
    yield arm("lu", dpm, use_lu_lambdas=True)
    yield arm("lambda_min", dpm, lambda_min_clipped=-1.2)
    yield arm("lambda_min.cosine", dpm, lambda_min_clipped=-5.1, beta_schedule="squaredcos_cap_v2")
    yield arm("from_unipc", dpm, solver_type="bh2", algorithm_type="deis", final_sigmas_type="sigma_min")

    unipc = "UniPCMultistepScheduler"
    for x0 in [True, False]:
        for solver in ["bh1", "bh2"]:
            for order in [1, 2, 3]:
                yield arm(f"{'x0' if x0 else 'noise'}.{solver}.{order}", unipc, predict_x0=x0, solver_type=solver,
                          solver_order=order, final_sigmas_type="sigma_min", lower_order_final=order != 2)
    yield arm("order3", unipc, solver_order=3)
    yield arm("order3.25", unipc, 25, solver_order=3)
    yield arm("uncorrected", unipc, disable_corrector=[0, 3])
    yield arm("noise.v", unipc, predict_x0=False, final_sigmas_type="sigma_min", prediction_type="v_prediction")
    yield arm("noise.sample", unipc, predict_x0=False, final_sigmas_type="sigma_min", prediction_type="sample")
    yield arm("from_dpm", unipc, solver_type="midpoint", algorithm_type="dpmsolver++")

    lcm = "LCMScheduler"
    yield arm("4", lcm, 4)
    yield arm("original100", lcm, 6, original_inference_steps=100)
    yield arm("scaling", lcm, 4, timestep_scaling=1.0)


def trajectory(scheduler, steps, begin, outputs, learned):
    scheduler.set_timesteps(steps)
    generator = torch.Generator("cpu").manual_seed(SEED)
    start = torch.randn(SHAPE, generator=generator)
    sample = start * scheduler.init_noise_sigma
    timesteps = scheduler.timesteps[begin:]
    calls = len(timesteps)
    # scale_model_input and step look a repeated first timestep up by value; the pipelines that care say
    # where they begin
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    kept = []
    for k, t in enumerate(timesteps):
        scaled = scheduler.scale_model_input(sample, t)
        output = 0.8 * outputs[k] + 0.2 * scaled
        if learned:
            # positive, as a variance must be
            output = torch.cat([output, 0.1 + 0.5 * outputs[k].abs()], dim=1)
        takes = "generator" in type(scheduler).step.__code__.co_varnames
        sample = scheduler.step(output, t, sample, **({"generator": generator} if takes else {})).prev_sample
        if k in (calls // 3, 2 * calls // 3, calls - 1):
            kept.append(sample)
    while len(kept) < 3:  # runs of one or two calls
        kept.append(sample)
    if hasattr(scheduler, "_begin_index"):
        scheduler._begin_index = None
    middle = timesteps[calls // 2]
    kept.append(scheduler.add_noise(outputs[0], outputs[1], middle[None]))
    return start, torch.stack(kept)


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "fixtures" / "schedulers")
    folder.mkdir(parents=True, exist_ok=True)
    outputs = torch.randn((60, *SHAPE), generator=torch.Generator("cpu").manual_seed(1))
    tensors = {"outputs": outputs}
    listing = []
    for label, name, config, steps in runs():
        scheduler = CLASSES[name].from_config(dict(config))
        learned = str(config.get("variance_type", "")).startswith("learned") and name == "DDPMScheduler"
        begin = 4 if label.startswith("from4") else 0
        start, kept = trajectory(scheduler, steps, begin, outputs, learned)
        key = f"{name.removesuffix('Scheduler')}.{label}"
        assert key not in tensors, key
        assert torch.isfinite(kept).all(), key
        tensors["start"] = start
        tensors[key] = kept.contiguous()
        source = next((s for s, c in {**PUBLISHED, "base": BASE}.items() if c == config), None)
        changed = {k: v for k, v in config.items() if k not in BASE or BASE[k] != v}
        listing.append(dict(
            name=key, class_name=name, steps=steps, begin=begin, learned=learned,
            config=source if source else changed,
            timesteps=[float(str(np.float32(t))) for t in scheduler.timesteps.tolist()],
            init_noise_sigma=float(scheduler.init_noise_sigma),
        ))
    save_file(tensors, str(folder / "trajectories.safetensors"))
    text = ",\n".join(json.dumps(run, separators=(",", ":")) for run in listing)
    shared = json.dumps({**PUBLISHED, "base": BASE}, separators=(",", ":"))
    (folder / "runs.json").write_text(f'{{"configs":{shared},\n"runs":[\n{text}\n]}}\n')
    print(len(listing), "runs")

    # torch's CPU noise: shapes drawn one after another from one generator
    shapes = [[1], [3], [15], [16], [17], [64], [7], [1000], [1], [1, 4, 16, 16], [5], [2, 4, 8, 9]]
    seeds = [0, 42, 2**32 - 1, 2**32 + 42, 2**63 + 12345]
    noise = {}
    for seed in seeds:
        generator = torch.Generator("cpu").manual_seed(seed if seed < 2**63 else seed - 2**64)
        drawn = [torch.randn(shape, generator=generator).flatten() for shape in shapes]
        # all small draws, but of large ones only both ends: enough to see a shift
        noise[f"seed{seed}"] = torch.cat([d if d.numel() <= 64 else torch.cat([d[:40], d[-40:]]) for d in drawn])
    big = torch.randn([1, 4, 64, 64], generator=torch.Generator("cpu").manual_seed(42))
    noise["latents64"] = big.flatten()[::37].contiguous()
    save_file(noise, str(folder / "noise.safetensors"))
    for file in folder.glob("*.safetensors"):
        file.chmod(0o644)
    (folder / "noise.json").write_text(json.dumps(dict(shapes=shapes, seeds=[str(s) for s in seeds])) + "\n")


if __name__ == "__main__":
    main()
