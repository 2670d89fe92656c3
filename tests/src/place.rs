//! Where the networks of the golden tests compute, and in which type: on the CPU in f32, unless
//! `IMAGINE_TEST_DEVICE` (as `--device`) and `IMAGINE_TEST_DTYPE` (as `--dtype`) say otherwise.

use std::str::FromStr;
use std::sync::OnceLock;

use imagine_pipeline::{DeviceChoice, DtypeChoice};
use tch::{Device, Kind};

/// Where, in which type, and what that costs in accuracy.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub choice: DeviceChoice,
    pub device: Device,
    pub dtype: DtypeChoice,
    pub kind: Kind,
    /// Relative error that rounding alone may bring beside Python's f32 on a CPU; 0 where the tests' own tolerances
    /// hold.
    pub rounding: f64,
    pub colours: Colours,
}

/// Difference of colour values, of 255, that rounding alone may bring to a whole picture.
#[derive(Clone, Copy, Debug)]
pub enum Colours {
    Largest(u8),
    /// Steps carry errors on: single colours may come to be anything.
    Mean(f64),
}

impl Place {
    fn new() -> Self {
        let choice: DeviceChoice = chosen("IMAGINE_TEST_DEVICE", DeviceChoice::Cpu);
        let dtype: DtypeChoice = chosen("IMAGINE_TEST_DTYPE", DtypeChoice::F32);
        let device = choice.resolve().unwrap_or_else(|e| panic!("IMAGINE_TEST_DEVICE: {e}"));
        let kind = dtype.target(device, 0).kind;
        // cuDNN's convolutions in f32 round their factors to TF32 unless this variable of NVIDIA's libraries is 0;
        // torch's matrix products do not.
        let exact = std::env::var("NVIDIA_TF32_OVERRIDE").is_ok_and(|value| value == "0");
        let (rounding, colours) = match (kind, device) {
            // 8 bits of mantissa: an error of 2⁻⁹ at every one of some dozens of layers, whose four or eight channels
            // average nothing out: up to 0.17 of the largest value was found on a CPU, and 27 of 255 after DDIM.
            (Kind::BFloat16, _) => (0.2, Colours::Mean(32.0)),
            // 11 bits, an eighth of that; and so TF32's. DDIM's first step divides by the little signal that there is:
            // diffusers' own pictures by it, from the same noise, are 4.0 of 255 from those in f32, all others below 0.5.
            (Kind::Half, _) => (0.025, Colours::Mean(6.0)),
            (_, Device::Cpu) => (0.0, Colours::Largest(1)),
            // 24 bits, summed up in another order and by other algorithms.
            (_, _) if exact => (1e-4, Colours::Largest(2)),
            (_, _) => (0.025, Colours::Mean(4.0)),
        };
        Self { choice, device, dtype, kind, rounding, colours }
    }
}

fn chosen<T: FromStr<Err: std::fmt::Display>>(variable: &str, usual: T) -> T {
    match std::env::var(variable) {
        Ok(value) if !value.is_empty() => value.parse().unwrap_or_else(|e| panic!("{variable}: {e}")),
        _ => usual,
    }
}

/// Settled once, at the first call.
pub fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(Place::new)
}

/// The device of the [`place`].
pub fn device() -> Device {
    place().device
}

/// The type of the [`place`], for weights.
pub fn kind() -> Kind {
    place().kind
}

/// The type of the [`place`], for a whole model.
pub fn dtype() -> DtypeChoice {
    place().dtype
}
