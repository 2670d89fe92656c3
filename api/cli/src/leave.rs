//! Ending the process while other threads are at work.

use std::io::Write;

/// Ends at once, without the end that libraries have prepared for themselves. `exit` would take their tables apart
/// under threads that still use them: ONNX Runtime then answers with nonsense ("GetElementType is not implemented")
/// and libtorch crashes, and a job may still be written down with what they said.
pub fn at_once(code: i32) -> ! {
    // What cannot be written now is written nowhere.
    let _ = std::io::stdout().flush();
    let _ = std::io::stderr().flush();
    #[cfg(unix)]
    // SAFETY: it takes a number and ends the process.
    unsafe {
        libc::_exit(code)
    }
    #[cfg(not(unix))]
    std::process::exit(code)
}
