"""What people are dressed as: each role names its garment, its hat, its collar and the place it belongs to."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outfit:
    """A way to be dressed.  Colours are names of palette.CLOTHES or hex; `clothes` is the phrase for captions."""

    clothes: str
    style: str  # a garment of shaders/garments.glsl
    colour: str
    accent: str = 'white'
    collar: str | None = None  # a collar of collars.py
    hat: str | None = None  # a hat of hats.py
    hat_phrase: str | None = None
    place: str | None = None
    puff: float = 0.0  # thickness of the cloth


ROLES = {
    'astronaut': [
        Outfit(
            'white space suit', 'spacesuit', 'f0f0f2', 'd2691e', 'ring', 'space helmet', 'open space helmet', 'starry space', 0.1
        )
    ],
    'chef': [Outfit('white chef coat', 'chef', 'f4f2ee', '232327', 'stand', 'toque', 'tall white chef hat', 'kitchen', 0.03)],
    'royal': [
        Outfit('red royal robe with white ermine', 'robe', 'a3121c', 'white', None, 'crown', 'gold crown', 'castle hall', 0.08)
    ],
    'wizard': [
        Outfit(
            'purple wizard robe',
            'plain',
            '4f2a86',
            'yellow',
            'stand',
            'wizard hat',
            'pointed purple hat with stars',
            'night forest',
            0.06,
        ),
        Outfit(
            'blue wizard robe',
            'plain',
            '233f94',
            'yellow',
            'stand',
            'wizard hat',
            'pointed blue hat with stars',
            'night forest',
            0.06,
        ),
    ],
    'pirate': [
        Outfit('striped pirate shirt', 'striped', 'e6e2d8', 'b02a2c', None, 'tricorne', 'black tricorne hat', 'open sea', 0.02),
        Outfit('striped pirate shirt', 'striped', 'e6e2d8', '26262c', None, 'bandana', 'red bandana', 'open sea', 0.02),
    ],
    'firefighter': [
        Outfit(
            'dark firefighter coat with yellow stripes',
            'turnout',
            '2c2e36',
            'd8c21c',
            'stand',
            'fire helmet',
            'red firefighter helmet',
            'flames',
            0.07,
        )
    ],
    'knight': [
        Outfit('steel armour', 'plate', 'b4bac4', 'white', 'gorget', 'knight helmet', 'steel helmet', 'castle hall', 0.08)
    ],
    'scientist': [
        Outfit('white lab coat', 'coat', 'f2f2f2', '4f86c6', 'lapels', None, None, 'laboratory', 0.04),
        Outfit('white lab coat', 'coat', 'f2f2f2', '3c8a5a', 'lapels', None, None, 'laboratory', 0.04),
    ],
    'captain': [
        Outfit(
            'dark blue captain jacket',
            'coat',
            '1f2b52',
            'f0f0f0',
            'gold lapels',
            'peaked cap',
            'white captain cap',
            'open sea',
            0.03,
        )
    ],
    'cowboy': [
        Outfit(
            'brown vest and red neckerchief',
            'coat',
            '7a4a28',
            'e2d8c4',
            'neckerchief',
            'cowboy hat',
            'brown cowboy hat',
            'desert',
            0.03,
        )
    ],
}

PLACES = [
    'studio',
    'beach',
    'sunset sky',
    'city lights at night',
    'forest',
    'garden',
    'brick wall',
    'snowy landscape',
    'mountains',
    'starry space',
    'kitchen',
    'castle hall',
    'night forest',
    'open sea',
    'flames',
    'laboratory',
    'desert',
]
EVERYDAY_PLACES = PLACES[:9]
GARMENT_STYLES = ['plain', 'striped', 'coat', 'chef', 'robe', 'turnout', 'spacesuit', 'plate']
