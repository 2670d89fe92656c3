//! How many threads the networks compute with.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

/// Variables by which a person chooses the number of threads.
const CHOSEN_BY: [&str; 2] = ["OMP_NUM_THREADS", "MKL_NUM_THREADS"];

/// Has libtorch compute with one thread for each physical core that this process may use, unless a variable
/// says how many: two threads on the two halves of a core only wait for each other.
pub fn limit() {
    if CHOSEN_BY.iter().any(|name| std::env::var_os(name).is_some()) {
        return;
    }
    let usable = available_parallelism().map_or(1, usize::from);
    let count =
        physical_cores(Path::new("/sys/devices/system/cpu")).map_or(usable, |cores| cores.min(usable));
    tch::set_num_threads(i32::try_from(count.max(1)).unwrap_or(1));
}

/// Cores that differ in package or core number, where the system tells them.
fn physical_cores(cpus: &Path) -> Option<usize> {
    let number = |folder: &Path, name: &str| fs::read_to_string(folder.join("topology").join(name)).ok();
    let mut cores = HashSet::new();
    for entry in fs::read_dir(cpus).ok()?.flatten() {
        let folder = entry.path();
        if let (Some(package), Some(core)) =
            (number(&folder, "physical_package_id"), number(&folder, "core_id"))
        {
            cores.insert((package, core));
        }
    }
    (!cores.is_empty()).then_some(cores.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_threads_of_a_core_count_once() -> std::io::Result<()> {
        let dir = std::env::temp_dir().join(format!("imagine-cpus-{}", std::process::id()));
        for (cpu, package, core) in [(0, 0, 0), (1, 0, 1), (2, 0, 0), (3, 0, 1), (4, 1, 0)] {
            let folder = dir.join(format!("cpu{cpu}/topology"));
            fs::create_dir_all(&folder)?;
            fs::write(folder.join("physical_package_id"), format!("{package}\n"))?;
            fs::write(folder.join("core_id"), format!("{core}\n"))?;
        }
        fs::create_dir_all(dir.join("cpufreq"))?;
        let (found, nowhere) = (physical_cores(&dir), physical_cores(&dir.join("none")));
        fs::remove_dir_all(&dir)?;
        assert_eq!((found, nowhere), (Some(3), None));
        Ok(())
    }
}
