//! Noise levels of the samplers that count in sigmas (standard deviation of noise over that of signal),
//! and the way back from a level to the timestep that the model is told.

use super::betas::NoiseSchedule;
use super::config::{FinalSigma, SigmaSpread, bad};
use super::timesteps::linspace;
use super::{SchedulerConfig, SchedulerError, SchedulerKind};

/// Smallest and largest level of a run.
struct Range {
    min: f64,
    max: f64,
}

/// The levels that the `use_*` flags of the configuration ask for, or `None` for the model's own.
///
/// They reach from the first of `levels` to the last, unless `sigma_max` and `sigma_min` say otherwise;
/// those count for every sampler, as in diffusers, but not for Lu's spread nor for LMS with Karras levels.
pub(super) fn chosen(
    config: &SchedulerConfig,
    kind: SchedulerKind,
    levels: &[f64],
    steps: usize,
) -> Result<Option<Vec<f64>>, SchedulerError> {
    let wanted = config.sigma_spread(kind)?;
    if wanted == SigmaSpread::Model {
        return Ok(None);
    }
    let (mut min, mut max) = (levels.last().copied().unwrap_or(1.0), levels.first().copied().unwrap_or(1.0));
    let fixed = wanted == SigmaSpread::Lu || (wanted == SigmaSpread::Karras && kind == SchedulerKind::Lms);
    if !fixed {
        (min, max) = (config.number("sigma_min", min)?, config.number("sigma_max", max)?);
    }
    for (key, value) in [("sigma_min", min), ("sigma_max", max)] {
        if !(value > 0.0 && value.is_finite()) {
            return Err(bad(key, value, "a number above 0"));
        }
    }
    Ok(spread(wanted, &Range { min, max }, steps))
}

/// `steps` levels from `range.max` down to `range.min`; `None` for the model's own levels.
fn spread(spread: SigmaSpread, range: &Range, steps: usize) -> Option<Vec<f64>> {
    let Range { min, max } = *range;
    match spread {
        SigmaSpread::Model => None,
        SigmaSpread::Karras => {
            const RHO: f64 = 7.0;
            let (low, high) = (min.powf(1.0 / RHO), max.powf(1.0 / RHO));
            Some(
                linspace(0.0, 1.0, steps)
                    .into_iter()
                    .map(|ramp| (high + ramp * (low - high)).powf(RHO))
                    .collect(),
            )
        }
        SigmaSpread::Exponential => {
            Some(linspace(max.ln(), min.ln(), steps).into_iter().map(f64::exp).collect())
        }
        SigmaSpread::Lu => {
            // levels as the logarithms of the f32 table give them
            let (low, high) = (ln_f32(min), ln_f32(max));
            Some(
                linspace(0.0, 1.0, steps)
                    .into_iter()
                    .map(|ramp| (high + ramp * (low - high)).exp())
                    .collect(),
            )
        }
        SigmaSpread::Beta => Some(
            linspace(0.0, 1.0, steps)
                .into_iter()
                .map(|ramp| min + beta_quantile(1.0 - ramp) * (max - min))
                .collect(),
        ),
    }
}

/// Levels at (possibly fractional) timesteps, linearly interpolated; outside the table the nearest.
pub(super) fn at_timesteps(table: &[f32], timesteps: &[f64]) -> Vec<f64> {
    let level = |i: usize| f64::from(table.get(i).copied().unwrap_or_default());
    let last = table.len().saturating_sub(1);
    timesteps
        .iter()
        .map(|&t| {
            let t = t.clamp(0.0, last as f64);
            let below = (t.floor() as usize).min(last);
            let above = (below + 1).min(last);
            (level(above) - level(below)) * (t - below as f64) + level(below)
        })
        .collect()
}

/// The (fractional) timestep at which the model saw each level, by interpolation in the logarithm.
pub(super) fn to_timesteps(table: &[f32], levels: &[f64]) -> Vec<f64> {
    let logs: Vec<f32> = table.iter().map(|&s| f64::from(s).ln() as f32).collect();
    levels
        .iter()
        .map(|&level| {
            let log = level.max(1e-10).ln();
            let reached = logs.partition_point(|&l| log - f64::from(l) >= 0.0);
            let below = reached.saturating_sub(1).min(logs.len().saturating_sub(2));
            let (Some(&low), Some(&high)) = (logs.get(below), logs.get(below + 1)) else { return 0.0 };
            let share = ((f64::from(low) - log) / f64::from(low - high)).clamp(0.0, 1.0);
            (1.0 - share) * below as f64 + share * (below + 1) as f64
        })
        .collect()
}

