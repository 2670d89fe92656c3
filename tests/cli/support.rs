//! Running the binary, and the files it is run on.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flate2::read::GzDecoder;
use safetensors::SafeTensors;
use tempfile::TempDir;

/// What a run left.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A folder of its own for one test, in which the program runs, and a model beside it: the tiny checkpoint
/// of the golden tests with its adapter, under the name "tiny".
pub struct Workplace {
    dir: TempDir,
    shelf: TempDir,
}

impl Workplace {
    pub fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap(), shelf: tempfile::tempdir().unwrap() };
        copy_folder(&golden("pipeline/checkpoint"), &place.model());
        fs::copy(adapter(), place.model().join("ip-adapter-faceid_tiny.safetensors")).unwrap();
        place
    }

    /// The folder of models, for `IMAGINE_MODELS`.
    pub fn shelf(&self) -> &Path {
        self.shelf.path()
    }

    /// The checkpoint; a test may change it.
    pub fn model(&self) -> PathBuf {
        self.shelf.path().join("tiny")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file with these bytes.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A packed golden fixture as a file of that name.
    pub fn unpacked(&self, packed: &str, name: &str) -> PathBuf {
        let mut bytes = Vec::new();
        GzDecoder::new(&fs::read(golden(packed)).unwrap()[..]).read_to_end(&mut bytes).unwrap();
        self.file(name, &bytes)
    }

    /// Names of what lies in a folder, sorted; nothing if it is not there.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The program with a person's settings taken away. The home folder is the workplace, so that a test
    /// sees whatever a library leaves there.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imagine"));
        command.current_dir(self.dir.path()).env("OMP_NUM_THREADS", "1").env("HOME", self.dir.path());
        // The tests say what is drawn; those of the expansion ask for it.
        command.env("IMAGINE_NO_EXPAND", "1");
        for unset in [
            "IMAGINE_MODELS",
            "IMAGINE_FACE_PACKS",
            "XDG_CONFIG_HOME",
            "IMAGINE_LOG",
            "IMAGINE_LLAMA",
            "IMAGINE_LLM_URL",
            "IMAGINE_LLM_MODEL",
            "IMAGINE_LLM_KEY",
            "IMAGINE_LLM_SECONDS",
            "IMAGINE_SEARCH_URL",
            "IMAGINE_SEARCH_KEY",
            "XDG_DATA_HOME",
            "XDG_CACHE_HOME",
            "ORT_DISABLE_TELEMETRY",
        ] {
            command.env_remove(unset);
        }
        // Whatever else would change where things lie, who may read them, or whom it is told.
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        for name in names.filter(|name| name.starts_with("AWS_") || name.starts_with("OTEL_")) {
            command.env_remove(name);
        }
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        finish(self.command().args(args).output().unwrap())
    }

    /// Two steps of "a red hat" with the tiny checkpoint on the CPU.
    pub fn generate<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        let mut command = self.command();
        command.args(["generate", "--prompt", "a red hat", "--steps", "2", "--device", "cpu", "--model"]);
        finish(command.arg(self.model()).args(args).output().unwrap())
    }
}

pub fn finish(output: Output) -> Run {
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Run {
    /// Done, or the test ends with what the program said.
    pub fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// Refused as wrong input: exit code 2, an `error:` line that holds all of `says`, and no panic.
    pub fn refused(self, says: &[&str]) -> Self {
        assert_eq!(self.code, Some(2), "{}{}", self.stdout, self.stderr);
        let line = self.stderr.lines().find(|line| line.starts_with("error: "));
        let line = line.unwrap_or_else(|| panic!("no error line in: {}", self.stderr));
        for word in says {
            assert!(line.contains(word), "\"{word}\" is missing in: {line}");
        }
        assert!(
            !self.stderr.contains("panicked") && !self.stderr.contains("internal error"),
            "{}",
            self.stderr
        );
        assert_eq!(self.stdout, "", "nothing goes to stdout where nothing was made");
        self
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }
}

/// A file or folder among the golden fixtures.
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/fixtures").join(name)
}

/// An identity adapter for the tiny checkpoint.
pub fn adapter() -> PathBuf {
    golden("pipeline/adapter.safetensors")
}

/// Width of the face embeddings that the adapter takes.
pub fn embedding_width() -> usize {
    let bytes = fs::read(adapter()).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    tensors.tensor("image_proj.proj.0.weight").unwrap().shape()[1]
}

/// A copy of a folder and all that is in it.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A float32 `.npy` file, version 1.0, of one row.
pub fn npy(values: &[f32]) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}", values.len());
    // magic, version and length take 10 bytes; the header ends in a newline on a multiple of 64
    let padded = (10 + header.len() + 1).div_ceil(64) * 64 - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(padded).unwrap().to_le_bytes());
    bytes.extend(format!("{header:<width$}\n", width = padded - 1).bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

/// An embedding of length 1 that is nobody's.
pub fn embedding(width: usize) -> Vec<f32> {
    let values: Vec<f32> = (0..width).map(|i| (i as f32 * 0.7).sin()).collect();
    let norm = values.iter().map(|v| v * v).sum::<f32>().sqrt();
    values.iter().map(|v| v / norm).collect()
}

/// A real portrait with one face.
pub fn portrait() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/portraits/astronaut.jpg")
}
