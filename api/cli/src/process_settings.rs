//! Settings of libraries that are read before `main`: how OpenMP's threads wait, and how memory is kept.
//!
//! Where other programs use the processor too, a spinning thread takes the core that the thread it waits
//! for needs: on a busy machine of two cores a picture took nine times as long. And by default glibc gives
//! every large tensor's memory back at once, so that each step's pages are fetched and cleared anew
//! (docs/measurements/cpu.md says what that costs).
//!
//! libgomp and glibc read their settings when they are loaded, before anything that this program could set
//! would be seen. So the program starts itself once more with the settings, from the function that the
//! loader calls ahead of all libraries' own: nothing but the loading (a few milliseconds) is done twice. A
//! person's own setting wins.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod before_main {
    use std::ffi::{CStr, c_char, c_int};
    use std::ptr;

    unsafe extern "C" {
        fn execve(path: *const c_char, argv: *const *const c_char, envp: *const *const c_char) -> c_int;
        fn readlink(path: *const c_char, buffer: *mut c_char, size: usize) -> isize;
    }

    /// What the libraries listen to; any of them set by a person leaves all to them.
    const NAMES: [&[u8]; 4] =
        [b"OMP_WAIT_POLICY=", b"GOMP_SPINCOUNT=", b"MALLOC_MMAP_THRESHOLD_=", b"MALLOC_TRIM_THRESHOLD_="];
    /// Tensors up to 64 MiB come from the heap. With a higher limit a picture of 512² took 1.4 GB more memory
    /// and no less time.
    const SETTINGS: [&CStr; 5] = [
        c"OMP_WAIT_POLICY=PASSIVE",
        c"GOMP_SPINCOUNT=0",
        c"MALLOC_MMAP_THRESHOLD_=67108864",
        c"MALLOC_TRIM_THRESHOLD_=536870912",
        c"MALLOC_TOP_PAD_=67108864",
    ];
    /// Variables of the environment that are carried over; with more the program runs on as it is.
    const MOST: usize = 4096;
    const LONGEST_PATH: usize = 4096;

    extern "C" fn start_with_settings(_: c_int, argv: *const *const c_char, envp: *const *const c_char) {
        if argv.is_null() || envp.is_null() {
            return;
        }
        let mut environment = [ptr::null(); MOST + SETTINGS.len() + 1];
        let mut count = 0;
        loop {
            // SAFETY: the kernel ends the list of variables with a null pointer, which ends this loop.
            let variable = unsafe { *envp.add(count) };
            if variable.is_null() {
                break;
            }
            // SAFETY: every entry before that is a string that ends in zero.
            let text = unsafe { CStr::from_ptr(variable) }.to_bytes();
            if count == MOST || NAMES.iter().any(|name| text.starts_with(name)) {
                return;
            }
            environment[count] = variable;
            count += 1;
        }
        for (place, setting) in environment[count..].iter_mut().zip(SETTINGS) {
            *place = setting.as_ptr();
        }
        let mut path: [c_char; LONGEST_PATH] = [0; LONGEST_PATH];
        // SAFETY: one byte less than the buffer has may be written, so that it ends in zero. Where the call
        // fails, this returns and the program runs on without the settings.
        unsafe {
            if readlink(c"/proc/self/exe".as_ptr(), path.as_mut_ptr(), LONGEST_PATH - 1) > 0 {
                execve(path.as_ptr(), argv, environment.as_ptr());
            }
        }
    }

    #[used]
    #[unsafe(link_section = ".preinit_array")]
    static START_WITH_SETTINGS: extern "C" fn(c_int, *const *const c_char, *const *const c_char) =
        start_with_settings;
}
