"""Makes tests/golden/fixtures/identities: adapters for the tiny checkpoints of pipeline.py and sdxl.py, and the whole
pictures that diffusers' pipelines draw with them: of one person by every kind of adapter, of two people by masks, with
InstantID and with PhotoMaker.

Needs torch==2.11.0, diffusers==0.42.1, transformers==5.23.0, peft==0.21.2, pillow==13.0.0, safetensors==0.8.0,
numpy==2.4.6, and OpenCV for the drawing; run it from anywhere after those two and ip_adapters.py:

    python tests/golden/generate/identities.py
"""

from pathlib import Path

import ip_adapters
import numpy
import photomaker
import torch
import torch.nn.functional as F
from diffusers import (
    ControlNetModel,
    StableDiffusionPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLPipeline,
)
from diffusers.image_processor import IPAdapterMaskProcessor
from ip_adapters import FACE, attention, image_proj, seeded
from key_point_image import FACE as FACE_POINTS
from key_point_image import draw as draw_points
from PIL import Image
from pipeline import CHECKPOINT as SD
from pipeline import NEGATIVE, REQUEST
from sdxl import CHECKPOINT as SDXL
from sdxl import draw, load, look
from seeded import begin, reseed, save_json, save_model, save_tensors, save_weights
from transformers import CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

FIXTURES = Path(__file__).parent.parent / "fixtures"
OUT = FIXTURES / "identities"
ENCODER = FIXTURES / "ip_adapters" / "image_encoder"
SIDE = 32

# name: (checkpoint, kind, file, width of the resampler's heads)
ADAPTERS = {
    "faceid": (SD, "faceid", "ip-adapter-faceid_sd15.bin", 0),
    "plusv2": (SD, "faceid-plus", "ip-adapter-faceid-plusv2_sd15.safetensors", 64),
    "plus-face": (SD, "plus", "ip-adapter-plus-face_sd15.safetensors", 64),
    "instantid": (SDXL, "instantid", "ip-adapter.bin", 64),
}

# Made after all others, so that what is drawn at random for those stays as it is.
MORE_ADAPTERS = {
    "plain": (SD, "plain", "ip-adapter_sd15.bin", 0),
    "full-face": (SD, "full-face", "ip-adapter-full-face_sd15.safetensors", 0),
    "faceid-plus": (SD, "faceid-plus", "ip-adapter-faceid-plus_sd15.bin", 64),
    "portrait": (SD, "portrait", "ip-adapter-faceid-portrait_sd15.bin", 0),
    "plain_sdxl": (SDXL, "plain", "ip-adapter_sdxl.safetensors", 0),
    "plus-face_sdxl": (SDXL, "plus", "ip-adapter-plus-face_sdxl_vit-h.safetensors", 64),
    "faceid_sdxl": (SDXL, "faceid", "ip-adapter-faceid_sdxl.bin", 0),
    "faceid-plus_sdxl": (SDXL, "faceid-plus", "ip-adapter-faceid-plus_sdxl.bin", 64),
    "plusv2_sdxl": (SDXL, "faceid-plus", "ip-adapter-faceid-plusv2_sdxl.safetensors", 64),
    "portrait_sdxl": (SDXL, "portrait", "ip-adapter-faceid-portrait_sdxl.bin", 0),
}

# name: adapter, strengths of the people, further changes of the request
RUNS = {
    "faceid": ("faceid", [0.9], {}),
    "plusv2": ("plusv2", [0.8], {"negative_prompt": NEGATIVE}),
    "plusv2_unguided": ("plusv2", [1.0], {"guidance_scale": 1.0, "seed": 3}),
    "plus-face": ("plus-face", [0.7], {}),
    "two_faceid": ("faceid", [1.0, 0.6], {"seed": 5}),
    "two_plus-face": ("plus-face", [0.9, 1.1], {"negative_prompt": NEGATIVE}),
    "instantid": ("instantid", [0.8], {"negative_prompt": NEGATIVE}),
    "instantid_strong": ("instantid", [1.2], {"seed": 8, "guidance_scale": 3.0}),
    "instantid_two": ("instantid", [0.8, 1.1], {"seed": 6}),
}
MORE_RUNS = {name: (name, [0.9], {"negative_prompt": NEGATIVE}) for name in MORE_ADAPTERS}
MORE_RUNS["two_faceid_sdxl"] = ("faceid_sdxl", [1.0, 0.6], {"seed": 5})
MORE_RUNS["two_plusv2_sdxl"] = ("plusv2_sdxl", [0.8, 1.1], {"seed": 7, "negative_prompt": NEGATIVE})


