"""Draws page/img/styles: what the style presets look like, roughly.

The starter model knows no styles, so these are filters over one of its pictures, not pictures of a model.
Needs Pillow. Usage: python style-thumbnails.py PICTURE.png
"""

import sys
from pathlib import Path

from PIL import Image, ImageEnhance, ImageFilter, ImageOps

SIDE = 128


def tint(image, dark, middle, light):
    return ImageOps.colorize(ImageOps.autocontrast(image.convert("L")), dark, light, middle)


def edges(image, strength=1.6):
    lines = image.convert("L").filter(ImageFilter.FIND_EDGES).filter(ImageFilter.GaussianBlur(0.7))
    lines = ImageOps.crop(lines, 3).resize(image.size)
    return ImageOps.invert(ImageEnhance.Contrast(lines).enhance(strength))


def inked(image, colours, strength):
    flat = ImageOps.posterize(image.filter(ImageFilter.MedianFilter(5)), colours)
    lines = edges(image, strength).convert("RGB")
    return Image.blend(flat, Image.composite(flat, lines, edges(image, strength)), 0.85)


STYLES = {
    "photo": lambda i: i,
    "film": lambda i: ImageEnhance.Contrast(Image.blend(i, tint(i, "#06202c", "#8a6a4c", "#ffe3b8"), 0.55)).enhance(1.15),
    "editorial": lambda i: ImageEnhance.Contrast(ImageEnhance.Color(i).enhance(0.55)).enhance(1.35),
    "vintage": lambda i: Image.blend(tint(i, "#3a2a20", "#a8825c", "#f4e6c6"), i, 0.25),
    "noir": lambda i: ImageEnhance.Contrast(i.convert("L")).enhance(1.8).convert("RGB"),
    "oil": lambda i: ImageEnhance.Color(i.filter(ImageFilter.ModeFilter(7))).enhance(1.25),
    "impressionist": lambda i: ImageEnhance.Color(i.filter(ImageFilter.ModeFilter(11))).enhance(1.7),
    "watercolour": lambda i: Image.blend(i.filter(ImageFilter.MedianFilter(9)), Image.new("RGB", i.size, "#fffaf0"), 0.35),
    "comic": lambda i: inked(ImageEnhance.Color(i).enhance(1.5), 2, 2.2),
    "anime": lambda i: ImageEnhance.Brightness(inked(ImageEnhance.Color(i).enhance(1.3), 3, 1.2)).enhance(1.1),
    "fantasy": lambda i: Image.blend(i, tint(i, "#1b0b3a", "#7a4fb8", "#ffe9b0"), 0.5),
    "cyberpunk": lambda i: ImageEnhance.Contrast(tint(i, "#08062a", "#d0208c", "#5ff4ff")).enhance(1.1),
    "pencil": lambda i: Image.blend(edges(i, 2.4), ImageOps.autocontrast(i.convert("L")), 0.3).convert("RGB"),
    "poster": lambda i: ImageOps.posterize(tint(i.filter(ImageFilter.MedianFilter(7)), "#17233c", "#d8432f", "#fbe7c0"), 2),
}


def main():
    picture = Image.open(sys.argv[1]).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    folder = Path(__file__).parent / "page" / "img" / "styles"
    folder.mkdir(parents=True, exist_ok=True)
    for name, style in STYLES.items():
        style(picture).save(folder / f"{name}.webp", quality=78, method=6)


if __name__ == "__main__":
    main()
