"""Draws triangles with moderngl on EGL (a GPU, or llvmpipe on the CPU).

A shadow map, a depth pass that leaves out what is hidden by rule, one shading pass by group of materials into two pictures: colour
and part.  Programs are compiled for what they draw (one place, one cut of clothes, one group of materials), because a software
rasteriser pays for every branch of a shader whether it is taken or not.
"""

import os
from dataclasses import dataclass

import cv2
import moderngl
import numpy as np

SHADERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'shaders')
SHADOW_SIZE = 384
GROUPS = {
    'skin': ['skin'],
    'eye': ['eye'],
    'hair': ['sculpt', 'beard'],
    'garment': ['garment'],
    'solid': [
        'teeth', 'tongue', 'cloth', 'gloss', 'metal', 'fur', 'mail', 'stars', 'dots', 'knit', 'shell',
        'leather', 'straw', 'football', 'lacquer', 'glow', 'petals',
    ],
}  # fmt: skip
KINDS = {name: i for i, name in enumerate(kind for kinds in GROUPS.values() for kind in kinds)}
GROUP_OF = {kind: group for group, kinds in GROUPS.items() for kind in kinds}
# What the second picture holds; 0 is the background.
PARTS = 'background skin eyes mouth hair tail beard clothes collar hat glasses prop lashes'.split()
PART_OF_KIND = {
    'skin': 'skin', 'eye': 'eyes', 'teeth': 'mouth', 'tongue': 'mouth', 'sculpt': 'hair', 'beard': 'beard',
    'garment': 'clothes',
}  # fmt: skip
SHADOWLESS = ('glasses', 'lashes')  # their shadows would cross the face as dark lines
KIND_STEP = 64  # the vertex attribute "kind" is kind + KIND_STEP * part
VERTEX = np.dtype(
    [('position', 'f4', 3), ('normal', 'f4', 3), ('uv', 'f4', 2), ('rest', 'f4', 3), ('tint', 'f4', 4), ('kind', 'f4')]
)
LAYOUT = {'position': '3f', 'normal': '3f', 'uv': '2f', 'rest': '3f', 'tint': '4f', 'kind': '1f'}


@dataclass
class Piece:
    """Part of a scene: vertices with normals, triangles, and what its surface is made of."""

    positions: np.ndarray
    normals: np.ndarray
    triangles: np.ndarray
    kind: str
    rest: np.ndarray
    uv: np.ndarray | float = 0.0
    tint: tuple = (0.5, 0.5, 0.5)
    occlusion: np.ndarray | float = 1.0
    part: str | None = None  # of PARTS; by default what the kind belongs to


def look_at(eye, target, up=(0, 1, 0)):
    """View matrix."""
    forward = target - eye
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    m = np.eye(4)
    m[0, :3], m[1, :3], m[2, :3] = right, np.cross(right, forward), -forward
    m[:3, 3] = -m[:3, :3] @ eye
    return m


def perspective(degrees, near=1.0, far=60.0):
    """Projection matrix of a square picture."""
    t = 1 / np.tan(np.radians(degrees) / 2)
    m = np.zeros((4, 4))
    m[0, 0] = m[1, 1] = t
    m[2, 2], m[2, 3], m[3, 2] = (far + near) / (near - far), 2 * far * near / (near - far), -1
    return m


def orthographic(reach, near, far):
    """Projection matrix without perspective."""
    m = np.diag([1 / reach, 1 / reach, -2 / (far - near), 1.0])
    m[2, 3] = -(far + near) / (far - near)
    return m


def read_shader(*names, **constants):
    """Shader source: constants, then the named files, one after the other, under one version line."""
    parts = ['#version 330', f'#define SHADOW_SIZE {SHADOW_SIZE}.', f'#define KIND_STEP {KIND_STEP}']
    parts += [f'const int {kind.upper()} = {i};' for kind, i in KINDS.items()]
    parts += [f'#define {name} {value}' for name, value in constants.items()]
    for name in names:
        with open(os.path.join(SHADERS, name)) as f:
            parts.append(f.read())
    return '\n'.join(parts)


def assign(program, name, value):
    """Sets a uniform if the program has kept it."""
    if name in program:
        member = program[name]
        if np.ndim(value) == 0:
            member.value = int(value) if member.fmt.endswith('i') else float(value)
        else:
            member.write(np.asarray(value, np.float32).tobytes())


