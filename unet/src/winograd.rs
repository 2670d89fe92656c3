//! 3 × 3 convolution by Winograd's minimal filtering, F(4×4, 3×3) (Lavin and Gray, arXiv 1509.09308): a block of
//! 4 × 4 outputs takes 36 products for each pair of channels instead of 144. The direct convolutions of the
//! library below come near to what a core can multiply in f32, so fewer products are what is left to gain.
//!
//! For blocks `d` of 6 × 6 inputs and a kernel `g`: `Aᵀ [Σ (G g Gᵀ) ⊙ (Bᵀ d B)] A`, summed over the input channels.
//! Sums and products of other numbers round differently: results differ from exact ones by about 2·10⁻⁶ (root mean
//! square), seldom by 10⁻⁵ of the largest; the direct convolution in f32 by a tenth of that.

use tch::{Device, Kind, Tensor};

/// Outputs along a side of a block.
const BLOCK: i64 = 4;
/// Inputs along a side: each output sees one cell more on either side.
const TILE: i64 = BLOCK + 2;
/// Inputs of a block.
const AREA: i64 = TILE * TILE;

/// So many transformed inputs, f32 values, are in memory at a time. With fewer the weights are transformed
/// again and again; tensors of more than 64 MiB would cost fresh pages each time (`process_settings.rs`).
const INPUTS_AT_ONCE: i64 = 3 << 22;
/// The same of weights. Smaller parts make smaller, slower multiplications.
const WEIGHTS_AT_ONCE: i64 = 1 << 23;

/// Fewer channels than this leave the multiplications too small, in and out.
const LEAST_CHANNELS: i64 = 64;
/// Fewer blocks than this do not make up for the transformation of the weights, which is done every time: kept,
/// transformed weights would take four times the memory.
const LEAST_BLOCKS: i64 = 64;

