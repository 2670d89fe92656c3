"""Colours and lights by the names that captions use."""

import numpy as np


def linear(hex_colour):
    """sRGB hex triple -> linear RGB."""
    return (np.array([int(hex_colour[i : i + 2], 16) for i in (0, 2, 4)], np.float32) / 255) ** 2.2


SKIN_RAMP = [linear(h) for h in ('f2c6ab', 'e9b592', 'dda47c', 'ca8e62', 'aa744c', '875638', '66402a', '4c3221')]
# How much of the ramp's redness and yellowness a person's skin has: mean and spread of the logarithm. The ramp is as warm
# as an animated film, b 34 in light, and photos of people have 20: a model that saw it alone drew everybody yellow.
UNDERTONE = {'a': (-0.12, 0.14), 'b': (-0.35, 0.28)}
SKIN_NAMES = ['very light', 'light', 'tan', 'brown', 'dark']

HAIR = {
    'black': '2a2321',
    'dark brown': '3d281d',
    'brown': '66452d',
    'auburn': '83391e',
    'red': 'b0501f',
    'blonde': 'cfa560',
    'platinum blonde': 'e6d3a8',
    'grey': '8d8a88',
    'white': 'dedbd6',
    'pink': 'd8668f',
    'blue': '3d5fae',
}
EYES = {'brown': '5a341a', 'dark brown': '351f11', 'hazel': '86632c', 'green': '4f8a4a', 'blue': '4480bb', 'grey': '7b8894'}
CLOTHES = {
    'red': 'b92f31',
    'blue': '2f5fbe',
    'green': '2f8049',
    'black': '232327',
    'white': 'e6e4e0',
    'yellow': 'e6b830',
    'purple': '7443a3',
    'orange': 'e0742a',
    'grey': '82858a',
    'teal': '1f8a8c',
    'pink': 'e392b0',
    'brown': '7a5438',
}
GLASSES = {'black': '15151a', 'brown': '5a3a22', 'red': 'a01c22', 'blue': '1f48a0', 'gold': 'c9a04a'}
LIPSTICKS = ['b5565a', 'c4676a', 'a8484f', 'c8746a', 'b04a60', '9a4a4a']


class Light:
    """One lighting set-up: a key light, a fill from the other side, sky and ground, a rim light, an exposure."""

    def __init__(self, key, azimuth, elevation, fill, sky, ground, rim, exposure, backdrop):
        """Each colour is a hex triple and a strength; `backdrop` tints the place."""
        self.azimuth, self.elevation, self.exposure, self.backdrop = azimuth, elevation, exposure, backdrop
        self.key, self.fill, self.sky, self.ground, self.rim = (
            linear(colour) * strength for colour, strength in (key, fill, sky, ground, rim)
        )


LIGHTS = {
    'soft studio light': Light(
        ('fff3e4', 1.20), 30, 28, ('f0eeff', 0.42), ('dfe6f2', 0.50), ('c9b4a4', 0.46), ('ffffff', 1.0), 0.90, (1.0, 1.0, 1.0)
    ),
    'golden hour light': Light(
        ('ffcf94', 1.50),
        44,
        20,
        ('d8ccdc', 0.36),
        ('c4c6dc', 0.50),
        ('c79f80', 0.50),
        ('ffb55c', 1.6),
        0.90,
        (1.12, 0.97, 0.78),
    ),
    'overcast daylight': Light(
        ('f4f6ff', 0.80),
        16,
        50,
        ('f2f0ee', 0.34),
        ('e6ebf4', 0.72),
        ('b9afa6', 0.52),
        ('e4ecff', 0.8),
        0.94,
        (0.90, 0.93, 0.96),
    ),
    'blue night light': Light(
        ('cfdcff', 1.20),
        -38,
        28,
        ('ffc9a0', 0.34),
        ('8fa4d8', 0.55),
        ('7a78a8', 0.46),
        ('8a9cff', 1.8),
        1.02,
        (0.50, 0.58, 0.85),
    ),
    'neon light': Light(
        ('ffe2ee', 1.15),
        -40,
        22,
        ('ff9ad0', 0.36),
        ('9aa4e0', 0.50),
        ('9a86b4', 0.46),
        ('38d4ff', 2.2),
        0.98,
        (0.68, 0.56, 0.90),
    ),
    'dramatic side light': Light(
        ('fff0de', 1.6), 52, 22, ('c8ccdc', 0.30), ('a8b0c4', 0.42), ('86786f', 0.40), ('d8e2ff', 1.5), 0.96, (0.68, 0.66, 0.66)
    ),
}
NIGHT = ('soft studio light', 'blue night light', 'neon light', 'dramatic side light')
DAY = ('soft studio light', 'golden hour light', 'overcast daylight', 'dramatic side light')
