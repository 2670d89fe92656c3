"""Adults who do not exist, drawn from a seed."""

from dataclasses import dataclass, field

import numpy as np

from beards import BEARDS
from lab import lab, linear_of_lab
from palette import EYES, GLASSES, HAIR, LIPSTICKS, SKIN_NAMES, SKIN_RAMP, UNDERTONE, linear

# hairstyle: its phrase, and the phrase where what is tied, or the fringe under a hat, cannot be seen
HAIR_PHRASES = {
    'crop': ('short hair', None), 'side part': ('side-parted hair', None), 'quiff': ('quiff', None), 'slick': ('slicked-back hair', None),
    'curls': ('curly hair', None), 'afro': ('afro', None), 'mohawk': ('mohawk', 'shaved hair'), 'top knot': ('top knot', 'short hair'),
    'pixie': ('pixie cut', None), 'bun': ('bun', 'hair tied back'), 'low bun': ('low bun', 'hair tied back'),
    'ponytail': ('ponytail', 'hair tied back'), 'plaits': ('plaits', 'hair tied back'), 'bunches': ('bunches', 'hair tied back'),
    'bob': ('bob', None), 'fringe bob': ('bob with fringe', 'bob'), 'long': ('long hair', None), 'wavy': ('long wavy hair', None),
    'fringe long': ('long hair with fringe', 'long hair'), 'shoulder curls': ('long curly hair', None), 'buzz': ('buzz cut', None), 'bald': ('bald', None),
}  # fmt: skip
PAINTED = ('buzz', 'bald')
# how long hair is, for the card: 0 none, 1 short, 2 to the chin, 3 to the shoulders or longer
HAIR_LENGTH = {
    'bald': 0,
    'bob': 2,
    'fringe bob': 2,
    'long': 3,
    'wavy': 3,
    'fringe long': 3,
    'shoulder curls': 3,
    'ponytail': 3,
    'plaits': 3,
    'bunches': 3,
}
# how far hair stands over the head, of the head's height: the camera steps back for it
HAIR_RISE = {
    'bun': 0.16,
    'top knot': 0.12,
    'afro': 0.18,
    'mohawk': 0.16,
    'quiff': 0.08,
    'shoulder curls': 0.08,
    'curls': 0.06,
    'wavy': 0.05,
}
WOMENS = {'long': 3, 'wavy': 3, 'fringe long': 2, 'bob': 3, 'fringe bob': 2, 'ponytail': 3, 'bun': 2, 'low bun': 2, 'plaits': 1.2,
          'bunches': 0.8, 'pixie': 2, 'shoulder curls': 2.5, 'curls': 0.5, 'afro': 1, 'crop': 0.3}  # fmt: skip
MENS = {'crop': 4, 'side part': 4, 'quiff': 3, 'slick': 2, 'curls': 2.5, 'afro': 1, 'buzz': 2, 'bald': 1.6, 'long': 0.7, 'top knot': 0.6,
        'mohawk': 0.4, 'wavy': 0.4, 'low bun': 0.3}  # fmt: skip
AFRICAN = {'afro': 3, 'curls': 2, 'shoulder curls': 2}  # times as frequent
HANGS_BELOW_HATS = (
    'bob',
    'fringe bob',
    'long',
    'wavy',
    'fringe long',
    'shoulder curls',
    'ponytail',
    'plaits',
    'bunches',
    'afro',
)
DYED = ('pink', 'blue')
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
    'mouth-laugh-lines',
    'asym',
)
# what one knows a face by, as far as a recogniser is concerned: these vary more
TELLING_SLIDERS = (
    'head-scale-horiz', 'head-scale-vert', 'head-fat', 'chin-width', 'chin-height', 'chin-prominent', 'cheek-volume', 'cheek-bones',
    'nose-scale-vert', 'nose-scale-horiz', 'nose-scale-depth', 'nose-trans', 'mouth-scale-horiz', 'mouth-trans', 'forehead',
    'mouth-lowerlip-height', 'mouth-upperlip-height', 'eye-trans', 'eye-corner', 'eye-epicanthus',
)  # fmt: skip
SOFTER = {
    'chin-width': -0.45,
    'chin-height': -0.2,
    'chin-bones': -0.3,
    'nose-scale-horiz': -0.2,
    'nose-volume': -0.2,
    'eye-scale': 0.25,
    'head-oval': 0.3,
    'mouth-lowerlip-volume': 0.25,
    'mouth-upperlip-volume': 0.25,
    'nose-nostrils-width': -0.2,
    'neck-scale-horiz': -0.4,
    'head-fat': 0.1,
}  # women's faces lean this way
STERNER = {
    'chin-width': 0.3,
    'chin-height': 0.15,
    'chin-bones': 0.3,
    'chin-prominent': 0.15,
    'nose-scale-horiz': 0.1,
    'nose-volume': 0.15,
    'head-square': 0.25,
    'neck-scale-horiz': 0.3,
    'eye-scale': -0.15,
}  # men's faces lean this way
FRIENDLIER = {
    'eye-scale': 0.8,
    'eye-height2': 0.55,
    'eye-height1': 0.35,
    'eye-height3': 0.35,
    'eye-bag': -0.3,
    'eyebrows-trans': 0.4,
    'eyebrows-angle': 0.2,
    'mouth-angles': 0.35,
    'mouth-scale-horiz': 0.35,
    'head-round': 0.35,
    'head-scale-vert': -0.25,
    'cheek-volume': 0.3,
    'head-fat': 0.12,
    'chin-width': -0.15,
    'nose-scale-horiz': -0.3,
    'nose-scale-vert': -0.2,
    'nose-scale-depth': -0.15,
    'nose-point': 0.15,
    'mouth-lowerlip-volume': 0.35,
    'mouth-upperlip-volume': 0.3,
    'mouth-scale-vert': 0.15,
}  # every face leans this way: the drawn world is a kind one


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
    beard: str | None
    glasses: str | None
    glasses_power: float
    freckles: float
    makeup: float
    blush: float
    shadow: np.ndarray
    lip_cover: float
    brow_width: float
    brow_arch: float
    brow_rise: float
    eye_size: float  # how much larger than a real person's
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

    def hair_phrase(self, whole_seen=True):
        """Style and colour; `whole_seen`: whether what is tied, or the fringe, can be seen."""
        if self.hair_style == 'bald':
            return 'bald'
        whole, rest = HAIR_PHRASES[self.hair_style]
        return f'{self.hair_name} {whole if whole_seen or rest is None else rest}'

    @property
    def beard_phrase(self):
        return BEARDS[self.beard][3] if self.beard else None

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
        x *= 1.6 if stem.startswith(TELLING_SLIDERS) else 1.0
        x *= 0.16 if stem.startswith(CALM_SLIDERS) else 0.23 if stem.startswith(('nose', 'mouth')) else 0.32
        if stem.startswith('head-') and not minus:
            x = abs(x) * 1.4
        x += FRIENDLIER.get(stem, 0.0)
        x += (SOFTER if sex == 'woman' else STERNER).get(stem, 0.0)
        x = float(np.clip(x, -0.9, 0.9))
        for name in plus if x > 0 else minus:
            found[name] = abs(x)
    for name in model.names:
        if name.startswith('asym-') and random.random() < 0.15:
            found[name] = float(abs(random.normal(0, 0.07)))
    return found


