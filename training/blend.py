"""Weights between two files of the same keys: PART of the way from A's to B's, number by number, in f32; kept in f16.

    python training/blend.py A.safetensors B.safetensors 0.75 OUT.safetensors [--keep BEGINNING ...]

What begins with one of `--keep` stays A's. B has been trained on from A, and all of the way is too far (network interpolation, arXiv 1809.00219): a decoder
trained with a critic draws scraps of edges near the end (`--keep encoder. quant_conv.`), an adapter trained without the identity loss faces
without features.  Needs numpy 2.4.6, safetensors 0.8.0.
"""

import argparse

import numpy as np
from safetensors.numpy import load_file, save_file

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument('a')
parser.add_argument('b')
parser.add_argument('part', type=float)
parser.add_argument('out')
parser.add_argument('--keep', nargs='*', default=[])
options = parser.parse_args()

first, second = load_file(options.a), load_file(options.b)
if {key: value.shape for key, value in first.items()} != {key: value.shape for key, value in second.items()}:
    parser.error(f'{options.a} and {options.b} do not hold the same keys and shapes')


def blended(key):
    if key.startswith(tuple(options.keep)):
        return first[key].astype(np.float16)
    a, b = first[key].astype(np.float32), second[key].astype(np.float32)
    return (a + (b - a) * np.float32(options.part)).astype(np.float16)


save_file({key: blended(key) for key in first}, options.out, metadata={'format': 'pt'})
