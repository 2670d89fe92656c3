//! `imagine people card`: what a photo tells of a person's looks, part by part, to see, correct and leave out.
//! Of photos nothing is asked of a server and nothing is kept but the file that is named.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use imagine_identity::card::{PartName, Shown, Source};
use imagine_identity::{CardReader, Encoder, FaceChoice, IdentityCard, Photo};

use crate::card_file::{self, Corrections};
use crate::client::card::RemoteCard;
use crate::client::{self, Server, ServerArgs};
use crate::failure::Failure;

const HELP: &str = "\
Parts:
  descriptor, geometry, pose   measured only; can be left out
  skin                         #rrggbb, as in white light
  hair-colour                  #rrggbb, or black, dark-brown, brown, auburn, red, blonde, platinum, grey, white
  hair-length                  bald, short, long (bald is never measured)
  glasses                      yes, no
  beard                        yes, no (never measured)
  sex                          woman, man: as which of the two the face is drawn
  age                          years, 18 to 100

How far each part can be trusted on photos: docs/measurements/identity-card.md. A model draws by the card where its adapter
is of the kind \"card\"; others, such as SFace's, take an embedding and know nothing of it.

Examples:
  imagine people card me.jpg
  imagine people card a.jpg b.jpg --set glasses=no --without skin --out me.json
  imagine people card me.json --set hair-colour=grey --json
  imagine people card person_0198c0de0198c0de0198c0de0198c0de --set glasses=no --reset age
  imagine generate --card me.json --prompt \"a person as an astronaut\"      with a model that draws by the card";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct CardArgs {
    /// Photos of one person, a card that was written before, or the id of a person whom a server knows
    #[arg(required = true, value_name = "PHOTO|CARD.json|ID")]
    files: Vec<PathBuf>,
    /// Which face of each photo, counted from 0, largest first
    #[arg(long, value_name = "N")]
    face: Option<usize>,
    /// Correct a part; may be given again
    #[arg(long = "set", value_name = "PART=VALUE")]
    set: Vec<String>,
    /// Leave a part out; may be given again
    #[arg(long, value_name = "PART")]
    without: Vec<PartName>,
    /// Take back what was said of a part of the card that a server keeps; may be given again
    #[arg(long, value_name = "PART")]
    reset: Vec<PartName>,
    /// Print the card as JSON, with all its numbers
    #[arg(long)]
    json: bool,
    /// Write the card as JSON; a file that is there is not overwritten
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(args: &CardArgs) -> Result<(), Failure> {
    if let Some(person) = person(&args.files) {
        return remote(args, person);
    }
    if !args.reset.is_empty() {
        return Err(Failure::input("--reset is for the card that a server keeps")
            .hint("name the person by the id that `imagine people list` shows"));
    }
    let mut card = read(args)?;
    Corrections { set: args.set.clone(), without: args.without.clone() }.apply(&mut card)?;
    let json = serde_json::to_string_pretty(&card).map_err(Failure::failed)?;
    if let Some(file) = &args.out {
        write_new(file, &json)?;
    }
    match args.json {
        true => println!("{json}"),
        false => print!("{}", table(&card)),
    }
    Ok(())
}

/// The id of a person, where there is no such file.
fn person(files: &[PathBuf]) -> Option<&str> {
    let [only] = files else { return None };
    only.to_str().filter(|name| name.starts_with("person_") && !only.exists())
}

fn remote(args: &CardArgs, person: &str) -> Result<(), Failure> {
    if args.out.is_some() || args.face.is_some() {
        return Err(Failure::input(
            "--out and --face are for photos: a server shows no card with its numbers",
        ));
    }
    let names = |parts: &[PartName]| parts.iter().map(|part| part.name()).collect();
    let of = RemoteCard {
        person,
        set: &args.set,
        without: names(&args.without),
        reset: names(&args.reset),
        json: args.json,
    };
    client::card::run(&Server::new(&args.server), &of)
}

/// The mean card of all files.
fn read(args: &CardArgs) -> Result<IdentityCard, Failure> {
    let mut cards = Vec::new();
    let mut readers: Option<(Encoder, CardReader)> = None;
    for file in &args.files {
        if !file.exists() {
            return Err(Failure::input(format!("{}: there is no such file", file.display())).hint(
                "cards are of photos, of the files that --out writes, or of a person's id on a server",
            ));
        }
        if file.extension().is_some_and(|end| end.eq_ignore_ascii_case("json")) {
            cards.push(card_file::read(file)?);
            continue;
        }
        let photo = Photo::open(file).map_err(Failure::input)?;
        let (encoder, reader) = match &mut readers {
            Some(readers) => readers,
            none => {
                let encoder = Encoder::installed().map_err(Failure::failed)?;
                none.insert((encoder, CardReader::built_in().map_err(Failure::failed)?))
            }
        };
        cards.push(of_photo(encoder, reader, &photo, args.face)?);
    }
    Ok(IdentityCard::mean(&cards))
}

fn of_photo(
    encoder: &Encoder,
    reader: &CardReader,
    photo: &Photo,
    face: Option<usize>,
) -> Result<IdentityCard, Failure> {
    let failure = |error: imagine_identity::IdentityError| {
        if error.is_input() { Failure::input(error) } else { Failure::failed(error) }
    };
    let choice = face.map_or(FaceChoice::Largest, FaceChoice::Index);
    let report = encoder.examine(photo, choice).map_err(failure)?.report;
    if let Some(problem) = report.verdict.blocking() {
        return Err(Failure::input(format!("{}: {problem}", photo.name())));
    }
    for problem in report.verdict.warnings() {
        eprintln!("warning: {}: {problem}", photo.name());
    }
    let found = report.chosen.and_then(|chosen| report.faces.get(chosen));
    let card = match found {
        Some(face) => reader.read(photo.pixels(), face).map_err(failure)?,
        None => None,
    };
    card.ok_or_else(|| Failure::input(format!("{}: the points of the face could not be found", photo.name())))
}

/// A card is of one person's face: it does not take the place of another by accident.
fn write_new(file: &Path, json: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(file).and_then(|mut out| out.write_all(json.as_bytes()));
    written.map_err(|e| Failure::input(format!("{}: {e}", file.display())))
}

/// A line for each part.
fn table(card: &IdentityCard) -> String {
    let mut text = String::new();
    for name in PartName::ALL {
        let line = match card.show(name) {
            None => "-".to_owned(),
            Some(Shown { words, numbers, confidence, source }) => {
                let value = words.unwrap_or_else(|| format!("{numbers} numbers"));
                match source {
                    Source::Corrected => format!("{value:<26} as you said"),
                    Source::Measured => format!("{value:<26} confidence {confidence:.2}"),
                }
            }
        };
        // A String takes every write.
        let _ = writeln!(text, "{:<12} {line}", name.name());
    }
    text
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn args(files: &[&Path]) -> CardArgs {
        let files = files.iter().map(|file| file.to_path_buf()).collect();
        let (set, without, reset) = (Vec::new(), Vec::new(), Vec::new());
        CardArgs {
            files,
            face: None,
            set,
            without,
            reset,
            json: false,
            out: None,
            server: ServerArgs::default(),
        }
    }

    fn portrait() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/portraits/astronaut.jpg")
    }

    #[test]
    fn a_portrait_has_a_card_that_can_be_corrected_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("card.json");
        let photo = portrait();
        let first = CardArgs {
            set: vec!["hair-length=long".to_owned()],
            without: vec![PartName::Pose],
            out: Some(file.clone()),
            ..args(&[&photo])
        };
        run(&first).unwrap();
        let card = read(&args(&[&file])).unwrap();
        assert!(card.descriptor.is_some() && card.geometry.is_some() && card.pose.is_none());
        let text = table(&card);
        assert!(text.contains("descriptor   128 numbers") && text.contains("pose         -"), "{text}");
        assert!(
            text.lines().any(|l| l.starts_with("hair-length  long") && l.ends_with("as you said")),
            "{text}"
        );
        // Eileen Collins: light skin, no glasses
        let skin = card.skin.as_ref().unwrap();
        assert!(skin.value.l > 50.0 && skin.value.b > 0.0, "{:?}", skin.value);
        assert!(card.glasses.as_ref().is_none_or(|part| !part.value));
        let error = run(&first).unwrap_err().to_string();
        assert!(error.contains("card.json"), "a card is not overwritten: {error}");
    }

    #[test]
    fn what_is_no_card_and_no_photo_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("other.json");
        fs::write(&file, "{\"version\": 9}").unwrap();
        let error = run(&args(&[&file])).unwrap_err().to_string();
        assert!(error.contains("other.json") && error.contains("version 9"), "{error}");
        let error = run(&args(&[Path::new("Ada")])).unwrap_err().to_string();
        assert!(error.contains("Ada: there is no such file"), "{error}");
        let reset = CardArgs { reset: vec![PartName::Skin], ..args(&[&portrait()]) };
        assert!(run(&reset).unwrap_err().to_string().contains("--reset"));
        let out = CardArgs { out: Some(file), ..args(&[Path::new("person_1")]) };
        assert!(run(&out).unwrap_err().to_string().contains("--out"));
        let wrong = CardArgs { set: vec!["nose=long".to_owned()], ..args(&[&portrait()]) };
        assert!(run(&wrong).unwrap_err().to_string().contains("no part \"nose\""));
    }
}
