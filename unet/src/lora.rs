//! Low-rank changes of weights, merged when a model is loaded: at run time they cost nothing.
//!
//! LoRA (arXiv 2106.09685) and its kin of LyCORIS (arXiv 2309.14859): LoCon for convolutions, LoHa and LoKr;
//! and DoRA (arXiv 2402.09353), which gives each output a length of its own. The arithmetic is that of
//! PEFT 0.21; which tensor of a file changes which weight is not known here.

use tch::{Kind, TchError, Tensor};

use crate::weights::{Weights, WeightsError};

/// One low-rank change: `weight + scale · up · down`.
pub struct LowRank {
    /// [rank, in] or, for a convolution, [rank, in, kh, kw]
    pub down: Tensor,
    /// [out, rank] or [out, rank, 1, 1]
    pub up: Tensor,
    pub scale: f64,
}

impl LowRank {
    /// Has `weights` add the change to the tensor `key` when it is loaded.
    ///
    /// # Errors
    /// A weight that the files do not hold.
    pub fn merge_into(self, weights: &Weights, key: &str) -> Result<(), WeightsError> {
        let factors = Factors::Low(Product::Pair { a: self.up, b: self.down });
        Change { factors, scale: self.scale, magnitude: None }.merge_into(weights, key)
    }
}

/// One factor of a change, whole or as a product itself.
#[derive(Debug)]
pub enum Product {
    /// As it stands.
    Whole(Tensor),
    /// `a · b`: a [out, r] (or [out, r, 1, 1]), b [r, in] (or [r, in, kh, kw]) → [out, in·kh·kw]
    Pair { a: Tensor, b: Tensor },
    /// Tucker: a [r, out], core [r, s, kh, kw], b [s, in] → [out, in, kh, kw]
    Tucker { core: Tensor, a: Tensor, b: Tensor },
}

impl Product {
    /// The factor in f32, in the shape given above.
    fn tensor(&self) -> Result<Tensor, TchError> {
        let float = |t: &Tensor| t.f_to_kind(Kind::Float);
        match self {
            Self::Whole(tensor) => float(tensor),
            Self::Pair { a, b } => matrix(&float(a)?)?.f_matmul(&matrix(&float(b)?)?),
            Self::Tucker { core, a, b } => {
                let (a, b) = (matrix(&float(a)?)?, matrix(&float(b)?)?);
                let core = float(core)?.f_permute([2, 3, 0, 1])?; // [kh, kw, r, s]
                // [kh, kw, out, in] → [out, in, kh, kw]
                a.f_transpose(0, 1)?.f_matmul(&core.f_matmul(&b)?)?.f_permute([2, 3, 0, 1])?.f_contiguous()
            }
        }
    }
}

/// All dimensions but the first as one: [n, …] → [n, m]
fn matrix(t: &Tensor) -> Result<Tensor, TchError> {
    if t.dim() <= 2 { Ok(t.shallow_clone()) } else { t.f_flatten(1, -1) }
}

/// What a change is made of.
#[derive(Debug)]
pub enum Factors {
    /// LoRA and LoCon.
    Low(Product),
    /// LoHa: the element-wise product of both.
    Hadamard(Product, Product),
    /// LoKr: the Kronecker product of both.
    Kronecker(Product, Product),
}

/// A change of one weight: `weight + scale · factors`, and then, for DoRA, a new length for each output.
#[derive(Debug)]
pub struct Change {
    pub factors: Factors,
    pub scale: f64,
    /// DoRA's lengths: as many numbers as the weight has outputs.
    pub magnitude: Option<Tensor>,
}

impl Change {
    /// What is added to a weight of this shape, in f32.
    pub fn delta(&self, shape: &[i64]) -> Result<Tensor, TchError> {
        let delta = match &self.factors {
            Factors::Low(product) => product.tensor()?,
            Factors::Hadamard(first, second) => first.tensor()?.f_mul(&second.tensor()?)?,
            Factors::Kronecker(first, second) => {
                let (mut first, second) = (first.tensor()?, second.tensor()?);
                if second.dim() == 4 && first.dim() == 2 {
                    first = first.f_unsqueeze(-1)?.f_unsqueeze(-1)?; // [a, b] → [a, b, 1, 1]
                }
                first.f_kron(&second)?
            }
        };
        delta.f_mul_scalar(self.scale)?.f_reshape(shape)
    }

    /// Has `weights` change the tensor `key` when it is loaded. Changes of one weight are made in the
    /// order of these calls, which matters for DoRA alone.
    ///
    /// # Errors
    /// A weight that the files do not hold. Factors that do not make its shape are an error when the weight
    /// is asked for.
    pub fn merge_into(self, weights: &Weights, key: &str) -> Result<(), WeightsError> {
        if weights.shape(key).is_none() {
            return Err(WeightsError::UnusedDelta { key: key.to_string() });
        }
        weights.add_change(key, Box::new(move |plain, changed| self.apply(plain, changed)));
        Ok(())
    }

    /// The changed weight from the plain one and the one with the changes before this, both f32.
    fn apply(&self, plain: &Tensor, changed: &Tensor) -> Result<Tensor, TchError> {
        let delta = self.delta(&plain.size())?.f_to_device(plain.device())?;
        match &self.magnitude {
            None => changed.f_add(&delta),
            Some(magnitude) => decompose(changed, plain, &delta, magnitude),
        }
    }
}

/// DoRA: `changed + delta`, each output scaled by its length over that of `plain + delta`. As PEFT merges
/// it: the lengths are those of the weight without the changes before.
fn decompose(
    changed: &Tensor,
    plain: &Tensor,
    delta: &Tensor,
    magnitude: &Tensor,
) -> Result<Tensor, TchError> {
    let direction = matrix(&plain.f_add(delta)?)?;
    let length = direction.f_norm_scalaropt_dim(2, [1], false)?; // [out]
    let magnitude = magnitude.f_to_device(plain.device())?.f_to_kind(Kind::Float)?;
    let mut over: Vec<i64> = vec![1; plain.dim()];
    if let (Some(first), Some(&out)) = (over.first_mut(), plain.size().first()) {
        *first = out;
    }
    let factor = magnitude.f_flatten(0, -1)?.f_div(&length)?.f_view(over.as_slice())?; // [out, 1, …]
    changed.f_add(delta)?.f_mul(&factor)
}
