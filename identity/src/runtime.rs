//! ONNX Runtime, loaded at run time: where the shared library and the face models lie, one environment for
//! the process, and sessions made from model files. Set-up puts both into `.deps`; nothing is fetched here.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::value::{Tensor, ValueType};

use crate::IdentityError;

/// Names ONNX Runtime's shared library; goes before every other place.
pub const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";
/// Names the folder that set-up fills; goes before `.deps` beside the executable.
pub const DEPS_VARIABLE: &str = "IMAGINE_DEPS";
/// File of the face detector within the folder of face models.
pub const YUNET_FILE: &str = "face_detection_yunet_2023mar.onnx";
/// File of the face recogniser within the folder of face models.
pub const SFACE_FILE: &str = "face_recognition_sface_2021dec.onnx";

#[cfg(target_os = "windows")]
const LIBRARY_FILE: &str = "onnxruntime.dll";
#[cfg(target_os = "macos")]
const LIBRARY_FILE: &str = "libonnxruntime.dylib";
#[cfg(not(any(target_os = "windows", target_os = "macos")))]
const LIBRARY_FILE: &str = "libonnxruntime.so";

/// Why ONNX Runtime cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    #[error("ONNX Runtime is not set up (no {}): run `cargo xtask setup`", list(.tried))]
    LibraryMissing { tried: Vec<PathBuf> },
    #[error("the face models are not set up (no {}): run `cargo xtask setup`", list(.tried))]
    ModelsMissing { tried: Vec<PathBuf> },
    #[error("{}: ONNX Runtime does not load: {reason}: run `cargo xtask setup` to fetch it again", .path.display())]
    Load { path: PathBuf, reason: String },
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    paths.join(", no ")
}

/// ONNX Runtime's shared library: what `ORT_DYLIB_PATH` names, or `onnxruntime/libonnxruntime.so` in the
/// folder that `IMAGINE_DEPS` names, or in a `.deps` folder beside the executable or above it.
///
/// The working directory is not searched: a library must not be loaded from wherever a person happens to
/// stand.
///
/// # Errors
/// [`RuntimeError::LibraryMissing`] with the places looked at.
pub fn locate() -> Result<PathBuf, RuntimeError> {
    if let Some(named) = variable(LIBRARY_VARIABLE) {
        return if named.is_file() {
            Ok(named)
        } else {
            Err(RuntimeError::LibraryMissing { tried: vec![named] })
        };
    }
    find(&Path::new("onnxruntime").join(LIBRARY_FILE)).map_err(|tried| RuntimeError::LibraryMissing { tried })
}

/// The folder that holds both face models, found as [`locate`] finds the library.
///
/// # Errors
/// [`RuntimeError::ModelsMissing`] with the places looked at.
pub fn face_models() -> Result<PathBuf, RuntimeError> {
    find(Path::new("faces")).map_err(|tried| RuntimeError::ModelsMissing { tried })
}

/// The folders that set-up may have filled: what `IMAGINE_DEPS` names, or every `.deps` beside the executable
/// and above it, nearest first.
fn candidates() -> Vec<PathBuf> {
    if let Some(named) = variable(DEPS_VARIABLE) {
        return vec![named];
    }
    match std::env::current_exe() {
        Ok(executable) => executable.ancestors().skip(1).map(|folder| folder.join(".deps")).collect(),
        Err(_) => Vec::new(),
    }
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The first existing `<deps>/<inner>` in the dependency folders, or everything that was tried.
pub fn find(inner: &Path) -> Result<PathBuf, Vec<PathBuf>> {
    let mut tried: Vec<PathBuf> = candidates().into_iter().map(|folder| folder.join(inner)).collect();
    match tried.iter().position(|path| path.exists()) {
        Some(at) => Ok(tried.swap_remove(at)),
        None => {
            // the nearest places say enough
            tried.truncate(3);
            Err(tried)
        }
    }
}

/// Threads that one face network uses unless told otherwise: a run takes milliseconds, so more than two
/// would only take cores from the diffusion model.
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(2))
}

/// The one environment of this process, made at the first call. A failure is not remembered, so that a
/// later call can succeed after set-up.
fn environment() -> Result<Environment, RuntimeError> {
    static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);
    let mut held = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = held.as_ref() {
        return Ok(environment.clone());
    }
    let environment = load(&locate()?)?;
    *held = Some(environment.clone());
    Ok(environment)
}

fn load(path: &Path) -> Result<Environment, RuntimeError> {
    let failed = |reason: String| RuntimeError::Load { path: path.to_owned(), reason };
    ort::init_from(path)
        .map_err(|e| failed(e.to_string()))?
        .with_name("imagine")
        .with_telemetry(false)
        // Anything that matters comes back as an error; the rest is for whoever debugs this.
        .with_logger(Arc::new(
            |_, _, _, _, message: &str| tracing::debug!(target: "onnxruntime", "{message}"),
        ))
        .build()
        .map_err(|e| failed(e.to_string()))
}

