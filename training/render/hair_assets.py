"""Hair from MakeHuman's base assets (CC0): geometry bound to the head by an .mhclo file, so that it follows the head's shape."""

import os
import re

import numpy as np

from head_model import parse_obj

STYLES = 'afro01 bob01 bob02 braid01 long01 ponytail01 short01 short02 short03'.split()


class FittedMesh:
    """Geometry each of whose vertices hangs on three vertices of the base mesh."""

    def __init__(self, folder, name):
        with open(os.path.join(folder, name + '.mhclo'), errors='replace') as f:
            binding = f.read()
        obj = re.search(r'^obj_file (\S+)', binding, re.M).group(1)
        with open(os.path.join(folder, obj), errors='replace') as f:
            self.vertices, self.texture, groups = parse_obj(f.read())
        self.triangles = np.concatenate(list(groups.values()))
        self.scales = []
        for axis, key in enumerate(('x_scale', 'y_scale', 'z_scale')):
            match = re.search(rf'^{key} (\d+) (\d+) ([\d.]+)', binding, re.M)
            if match:
                self.scales.append((axis, int(match[1]), int(match[2]), float(match[3])))
        self.anchors, self.weights, self.offsets = self._read_binding(binding)

    @staticmethod
    def _read_binding(binding):
        anchors, weights, offsets = [], [], []
        lines = iter(binding.splitlines())
        for line in lines:
            if line.startswith('verts'):
                break
        for line in lines:
            if line.startswith('delete_verts'):
                break
            fields = line.split()
            if not re.match(r'^\d', line.strip()):
                continue
            if len(fields) == 1:
                anchors.append([int(fields[0])] * 3)
                weights.append([1, 0, 0])
                offsets.append([0, 0, 0])
            elif len(fields) >= 9:
                anchors.append([int(x) for x in fields[:3]])
                weights.append([float(x) for x in fields[3:6]])
                offsets.append([float(x) for x in fields[6:9]])
        return np.array(anchors), np.array(weights, np.float32)[..., None], np.array(offsets, np.float32)

    def fit(self, head):
        """Vertex positions on the given (unposed) head."""
        scale = np.ones(3, np.float32)
        for axis, low, high, reference in self.scales:
            scale[axis] = abs(head[low, axis] - head[high, axis]) / reference
        return (head[self.anchors] * self.weights).sum(1) + self.offsets * scale


def load_hair(assets):
    """All hair styles found under the assets folder."""
    return {name: FittedMesh(os.path.join(assets, 'base', 'hair', name), name) for name in STYLES}