/// Levels as the samplers keep them: f32, with the final one added.
pub(super) fn finish(levels: &[f64], last: f64) -> Vec<f32> {
    levels.iter().chain([&last]).map(|&level| level as f32).collect()
}

/// The level after the last step: none, or the smallest of the training table.
pub(super) fn final_level(schedule: &NoiseSchedule, kind: FinalSigma) -> f64 {
    match kind {
        FinalSigma::Zero => 0.0,
        FinalSigma::SigmaMin => schedule.sigmas().first().map_or(0.0, |&s| f64::from(s)),
    }
}

fn ln_f32(x: f64) -> f64 {
    f64::from(x.ln() as f32)
}

/// Quantile function of the beta distribution with both parameters 0.6, the ones of "Beta sampling is
/// all you need" (Lee et al. 2024).
fn beta_quantile(probability: f64) -> f64 {
    if probability <= 0.0 || probability >= 1.0 {
        return probability.clamp(0.0, 1.0);
    }
    // Bisection to the last bit: the distribution function is monotone, and this runs once per step of
    // a run at most a few dozen times.
    let (mut low, mut high) = (0.0f64, 1.0f64);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if beta_distribution(middle) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// Parameter of the beta distribution, alpha = beta.
const SHAPE: f64 = 0.6;
/// ln B(0.6, 0.6) = 2 ln Gamma(0.6) - ln Gamma(1.2).
const LN_BETA_FUNCTION: f64 = 0.8818418061417859;

/// Regularised incomplete beta function I_x(0.6, 0.6): continued fraction (Abramowitz and Stegun 26.5.8)
/// evaluated by Lentz's method, with the symmetry I_x = 1 - I_(1-x) where it converges faster.
fn beta_distribution(x: f64) -> f64 {
    if x > 0.5 {
        return 1.0 - beta_distribution(1.0 - x);
    }
    const TINY: f64 = 1e-300;
    let front = (SHAPE * x.ln() + SHAPE * (1.0 - x).ln() - LN_BETA_FUNCTION).exp() / SHAPE;
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut c, mut d) = (1.0, 1.0 / away(1.0 - 2.0 * SHAPE * x / (SHAPE + 1.0)));
    let mut fraction = d;
    for m in 1..300 {
        let m = f64::from(m);
        let even = m * (SHAPE - m) * x / ((SHAPE + 2.0 * m - 1.0) * (SHAPE + 2.0 * m));
        d = 1.0 / away(1.0 + even * d);
        c = away(1.0 + even / c);
        fraction *= d * c;
        let odd = -(SHAPE + m) * (2.0 * SHAPE + m) * x / ((SHAPE + 2.0 * m) * (SHAPE + 2.0 * m + 1.0));
        d = 1.0 / away(1.0 + odd * d);
        c = away(1.0 + odd / c);
        let change = d * c;
        fraction *= change;
        if (change - 1.0).abs() < 1e-16 {
            break;
        }
    }
    front * fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beta_quantiles_equal_scipys() {
        // scipy.stats.beta.ppf(p, 0.6, 0.6), scipy 1.17.1
        let known = [
            (0.01, 0.0008612388215429059),
            (0.1, 0.03958440558878085),
            (0.25, 0.17568037865269498),
            (0.5, 0.5000000000000001),
            (0.8, 0.8770782495416671),
            (0.999, 0.9999814412614826),
        ];
        for (p, expected) in known {
            let found = beta_quantile(p);
            assert!((found - expected).abs() < 1e-12 * expected, "{p}: {found} {expected}");
        }
        assert_eq!((beta_quantile(0.0), beta_quantile(1.0)), (0.0, 1.0));
    }

    #[test]
    fn levels_and_timesteps_are_each_others_inverse() {
        let table: Vec<f32> = (0..100).map(|i| (0.03 * 1.06f64.powi(i)) as f32).collect();
        let times = [0.0, 7.0, 50.0, 98.0, 99.0];
        let back = to_timesteps(&table, &at_timesteps(&table, &times));
        for (t, b) in times.iter().zip(&back) {
            assert!((t - b).abs() < 1e-3, "{t} {b}");
        }
        assert_eq!(to_timesteps(&table, &[1e-9, 1e9]), [0.0, 99.0]);
    }
}