/// One ONNX network: a single f32 input `[1, 3, height, width]` and named f32 outputs. Calls from several
/// threads take turns.
pub(crate) struct Network {
    name: &'static str,
    session: Mutex<Session>,
}

impl Network {
    /// Loads a model file and checks that it has one input that takes the given shape (the
    /// model may leave any dimension open) and the outputs named.
    ///
    /// # Errors
    /// Library or model missing, a file that is not an ONNX model, a model of another shape.
    pub(crate) fn open(
        name: &'static str,
        path: &Path,
        threads: usize,
        input: [i64; 4],
        outputs: &[impl AsRef<str>],
    ) -> Result<Self, IdentityError> {
        if !path.is_file() {
            return Err(IdentityError::ModelMissing { path: path.to_owned() });
        }
        let environment = environment()?;
        let wrong = |reason: String| IdentityError::Model { path: path.to_owned(), reason };
        let build = || -> Result<Session, ort::Error> {
            Session::builder(&environment)?
                .with_intra_threads(threads.max(1))?
                .with_intra_op_spinning(false)?
                // SFace lists its weights as inputs; below this level that is one warning for each.
                .with_log_level(LogLevel::Error)?
                .commit_from_file(path)
        };
        let session = build().map_err(|e| wrong(format!("not a usable ONNX model: {e}")))?;
        match session.inputs() {
            [one] => match one.dtype() {
                ValueType::Tensor { shape, .. } if fits(shape, input) => {}
                other => return Err(wrong(format!("its input is {other}, expected a tensor {input:?}"))),
            },
            several => return Err(wrong(format!("it has {} inputs, expected one", several.len()))),
        }
        for wanted in outputs.iter().map(AsRef::as_ref) {
            if !session.outputs().iter().any(|output| output.name() == wanted) {
                return Err(wrong(format!("it has no output named {wanted}")));
            }
        }
        Ok(Self { name, session: Mutex::new(session) })
    }

    /// Runs the network on one input and returns the named outputs, in that order, flattened row by row.
    ///
    /// # Errors
    /// [`IdentityError::Inference`].
    pub(crate) fn run(
        &self,
        shape: [i64; 4],
        input: Vec<f32>,
        outputs: &[impl AsRef<str>],
    ) -> Result<Vec<Vec<f32>>, IdentityError> {
        let failed = |reason: String| IdentityError::Inference { network: self.name, reason };
        let tensor = Tensor::from_array((shape, input)).map_err(|e| failed(e.to_string()))?;
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let results = session.run(ort::inputs![tensor]).map_err(|e| failed(e.to_string()))?;
        let mut taken = Vec::with_capacity(outputs.len());
        for name in outputs.iter().map(AsRef::as_ref) {
            let value = results.get(name).ok_or_else(|| failed(format!("no output named {name}")))?;
            let (_, data) = value.try_extract_tensor::<f32>().map_err(|e| failed(e.to_string()))?;
            taken.push(data.to_vec());
        }
        Ok(taken)
    }
}

/// Whether a model's input, where −1 is a dimension left open, takes a shape.
fn fits(model: &[i64], wanted: [i64; 4]) -> bool {
    model.len() == wanted.len() && model.iter().zip(wanted).all(|(&has, wanted)| has == -1 || has == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dimension_left_open_takes_any_size() {
        assert!(fits(&[1, 3, -1, -1], [1, 3, 640, 640]) && fits(&[-1, 3, 112, 112], [1, 3, 112, 112]));
        assert!(!fits(&[1, 3, 320, 320], [1, 3, 640, 640]));
        assert!(!fits(&[1, 3, 112], [1, 3, 112, 112]));
    }

    #[test]
    fn a_file_that_is_no_library_is_an_error_that_says_what_to_do() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("libonnxruntime.so");
        std::fs::write(&path, "not a library").expect("writing the file");
        let message = match load(&path) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("a text file was loaded as a library"),
        };
        assert!(message.contains("libonnxruntime.so") && message.contains("cargo xtask setup"), "{message}");
    }

    #[test]
    fn what_is_not_set_up_is_said_in_one_line() {
        let missing = find(Path::new("no/such/file")).expect_err("it was found");
        assert!(!missing.is_empty() && missing.iter().all(|path| path.ends_with("no/such/file")));
        let message = RuntimeError::LibraryMissing { tried: missing }.to_string();
        assert!(message.ends_with("run `cargo xtask setup`") && !message.contains('\n'), "{message}");
    }

    #[test]
    fn a_missing_model_is_an_error_that_says_what_to_do() {
        let path = Path::new("no-such-folder/face.onnx");
        let message = match Network::open("test", path, 1, [1, 3, 8, 8], &["x"]) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("a missing file was opened"),
        };
        assert!(message.contains("no-such-folder") && message.contains("cargo xtask setup"), "{message}");
    }
}