/// `Bᵀ`
const INPUT: [[f64; 6]; 6] = [
    [4.0, 0.0, -5.0, 0.0, 1.0, 0.0],
    [0.0, -4.0, -4.0, 1.0, 1.0, 0.0],
    [0.0, 4.0, -4.0, -1.0, 1.0, 0.0],
    [0.0, -2.0, -1.0, 2.0, 1.0, 0.0],
    [0.0, 2.0, -1.0, -2.0, 1.0, 0.0],
    [0.0, 4.0, 0.0, -5.0, 0.0, 1.0],
];
/// `G`
const WEIGHT: [[f64; 3]; 6] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];
/// `Aᵀ`
const OUTPUT: [[f64; 6]; 4] = [
    [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
    [0.0, 1.0, -1.0, 2.0, -2.0, 0.0],
    [0.0, 1.0, 1.0, 4.0, 4.0, 0.0],
    [0.0, 1.0, -1.0, 8.0, -8.0, 1.0],
];

/// The Kronecker product of a matrix with itself: it transforms both sides of a tile at once. f32 [R², C²]
fn both_sides<const R: usize, const C: usize>(matrix: &[[f64; C]; R]) -> Tensor {
    let product = |top: &[f64; C], bottom: &[f64; C]| -> Vec<f32> {
        top.iter().flat_map(|a| bottom.iter().map(move |b| (a * b) as f32)).collect()
    };
    let rows: Vec<f32> =
        matrix.iter().flat_map(|top| matrix.iter().flat_map(move |bottom| product(top, bottom))).collect();
    Tensor::from_slice(&rows).view([(R * R) as i64, (C * C) as i64])
}

/// Blocks along a side.
fn blocks(side: i64) -> i64 {
    (side + BLOCK - 1) / BLOCK
}

/// Whether a convolution of `x` [B, C, H, W] with `weight` [O, C, 3, 3], stride 1 and one cell of padding, is
/// faster this way: in f32 on a CPU, without gradients, and large enough.
pub fn pays(x: &Tensor, weight: &Tensor) -> bool {
    let (&[b, inputs, h, w], &[outputs, _, 3, 3]) = (x.size().as_slice(), weight.size().as_slice()) else {
        return false;
    };
    x.device() == Device::Cpu
        && x.kind() == Kind::Float
        && weight.kind() == Kind::Float
        && !(x.requires_grad() || weight.requires_grad())
        && inputs.min(outputs) >= LEAST_CHANNELS
        && b * blocks(h) * blocks(w) >= LEAST_BLOCKS
}

/// x [B, C, H, W], weight [O, C, 3, 3], bias [O] → [B, O, H, W], all f32 on the CPU; stride 1, one cell of
/// padding.
pub fn conv3x3(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    in_parts(x, weight, bias, INPUTS_AT_ONCE, WEIGHTS_AT_ONCE)
}

/// [`conv3x3`] with no more transformed values in memory than that, of inputs and of weights.
fn in_parts(x: &Tensor, weight: &Tensor, bias: &Tensor, most_inputs: i64, most_weights: i64) -> Tensor {
    let (size, outputs) = (x.size(), weight.size()[0]);
    let (b, inputs, h, w) = (size[0], size[1], size[2], size[3]);
    let (rows, columns) = (blocks(h), blocks(w));
    let (input, kernel, output) = (both_sides(&INPUT), both_sides(&WEIGHT), both_sides(&OUTPUT));
    let padded = x.constant_pad_nd([1, BLOCK * columns + 1 - w, 1, BLOCK * rows + 1 - h]);
    let out = Tensor::empty([b, outputs, BLOCK * rows, BLOCK * columns], (Kind::Float, Device::Cpu));
    let rows_at_once = (most_inputs / (AREA * inputs * b * columns)).clamp(1, rows);
    let outputs_at_once = (most_weights / (AREA * inputs)).clamp(1, outputs);
    for row in (0..rows).step_by(rows_at_once as usize) {
        let strip = rows_at_once.min(rows - row);
        let cells = b * strip * columns;
        let tiles = tiles(&padded, row, strip, columns).view([AREA, inputs * cells]);
        let tiles = input.matmul(&tiles).view([AREA, inputs, cells]);
        for first in (0..outputs).step_by(outputs_at_once as usize) {
            let count = outputs_at_once.min(outputs - first);
            let kernels = weight.narrow(0, first, count).reshape([count * inputs, 9]);
            let kernels = kernel.matmul(&kernels.transpose(0, 1)).view([AREA, count, inputs]);
            let products = kernels.bmm(&tiles).view([AREA, count * cells]);
            let mut made = output.matmul(&products).view([BLOCK * BLOCK, count, cells]);
            let _ = made.g_add_(&bias.narrow(0, first, count).view([1, count, 1]));
            let made = made.view([BLOCK, BLOCK, count, b, strip, columns]);
            let mut place = out
                .narrow(1, first, count)
                .narrow(2, BLOCK * row, BLOCK * strip)
                .view([b, count, strip, BLOCK, columns, BLOCK])
                .permute([3, 5, 1, 0, 2, 4]); // [4, 4, count, B, strip, columns]
            place.copy_(&made);
        }
    }
    match (h % BLOCK, w % BLOCK) {
        (0, 0) => out,
        _ => out.narrow(2, 0, h).narrow(3, 0, w).contiguous(),
    }
}

/// The overlapping tiles of `strip` rows of blocks, from `row` on: [6, 6, C, B, strip, columns]
fn tiles(padded: &Tensor, row: i64, strip: i64, columns: i64) -> Tensor {
    let (size, stride) = (padded.size(), padded.stride());
    let shape = [TILE, TILE, size[1], size[0], strip, columns];
    let strides = [stride[2], stride[3], stride[1], stride[0], BLOCK * stride[2], BLOCK * stride[3]];
    padded.as_strided(shape, strides, BLOCK * row * stride[2]).contiguous()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu))
    }

    /// Compares with the direct convolution in f64, with so many parts of the inputs and outputs.
    fn compare(b: i64, inputs: i64, outputs: i64, h: i64, w: i64, parts: [i64; 2]) {
        let (x, weight) = (random(&[b, inputs, h, w]), random(&[outputs, inputs, 3, 3]));
        let bias = random(&[outputs]);
        let exact = |t: &Tensor| t.to_kind(Kind::Double);
        let direct = exact(&x).conv2d(&exact(&weight), Some(exact(&bias)), [1, 1], [1, 1], [1, 1], 1);
        let most_inputs = AREA * inputs * b * blocks(w) * blocks(h) / parts[0];
        let made = in_parts(&x, &weight, &bias, most_inputs, AREA * inputs * outputs / parts[1]);
        assert_eq!(made.size(), direct.size());
        assert!(made.is_contiguous());
        let error = (exact(&made) - &direct).norm().double_value(&[]) / direct.norm().double_value(&[]);
        assert!(error < 5e-6, "{b} × {inputs} → {outputs}, {h} × {w} in {parts:?}: {error:.1e}");
    }

    #[test]
    fn it_is_the_direct_convolution() {
        tch::manual_seed(1);
        // Whole blocks and parts of them, one picture and several.
        for (b, inputs, outputs, h, w) in
            [(1, 8, 5, 8, 12), (2, 3, 70, 16, 4), (3, 66, 64, 9, 7), (1, 64, 64, 1, 2), (2, 5, 4, 6, 11)]
        {
            compare(b, inputs, outputs, h, w, [1, 1]);
        }
    }

    #[test]
    fn strips_and_parts_of_the_outputs_fit_together() {
        tch::manual_seed(2);
        // Parts of one size, and a last one that is smaller; more parts than there are rows or outputs.
        for parts in [[2, 2], [3, 4], [1, 7], [4, 1], [1000, 1000]] {
            compare(2, 16, 22, 33, 20, parts);
        }
    }

    #[test]
    fn it_is_taken_where_it_pays_and_can_be() {
        let x = random(&[1, 64, 32, 32]);
        let weight = random(&[64, 64, 3, 3]);
        assert!(pays(&x, &weight));
        assert!(!pays(&x.narrow(2, 0, 8), &weight), "few blocks");
        assert!(!pays(&x, &weight.narrow(0, 0, 4)), "few channels");
        assert!(!pays(&x, &random(&[64, 64, 1, 1])), "another kernel");
        assert!(!pays(&x.to_kind(Kind::BFloat16), &weight.to_kind(Kind::BFloat16)), "another type");
        assert!(!pays(&x, &weight.set_requires_grad(true)), "gradients");
    }
}
