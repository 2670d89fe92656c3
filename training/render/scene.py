"""Puts a person and a shot together: shaped and posed meshes, hair, clothes, hat, glasses, light, camera."""

import os

import numpy as np

from collars import COLLARS
from glasses import glasses_meshes
from hair_assets import load_hair
from hats import HATS, HIDES_ALL_HAIR, RIM_RAISED, SHOWS_ALL_HAIR, HeadSize
from head_model import BODY_VERTICES, HeadModel, Topology
from palette import CLOTHES, GLASSES, LIGHTS, linear
from people import DYED
from renderer import Piece, Renderer, look_at, perspective
from roles import GARMENT_STYLES, PLACES
from shots import expression_weights
from solids import ball

FIELD_OF_VIEW, CAMERA_DISTANCE = 24.0, 9.5
HAT_TILT = 12.0  # degrees a hat leans back
NO_PLANE = np.array([0, 0, 0, 1], np.float32)


def rotation(yaw, pitch, roll=0.0):
    """Rotation matrix: yaw about y, then pitch about x, then roll about z."""
    y, p, r = np.radians([yaw, pitch, roll])
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    tilt = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return (turn @ nod @ tilt).astype(np.float32)


def head_share(height):
    """How far a point of this template height turns with the head: 0 at the shoulders, 1 above the neck."""
    x = np.clip((height - 5.75) / 0.95, 0, 1)
    return (x * x * (3 - 2 * x))[:, None]


def colour_of(name):
    return linear(CLOTHES.get(name, name))


class Corners:
    """A mesh of the base model, with one vertex for each pair of position and texture coordinate."""

    def __init__(self, corners, texture):
        pairs, inverse = np.unique(corners.reshape(-1, 2), axis=0, return_inverse=True)
        self.vertices, self.uv = pairs[:, 0], texture[pairs[:, 1]]
        self.triangles = inverse.reshape(-1, 3)


