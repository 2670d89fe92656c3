"""One picture of a person: dress, expression, pose, light and place, drawn from a seed."""

from dataclasses import dataclass

import numpy as np

from palette import CLOTHES, LIGHTS
from roles import EVERYDAY_PLACES, PLACES, ROLES, Outfit

ROLE_SHARE = 0.625  # of all shots but a person's first, which is always in plain clothes
OWN_PLACE_SHARE = 0.75

# name: (how often, expression units)
EXPRESSIONS = {
    'neutral': (0.24, dict(mouthSmile=0.22, cheekSquint=0.10, browInnerUp=0.12, browOuterUp=0.10, eyeWide=0.10)),
    'smiling': (0.25, dict(mouthSmile=0.95, mouthDimple=0.35, cheekSquint=0.45, eyeSquint=0.12, browOuterUp=0.15)),
    'laughing': (
        0.13,
        dict(mouthSmile=1.0, jawOpen=0.36, mouthStretch=0.2, cheekSquint=0.6, mouthUpperUp=0.35, eyeSquint=0.3, browOuterUp=0.25),
    ),
    'surprised': (0.11, dict(jawOpen=0.42, browInnerUp=0.9, browOuterUp=0.8, eyeWide=0.8, mouthFunnel=0.25)),
    'angry': (0.09, dict(browDown=0.95, eyeSquint=0.3, noseSneer=0.55, mouthPress=0.5, mouthFrown=0.5)),
    'sad': (0.09, dict(browInnerUp=1.0, mouthFrown=1.1, mouthShrugLower=0.4, eyeLookDown=0.1)),
    'winking': (0.09, dict(mouthSmile=0.6, cheekSquint=0.3)),
}
CENTRAL_UNITS = ('jawOpen', 'browInnerUp', 'mouthFunnel', 'mouthShrugLower')


@dataclass
class Shot:
    """How a person is shown.  Angles in degrees; `yaw` and `pitch` are the head's as the camera sees it."""

    number: int
    role: str | None
    outfit: Outfit
    hat_colour: str | None
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
    place: str
    backdrop: str
    neckline: float
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
    """Plain clothes, sometimes with a beanie or a fedora; returns the outfit and the colour of the hat."""
    colours = list(CLOTHES)
    cut = random.choice(['t-shirt', 'turtleneck', 'striped t-shirt'], p=[0.45, 0.3, 0.25])
    colour, accent = random.choice(colours, 2, replace=False)
    hat = str(random.choice(['none', 'beanie', 'fedora'], p=[0.74, 0.15, 0.11])) if hats else 'none'
    hat_colour = str(random.choice(colours))
    phrase = f'{colour} and {accent} {cut}' if cut == 'striped t-shirt' else f'{colour} {cut}'
    outfit = Outfit(
        phrase,
        'striped' if cut == 'striped t-shirt' else 'plain',
        str(colour),
        str(accent),
        'turtleneck' if cut == 'turtleneck' else None,
        None if hat == 'none' else hat,
        None if hat == 'none' else f'{hat_colour} {hat}',
    )
    return outfit, hat_colour


def sample_shot(seed, person, number):
    """The shot with this number of this person.  Shot 0 is a plain portrait: no role, no hat, nearly frontal."""
    random = np.random.default_rng([seed, person.number, 1000 + number])
    plain = number == 0
    outfit, hat_colour = everyday_outfit(random, hats=not plain)
    role, place = None, str(random.choice(EVERYDAY_PLACES, p=[0.28] + [0.09] * 8))
    if not plain and random.random() < ROLE_SHARE:
        role = str(random.choice(list(ROLES)))
        outfit = ROLES[role][random.integers(len(ROLES[role]))]
        if random.random() < OWN_PLACE_SHARE:
            place = outfit.place
    elif not plain and random.random() < 0.12:
        place = str(random.choice(PLACES))
    spread = 0.5 if plain else 1.0
    yaw = float(np.clip(random.normal(0, 13 * spread), -35, 35))
    camera_yaw = float(random.normal(0, 6))
    pitch = float(np.clip(random.normal(0, 5 * spread), -12, 12))
    gaze = (
        (float(np.clip(-yaw * 0.8, -24, 24)), float(np.clip(pitch, -8, 8)))
        if random.random() < 0.75
        else (float(random.normal(0, 8)), float(random.normal(0, 4)))
    )
    expressions = list(EXPRESSIONS)
    expression = str(random.choice(expressions, p=[EXPRESSIONS[e][0] for e in expressions]))
    if plain:
        expression = str(random.choice(['neutral', 'smiling']))
    return Shot(
        number=number,
        role=role,
        outfit=outfit,
        hat_colour=hat_colour,
        expression=expression,
        strength=float(random.uniform(0.85, 1.05)),
        wink_left=bool(random.random() < 0.5),
        yaw=yaw,
        pitch=pitch,
        roll=float(random.normal(0, 2.5)),
        camera_yaw=camera_yaw,
        camera_pitch=float(random.normal(1, 3)),
        gaze=gaze,
        light=str(random.choice(list(LIGHTS), p=[0.32, 0.16, 0.2, 0.1, 0.1, 0.12])),
        light_from_left=bool(random.random() < 0.5),
        distance=float(random.uniform(0.94, 1.08)),
        place=place,
        backdrop=str(random.choice(list(CLOTHES))),
        neckline=float(random.choice([0.62, 0.8], p=[0.6, 0.4])),
        seed=float(random.uniform(0, 50)),
    )
