"""Makes tests/golden/fixtures/image_processor: pictures, and the pixel values that transformers'
`CLIPImageProcessor` (with Pillow) makes of them.

Needs torch==2.11.0, transformers==5.23.0, pillow==13.0.0, safetensors==0.8.0; run it from anywhere:

    python tests/golden/generate/image_processor.py
"""

from pathlib import Path

import PIL
import torch
from PIL import Image
from seeded import begin, save_tensors
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

OUT = Path(__file__).parent.parent / "fixtures" / "image_processor"

# name: settings
PROCESSORS = {
    "small": {"size": {"shortest_edge": 24}, "crop_size": {"height": 24, "width": 24}},
    "int_sizes": {"size": 20, "crop_size": 16},
    "bilinear": {"size": 18, "crop_size": {"height": 14, "width": 17}, "resample": 2},
    "lanczos": {"size": 18, "crop_size": 18, "resample": 1},
    "box": {"size": 11, "crop_size": 11, "resample": 4},
    "hamming": {"size": 11, "crop_size": 11, "resample": 5},
    "exactly": {"size": {"height": 13, "width": 21}, "do_center_crop": False},
    # the middle is larger than the picture: black around it, an odd pixel more before than after
    "larger_crop": {"size": 10, "crop_size": {"height": 17, "width": 25}},
    "no_resize": {"do_resize": False, "crop_size": {"height": 9, "width": 8}},
    "other_values": {
        "size": 12,
        "crop_size": 12,
        "image_mean": [0.1, 0.5, 0.6],
        "image_std": [0.2, 0.9, 1.5],
        "rescale_factor": 0.01,
    },
    "not_normalised": {"size": 12, "crop_size": 12, "do_normalize": False},
    "as_bytes": {"size": 12, "crop_size": 12, "do_normalize": False, "do_rescale": False},
}


def pictures(generator):
    """Noise, which shows every weight of a filter, and a smooth picture, [height, width, 3] each."""

    def noise(height, width):
        return torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)

    y, x = torch.meshgrid(torch.arange(61), torch.arange(47), indexing="ij")
    smooth = torch.stack([x * 5, y * 4, 128 + 127 * torch.sin(x * y / 90)], -1).clamp(0, 255).to(torch.uint8)
    return {"wide": noise(31, 50), "tall": noise(53, 24), "tiny": noise(7, 9), "smooth": smooth}


def main():
    assert PIL.__version__ == "13.0.0", f"pillow {PIL.__version__}, expected 13.0.0"
    generator = begin(OUT)
    inputs = pictures(generator)
    tensors = {f"picture.{name}": pixels for name, pixels in inputs.items()}
    for name, settings in PROCESSORS.items():
        processor = CLIPImageProcessorPil(**settings)
        (OUT / name).mkdir()
        processor.save_pretrained(OUT / name)
        for picture, pixels in inputs.items():
            values = processor(Image.fromarray(pixels.numpy()), return_tensors="pt").pixel_values
            tensors[f"{name}.{picture}"] = values.float()
    # The published size, of which every eighth row and column is kept.
    processor = CLIPImageProcessorPil()
    for picture, pixels in inputs.items():
        values = processor(Image.fromarray(pixels.numpy()), return_tensors="pt").pixel_values
        tensors[f"default.{picture}"] = values[:, :, ::8, ::8]
    save_tensors(tensors, OUT / "io.safetensors")


if __name__ == "__main__":
    main()
