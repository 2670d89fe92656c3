//! Why the program ends without having done what it was asked, as one line and an exit code.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// An error line, perhaps a hint, and who is at fault.
#[derive(Debug)]
pub struct Failure {
    message: String,
    hint: Option<String>,
    code: u8,
    passing: bool,
}

impl Failure {
    /// The command line or a file named on it is at fault: exit code 2.
    pub fn input(message: impl fmt::Display) -> Self {
        Self { message: one_line(&message.to_string()), hint: None, code: 2, passing: false }
    }

    /// Something else is: exit code 1.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self { message: one_line(&message.to_string()), hint: None, code: 1, passing: false }
    }

    /// The person stopped it: exit code 1.
    pub fn canceled() -> Self {
        Self::failed("canceled")
    }

    /// Adds a line that says what to do about it.
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(one_line(&hint.to_string()));
        self
    }

    /// Marks one that may be over in a moment, as when a server is being started again.
    pub fn passing(mut self) -> Self {
        self.passing = true;
        self
    }

    pub fn is_passing(&self) -> bool {
        self.passing
    }

    /// What happened, without what to do about it.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Writes the lines to stderr and gives the exit code.
    pub fn report(&self) -> ExitCode {
        ExitCode::from(self.told())
    }

    /// The same as a number.
    pub fn report_code(&self) -> i32 {
        self.told().into()
    }

    fn told(&self) -> u8 {
        // A closed stderr leaves nobody to tell.
        let _ = write!(io::stderr(), "{self}");
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => writeln!(f, "hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// libtorch puts a stack trace below the line that says what happened; that line is kept.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("unknown").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_and_a_hint_another() {
        let failure = Failure::input("\n size is wrong\nframe #0: …").hint("try --size 512x512");
        assert_eq!(failure.to_string(), "error: size is wrong\nhint: try --size 512x512\n");
        assert_eq!(failure.code, 2);
        let canceled = Failure::canceled();
        assert_eq!((canceled.to_string().as_str(), canceled.code), ("error: canceled\n", 1));
    }
}
