"""Light, camera and place of a shot, as the numbers that the renderer takes."""

import numpy as np

from beards import BEARDS
from hats import HIDES_ALL_HAIR
from palette import CLOTHES, LIGHTS, linear
from people import DYED
from renderer import look_at, perspective
from roles import DARK_PLACES, GARMENT_STYLES, PLACES

FIELD_OF_VIEW = 20.0
OWN_LIGHT = (*DARK_PLACES, 'sunset sky', 'underwater')  # places that keep their colours whatever the light on the person


def rotation(yaw, pitch, roll=0.0):
    """Rotation matrix: yaw about y, then pitch about x, then roll about z."""
    y, p, r = np.radians([yaw, pitch, roll])
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    tilt = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return (turn @ nod @ tilt).astype(np.float32)


def colour_of(name):
    """Linear RGB of a named colour or a hex triple."""
    return linear(CLOTHES.get(name, name))


def hex_colour(name):
    """sRGB in 0..1 of a named colour or a hex triple."""
    return colour_of(name) ** (1 / 2.2)


def camera_of(shot, base, turn, tone):
    """Camera and exposure; like a photographer's, the exposure follows the skin."""
    tall = base['top'] - base['chin']
    top, bottom = base['top'] + shot.rise * tall, base['chin'] - 1.12
    reach = top - bottom + 0.52
    middle = np.array([0, (top + 0.34 + bottom) / 2, 0.30])
    forward = np.array([0, 0, 0.5])
    target = middle + (turn @ forward - forward) * 0.6
    distance = reach / (2 * np.tan(np.radians(FIELD_OF_VIEW) / 2)) * shot.distance
    eye = target + rotation(shot.camera_yaw, -shot.camera_pitch) @ np.array([0, 0, distance])
    return dict(
        view_projection=perspective(FIELD_OF_VIEW) @ look_at(eye, target),
        camera=eye,
        exposure=LIGHTS[shot.light].exposure * (0.82 + 0.5 * tone),
        centre=np.array([0, base['level'] - 0.4, 0.4]),
    )


def project(view, point, size):
    """Pixel (x, y) of a point in a picture of this size."""
    x, y, _, w = view['view_projection'] @ np.append(point, 1.0)
    return [round(float((x / w * 0.5 + 0.5) * size), 2), round(float((0.5 - y / w * 0.5) * size), 2)]


def background_of(shot):
    """What the painter of the place is told."""
    tone = np.ones(3) if shot.place in OWN_LIGHT else np.array(LIGHTS[shot.light].backdrop)
    if shot.place == 'studio':
        tone = tone**0.6
    return dict(
        place=PLACES.index(shot.place), backdrop=hex_colour(shot.backdrop), tone_light=tone, seed=shot.seed, blur=shot.blur
    )


def uniforms_of(person, shot, eyes, turn):
    """Everything the surface shaders ask for but the hair plane."""
    light, outfit = LIGHTS[shot.light], shot.outfit
    azimuth = light.azimuth * (-1 if shot.light_from_left else 1)
    frame = rotation(shot.camera_yaw, -shot.camera_pitch)

    def direction(degrees, elevation):
        a, e = np.radians([degrees, elevation])
        return frame @ np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)], np.float32)

    key, rim_side = direction(azimuth, light.elevation), -np.sign(azimuth) * 125
    catch = 0.55 * key + 0.62 * (frame @ np.array([0, 0, 1.0])) + np.array([0, 0.22, 0])
    gaze = {side: turn @ rotation(shot.gaze[0], -shot.gaze[1]) @ np.array([0, 0, 1.0], np.float32) for side in 'lr'}
    scalp = {'bald': 0.10 if person.sex == 'man' else 0.0, 'buzz': 0.92, 'mohawk': 0.55}.get(person.hair_style, 1.0)
    if outfit.hat in HIDES_ALL_HAIR:
        scalp = min(scalp, 0.3)
    natural = person.hair if person.hair_name not in DYED else linear('3d281d')
    cut = BEARDS[person.beard] if person.beard else (0, 0, 0.0, None)
    return dict(
        key_direction=key,
        key_colour=light.key,
        fill_direction=direction(-azimuth * 1.1, 8),
        fill_colour=light.fill,
        sky=light.sky,
        ground=light.ground,
        rim_direction=direction(rim_side, 22),
        rim_colour=light.rim,
        catch_direction=catch / np.linalg.norm(catch),
        head_up=turn @ np.array([0, 1.0, 0], np.float32),
        skin_colour=person.skin,
        lip_colour=person.lips,
        lip_cover=person.lip_cover,
        shadow_colour=person.shadow,
        hair_colour=person.hair,
        beard_colour=natural * 0.85,
        brow_colour=natural * 0.6 + 0.004,
        iris_colour=person.iris,
        tone=person.skin_tone,
        age=np.clip((person.years - 40) / 40, 0, 1),
        brow_arch=person.brow_arch,
        brow_rise=person.brow_rise,
        brow_width=person.brow_width,
        beard=cut[2],
        beard_cut=cut[0],
        freckles=person.freckles,
        makeup=person.makeup,
        blush=person.blush,
        scalp=scalp,
        seed=float(person.number % 97),
        cloth_colour=colour_of(outfit.colour),
        cloth_accent=colour_of(outfit.accent),
        cloth_third=colour_of(outfit.third),
        garment_style=GARMENT_STYLES.index(outfit.style),
        eye_left=eyes['l'],
        eye_right=eyes['r'],
        gaze_left=gaze['l'],
        gaze_right=gaze['r'],
    )
