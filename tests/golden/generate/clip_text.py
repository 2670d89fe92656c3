"""Makes tests/golden/fixtures/clip_text: tiny CLIP text encoders with their inputs and outputs.

Needs torch==2.11.0, transformers==5.23.0, safetensors==0.8.0; run it from anywhere:

    python tests/golden/generate/clip_text.py
"""

import shutil
from pathlib import Path

import safetensors
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

OUT = Path(__file__).parent.parent / "fixtures" / "clip_text"
VERSIONS = {transformers: "5.23.0", safetensors: "0.8.0"}

VOCAB, BOS, EOS = 50, 48, 49

# name: (class, saved as old transformers did, changes of the configuration)
CASES = {
    # OpenAI's kind, as transformers 5 saves it: no prefix.
    "quick_gelu": (CLIPTextModel, False, {}),
    # OpenAI's kind with the end token of old configurations, prefixed keys, and position_ids.
    "quick_gelu_old_eos": (CLIPTextModel, True, {"eos_token_id": 2, "bos_token_id": 0}),
    # A projection with the end token of old configurations.
    "gelu_old_eos_projection": (
        CLIPTextModelWithProjection,
        True,
        {"hidden_act": "gelu", "eos_token_id": 2, "projection_dim": 12},
    ),
    # OpenCLIP's kind with projection, SDXL's second encoder.
    "gelu_projection": (
        CLIPTextModelWithProjection,
        False,
        {"hidden_act": "gelu", "projection_dim": 20, "layer_norm_eps": 1e-3, "num_hidden_layers": 3},
    ),
    "quick_gelu_projection": (CLIPTextModelWithProjection, False, {"projection_dim": 10, "num_attention_heads": 2}),
}


def inputs(generator):
    """Token ids: padded with the end token, padded with 0, without any end token, full."""
    length = 11
    rows = []
    for words, pad in ((4, EOS), (6, 0)):
        text = torch.randint(1, BOS, (words,), generator=generator).tolist()
        rows.append([BOS, *text, EOS] + [pad] * (length - words - 2))
    rows.append(torch.randint(1, BOS, (length,), generator=generator).tolist())
    rows.append([BOS, *torch.randint(1, BOS, (length - 2,), generator=generator).tolist(), EOS])
    return torch.tensor(rows)


@torch.no_grad()
def make(name, kind, old, changes, generator):
    config = CLIPTextConfig(
        **{
            "vocab_size": VOCAB,
            "hidden_size": 16,
            "intermediate_size": 28,
            "projection_dim": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 13,
            "bos_token_id": BOS,
            "eos_token_id": EOS,
            **changes,
        }
    )
    model = kind(config).eval()
    for key, parameter in model.named_parameters():
        # Large enough that no layer is nearly linear; norms stay near one.
        noise = torch.randn(parameter.shape, generator=generator) * 0.3
        parameter.copy_(1 + noise if "norm" in key and key.endswith("weight") else noise)
    folder = OUT / name
    model.save_pretrained(folder)
    if old:
        weights = load_file(folder / "model.safetensors")
        prefixed = {
            key if key.startswith(("text_model.", "text_projection.")) else f"text_model.{key}": tensor
            for key, tensor in weights.items()
        }
        prefixed["text_model.embeddings.position_ids"] = torch.arange(config.max_position_embeddings)[None]
        save_file(prefixed, folder / "model.safetensors", metadata={"format": "pt"})

    ids = inputs(generator)
    out = model(ids, output_hidden_states=True)
    tensors = {"ids": ids, "last_hidden_state": out.last_hidden_state}
    for index, state in enumerate(out.hidden_states):
        tensors[f"hidden_states.{index}"] = state
    if kind is CLIPTextModelWithProjection:
        tensors["text_embeds"] = out.text_embeds
        tensors["pooled"] = model.text_model(ids).pooler_output
    else:
        tensors["pooled"] = out.pooler_output
    save_file({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, folder / "io.safetensors")


def main():
    for module, version in VERSIONS.items():
        assert module.__version__ == version, f"{module.__name__} {module.__version__}, expected {version}"
    assert torch.__version__.split("+")[0] == "2.11.0", f"torch {torch.__version__}, expected 2.11.0"
    torch.set_num_threads(1)
    shutil.rmtree(OUT, ignore_errors=True)
    generator = torch.Generator().manual_seed(20240913)
    for name, (kind, old, changes) in CASES.items():
        make(name, kind, old, changes, generator)


if __name__ == "__main__":
    main()
