//! How much memory of a GPU is in use.

use std::ffi::c_int;

use libloading::os::unix::Library;

type MemGetInfo = unsafe extern "C" fn(free: *mut usize, total: *mut usize) -> c_int;
type SetDevice = unsafe extern "C" fn(device: c_int) -> c_int;

/// Bytes in use on GPU number `index`, by this process and all others. None where CUDA's runtime is not loaded,
/// which libtorch's CUDA half brings, or does not tell.
pub fn gpu_memory_in_use(index: usize) -> Option<u64> {
    let index = c_int::try_from(index).ok()?;
    let process = Library::this();
    // SAFETY: both have had these signatures since CUDA's first runtime. Every thread has its own current device,
    // so setting it here changes nothing for the thread that draws. A result other than 0 is an error, and then
    // nothing was written.
    unsafe {
        let set_device = process.get::<SetDevice>(b"cudaSetDevice\0").ok()?;
        let mem_get_info = process.get::<MemGetInfo>(b"cudaMemGetInfo\0").ok()?;
        let (mut free, mut total) = (0_usize, 0_usize);
        let told = set_device(index) == 0 && mem_get_info(&mut free, &mut total) == 0;
        told.then(|| (total.saturating_sub(free)) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_cuda_nothing_is_told() {
        if !tch::Cuda::is_available() {
            assert_eq!(gpu_memory_in_use(0), None);
        }
        assert_eq!(gpu_memory_in_use(usize::MAX), None);
    }
}
