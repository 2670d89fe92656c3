"""Colours and lights by the names that captions use."""

import numpy as np


def linear(hex_colour):
    """sRGB hex triple -> linear RGB."""
    return (np.array([int(hex_colour[i : i + 2], 16) for i in (0, 2, 4)], np.float32) / 255) ** 2.2


SKIN_RAMP = [linear(h) for h in ('efcbb4', 'e6b796', 'd9a47d', 'c48a5f', 'a4704a', '815236', '613d29', '48301f')]
LIP_RAMP = [linear(h) for h in ('d2827c', 'c8776f', 'b9695f', 'a85f52', '935046', '784038', '5f332e', '4f2926')]
SKIN_NAMES = ['very light', 'light', 'tan', 'brown', 'dark']

HAIR = {
    'black': '1a1513',
    'dark brown': '38251b',
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
GLASSES = {'black': '15151a', 'brown': '5a3a22', 'red': 'a01c22', 'blue': '1f48a0'}


class Light:
    """One lighting set-up: a key light, ambient from above and below, a rim light, an exposure."""

    def __init__(self, key, strength, azimuth, elevation, sky, ground, rim, exposure, backdrop):
        self.key, self.azimuth, self.elevation = linear(key) * strength, azimuth, elevation
        self.sky, self.ground, self.rim = linear(sky), linear(ground), linear(rim) * 0.8
        self.exposure, self.backdrop = exposure, backdrop


LIGHTS = {
    'soft studio light': Light('fff4e8', 1.1, 30, 32, 'd4dae4', 'b8aaa0', 'ffffff', 0.88, (1.0, 1.0, 1.0)),
    'golden hour light': Light('ffd6a8', 1.4, 46, 22, 'c0c2d6', 'b8a08c', 'ffd090', 0.95, (1.12, 0.95, 0.74)),
    'overcast daylight': Light('eef3ff', 0.6, 15, 55, 'e4eaf4', 'b2aca4', 'cfd8e8', 0.98, (0.86, 0.9, 0.95)),
    'blue night light': Light('c2d4ff', 1.3, -38, 30, '94a4c4', '70769c', 'b48cff', 1.0, (0.42, 0.5, 0.8)),
    'neon light': Light('ffcfe4', 1.15, -50, 20, '9aa0cc', '807aa0', '40d8ff', 1.0, (0.62, 0.5, 0.85)),
    'dramatic side light': Light('fff0e0', 1.6, 58, 24, '9a9ea8', '807a76', 'b9c0d0', 0.98, (0.6, 0.58, 0.58)),
}
