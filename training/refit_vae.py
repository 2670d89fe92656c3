"""Gives latents that a U-Net knows another autoencoder: OLD's layers, made to write and read the latents of NEW.

    python training/refit_vae.py --old OLD/vae --new NEW/vae --data DATA --out OUT/vae --minutes 4

The shipped starter's U-Net was trained on the latents of an autoencoder that had had too few steps, beside which the one of the model
before is sharper.  The last layer of OLD's encoder is solved by least squares for NEW's latents; the first layer and the middle block of its
decoder are taught to make of them what they made of OLD's own, which leaves the rest as it is.  `imagine-training vae --decoder-only`
then trains the whole decoder on pictures.  Needs torch 2.11.0, diffusers 0.42.1, Pillow.
"""

import argparse
import glob
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

CHANNELS, SPREAD = 12, 0.1  # of latents; what the recipe's encoder reports
HELD_OUT, BATCH, RATE = 160, 24, 2e-3


def pictures(paths):
    """[B, 3, S, S] in [-1, 1]"""
    arrays = [np.asarray(Image.open(path).convert('RGB')).copy() for path in paths]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 127.5 - 1


def neighbourhoods(x):
    """[B, C, h, w] -> [B·h·w, 9·C + 1]: what a 3 x 3 convolution with bias sees at each place"""
    rows = torch.nn.functional.unfold(x, 3, padding=1).permute(0, 2, 1).reshape(-1, 9 * x.shape[1])
    return torch.cat([rows, torch.ones(len(rows), 1)], 1)


class LeastSquares:
    """A 3 x 3 convolution from many batches."""

    def __init__(self):
        self.square = self.product = 0

    def add(self, x, wanted):
        rows = neighbourhoods(x).double()
        wanted = wanted.permute(0, 2, 3, 1).reshape(len(rows), -1).double()
        self.square, self.product = self.square + rows.T @ rows, self.product + rows.T @ wanted

    def write(self, convolution, outputs):
        ridge = 1e-6 * self.square.diagonal().mean() * torch.eye(len(self.square), dtype=torch.float64)
        found = torch.linalg.solve(self.square + ridge, self.product).float()
        convolution.weight[:outputs] = found[:-1].T.reshape(outputs, -1, 3, 3)
        convolution.bias[:outputs] = found[-1]


def to_identity(convolution):
    torch.nn.init.dirac_(convolution.weight)
    convolution.bias.zero_()


@torch.no_grad()
def solve(old, new, paths):
    """OLD's ends for NEW's latents; and for each picture NEW's latents and what the middle of OLD's decoder makes of OLD's own."""
    features, latents, middles = {}, [], []
    old.encoder.conv_out.register_forward_pre_hook(lambda _, inputs: features.update(last=inputs[0]))
    out, into = LeastSquares(), LeastSquares()
    for begin in range(0, len(paths), 40):
        x = pictures(paths[begin : begin + 40])
        own, wanted = old.encode(x).latent_dist.mean, new.encode(x).latent_dist.mean
        first = old.decoder.conv_in(old.post_quant_conv(own))
        out.add(features['last'], wanted)
        into.add(wanted, first)
        latents.append(wanted)
        middles.append(old.decoder.mid_block(first).half())
    out.write(old.encoder.conv_out, CHANNELS)
    old.encoder.conv_out.weight[CHANNELS:] = 0
    old.encoder.conv_out.bias[CHANNELS:] = 2 * math.log(SPREAD)
    into.write(old.decoder.conv_in, old.decoder.conv_in.out_channels)
    to_identity(old.quant_conv)
    to_identity(old.post_quant_conv)
    return torch.cat(latents), torch.cat(middles)


def teach(decoder, latents, middles, minutes):
    """The first layer and the middle block of the decoder."""
    learnt = [*decoder.conv_in.parameters(), *decoder.mid_block.parameters()]
    optimizer = torch.optim.AdamW(learnt, RATE, betas=(0.9, 0.99))
    count, variance = len(latents) - HELD_OUT, middles[-HELD_OUT:].float().var()
    begun, steps = time.time(), 0
    while (part := (time.time() - begun) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group['lr'] = RATE * min(1, (steps + 1) / 50) * (0.02 + 0.49 * (1 + math.cos(math.pi * part)))
        rows = torch.randint(0, count, (BATCH,))
        noisy = latents[rows] + SPREAD * torch.randn_like(latents[rows])
        loss = (decoder.mid_block(decoder.conv_in(noisy)) - middles[rows].float()).square().mean() / variance
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        steps += 1
    with torch.no_grad():
        made = decoder.mid_block(decoder.conv_in(latents[-HELD_OUT:]))
        unlike = (made - middles[-HELD_OUT:].float()).square().mean() / variance
    print(f'{steps} steps; of the held-out pictures\' features {100 * unlike:.1f} % of the variance is not explained')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ('old', 'new', 'data', 'out'):
        parser.add_argument(f'--{name}', required=True, type=Path)
    parser.add_argument('--minutes', type=float, default=4.0)
    parser.add_argument('--pictures', type=int, default=3000)
    options = parser.parse_args()
    torch.manual_seed(0)
    paths = sorted(glob.glob(str(options.data / 'images' / '*.png')))
    paths = paths[:: max(1, len(paths) // options.pictures)][: options.pictures]
    old, new = (AutoencoderKL.from_pretrained(folder).float().eval() for folder in (options.old, options.new))
    teach(old.decoder, *solve(old, new, paths), options.minutes)
    old.half().save_pretrained(options.out)
    config = json.loads((options.old / 'config.json').read_text())
    config['scaling_factor'] = json.loads((options.new / 'config.json').read_text())['scaling_factor']
    (options.out / 'config.json').write_text(json.dumps(config, indent=2) + '\n')


if __name__ == '__main__':
    main()
