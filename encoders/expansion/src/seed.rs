//! Choices that a seed makes again.

/// SplitMix64 (Steele, Lea and Flood, 2014): small, and the same on every machine.
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    /// The draws of a seed for one purpose.
    pub fn new(seed: u64, purpose: &str) -> Self {
        // FNV-1a
        let hash = purpose.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(seed ^ hash)
    }

    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// An index below `count`, 0 where that is 0.
    pub fn below(&mut self, count: usize) -> usize {
        (self.unit() * count as f64) as usize
    }

    /// One of the scores' indices, drawn from their softmax at a temperature; the best one at 0.
    pub fn softmax(&mut self, scores: &[f64], temperature: f64) -> usize {
        let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores
            .iter()
            .map(|score| match temperature > 0.0 {
                true => ((score - best) / temperature).exp(),
                false => f64::from(u8::from(*score == best)),
            })
            .collect();
        let mut left = self.unit() * weights.iter().sum::<f64>();
        for (i, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return i;
            }
        }
        weights.len().saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_and_another_something_else() {
        let draws = |seed, purpose| {
            let mut seeded = Seeded::new(seed, purpose);
            (0..8).map(|_| seeded.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(draws(7, "light"), draws(7, "light"));
        assert_ne!(draws(7, "light"), draws(8, "light"));
        assert_ne!(draws(7, "light"), draws(7, "pose"));
        assert_eq!(Seeded::new(1, "").below(0), 0);
    }

    #[test]
    fn a_temperature_softens_the_choice() {
        let scores = [0.0, 2.0, 1.0];
        let mut seeded = Seeded::new(3, "x");
        assert!((0..50).all(|_| seeded.softmax(&scores, 0.0) == 1));
        let draws: Vec<usize> = (0..2000).map(|_| seeded.softmax(&scores, 1.0)).collect();
        let share = |i| draws.iter().filter(|&&d| d == i).count() as f64 / 2000.0;
        // softmax of 0, 2, 1
        for (i, expected) in [(0, 0.090), (1, 0.665), (2, 0.245)] {
            assert!((share(i) - expected).abs() < 0.04, "{i}: {}", share(i));
        }
    }
}
