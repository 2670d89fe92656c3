"""What the scripts for diffusers' networks share: pinned versions, random weights, small files."""

import json
import shutil

import diffusers
import safetensors
import torch
import transformers
from safetensors.torch import save_file

VERSIONS = {diffusers: "0.42.1", transformers: "5.23.0", safetensors: "0.8.0"}


def begin(folder):
    """Checks the versions, empties the folder and returns the generator for everything in it."""
    for module, version in VERSIONS.items():
        assert module.__version__ == version, f"{module.__name__} {module.__version__}, expected {version}"
    assert torch.__version__.split("+")[0] == "2.11.0", f"torch {torch.__version__}, expected 2.11.0"
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return torch.Generator().manual_seed(20241014)


def reseed(model, generator):
    """Random weights for every parameter: norms and biases too, so that a missing one shows. Values are
    exact in float16, so that files can be half as large and still hold the very weights."""
    for key, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() > 1:
            parameter.copy_(noise / parameter[0].numel() ** 0.5)
        elif "norm" in key and key.endswith("weight"):
            parameter.copy_(1 + 0.3 * noise)
        else:
            parameter.copy_(0.3 * noise)
        parameter.copy_(parameter.half())
    return model.eval()


def save_weights(weights, path, dtype=torch.float16):
    """Weights in the type in which they take least space."""
    stored = {key: tensor.to(dtype).contiguous().clone() for key, tensor in weights.items()}
    for key, tensor in stored.items():
        assert torch.equal(tensor.float(), weights[key].float()), f"{key} is not exact in {dtype}"
    save_file(stored, path, metadata={"format": "pt"})
    path.chmod(0o644)


def save_model(model, folder, dtype=torch.float16):
    """`config.json` as diffusers writes it, and the weights."""
    model.save_config(folder)
    save_weights(model.state_dict(), folder / "diffusion_pytorch_model.safetensors", dtype)


def save_tensors(tensors, path):
    save_file({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, path)
    path.chmod(0o644)


def save_json(value, path):
    path.write_text(json.dumps(value, indent=1) + "\n")
