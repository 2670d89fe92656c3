//! Decoding in overlapping tiles whose seams are blended linearly; the tiles and the blend are those
//! of diffusers' `AutoencoderKL.tiled_decode`.

use tch::{Kind, Tensor};

/// A quarter of each tile overlaps its neighbour.
const OVERLAP: f64 = 0.25;

/// Sizes of tiles along both sides.
#[derive(Clone, Copy, Debug)]
pub struct Tiling {
    /// Latent cells of a tile, and between the starts of two tiles.
    tile: i64,
    stride: i64,
    /// Pixels that are blended, and that a tile contributes.
    blend: i64,
    keep: i64,
}

impl Tiling {
    /// For an autoencoder trained on `sample_size` pixels with `downscale` pixels a latent cell.
    pub fn new(sample_size: i64, downscale: i64) -> Self {
        let tile = (sample_size / downscale).max(1);
        let blend = (sample_size as f64 * OVERLAP) as i64;
        Self {
            tile,
            stride: ((tile as f64 * (1.0 - OVERLAP)) as i64).max(1),
            blend,
            keep: (sample_size - blend).max(1),
        }
    }
}

/// Mixes the end of `before` into the start of `tile` along `dim`.
fn blend(before: &Tensor, tile: &Tensor, extent: i64, dim: i64) -> Tensor {
    let (behind, here) = (before.size()[dim as usize], tile.size()[dim as usize]);
    let extent = extent.min(behind).min(here);
    if extent == 0 {
        return tile.shallow_clone();
    }
    let mut shape = [1i64; 4];
    shape[dim as usize] = extent;
    let weight = (Tensor::arange(extent, (Kind::Float, tile.device())) / extent as f64)
        .view(shape)
        .to_kind(tile.kind());
    let end = before.narrow(dim, behind - extent, extent);
    let start = tile.narrow(dim, 0, extent);
    let mixed = end * (1.0 - &weight) + start * &weight;
    Tensor::cat(&[mixed, tile.narrow(dim, extent, here - extent)], dim)
}

/// Decodes `latents` [B, C, h, w] tile by tile with `decode`.
pub fn tiled_decode(latents: &Tensor, t: &Tiling, decode: impl Fn(&Tensor) -> Tensor) -> Tensor {
    let (h, w) = (latents.size()[2], latents.size()[3]);
    let starts = |length: i64| (0..length).step_by(t.stride as usize);
    let mut above: Vec<Tensor> = Vec::new();
    let mut rows = Vec::new();
    for y in starts(h) {
        let mut row: Vec<Tensor> = Vec::new();
        for (column, x) in starts(w).enumerate() {
            let cells = latents.narrow(2, y, t.tile.min(h - y)).narrow(3, x, t.tile.min(w - x));
            let mut tile = decode(&cells);
            if let Some(above) = above.get(column) {
                tile = blend(above, &tile, t.blend, 2);
            }
            if let Some(left) = row.last() {
                tile = blend(left, &tile, t.blend, 3);
            }
            row.push(tile);
        }
        let kept: Vec<Tensor> = row
            .iter()
            .map(|tile| {
                let (height, width) = (tile.size()[2], tile.size()[3]);
                tile.narrow(2, 0, t.keep.min(height)).narrow(3, 0, t.keep.min(width))
            })
            .collect();
        rows.push(Tensor::cat(&kept, 3));
        above = row;
    }
    Tensor::cat(&rows, 2)
}
