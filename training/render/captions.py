"""What a picture truthfully shows: clauses, sentences made of them in several wordings, and the list of all values of a clause.

What is drawn is not always seen.  A clause is written only if the picture of parts (renderer.PARTS) shows enough of the thing.
"""

import json

import numpy as np

from beards import BEARDS
from hats import SHOWS_ALL_HAIR
from palette import CLOTHES, GLASSES, HAIR, LIGHTS, SKIN_NAMES
from people import HAIR_PHRASES, HANGS_BELOW_HATS, PAINTED
from props import PROPS
from renderer import PARTS
from roles import PLACES, ROLES
from shots import EXPRESSIONS

TURNED = 10  # degrees of head yaw, as the camera sees it, from which a head counts as turned
# share of the picture from which a part counts as seen
SEEN = {
    'skin': 0.05,
    'eyes': 0.0012,
    'hair': 0.015,
    'tail': 0.006,
    'beard': 0.006,
    'clothes': 0.03,
    'hat': 0.02,
    'glasses': 0.003,
    'prop': 0.008,
}
STUBBLE_SEEN = 0.05  # share of skin from which stubble, which is painted on skin, counts as seen
EVERYDAY_HATS = ('beanie', 'fedora', 'beret')
CUTS = ('t-shirt', 'turtleneck', 'hoodie', 'shirt')


def shares(parts):
    """Share of the picture by part, from the numbers that the renderer drew."""
    counts = np.bincount(parts.ravel(), minlength=len(PARTS))
    return {name: float(count) / parts.size for name, count in zip(PARTS, counts, strict=False)}


def seen(share, part):
    return share[part] >= SEEN[part]


def identity(person, outfit, share):
    """What belongs to the person; `share`: what is seen of each part."""
    covered = outfit.hat is not None and outfit.hat not in SHOWS_ALL_HAIR
    if person.hair_style in PAINTED:
        hair = not covered
    else:
        hair = share['hair'] + share['tail'] >= SEEN['hair'] and (not covered or person.hair_style in HANGS_BELOW_HATS)
    whole = not covered if person.hair_style.startswith('fringe') else seen(share, 'tail')
    beard = person.beard is not None and (share['skin'] >= STUBBLE_SEEN if person.beard == 'stubble' else seen(share, 'beard'))
    return {
        'sex': person.sex,
        'age': person.age_name,
        'skin': person.skin_name,
        'hair': person.hair_phrase(whole),
        'hair_visible': bool(hair),
        'beard': person.beard_phrase if beard else None,
        'glasses': person.glasses_phrase if seen(share, 'glasses') else None,
    }


def place_phrase(place, backdrop):
    return f'plain {backdrop} background' if place == 'studio' else place


def clauses(person, shot, share):
    """What belongs to the picture.  "left" and "right" are the viewer's."""
    role = shot.role
    if role == 'royal':
        role = 'king' if person.sex == 'man' else 'queen'
    pose = 'facing the camera' if abs(shot.yaw) < TURNED else f'head turned {"right" if shot.yaw > 0 else "left"}'
    clothed = share['clothes'] + share['collar'] >= SEEN['clothes']
    return {
        'role': role,
        'royal': shot.role == 'royal',
        'clothes': shot.outfit.clothes if clothed else None,
        'hat': shot.outfit.hat_phrase if shot.outfit.hat and seen(share, 'hat') else None,
        'prop': shot.outfit.prop if shot.outfit.prop and seen(share, 'prop') else None,
        'expression': shot.expression,
        'pose': pose,
        'light': shot.light,
        'place': place_phrase(shot.place, shot.backdrop),
    }


def article(noun):
    """The noun with its article; words that take none stay bare."""
    if noun.split()[-1] in ('scrubs', 'armour', 'dungarees', 'hair', 'snorkel', 'stubble', 'glasses', 'plaits', 'bunches'):
        return noun
    return f'{"an" if noun[0] in "aeiou" else "a"} {noun}'


def located(place):
    """The place with its preposition."""
    if place.endswith('background'):
        return f'in front of a {place}'
    words = {
        'beach': 'on a beach', 'garden': 'in a garden', 'forest': 'in a forest', 'brick wall': 'in front of a brick wall',
        'mountains': 'in the mountains', 'kitchen': 'in a kitchen', 'castle hall': 'in a castle hall', 'open sea': 'on the open sea',
        'flames': 'in front of flames', 'laboratory': 'in a laboratory', 'desert': 'in the desert', 'stadium': 'in a stadium',
        'art studio': 'in an art studio', 'concert stage': 'on a concert stage', 'hospital': 'in a hospital', 'fjord': 'by a fjord',
        'cherry blossoms': 'among cherry blossoms', 'city skyline': 'before a city skyline', 'library': 'in a library',
        'greenhouse': 'in a greenhouse', 'snowy landscape': 'in a snowy landscape', 'night forest': 'in a night forest',
        'starry space': 'in starry space', 'sunset sky': 'under a sunset sky', 'city lights at night': 'before city lights at night',
        'foggy street at night': 'on a foggy street at night',
    }  # fmt: skip
    return words.get(place, place)


