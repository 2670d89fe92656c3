"""Makes tests/golden/fixtures/instant_id: a tiny InstantID (U-Net, IdentityNet and `ip-adapter.bin` in the
published layouts) and one guided step of it.

Needs torch==2.11.0, diffusers==0.42.1, transformers==5.23.0, safetensors==0.8.0, and OpenCV for the drawing;
run it from anywhere:

    python tests/golden/generate/instant_id.py
"""

from pathlib import Path

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from key_point_image import FACE, draw
from regions import attach, published
from seeded import begin, reseed, save_json, save_model, save_tensors

OUT = Path(__file__).parent.parent / "fixtures" / "instant_id"
EMBEDDING, DIM, DEPTH, QUERIES, HEAD = 512, 16, 4, 4, 64
HEIGHT, WIDTH = 9, 8

NETWORK = {
    "block_out_channels": [4, 6],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "cross_attention_dim": 6,
    "transformer_layers_per_block": [1, 2],
    "attention_head_dim": [1, 3],
    "use_linear_projection": True,
    "upcast_attention": None,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 8 + 6 * 4,
}


def resampler(outputs, generator):
    """The resampler's tensors under the published names."""
    shapes = {
        "latents": (1, QUERIES, DIM),
        "proj_in.weight": (DIM, EMBEDDING),
        "proj_in.bias": (DIM,),
        "proj_out.weight": (outputs, DIM),
        "proj_out.bias": (outputs,),
        "norm_out.weight": (outputs,),
        "norm_out.bias": (outputs,),
    }
    for i in range(DEPTH):
        attention, feed_forward = f"layers.{i}.0", f"layers.{i}.1"
        for norm in (f"{attention}.norm1", f"{attention}.norm2", f"{feed_forward}.0"):
            shapes[f"{norm}.weight"] = shapes[f"{norm}.bias"] = (DIM,)
        shapes[f"{attention}.to_q.weight"] = (HEAD, DIM)
        shapes[f"{attention}.to_kv.weight"] = (2 * HEAD, DIM)
        shapes[f"{attention}.to_out.weight"] = (DIM, HEAD)
        shapes[f"{feed_forward}.1.weight"] = (4 * DIM, DIM)
        shapes[f"{feed_forward}.3.weight"] = (DIM, 4 * DIM)
    tensors = {}
    for key, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        tensors[key] = (noise / shape[-1] ** 0.5 if len(shape) > 1 else 0.3 * noise).half()
        if key.endswith("weight") and len(shape) == 1:
            tensors[key] = tensors[key] + 1
    return tensors


def main():
    generator = begin(OUT)
    unet = UNet2DConditionModel(sample_size=8, up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"], **NETWORK)
    reseed(unet, generator)
    identity_net = ControlNetModel(conditioning_embedding_out_channels=[2, 4, 4, 6], **NETWORK)
    reseed(identity_net, generator)
    save_model(unet, OUT / "unet")
    save_model(identity_net, OUT / "ControlNetModel")

    image_proj = resampler(NETWORK["cross_attention_dim"], generator)
    # diffusers' own reading of the published layout
    project = unet._convert_ip_adapter_image_proj_to_diffusers(
        {key: tensor.float() for key, tensor in image_proj.items()}
    ).float()
    processors = attach(unet)
    cross = [p for p in processors.values() if hasattr(p, "to_k_ip")]
    for processor in cross:
        reseed(processor, generator)
    layers = {key.removeprefix("ip_adapter."): t.detach().half() for key, t in published(processors).items()}
    torch.save({"image_proj": image_proj, "ip_adapter": layers}, OUT / "ip-adapter.bin")

    points = FACE * 0.35 + torch.tensor([30.5, 40.25]).numpy()
    drawing = torch.from_numpy(draw(points, 8 * WIDTH, 8 * HEIGHT))  # [H, W, 3]
    rows = 2
    io = {
        "sample": torch.randn(1, 4, HEIGHT, WIDTH, generator=generator),
        "timesteps": torch.tensor([421.0]),
        "text": torch.randn(rows, 5, 6, generator=generator),
        "text_embeds": torch.randn(rows, 8, generator=generator),
        "time_ids": torch.tensor([[72.0, 64, 0, 0, 72, 64]]).repeat(rows, 1),
        # As the recogniser gives it: about 22 long, not 1
        "embedding": torch.randn(1, EMBEDDING, generator=generator),
    }
    faces = torch.cat([torch.zeros_like(io["embedding"]), io["embedding"]])[:, None]  # nobody, the person
    io["tokens"] = tokens = project(faces)
    picture = (drawing.permute(2, 0, 1).float() / 255)[None].expand(rows, -1, -1, -1)
    added = {key: io[key] for key in ("text_embeds", "time_ids")}
    sample, timesteps = io["sample"].expand(rows, -1, -1, -1), io["timesteps"].expand(rows)
    scales = {"0.8.0.8": (0.8, 0.8), "0.5.1.0": (0.5, 1.0), "0.0.0.8": (0.0, 0.8), "0.8.0.0": (0.8, 0.0)}
    for name, (adapter_scale, net_scale) in scales.items():
        for processor in cross:
            processor.scale = [adapter_scale]
        down, mid = identity_net(
            sample, timesteps, tokens, picture, net_scale, added_cond_kwargs=added, return_dict=False
        )
        predictions = unet(
            sample,
            timesteps,
            (io["text"], [tokens[:, None]]),
            added_cond_kwargs=added,
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
        ).sample
        nobody, person = predictions.chunk(2)
        io[f"output.{name}"] = predictions
        io[f"guided.{name}"] = nobody + 5.0 * (person - nobody)
    difference = (io["output.0.8.0.8"] - io["output.0.0.0.8"]).abs().max() / io["output.0.8.0.8"].abs().max()
    assert difference > 0.01, f"the person must show in the fixture: {difference}"
    save_tensors(io, OUT / "io.safetensors")
    save_json({"points": points.tolist()}, OUT / "face.json")


if __name__ == "__main__":
    main()
