"""What a picture truthfully shows, in clauses; and the list of all values a clause can take."""

import json

from hats import HIDES_ALL_HAIR, SHOWS_ALL_HAIR
from palette import CLOTHES, GLASSES, HAIR, LIGHTS, SKIN_NAMES
from people import BEARDS, HANGS_BELOW_HATS, LONG_HAIR, PAINTED_HAIR, SHORT_HAIR
from roles import PLACES, ROLES
from shots import EXPRESSIONS

TURNED = 10  # degrees of head yaw, as the camera sees it, from which a head counts as turned


def hair_visible(person, outfit):
    """Whether the hair phrase can be read off the picture."""
    if outfit.hat is None or outfit.hat in SHOWS_ALL_HAIR:
        return True
    return outfit.hat not in HIDES_ALL_HAIR and person.hair_style in HANGS_BELOW_HATS


def identity(person, outfit):
    """What belongs to the person."""
    return {
        'sex': person.sex,
        'age': person.age_name,
        'skin': person.skin_name,
        'hair': person.hair_phrase,
        'hair_visible': hair_visible(person, outfit),
        'beard': person.beard_phrase,
        'glasses': person.glasses_phrase,
    }


def place_phrase(place, backdrop):
    return f'plain {backdrop} background' if place == 'studio' else place


def clauses(person, shot):
    """What belongs to the picture.  "left" and "right" are the viewer's."""
    role = shot.role
    if role == 'royal':
        role = 'king' if person.sex == 'man' else 'queen'
    pose = 'facing the camera' if abs(shot.yaw) < TURNED else f"head turned {'right' if shot.yaw > 0 else 'left'}"
    return {
        'role': role,
        'royal': shot.role == 'royal',
        'clothes': shot.outfit.clothes,
        'hat': shot.outfit.hat_phrase,
        'expression': shot.expression,
        'pose': pose,
        'light': shot.light,
        'place': place_phrase(shot.place, shot.backdrop),
    }


def vocabulary():
    """Every value each field can take."""
    colours = list(CLOTHES)
    outfits = [outfit for choices in ROLES.values() for outfit in choices]
    styles = sorted({*LONG_HAIR.values(), *SHORT_HAIR.values(), PAINTED_HAIR['buzz']})
    return {
        'identity': {
            'sex': ['man', 'woman'],
            'age': ['young', 'middle-aged', 'elderly'],
            'skin': SKIN_NAMES,
            'hair': ['bald'] + [f'{colour} {style}' for colour in HAIR for style in styles],
            'beard': list(BEARDS.values()),
            'glasses': [f'{colour} glasses' for colour in GLASSES],
        },
        'clauses': {
            'role': [role for role in ROLES if role != 'royal'] + ['king', 'queen'],
            'clothes': sorted({o.clothes for o in outfits})
            + [f'{c} {cut}' for c in colours for cut in ('t-shirt', 'turtleneck')]
            + [f'{a} and {b} striped t-shirt' for a in colours for b in colours if a != b],
            'hat': sorted({o.hat_phrase for o in outfits if o.hat_phrase})
            + [f'{c} {hat}' for c in colours for hat in ('beanie', 'fedora')],
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
    fields['words'] = sorted({word for phrase in phrases for word in phrase.split()})
    print(json.dumps(fields, indent=1, ensure_ascii=False))


if __name__ == '__main__':
    main()
