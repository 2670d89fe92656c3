//! Where and in which type a model computes.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::{Cuda, Device, Kind};

use crate::checkpoint::Target;
use crate::error::PipelineError;

/// `--device`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A GPU if there is one, else the CPU.
    #[default]
    Auto,
    Cpu,
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = PipelineError;

    fn from_str(value: &str) -> Result<Self, PipelineError> {
        let unknown = || PipelineError::Choice {
            what: "device",
            value: value.to_string(),
            known: "auto, cpu, cuda, cuda:0, cuda:1, …",
        };
        match value {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            other => {
                let index = other.strip_prefix("cuda:").ok_or_else(unknown)?;
                Ok(Self::Cuda(index.parse().map_err(|_| unknown())?))
            }
        }
    }
}

impl DeviceChoice {
    /// The device, after looking for CUDA where that is wanted.
    ///
    /// To be asked before libtorch computes anything: it looks for CUDA once, for which a convolution on the CPU is
    /// enough, and a GPU whose library is loaded after that is not there for the rest of the process.
    pub fn resolve(self) -> Result<Device, PipelineError> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto if cuda_loaded() && Cuda::is_available() => Ok(Device::Cuda(0)),
            Self::Auto => Ok(Device::Cpu),
            Self::Cuda(index) => {
                let fail = |reason: String| PipelineError::Device { asked: format!("cuda:{index}"), reason };
                if !cuda_loaded() {
                    let reason = "libtorch_cuda.so was not found; `cargo xtask setup --cuda` installs it";
                    return Err(fail(reason.into()));
                }
                let count = if Cuda::is_available() { Cuda::device_count() } else { 0 };
                if index as i64 >= count {
                    return Err(fail(format!("this machine has {count} usable CUDA devices")));
                }
                Ok(Device::Cuda(index))
            }
        }
    }
}

/// Parameters from which a U-Net is large: published ones have 320 million (distilled SD) to 2.6 billion (SDXL), the
/// starter 5 million.
pub const LARGE: u64 = 250_000_000;

/// Whether the processor has instructions that multiply in bf16: without them it is slower than f32. Those with
/// AMX for it (`amx_bf16`) have `avx512_bf16` as well.
fn multiplies_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// `--dtype`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DtypeChoice {
    /// bf16 on a GPU. On a CPU f32, in which pictures are the same on every machine; but bf16 for large U-Nets
    /// ([`LARGE`]) where the processor multiplies in it, with the autoencoder in f32.
    #[default]
    Auto,
    F32,
    Bf16,
    F16,
}

impl FromStr for DtypeChoice {
    type Err = PipelineError;

    fn from_str(value: &str) -> Result<Self, PipelineError> {
        match value {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "f16" => Ok(Self::F16),
            _ => Err(PipelineError::Choice {
                what: "type",
                value: value.to_string(),
                known: "auto, f32, bf16, f16",
            }),
        }
    }
}

impl DtypeChoice {
    /// Where and in which types the networks of a model compute whose U-Net has so many parameters.
    pub fn target(self, device: Device, unet_parameters: u64) -> Target {
        self.target_where(device, unet_parameters, multiplies_bf16())
    }

    fn target_where(self, device: Device, unet_parameters: u64, multiplies_bf16: bool) -> Target {
        let large = unet_parameters >= LARGE && multiplies_bf16;
        let (kind, vae) = match (self, device) {
            (Self::Auto, Device::Cuda(_)) | (Self::Bf16, _) => (Kind::BFloat16, Kind::BFloat16),
            // The autoencoder runs once a picture, and its roundings are seen.
            (Self::Auto, _) if large => (Kind::BFloat16, Kind::Float),
            (Self::Auto | Self::F32, _) => (Kind::Float, Kind::Float),
            (Self::F16, _) => (Kind::Half, Kind::Half),
        };
        Target { device, kind, vae }
    }
}

impl fmt::Display for DtypeChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}

/// The name of a tensor type, as `--dtype` spells it.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::BFloat16 => "bf16",
        Kind::Half => "f16",
        _ => "f32",
    }
}

/// Threads that one tensor operation is divided among on the CPU.
pub fn threads() -> i32 {
    tch::get_num_threads()
}

/// Waits until the device has done all that it was given. A GPU is given work ahead: a step that was only begun must
/// not count as taken, nor its time as the time of the next thing that waits.
pub(crate) fn wait_for(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(index as i64);
    }
}

/// The name of a device, as `--device` spells it.
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".into(),
    }
}

/// Loads libtorch's CUDA half if it lies anywhere: the binary is linked to the CPU half alone, and
/// loading the other registers its kernels. Looked for once: in `$IMAGINE_LIBTORCH_CUDA`, in
/// `libtorch-cuda/lib` of the dependency folder, on the loader's own search path.
fn cuda_loaded() -> bool {
    static LOADED: OnceLock<bool> = OnceLock::new();
    *LOADED.get_or_init(|| {
        let name = "libtorch_cuda.so";
        let mut candidates: Vec<PathBuf> = Vec::new();
        if let Some(folder) = std::env::var_os("IMAGINE_LIBTORCH_CUDA") {
            candidates.push(Path::new(&folder).join(name));
        }
        candidates.retain(|path| path.is_file());
        let inner = Path::new("libtorch-cuda/lib").join(name);
        candidates.extend(imagine_identity::runtime::find(&inner).ok());
        candidates.push(PathBuf::from(name));
        candidates.iter().any(|path| {
            // SAFETY: the library's initialisers only register kernels with the libtorch already
            // loaded; it stays loaded until the process ends.
            match unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) } {
                Ok(library) => {
                    std::mem::forget(library);
                    true
                }
                Err(error) => {
                    tracing::debug!(path = %path.display(), %error, "no CUDA library");
                    false
                }
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_bf16_where_it_pays() {
        let types = |choice: DtypeChoice, device, parameters, multiplies| {
            let Target { kind, vae, .. } = choice.target_where(device, parameters, multiplies);
            (kind, vae)
        };
        let (f32, bf16) = (Kind::Float, Kind::BFloat16);
        let (starter, sd15) = (5_400_000, 859_520_964);
        assert_eq!(types(DtypeChoice::Auto, Device::Cpu, sd15, true), (bf16, f32));
        assert_eq!(types(DtypeChoice::Auto, Device::Cpu, sd15, false), (f32, f32));
        assert_eq!(types(DtypeChoice::Auto, Device::Cpu, starter, true), (f32, f32), "the same everywhere");
        assert_eq!(types(DtypeChoice::Auto, Device::Cuda(0), starter, false), (bf16, bf16));
        assert_eq!(types(DtypeChoice::F32, Device::Cpu, sd15, true), (f32, f32));
        assert_eq!(types(DtypeChoice::Bf16, Device::Cpu, starter, false), (bf16, bf16));
    }
}
