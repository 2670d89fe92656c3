"""Makes tests/golden/fixtures/lora: LoRA files in every layout, and what they make of tiny networks.

Needs torch==2.11.0, diffusers==0.42.1, peft==0.21.2, transformers==5.23.0, safetensors==0.8.0; run it from
anywhere:

    python tests/golden/generate/lora.py

diffusers loads and fuses each file into a U-Net and its text encoders, and the outputs of those are kept. The
weights of the files are random and exact in float16. For what diffusers does not load into these models
(LoHa, LoKr, Tucker cores), PEFT or plain convolutions stand in.
"""

import copy
import json
from pathlib import Path

import peft
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin, StableDiffusionXLLoraLoaderMixin
from safetensors.torch import save_file
from seeded import begin, reseed, save_model, save_tensors, save_weights
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

assert peft.__version__ == "0.21.2", f"peft {peft.__version__}, expected 0.21.2"

OUT = Path(__file__).parent.parent / "fixtures" / "lora"

UNETS = {
    # convolutions around the attention, a level without attention
    "sd1": {
        "sample_size": 8,
        "block_out_channels": [4, 8],
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
        "layers_per_block": 1,
        "norm_num_groups": 2,
        "cross_attention_dim": 6,
        "attention_head_dim": 2,
    },
    # linear layers around the attention, transformers of two blocks, pooled text
    "sdxl": {
        "sample_size": 8,
        "block_out_channels": [4, 8],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "layers_per_block": 1,
        "transformer_layers_per_block": [1, 2],
        "norm_num_groups": 2,
        "cross_attention_dim": 12,
        "attention_head_dim": [1, 4],
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": 10 + 6 * 4,
    },
}

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
CONVOLUTIONS = ["conv1", "conv2", "conv_shortcut", "time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv",
                "conv_in", "conv_out", "time_embedding.linear_1", "time_embedding.linear_2"]
ADDED = ["add_embedding.linear_1", "add_embedding.linear_2"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]


class Loader1(StableDiffusionLoraLoaderMixin):
    pass


class LoaderXL(StableDiffusionXLLoraLoaderMixin):
    pass


def text_config(**changes):
    keys = dict(vocab_size=24, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2,
                max_position_embeddings=6, projection_dim=10, bos_token_id=22, eos_token_id=23, pad_token_id=23)
    return CLIPTextConfig(**{**keys, **changes})


class Base:
    """A U-Net, its text encoders and the inputs of all."""

    def __init__(self, name, generator):
        self.name = name
        self.unet = reseed(UNet2DConditionModel(**UNETS[name]), generator)
        self.texts = {"text_encoder": reseed(CLIPTextModel(text_config()), generator)}
        if name == "sdxl":
            second = CLIPTextModelWithProjection(text_config(hidden_act="gelu"))
            self.texts["text_encoder_2"] = reseed(second, generator)
        width = self.unet.config.cross_attention_dim
        self.inputs = {
            "sample": torch.randn(2, 4, 4, 6, generator=generator),
            "timesteps": torch.tensor([31.0, 700.0]),
            "text": torch.randn(2, 5, width, generator=generator),
            "ids": torch.tensor([[22, 3, 9, 11, 23, 23], [22, 17, 0, 5, 1, 23]]),
        }
        if name == "sdxl":
            self.inputs["text_embeds"] = torch.randn(2, 10, generator=generator)
            self.inputs["time_ids"] = torch.tensor([[64.0, 48, 3, 5, 64, 64], [512, 512, 0, 0, 32, 64]])

    def save(self, folder):
        save_model(self.unet, folder / "unet")
        for name, model in self.texts.items():
            model.config.save_pretrained(folder / name)
            save_weights(model.state_dict(), folder / name / "model.safetensors")
        save_tensors(self.inputs, folder / "inputs.safetensors")

    def loader(self):
        """A copy of the networks, as diffusers' loaders want to see them."""
        loader = Loader1() if self.name == "sd1" else LoaderXL()
        loader.unet = copy.deepcopy(self.unet)
        loader.hf_device_map = None
        for name, model in self.texts.items():
            setattr(loader, name, copy.deepcopy(model))
        loader.components = {"unet": loader.unet, **{name: getattr(loader, name) for name in self.texts}}
        return loader

    def outputs(self, networks):
        inputs = self.inputs
        added = {key: inputs[key] for key in ("text_embeds", "time_ids") if key in inputs}
        unet = networks.unet(inputs["sample"], inputs["timesteps"], inputs["text"], added_cond_kwargs=added or None)
        found = {"unet": unet.sample}
        for name in self.texts:
            found[name] = getattr(networks, name)(inputs["ids"]).last_hidden_state
        return found

    def layers(self, part, ends):
        """Names of the layers of a network whose names end in one of `ends`, with their weights."""
        network = self.unet if part == "unet" else self.texts[part]
        return {
            name: module.weight
            for name, module in network.named_modules()
            if any(name == end or name.endswith(f".{end}") for end in ends) and hasattr(module, "weight")
        }


