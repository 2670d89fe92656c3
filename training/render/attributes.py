"""What is true of a shot, in numbers: for checks by program and for the identity card."""

from lab import lab
from people import HAIR_LENGTH


def rounded_lab(linear):
    return [round(float(v), 2) for v in lab(linear)]


def attributes(person, shot, share, landmarks, scale):
    """Numbers and names; `landmarks` by name in pixels of the render, `scale` to pixels of the picture that is kept."""
    return {
        'sex': person.sex,
        'years': round(person.years, 1),
        'skin_tone': round(person.skin_tone, 4),
        'skin_lab': rounded_lab(person.skin),
        'hair_lab': rounded_lab(person.hair),
        'hair_colour': person.hair_name,
        'hair_style': person.hair_style,
        'hair_length': HAIR_LENGTH.get(person.hair_style, 1),
        'eye_colour': person.eye_name,
        'beard': person.beard,
        'glasses': person.glasses,
        'role': shot.role,
        'place': shot.place,
        'backdrop': shot.backdrop if shot.place == 'studio' else None,
        'hat': shot.outfit.hat,
        'hat_colour': shot.outfit.hat_colour,
        'cut': shot.outfit.style,
        'clothes_colour': shot.outfit.colour,
        'prop': shot.outfit.prop,
        'expression': shot.expression,
        'light': shot.light,
        'yaw': round(shot.yaw, 2),
        'pitch': round(shot.pitch, 2),
        'roll': round(shot.roll, 2),
        'camera_yaw': round(shot.camera_yaw, 2),
        'gaze': [round(g, 2) for g in shot.gaze],
        'landmarks': {name: [round(v * scale, 2) for v in point] for name, point in landmarks.items()},
        'parts': {name: round(value, 4) for name, value in share.items()},
    }
