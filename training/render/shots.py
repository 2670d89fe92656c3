"""One picture of a person: dress, expression, pose, light and place, drawn from a seed."""

from dataclasses import dataclass

import numpy as np

from hats import TALL
from palette import CLOTHES, DAY, LIGHTS, NIGHT
from people import HAIR_RISE
from roles import (
    DARK_PLACES,
    EVERYDAY_PLACES,
    HELD_OUT_PAIRS,
    OUTDOORS,
    PLACES,
    ROLES,
    Outfit,
)

HELD_OUT_PEOPLE = 100  # people below this number are never trained on
REFERENCE_SHOTS = 2  # a person's first shots: plain clothes, no hat, as a photo of oneself would be
ROLE_SHARE = 0.72  # of all other shots
OWN_PLACE_SHARE = 0.55
PAIR_SHARE = 0.4  # of the shots of held-out people in a role: a role and place that training has never shown together

# name: (how often, expression units)
EXPRESSIONS = {
    'neutral': (0.25, dict(mouthSmile=0.28, cheekSquint=0.05, browInnerUp=0.12, browOuterUp=0.22, eyeWide=0.14)),
    'smiling': (0.30, dict(mouthSmile=1.1, jawOpen=0.10, mouthUpperUp=0.22, mouthDimple=0.30, cheekSquint=0.35, browInnerUp=0.12, browOuterUp=0.22, eyeWide=0.08)),
    'laughing': (
        0.14,
        dict(mouthSmile=1.15, jawOpen=0.55, mouthStretch=0.2, cheekSquint=0.5, mouthUpperUp=0.3, eyeSquint=0.12, browOuterUp=0.35,
             browInnerUp=0.2),
    ),
    'surprised': (0.10, dict(jawOpen=0.40, browInnerUp=0.9, browOuterUp=0.8, eyeWide=0.8, mouthFunnel=0.25)),
    'angry': (0.06, dict(browDown=0.95, eyeSquint=0.3, noseSneer=0.5, mouthPress=0.5, mouthFrown=0.5)),
    'sad': (0.07, dict(browInnerUp=1.0, mouthFrown=1.0, mouthShrugLower=0.4, eyeLookDown=0.1)),
    'winking': (0.08, dict(mouthSmile=0.75, cheekSquint=0.3, browOuterUp=0.2)),
}  # fmt: skip
CENTRAL_UNITS = ('jawOpen', 'browInnerUp', 'mouthFunnel', 'mouthShrugLower')


@dataclass
class Shot:
    """How a person is shown.  Angles in degrees; `yaw` and `pitch` are the head's as the camera sees it."""

    number: int
    role: str | None
    outfit: Outfit
    expression: str
    strength: float
    wink_left: bool
    yaw: float
    pitch: float
    roll: float
    camera_yaw: float
    camera_pitch: float
    gaze: tuple
    light: str
    light_from_left: bool
    distance: float
    rise: float  # what the hat adds over the head, of the head's height
    place: str
    backdrop: str
    blur: float
    seed: float


def expression_weights(shot):
    """Targets of the expression, left and right spelt out."""
    found = {}
    for unit, value in EXPRESSIONS[shot.expression][1].items():
        for side in [''] if unit in CENTRAL_UNITS else ['Left', 'Right']:
            found['fu:' + unit + side] = value * shot.strength
    if shot.expression == 'winking':
        found['fu:eyeBlink' + ('Left' if shot.wink_left else 'Right')] = 1.0
    return found


