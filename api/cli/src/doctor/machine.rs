//! What the operating system says of processor, memory and graphics cards.

use std::fs;
use std::process::{Command, Stdio};

use serde::Serialize;

/// The extensions that decide how fast which type is.
const FEATURES: [&str; 8] =
    ["fma", "f16c", "avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16"];

#[derive(Serialize)]
pub struct Cpu {
    pub name: String,
    /// Logical cores that this program may use.
    pub cores: usize,
    /// Of those that matter here, as Linux names them.
    pub features: Vec<&'static str>,
}

impl Cpu {
    pub fn line(&self) -> String {
        let cores = if self.cores == 1 { "1 core".into() } else { format!("{} cores", self.cores) };
        format!("{}, {cores}; {}", self.name, self.features.join(" "))
    }
}

#[derive(Clone, Copy, Serialize)]
pub struct Memory {
    pub total_bytes: u64,
    /// Without swapping, within the limits of a container.
    pub available_bytes: u64,
}

#[derive(Serialize)]
pub struct Gpu {
    pub name: String,
    pub total_bytes: u64,
    pub free_bytes: u64,
}

pub fn cpu() -> Cpu {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (name, features) = read_cpu(&text);
    Cpu { name, cores, features }
}

/// Name and features of the first processor in `/proc/cpuinfo`.
fn read_cpu(text: &str) -> (String, Vec<&'static str>) {
    let value = |key: &str| {
        let line = text.lines().find(|line| line.split(':').next().is_some_and(|k| k.trim() == key))?;
        Some(line.split_once(':')?.1.trim())
    };
    let flags: Vec<&str> = value("flags").unwrap_or_default().split_whitespace().collect();
    let features = FEATURES.into_iter().filter(|feature| flags.contains(feature)).collect();
    (value("model name").unwrap_or("an unknown processor").to_string(), features)
}

pub fn memory() -> Memory {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let host = read_memory(&text);
    // a container's limit, in the second and in the first version of control groups
    let number = |file: &str| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let group = [
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ]
    .into_iter()
    .find_map(|(limit, used)| Some((number(limit)?, number(used)?)));
    match group {
        Some((limit, used)) => Memory {
            total_bytes: host.total_bytes.min(limit),
            available_bytes: host.available_bytes.min(limit.saturating_sub(used)),
        },
        None => host,
    }
}

/// `MemTotal` and `MemAvailable` of `/proc/meminfo`.
fn read_memory(text: &str) -> Memory {
    let kibibytes = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()
    };
    let bytes = |key: &str| kibibytes(key).unwrap_or(0) * 1024;
    Memory { total_bytes: bytes("MemTotal"), available_bytes: bytes("MemAvailable") }
}

/// The NVIDIA driver and its cards, by the tool that comes with the driver.
pub fn gpus() -> (Option<String>, Vec<Gpu>) {
    let query = "--query-gpu=driver_version,name,memory.total,memory.free";
    let output = Command::new("nvidia-smi")
        .args([query, "--format=csv,noheader,nounits"])
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => read_gpus(&String::from_utf8_lossy(&output.stdout)),
        _ => (None, Vec::new()),
    }
}

/// Lines such as `580.95.05, NVIDIA H200, 143771, 143190`, memory in MiB.
fn read_gpus(text: &str) -> (Option<String>, Vec<Gpu>) {
    let mut driver = None;
    let mut gpus = Vec::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let &[version, name, total, free] = cells.as_slice() else { continue };
        driver = Some(version.to_string());
        let bytes = |mebibytes: &str| mebibytes.parse::<u64>().unwrap_or(0) << 20;
        gpus.push(Gpu { name: name.into(), total_bytes: bytes(total), free_bytes: bytes(free) });
    }
    (driver, gpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_writes_is_read() {
        let text = "processor\t: 0\nmodel name\t: Xeon: fast\nflags\t\t: fpu avx2 avx512_bf16 fma\n";
        assert_eq!(read_cpu(text), ("Xeon: fast".to_string(), vec!["fma", "avx2", "avx512_bf16"]));
        assert_eq!(read_cpu("").1, Vec::<&str>::new());
        let memory = read_memory("MemTotal:       24000 kB\nMemFree:  1 kB\nMemAvailable:   21000 kB\n");
        assert_eq!((memory.total_bytes, memory.available_bytes), (24000 * 1024, 21000 * 1024));
    }

    #[test]
    fn what_nvidia_smi_writes_is_read() {
        let (driver, gpus) =
            read_gpus("580.95.05, NVIDIA H200, 143771, 143190\n580.95.05, Other, 8192, 8000\n");
        assert_eq!((driver.as_deref(), gpus.len()), (Some("580.95.05"), 2));
        assert!(gpus.iter().any(|g| g.name == "NVIDIA H200" && g.free_bytes == 143_190 << 20));
        assert!(read_gpus("No devices were found\n").0.is_none());
    }

    #[test]
    fn this_machine_has_memory() {
        let memory = memory();
        assert!(memory.total_bytes > 0 && memory.available_bytes <= memory.total_bytes);
    }
}
