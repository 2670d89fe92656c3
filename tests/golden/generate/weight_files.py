"""Makes tests/golden/fixtures/weight_files: the same few tensors in every format that weights come in, written by
torch.save, safetensors, diffusers and transformers themselves; and files that must be refused.

Needs torch==2.11.0, diffusers==0.42.1, transformers==5.23.0, safetensors==0.8.0, numpy==2.4.6; run it from anywhere:

    python tests/golden/generate/weight_files.py
"""

import collections
import datetime
import io
import os
import pathlib
import sys
import types
import zipfile
from pathlib import Path

import numpy
import torch
from diffusers import AutoencoderKL
from seeded import begin, reseed, save_tensors
from transformers import CLIPTextConfig, CLIPTextModel

OUT = Path(__file__).parent.parent / "fixtures" / "weight_files"


def adapter(generator):
    """Nested dictionaries, every floating-point type, views with offset and strides, a shared storage."""

    def noise(*shape):
        return torch.randn(shape, generator=generator)

    shared = noise(6, 4)
    return {
        "image_proj": collections.OrderedDict(
            [
                ("proj.0.weight", noise(5, 3)),
                ("proj.0.bias", torch.nn.Parameter(noise(5))),
                ("norm.weight", noise(4).half()),
                ("norm.bias", noise(4).bfloat16()),
                ("latents", noise(1, 2, 4).double()),
            ]
        ),
        "ip_adapter": {
            "1.to_k_ip.weight": shared[:3],
            "1.to_v_ip.weight": shared[3:],
            "3.to_k_ip.weight": shared.t(),
            "3.to_v_ip.weight": shared[1:5:2, 1:3],
            5: {"scalar": noise(), "empty": torch.zeros(0, 3), "every third": noise(10).half()[1::3]},
        },
        "list": [noise(2), (noise(1, 3), "text")],
        "version": 1,
        "scale": 0.5,
        "large": 2**80,
        "negative": -3,
        "name": "straße",
        "nothing": None,
        "flag": True,
    }


def flat(value, path=""):
    """All floating-point tensors, keys joined by dots."""
    if isinstance(value, torch.Tensor):
        return {path: value.detach()}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    found = {}
    for key, item in items:
        found.update(flat(item, f"{path}.{key}" if path else str(key)))
    return found


