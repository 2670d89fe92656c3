"""What people are dressed as: each role names its garment, its hat, its collar, what is held, and the place it belongs to."""

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
    third: str = 'yellow'
    hat_colour: str | None = None
    prop: str | None = None  # a thing of props.py


def wizard(colour, code):
    hat = f'pointed {colour} hat with stars'
    return Outfit(
        f'{colour} wizard robe', 'plain', code, 'yellow', 'stand', 'wizard hat', hat, 'night forest', 0.06, hat_colour=code
    )


def jersey(colour, code, accent, stripes):
    phrase = f'{colour} and {accent} football jersey'
    return Outfit(phrase, 'jersey', code, stripes, None, None, None, 'stadium', 0.02, prop='football')


def samurai(colour, code, lacing):
    return Outfit(f'{colour} samurai armour', 'lamellar', code, lacing, 'stand', 'kabuto', 'samurai helmet with gold crescent',
                  'cherry blossoms', 0.08)  # fmt: skip


ROLES = {
    'astronaut': [
        Outfit('white space suit', 'spacesuit', 'f0f0f2', 'd2691e', 'ring', 'space helmet', 'open space helmet', 'starry space', 0.1)
    ],
    'chef': [Outfit('white chef coat', 'chef', 'f4f2ee', '232327', 'stand', 'toque', 'tall white chef hat', 'kitchen', 0.03)],
    'royal': [
        Outfit('red royal robe with white ermine', 'robe', 'a3121c', 'white', None, 'crown', 'gold crown', 'castle hall', 0.08),
        Outfit('purple royal robe with white ermine', 'robe', '552a86', 'white', None, 'crown', 'gold crown', 'castle hall', 0.08),
    ],
    'wizard': [wizard('purple', '5a3096'), wizard('blue', '2a4aa8')],
    'pirate': [
        Outfit('striped pirate shirt', 'striped', 'e6e2d8', 'b02a2c', 'crew', 'tricorne', 'black tricorne hat', 'open sea', 0.02),
        Outfit('striped pirate shirt', 'striped', 'e6e2d8', '26262c', 'crew', 'bandana', 'red bandana', 'open sea', 0.02),
    ],
    'firefighter': [
        Outfit('dark firefighter coat with yellow stripes', 'turnout', '2c2e36', 'd8c21c', 'stand', 'fire helmet',
               'red firefighter helmet', 'flames', 0.07)
    ],
    'knight': [Outfit('steel armour', 'plate', 'b4bac4', 'white', 'gorget', 'knight helmet', 'steel helmet', 'castle hall', 0.08)],
    'scientist': [
        Outfit('white lab coat', 'coat', 'f2f2f2', '4f86c6', 'lapels', None, None, 'laboratory', 0.04, prop='flask'),
        Outfit('white lab coat', 'coat', 'f2f2f2', '3c8a5a', 'lapels', None, None, 'laboratory', 0.04, prop='flask'),
    ],
    'captain': [
        Outfit('dark blue captain jacket', 'coat', '1f2b52', 'f0f0f0', 'gold lapels', 'peaked cap', 'white captain cap', 'open sea', 0.03)
    ],
    'cowboy': [
        Outfit('brown vest and red neckerchief', 'coat', '7a4a28', 'e2d8c4', 'neckerchief', 'cowboy hat', 'brown cowboy hat', 'desert', 0.03)
    ],
    'diver': [
        Outfit('brown diving suit', 'spacesuit', 'a98a5c', '6a4a2c', 'brass ring', 'diving helmet', 'copper diving helmet', 'underwater', 0.1),
        Outfit('black and yellow wetsuit', 'wetsuit', '22242c', 'f0c020', 'stand', 'diving mask', 'diving mask and snorkel', 'underwater', 0.02),
    ],
    'footballer': [
        jersey('red', 'c4242a', 'white', 'f0f0f0'), jersey('blue', '2450b8', 'white', 'f0f0f0'), jersey('green', '1f8a48', 'yellow', 'f0c828'),
    ],
    'painter': [
        Outfit('paint-splashed smock', 'smock', 'e8e2d4', 'white', 'bow', 'beret', 'red beret', 'art studio', 0.05, hat_colour='b8282c', prop='palette'),
        Outfit('paint-splashed smock', 'smock', 'c8d4e0', 'white', 'bow', 'beret', 'black beret', 'art studio', 0.05, hat_colour='2a2a32', prop='palette'),
    ],
    'rock singer': [
        Outfit('black leather jacket with studs', 'jacket', '1e1e24', 'b0202a', 'jacket', None, None, 'concert stage', 0.05, prop='microphone'),
        Outfit('black leather jacket with studs', 'jacket', '1e1e24', 'e8e8e8', 'jacket', None, None, 'concert stage', 0.05, prop='microphone'),
    ],
    'doctor': [
        Outfit('teal scrubs', 'scrubs', '1f9a94', '13706c', 'stethoscope', 'scrub cap', 'teal surgical cap', 'hospital', 0.03, hat_colour='1f9a94'),
        Outfit('blue scrubs', 'scrubs', '3a72c4', '264f92', 'stethoscope', 'scrub cap', 'blue surgical cap', 'hospital', 0.03, hat_colour='3a72c4'),
    ],
    'pilot': [
        Outfit('brown flying jacket with fur collar', 'jacket', '70442a', 'd8c8a4', 'shearling', 'aviator cap', 'flying cap with goggles',
               'above the clouds', 0.05)
    ],
    'detective': [
        Outfit('beige trench coat', 'trench', 'c0a070', '3a3a44', 'trench', 'fedora', 'brown fedora', 'foggy street at night', 0.05,
               hat_colour='6e4a30', prop='magnifying glass')
    ],
    'gardener': [
        Outfit('checked shirt and denim dungarees', 'dungarees', '3d5f9a', 'b8343a', 'lapels', 'straw hat', 'straw hat', 'greenhouse', 0.03,
               prop='sunflower'),
        Outfit('checked shirt and denim dungarees', 'dungarees', '3d5f9a', '3f8a4a', 'lapels', 'straw hat', 'straw hat', 'greenhouse', 0.03,
               prop='sunflower'),
    ],
    'viking': [Outfit('brown fur cloak', 'cloak', '5a4632', '8a6a44', 'fur', 'horned helmet', 'horned helmet', 'fjord', 0.05)],
    'samurai': [samurai('black and red', '2a2830', 'b8242a'), samurai('black and blue', '2a2830', '2a56b8')],
    'superhero': [
        Outfit('blue hero suit with red cape', 'hero', '2450c0', 'c8202a', 'cape', None, None, 'city skyline', 0.01, third='f2c02c', hat_colour='c8202a'),
        Outfit('red hero suit with blue cape', 'hero', 'c8242c', '2448b0', 'cape', None, None, 'city skyline', 0.01, third='f2c02c', hat_colour='2448b0'),
    ],
    'santa claus': [Outfit('red coat with white fur', 'santa', 'b8161e', 'white', 'white fur', 'santa hat', 'red santa hat', 'snowy landscape', 0.08)],
    'graduate': [Outfit('black graduation gown', 'gown', '24262e', 'e8e6e0', 'lapels', 'mortarboard', 'black graduation cap', 'library', 0.05, third='c8a02c')],
}  # fmt: skip

