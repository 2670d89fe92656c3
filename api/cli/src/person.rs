//! Who is to be drawn: from photos or an embedding file, with warnings about photos that could be better.

use std::path::Path;

use image::RgbImage;
use imagine_identity::embed::SFACE_WIDTH;
use imagine_identity::{Embedding, Encoder, FaceChoice, IdentityError, Photo, Problem, npy};

use crate::args::GenerateArgs;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::Likeness;

/// A person and the means to recognise them.
pub struct Person {
    embedding: Embedding,
    /// None where no encoder makes embeddings of this kind, or it is not installed.
    encoder: Option<Encoder>,
}

impl Person {
    /// Length 1.
    pub fn embedding(&self) -> &[f32] {
        self.embedding.vector()
    }

    /// Compares the largest face in a picture.
    pub fn likeness(&self, picture: &RgbImage) -> Result<Likeness, Failure> {
        let Some(encoder) = &self.encoder else { return Ok(Likeness::NotMeasured) };
        let found = encoder.likeness(&self.embedding, picture).map_err(failure)?;
        Ok(found.map_or(Likeness::NoFaceFound, Likeness::Cosine))
    }
}

/// The person whom the command line names, if any.
pub fn read(args: &GenerateArgs, progress: &Progress) -> Result<Option<Person>, Failure> {
    if let Some(file) = &args.identity_embedding {
        return from_file(file, progress).map(Some);
    }
    if args.photo.is_empty() {
        return Ok(None);
    }
    progress.stage("looking at the photos");
    from_photos(args, progress).map(Some)
}

fn from_file(file: &Path, progress: &Progress) -> Result<Person, Failure> {
    let embedding = npy::read(file).map_err(Failure::input)?;
    let mut encoder = None;
    if embedding.width() == SFACE_WIDTH {
        match Encoder::installed() {
            Ok(installed) => encoder = Some(installed),
            Err(e) => progress.warn(format_args!("likeness is not measured: {e}")),
        }
    }
    Ok(Person { embedding, encoder })
}

fn from_photos(args: &GenerateArgs, progress: &Progress) -> Result<Person, Failure> {
    let photos: Vec<Photo> =
        args.photo.iter().map(|path| Photo::open(path)).collect::<Result<_, _>>().map_err(Failure::input)?;
    let encoder = Encoder::installed().map_err(failure)?;
    let choice = args.face.map_or(FaceChoice::Largest, FaceChoice::Index);
    let person = encoder.person(&photos, choice).map_err(failure)?;
    for report in &person.reports {
        for problem in report.verdict.warnings() {
            let flag = if matches!(problem, Problem::SeveralFaces { .. }) { " with --face" } else { "" };
            progress.warn(format_args!("{}: {problem}{flag}", report.photo));
        }
    }
    Ok(Person { embedding: person.embedding, encoder: Some(encoder) })
}

fn failure(error: IdentityError) -> Failure {
    if error.is_input() { Failure::input(error) } else { Failure::failed(error) }
}
