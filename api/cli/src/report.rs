//! What was made, told on stdout: lines for a person or one JSON object for a program.

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

use imagine_pictures::Recipe;
use serde::Serialize;

use crate::failure::Failure;

/// The result of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub recipe: Recipe,
    pub device: String,
    pub pictures: Vec<PictureReport>,
    pub contact_sheet: Option<PathBuf>,
    /// From the start of the program to the last file.
    pub seconds_total: f64,
    /// To load the model.
    pub load_seconds: f64,
}

/// One picture.
#[derive(Debug, Serialize)]
pub struct PictureReport {
    pub path: PathBuf,
    pub seed: u64,
    /// Of one person a number, of several a list.
    #[serde(serialize_with = "cosines_or_null")]
    pub likeness: Vec<Likeness>,
    pub seconds: f64,
}

/// How much the face in a picture is the person's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Likeness {
    /// Nobody was given, or there is no face encoder whose embeddings could be compared.
    NotMeasured,
    NoFaceFound,
    /// Cosine of the two face embeddings, −1 to 1.
    Cosine(f32),
}

fn cosines_or_null<S: serde::Serializer>(likeness: &[Likeness], serializer: S) -> Result<S::Ok, S::Error> {
    let cosine = |likeness: &Likeness| match likeness {
        Likeness::Cosine(cosine) => Some(rounded(f64::from(*cosine), 4)),
        Likeness::NotMeasured | Likeness::NoFaceFound => None,
    };
    match likeness {
        [] => serializer.serialize_none(),
        [one] => cosine(one).serialize(serializer),
        several => several.iter().map(cosine).collect::<Vec<_>>().serialize(serializer),
    }
}

/// Digits beyond these say nothing.
pub fn rounded(value: f64, digits: i32) -> f64 {
    let unit = 10f64.powi(digits);
    (value * unit).round() / unit
}

impl PictureReport {
    fn line(&self) -> String {
        let word = |likeness: &Likeness| match likeness {
            Likeness::NotMeasured => String::new(),
            Likeness::NoFaceFound => "  no face found".into(),
            Likeness::Cosine(cosine) => format!("  likeness {cosine:.2}"),
        };
        let likeness: String = self.likeness.iter().map(word).collect();
        format!("{}  seed {}{likeness}  {:.1} s", self.path.display(), self.seed, self.seconds)
    }
}

impl Report {
    /// One line a picture, one for the sheet, one for the whole.
    fn lines(&self) -> String {
        let mut lines: Vec<String> = self.pictures.iter().map(PictureReport::line).collect();
        if let Some(sheet) = &self.contact_sheet {
            lines.push(format!("{}  all {} on one sheet", sheet.display(), self.pictures.len()));
        }
        lines.push(format!(
            "{} on {} in {}: {:.1} s, of which {:.1} s to load",
            self.recipe.model, self.device, self.recipe.dtype, self.seconds_total, self.load_seconds
        ));
        lines.join("\n")
    }

    /// Writes it to stdout. A reader who has left early is no failure.
    pub fn print(&self, json: bool) -> Result<(), Failure> {
        let text =
            if json { serde_json::to_string_pretty(self).map_err(Failure::failed)? } else { self.lines() };
        match writeln!(io::stdout(), "{text}") {
            Err(e) if e.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::failed(format!("cannot write to stdout: {e}")))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn report() -> Report {
        let picture = |seed, likeness: &[Likeness]| PictureReport {
            path: format!("out/imagine-{seed}.png").into(),
            seed,
            likeness: likeness.to_vec(),
            seconds: 8.125,
        };
        Report {
            recipe: Recipe {
                model: "starter".into(),
                prompt: "a hat".into(),
                steps: 20,
                dtype: "f32".into(),
                identity_scale: Some(1.0),
                ..Recipe::default()
            },
            device: "cpu".into(),
            pictures: vec![
                picture(1, &[Likeness::Cosine(0.123_456)]),
                picture(2, &[Likeness::NoFaceFound]),
                picture(3, &[Likeness::NotMeasured]),
                picture(4, &[]),
                picture(5, &[Likeness::Cosine(0.5), Likeness::NoFaceFound]),
            ],
            contact_sheet: Some("out/contact-sheet.png".into()),
            seconds_total: 30.0,
            load_seconds: 2.0,
        }
    }

    #[test]
    fn lines_for_a_person() {
        let expected = "out/imagine-1.png  seed 1  likeness 0.12  8.1 s\n\
                        out/imagine-2.png  seed 2  no face found  8.1 s\n\
                        out/imagine-3.png  seed 3  8.1 s\n\
                        out/imagine-4.png  seed 4  8.1 s\n\
                        out/imagine-5.png  seed 5  likeness 0.50  no face found  8.1 s\n\
                        out/contact-sheet.png  all 5 on one sheet\n\
                        starter on cpu in f32: 30.0 s, of which 2.0 s to load";
        assert_eq!(report().lines(), expected);
    }

    #[test]
    fn json_for_a_program() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["pictures"][0]["likeness"], 0.1235);
        for i in [1, 2, 3] {
            assert!(json["pictures"][i]["likeness"].is_null());
        }
        assert_eq!(json["pictures"][4]["likeness"], serde_json::json!([0.5, null]));
        assert_eq!((&json["model"], &json["identity_scale"]), (&"starter".into(), &1.0.into()));
        assert!(json.get("strength").is_none() && json.get("loras").is_none(), "only what was asked for");
        assert_eq!(json["contact_sheet"], "out/contact-sheet.png");
    }
}
