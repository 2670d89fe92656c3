//! What the test binaries share: golden fixtures read from disk and one tolerance helper per kind
//! of quantity. No test lives here, and nothing here is used by the product.

mod place;

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use tch::{Device, Kind, Tensor};

pub use place::{Colours, Place, device, dtype, kind, place};

/// Folder of the committed fixtures of one subject, e.g. `fixtures("vae")`.
pub fn fixtures(subject: &str) -> PathBuf {
    // CUDA has to be there before anything computes, and every test that computes asks for its fixtures first.
    let _ = place();
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/fixtures").join(subject)
}

/// A safetensors file of named tensors, each read in the type it was saved in.
pub struct Golden {
    path: PathBuf,
    bytes: Vec<u8>,
    device: Device,
}

impl Golden {
    /// Reads `<fixtures>/<subject>/<file>`; panics with the path if it is not there.
    pub fn read(subject: &str, file: &str) -> Self {
        let path = fixtures(subject).join(file);
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self { path, bytes, device: Device::Cpu }
    }

    /// The same, with tensors on the device of the [`place`] where the networks compute.
    pub fn here(subject: &str, file: &str) -> Self {
        Self { device: device(), ..Self::read(subject, file) }
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Tensor {
        let file =
            SafeTensors::deserialize(&self.bytes).unwrap_or_else(|e| panic!("{}: {e}", self.path.display()));
        let view = file.tensor(name).unwrap_or_else(|e| panic!("{}: {name}: {e}", self.path.display()));
        let kind = match view.dtype() {
            safetensors::Dtype::F64 => Kind::Double,
            safetensors::Dtype::F32 => Kind::Float,
            safetensors::Dtype::F16 => Kind::Half,
            safetensors::Dtype::BF16 => Kind::BFloat16,
            safetensors::Dtype::I64 => Kind::Int64,
            safetensors::Dtype::I32 => Kind::Int,
            safetensors::Dtype::U8 => Kind::Uint8,
            safetensors::Dtype::BOOL => Kind::Bool,
            other => panic!("{}: {name}: unexpected type {other:?}", self.path.display()),
        };
        let shape: Vec<i64> = view.shape().iter().map(|&d| d as i64).collect();
        Tensor::from_data_size(view.data(), &shape, kind).to_device(self.device)
    }

    /// Names of all tensors in the file.
    pub fn names(&self) -> Vec<String> {
        let file =
            SafeTensors::deserialize(&self.bytes).unwrap_or_else(|e| panic!("{}: {e}", self.path.display()));
        file.names().into_iter().map(|n| n.to_string()).collect()
    }
}

/// Largest absolute difference divided by the largest magnitude expected.
pub fn relative_error(actual: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(actual.size(), expected.size(), "shape of the result");
    let exact = |t: &Tensor| t.to_device(Device::Cpu).to_kind(Kind::Double);
    let (a, e) = (exact(actual), exact(expected));
    let scale = e.abs().max().double_value(&[]).max(1e-12);
    (a - e).abs().max().double_value(&[]) / scale
}

/// Fails unless `actual` equals `expected` within `tolerance`, relative to the largest magnitude
/// expected, or what the [`place`] rounds where that is more. NaN never passes.
pub fn assert_close(what: &str, actual: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_close_for(what, actual, expected, tolerance, 1.0);
}

/// The same for a network that carries a rounding on `amplified` times as far as others do.
pub fn assert_close_for(what: &str, actual: &Tensor, expected: &Tensor, tolerance: f64, amplified: f64) {
    let tolerance = tolerance.max(place().rounding * amplified);
    let error = relative_error(actual, expected);
    assert!(error <= tolerance, "{what}: relative error {error:.3e} is over {tolerance:.1e}");
}