class Renderer:
    """One drawing context; draws square pictures of `size` pixels.  Edges are smoothed by whoever scales them down."""

    def __init__(self, texture_folder, size=512):
        self.size = size
        self.context = c = moderngl.create_standalone_context(backend='egl')
        self.programs = {}
        self.depth = c.program(read_shader('depth.vert'), read_shader('common.glsl', 'depth.frag'))
        shape = (size, size)
        self.target = c.framebuffer(
            [c.renderbuffer(shape, 4, dtype='f1'), c.renderbuffer(shape, 1, dtype='f1')], c.depth_renderbuffer(shape)
        )
        self.shadow_map = c.depth_texture((SHADOW_SIZE, SHADOW_SIZE))
        self.shadow_map.compare_func = '<='
        self.shadow_map.filter = (moderngl.LINEAR, moderngl.LINEAR)
        self.shadow_target = c.framebuffer([], self.shadow_map)
        self.maps = [self._mask(os.path.join(texture_folder, f'mpfb_{name}.jpg')) for name in ('lips', 'eyelids')]
        self.corners = c.buffer(np.array([-1, -1, 1, -1, -1, 1, 1, 1], np.float32))
        half = (size // 2, size // 2)  # places are painted small, and enlarged out of focus
        self.place_picture = c.texture(half, 4, dtype='f1')
        self.place_picture.repeat_x = self.place_picture.repeat_y = False
        self.place_picture.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
        self.place_target = c.framebuffer([self.place_picture])
        self.backdrop = self._quad(c.program(read_shader('background.vert'), read_shader('backdrop.frag')))

    def _quad(self, program):
        return self.context.vertex_array(program, [(self.corners, '2f', 'corner')])

    def _mask(self, path):
        image = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
        image = cv2.resize(image, (512, 512), interpolation=cv2.INTER_AREA)[::-1].copy()
        texture = self.context.texture(image.shape[::-1], 1, image.tobytes())
        texture.filter = (moderngl.LINEAR, moderngl.LINEAR)
        return texture

    def _place(self, place):
        """The painter of one place, compiled when it is first needed."""
        key = ('place', place)
        if key not in self.programs:
            program = self.context.program(
                read_shader('background.vert'), read_shader('places.glsl', 'background.frag', PLACE_DRAWN=place)
            )
            self.programs[key] = program, self._quad(program)
        return self.programs[key]

    def _surface(self, group, garment):
        """The program of one group of materials, compiled when it is first needed."""
        key = (group, garment if group == 'garment' else 0)
        if key not in self.programs:
            files = {'skin': ['skin.glsl'], 'eye': ['eye.glsl'], 'hair': ['hair.glsl'], 'garment': ['garments.glsl']}
            source = read_shader(
                'common.glsl', 'light.glsl', *files.get(group, ['solids.glsl']), 'surface.frag',
                **{'GROUP_' + group.upper(): 1, 'GARMENT_DRAWN': garment},
            )  # fmt: skip
            program = self.context.program(read_shader('surface.vert'), source)
            for slot, name in enumerate(('shadow_map', 'lips_map', 'lids_map')):
                if name in program:
                    program[name].value = slot
            self.programs[key] = program
        return self.programs[key]

    @staticmethod
    def _pack(pieces):
        """Vertices and triangles of all pieces in order of their groups, and {group: (first index, count)}, and how many cast shadows."""
        order = list(GROUPS)
        pieces = sorted(pieces, key=lambda p: (order.index(GROUP_OF[p.kind]), p.part in SHADOWLESS))
        vertices = np.empty(sum(len(p.positions) for p in pieces), VERTEX)
        triangles, start, ranges, drawn, casting = [], 0, {}, 0, 0
        for piece in pieces:
            rows = vertices[start : start + len(piece.positions)]
            part = PARTS.index(piece.part or PART_OF_KIND[piece.kind])
            rows['position'], rows['normal'], rows['uv'], rows['rest'] = piece.positions, piece.normals, piece.uv, piece.rest
            rows['tint'][:, :3], rows['tint'][:, 3] = piece.tint, piece.occlusion
            rows['kind'] = KINDS[piece.kind] + KIND_STEP * part
            triangles.append(piece.triangles + start)
            start += len(rows)
            first, count = ranges.get(GROUP_OF[piece.kind], (drawn, 0))
            ranges[GROUP_OF[piece.kind]] = first, count + 3 * len(piece.triangles)
            drawn += 3 * len(piece.triangles)
            casting = casting if piece.part in SHADOWLESS else drawn
        return vertices, np.concatenate(triangles).astype(np.int32), ranges, casting

    def _array(self, program, vertices, indices):
        names = [n for n in VERTEX.names if n in program]
        layout = ' '.join(LAYOUT[n] if n in names else f'{VERTEX[n].itemsize}x' for n in VERTEX.names)
        return self.context.vertex_array(program, [(vertices, layout, *names)], indices)

    def render(self, pieces, uniforms, view, background):
        """Picture of the scene, height x width x RGB, and its parts, height x width, numbers of PARTS; both as bytes.

        `view`: matrix "view_projection", vector "camera", "exposure", and the "centre" the shadow map looks at.
        """
        c = self.context
        packed, triangles, ranges, casting = self._pack(pieces)
        vertices, indices = c.buffer(packed.tobytes()), c.buffer(triangles.tobytes())
        light = orthographic(2.6, 1, 19) @ look_at(
            view['centre'] + uniforms['key_direction'] * 10, view['centre'], (0, 1, 0.01)
        )
        surfaces = []
        for group, (first, count) in ranges.items():
            program = self._surface(group, uniforms['garment_style'])
            for name, value in uniforms.items():
                assign(program, name, value)
            assign(program, 'light_projection', light.T)
            assign(program, 'view_projection', view['view_projection'].T)
            assign(program, 'camera', view['camera'])
            assign(program, 'exposure', view['exposure'])
            surfaces.append((self._array(program, vertices, indices), first, count))
        for name, value in uniforms.items():
            assign(self.depth, name, value)
        depth = self._array(self.depth, vertices, indices)

        c.enable(moderngl.DEPTH_TEST)
        c.disable(moderngl.CULL_FACE)
        c.depth_func = '<'
        self.shadow_target.clear(depth=1.0)
        self.shadow_target.use()
        assign(self.depth, 'view_projection', light.T)
        depth.render(vertices=casting)

        c.disable(moderngl.DEPTH_TEST)
        self.place_target.use()
        painter, quad = self._place(background['place'])
        for name, value in background.items():
            assign(painter, name, value)
        quad.render(moderngl.TRIANGLE_STRIP)
        self.place_picture.build_mipmaps(0, 3)
        c.enable(moderngl.DEPTH_TEST)

        self.target.clear(0, 0, 0, 0, depth=1.0)
        self.target.use()
        assign(self.depth, 'view_projection', view['view_projection'].T)
        self.target.color_mask = ((False,) * 4,) * 2
        depth.render()
        self.target.color_mask = ((True,) * 4,) * 2
        c.depth_func = '=='  # only what the depth pass has kept is shaded, and only once
        self.shadow_map.use(0)
        for slot, texture in enumerate(self.maps, 1):
            texture.use(slot)
        for array, first, count in surfaces:
            array.render(vertices=count, first=first)
        c.depth_func = '<'
        self.place_picture.use(0)
        assign(self.backdrop.program, 'blur', background['blur'])
        self.backdrop.render(moderngl.TRIANGLE_STRIP)
        colour = np.frombuffer(self.target.read(components=3), np.uint8).reshape(self.size, self.size, 3)
        parts = np.frombuffer(self.target.read(components=1, attachment=1), np.uint8).reshape(self.size, self.size)
        for item in (*(array for array, _, _ in surfaces), depth, vertices, indices):
            item.release()
        return np.ascontiguousarray(colour[::-1]), np.ascontiguousarray(parts[::-1])

    def bake_occlusion(self, vertices, triangles, normals, views=96, size=384):
        """Ambient occlusion of every vertex: the share of directions from which it is seen."""
        c = self.context
        program = c.program(
            '#version 330\nin vec3 p; uniform mat4 m; void main() { gl_Position = m * vec4(p, 1.); }',
            '#version 330\nvoid main() {}',
        )
        texture = c.depth_texture((size, size))
        target = c.framebuffer([], texture)
        array = c.vertex_array(
            program, [(c.buffer(vertices.astype('f4').tobytes()), '3f', 'p')], c.buffer(triangles.astype('i4').tobytes())
        )
        random, centre = np.random.default_rng(0), np.array([0, 6.6, 0.4])
        seen, total = np.zeros(len(vertices)), np.zeros(len(vertices))
        c.enable(moderngl.DEPTH_TEST)
        for _ in range(views):
            direction = random.normal(size=3)
            direction /= np.linalg.norm(direction)
            matrix = orthographic(3.6, 1, 19) @ look_at(centre + direction * 10, centre, (0, 1, 0.01))
            target.clear(depth=1.0)
            target.use()
            program['m'].write(matrix.T.astype('f4').tobytes())
            array.render()
            depth = np.frombuffer(texture.read(), np.float32).reshape(size, size)
            q = vertices @ matrix[:3, :3].T + matrix[:3, 3]
            pixel = np.clip(((q[:, :2] * 0.5 + 0.5) * size).astype(int), 0, size - 1)
            weight = np.clip(normals @ direction, 0, 1)
            seen += weight * ((q[:, 2] * 0.5 + 0.5) <= depth[pixel[:, 1], pixel[:, 0]] + 0.004)
            total += weight
        occlusion = np.clip(seen / (total + 1e-6), 0, 1).astype(np.float32) ** 0.8
        occlusion[total < 1e-3] = 0.6
        return occlusion
