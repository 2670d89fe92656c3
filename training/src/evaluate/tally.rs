//! Counting and small statistics.

use std::collections::BTreeMap;

use serde::Serialize;

/// How often something was so.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Tally {
    pub yes: usize,
    pub of: usize,
}

impl Tally {
    pub fn count(&mut self, yes: bool) {
        self.yes += usize::from(yes);
        self.of += 1;
    }

    pub fn share(self) -> f64 {
        self.yes as f64 / self.of.max(1) as f64
    }
}

/// One tally a name.
pub type Tallies = BTreeMap<String, Tally>;

/// The middle value; not a number of none.
pub fn median(values: &[f32]) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f32::NAN)
}

/// Pearson's correlation; not a number where one of them does not vary.
pub fn correlation(pairs: &[(f32, f32)]) -> f32 {
    let n = pairs.len().max(1) as f32;
    let mean = |of: fn(&(f32, f32)) -> f32| pairs.iter().map(of).sum::<f32>() / n;
    let (mx, my) = (mean(|p| p.0), mean(|p| p.1));
    let sum = |of: &dyn Fn(f32, f32) -> f32| pairs.iter().map(|(x, y)| of(x - mx, y - my)).sum::<f32>();
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
}

/// Scalar product.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Subtracts the mean and gives length one.
pub fn centred(vector: &[f32], mean: &[f32]) -> Vec<f32> {
    let moved: Vec<f32> = vector.iter().zip(mean).map(|(v, m)| v - m).collect();
    let length = dot(&moved, &moved).sqrt().max(1e-9);
    moved.into_iter().map(|v| v / length).collect()
}

/// Mean of vectors of one length.
pub fn mean<'a>(vectors: impl Iterator<Item = &'a [f32]>) -> Vec<f32> {
    let mut sum: Vec<f32> = Vec::new();
    let mut count = 0.0;
    for vector in vectors {
        sum.resize(vector.len(), 0.0);
        sum.iter_mut().zip(vector).for_each(|(s, v)| *s += v);
        count += 1.0;
    }
    sum.into_iter().map(|s| s / count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_what_they_are_called() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert!((correlation(&[(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)]) - 1.0).abs() < 1e-6);
        assert!((correlation(&[(1.0, 1.0), (2.0, 0.0), (3.0, 1.0)])).abs() < 1e-6);
        assert_eq!(mean([[1.0, 2.0].as_slice(), &[3.0, 6.0]].into_iter()), [2.0, 4.0]);
        assert_eq!(centred(&[3.0, 1.0], &[1.0, 1.0]), [1.0, 0.0]);
    }
}
