//! Who is to be drawn: from photos or an embedding file, with warnings about photos that could be better.

use std::path::{Path, PathBuf};

use image::{RgbImage, imageops};
use imagine_contract::{GrayPixels, Identity, IdentityNeeds, Reference, Region, Stage};
use imagine_identity::adapters::AdapterKind;
use imagine_identity::card::{CARD_WIDTH, CardVectors};
use imagine_identity::packs::{FACE_ID_PACKS, INSTANT_ID_PACKS};
use imagine_identity::{
    Embedding, Encoder, EncoderChoice, FaceChoice, FaceReference, IdentityCard, IdentityError, Photo,
    Problem, npy,
};

use crate::card_file::{self, Corrections};
use crate::edit::read_mask;
use crate::face_encoder;
use crate::faces::face_data;
use crate::failure::Failure;
use crate::generate_args::GenerateArgs;
use crate::person_spec::{PersonSpec, RegionSpec};
use crate::progress::Progress;
use crate::report::Likeness;
use crate::strengths::{GroupScales, PartsOfRun};

/// Everyone who is to be drawn, and the means to recognise them.
pub struct People {
    people: Vec<Person>,
    /// None where no encoder makes embeddings of this kind, or it is not installed.
    encoder: Option<Encoder>,
}

/// One person.
struct Person {
    embedding: Embedding,
    /// One a photo; none where the person comes from a file.
    faces: Vec<FaceReference>,
    scale: f64,
    steps: [f64; 2],
    stages: Vec<Stage>,
    group_scales: GroupScales,
    region: Option<Region>,
}

/// Everyone whom the command line names. `needs` is what the adapter wants to know; `pack` a face encoder to
/// take in any case.
pub fn read(
    args: &GenerateArgs,
    needs: Option<&IdentityNeeds>,
    pack: Option<&Path>,
    progress: &Progress,
) -> Result<People, Failure> {
    let specs = args.everyone();
    if specs.is_empty() {
        return Ok(People { people: Vec::new(), encoder: None });
    }
    check_cards(&specs, needs)?;
    if let Some(needs) = needs {
        for spec in &specs {
            needs.check_groups(card_scale(spec, args).keys()).map_err(Failure::input)?;
        }
    }
    let encoder = encoder(args, &specs, needs, pack, progress)?;
    let people = specs.iter().map(|spec| {
        let (embedding, faces) = match (&spec.embedding, &spec.card) {
            (Some(file), _) => from_file(file, needs)?,
            (None, Some(file)) => (from_card(file, &spec.corrections)?, Vec::new()),
            (None, None) => {
                progress.stage("looking at the photos");
                let missing = || Failure::failed("there is no face encoder for the photos");
                from_photos(spec, encoder.as_ref().ok_or_else(missing)?, progress)?
            }
        };
        check_width(&embedding, needs)?;
        let region = match &spec.region {
            None => None,
            Some(RegionSpec::Box(corners)) => Some(Region::Box(*corners)),
            Some(RegionSpec::Mask(file)) => Some(Region::Mask(read_mask(file)?)),
        };
        let scale = spec.scale.unwrap_or(args.identity_scale);
        let parts = spec.steps.clone().or_else(|| args.identity_steps.clone());
        let (steps, stages) = PartsOfRun::of_request(parts);
        let group_scales = card_scale(spec, args);
        Ok(Person { embedding, faces, scale, steps, stages, group_scales, region })
    });
    let people = people.collect::<Result<Vec<_>, Failure>>()?;
    if people.len() > 1 && people.iter().any(|person| person.region.is_none()) {
        let message = "where several people are drawn, each needs a box or a mask";
        return Err(Failure::input(message).hint("--person \"photo=ann.jpg;box=0,0,0.5,1\""));
    }
    Ok(People { people, encoder })
}

/// What is said of the person alone, or of everybody.
fn card_scale(spec: &PersonSpec, args: &GenerateArgs) -> GroupScales {
    spec.card_scale.clone().or_else(|| args.card_scale.clone()).unwrap_or_default()
}

