"""Puts a person and a shot together: shaped and posed meshes, hair, beard, clothes, hat, glasses, things held."""

import os
from dataclasses import dataclass

import numpy as np

from beards import BeardShell
from collars import CLOSE, COLLARS
from glasses import glasses_meshes
from hats import (
    HATS,
    HIDES_ALL_HAIR,
    RIM,
    RIM_RAISED,
    SHOWS_ALL_HAIR,
    SITS_ON_SUIT,
    HeadSize,
)
from head_model import BODY_VERTICES, HeadModel, Topology
from palette import GLASSES, linear
from people import PAINTED
from props import PROPS
from renderer import Piece, Renderer
from sculpted_hair import STYLES, HeadHair, Skull, hair_meshes, strand
from shots import expression_weights
from solids import ball, tube
from staging import background_of, camera_of, colour_of, project, rotation, uniforms_of
from stylise import Warp

NECKLINE, CLOSE_NECKLINE = 0.62, 0.50  # radius of the neck hole on the template
HAT_TILT = 12.0  # degrees a hat leans back
NO_PLANE = np.array([0, 0, 0, 1], np.float32)
# points of the face on the template, as SFace takes them, with the chin and the middle of the hairline added
LANDMARKS = {'nose': (0, 6.909, 1.6807), 'mouth_left': (0.25, 6.597, 1.40), 'mouth_right': (-0.25, 6.597, 1.40), 'chin': (0, 6.19, 1.45),
             'forehead': (0, 7.95, 1.4)}  # fmt: skip


@dataclass
class Photograph:
    """A rendered shot before it is scaled down.  `landmarks`: pixel positions by name; left is the person's own left."""

    picture: np.ndarray
    parts: np.ndarray
    landmarks: dict


def head_share(height):
    """How far a point of this template height turns with the head: 0 at the shoulders, 1 above the neck."""
    x = np.clip((height - 5.75) / 0.95, 0, 1)
    return (x * x * (3 - 2 * x))[:, None]


class Corners:
    """A mesh of the base model, with one vertex for each pair of position and texture coordinate."""

    def __init__(self, corners, texture):
        pairs, inverse = np.unique(corners.reshape(-1, 2), axis=0, return_inverse=True)
        self.vertices, self.uv = pairs[:, 0], texture[pairs[:, 1]]
        self.triangles = inverse.reshape(-1, 3)


