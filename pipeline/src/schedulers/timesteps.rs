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