def everyday_outfit(random, hats=True):
    """Plain clothes, sometimes with a hat."""
    colours = list(CLOTHES)
    cut = str(random.choice(['t-shirt', 'turtleneck', 'striped t-shirt', 'hoodie', 'shirt'], p=[0.28, 0.18, 0.18, 0.2, 0.16]))
    colour, accent = (str(c) for c in random.choice(colours, 2, replace=False))
    hat = (
        str(random.choice(['none', 'beanie', 'fedora', 'beret', 'straw hat'], p=[0.66, 0.13, 0.09, 0.08, 0.04]))
        if hats
        else 'none'
    )
    hat_colour = str(random.choice(colours))
    style, collar = {
        't-shirt': ('plain', 'crew'), 'turtleneck': ('plain', 'turtleneck'), 'striped t-shirt': ('striped', 'crew'),
        'hoodie': ('hoodie', 'hood'), 'shirt': ('buttoned', 'lapels'),
    }[cut]  # fmt: skip
    phrase = f'{colour} and {accent} {cut}' if cut == 'striped t-shirt' else f'{colour} {cut}'
    worn = {'none': None, 'straw hat': 'straw hat'}.get(hat, f'{hat_colour} {hat}')
    return Outfit(
        phrase,
        style,
        colour,
        accent if cut == 'striped t-shirt' else 'white',
        collar,
        None if hat == 'none' else hat,
        worn,
        hat_colour=hat_colour,
    )


def choose_role(random, held_out):
    """A role's name, its outfit and a place; role and place of HELD_OUT_PAIRS meet for held-out people only."""
    role = str(random.choice(list(ROLES)))
    outfit = ROLES[role][random.integers(len(ROLES[role]))]
    pairs = [place for r, place in HELD_OUT_PAIRS if r == role]
    if held_out and random.random() < PAIR_SHARE:
        return role, outfit, str(random.choice(pairs))
    if random.random() < OWN_PLACE_SHARE:
        return role, outfit, outfit.place
    return role, outfit, str(random.choice([place for place in PLACES if place not in pairs]))


def choose_light(random, place):
    """A light that the place can have."""
    names = NIGHT if place in DARK_PLACES else DAY if place in OUTDOORS else tuple(LIGHTS)
    return str(random.choice(names))


def sample_shot(seed, person, number):
    """The shot with this number of this person.  The first REFERENCE_SHOTS are plain portraits: no role, no hat."""
    random = np.random.default_rng([seed, person.number, 1000 + number])
    plain = number < REFERENCE_SHOTS
    outfit = everyday_outfit(random, hats=not plain)
    role, place = (
        None,
        str(random.choice(EVERYDAY_PLACES, p=[0.28] + [0.72 / (len(EVERYDAY_PLACES) - 1)] * (len(EVERYDAY_PLACES) - 1))),
    )
    if not plain and random.random() < ROLE_SHARE:
        role, outfit, place = choose_role(random, person.number < HELD_OUT_PEOPLE)
    elif not plain and random.random() < 0.2:
        place = str(random.choice(PLACES))
    spread = [0.4, 0.9][number] if plain else 1.0
    yaw = float(np.clip(random.normal(0, 14 * spread), -36, 36))
    camera_yaw = float(random.normal(0, 6))
    pitch = float(np.clip(random.normal(0, 5 * spread), -12, 12))
    gaze = (
        (float(np.clip(-yaw * 0.85, -26, 26)), float(np.clip(pitch * 0.8, -7, 7)))
        if random.random() < 0.85
        else (float(random.normal(0, 8)), float(random.normal(0, 3)))
    )
    expressions = list(EXPRESSIONS)
    expression = str(random.choice(expressions, p=[EXPRESSIONS[e][0] for e in expressions]))
    if plain:
        expression = str(random.choice(['neutral', 'smiling', 'laughing'], p=[0.45, 0.45, 0.1]))
    return Shot(
        number=number,
        role=role,
        outfit=outfit,
        expression=expression,
        strength=float(random.uniform(0.85, 1.05)),
        wink_left=bool(random.random() < 0.5),
        yaw=yaw,
        pitch=pitch,
        roll=float(random.normal(0, 3)),
        camera_yaw=camera_yaw,
        camera_pitch=float(random.normal(1, 3)),
        gaze=gaze,
        light=choose_light(random, place),
        light_from_left=bool(random.random() < 0.5),
        distance=float(random.uniform(0.96, 1.06)),
        rise=max(TALL.get(outfit.hat, 0.0), HAIR_RISE.get(person.hair_style, 0.0)),
        place=place,
        backdrop=str(random.choice(list(CLOTHES))),
        blur=float(random.uniform(0.4, 1.6)) if place != 'studio' else 0.0,
        seed=float(random.uniform(0, 50)),
    )