/// The face encoder: the one that is named, else the one whose embeddings the adapter takes. For people from
/// files it only measures likeness, and may be missing unless it was asked for.
fn encoder(
    args: &GenerateArgs,
    specs: &[PersonSpec],
    needs: Option<&IdentityNeeds>,
    pack: Option<&Path>,
    progress: &Progress,
) -> Result<Option<Encoder>, Failure> {
    let files_alone = specs.iter().all(|spec| spec.photos.is_empty());
    let width = match specs.iter().find_map(|spec| spec.embedding.as_ref()) {
        Some(file) if files_alone => Some(npy::read(file).map_err(Failure::input)?.width()),
        None if files_alone => Some(CARD_WIDTH),
        _ => needs.and_then(|needs| needs.embedding_width),
    };
    let instant_id = needs.is_some_and(|needs| needs.key_points);
    let choice = EncoderChoice {
        named: args.face_encoder.as_deref(),
        pulled: pack,
        packs: if instant_id { INSTANT_ID_PACKS } else { FACE_ID_PACKS },
        width,
    };
    let accepted = args.accept_licence.as_deref();
    let asked_for = choice.named.is_some() || accepted.is_some();
    let opened = face_encoder::open(choice, accepted, progress);
    match opened {
        Ok(encoder) => Ok(Some(encoder)),
        Err(e) if asked_for => Err(failure(e)),
        Err(IdentityError::NoEncoder { .. }) if files_alone => Ok(None),
        Err(e) if files_alone => {
            progress.warn(format_args!("likeness is not measured: {e}"));
            Ok(None)
        }
        Err(e) => Err(failure(e)),
    }
}

fn from_file(file: &Path, needs: Option<&IdentityNeeds>) -> Result<(Embedding, Vec<FaceReference>), Failure> {
    if let Some(needs) = needs
        && (needs.face_side.is_some() || needs.key_points)
    {
        let message = format!("the adapter ({}) looks at the face itself: photos are needed", needs.kind);
        return Err(Failure::input(message).hint("--photo in the place of the embedding"));
    }
    Ok((npy::read(file).map_err(Failure::input)?, Vec::new()))
}

/// Cards and what is said of them are for the adapters that hear them.
fn check_cards(specs: &[PersonSpec], needs: Option<&IdentityNeeds>) -> Result<(), Failure> {
    let Some(needs) = needs.filter(|needs| needs.kind != AdapterKind::Card.name()) else { return Ok(()) };
    let has_card = specs.iter().any(|spec| spec.card.is_some());
    let hint = match has_card {
        true => "give photos in the place of the card, or name a model or --adapter that draws by the card",
        false => "leave the corrections out, or name a model or --adapter that draws by the card",
    };
    if has_card || specs.iter().any(|spec| !spec.corrections.is_empty()) {
        let message = format!("the adapter ({}) does not draw by an identity card", needs.kind);
        return Err(Failure::input(message).hint(hint));
    }
    Ok(())
}

fn from_card(file: &Path, corrections: &Corrections) -> Result<Embedding, Failure> {
    let mut card = card_file::read(file)?;
    corrections.apply(&mut card)?;
    let vectors = CardVectors::built_in().map_err(Failure::failed)?;
    Embedding::from_raw("the identity card", vectors.vector(&card)).map_err(failure)
}

fn from_photos(
    spec: &PersonSpec,
    encoder: &Encoder,
    progress: &Progress,
) -> Result<(Embedding, Vec<FaceReference>), Failure> {
    let open = |path: &PathBuf| Photo::open(path);
    let photos: Vec<Photo> =
        spec.photos.iter().map(open).collect::<Result<_, _>>().map_err(Failure::input)?;
    let choice = spec.face.map_or(FaceChoice::Largest, FaceChoice::Index);
    let mut person = encoder.person(&photos, choice).map_err(failure)?;
    for report in &person.reports {
        for problem in report.verdict.warnings() {
            let flag = if matches!(problem, Problem::SeveralFaces { .. }) { " with --face" } else { "" };
            progress.warn(format_args!("{}: {problem}{flag}", report.photo));
        }
    }
    if let Some(vectors) = encoder.card_vectors() {
        // The card of all photos is what a person sees and corrects: it is what is drawn by.
        let cards: Vec<IdentityCard> =
            person.references.iter().filter_map(|face| face.card.clone()).collect();
        let mut card = IdentityCard::mean(&cards);
        spec.corrections.apply(&mut card)?;
        person.embedding =
            Embedding::from_raw("the identity card", vectors.vector(&card)).map_err(failure)?;
        for face in &mut person.references {
            face.embedding = person.embedding.clone();
            face.card = Some(card.clone());
        }
    }
    Ok((person.embedding, person.references))
}

