//! Linear layers in f32 on the CPU by oneDNN, together with what follows them. Measured on a processor whose BLAS in
//! libtorch has no kernels of its own (AMD with AVX-512): 0.8 to 0.96 of its time for the product alone, 0.75 for a
//! gated feed-forward, whose large tensors are then written once.

use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

/// Multiplications from which a call's own costs no longer count.
const LEAST_PRODUCTS: i64 = 1 << 22;

/// What is done with each result before it is written.
#[derive(Clone, Copy)]
pub enum Follow<'a> {
    Nothing,
    /// The exact one, by the error function.
    Gelu,
    /// Of the result's shape.
    Add(&'a Tensor),
    /// Of the result's shape.
    Multiply(&'a Tensor),
}

unsafe extern "C" {
    /// `onednn/linear.cpp`: a new tensor, or null.
    fn imagine_linear(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        other: *const C_tensor,
        follow: i32,
    ) -> *mut C_tensor;
}

/// x [.., in] · weight [out, in]ᵀ + bias [out] → [.., out], and what follows. In one call where that is faster and
/// possible: f32 on a CPU, without gradients, large enough; else by separate operations.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, follow: Follow) -> Tensor {
    if let Some(result) = fused(x, weight, bias, follow) {
        return result;
    }
    let plain = x.linear(weight, bias);
    match follow {
        Follow::Nothing => plain,
        Follow::Gelu => plain.gelu("none"),
        Follow::Add(other) => plain + other,
        Follow::Multiply(other) => plain * other,
    }
}

fn fused(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, follow: Follow) -> Option<Tensor> {
    let other = match follow {
        Follow::Add(other) | Follow::Multiply(other) => Some(other),
        Follow::Nothing | Follow::Gelu => None,
    };
    let fits = |t: &Tensor| {
        t.device() == Device::Cpu && t.kind() == Kind::Float && !t.requires_grad() && t.is_contiguous()
    };
    let outputs = *weight.size().first()?;
    if x.numel() as i64 * outputs < LEAST_PRODUCTS
        || ![Some(x), Some(weight), bias, other].into_iter().flatten().all(fits)
    {
        return None;
    }
    let size = x.size();
    let (_, rows) = size.split_last()?;
    if other.is_some_and(|other| other.size() != [rows, &[outputs]].concat()) {
        return None;
    }
    let number = match follow {
        Follow::Nothing => 0,
        Follow::Gelu => 1,
        Follow::Add(_) => 2,
        Follow::Multiply(_) => 3,
    };
    let pointer = |t: Option<&Tensor>| t.map_or(std::ptr::null(), Tensor::as_ptr);
    // SAFETY: the pointers are those of living tensors or null, which the function expects; it does not keep them,
    // and gives a tensor of its own.
    let made = unsafe { imagine_linear(x.as_ptr(), weight.as_ptr(), pointer(bias), pointer(other), number) };
    // SAFETY: not null, and nobody else has it.
    (!made.is_null()).then(|| unsafe { Tensor::from_ptr(made) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu))
    }

    fn difference(a: &Tensor, b: &Tensor) -> f64 {
        ((a - b).abs().max() / b.abs().max()).double_value(&[])
    }

    #[test]
    fn equals_the_separate_operations() {
        let _no_grad = tch::no_grad_guard();
        tch::manual_seed(3);
        let (x, weight, bias) = (random(&[2, 300, 160]), random(&[200, 160]) / 12.0, random(&[200]));
        let other = random(&[2, 300, 200]);
        let plain = x.linear(&weight, Some(&bias));
        let cases = [
            (Follow::Nothing, plain.shallow_clone()),
            (Follow::Gelu, plain.gelu("none")),
            (Follow::Add(&other), &plain + &other),
            (Follow::Multiply(&other), &plain * &other),
        ];
        for (follow, expected) in cases {
            let result = fused(&x, &weight, Some(&bias), follow).expect("libtorch for x86 has the operator");
            assert_eq!(result.size(), [2, 300, 200]);
            assert!(difference(&result, &expected) < 2e-6, "{}", difference(&result, &expected));
        }
        let result = fused(&x, &weight, None, Follow::Nothing).expect("without a bias");
        assert!(difference(&result, &x.linear(&weight, None::<&Tensor>)) < 2e-6);
        // A part of the rows, as the gated feed-forward uses them.
        let (weight, bias) = (weight.narrow(0, 40, 160), bias.narrow(0, 40, 160));
        let result = fused(&x, &weight, Some(&bias), Follow::Gelu).expect("a part of the rows");
        assert!(difference(&result, &x.linear(&weight, Some(&bias)).gelu("none")) < 2e-6);
    }

    #[test]
    fn what_does_not_fit_goes_the_plain_way() {
        let (x, weight) = (random(&[1, 300, 160]), random(&[200, 160]));
        let is_plain = |x: &Tensor, weight: &Tensor, follow| fused(x, weight, None, follow).is_none();
        assert!(is_plain(&x.narrow(1, 0, 4), &weight, Follow::Nothing), "small");
        assert!(is_plain(&x.to_kind(Kind::Double), &weight.to_kind(Kind::Double), Follow::Nothing));
        assert!(is_plain(&x, &weight.shallow_clone().set_requires_grad(true), Follow::Nothing), "training");
        assert!(is_plain(&x.transpose(1, 2).contiguous().transpose(1, 2), &weight, Follow::Nothing));
        // An addend that would have to be repeated.
        let row = random(&[200]);
        assert!(is_plain(&x, &weight, Follow::Add(&row)));
        let sum = linear(&x, &weight, None, Follow::Add(&row));
        assert!(difference(&sum, &(x.linear(&weight, None::<&Tensor>) + row)) < 1e-6);
    }
}