def ramp(colours, x):
    """Colour at x in 0..1 along a list of colours."""
    x *= len(colours) - 1
    i = min(int(x), len(colours) - 2)
    return colours[i] * (1 - x + i) + colours[i + 1] * (x - i)


def undertoned(skin, random):
    """The skin's colour with an undertone of its own, from pink to golden."""
    lightness, a, b = lab(skin)
    return linear_of_lab([lightness, *(v * np.exp(random.normal(*UNDERTONE[axis])) for axis, v in (('a', a), ('b', b)))])


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
    chances = WOMENS if sex == 'woman' else MENS
    weights = np.array(
        [chances[s] * (AFRICAN.get(s, 0.7) if origins[0] > 0.5 else 0.25 if s == 'afro' else 1) for s in chances]
    )
    style = random.choice(list(chances), p=weights / weights.sum())
    if sex == 'man' and years > 50 and random.random() < 0.2:
        style = 'bald'
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
    beard = random.choice(['none', *BEARDS], p=[0.46, 0.12, 0.08, 0.08, 0.14, 0.12]) if sex == 'man' else 'none'
    skin = undertoned(ramp(SKIN_RAMP, tone) * np.exp(random.normal(0, 0.035, 3)), np.random.default_rng([seed, number, 1]))
    makeup = float(sex == 'woman' and random.random() < 0.5)
    # bare lips are the skin's colour, a little redder and darker
    lips = skin * np.array([0.84, 0.54, 0.54] if sex == 'woman' else [0.84, 0.66, 0.65]) * np.exp(random.normal(0, 0.05, 3))
    if makeup:
        lips = 0.6 * linear(str(random.choice(LIPSTICKS))) * (1.1 - 0.5 * tone) + 0.4 * lips
    return Person(
        number=number,
        sex=sex,
        years=years,
        skin_tone=tone,
        shape={**body_weights(random, male, years, origins), **face_weights(random, model, sex)},
        hair_style=style,
        hair_name=colour,
        eye_name=eyes,
        beard=None if beard == 'none' else str(beard),
        glasses=str(random.choice(list(GLASSES), p=[0.42, 0.18, 0.13, 0.13, 0.14])) if random.random() < 0.24 else None,
        glasses_power=float(random.choice([2.0, 3.0, 5.0])),
        freckles=float(random.random() < 0.18 and tone < 0.4),
        makeup=makeup,
        blush=float(np.clip(random.normal(0.6, 0.2), 0.1, 1.1)),
        brow_width=float(np.clip(random.normal(1.0 if sex == 'man' else 0.68, 0.19), 0.42, 1.5)),
        brow_arch=float(np.clip(random.normal(0.6, 0.5), -0.5, 1.6)),
        brow_rise=float(np.clip(random.normal(0, 0.022), -0.04, 0.05)),
        eye_size=float(np.clip(random.normal(1.28 if sex == 'woman' else 1.2, 0.05), 1.1, 1.4)),
        shadow=linear(str(random.choice(['8a5a52', '7a5470', '6a5a62', '8a6448']))) * (1.1 - 0.6 * tone),
        lip_cover=0.9 if makeup else 0.85 if sex == 'woman' else 0.6,
        skin=skin,
        lips=lips,
        hair=linear(HAIR[colour]) * np.exp(random.normal(0, 0.08)),
        iris=linear(EYES[eyes]) * np.exp(random.normal(0, 0.1)),
    )