class Studio:
    """Everything that is loaded once: the head, the hair, the drawing context.  `photograph` makes a picture."""

    def __init__(self, size=512, cache=None, assets=None):
        self.model = HeadModel(cache, assets)
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
        self.template_eyes = np.mean([self._middle(v[rows]) for rows in self.eye_vertices.values()], 0)
        self.lid_edges = self._lid_edges(np.unique(body[..., 0]))
        self.neck_joint = np.unique(groups['joint-head'][..., 0])
        self.eyeball = ball((0, 0, 0), 1.0, 17, 24)
        self.head_share = head_share(v[:, 1])
        self.garment_rise = np.clip((v[:, 1:2] - 5.5) / 0.3, 0, 1)
        self.skull = Skull(v, groups['body'][..., 0])
        skin = self.parts['skin']
        self.beard = BeardShell(v[skin.vertices], skin.triangles)
        near = np.unique(body[..., 0])
        self.landmark_rows = {name: near[((v[near] - at) ** 2).sum(1).argmin()] for name, at in LANDMARKS.items()}
        occluders = np.concatenate([body, groups['helper-l-eye'], groups['helper-r-eye'], groups['helper-upper-teeth']])[..., 0]
        self.occlusion = self.renderer.bake_occlusion(v, occluders, Topology(occluders, len(v)).normals(v))

    def _lid_edges(self, rows):
        """Vertices along the rim of each upper lid, from the nose outwards; `rows`: vertices of the skin."""
        v = self.model.template[rows]
        x = np.abs(v[:, 0])
        rim = (x > 0.205) & (x < 0.442) & (v[:, 1] > 7.283) & (v[:, 1] < 7.336) & (v[:, 2] > 1.338)
        radius = [np.linalg.norm(v - self._middle(self.model.template[r]), axis=1) for r in self.eye_vertices.values()]
        rim &= (np.min(radius, 0) > 0.148) & (np.min(radius, 0) < 0.166)
        found = {}
        for side, sign in (('l', 1), ('r', -1)):
            chosen = rows[rim & (v[:, 0] * sign > 0)]
            found[side] = chosen[np.argsort(np.abs(self.model.template[chosen, 0]))]
        return found

    @staticmethod
    def _middle(points):
        return (points.min(0) + points.max(0)) / 2

    def _cropped(self, corners, lowest):
        v = self.model.template[corners[..., 0]]
        return corners[(v[..., 1].max(1) > lowest) & (np.abs(v[..., 0]).max(1) < 2.9)]

    def base(self, person):
        """The person's head without expression or pose, with measures taken from it."""
        if not person.cache:
            plain, t = self.model.shaped(person.shape), self.model.template
            eyes = [self._middle(plain[rows]) for rows in self.eye_vertices.values()]
            warp = Warp(eyes, person.eye_size, plain[self.neck_joint].mean(0)[2])
            v = self._warped(warp, plain)
            skin = np.arange(len(t)) < BODY_VERTICES
            skull = v[skin & (t[:, 1] > 7.6) & (t[:, 1] < 8.15)]
            neck = v[skin & (np.abs(t[:, 1] - 6.0) < 0.12) & (np.abs(t[:, 0]) < 0.6) & (t[:, 2] < 0.8)]
            person.cache.update(
                plain=plain,
                warp=warp,
                vertices=v,
                level=warp.level,
                pivot=v[self.neck_joint].mean(0) + [0, -0.45, 0],
                top=v[skin, 1].max(),
                chin=v[self.landmark_rows['chin'], 1],
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
                hair={},
            )
        return person.cache

    def _warped(self, warp, vertices):
        out = vertices.copy()
        out[self.model.kept] = warp(vertices[self.model.kept])
        return out

    def photograph(self, person, shot):
        """The person in this shot, a Photograph of the renderer's size."""
        base = self.base(person)
        turn = rotation(shot.yaw + shot.camera_yaw, shot.pitch, shot.roll)
        pivot = base['pivot']

        def pose(points, share=1.0):
            return (points + ((points - pivot) @ turn.T + pivot - points) * share).astype(np.float32)

        shaped = self.model.shaped(expression_weights(shot), base['plain'])
        shaped[self.mouth_rows, 2] -= 0.05  # the teeth of some heads would come through the lips
        vertices = pose(self._warped(base['warp'], shaped), self.head_share)
        eyes = {side: self._eye(base['vertices'][rows], pose) for side, rows in self.eye_vertices.items()}
        hat, hair_plane = self._hat(person, shot, base, pose)
        pieces = (
            self._body(person, vertices, shot)
            + self._eyes(eyes)
            + self._lashes(person, vertices, eyes)
            + self._hair(person, shot, base, pose, turn)
            + hat
        )
        pieces += self._collar(shot, base) + self._prop(shot, base)
        if person.glasses:
            colour = linear(GLASSES[person.glasses])
            for mesh in glasses_meshes(base['vertices'], self.model.template, self.eye_vertices, person.glasses_power):
                kind = 'metal' if person.glasses == 'gold' else 'gloss'
                pieces.append(self._solid(mesh, kind, colour, 'glasses', pose))
        view = camera_of(shot, base, turn, person.skin_tone)
        uniforms = uniforms_of(person, shot, eyes, turn)
        uniforms |= dict(hair_plane=hair_plane, neckline=CLOSE_NECKLINE if shot.outfit.collar in CLOSE else NECKLINE)
        uniforms['hair_curl'] = float(person.hair_style in STYLES and STYLES[person.hair_style].curly)
        uniforms['hair_fuzz'] = STYLES[person.hair_style].fuzz if person.hair_style in STYLES else 0.0
        picture, parts = self.renderer.render(pieces, uniforms, view, background_of(shot))
        points = {name: vertices[row] for name, row in self.landmark_rows.items()}
        points |= {'eye_left': eyes['l'][:3], 'eye_right': eyes['r'][:3]}
        return Photograph(picture, parts, {name: project(view, p, picture.shape[0]) for name, p in points.items()})

    @staticmethod
    def _eye(points, pose):
        middle = (points.min(0) + points.max(0)) / 2
        radius = (points[:, 0].max() - points[:, 0].min()) / 2
        return np.append(pose(middle[None])[0], radius).astype(np.float32)

    def _body(self, person, vertices, shot):
        normals = self.topology.normals(vertices)
        found = []
        for kind, part in self.parts.items():
            rows = part.vertices
            positions = vertices[rows]
            if kind == 'garment':
                positions = positions + normals[rows] * (0.05 + shot.outfit.puff + 0.06 * self.garment_rise[rows])
                if shot.outfit.collar == 'crew':
                    found.append(self._ribbed_edge(positions, colour_of(shot.outfit.colour) * 0.88))
            occlusion = self.occlusion[rows] if kind == 'skin' else 1.0 if kind == 'garment' else 0.45
            found.append(
                Piece(positions, normals[rows], part.triangles, kind, self.model.template[rows], part.uv, occlusion=occlusion)
            )
            if kind == 'skin' and person.beard not in (None, 'stubble'):
                shell = self.beard
                lifted = shell.lifted(positions, normals[rows], person.beard)
                n = Topology(shell.triangles, len(lifted)).normals(lifted)
                found.append(Piece(lifted, n, shell.triangles, 'beard', shell.rest))
        return found

    def _ribbed_edge(self, cloth, colour):
        """The edge of a t-shirt's neck, along the hole of the cloth as it lies: a smooth closed curve through it."""
        rest = self.model.template[self.parts['garment'].vertices] - [0, 5.98, 0.16]
        beyond = np.linalg.norm(rest * [1, 0.85, 1], axis=1) - NECKLINE
        near = (np.abs(beyond) < 0.22) & (rest[:, 1] < 0.10)  # cloth above is left out
        angle, turns = np.arctan2(rest[near, 0], rest[near, 2]), np.arange(1, 4)

        def basis(a, d):
            waves = np.concatenate([np.ones((len(a), 1)), np.cos(a[:, None] * turns), np.sin(a[:, None] * turns)], 1)
            return np.concatenate([waves, waves[:, :3] * d], 1)

        curve = np.linalg.lstsq(basis(angle, beyond[near, None]), cloth[near], rcond=None)[0]
        around = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        path = basis(around, np.zeros((64, 1))) @ curve
        path += (0.5 + 0.5 * np.cos(around[:, None])) ** 2 * [0, -0.13, 0.07]  # the coarse cloth hangs lower before the throat
        return self._solid(tube(path, 0.068), 'cloth', colour, 'collar')

    def _eyes(self, eyes):
        points, triangles = self.eyeball
        return [
            Piece(eye[:3] + points * eye[3], points, triangles, 'eye', np.array([0.3 if side == 'l' else -0.3, 7.28, 1.3]))
            for side, eye in eyes.items()
        ]

    def _lashes(self, person, vertices, eyes):
        """A dark line along each upper lid, with a wing on women's."""
        found, woman = [], person.sex == 'woman'
        for side, rows in self.lid_edges.items():
            path, middle = vertices[rows], eyes[side][:3]
            path = path + (path - middle) * (0.045 / np.linalg.norm(path - middle, axis=1, keepdims=True))
            if woman:
                out = path[-1] - path[-3]
                path = np.vstack([path, path[-1] + out * 0.5 + [0, 0.022, -0.01]])
            at = np.linspace(0, len(path) - 1, 20)
            path = np.stack([np.interp(at, np.arange(len(path)), path[:, k]) for k in range(3)], -1)
            path[1:-1] = (path[:-2] + 2 * path[1:-1] + path[2:]) / 4
            t = np.linspace(0, 1, 20)
            radius = (
                (0.019 if woman else 0.013) * (0.35 + np.sin(np.pi * np.clip(t * 0.8 + 0.1, 0, 1))) * np.where(t > 0.9, 0.6, 1)
            )
            points, triangles, _, _ = strand(path, radius, sides=6)
            found.append(self._solid((points, triangles), 'gloss', linear('1c1413'), 'lashes'))
        return found

    def _hair(self, person, shot, base, pose, turn):
        name, hat = person.hair_style, shot.outfit.hat
        if name in PAINTED or hat in HIDES_ALL_HAIR:
            return []
        covered = hat is not None and hat not in SHOWS_ALL_HAIR
        if covered not in base['hair']:
            shift = np.array(
                [0, base['level'] - self.template_eyes[1], base['warp'].eyes[0][2] - self.template_eyes[2]], np.float32
            )
            head = HeadHair(*self.skull.measure(base['vertices'], shift))
            base['hair'][covered] = [
                (mesh, Topology(mesh[1], len(mesh[0]))) for mesh in hair_meshes(name, head, base['level'], covered)
            ]
        found = []
        for (points, triangles, uv, along, occlusion, part), topology in base['hair'][covered]:
            posed = pose(points, head_share(points[:, 1] - base['level'] + self.template_eyes[1]))
            # the direction of the hair takes the place of a colour
            found.append(
                Piece(posed, topology.normals(posed), triangles, 'sculpt', points, uv, along @ turn.T, occlusion, part)
            )
        return found

    @staticmethod
    def _solid(mesh, kind, colour, part, pose=None, rest=None):
        points, triangles = mesh
        positions = points if pose is None else pose(points)
        normals = Topology(triangles, len(points)).normals(positions)
        return Piece(positions, normals, triangles, kind, points if rest is None else rest, tint=colour, part=part)

    def _hat(self, person, shot, base, pose):
        """Pieces of the hat, and the plane above which it hides the hair."""
        name = shot.outfit.hat
        if name is None:
            return [], NO_PLANE
        width, back, front, brow = base['skull']
        room = 0.05 if person.hair_style in PAINTED else 0.10
        head = HeadSize(width + room, (front - back) / 2 + room, base['top'] - brow)
        centre = np.array([0, brow + RIM_RAISED.get(name, RIM), (front + back) / 2])
        fixed = name in SITS_ON_SUIT
        lean = rotation(0, 0 if fixed else -HAT_TILT)
        found = []
        for solid in HATS[name](head, colour_of(shot.outfit.hat_colour or shot.outfit.colour)):
            points = solid.mesh[0]
            placed = ((points @ lean.T + centre).astype(np.float32), solid.mesh[1])
            found.append(self._solid(placed, solid.kind, solid.colour, 'hat', None if fixed else pose, points))
        if fixed:
            return found, np.array([0, -1, 0, -6.1], np.float32)
        if name in SHOWS_ALL_HAIR:
            return found, NO_PLANE
        up = lean @ np.array([0, 1, 0])
        return found, np.append(up, up @ centre + 0.02).astype(np.float32)

    def _collar(self, shot, base):
        outfit = shot.outfit
        if outfit.collar in (None, 'crew'):
            return []
        width, back, front, height = base['neck']
        centre = np.array([0, height, (front + back) / 2])
        colour = (
            outfit.accent
            if outfit.collar in ('gold lapels',) or (outfit.collar == 'lapels' and outfit.style != 'buttoned')
            else outfit.colour
        )
        if outfit.collar in ('cape', 'bow') and outfit.hat_colour:
            colour = outfit.hat_colour
        lean = rotation(0, 8.0)
        return [
            self._solid(
                ((s.mesh[0] @ lean.T + centre).astype(np.float32), s.mesh[1]), s.kind, s.colour, 'collar', rest=s.mesh[0]
            )
            for s in COLLARS[outfit.collar]((width, (front - back) / 2), colour_of(colour))
        ]

    def _prop(self, shot, base):
        if shot.outfit.prop is None:
            return []
        _, back, front, height = base['neck']
        centre = np.array([0, height, (front + back) / 2])
        return [
            self._solid(
                ((s.mesh[0] + centre).astype(np.float32), s.mesh[1]),
                s.kind,
                s.colour,
                'prop',
                rest=s.mesh[0] if s.rest is None else s.rest,
            )
            for s in PROPS[shot.outfit.prop](None)
        ]
