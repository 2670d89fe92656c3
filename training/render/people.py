"""Adults who do not exist, drawn from a seed."""

from dataclasses import dataclass, field

import numpy as np

from palette import EYES, GLASSES, HAIR, LIP_RAMP, SKIN_NAMES, SKIN_RAMP, linear

LONG_HAIR = {'bob01': 'bob', 'bob02': 'bob', 'braid01': 'side-swept hair', 'long01': 'long hair', 'ponytail01': 'hair tied back'}
SHORT_HAIR = {'short01': 'short hair', 'short02': 'short hair', 'short03': 'short hair', 'afro01': 'afro'}
HANGS_BELOW_HATS = ('bob01', 'bob02', 'long01')
PAINTED_HAIR = {'buzz': 'buzz cut', 'bald': 'bald'}
DYED = ('pink', 'blue')
BEARDS = {0.25: 'stubble', 0.6: 'short beard', 1.0: 'full beard'}
STILL_SLIDERS = ('head-trans', 'neck-trans', 'measure-neck', 'head-age', 'neck-double', 'ear-shape-pointed', 'head-angle')
CALM_SLIDERS = (
    'ear',
    'neck',
    'eyebrows',
    'eye-height',
    'eye-eyefold',
    'eye-push',
    'eye-bag',
    'forehead',
    'head',
    'mouth-trans',
    'asym',
)
SOFTER = {
    'chin-width': -0.45,
    'chin-height': -0.2,
    'chin-bones': -0.3,
    'nose-scale-horiz': -0.2,
    'nose-volume': -0.2,
    'eye-scale': 0.3,
    'head-oval': 0.3,
    'mouth-lowerlip-volume': 0.2,
    'mouth-upperlip-volume': 0.2,
}  # women's faces lean this way


@dataclass
class Person:
    """Everything about a person that stays the same from picture to picture."""

    number: int
    sex: str
    years: float
    skin_tone: float
    shape: dict
    hair_style: str
    hair_name: str
    eye_name: str
    beard: float
    glasses: str | None
    glasses_power: float
    freckles: float
    makeup: float
    blush: float
    brow_width: float
    brow_arch: float
    skin: np.ndarray
    lips: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    cache: dict = field(default_factory=dict)

    @property
    def age_name(self):
        return 'young' if self.years < 36 else 'middle-aged' if self.years < 58 else 'elderly'

    @property
    def skin_name(self):
        return SKIN_NAMES[min(4, int(self.skin_tone * 5))]

    @property
    def hair_phrase(self):
        if self.hair_style == 'bald':
            return 'bald'
        return f'{self.hair_name} ' + {**LONG_HAIR, **SHORT_HAIR, **PAINTED_HAIR}[self.hair_style]

    @property
    def beard_phrase(self):
        return BEARDS.get(self.beard)

    @property
    def glasses_phrase(self):
        return f'{self.glasses} glasses' if self.glasses else None


def three_way(x, noun):
    """A value in 0..1 as weights of MakeHuman's minimum, average and maximum targets."""
    return {f'min{noun}': max(0, 1 - 2 * x), f'average{noun}': 1 - abs(2 * x - 1), f'max{noun}': max(0, 2 * x - 1)}


def body_weights(random, male, years, origins):
    """Weights of the macro targets: sex, age, origin, muscle and weight."""
    old = np.clip((years - 25) / 65, 0, 1)
    weight, muscle = np.clip(random.normal((0.46, 0.3 + 0.25 * male), 0.18), 0, 1)
    found = {}
    for sex, s in (('male', male), ('female', 1 - male)):
        for age, a in (('young', 1 - old), ('old', old)):
            for origin, o in zip(('african', 'asian', 'caucasian'), origins, strict=True):
                found[f'{origin}-{sex}-{age}'] = s * a * o
            for muscle_name, m in three_way(muscle, 'muscle').items():
                for weight_name, w in three_way(weight, 'weight').items():
                    found[f'universal-{sex}-{age}-{muscle_name}-{weight_name}'] = s * a * m * w
    return {name: float(w) for name, w in found.items() if w > 1e-4}