def checkpoint(generator):
    """What pytorch_lightning saves: the weights with their metadata, and the state of the training."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    for parameter in model.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    state = {"step": torch.tensor(3.0), "exp_avg": torch.ones(4, 3)}
    return {
        "epoch": 7,
        "global_step": 875000,
        "pytorch-lightning_version": "1.6.0",
        "state_dict": model.state_dict(),
        "optimizer_states": [{"state": {0: state}, "param_groups": [{"lr": 1e-4, "params": [0]}]}],
        "lr_schedulers": [],
    }


class Command:
    """Would run a program if it were loaded as Python loads pickles."""

    def __reduce__(self):
        return (os.system, ("touch imagine-was-here",))


def foreign(module, name, *bases):
    """A class of a package that is not here, so that a pickle can name it."""
    parts = module.split(".")
    for n in range(1, len(parts) + 1):
        path = ".".join(parts[:n])
        sys.modules.setdefault(path, types.ModuleType(path))
    made = type(name, bases, {"__module__": module})
    setattr(sys.modules[module], name, made)
    return made


def callbacks(contents):
    """The same checkpoint with a class of another package as a key."""
    checkpoint = foreign("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint")
    return {**contents, "callbacks": {checkpoint: {"best_model_path": "here"}}}


def training_objects(contents):
    """The same checkpoint with what trainings leave beside the weights: objects with and without a state, of
    dictionaries and lists, plain classes of Python and NumPy, types and sizes of PyTorch."""
    config = foreign("omegaconf.dictconfig", "DictConfig")()
    config.__dict__.update(_content={"lr": 1e-4, "path": "here"}, _parent=None)
    attributes = foreign("lightning_fabric.utilities.data", "AttributeDict", dict)(width=320)
    names = foreign("ldm.data.names", "Names", list)(["a", "b"])
    counts = collections.defaultdict(list, {"train": [1, 2]})
    return {
        **callbacks(contents),
        "hyper_parameters": {"config": config, "attributes": attributes, "names": names, "kind": type(config)},
        "loops": {
            "best": numpy.float64(0.5),
            "counts": counts,
            "seen": {1, 2},
            "frozen": frozenset("a"),
            "folder": pathlib.PurePosixPath("/here"),
            "type": torch.float16,
            "size": torch.Size([1, 2]),
            "complex": 1j,
            "started": datetime.datetime(2024, 10, 14),
        },
        "optimizer_states": [torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))]).state_dict()],
    }


def inside(contents):
    """An object among the weights."""
    kind = foreign("ldm.modules.ema", "LitEma")
    return {**contents, "state_dict": {**contents["state_dict"], "model_ema": kind()}}


def rezip(path, compression, wide=False):
    """The same records in a zip file of another kind; with `wide` every number stands in a zip64 field."""
    limit = zipfile.ZIP64_LIMIT
    zipfile.ZIP64_LIMIT = 0 if wide else limit
    target = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w", compression) as new:
        for record in source.infolist():
            info = zipfile.ZipInfo(record.filename)
            info.compress_type = compression
            with new.open(info, "w", force_zip64=wide) as entry:
                entry.write(source.read(record))
        new.comment = b"a comment at the end"
    zipfile.ZIP64_LIMIT = limit
    return target.getvalue()


def folders(generator):
    """One autoencoder and one text encoder as their own libraries write them."""
    vae = AutoencoderKL(
        block_out_channels=[2],
        norm_num_groups=2,
        latent_channels=2,
        sample_size=8,
    )
    vae = reseed(vae, generator)
    vae.save_pretrained(OUT / "vae")
    half = reseed(AutoencoderKL.from_config(vae.config), generator)
    half.load_state_dict(vae.state_dict())
    half = half.half()
    half.save_pretrained(OUT / "vae_sharded", max_shard_size="1KB")
    half.save_pretrained(OUT / "vae_sharded_fp16", max_shard_size="1KB", variant="fp16")

    config = CLIPTextConfig(
        vocab_size=200,
        bos_token_id=198,
        eos_token_id=199,
        hidden_size=4,
        intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=1,
        max_position_embeddings=5,
    )
    text = reseed(CLIPTextModel(config), generator).half()
    text.save_pretrained(OUT / "text")
    text.save_pretrained(OUT / "text_sharded", max_shard_size="1KB")
    (OUT / "text_bin").mkdir()
    torch.save(text.state_dict(), OUT / "text_bin" / "pytorch_model.bin")
    for path in OUT.rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            if path.name == "config.json":
                path.unlink()
    assert (OUT / "vae_sharded_fp16" / "diffusion_pytorch_model.safetensors.index.fp16.json").is_file()
    assert (OUT / "text_sharded" / "model.safetensors.index.json").is_file()


def main():
    generator = begin(OUT)
    contents = adapter(generator)
    torch.save(contents, OUT / "adapter.bin")
    torch.save(contents, OUT / "legacy.bin", _use_new_zipfile_serialization=False)
    torch.save(contents, OUT / "protocol4.pt", pickle_protocol=4)
    (OUT / "zip64.bin").write_bytes(rezip(OUT / "adapter.bin", zipfile.ZIP_STORED, wide=True))
    tensors = flat(contents)
    for name in ("adapter.bin", "legacy.bin", "protocol4.pt", "zip64.bin"):
        # PyTorch's own reader of plain weights knows protocol 2 only.
        again = flat(torch.load(OUT / name, weights_only=name != "protocol4.pt"))
        assert again.keys() == tensors.keys() and all(torch.equal(again[key], tensors[key]) for key in tensors), name
    save_tensors({key: tensor.float() for key, tensor in tensors.items()}, OUT / "adapter.safetensors")

    training = checkpoint(generator)
    torch.save(training, OUT / "training.ckpt")
    save_tensors(training["state_dict"], OUT / "training.safetensors")

    integers = {name: torch.arange(3).to(getattr(torch, name)) for name in ("int64", "int32", "uint8", "bool")}
    torch.save({"weight": torch.ones(2), **integers}, OUT / "integers.bin")

    (OUT / "refused").mkdir()
    torch.save(callbacks(training), OUT / "callbacks.ckpt")
    torch.save(training_objects(training), OUT / "objects.ckpt")
    torch.save(training_objects(training), OUT / "objects_legacy.ckpt", _use_new_zipfile_serialization=False)
    torch.save(training_objects(training), OUT / "objects_4.ckpt", pickle_protocol=4)
    torch.save(inside(training), OUT / "refused" / "object_inside.ckpt")
    torch.save({**training, "callbacks": {"x": Command()}}, OUT / "refused" / "command_outside.ckpt")
    torch.save({"weight": torch.ones(2), "other": Command()}, OUT / "refused" / "command.bin")
    torch.save({"other": Command()}, OUT / "refused" / "command_legacy.bin", _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Linear(2, 2), OUT / "refused" / "module.pt")
    torch.save({"weight": torch.eye(2).to_sparse()}, OUT / "refused" / "sparse.pt")
    torch.save(torch.ones(2), OUT / "refused" / "tensor.pt")
    torch.save({(1, 2): torch.ones(2)}, OUT / "refused" / "key.pt")
    torch.save({"weight": torch.ones(1).expand(1000)}, OUT / "refused" / "expanded.pt")
    packed = rezip(OUT / "integers.bin", zipfile.ZIP_DEFLATED)
    (OUT / "refused" / "compressed.bin").write_bytes(packed)
    folders(generator)
    for path in OUT.rglob("*"):
        path.chmod(0o644 if path.is_file() else 0o755)


if __name__ == "__main__":
    main()
