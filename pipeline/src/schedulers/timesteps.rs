//! Which training timesteps an inference run visits.

use super::config::{TimestepSpacing, bad};
use super::{SchedulerConfig, SchedulerError, SchedulerKind};

/// How one sampler rounds the same three spacings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Grid {
    /// Whole timesteps, the first one included: DDIM, DDPM, PNDM.
    Whole,
    /// Not rounded for linspace, f32: Euler, Euler ancestral, Heun, LMS.
    Fractional,
    /// Whole timesteps with one interval more, the lowest left out: DPM-Solver++, UniPC.
    Open,
}

/// Timesteps in calling order (descending), `steps` of them.
///
/// `last` is the number of training timesteps in use; less than all only where DPM-Solver clips its
/// noise levels, and `trailing` may then come out shorter. For some step counts (61 and 103 of 1000, ...) the rounding of numpy's `arange` makes
/// diffusers' `trailing` list one entry too long, with a last timestep of -1; that entry is left out here.
pub(super) fn spaced(
    config: &SchedulerConfig,
    kind: SchedulerKind,
    grid: Grid,
    steps: usize,
    last: usize,
) -> Result<Vec<f64>, SchedulerError> {
    let total = config.num_train_timesteps()?;
    let offset = config.steps_offset()? as f64;
    let extra = usize::from(grid == Grid::Open);
    let timesteps: Vec<f64> = match config.timestep_spacing(kind)? {
        TimestepSpacing::Linspace => {
            let even = linspace(0.0, last.saturating_sub(1) as f64, steps + extra);
            let values = even.into_iter().rev().take(steps);
            if grid == Grid::Fractional {
                values.map(|t| f64::from(t as f32)).collect()
            } else {
                values.map(f64::round_ties_even).collect()
            }
        }
        TimestepSpacing::Leading => {
            let stride = last / (steps + extra);
            (0..steps + extra).rev().take(steps).map(|i| (i * stride) as f64 + offset).collect()
        }
        TimestepSpacing::Trailing => {
            let stride = total as f64 / steps as f64;
            arange_down(last as f64, stride).take(steps).map(|t| t.round_ties_even() - 1.0).collect()
        }
    };
    if last == 0 || timesteps.is_empty() {
        let clip = config.number("lambda_min_clipped", 0.0)?;
        return Err(bad("lambda_min_clipped", clip, "a number that leaves some timesteps"));
    }
    Ok(timesteps)
}

/// Timesteps of the models that were distilled to few steps, in calling order: every n-th of those they were distilled
/// on (`original_inference_steps`, 50), from the last one down; or those that are named one by one.
///
/// Two keys stand here for what diffusers takes with the request: `timesteps`, of which fewer steps take every n-th,
/// and `strength`, by which its pipelines of latent consistency models keep to the lower part of either list where they
/// change a picture.
pub(super) fn distilled(
    config: &SchedulerConfig,
    kind: SchedulerKind,
    steps: usize,
) -> Result<Vec<f64>, SchedulerError> {
    let total = config.num_train_timesteps()?;
    let strength = config.number("strength", 1.0)?;
    if !(0.0..=1.0).contains(&strength) {
        return Err(bad("strength", strength, "a number from 0 to 1"));
    }
    let (all, limit, part): (Vec<f64>, _, _) = match named(config, total)? {
        Some(named) => (named, "`timesteps`", "`timesteps` × `strength`"),
        None => {
            let key = "original_inference_steps";
            let original = config.get_usize(key)?.unwrap_or(50);
            if original == 0 || original > total {
                return Err(bad(key, original, &format!("1 to {total}, `num_train_timesteps`")));
            }
            let stride = total / original;
            let all = (1..=original).rev().map(|i| (i * stride - 1) as f64).collect();
            (all, "`original_inference_steps`", "`original_inference_steps` × `strength`")
        }
    };
    let max = (all.len() as f64 * strength) as usize;
    if steps > max {
        let limit = if max < all.len() { part } else { limit };
        return Err(SchedulerError::Steps { kind, steps, min: 1, max, limit });
    }
    let schedule = all.get(all.len() - max..).unwrap_or_default();
    let spacing = max as f64 / steps as f64;
    Ok((0..steps).filter_map(|i| schedule.get((i as f64 * spacing).floor() as usize).copied()).collect())
}

/// The list `timesteps`.
fn named(config: &SchedulerConfig, total: usize) -> Result<Option<Vec<f64>>, SchedulerError> {
    let (key, expected) = ("timesteps", format!("whole numbers below {total}, each below the one before"));
    let Some(list) = config.get::<Vec<usize>>(key, &expected)? else { return Ok(None) };
    let descends = list.is_sorted_by(|a, b| a > b);
    match list.first() {
        Some(&first) if descends && first < total => Ok(Some(list.into_iter().map(|t| t as f64).collect())),
        _ => Err(bad(key, list, &expected)),
    }
}

/// Fails where the first timestep has no entry in the noise table (`leading` with an offset and as many
/// steps as training timesteps).
pub(super) fn within_table(
    config: &SchedulerConfig,
    timesteps: &[f64],
    num_train_timesteps: usize,
) -> Result<(), SchedulerError> {
    match timesteps.iter().find(|&&t| !(t >= 0.0 && t < num_train_timesteps as f64)) {
        None => Ok(()),
        Some(&t) => Err(SchedulerError::Timestep {
            timestep: t as i64,
            num_train_timesteps,
            steps_offset: config.steps_offset()?,
        }),
    }
}

