//! Whether two fixtures are the same: numbers within the tolerance of the golden tests, all else exactly.

use std::fs;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::error::{At, Result};

/// Largest difference of two numbers, relative to the largest of their tensor or to themselves.
const TOLERANCE: f64 = 1e-4;

/// Compares the files `a` and `b` by their kind; the answer is what differs.
///
/// # Errors
/// When a file cannot be read.
pub fn files(a: &Path, b: &Path) -> Result<Option<String>> {
    let (x, y) = (fs::read(a).at(a)?, fs::read(b).at(b)?);
    if x == y {
        return Ok(None);
    }
    let kind = a.extension().and_then(|e| e.to_str()).unwrap_or_default();
    Ok(match kind {
        "safetensors" => safetensors(&x, &y),
        "json" => json(&x, &y),
        _ => Some(format!("{} bytes differ from {}", x.len(), y.len())),
    })
}

fn safetensors(a: &[u8], b: &[u8]) -> Option<String> {
    let (a, b) = match (SafeTensors::deserialize(a), SafeTensors::deserialize(b)) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(e), _) | (_, Err(e)) => return Some(e.to_string()),
    };
    let (mut names, mut others) = (a.names(), b.names());
    names.sort_unstable();
    others.sort_unstable();
    if names != others {
        return Some("the tensors' names differ".to_owned());
    }
    for name in names {
        let (Ok(x), Ok(y)) = (a.tensor(name), b.tensor(name)) else { continue };
        if (x.dtype(), x.shape()) != (y.dtype(), y.shape()) {
            return Some(format!(
                "{name}: {:?} {:?} and {:?} {:?}",
                x.dtype(),
                x.shape(),
                y.dtype(),
                y.shape()
            ));
        }
        let same = match x.dtype() {
            Dtype::F32 => close(&floats(x.data(), single), &floats(y.data(), single)),
            Dtype::F64 => close(&floats(x.data(), f64::from_le_bytes), &floats(y.data(), f64::from_le_bytes)),
            _ => x.data() == y.data(),
        };
        if !same {
            return Some(format!("{name}: values differ by more than {TOLERANCE:e} of the largest"));
        }
    }
    None
}

fn single(bytes: [u8; 4]) -> f64 {
    f64::from(f32::from_le_bytes(bytes))
}

fn floats<const N: usize>(data: &[u8], decode: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    data.chunks_exact(N).filter_map(|chunk| chunk.try_into().ok()).map(decode).collect()
}

/// Whether two tensors agree, relative to the largest magnitude in the first.
fn close(a: &[f64], b: &[f64]) -> bool {
    let largest = a.iter().filter(|v| v.is_finite()).fold(0.0, |most: f64, v| most.max(v.abs()));
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(x, y)| x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= TOLERANCE * largest)
}

fn json(a: &[u8], b: &[u8]) -> Option<String> {
    match (serde_json::from_slice(a), serde_json::from_slice(b)) {
        (Ok(a), Ok(b)) => values(&a, &b, "$"),
        (Err(e), _) | (_, Err(e)) => Some(e.to_string()),
    }
}

/// Where two JSON values differ.
fn values(a: &Value, b: &Value, at: &str) -> Option<String> {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) if x.is_f64() || y.is_f64() => {
            let (x, y) = (x.as_f64().unwrap_or(f64::NAN), y.as_f64().unwrap_or(f64::NAN));
            let same = x == y || (x - y).abs() <= TOLERANCE * x.abs().max(y.abs());
            (!same).then(|| format!("{at}: {x} and {y}"))
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            x.iter().zip(y).enumerate().find_map(|(i, (x, y))| values(x, y, &format!("{at}[{i}]")))
        }
        (Value::Object(x), Value::Object(y)) if x.len() == y.len() => {
            x.iter().find_map(|(key, x)| match y.get(key) {
                Some(y) => values(x, y, &format!("{at}.{key}")),
                None => Some(format!("{at}.{key} is missing")),
            })
        }
        _ => (a != b).then(|| format!("{at} differs")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_may_differ_by_rounding_only() {
        assert!(close(&[1.0, 1e-9], &[1.00005, 0.0]));
        assert!(!close(&[1.0, 0.0], &[1.0, 2e-4]));
        assert!(!close(&[1.0], &[f64::NAN]));
        assert!(close(&[f64::NAN, f64::INFINITY], &[f64::NAN, f64::INFINITY]));
    }

    #[test]
    fn json_says_where_it_differs() {
        let compare = |a: &str, b: &str| json(a.as_bytes(), b.as_bytes());
        assert_eq!(compare(r#"{"a": [1.0, "x"]}"#, r#"{"a": [1.00001, "x"]}"#), None);
        assert_eq!(compare(r#"{"a": [1, 2]}"#, r#"{"a": [1, 3]}"#).as_deref(), Some("$.a[1] differs"));
        assert_eq!(compare("[2.0]", "[2.1]").as_deref(), Some("$[0]: 2 and 2.1"));
        assert_eq!(compare("[100001]", "[100002]").as_deref(), Some("$[0] differs"));
        assert_eq!(compare(r#"{"a": 1}"#, r#"{"b": 1}"#).as_deref(), Some("$.a is missing"));
        assert_eq!(compare(r#"[1]"#, r#"[1, 2]"#).as_deref(), Some("$ differs"));
    }
}
