"""Makes tests/golden/fixtures/sd21: what of a tiny Stable Diffusion 2.1 checkpoint is not as in
fixtures/pipeline/checkpoint, and the pictures that diffusers' StableDiffusionPipeline draws with both together.

Needs torch==2.11.0, diffusers==0.42.1, transformers==5.23.0, safetensors==0.8.0, numpy==2.4.6; run it from
anywhere after pipeline.py:

    python tests/golden/generate/sd21.py
"""

import shutil
import tempfile
from pathlib import Path

from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from pipeline import CHECKPOINT, LENGTH, NEGATIVE, REQUEST
from sdxl import SCHEDULERS, draw, load, look, set_scheduler, text_config
from seeded import begin, reseed, save_json, save_model, save_tensors, save_weights
from transformers import CLIPTextModel, CLIPTokenizer

FIXTURES = Path(__file__).parent.parent / "fixtures"
OUT = FIXTURES / "sd21"
# Laid over the other checkpoint.
PARTS = OUT / "parts"
WIDTH = 12

RUNS = {
    "default": {"negative_prompt": NEGATIVE},
    "no_negative": {},
    "clip_skip": {"clip_skip": 2, "negative_prompt": NEGATIVE},
    "karras": {"scheduler": "dpm++2m-karras"},
    "several": {"count": 2, "seed": 5, "steps": 4},
}


def make_parts(generator):
    tokenizer = CLIPTokenizer.from_pretrained(
        FIXTURES / "tokenizer" / "base", model_max_length=LENGTH, pad_token="!"
    )
    # OpenCLIP's last layer but one is the last of this encoder: the published one has 23 of 24 layers.
    text_encoder = reseed(CLIPTextModel(text_config(WIDTH, tokenizer, hidden_act="gelu")), generator)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=[4, 8],
        down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=WIDTH,
        attention_head_dim=[2, 4],
        use_linear_projection=True,
    )
    reseed(unet, generator)
    for key, parameter in unet.named_parameters():
        if "attn2.to_v" in key or "attn2.to_out.0.weight" in key:
            parameter.mul_(2).copy_(parameter.half())
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
    )
    tokenizer.save_pretrained(PARTS / "tokenizer")
    scheduler.save_pretrained(PARTS / "scheduler")
    save_model(unet, PARTS / "unet")
    text_encoder.config.architectures = ["CLIPTextModel"]
    text_encoder.config.save_pretrained(PARTS / "text_encoder")
    save_weights(text_encoder.state_dict(), PARTS / "text_encoder" / "model.safetensors")


def main():
    make_parts(begin(OUT))
    pictures, runs = {}, []
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(CHECKPOINT, folder, dirs_exist_ok=True)
        index = Path(folder) / "model_index.json"
        index.write_text(index.read_text().replace("PNDMScheduler", "DDIMScheduler"))
        shutil.copytree(PARTS, folder, dirs_exist_ok=True)
        for name, changes in RUNS.items():
            request = {**REQUEST, **changes}
            pipe = load(StableDiffusionPipeline, folder)
            # Where diffusers 0.42.1 looks for the last norm; transformers 5 has it one level up.
            object.__setattr__(pipe.text_encoder, "text_model", pipe.text_encoder)
            set_scheduler(pipe, request, SCHEDULERS)
            look(name, draw(pipe, request), pictures)
            runs.append({"name": name, **request})
    save_tensors(pictures, OUT / "pictures.safetensors")
    save_json(runs, OUT / "runs.json")


if __name__ == "__main__":
    main()
