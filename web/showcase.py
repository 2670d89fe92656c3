"""Draws the pictures that the page shows, with the shipped model: web/page/img, and those of the tests' stand-in.

Each role is drawn ten times, of one of the portraits that portraits.py renders; which is shown was chosen by eye.
The thumbnail of a look that the shipped model knows is one person and one seed with the look's words; those of styles for larger
models are filters over one of the pictures, not pictures of a model. Needs Pillow.

    python web/showcase.py --program target/release/imagine --portraits DIR
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageEnhance, ImageFilter, ImageOps

ROOT = Path(__file__).resolve().parent.parent
IMG = ROOT / 'web' / 'page' / 'img'
STAND_IN = ROOT / 'tests' / 'browser' / 'pictures'
MODEL = ROOT / 'models' / 'starter'
SEED, COUNT = 100, 10
SIDE = 128  # of a thumbnail

# role: who, what else is said, the seed that was chosen by eye, and what is said of the card where photos do not tell it
SHOWN = {
    'astronaut': (17, 'smiling, starry space', 103, ()),
    'pirate': (61, 'smiling, open sea, golden hour light', 102, ('beard=yes',)),
    'wizard': (94, 'smiling, night forest', 103, ('beard=yes', 'hair-colour=white')),
    'queen': (39, 'smiling, castle hall', 109, ()),
    'firefighter': (31, 'smiling, flames', 102, ()),
    'cowboy': (24, 'smiling, desert, golden hour light', 102, ('beard=yes',)),
    'chef': (15, 'smiling, kitchen', 103, ()),
    'scientist': (22, 'smiling, laboratory', 108, ()),
}
STAND_IN_ROLES = ('astronaut', 'pirate', 'wizard', 'queen', 'cowboy', 'firefighter')
LOOK_OF = (44, 'a portrait of a person wearing a white t-shirt, smiling', 4)


def draw(program, photo, prompt, seed, count, out, card=()):
    """Pictures of one order, by their seeds."""
    command = [program, 'generate', '--photo', photo, '--prompt', prompt, '--seed', str(seed), '--n', str(count), '--out', out]
    command += ['--model', MODEL, '--no-expand', '--json']
    command += [part for said in card for part in ('--card-set', said)]
    said = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout
    return {picture['seed']: Image.open(picture['path']).convert('RGB') for picture in json.loads(said)['pictures']}


def webp(picture, path, quality=60):  # the first load of the page has 150 KB
    picture.save(path, quality=quality, method=6)


def thumbnail(picture):
    return picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def tint(image, dark, middle, light):
    return ImageOps.colorize(ImageOps.autocontrast(image.convert('L')), dark, light, middle)


def edges(image, strength=1.6):
    lines = image.convert('L').filter(ImageFilter.FIND_EDGES).filter(ImageFilter.GaussianBlur(0.7))
    lines = ImageOps.crop(lines, 3).resize(image.size)
    return ImageOps.invert(ImageEnhance.Contrast(lines).enhance(strength))


def inked(image, colours, strength):
    flat = ImageOps.posterize(image.filter(ImageFilter.MedianFilter(5)), colours)
    lines = edges(image, strength).convert('RGB')
    return Image.blend(flat, Image.composite(flat, lines, edges(image, strength)), 0.85)


STYLES = {
    'photo': lambda i: i,
    'film': lambda i: ImageEnhance.Contrast(Image.blend(i, tint(i, '#06202c', '#8a6a4c', '#ffe3b8'), 0.55)).enhance(1.15),
    'editorial': lambda i: ImageEnhance.Contrast(ImageEnhance.Color(i).enhance(0.55)).enhance(1.35),
    'vintage': lambda i: Image.blend(tint(i, '#3a2a20', '#a8825c', '#f4e6c6'), i, 0.25),
    'noir': lambda i: ImageEnhance.Contrast(i.convert('L')).enhance(1.8).convert('RGB'),
    'oil': lambda i: ImageEnhance.Color(i.filter(ImageFilter.ModeFilter(7))).enhance(1.25),
    'impressionist': lambda i: ImageEnhance.Color(i.filter(ImageFilter.ModeFilter(11))).enhance(1.7),
    'watercolour': lambda i: Image.blend(i.filter(ImageFilter.MedianFilter(9)), Image.new('RGB', i.size, '#fffaf0'), 0.35),
    'comic': lambda i: inked(ImageEnhance.Color(i).enhance(1.5), 2, 2.2),
    'anime': lambda i: ImageEnhance.Brightness(inked(ImageEnhance.Color(i).enhance(1.3), 3, 1.2)).enhance(1.1),
    'fantasy': lambda i: Image.blend(i, tint(i, '#1b0b3a', '#7a4fb8', '#ffe9b0'), 0.5),
    'cyberpunk': lambda i: ImageEnhance.Contrast(tint(i, '#08062a', '#d0208c', '#5ff4ff')).enhance(1.1),
    'pencil': lambda i: Image.blend(edges(i, 2.4), ImageOps.autocontrast(i.convert('L')), 0.3).convert('RGB'),
    'poster': lambda i: ImageOps.posterize(tint(i.filter(ImageFilter.MedianFilter(7)), '#17233c', '#d8432f', '#fbe7c0'), 2),
}


def looks(program, portraits, out):
    """The places that the shipped model knows."""
    who, words, seed = LOOK_OF
    for place in json.loads((MODEL / 'vocabulary.json').read_text())['phrases']['setting']:
        if place.startswith('plain '):
            continue
        name = place.replace(' ', '-')
        picture = draw(program, portraits / f'{who}.jpg', f'{words}, {place}', seed, 1, out / name)[seed]
        webp(thumbnail(picture), IMG / 'styles' / f'{name}.webp', 78)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--program', required=True)
    parser.add_argument('--portraits', required=True, type=Path)
    parser.add_argument('--only-looks', action='store_true')
    options = parser.parse_args()
    (IMG / 'styles').mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        for role, (who, rest, chosen, card) in () if options.only_looks else SHOWN.items():
            photo, article = options.portraits / f'{who}.jpg', 'an' if role[0] in 'aeiou' else 'a'
            prompt = f'a portrait of a person as {article} {role}, {rest}'
            pictures = draw(options.program, photo, prompt, SEED, COUNT, out / role, card)
            shown = pictures.pop(chosen)
            webp(shown, IMG / f'{role}.webp')
            webp(Image.open(photo).convert('RGB').resize((96, 96), Image.Resampling.LANCZOS), IMG / f'{role}-from.webp')
            if role in STAND_IN_ROLES:
                for at, picture in enumerate([shown, *pictures.values()][:4], 1):
                    picture.save(STAND_IN / f'{role}-{at}.png', optimize=True)
            if role == 'pirate':
                for name, style in STYLES.items():
                    webp(style(thumbnail(shown)), IMG / 'styles' / f'{name}.webp', 78)
        looks(options.program, options.portraits, out)


if __name__ == '__main__':
    main()
