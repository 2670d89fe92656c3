"""Draws triangles with moderngl on EGL (a GPU, or llvmpipe on the CPU).

A shadow map, a depth pass that leaves out what is hidden by rule, one shading pass, tone mapping.
"""

import os
from dataclasses import dataclass

import cv2
import moderngl
import numpy as np

SHADERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'shaders')
SHADOW_SIZE = 512
KINDS = {
    name: i
    for i, name in enumerate('skin eye teeth tongue hair garment cloth gloss metal fur mail stars dots knit shell'.split())
}
VERTEX = np.dtype(
    [('position', 'f4', 3), ('normal', 'f4', 3), ('uv', 'f4', 2), ('rest', 'f4', 3), ('tint', 'f4', 4), ('kind', 'f4')]
)
ENLARGE = '#version 330\nin vec2 at; out vec4 colour; uniform sampler2D picture; void main() { colour = texture(picture, at); }'
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


def read_shader(*names):
    """Shader source: the named files, one after the other, under one version line."""
    parts = ['#version 330', f'#define SHADOW_SIZE {SHADOW_SIZE}.']
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


def tone_map(linear):
    """Filmic curve and gamma: linear light -> bytes."""
    curved = linear * (2.51 * linear + 0.03) / (linear * (2.43 * linear + 0.59) + 0.14)
    return (np.clip(curved, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)


class Renderer:
    """One drawing context; draws square pictures of `size` pixels.  Edges are smoothed by whoever scales them down."""

    def __init__(self, texture_folder, size=384):
        self.size = size
        self.context = c = moderngl.create_standalone_context(backend='egl')
        surface = ('common.glsl', 'skin.glsl', 'garments.glsl', 'surface.frag')
        self.surface = c.program(read_shader('surface.vert'), read_shader(*surface))
        self.depth = c.program(read_shader('depth.vert'), read_shader('common.glsl', 'depth.frag'))
        self.background = c.program(read_shader('background.vert'), read_shader('background.frag'))
        shape = (size, size)
        self.target = c.framebuffer([c.renderbuffer(shape, 4, dtype='f2')], c.depth_renderbuffer(shape))
        self.shadow_map = c.depth_texture((SHADOW_SIZE, SHADOW_SIZE))
        self.shadow_map.compare_func = '<='
        self.shadow_map.filter = (moderngl.LINEAR, moderngl.LINEAR)
        self.shadow_target = c.framebuffer([], self.shadow_map)
        self.maps = [self._mask(os.path.join(texture_folder, f'mpfb_{name}.jpg')) for name in ('lips', 'eyelids')]
        for slot, name in enumerate(('shadow_map', 'lips_map', 'lids_map')):
            self.surface[name].value = slot
        corners = c.buffer(np.array([-1, -1, 1, -1, -1, 1, 1, 1], np.float32))
        self.quad = c.vertex_array(self.background, [(corners, '2f', 'corner')])
        half = (size // 2, size // 2)  # places are painted small and enlarged: quick, and slightly out of focus
        self.place_picture = c.texture(half, 4, dtype='f2')
        self.place_picture.repeat_x = self.place_picture.repeat_y = False
        self.place_target = c.framebuffer([self.place_picture])
        self.enlarge = c.program(read_shader('background.vert'), ENLARGE)
        self.backdrop = c.vertex_array(self.enlarge, [(corners, '2f', 'corner')])

    def _mask(self, path):
        image = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
        image = cv2.resize(image, (1024, 1024), interpolation=cv2.INTER_AREA)[::-1].copy()
        texture = self.context.texture(image.shape[::-1], 1, image.tobytes())
        texture.build_mipmaps()
        texture.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
        return texture

    @staticmethod
    def _pack(pieces):
        vertices = np.empty(sum(len(p.positions) for p in pieces), VERTEX)
        triangles, start = [], 0
        for piece in pieces:
            rows = vertices[start : start + len(piece.positions)]
            rows['position'], rows['normal'], rows['uv'], rows['rest'] = piece.positions, piece.normals, piece.uv, piece.rest
            rows['tint'][:, :3], rows['tint'][:, 3], rows['kind'] = piece.tint, piece.occlusion, KINDS[piece.kind]
            triangles.append(piece.triangles + start)
            start += len(rows)
        return vertices, np.concatenate(triangles).astype(np.int32)

    def _array(self, program, vertices, indices):
        names = [n for n in VERTEX.names if n in program]
        layout = ' '.join(LAYOUT[n] if n in names else f'{VERTEX[n].itemsize}x' for n in VERTEX.names)
        return self.context.vertex_array(program, [(vertices, layout, *names)], indices)

    def render(self, pieces, uniforms, view, background):
        """Picture of the scene as bytes, height x width x RGB.

        `view`: matrix "view_projection", vector "camera", "exposure", and the "centre" the shadow map looks at.
        """
        c = self.context
        packed, triangles = self._pack(pieces)
        vertices, indices = c.buffer(packed.tobytes()), c.buffer(triangles.tobytes())
        surface, depth = self._array(self.surface, vertices, indices), self._array(self.depth, vertices, indices)
        light = orthographic(2.8, 1, 19) @ look_at(view['centre'] + uniforms['key_direction'] * 10, view['centre'], (0, 1, 0.01))
        for program in (self.surface, self.depth):
            for name, value in uniforms.items():
                assign(program, name, value)
        for name, value in background.items():
            assign(self.background, name, value)
        assign(self.surface, 'light_projection', light.T)
        assign(self.surface, 'view_projection', view['view_projection'].T)
        assign(self.surface, 'camera', view['camera'])

        c.enable(moderngl.DEPTH_TEST)
        c.disable(moderngl.CULL_FACE)
        c.depth_func = '<'
        self.shadow_target.clear(depth=1.0)
        self.shadow_target.use()
        assign(self.depth, 'view_projection', light.T)
        depth.render()

        c.disable(moderngl.DEPTH_TEST)
        self.place_target.use()
        self.quad.render(moderngl.TRIANGLE_STRIP)
        c.enable(moderngl.DEPTH_TEST)

        self.target.clear(0, 0, 0, 1, depth=1.0)
        self.target.use()
        assign(self.depth, 'view_projection', view['view_projection'].T)
        self.target.color_mask = (False,) * 4
        depth.render()
        self.target.color_mask = (True,) * 4
        c.depth_func = '=='  # only what the depth pass has kept is shaded, and only once
        self.shadow_map.use(0)
        for slot, texture in enumerate(self.maps, 1):
            texture.use(slot)
        surface.render()
        c.depth_func = '<'
        self.place_picture.use(0)
        self.backdrop.render(moderngl.TRIANGLE_STRIP)
        half = np.frombuffer(self.target.read(components=3, dtype='f2'), np.float16)
        for item in (surface, depth, vertices, indices):
            item.release()
        linear = half.reshape(self.size, self.size, 3)[::-1].astype(np.float32)
        return tone_map(np.minimum(linear, 4.0) * view['exposure'])

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