def make_adapter(folder, kind, inner, path, generator):
    """A file in the published layout for this checkpoint's U-Net."""
    unet = ip_adapters.UNet2DConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=torch.float32)
    ip_adapters.CROSS = unet.config.cross_attention_dim
    parts = {
        "image_proj": seeded(image_proj(kind, inner), generator),
        "ip_adapter": seeded(attention(unet, kind.startswith("faceid")), generator),
    }
    # The person must be seen.
    for key, value in parts["ip_adapter"].items():
        if "to_v_ip" in key:
            value.mul_(2)
    if path.suffix == ".bin":
        torch.save(parts, path)
        path.chmod(0o644)
    else:
        flat = {f"{part}.{key}": value for part, weights in parts.items() for key, value in weights.items()}
        save_weights(flat, path)


def make_identity_net(generator):
    """A ControlNet as wide as the SDXL checkpoint's U-Net, that takes pictures of its autoencoder's scale."""
    unet = ip_adapters.UNet2DConditionModel.from_pretrained(SDXL, subfolder="unet", torch_dtype=torch.float32)
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=[2, 4, 6], load_weights_from_unet=False)
    reseed(net, generator)
    save_model(net, OUT / "instantid" / "ControlNetModel")
    return net


def masks():
    """The person on the left, and the one on the right and below."""
    left = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
    left[:, : SIDE // 2] = 255
    right = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
    right[6:, SIDE // 2 :] = 255
    return torch.stack([left, right])


def path_of(name):
    return OUT / name / (ADAPTERS | MORE_ADAPTERS)[name][2]


def with_adapter(pipe, name, scales):
    path = path_of(name)
    pipe.load_ip_adapter(str(path.parent), subfolder="", weight_name=path.name, image_encoder_folder=None)
    pipe.set_ip_adapter_scale([scales] if len(scales) > 1 else scales[0])
    return pipe.unet.encoder_hid_proj.image_projection_layers[0]


def draw_people(name, request, scales, pictures, faces):
    folder, kind, _, _ = (ADAPTERS | MORE_ADAPTERS)[name]
    encoder = CLIPVisionModelWithProjection.from_pretrained(ENCODER, dtype=torch.float32)
    side = encoder.config.image_size
    pipe = load(StableDiffusionXLPipeline if folder == SDXL else StableDiffusionPipeline, folder)
    pipe.image_encoder, pipe.feature_extractor = encoder, CLIPImageProcessorPil(size=side, crop_size=side)
    projection = with_adapter(pipe, name, scales)
    people, guided = len(scales), request["guidance_scale"] > 1
    embeds = torch.stack([torch.zeros_like(faces[:people]), faces[:people]])  # [2, people, E]
    more = {}
    if kind in ("plain", "plus", "full-face"):
        more["ip_adapter_image"] = [pictures[:people]]
    else:
        more["ip_adapter_image_embeds"] = [embeds if guided else embeds[1:]]
    if kind == "faceid-plus":
        projection.shortcut = "plusv2" in name
        projection.clip_embeds = pipe.prepare_ip_adapter_image_embeds([pictures[:people]], None, "cpu", 1, guided)[0]
    if people > 1:
        prepared = IPAdapterMaskProcessor().preprocess([Image.fromarray(m.numpy()) for m in masks()], SIDE, SIDE)
        more["cross_attention_kwargs"] = {"ip_adapter_masks": [prepared.reshape(1, people, SIDE, SIDE)]}
    return draw(pipe, request, **more)


def draw_instant_id(request, scales, net, points, raw):
    """InstantID as its authors run it: the ControlNet reads the face's tokens where others read the text. It runs for
    each of several people, with the face's own key points, and its features count where the person's mask is."""
    pipe = load(StableDiffusionXLControlNetPipeline, SDXL, controlnet=net)
    projection = with_adapter(pipe, "instantid", scales)
    people = len(scales)
    embeds = torch.stack([torch.zeros_like(raw), raw])  # [2, people, E]
    drawings = [Image.fromarray(draw_points(p, SIDE, SIDE)) for p in points]
    shown = [pipe.control_image_processor.preprocess(drawing, height=SIDE, width=SIDE) for drawing in drawings]
    # [people, 1, SIDE, SIDE]
    regions = (masks() / 255).unsqueeze(1) if people > 1 else torch.ones(1, 1, SIDE, SIDE)
    plain = type(net).forward

    def each(sample, timestep, encoder_hidden_states, controlnet_cond, conditioning_scale, **named):
        downs, mids = [], []
        for person, scale in enumerate(scales):
            tokens = projection(embeds[:, person : person + 1])  # [2, T, C]
            named["return_dict"] = False
            down, mid = plain(net, sample, timestep, tokens, shown[person], scale, **named)
            cut = lambda x: x * F.interpolate(regions[person : person + 1], x.shape[2:], mode="area")
            downs.append([cut(x) for x in down])
            mids.append(cut(mid))
        return [sum(parts) for parts in zip(*downs)], sum(mids)

    net.forward = each
    more = {}
    if people > 1:
        prepared = IPAdapterMaskProcessor().preprocess([Image.fromarray(m.numpy()) for m in masks()], SIDE, SIDE)
        more["cross_attention_kwargs"] = {"ip_adapter_masks": [prepared.reshape(1, people, SIDE, SIDE)]}
    return draw(pipe, request, image=drawings[0], ip_adapter_image_embeds=[embeds.unsqueeze(2)], **more)


def make_photo_maker(version, generator):
    """A PhotoMaker file for the SDXL checkpoint, and the reference for what is in it."""
    photomaker.WIDTH, photomaker.SECOND, photomaker.HEADS, photomaker.DEPTH = 20, 14, 1, 1
    photomaker.LORA_BASE = SDXL / "unet" / "diffusion_pytorch_model.safetensors"
    encoder = reseed(photomaker.Encoder(version), generator)
    weights = {key: tensor.half().clone() for key, tensor in encoder.state_dict().items()}
    lora = photomaker.lora(generator)
    path = OUT / "photomaker" / f"photomaker-v{version}.bin"
    torch.save({"id_encoder": weights, "lora_weights": lora}, path)
    path.chmod(0o644)
    return encoder, lora


def trigger_ids(tokenizer, prompt, count):
    """Ids of the prompt with the word before the trigger in `count` places, and the place of the first; the trigger
    is a token of its own."""
    before, after = prompt.split(photomaker.TRIGGER)
    plain = lambda text: tokenizer(text, add_special_tokens=False).input_ids
    before, after = plain(before), plain(after)
    ids = [tokenizer.bos_token_id, *before, *before[-1:] * (count - 1), *after, tokenizer.eos_token_id]
    assert len(ids) <= tokenizer.model_max_length
    return ids + [tokenizer.pad_token_id] * (tokenizer.model_max_length - len(ids)), len(before)


def draw_photo_maker(request, encoder, lora, pictures, embeddings):
    """PhotoMaker as its authors run it: the first fifth of the steps hears the text alone."""
    pipe = load(StableDiffusionXLPipeline, SDXL)
    pipe.load_lora_weights(dict(lora), adapter_name="photomaker")
    side = photomaker.VISION["image_size"]
    processor = CLIPImageProcessorPil(size=side, crop_size=side)
    pixels = processor(pictures, return_tensors="pt").pixel_values
    count = len(pictures) * (1 if embeddings is None else photomaker.TOKENS)
    states = []
    for tokenizer, model in ((pipe.tokenizer, pipe.text_encoder), (pipe.tokenizer_2, pipe.text_encoder_2)):
        ids, first = trigger_ids(tokenizer, request["prompt"], count)
        output = model(torch.tensor([ids]), output_hidden_states=True)
        states.append(output.hidden_states[-2])
    mask = torch.zeros(1, len(ids), dtype=torch.bool)
    mask[:, first : first + count] = True
    person = encoder(pixels, torch.cat(states, dim=-1), mask, embeddings)
    text = request["prompt"].replace(f"{photomaker.TRIGGER}", "")
    _, negative, _, negative_pooled = pipe.encode_prompt(
        text, negative_prompt=request["negative_prompt"] or None, do_classifier_free_guidance=True
    )
    last_without = int(0.2 * request["steps"])

    def hear(pipe, step, timestep, tensors):
        if step < last_without:
            return {}
        embeds = {"prompt_embeds": torch.cat([negative, person])}
        return embeds | {"add_text_embeds": torch.cat([negative_pooled, output.text_embeds])}

    more = {"callback_on_step_end": hear, "callback_on_step_end_tensor_inputs": ["prompt_embeds", "add_text_embeds"]}
    return draw(pipe, {**request, "prompt": text}, **more)


def main():
    generator = begin(OUT)
    for name, (folder, kind, file, inner) in ADAPTERS.items():
        (OUT / name).mkdir()
        make_adapter(folder, kind, inner, OUT / name / file, generator)
    net = make_identity_net(generator)
    sizes = [(30, 21, 3), (17, 40, 3)]
    pixels = [torch.randint(0, 256, size, generator=generator, dtype=torch.uint8) for size in sizes]
    pictures = [Image.fromarray(p.numpy()) for p in pixels]
    faces = F.normalize(torch.randn(2, FACE, generator=generator), dim=-1)
    raw = torch.randn(1, 512, generator=generator) * 0.9
    points = FACE_POINTS * 0.12 + torch.tensor([6.5, 4.25]).numpy()
    # A second person, out of the first: what is drawn at random stays as it is.
    raws, all_points = torch.cat([raw, raw.flip(-1)]), [points, points + torch.tensor([9.0, 5.5]).numpy()]
    made, runs = {}, []
    for name, (adapter, scales, changes) in RUNS.items():
        request = {**REQUEST, **changes}
        if adapter == "instantid":
            people = len(scales)
            picture = draw_instant_id(request, scales, net, all_points[:people], raws[:people])
        else:
            picture = draw_people(adapter, request, scales, pictures, faces)
        look(name, picture, made)
        path = path_of(adapter).relative_to(OUT)
        runs.append({"name": name, "adapter_file": str(path), "scales": scales, **request})
    (OUT / "photomaker").mkdir()
    vision = {"model_type": "clip_vision_model", "architectures": ["CLIPVisionModelWithProjection"]}
    save_json(vision | photomaker.VISION, OUT / "photomaker" / "config.json")
    for version in (1, 2):
        encoder, lora = make_photo_maker(version, generator)
        embeddings = 4 * faces if version == 2 else None
        prompt = "a portrait of a smiling woman img, red hair"
        for people, changes in ((1, {"negative_prompt": NEGATIVE}), (2, {"seed": 4})):
            request = {**REQUEST, "steps": 6, "prompt": prompt, **changes}
            some = None if embeddings is None else embeddings[:people]
            name = f"photomaker-v{version}.{people}"
            look(name, draw_photo_maker(request, encoder, lora, pictures[:people], some), made)
            path = f"photomaker/photomaker-v{version}.bin"
            runs.append({"name": name, "adapter_file": path, "scales": [1.0], "references": people, **request})
    for name, (folder, kind, file, inner) in MORE_ADAPTERS.items():
        (OUT / name).mkdir()
        make_adapter(folder, kind, inner, OUT / name / file, generator)
    for name, (adapter, scales, changes) in MORE_RUNS.items():
        request = {**REQUEST, **changes}
        look(name, draw_people(adapter, request, scales, pictures, faces), made)
        path = path_of(adapter).relative_to(OUT)
        runs.append({"name": name, "adapter_file": str(path), "scales": scales, **request})
    inputs = {"picture.0": pixels[0], "picture.1": pixels[1], "faces": faces, "raw": raws, "masks": masks()}
    save_tensors({**made, **inputs, "points": torch.tensor(numpy.stack(all_points))}, OUT / "pictures.safetensors")
    save_json(runs, OUT / "runs.json")


if __name__ == "__main__":
    main()
