//! The configuration that lies beside some checkpoints, `NAME.yaml` beside `NAME.safetensors`, as the original
//! programs and those that followed them read it. Only what the file of weights cannot say is taken from it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::infer::Prediction;

/// More than any of these files has.
const LARGEST: u64 = 1 << 20;

/// What the U-Net predicts by the configuration beside `file`, if there is one that says it.
pub(super) fn prediction(file: &Path) -> Option<Prediction> {
    ["yaml", "yml"].iter().find_map(|ending| of_text(&read(&file.with_extension(ending))?))
}

fn read(file: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(file).ok()?.take(LARGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// What a configuration of latent diffusion says. Only lines are looked at: the key stands once in such a file, and
/// its value is one word.
fn of_text(text: &str) -> Option<Prediction> {
    if !text.contains("unet_config") {
        return None;
    }
    let line = text.lines().find_map(|line| line.trim().strip_prefix("parameterization:"));
    let value = line.map(|rest| rest.split('#').next().unwrap_or(rest).trim().trim_matches(['"', '\'']));
    match value {
        Some("v") => Some(Prediction::V),
        Some("eps") => Some(Prediction::Epsilon),
        Some(_) => None,
        // What the original program takes without the key.
        None => text.contains("ldm.models.diffusion.").then_some(Prediction::Epsilon),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(line: &str) -> String {
        format!(
            "model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params:\n    {line}\n    unet_config:\n"
        )
    }

    #[test]
    fn the_key_is_read_in_all_its_spellings() {
        for (line, expected) in [
            ("parameterization: \"v\"", Some(Prediction::V)),
            ("parameterization: v  # velocity", Some(Prediction::V)),
            ("parameterization: 'eps'", Some(Prediction::Epsilon)),
            ("parameterization: x0", None),
            ("# parameterization: v", Some(Prediction::Epsilon)),
            ("timesteps: 1000", Some(Prediction::Epsilon)),
        ] {
            assert_eq!(of_text(&config(line)), expected, "{line}");
        }
    }

    #[test]
    fn other_files_say_nothing() {
        assert_eq!(of_text(""), None);
        assert_eq!(of_text("parameterization: v\n"), None);
        let sdxl = "model:\n  target: sgm.models.diffusion.DiffusionEngine\n  params:\n    unet_config:\n";
        assert_eq!(of_text(sdxl), None);
    }
}