def pair(weight, rank, generator):
    """Down and up of a layer: a convolution's down has its kernel, its up is 1 × 1."""
    out, inner = weight.shape[0], weight.shape[1:]
    down = torch.randn(rank, *inner, generator=generator) / inner.numel() ** 0.5
    up = torch.randn(out, rank, *[1] * (weight.dim() - 2), generator=generator) / rank**0.5
    return down.half(), up.half()


def text_name(layer):
    """transformers 5 leaves out the `text_model.` that files hold."""
    return layer if layer.startswith(("text_model.", "text_projection")) else f"text_model.{layer}"


def original_name(layer, per_block=1):
    """The name of a U-Net's layer in the original SDXL (`input_blocks.4.1.…`), with this many layers a level."""
    words = layer.split(".")
    inner = {"conv1": "in_layers.2", "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1",
             "conv_shortcut": "skip_connection"}
    rest = lambda n: ".".join(inner.get(word, word) if words[n - 2] == "resnets" else word for word in words[n:])
    if words[0] == "down_blocks":
        number = 1 + int(words[1]) * (per_block + 1)
        if words[2] == "downsamplers":
            return f"input_blocks.{number + per_block}.0.op"
        return f"input_blocks.{number + int(words[3])}.{int(words[2] == 'attentions')}.{rest(4)}"
    if words[0] == "mid_block":
        return f"middle_block.{1 if words[1] == 'attentions' else 2 * int(words[2])}.{rest(3)}"
    if words[0] == "up_blocks":
        number = int(words[1]) * (per_block + 1)
        if words[2] == "upsamplers":
            return f"output_blocks.{number + per_block}.2.conv"
        return f"output_blocks.{number + int(words[3])}.{int(words[2] == 'attentions')}.{rest(4)}"
    return {"conv_in": "input_blocks.0.0", "conv_out": "out.2", "time_embedding.linear_1": "time_embed.0",
            "time_embedding.linear_2": "time_embed.2", "add_embedding.linear_1": "label_emb.0.0",
            "add_embedding.linear_2": "label_emb.0.2"}[layer]


def kohya(base, generator, ends, text_ends, rank, alpha, name=lambda layer: layer):
    """`lora_unet_…` and `lora_te…_`, with one alpha for all. (diffusers loads the attention of a text encoder only
    if its output projection is among the layers.)"""
    single = base.name == "sd1"
    prefixes = {"unet": "lora_unet_", "text_encoder": "lora_te_" if single else "lora_te1_",
                "text_encoder_2": "lora_te2_"}
    tensors = {}
    for part in ["unet", *base.texts]:
        for layer, weight in base.layers(part, ends if part == "unet" else text_ends).items():
            layer = name(layer) if part == "unet" else text_name(layer)
            key = prefixes[part] + layer.replace(".", "_")
            tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"] = pair(weight, rank, generator)
            tensors[f"{key}.alpha"] = torch.tensor(alpha)
    return tensors


def processors(base, generator, rank):
    """The first layout of diffusers: the attention processors own the LoRA, text encoders have the same."""
    tensors = {}
    for layer, weight in base.layers("unet", ATTENTION).items():
        stem, name = layer.removesuffix(".0").rsplit(".", 1)
        down, up = pair(weight, rank, generator)
        tensors[f"unet.{stem}.processor.{name}_lora.down.weight"] = down
        tensors[f"unet.{stem}.processor.{name}_lora.up.weight"] = up
    old = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}
    for layer, weight in base.layers("text_encoder", list(old)).items():
        stem, name = layer.rsplit(".", 1)
        down, up = pair(weight, rank, generator)
        tensors[f"text_encoder.{text_name(stem)}.{old[name]}_lora.down.weight"] = down
        tensors[f"text_encoder.{text_name(stem)}.{old[name]}_lora.up.weight"] = up
    return tensors


def linear_layers(base, generator, rank):
    """The second layout of diffusers: `lora.down` in the U-Net, `lora_linear_layer.down` in text encoders."""
    tensors = {}
    for part, ends, word in [("unet", ATTENTION, "lora"), *((name, TEXT, "lora_linear_layer") for name in base.texts)]:
        for layer, weight in base.layers(part, ends).items():
            layer = layer if part == "unet" else text_name(layer)
            down, up = pair(weight, rank, generator)
            tensors[f"{part}.{layer}.{word}.down.weight"] = down
            tensors[f"{part}.{layer}.{word}.up.weight"] = up
    return tensors


