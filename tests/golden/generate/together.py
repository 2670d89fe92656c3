"""Makes tests/golden/fixtures/together: what users lay over one another. A LoRA in kohya's layout with an IP-Adapter that
brings a LoRA of its own, by masks and in inpainting, on SDXL; and with IP-Adapter-Plus on SD 2.1, which predicts velocity.

Needs torch==2.11.0, diffusers==0.42.1, transformers==5.23.0, peft==0.21.2, pillow==13.0.0, safetensors==0.8.0,
numpy==2.4.6; run it from anywhere after identities.py, sd21.py and edits.py:

    python tests/golden/generate/together.py
"""

import shutil
import tempfile
from pathlib import Path

import identities
import ip_adapters
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLInpaintPipeline, StableDiffusionXLPipeline
from diffusers.image_processor import IPAdapterMaskProcessor
from identities import ENCODER, SIDE, masks
from lora import pair, text_name
from PIL import Image
from pipeline import CHECKPOINT, NEGATIVE, REQUEST
from safetensors.torch import load_file, save_file
from sd21 import PARTS
from sdxl import CHECKPOINT as SDXL
from sdxl import draw, load, look
from seeded import begin, save_json, save_tensors
from transformers import CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

FIXTURES = Path(__file__).parent.parent / "fixtures"
OUT = FIXTURES / "together"
PLUS = OUT / "ip-adapter-plus_sd21.safetensors"
PLUSV2 = identities.OUT / "plusv2_sdxl" / "ip-adapter-faceid-plusv2_sdxl.safetensors"

# name: what is drawn with, strengths of the people, of the LoRA, further changes of the request
RUNS = {
    "sd21": ("sd21", [0.8], 0.7, {"negative_prompt": NEGATIVE}),
    "sd21_two": ("sd21", [0.9, 0.6], -0.5, {"seed": 12}),
    "sdxl": ("sdxl", [0.9], 0.7, {"negative_prompt": NEGATIVE}),
    "sdxl_two": ("sdxl", [0.8, 1.1], 1.0, {"seed": 7}),
    "sdxl_masked": ("inpaint", [0.9], 0.7, {"strength": 0.7, "mask": True, "steps": 8, "negative_prompt": NEGATIVE}),
}


def kohya(pipe, generator):
    """Queries and outputs of the U-Net's attention, and of every text encoder's."""
    tensors = {}
    parts = {"lora_unet_": pipe.unet}
    second = getattr(pipe, "text_encoder_2", None)
    parts |= {"lora_te1_": pipe.text_encoder, "lora_te2_": second} if second else {"lora_te_": pipe.text_encoder}
    for prefix, model in parts.items():
        ends = (".to_q", ".to_out.0") if prefix == "lora_unet_" else (".q_proj", ".out_proj")
        for name, layer in model.named_modules():
            if name.endswith(ends):
                name = name if prefix == "lora_unet_" else text_name(name)
                key = prefix + name.replace(".", "_")
                tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"] = pair(layer.weight, 2, generator)
                tensors[f"{key}.alpha"] = torch.tensor(1.0)
    return tensors


def sd21(folder):
    """The checkpoint of sd21.py."""
    shutil.copytree(CHECKPOINT, folder, dirs_exist_ok=True)
    index = Path(folder) / "model_index.json"
    index.write_text(index.read_text().replace("PNDMScheduler", "DDIMScheduler"))
    shutil.copytree(PARTS, folder, dirs_exist_ok=True)
    return folder


def make_plus(folder, generator):
    identities.make_adapter(folder, "plus", 64, PLUS, generator)


def pipe_of(kind, folder):
    if kind == "sd21":
        pipe = load(StableDiffusionPipeline, folder)
    else:
        pipe = load(StableDiffusionXLInpaintPipeline if kind == "inpaint" else StableDiffusionXLPipeline, SDXL)
    encoder = CLIPVisionModelWithProjection.from_pretrained(ENCODER, dtype=torch.float32)
    side = encoder.config.image_size
    pipe.image_encoder, pipe.feature_extractor = encoder, CLIPImageProcessorPil(size=side, crop_size=side)
    return pipe


def people(pipe, kind, scales, pictures, faces):
    """Arguments for people by masks."""
    count, more = len(scales), {}
    if kind == "sd21":
        more["ip_adapter_image"] = [pictures[:count]]
    else:
        embeds = torch.stack([torch.zeros_like(faces[:count]), faces[:count]])  # [2, people, E]
        more["ip_adapter_image_embeds"] = [embeds]
        projection = pipe.unet.encoder_hid_proj.image_projection_layers[0]
        projection.shortcut = True
        projection.clip_embeds = pipe.prepare_ip_adapter_image_embeds([pictures[:count]], None, "cpu", 1, True)[0]
    if count > 1:
        prepared = IPAdapterMaskProcessor().preprocess([Image.fromarray(m.numpy()) for m in masks()], SIDE, SIDE)
        more["cross_attention_kwargs"] = {"ip_adapter_masks": [prepared.reshape(1, count, SIDE, SIDE)]}
    return more


def main():
    generator = begin(OUT)
    inputs = load_file(identities.OUT / "pictures.safetensors")
    pictures = [Image.fromarray(inputs[f"picture.{i}"].numpy()) for i in range(2)]
    edited = load_file(FIXTURES / "edits" / "pictures.safetensors")
    made, runs = {}, []
    with tempfile.TemporaryDirectory() as folder:
        make_plus(sd21(folder), generator)
        for base in ("sd21", "sdxl"):
            save_file(kohya(pipe_of(base, folder), generator), OUT / f"{base}.safetensors")
        for name, (kind, scales, weight, changes) in RUNS.items():
            request = {**REQUEST, **changes}
            pipe = pipe_of(kind, folder)
            adapter = PLUS if kind == "sd21" else PLUSV2
            pipe.load_ip_adapter(str(adapter.parent), subfolder="", weight_name=adapter.name, image_encoder_folder=None)
            pipe.set_ip_adapter_scale([scales] if len(scales) > 1 else scales[0])
            base = "sd21" if kind == "sd21" else "sdxl"
            pipe.load_lora_weights(OUT, weight_name=f"{base}.safetensors", adapter_name="style")
            own = [] if kind == "sd21" else ["faceid_0"]
            pipe.set_adapters([*own, "style"], [*[1.0] * len(own), weight])
            if kind == "sd21":
                # Where diffusers 0.42.1 looks for the last norm; transformers 5 has it one level up.
                object.__setattr__(pipe.text_encoder, "text_model", pipe.text_encoder)
            more = people(pipe, kind, scales, pictures, inputs["faces"])
            if kind == "inpaint":
                picture, mask = (Image.fromarray(edited[key].numpy()) for key in ("picture", "mask"))
                more |= {"image": picture, "mask_image": mask, "strength": request["strength"]}
                more |= {"width": picture.width, "height": picture.height}
            look(name, draw(pipe, request, **more), made)
            file = str(adapter.relative_to(FIXTURES))
            lora = {"lora": f"{base}.safetensors", "lora_weight": weight}
            runs.append({"name": name, "adapter_file": file, "scales": scales, **lora, **request})
    save_tensors({**made, "picture": edited["picture"], "mask": edited["mask"]}, OUT / "pictures.safetensors")
    save_json(runs, OUT / "runs.json")
    for path in OUT.rglob("*"):
        path.chmod(0o644)


if __name__ == "__main__":
    main()
