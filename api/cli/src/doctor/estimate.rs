//! Which model fits in which type, and about how long a picture takes.

use std::path::Path;

use imagine_pipeline::capability::speed;
use imagine_pipeline::checkpoint::{Checkpoint, Target};
use imagine_pipeline::device::kind_name;
use imagine_pipeline::footprint::Shape;
use imagine_pipeline::{DeviceChoice, DtypeChoice};
use indicatif::DecimalBytes;
use serde::Serialize;

use crate::model_lookup::DEFAULT_MODEL;
use crate::report::rounded;

/// The program, libtorch and ONNX Runtime themselves; on a GPU, CUDA's context.
const PROGRAM_BYTES: u64 = 500_000_000;
/// A whole step reaches about this part of the speed of the layer that is measured: attention and norms move more
/// memory for each product (SD 1.5, 512², f32 on two cores: 76 of 148 GFLOP/s).
const EFFICIENCY: f64 = 0.5;
/// Seconds from which a picture counts as slow.
const SLOW: f64 = 60.0;
/// Steps of a picture where the model does not say.
const STEPS: u32 = 25;

const TYPES: [DtypeChoice; 3] = [DtypeChoice::F32, DtypeChoice::Bf16, DtypeChoice::F16];

/// What one layer reaches in a type.
#[derive(Serialize)]
pub struct Speed {
    pub device: &'static str,
    pub dtype: String,
    /// 10⁹ multiplications and additions a second; null where the device does not compute in the type.
    pub gflops: Option<f64>,
    pub problem: Option<String>,
}

/// One model in one type on one device.
#[derive(Debug, Serialize)]
pub struct Row {
    pub model: &'static str,
    pub width: u32,
    pub height: u32,
    /// `auto` for what is taken where no type is named.
    pub dtype: String,
    /// What it computes in.
    pub computes: String,
    pub device: &'static str,
    pub weights_bytes: u64,
    pub activations_bytes: u64,
    /// Of both and the program itself.
    pub needed_bytes: u64,
    pub available_bytes: u64,
    /// `yes`, `slow`, or `no`.
    pub verdict: &'static str,
    /// Why not.
    pub reason: Option<String>,
    /// The largest square size that would fit, where its own does not.
    pub fits_at: Option<u32>,
    /// About; null where it cannot run.
    pub picture_seconds: Option<f64>,
}

/// Measures one layer in each type.
pub fn speeds(choice: DeviceChoice, name: &'static str) -> Vec<Speed> {
    let measure = |dtype: DtypeChoice| {
        let device = choice.resolve().map_err(|e| e.to_string())?;
        speed(device, dtype.target(device, 0).kind).map_err(|e| e.to_string())
    };
    TYPES
        .into_iter()
        .map(|dtype| match measure(dtype) {
            Ok(speed) => {
                Speed { device: name, dtype: dtype.to_string(), gflops: Some(gflops(speed)), problem: None }
            }
            Err(e) => {
                let problem = e.lines().next().map(String::from);
                Speed { device: name, dtype: dtype.to_string(), gflops: None, problem }
            }
        })
        .collect()
}