fn check_width(embedding: &Embedding, needs: Option<&IdentityNeeds>) -> Result<(), Failure> {
    let given = embedding.width();
    match needs.and_then(|needs| needs.embedding_width) {
        Some(width) if width != given => Err(Failure::input(format!(
            "the face embedding has {given} numbers, the adapter wants {width}: another face encoder made it"
        ))),
        _ => Ok(()),
    }
}

impl People {
    /// Everyone as the model wants to know them.
    pub fn identities(&self, needs: Option<&IdentityNeeds>) -> Vec<Identity> {
        self.people.iter().map(|person| person.identity(needs)).collect()
    }

    /// Compares everyone with the largest face in their part of a picture.
    pub fn likeness(&self, picture: &RgbImage) -> Result<Vec<Likeness>, Failure> {
        let one = |person: &Person| {
            let Some(encoder) = &self.encoder else { return Ok(Likeness::NotMeasured) };
            if encoder.embedding_width() != person.embedding.width() {
                return Ok(Likeness::NotMeasured);
            }
            // A card without a descriptor is not even like itself.
            if encoder.alike(&person.embedding, &person.embedding).map_err(failure)?.is_none() {
                return Ok(Likeness::NotMeasured);
            }
            let part = person.region.as_ref().map(|region| part(picture, region));
            let found = encoder.likeness(&person.embedding, part.as_ref().unwrap_or(picture));
            Ok(found.map_err(failure)?.map_or(Likeness::NoFaceFound, Likeness::Cosine))
        };
        self.people.iter().map(one).collect()
    }
}

impl Person {
    fn identity(&self, needs: Option<&IdentityNeeds>) -> Identity {
        let takes_embedding = needs.is_none_or(|needs| needs.embedding_width.is_some());
        let vector = |embedding: &Embedding| {
            if takes_embedding { embedding.vector().to_vec() } else { Vec::new() }
        };
        let references = if self.faces.is_empty() {
            let norm = self.embedding.norm();
            vec![Reference { norm, ..Reference::of_embedding(vector(&self.embedding)) }]
        } else {
            self.faces.iter().map(|face| face_data(0, face).reference(needs)).collect()
        };
        Identity {
            references,
            scale: self.scale,
            steps: self.steps,
            stages: self.stages.clone(),
            group_scales: self.group_scales.clone(),
            region: self.region.clone(),
        }
    }
}

/// The part of a picture that a region covers, as a rectangle.
fn part(picture: &RgbImage, region: &Region) -> RgbImage {
    let (width, height) = picture.dimensions();
    let [left, top, right, bottom] = match region {
        Region::Box(corners) => *corners,
        Region::Mask(mask) => bounds(mask),
    };
    let at = |share: f64, side: u32| ((share * f64::from(side)).round() as u32).min(side);
    let (x, y) = (at(left, width), at(top, height));
    let (w, h) = (at(right, width).saturating_sub(x), at(bottom, height).saturating_sub(y));
    imageops::crop_imm(picture, x, y, w.max(1), h.max(1)).to_image()
}

/// The smallest box around what is marked.
fn bounds(mask: &GrayPixels) -> [f64; 4] {
    let (width, height) = (mask.width.max(1), mask.height.max(1));
    let marked = (0..).zip(&mask.values).filter(|(_, value)| **value >= 128).map(|(at, _): (u32, _)| at);
    let (mut x, mut y) = ([width, 0], [height, 0]);
    for at in marked {
        let (column, row) = (at % width, at / width);
        x = [x[0].min(column), x[1].max(column + 1)];
        y = [y[0].min(row), y[1].max(row + 1)];
    }
    let share = |n: u32, of: u32| f64::from(n) / f64::from(of);
    [share(x[0], width), share(y[0], height), share(x[1], width), share(y[1], height)]
}

fn failure(error: IdentityError) -> Failure {
    if error.is_input() { Failure::input(error) } else { Failure::failed(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_picture_is_cut_out() {
        let picture = RgbImage::from_fn(10, 4, |x, y| image::Rgb([x as u8, y as u8, 0]));
        let right = part(&picture, &Region::Box([0.5, 0.25, 1.0, 1.0]));
        assert_eq!((right.dimensions(), right.get_pixel(0, 0).0), ((5, 3), [5, 1, 0]));
        let mut mask = GrayPixels::filled(5, 2, 0);
        mask.values[6] = 255;
        mask.values[8] = 255;
        assert_eq!(bounds(&mask), [0.2, 0.5, 0.8, 1.0]);
        assert_eq!(part(&picture, &Region::Mask(mask)).dimensions(), (6, 2));
    }
}
