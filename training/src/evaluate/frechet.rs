//! How far apart two sets of pictures are as a whole: the Fréchet distance between the Gaussians of their features,
//! as FID (Heusel et al., arXiv 1706.08500) has it, with the judge's features in the place of Inception's. Its numbers
//! compare with one another and with no other FID.

use tch::{Kind, Tensor};

/// Mean [F] and covariance [F, F] of features [N, F].
fn gaussian(features: &Tensor) -> (Tensor, Tensor) {
    let features = features.to_kind(Kind::Double);
    let mean = features.mean_dim([0i64].as_slice(), false, None); // [F]
    let centred = &features - &mean;
    let rows = (features.size()[0] - 1).max(1) as f64;
    (mean, centred.transpose(0, 1).matmul(&centred) / rows)
}

/// The symmetric square root of a covariance.
fn root(matrix: &Tensor) -> Tensor {
    let (values, vectors) = matrix.linalg_eigh("L");
    (&vectors * values.clamp_min(0.0).sqrt()).matmul(&vectors.transpose(0, 1))
}

/// |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) of features [N, F] and [M, F].
pub fn distance(left: &Tensor, right: &Tensor) -> f64 {
    let ((mean_left, left), (mean_right, right)) = (gaussian(left), gaussian(right));
    let between = (mean_left - mean_right).square().sum(Kind::Double);
    // (Σ₁ Σ₂)^½ has the trace of (Σ₁^½ Σ₂ Σ₁^½)^½, which is symmetric.
    let half = root(&left);
    let both = root(&half.matmul(&right).matmul(&half));
    (between + left.trace() + right.trace() - both.trace() * 2.0).double_value(&[])
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn it_is_that_of_gaussians() {
        tch::manual_seed(3);
        let features = Tensor::randn([4000, 3], (Kind::Double, Device::Cpu));
        assert!(distance(&features, &features).abs() < 1e-9);
        // Moved by 2 along each of three axes: 12. Three times as wide: 3 · (3 − 1)² = 12, with unit variance.
        assert!((distance(&features, &(&features + 2.0)) - 12.0).abs() < 1e-9);
        let variance = features.var_dim([0i64].as_slice(), true, false).sum(Kind::Double).double_value(&[]);
        let (mean, _) = gaussian(&features);
        let wide = &mean + (&features - &mean) * 3.0;
        assert!((distance(&features, &wide) - 4.0 * variance).abs() < 1e-9);
    }
}