/// The known kinds of model in every type. The starter model is left out where it is not found.
pub fn table(
    starter: Option<&Path>,
    device: &'static str,
    available_bytes: u64,
    speeds: &[Speed],
) -> Vec<Row> {
    let mut kinds: Vec<(&'static str, Shape, u32, u32)> = Vec::new();
    if let Some((shape, steps)) = starter.and_then(starter_shape) {
        let side = shape.side().unwrap_or(64);
        kinds.push((DEFAULT_MODEL, shape, side, steps));
    }
    kinds.push(("SD 1.5", Shape::sd15(), 512, STEPS));
    kinds.push(("SDXL", Shape::sdxl(), 1024, STEPS));
    let mut rows = Vec::new();
    let choice = if device == "cpu" { DeviceChoice::Cpu } else { DeviceChoice::Cuda(0) };
    let Ok(on) = choice.resolve() else { return rows };
    for (model, shape, side, steps) in kinds {
        let Ok(parameters) = shape.unet_parameters() else { continue };
        for dtype in TYPES.into_iter().chain([DtypeChoice::Auto]) {
            let Target { kind, vae, .. } = dtype.target(on, parameters);
            let cost_at = |side| shape.footprint_in(side, side, (kind, vae)).ok();
            let memory_at = |side| Some(cost_at(side)?.memory() + PROGRAM_BYTES);
            let (Some(cost), Some(needed_bytes)) = (cost_at(side), memory_at(side)) else { continue };
            let operations = cost.step_operations as f64 * f64::from(steps) + cost.decode_operations as f64;
            let speed = speeds.iter().find(|speed| speed.dtype == kind_name(kind));
            let seconds = speed.and_then(|s| s.gflops).map(|gflops| operations / (gflops * 1e9 * EFFICIENCY));
            let (verdict, mut reason) = verdict(needed_bytes, available_bytes, seconds);
            // Smaller by eighths, down to a quarter: below that no model draws anything.
            let too_large = seconds.is_some() && needed_bytes > available_bytes;
            let smaller = (2..8).rev().map(|eighths| side / 8 * eighths).filter(|_| too_large);
            let fits_at =
                smaller.into_iter().find(|&side| memory_at(side).is_some_and(|m| m <= available_bytes));
            if let (Some(reason), Some(side)) = (&mut reason, fits_at) {
                reason.push_str(&format!("; {side}x{side} would fit"));
            }
            let computes = match vae == kind {
                true => kind_name(kind).into(),
                false => format!("{}, autoencoder {}", kind_name(kind), kind_name(vae)),
            };
            rows.push(Row {
                model,
                width: side,
                height: side,
                dtype: dtype.to_string(),
                computes,
                device,
                weights_bytes: cost.weights,
                activations_bytes: cost.activations,
                needed_bytes,
                available_bytes,
                verdict,
                reason,
                fits_at,
                picture_seconds: seconds.filter(|_| verdict != "no").map(|s| rounded(s, 2)),
            });
        }
    }
    rows
}

/// Architecture and steps of the starter model.
fn starter_shape(dir: &Path) -> Option<(Shape, u32)> {
    let shape = Shape::of_folder(dir).ok()?;
    let steps = Checkpoint::open(dir).and_then(|c| c.defaults()).map_or(STEPS, |defaults| defaults.steps);
    Some((shape, steps))
}

fn verdict(needed: u64, available: u64, seconds: Option<f64>) -> (&'static str, Option<String>) {
    match seconds {
        None => ("no", Some("does not compute in this type".into())),
        _ if needed > available => ("no", Some(format!("needs {} more", DecimalBytes(needed - available)))),
        Some(seconds) if seconds > SLOW => ("slow", None),
        Some(_) => ("yes", None),
    }
}

impl Row {
    /// Whether it runs at all.
    pub fn runs(&self) -> bool {
        self.verdict != "no"
    }

    pub fn cells(&self) -> [String; 7] {
        let verdict = match &self.reason {
            Some(reason) => format!("{}: {reason}", self.verdict),
            None => self.verdict.into(),
        };
        [
            self.model.into(),
            format!("{}x{}", self.width, self.height),
            if self.dtype == "auto" { format!("auto: {}", self.computes) } else { self.dtype.clone() },
            self.device.into(),
            DecimalBytes(self.needed_bytes).to_string(),
            self.picture_seconds.map_or_else(|| "-".into(), duration),
            verdict,
        ]
    }
}

/// About so long.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.0} h", s / 3600.0),
    }
}

/// Of operations a second, to three digits: a type that is all but not computed in is slow, not infinitely so.
fn gflops(speed: f64) -> f64 {
    let billions = speed / 1e9;
    let digits = (2.0 - billions.max(1e-6).log10().floor()).max(0.0);
    rounded(billions, digits as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speeds_of(gflops: Option<f64>) -> Vec<Speed> {
        let one =
            |dtype: DtypeChoice| Speed { device: "cpu", dtype: dtype.to_string(), gflops, problem: None };
        TYPES.into_iter().map(one).collect()
    }

    #[test]
    fn memory_decides_whether_and_speed_how() {
        let rows = table(None, "cpu", 4_000_000_000, &speeds_of(Some(1e5)));
        let of = |model: &str, dtype: &str| {
            let row = rows.iter().find(|row| row.model == model && row.dtype == dtype);
            row.map(|row| (row.verdict, row.cells().join(" "))).unwrap_or_default()
        };
        assert_eq!(rows.len(), 8);
        assert_eq!(of("SD 1.5", "bf16").0, "yes");
        let (verdict, line) = of("SD 1.5", "f32");
        assert!(verdict == "no" && line.contains("no: needs ") && line.contains(" GB more"), "{line}");
        assert!(!line.contains("would fit"), "weights alone are too large: {line}");
        assert_eq!(of("SDXL", "f16").0, "no");
        let row = |available: u64| {
            let all = table(None, "cpu", available, &speeds_of(Some(1e5)));
            all.into_iter().find(|row| row.model == "SD 1.5" && row.dtype == "f32").map(|row| row.fits_at)
        };
        let all = table(None, "cpu", u64::MAX, &speeds_of(Some(1e5)));
        let tight = all.iter().find(|row| row.model == "SD 1.5").map_or(0, |row| row.needed_bytes);
        assert_eq!((row(tight), row(tight - 1)), (Some(None), Some(Some(448))));
        let slow = table(None, "cpu", u64::MAX, &speeds_of(Some(50.0)));
        assert!(slow.iter().all(|row| row.verdict == "slow"), "{slow:?}");
        let none = table(None, "cpu", u64::MAX, &speeds_of(None));
        assert!(none.iter().all(|row| row.cells().join(" ").contains("does not compute in this type")));
    }

    #[test]
    fn times_are_short_words() {
        assert_eq!([0.31, 45.2, 600.0, 9e4].map(duration), ["0.3 s", "45 s", "10 min", "25 h"]);
    }

    #[test]
    fn a_slow_type_takes_long_and_not_for_ever() {
        assert_eq!([2.34e7, 1.26e9, 2.5e12].map(gflops), [0.0234, 1.26, 2500.0]);
        let rows = table(None, "cpu", u64::MAX, &speeds_of(Some(gflops(2e7))));
        assert!(rows.iter().all(|row| !row.cells().join(" ").contains("inf")), "{rows:?}");
    }
}