PLACES = [
    'studio', 'beach', 'sunset sky', 'city lights at night', 'forest', 'garden', 'brick wall', 'snowy landscape', 'mountains',
    'starry space', 'kitchen', 'castle hall', 'night forest', 'open sea', 'flames', 'laboratory', 'desert', 'underwater', 'stadium',
    'art studio', 'concert stage', 'hospital', 'above the clouds', 'foggy street at night', 'fjord', 'cherry blossoms', 'city skyline',
    'library', 'greenhouse',
]  # fmt: skip
EVERYDAY_PLACES = [*PLACES[:9], 'library', 'city skyline', 'greenhouse']
DARK_PLACES = ('city lights at night', 'starry space', 'night forest', 'flames', 'concert stage', 'foggy street at night')
OUTDOORS = ('beach', 'sunset sky', 'forest', 'garden', 'snowy landscape', 'mountains', 'open sea', 'desert', 'stadium', 'above the clouds',
            'fjord', 'cherry blossoms', 'city skyline')  # fmt: skip
GARMENT_STYLES = (
    'plain striped coat chef robe turnout spacesuit plate jersey jacket scrubs trench dungarees cloak lamellar hero smock wetsuit hoodie '
    'buttoned gown santa'
).split()

# Role and place together as no training picture shows them: they are drawn for held-out people only.
HELD_OUT_PAIRS = [
    ('astronaut', 'beach'), ('astronaut', 'library'), ('chef', 'snowy landscape'), ('chef', 'starry space'), ('royal', 'garden'),
    ('royal', 'stadium'), ('wizard', 'city skyline'), ('wizard', 'kitchen'), ('pirate', 'forest'), ('pirate', 'art studio'),
    ('firefighter', 'mountains'), ('firefighter', 'castle hall'), ('knight', 'concert stage'), ('knight', 'beach'),
    ('scientist', 'desert'), ('scientist', 'fjord'), ('captain', 'city lights at night'), ('captain', 'laboratory'),
    ('cowboy', 'snowy landscape'), ('cowboy', 'cherry blossoms'), ('diver', 'sunset sky'), ('diver', 'brick wall'),
    ('footballer', 'underwater'), ('footballer', 'garden'), ('painter', 'open sea'), ('painter', 'starry space'),
    ('rock singer', 'forest'), ('rock singer', 'hospital'), ('doctor', 'beach'), ('doctor', 'night forest'), ('pilot', 'desert'),
    ('pilot', 'library'), ('detective', 'above the clouds'), ('detective', 'greenhouse'), ('gardener', 'brick wall'),
    ('gardener', 'flames'), ('viking', 'city lights at night'), ('viking', 'kitchen'), ('samurai', 'snowy landscape'),
    ('samurai', 'concert stage'), ('superhero', 'forest'), ('superhero', 'underwater'), ('santa claus', 'beach'),
    ('santa claus', 'art studio'), ('graduate', 'mountains'), ('graduate', 'castle hall'),
]  # fmt: skip