/// `numpy.linspace`: both ends included, the last value exact.
pub(super) fn linspace(start: f64, end: f64, count: usize) -> Vec<f64> {
    if count < 2 {
        return vec![start; count];
    }
    let step = (end - start) / (count - 1) as f64;
    let mut values: Vec<f64> = (0..count).map(|i| i as f64 * step + start).collect();
    values.last_mut().into_iter().for_each(|last| *last = end);
    values
}

/// `numpy.arange(start, 0, -stride)`, which multiplies a difference that has been rounded once.
fn arange_down(start: f64, stride: f64) -> impl Iterator<Item = f64> {
    let count = (start / stride).ceil() as usize;
    let difference = (start - stride) - start;
    (0..count).map(move |i| start + i as f64 * difference)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn list(json: &str, grid: Grid, steps: usize) -> Vec<f64> {
        let config = SchedulerConfig::from_json(json).unwrap();
        spaced(&config, SchedulerKind::Ddim, grid, steps, config.num_train_timesteps().unwrap()).unwrap()
    }

    #[test]
    fn spacings_match_the_table_of_lin_et_al() {
        // "Common diffusion noise schedules and sample steps are flawed", table 2, with T = 1000 and
        // ten steps, counted from 0 rather than from 1
        let leading: Vec<f64> = (0..10).rev().map(|i| f64::from(i) * 100.0).collect();
        assert_eq!(list(r#"{"timestep_spacing": "leading"}"#, Grid::Whole, 10), leading);
        let linspace = [999.0, 888.0, 777.0, 666.0, 555.0, 444.0, 333.0, 222.0, 111.0, 0.0];
        assert_eq!(list(r#"{"timestep_spacing": "linspace"}"#, Grid::Whole, 10), linspace);
        let trailing: Vec<f64> = (1..=10).rev().map(|i| f64::from(i) * 100.0 - 1.0).collect();
        assert_eq!(list(r#"{"timestep_spacing": "trailing"}"#, Grid::Whole, 10), trailing);
    }

    #[test]
    fn timesteps_of_distilled_models_are_checked_and_spread() {
        let of = |json: &str, steps| {
            let config = SchedulerConfig::from_json(json).unwrap();
            distilled(&config, SchedulerKind::Lcm, steps).map_err(|e| e.to_string())
        };
        assert_eq!(of("{}", 4).unwrap(), [999.0, 759.0, 499.0, 259.0]);
        let quarters = r#"{"timesteps": [999, 749, 499, 249]}"#;
        assert_eq!(of(quarters, 4).unwrap(), [999.0, 749.0, 499.0, 249.0]);
        assert_eq!(of(quarters, 2).unwrap(), [999.0, 499.0]);
        assert!(of(quarters, 5).unwrap_err().contains("at most 4 here (`timesteps`)"));
        // As LCMScheduler.set_timesteps(timesteps=[999, 749, 499, 249], strength=0.5).
        let half = r#"{"timesteps": [999, 749, 499, 249], "strength": 0.5}"#;
        assert_eq!(of(half, 2).unwrap(), [499.0, 249.0]);
        assert_eq!(of(half, 1).unwrap(), [499.0]);
        assert!(of(half, 3).unwrap_err().contains("at most 2 here (`timesteps` × `strength`)"));
        let weak = r#"{"timesteps": [800], "strength": 0.9}"#;
        assert!(of(weak, 1).unwrap_err().contains("1 steps: lcm takes at most 0 here"));
        // As LCMScheduler.set_timesteps(2, strength=0.5): of 25 original timesteps the last and the thirteenth.
        assert_eq!(of(r#"{"strength": 0.5}"#, 2).unwrap(), [499.0, 259.0]);
        for strength in ["1.5", "-0.1"] {
            let says = format!("`strength` is {strength}");
            assert!(of(&format!(r#"{{"strength": {strength}}}"#), 1).unwrap_err().starts_with(&says));
        }
        for list in ["[]", "[1000]", "[5,5]", "[5,9]", "[1.5]", "[-1]", "7"] {
            let message = of(&format!(r#"{{"timesteps": {list}}}"#), 1).unwrap_err();
            assert!(message.starts_with(&format!("`timesteps` is {list}")), "{message}");
            assert!(message.contains("whole numbers below 1000, each below the one before"), "{message}");
        }
    }

    #[test]
    fn every_count_gives_that_many_timesteps_inside_the_table() {
        for spacing in ["leading", "linspace", "trailing"] {
            for grid in [Grid::Whole, Grid::Fractional, Grid::Open] {
                for steps in 1..=1000 {
                    let json = format!(r#"{{"timestep_spacing": "{spacing}"}}"#);
                    let found = list(&json, grid, steps);
                    assert_eq!(found.len(), steps);
                    assert!(found.iter().all(|t| (0.0..1000.0).contains(t)), "{spacing} {steps}");
                    assert!(found.is_sorted_by(|a, b| a >= b), "{spacing} {steps}");
                }
            }
        }
    }
}