def with_peft(base, path, generator, dora=False):
    """As PEFT makes it and diffusers saves it, with the scales in the metadata."""
    loader = base.loader()
    targets = ["to_v", "proj_in", "conv2"] if dora else ["to_q", "to_k", "proj_out", "ff.net.2", "conv1", "conv_in"]
    keys = dict(r=3, lora_alpha=5, target_modules=targets, use_dora=dora)
    if not dora:
        keys.update(rank_pattern={"ff.net.2": 2}, alpha_pattern={"attn2.to_q": 1, "ff.net.2": 4})
    loader.unet.add_adapter(peft.LoraConfig(**keys))
    text = peft.LoraConfig(r=2, lora_alpha=3, target_modules=["k_proj", "fc1"], use_rslora=not dora)
    loader.text_encoder.add_adapter(text)
    for network in (loader.unet, loader.text_encoder):
        for key, parameter in sorted(network.named_parameters()):
            if "lora_magnitude" in key:
                noise = 1 + 0.3 * torch.randn(parameter.shape, generator=generator)
                parameter.copy_((parameter * noise).half())
            elif "lora_" in key:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_((noise / parameter[0].numel() ** 0.5).half())
    unet, text = (peft.get_peft_model_state_dict(network) for network in (loader.unet, loader.text_encoder))
    text = {text_name(key): tensor for key, tensor in text.items()}
    metadata = {f"{part}.{key}": value
                for part, network in [("unet", loader.unet), ("text_encoder", loader.text_encoder)]
                for key, value in network.peft_config["default"].to_dict().items()}
    said = ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "fan_in_fan_out")
    metadata = {key: value for key, value in metadata.items() if key.split(".")[-1] in said + ("target_modules",)}
    metadata = {key: sorted(value) if isinstance(value, set) else value for key, value in metadata.items()}
    tensors = {**{f"unet.{k}": t for k, t in unet.items()}, **{f"text_encoder.{k}": t for k, t in text.items()}}
    tensors = {key: tensor.half().contiguous() for key, tensor in tensors.items()}
    # One key: safetensors writes several in any order.
    header = {"lora_adapter_metadata": json.dumps(metadata, default=str)}
    save_file(tensors, path, metadata=header)
    path.chmod(0o644)


def fused(base, files, weights):
    """The outputs with these files fused by diffusers."""
    loader = base.loader()
    names = []
    for number, file in enumerate(files):
        names.append(f"lora{number}")
        loader.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=names[-1])
    loader.set_adapters(names, weights)
    loader.fuse_lora(components=list(loader.components), adapter_names=names)
    return base.outputs(loader)


def by_peft(base, config, tuner, generator, path, prefix):
    """LoHa and LoKr: PEFT makes them and merges them into a U-Net; the file holds them as LyCORIS does."""
    networks = base.loader()
    model = tuner(networks.unet, config, "default")
    tensors = {}
    for key, parameter in sorted(model.named_parameters()):
        if prefix not in key:
            continue
        fan = parameter[0].numel() if parameter.dim() > 1 else 1
        parameter.copy_((torch.randn(parameter.shape, generator=generator) / fan**0.5).half())
        layer, part, _ = key.removeprefix("model.").rsplit(".", 2)
        layer = "lora_unet_" + layer.replace(".", "_")
        tensors[f"{layer}.{part}"] = parameter.detach().half()
        tensors[f"{layer}.alpha"] = torch.tensor(float(config.alpha))
    for key in [key for key in tensors if key.endswith(".lokr_w1")]:
        # LyCORIS gives two whole factors no scale, PEFT does.
        if key.replace("w1", "w2") in tensors:
            tensors[key] = tensors[key] * (config.alpha / config.r)
    assert prefix == "hada_" or {"lokr_w2", "lokr_w2_a", "lokr_t2"} <= {key.split(".")[-1] for key in tensors}
    save_tensors(tensors, path)
    networks.unet = model.merge_and_unload()
    return base.outputs(networks)


