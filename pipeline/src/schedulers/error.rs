//! What can go wrong between a `scheduler_config.json` and the last step.

use std::path::PathBuf;

use super::SchedulerKind;

/// Why a scheduler could not be read, built or stepped.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The file could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file was read but asks for something that cannot be done.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it asks for.
        source: Box<SchedulerError>,
    },
    /// Not a JSON object.
    #[error("not a scheduler configuration: {reason}")]
    Json {
        /// What the parser says.
        reason: String,
    },
    /// `_class_name` names no scheduler known here.
    #[error(
        "`_class_name` is \"{class}\", which is not implemented; choose another scheduler, one of: {known}"
    )]
    Class {
        /// The value found.
        class: String,
        /// Names for the command line.
        known: String,
    },
    /// A value of the wrong type, out of range, or not in the list of allowed ones.
    #[error("`{key}` is {value}, expected {expected}")]
    Value {
        /// The key in `scheduler_config.json`.
        key: &'static str,
        /// The value found, as JSON.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// A value that diffusers knows, in a place where it is not implemented (there or here).
    #[error("`{key}` = {value} is not implemented for {kind}: {reason}")]
    Unsupported {
        /// The sampler.
        kind: SchedulerKind,
        /// The key in `scheduler_config.json`.
        key: &'static str,
        /// The value found, as JSON.
        value: String,
        /// What stands in the way, or what to use instead.
        reason: String,
    },
    /// A number of steps that this configuration cannot make.
    #[error("{steps} steps: {kind} takes {} here ({limit})", broken_bound(*steps, *min, *max))]
    Steps {
        /// The sampler.
        kind: SchedulerKind,
        /// Steps asked for.
        steps: usize,
        /// Fewest possible.
        min: usize,
        /// Most possible.
        max: usize,
        /// The number that sets the bound.
        limit: &'static str,
    },
    /// A timestep beyond the noise table.
    #[error(
        "timestep {timestep} is outside the {num_train_timesteps} training timesteps \
         (`steps_offset` is {steps_offset}); use fewer steps"
    )]
    Timestep {
        /// The timestep that came out.
        timestep: i64,
        /// `num_train_timesteps`.
        num_train_timesteps: usize,
        /// `steps_offset`.
        steps_offset: usize,
    },
    /// A step index outside `timesteps()`.
    #[error("step index {index} of {count}")]
    Index {
        /// The index asked for.
        index: usize,
        /// Number of timesteps.
        count: usize,
    },
    /// Steps were not taken one after the other.
    #[error(
        "step {found} was asked for where step {expected} comes next: this sampler cannot start midway (pndm without skip_prk_steps); choose another"
    )]
    Order {
        /// The step that comes next.
        expected: usize,
        /// The step asked for.
        found: usize,
    },
    /// Tensors that do not fit each other.
    #[error("{what} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Which tensor.
        what: &'static str,
        /// Shape expected.
        expected: Vec<i64>,
        /// Shape found.
        found: Vec<i64>,
    },
    /// No scheduler of that name.
    #[error("no scheduler is called \"{name}\"; there are: {known}")]
    Name {
        /// The name asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Torch(#[from] tch::TchError),
}

fn broken_bound(steps: usize, min: usize, max: usize) -> String {
    if steps < min { format!("at least {min}") } else { format!("at most {max}") }
}
