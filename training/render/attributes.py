"""What is true of a shot, in numbers: for checks by program and for the identity card."""

import numpy as np

from people import HAIR_LENGTH


def lab(linear):
    """CIE Lab (D65) of linear RGB."""
    xyz = np.clip(linear, 0, 1) @ np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
    xyz = xyz / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return [round(float(v), 2) for v in (116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2]))]


def attributes(person, shot, share, landmarks, scale):
    """Numbers and names; `landmarks` by name in pixels of the render, `scale` to pixels of the picture that is kept."""
    return {
        'sex': person.sex,
        'years': round(person.years, 1),
        'skin_tone': round(person.skin_tone, 4),
        'skin_lab': lab(person.skin),
        'hair_lab': lab(person.hair),
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