def with_core(base, generator, path):
    """LoCon in Tucker form: three convolutions one after the other, beside a layer's own."""
    rank, alpha, tensors = 2, 3.0, {}
    networks = base.loader()
    modules = dict(networks.unet.named_modules())
    for layer, weight in base.layers("unet", ["conv1", "conv2"]).items():
        out, inputs, height, width = weight.shape
        down = torch.randn(rank, inputs, 1, 1, generator=generator) / inputs**0.5
        mid = torch.randn(rank, rank, height, width, generator=generator) / (rank * height * width) ** 0.5
        up = torch.randn(out, rank, 1, 1, generator=generator) / rank**0.5
        key = "lora_unet_" + layer.replace(".", "_")
        parts = {"lora_down": down.half(), "lora_mid": mid.half(), "lora_up": up.half()}
        tensors.update({f"{key}.{name}.weight": tensor for name, tensor in parts.items()})
        tensors[f"{key}.alpha"] = torch.tensor(alpha)
        down, mid, up = (tensor.float() for tensor in parts.values())
        beside = lambda _, x, y, d=down[0], parts=(down, mid, up): y + alpha / rank * F.conv2d(
            F.conv2d(F.conv2d(x[0], parts[0]), parts[1], padding=1), parts[2])
        modules[layer].register_forward_hook(beside)
    save_tensors(tensors, path)
    return base.outputs(networks)


def main():
    generator = begin(OUT)
    outputs = {}

    def keep(case, found):
        """All outputs of the case, but those of text encoders only where they differ."""
        for part, tensor in found.items():
            plain = outputs.get(f"{case.split('.')[0]}.plain.{part}")
            if plain is None or not torch.equal(tensor, plain):
                outputs[f"{case}.{part}"] = tensor

    sd1, sdxl = Base("sd1", generator), Base("sdxl", generator)
    for base in (sd1, sdxl):
        base.save(OUT / base.name)
        keep(f"{base.name}.plain", base.outputs(base.loader()))

    files = {
        "sd1/processors": processors(sd1, generator, 2),
        "sd1/kohya": kohya(sd1, generator, ["to_q", "to_out.0", "proj_in", "ff.net.0.proj"] + CONVOLUTIONS,
                           ["v_proj", "out_proj", "fc1"],
                           rank=3, alpha=1.5),
        "sdxl/linear_layers": linear_layers(sdxl, generator, 2),
        "sdxl/kohya": kohya(sdxl, generator, ["to_k", "proj_in", "proj_out"], ["q_proj", "out_proj", "fc2"], rank=2, alpha=4.0),
        "sdxl/original": kohya(sdxl, generator, ["to_v", "to_out.0", "proj_in", "ff.net.2"] + CONVOLUTIONS + ADDED, [],
                               rank=2, alpha=1.0, name=original_name),
    }
    for name, tensors in files.items():
        save_tensors(tensors, OUT / f"{name}.safetensors")
    with_peft(sd1, OUT / "sd1/peft.safetensors", generator)
    with_peft(sd1, OUT / "sd1/dora.safetensors", generator, dora=True)

    file = lambda name: OUT / f"{name}.safetensors"
    for name in [*files, "sd1/peft", "sd1/dora"]:
        base = sd1 if name.startswith("sd1") else sdxl
        keep(name.replace("/", "."), fused(base, [file(name)], [1.0]))
    keep("sd1.both", fused(sd1, [file("sd1/kohya"), file("sd1/peft")], [0.7, 0.4]))
    keep("sdxl.both", fused(sdxl, [file("sdxl/original"), file("sdxl/linear_layers")], [0.7, 0.4]))
    keep("sd1.dora_second", fused(sd1, [file("sd1/processors"), file("sd1/dora")], [0.7, 0.4]))

    loha = peft.LoHaConfig(r=2, alpha=3, target_modules=["to_q", "conv1", "proj_in"], use_effective_conv2d=True)
    keep("sd1.loha", by_peft(sd1, loha, peft.LoHaModel, generator, file("sd1/loha"), "hada_"))
    lokr = peft.LoKrConfig(r=1, alpha=2, target_modules=["to_k", "conv2", "ff.net.0.proj"], decompose_both=False,
                           use_effective_conv2d=True)
    keep("sd1.lokr", by_peft(sd1, lokr, peft.LoKrModel, generator, file("sd1/lokr"), "lokr_"))
    keep("sd1.core", with_core(sd1, generator, file("sd1/core")))

    for base in (sd1, sdxl):
        for key, tensor in outputs.items():
            if key.startswith(f"{base.name}.") and key.endswith(".unet") and ".plain" not in key:
                plain = outputs[f"{base.name}.plain.unet"]
                assert not torch.allclose(tensor, plain, rtol=0.05, atol=0.05), f"{key} changes nothing"
    save_tensors(outputs, OUT / "outputs.safetensors")


if __name__ == "__main__":
    main()