def face_weights(random, model, sex):
    """Weights of the face sliders: what makes a face this person's own."""
    found = {}
    for stem, (minus, plus) in model.sliders().items():
        x = random.normal()
        if stem.startswith(STILL_SLIDERS):
            continue
        x *= 0.15 if stem.startswith(CALM_SLIDERS) else 0.27
        if stem.startswith('head-') and not minus:
            x = abs(x) * 1.4
        if stem == 'eye-scale':
            x += 0.95
        if sex == 'woman':
            x += SOFTER.get(stem, 0.0)
        x = float(np.clip(x, -1.3, 1.3))
        for name in plus if x > 0 else minus:
            found[name] = abs(x)
    for name in model.names:
        if name.startswith('asym-') and random.random() < 0.2:
            found[name] = float(abs(random.normal(0, 0.12)))
    return found


def ramp(colours, x):
    """Colour at x in 0..1 along a list of colours."""
    x *= len(colours) - 1
    i = min(int(x), len(colours) - 2)
    return colours[i] * (1 - x + i) + colours[i + 1] * (x - i)


def choose_hair(random, sex, years, origins):
    """Style and colour of the hair."""
    dark, light = (
        ['black', 'black', 'dark brown', 'brown'],
        ['dark brown', 'brown', 'auburn', 'red', 'blonde', 'blonde', 'platinum blonde', 'brown'],
    )
    colour = random.choice(light if origins[2] > 0.5 else dark)
    if years > 56 and random.random() < 0.8:
        colour = random.choice(['grey', 'white'])
    elif random.random() < 0.05:
        colour = random.choice(DYED)
    if sex == 'woman':
        style = random.choice(list(LONG_HAIR) * 4 + list(SHORT_HAIR))
    else:
        style = random.choice(list(SHORT_HAIR) * 3 + ['buzz', 'buzz', 'buzz', 'bald', 'bald', 'long01', 'ponytail01'])
    if style == 'afro01' and origins[0] < 0.3:
        style = 'short02' if sex == 'man' else 'bob01'
    return str(style), str(colour)


def sample_person(model, seed, number):
    """The person with this number in the world of this seed."""
    random = np.random.default_rng([seed, number])
    sex = 'man' if random.random() < 0.5 else 'woman'
    male = float(np.clip(random.normal(0.96 if sex == 'man' else 0.04, 0.06), 0, 1))
    years = float(20 + 60 * random.beta(1.2, 1.6))
    origins = random.dirichlet([0.25] * 3)
    tone = float(np.clip(origins @ np.array([0.9, 0.38, 0.1]) + random.normal(0, 0.1), 0, 1))
    style, colour = choose_hair(random, sex, years, origins)
    eyes = str(
        random.choice(
            ['brown', 'hazel', 'green', 'blue', 'grey', 'blue'] if origins[2] > 0.5 else ['brown', 'dark brown', 'dark brown']
        )
    )
    beard = float(random.choice([0.0, *BEARDS], p=[0.45, 0.17, 0.2, 0.18])) if sex == 'man' else 0.0
    return Person(
        number=number,
        sex=sex,
        years=years,
        skin_tone=tone,
        shape={**body_weights(random, male, years, origins), **face_weights(random, model, sex)},
        hair_style=style,
        hair_name=colour,
        eye_name=eyes,
        beard=beard,
        glasses=str(random.choice(list(GLASSES), p=[0.5, 0.2, 0.15, 0.15])) if random.random() < 0.22 else None,
        glasses_power=float(random.choice([2.0, 3.0, 5.0])),
        freckles=float(random.random() < 0.18 and tone < 0.4),
        makeup=float(sex == 'woman' and random.random() < 0.6),
        blush=float(np.clip(random.normal(0.6, 0.2), 0.1, 1.1)),
        brow_width=float(np.clip(random.normal(1.1 if sex == 'man' else 0.7, 0.15), 0.55, 1.5)),
        brow_arch=float(np.clip(random.normal(0.6, 0.35), 0, 1.4)),
        skin=ramp(SKIN_RAMP, tone) * np.exp(random.normal(0, 0.035, 3)),
        lips=ramp(LIP_RAMP, tone) * np.exp(random.normal(0, 0.06, 3)),
        hair=linear(HAIR[colour]) * np.exp(random.normal(0, 0.08)),
        iris=linear(EYES[eyes]) * np.exp(random.normal(0, 0.1)),
    )