def sentences(who, what, random, count=4):
    """`count` wordings of one picture, from a few words to all that is seen."""
    return [_sentence(who, what, random, detail) for detail in np.linspace(0.25, 0.95, count)]


def _sentence(who, what, random, detail):
    def maybe():
        return random.random() < detail

    noun = f'{who["age"]} {who["sex"]}' if maybe() else who['sex']
    traits = [f'{who["skin"]} skin'] if random.random() < 0.6 * detail else []
    if who['hair_visible'] and maybe():
        traits.append('no hair' if who['hair'] == 'bald' else article(who['hair']))
    traits += [article(who[key]) for key in ('beard', 'glasses') if who[key] and maybe()]
    person = article(noun) + (' with ' + ' and '.join(traits) if traits else '')
    named = random.random() < 0.5 + 0.5 * detail
    subject = person if named else str(random.choice(['me', 'a person', 'someone']))
    text = str(random.choice(['', 'a portrait of ', 'a picture of ', 'a 3d portrait of '])) + subject
    if what['role']:
        text += str(random.choice([' as ', ' as ', ' dressed as '])) + article(what['role'])
    worn = []
    if what['clothes'] and (maybe() or not what['role']):
        worn.append(article(what['clothes']))
    if what['hat'] and (maybe() or not what['role']):
        worn.append(article(what['hat']))
    parts = ['wearing ' + ' and '.join(worn)] if worn else []
    if what['prop'] and maybe():
        parts.append('with ' + article(what['prop']))
    if what['expression'] != 'neutral' and random.random() < 0.4 + detail or maybe():
        parts.append(what['expression'] if what['expression'] != 'neutral' else 'neutral expression')
    if maybe() and random.random() < 0.5:
        parts.append(what['pose'])
    if maybe():
        parts.append(located(what['place']))
    if maybe() and random.random() < 0.6:
        parts.append(what['light'])
    if random.random() < 0.4:
        random.shuffle(parts)
    return ', '.join([text, *parts])


def vocabulary():
    """Every value each field can take."""
    colours = list(CLOTHES)
    outfits = [outfit for choices in ROLES.values() for outfit in choices]
    styles = sorted({phrase for pair in HAIR_PHRASES.values() for phrase in pair if phrase} - {'bald'})
    return {
        'identity': {
            'sex': ['man', 'woman'],
            'age': ['young', 'middle-aged', 'elderly'],
            'skin': SKIN_NAMES,
            'hair': ['bald'] + [f'{colour} {style}' for colour in HAIR for style in styles],
            'beard': [beard[3] for beard in BEARDS.values()],
            'glasses': [f'{colour} glasses' for colour in GLASSES],
        },
        'clauses': {
            'role': [role for role in ROLES if role != 'royal'] + ['king', 'queen'],
            'clothes': sorted({o.clothes for o in outfits})
            + [f'{c} {cut}' for c in colours for cut in CUTS]
            + [f'{a} and {b} striped t-shirt' for a in colours for b in colours if a != b],
            'hat': sorted({o.hat_phrase for o in outfits if o.hat_phrase} | {'straw hat'})
            + [f'{c} {hat}' for c in colours for hat in EVERYDAY_HATS],
            'prop': list(PROPS),
            'expression': list(EXPRESSIONS),
            'pose': ['facing the camera', 'head turned left', 'head turned right'],
            'light': list(LIGHTS),
            'place': [p for p in PLACES if p != 'studio'] + [place_phrase('studio', c) for c in colours],
        },
    }


def main():
    """Writes the vocabulary as JSON to standard output."""
    fields = vocabulary()
    phrases = [value for part in fields.values() for values in part.values() for value in values] + ['royal']
    phrases += [located(place) for place in fields['clauses']['place']]
    phrases += ['a an portrait picture 3d of me person someone dressed as wearing with no hair skin neutral expression']
    fields['words'] = sorted({word for phrase in phrases for word in phrase.split()})
    print(json.dumps(fields, indent=1, ensure_ascii=False))


if __name__ == '__main__':
    main()