class Studio:
    """Everything that is loaded once: the head, the hair, the drawing context.  `photograph` makes a picture."""

    def __init__(self, assets, size=384, cache=None):
        self.model = HeadModel(cache)
        self.hair = load_hair(assets)
        self.hair_topology = {name: Topology(mesh.triangles[..., 0], len(mesh.vertices)) for name, mesh in self.hair.items()}
        self.hair_corners = {name: Corners(mesh.triangles, mesh.texture) for name, mesh in self.hair.items()}
        self.renderer = Renderer(os.path.join(self.model.data, 'textures'), size)
        groups, v = self.model.groups, self.model.template
        body, cloth = self._cropped(groups['body'], 5.0), self._cropped(groups['helper-tights'], 4.4)
        teeth = np.concatenate([groups['helper-upper-teeth'], groups['helper-lower-teeth']])
        self.parts = {
            kind: Corners(corners, self.model.texture)
            for kind, corners in (('skin', body), ('garment', cloth), ('teeth', teeth), ('tongue', groups['helper-tongue']))
        }
        self.mouth_rows = np.unique(np.concatenate([self.parts['teeth'].vertices, self.parts['tongue'].vertices]))
        self.topology = Topology(np.concatenate([body, cloth, teeth, groups['helper-tongue']])[..., 0], len(v))
        self.eye_vertices = {side: np.unique(groups[f'helper-{side}-eye'][..., 0]) for side in 'lr'}
        self.neck_joint = np.unique(groups['joint-head'][..., 0])
        self.eyeball = ball((0, 0, 0), 1.0, 17, 24)
        self.head_share = head_share(v[:, 1])
        self.garment_rise = np.clip((v[:, 1:2] - 5.5) / 0.3, 0, 1)
        occluders = np.concatenate([body, groups['helper-l-eye'], groups['helper-r-eye'], groups['helper-upper-teeth']])[..., 0]
        self.occlusion = self.renderer.bake_occlusion(v, occluders, Topology(occluders, len(v)).normals(v))

    def _cropped(self, corners, lowest):
        v = self.model.template[corners[..., 0]]
        return corners[(v[..., 1].max(1) > lowest) & (np.abs(v[..., 0]).max(1) < 2.9)]

    def base(self, person):
        """The person's head without expression or pose, with measures taken from it."""
        if not person.cache:
            v, t = self.model.shaped(person.shape), self.model.template
            skin = np.arange(len(t)) < BODY_VERTICES
            skull = v[skin & (t[:, 1] > 7.6) & (t[:, 1] < 8.15)]
            neck = v[skin & (np.abs(t[:, 1] - 6.0) < 0.12) & (np.abs(t[:, 0]) < 0.6) & (t[:, 2] < 0.8)]
            person.cache.update(
                vertices=v,
                pivot=v[self.neck_joint].mean(0) + [0, -0.45, 0],
                top=v[skin, 1].max(),
                skull=(
                    np.abs(skull[:, 0]).max(),
                    skull[:, 2].min(),
                    skull[:, 2].max(),
                    v[skin & (np.abs(t[:, 1] - 7.78) < 0.1), 1].mean(),
                ),
                neck=(
                    np.abs(neck[:, 0]).max(),
                    neck[:, 2].min(),
                    neck[:, 2].max(),
                    v[skin & (np.abs(t[:, 1] - 5.98) < 0.1) & (np.abs(t[:, 0]) < 0.6), 1].mean(),
                ),
            )
        return person.cache

    def photograph(self, person, shot):
        """Picture of the person in this shot, as bytes, height x width x RGB."""
        base = self.base(person)
        turn = rotation(shot.yaw + shot.camera_yaw, shot.pitch, shot.roll)
        pivot = base['pivot']

        def pose(points, share=1.0):
            return (points + ((points - pivot) @ turn.T + pivot - points) * share).astype(np.float32)

        shaped = self.model.shaped(expression_weights(shot), base['vertices'])
        shaped[self.mouth_rows, 2] -= 0.05  # the teeth of some heads would come through the lips
        vertices = pose(shaped, self.head_share)
        eyes = {side: self._eye(base['vertices'][rows], pose) for side, rows in self.eye_vertices.items()}
        hat, hair_plane = self._hat(person, shot, base, pose)
        pieces = (
            self._body(vertices, shot) + self._eyes(eyes) + self._hair(person, shot, base, pose) + hat + self._collar(shot, base)
        )
        if person.glasses:
            colour = linear(GLASSES[person.glasses])
            for mesh in glasses_meshes(base['vertices'], self.model.template, self.eye_vertices, person.glasses_power):
                pieces.append(self._solid(mesh, 'gloss', colour, pose))
        uniforms, view = self._uniforms(person, shot, eyes, turn), self._camera(person, shot, base, turn)
        uniforms['hair_plane'] = hair_plane
        return self.renderer.render(pieces, uniforms, view, self._background(shot))

    @staticmethod
    def _eye(points, pose):
        middle = (points.min(0) + points.max(0)) / 2
        radius = (points[:, 0].max() - points[:, 0].min()) / 2
        return np.append(pose(middle[None])[0], radius).astype(np.float32)

    def _body(self, vertices, shot):
        normals = self.topology.normals(vertices)
        found = []
        for kind, part in self.parts.items():
            rows = part.vertices
            positions = vertices[rows]
            if kind == 'garment':
                positions = positions + normals[rows] * (0.05 + shot.outfit.puff + 0.06 * self.garment_rise[rows])
            occlusion = self.occlusion[rows] if kind == 'skin' else 1.0 if kind == 'garment' else 0.45
            found.append(
                Piece(positions, normals[rows], part.triangles, kind, self.model.template[rows], part.uv, occlusion=occlusion)
            )
        return found

    def _eyes(self, eyes):
        points, triangles = self.eyeball
        return [
            Piece(eye[:3] + points * eye[3], points, triangles, 'eye', np.array([0.3 if side == 'l' else -0.3, 7.28, 1.3]))
            for side, eye in eyes.items()
        ]

    def _hair(self, person, shot, base, pose):
        name = person.hair_style
        if name not in self.hair or shot.outfit.hat in HIDES_ALL_HAIR:
            return []
        if 'hair' not in base:
            base['hair'] = self.hair[name].fit(base['vertices']).astype(np.float32)
            distance = np.linalg.norm(base['hair'] - base['vertices'][:5000].mean(0), axis=1)
            base['hair_occlusion'] = np.clip((distance - 0.75) / 0.55, 0.35, 1.0)
        fitted, corners = base['hair'], self.hair_corners[name]
        posed = pose(fitted, head_share(fitted[:, 1]))
        rows = corners.vertices
        normals = self.hair_topology[name].normals(posed)
        if name == 'afro01':  # a ball of curls, whatever the steps of the mesh
            outwards = posed - pose(np.array([[0, base['top'] - 0.9, 0.45]], np.float32))
            normals = outwards / np.linalg.norm(outwards, axis=1, keepdims=True)
        return [
            Piece(
                posed[rows],
                normals[rows],
                corners.triangles,
                'hair',
                fitted[rows],
                corners.uv,
                occlusion=base['hair_occlusion'][rows],
            )
        ]

    @staticmethod
    def _solid(mesh, kind, colour, pose=None, rest=None):
        points, triangles = mesh
        positions = points if pose is None else pose(points)
        return Piece(
            positions,
            Topology(triangles, len(points)).normals(positions),
            triangles,
            kind,
            points if rest is None else rest,
            tint=colour,
        )

    def _hat(self, person, shot, base, pose):
        """Pieces of the hat, and the plane above which it hides the hair."""
        name = shot.outfit.hat
        if name is None:
            return [], NO_PLANE
        width, back, front, brow = base['skull']
        room = 0.05 if person.hair_style in ('bald', 'buzz') else 0.10
        head = HeadSize(width + room, (front - back) / 2 + room, base['top'] - brow)
        centre = np.array([0, brow + RIM_RAISED.get(name, 0.0), (front + back) / 2])
        lean = rotation(0, 0 if name == 'space helmet' else -HAT_TILT)
        found = []
        for solid in HATS[name](
            head, colour_of(shot.hat_colour) if name in ('beanie', 'fedora') else colour_of(shot.outfit.colour)
        ):
            points = solid.mesh[0]
            placed = points @ lean.T + centre
            found.append(
                self._solid(
                    (placed.astype(np.float32), solid.mesh[1]),
                    solid.kind,
                    solid.colour,
                    None if name == 'space helmet' else pose,
                    points,
                )
            )
        if name == 'space helmet':
            return found, np.array([0, -1, 0, -6.1], np.float32)
        if name in SHOWS_ALL_HAIR:
            return found, NO_PLANE
        up = lean @ np.array([0, 1, 0])
        return found, np.append(up, up @ centre + 0.02).astype(np.float32)

    def _collar(self, shot, base):
        if shot.outfit.collar is None:
            return []
        width, back, front, height = base['neck']
        centre = np.array([0, height, (front + back) / 2])
        accent = shot.outfit.accent if 'lapels' in shot.outfit.collar else shot.outfit.colour
        lean = rotation(0, 8.0)
        return [
            self._solid(((s.mesh[0] @ lean.T + centre).astype(np.float32), s.mesh[1]), s.kind, s.colour, rest=s.mesh[0])
            for s in COLLARS[shot.outfit.collar]((width, (front - back) / 2), colour_of(accent))
        ]

    def _uniforms(self, person, shot, eyes, turn):
        base_eyes = self.base(person)['vertices'][self.eye_vertices['l'], 1].mean()
        light = LIGHTS[shot.light]
        azimuth = light.azimuth * (-1 if shot.light_from_left else 1)
        frame = rotation(shot.camera_yaw, -shot.camera_pitch)

        def direction(degrees, elevation):
            a, e = np.radians([degrees, elevation])
            return frame @ np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)], np.float32)

        gaze = {side: turn @ rotation(shot.gaze[0], -shot.gaze[1]) @ np.array([0, 0, 1.0], np.float32) for side in 'lr'}
        scalp = {'bald': 0.18 if person.sex == 'man' else 0.0, 'buzz': 0.9}.get(person.hair_style, 1.0)
        if shot.outfit.hat in HIDES_ALL_HAIR:
            scalp = min(scalp, 0.3)
        return dict(
            key_direction=direction(azimuth, light.elevation),
            key_colour=light.key,
            sky=light.sky,
            ground=light.ground,
            rim_direction=direction(180 - azimuth if abs(azimuth) < 50 else -np.sign(azimuth) * 120, 15),
            rim_colour=light.rim,
            skin_colour=person.skin,
            lip_colour=person.lips * (np.array([1.05, 0.6, 0.65]) if person.makeup else 1.0),
            hair_colour=person.hair,
            beard_colour=linear('38251b') if person.hair_name in DYED else person.hair,
            brow_colour=person.hair * 0.6 if person.hair_name not in DYED else linear('33221a'),
            iris_colour=person.iris,
            tone=person.skin_tone,
            age=np.clip((person.years - 38) / 42, 0, 1),
            brow_arch=person.brow_arch,
            brow_width=person.brow_width,
            beard=person.beard,
            freckles=person.freckles,
            makeup=person.makeup,
            blush=person.blush,
            scalp=scalp,
            seed=float(person.number % 97),
            cloth_colour=colour_of(shot.outfit.colour),
            cloth_accent=colour_of(shot.outfit.accent),
            garment_style=GARMENT_STYLES.index(shot.outfit.style),
            neckline=0.62 if shot.outfit.collar or shot.role else shot.neckline,
            hair_curl=float(person.hair_style == 'afro01'),
            fringe=base_eyes + 0.22,
            eye_left=eyes['l'],
            eye_right=eyes['r'],
            gaze_left=gaze['l'],
            gaze_right=gaze['r'],
        )

    def _camera(self, person, shot, base, turn):
        """Camera and exposure; like a photographer's, the exposure follows the skin."""
        middle = np.array([0, base['pivot'][1] + 0.80, 0.30])
        forward = np.array([0, 0, 0.5])
        target = middle + (turn @ forward - forward) * 0.6
        eye = target + rotation(shot.camera_yaw, -shot.camera_pitch) @ np.array([0, 0, CAMERA_DISTANCE * shot.distance])
        return dict(
            view_projection=perspective(FIELD_OF_VIEW) @ look_at(eye, target),
            camera=eye,
            exposure=LIGHTS[shot.light].exposure * (0.92 + 0.4 * person.skin_tone),
            centre=np.array([0, 6.9, 0.4]),
        )

    def _background(self, shot):
        tone = (
            np.ones(3)
            if shot.place in ('flames', 'starry space', 'city lights at night', 'night forest', 'sunset sky')
            else LIGHTS[shot.light].backdrop
        )
        return dict(place=PLACES.index(shot.place), backdrop=colour_of(shot.backdrop), tone_light=tone, seed=shot.seed)
