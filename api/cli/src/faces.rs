//! The eyes of the service: photos of people as plain data, by the encoders of `identity`.

use std::sync::{Condvar, Mutex, PoisonError};

use image::RgbImage;
use imagine_contract::{
    CardChanges, CardPart, CardRefused, FaceBox, FaceData, FaceReader, KeyPoints, PhotoProblem, PhotoReading,
    PhotoRefused, Reference, RgbPixels,
};
use imagine_identity::{
    Embedding, Encoder, Examined, FaceChoice, FaceReference, IdentityError, Limits, Photo, PhotoError,
};

use crate::face_cards;

/// Photos that are decoded at the same time: one may take 400 MB.
const DECODED_AT_ONCE: usize = 2;

/// Pixels as plain data.
pub fn pixels(picture: &RgbImage) -> RgbPixels {
    let (width, height) = picture.dimensions();
    RgbPixels { width, height, rgb: picture.as_raw().clone() }
}

/// Face number `index` of a photo as plain data.
pub fn face_data(index: usize, face: &FaceReference) -> FaceData {
    FaceData {
        index,
        embedding: face.embedding.vector().to_vec(),
        norm: face.embedding.norm(),
        crops: [&face.crop_224, &face.crop_256].map(pixels).to_vec(),
        key_points: KeyPoints { points: face.landmarks, photo: face.photo_size },
        card: face.card.as_ref().and_then(face_cards::sealed),
    }
}

/// A [`FaceReader`] that keeps nothing of what it reads.
pub struct Faces {
    encoder: Encoder,
    limits: Limits,
    at_work: Mutex<usize>,
    left: Condvar,
}

impl Faces {
    pub fn new(encoder: Encoder, limits: Limits) -> Self {
        Self { encoder, limits, at_work: Mutex::new(0), left: Condvar::new() }
    }

    /// Does `work` when fewer than [`DECODED_AT_ONCE`] others are at it.
    fn in_turn<T>(&self, work: impl FnOnce() -> T) -> T {
        let waiting = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at_work = self
            .left
            .wait_while(waiting, |at_work| *at_work >= DECODED_AT_ONCE)
            .unwrap_or_else(PoisonError::into_inner);
        *at_work += 1;
        drop(at_work);
        let _place = Place(self);
        work()
    }
}

/// One of the places at the decoders; given back even by a panic.
struct Place<'a>(&'a Faces);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.at_work.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.left.notify_one();
    }
}

impl FaceReader for Faces {
    fn encoder(&self) -> &str {
        self.encoder.name()
    }

    fn same_person(&self) -> f32 {
        self.encoder.same_person()
    }

    fn read(&self, photo: &[u8], face: Option<usize>) -> Result<PhotoReading, PhotoRefused> {
        self.in_turn(|| {
            let photo = Photo::decode(photo, &self.limits, "the photo").map_err(|e| refused(&e))?;
            let choice = face.map_or(FaceChoice::Largest, FaceChoice::Index);
            let Examined { report, reference } =
                self.encoder.examine(&photo, choice).map_err(|e| not_examined(&e))?;
            let index = report.chosen.unwrap_or(0);
            let problem = |problem: &imagine_identity::Problem| PhotoProblem {
                code: problem.code().into(),
                advice: problem.to_string(),
                blocks: problem.blocks(),
            };
            let bounds = |face: &imagine_identity::Face| {
                let [x, y, width, height] = face.bbox;
                FaceBox { x, y, width, height }
            };
            Ok(PhotoReading {
                pixels: pixels(photo.pixels()),
                faces: report.faces.iter().map(bounds).collect(),
                problems: report.verdict.problems.iter().map(problem).collect(),
                face: reference.map(|reference| face_data(index, &reference)),
            })
        })
    }

    fn likeness(&self, person: &[Reference], picture: &RgbPixels) -> Option<f32> {
        let known = |r: &Reference| Embedding::from_raw("a reference", r.embedding.clone()).ok();
        let known: Vec<Embedding> = person.iter().filter_map(known).collect();
        let mean = Embedding::mean(&known).ok()?;
        let picture = RgbImage::from_raw(picture.width, picture.height, picture.rgb.clone())?;
        self.encoder.likeness(&mean, &picture).unwrap_or_else(|error| {
            tracing::error!("likeness was not measured: {error}");
            None
        })
    }

    fn alike(&self, one: &FaceData, other: &FaceData) -> Option<f32> {
        let known = |face: &FaceData| Embedding::from_raw("a face", face.embedding.clone()).ok();
        self.encoder.alike(&known(one)?, &known(other)?).ok().flatten()
    }

    fn makes_cards(&self) -> bool {
        self.encoder.card_vectors().is_some()
    }

    fn card(&self, faces: &[FaceData], changes: &CardChanges) -> Result<Vec<CardPart>, CardRefused> {
        match self.makes_cards() {
            true => face_cards::parts(faces, changes),
            false => Err(no_cards(&self.encoder)),
        }
    }

    fn as_drawn(&self, faces: Vec<FaceData>, changes: &CardChanges) -> Result<Vec<FaceData>, CardRefused> {
        match self.encoder.card_vectors() {
            Some(vectors) => face_cards::as_drawn(faces, changes, vectors),
            None if changes.is_empty() => Ok(faces),
            None => Err(no_cards(&self.encoder)),
        }
    }
}

fn no_cards(encoder: &Encoder) -> CardRefused {
    CardRefused::NoCards(encoder.name().to_owned())
}

fn refused(error: &PhotoError) -> PhotoRefused {
    let code = match error {
        PhotoError::TooManyBytes { .. } | PhotoError::TooLarge { .. } | PhotoError::TooManyPixels { .. } => {
            "too_large"
        }
        PhotoError::NotAPicture { .. } | PhotoError::Unsupported { .. } => "unsupported_format",
        _ => "damaged",
    };
    PhotoRefused { code: code.into(), message: error.to_string() }
}

fn not_examined(error: &IdentityError) -> PhotoRefused {
    let code = if matches!(error, IdentityError::NoSuchFace { .. }) { "no_such_face" } else { "failed" };
    PhotoRefused { code: code.into(), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use std::io::Cursor;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use image::{ImageFormat, imageops};
    use imagine_contract::{PartInput, PartSource};
    use imagine_identity::card::{Columns, PartName};

    use super::*;

    fn faces() -> Faces {
        Faces::new(Encoder::installed().unwrap(), Limits::default())
    }

    fn portrait() -> RgbImage {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/portraits/astronaut.jpg");
        Photo::open(&file).unwrap().pixels().clone()
    }

    fn png(picture: &RgbImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_portrait_gives_all_that_an_adapter_may_want() {
        let (faces, picture) = (faces(), portrait());
        let reading = faces.read(&png(&picture), None).unwrap();
        assert_eq!((reading.pixels.width, reading.pixels.height), picture.dimensions());
        assert_eq!(reading.faces.len(), 1, "{:?}", reading.faces);
        let face = reading.face.unwrap();
        let sides: Vec<u32> = face.crops.iter().map(|crop| crop.width).collect();
        assert_eq!((face.index, face.embedding.len(), sides), (0, 128, vec![224, 256]));
        assert_eq!(face.key_points.photo, [picture.width(), picture.height()]);
        let length: f32 = face.embedding.iter().map(|v| v * v).sum();
        assert!((length - 1.0).abs() < 1e-4, "{length}");
        let known = [face.reference(None)];
        let same = faces.likeness(&known, &reading.pixels).unwrap();
        assert!(same > 0.99, "{same}");
        let blank = RgbPixels { width: 64, height: 64, rgb: vec![128; 64 * 64 * 3] };
        assert_eq!(faces.likeness(&known, &blank), None);
        assert_eq!(faces.likeness(&[], &reading.pixels), None);
    }

    fn changes(set: &[(&str, &str)], without: &[&str]) -> CardChanges {
        let set = set.iter().map(|(part, value)| ((*part).to_owned(), (*value).to_owned())).collect();
        CardChanges { set, without: without.iter().map(|part| (*part).to_owned()).collect() }
    }

    #[test]
    fn a_card_is_shown_corrected_and_drawn_by() {
        let faces = Faces::new(Encoder::card().unwrap(), Limits::default());
        let reading = faces.read(&png(&portrait()), None).unwrap();
        let face = reading.face.clone().unwrap();
        assert_eq!((faces.makes_cards(), face.embedding.len()), (true, 149));
        let known = [face.clone()];
        let show = |changes: &CardChanges, name: &str| {
            let parts = faces.card(&known, changes).unwrap();
            assert_eq!(parts.len(), PartName::ALL.len());
            parts.into_iter().find(|part| part.name == name).unwrap()
        };
        let nothing = CardChanges::default();
        let descriptor = show(&nothing, "descriptor");
        assert_eq!((descriptor.numbers, descriptor.value, descriptor.input), (128, None, PartInput::Nothing));
        // Eileen Collins, 34
        let sex = show(&nothing, "sex");
        assert_eq!((sex.value.as_deref(), sex.source), (Some("woman"), PartSource::Measured));
        assert_eq!(
            (show(&nothing, "beard").source, show(&nothing, "beard").numbers),
            (PartSource::Unknown, 0)
        );
        let age: f32 = show(&nothing, "age").value.unwrap().parse().unwrap();
        assert!((20.0..=50.0).contains(&age), "{age}");

        let said = changes(&[("glasses", "yes"), ("age", "60")], &["skin", "sex"]);
        let years = show(&said, "age");
        assert_eq!((years.value.as_deref(), years.source), (Some("60"), PartSource::Corrected));
        assert_eq!(years.measured.unwrap().parse::<f32>().unwrap(), age, "what was measured stays beside it");
        let sex = show(&said, "sex");
        assert_eq!(
            (sex.value, sex.source, sex.measured.as_deref()),
            (None, PartSource::LeftOut, Some("woman"))
        );

        let drawn = |changes: &CardChanges| {
            let face = faces.as_drawn(known.to_vec(), changes).unwrap().remove(0);
            let one = face.embedding[Columns::ONE];
            face.embedding.iter().map(|v| v / one).collect::<Vec<f32>>()
        };
        let (before, after) = (drawn(&nothing), drawn(&said));
        let measured: Vec<f32> = face.embedding.iter().map(|v| v / face.embedding[Columns::ONE]).collect();
        assert!(
            before.iter().zip(&measured).all(|(a, b)| (a - b).abs() < 1e-3),
            "nothing said, nothing changed"
        );
        let changed: Vec<usize> =
            (0..before.len()).filter(|at| (before[*at] - after[*at]).abs() > 1e-3).collect();
        assert!(changed.iter().all(|at| *at >= Columns::COLOURS.start), "{changed:?}");
        assert_eq!(after[132], 0.0, "the skin is not known");
        assert!((after[142] - 1.0).abs() < 1e-3 && (after[146] - 1.0).abs() < 1e-3, "glasses, 60 years");
        assert_eq!(&after[144..146], [0.0, 0.0]);

        assert!(faces.alike(&face, &face).unwrap() > 0.99);
        let reference = |changes: &CardChanges| {
            [faces.as_drawn(known.to_vec(), changes).unwrap().remove(0).reference(None)]
        };
        assert!(faces.likeness(&reference(&said), &reading.pixels).unwrap() > 0.99);
        let nobody = reference(&changes(&[], &["descriptor"]));
        assert_eq!(faces.likeness(&nobody, &reading.pixels), None, "what is left out is not compared either");
    }

    #[test]
    fn what_no_card_says_is_refused_and_embeddings_have_none() {
        let cards = Faces::new(Encoder::card().unwrap(), Limits::default());
        for (said, words) in [
            (changes(&[("glasses", "maybe")], &[]), "neither yes nor no"),
            (changes(&[("nose", "long")], &[]), "no part"),
            (changes(&[("pose", "1")], &[]), "cannot be said"),
            (changes(&[], &["nose"]), "no part"),
        ] {
            let refused = cards.card(&[], &said).unwrap_err();
            assert!(
                matches!(refused, CardRefused::Change(_)) && refused.to_string().contains(words),
                "{refused}"
            );
        }
        let sface = faces();
        let face = sface.read(&png(&portrait()), None).unwrap().face.unwrap();
        assert!(!sface.makes_cards() && face.card.is_none());
        assert!(matches!(
            cards.card(std::slice::from_ref(&face), &CardChanges::default()),
            Err(CardRefused::Unreadable(_))
        ));
        let refused = sface.card(std::slice::from_ref(&face), &CardChanges::default()).unwrap_err();
        assert!(refused.to_string().contains("sface makes no identity cards"), "{refused}");
        let drawn = sface.as_drawn(vec![face.clone()], &CardChanges::default()).unwrap();
        assert_eq!(drawn, std::slice::from_ref(&face));
        assert!(sface.as_drawn(vec![face], &changes(&[("glasses", "no")], &[])).is_err());
    }

    #[test]
    fn what_is_wrong_has_a_code_and_advice() {
        let (faces, picture) = (faces(), portrait());
        let blank = faces.read(&png(&RgbImage::new(200, 200)), None).unwrap();
        assert_eq!((blank.problems[0].code.as_str(), blank.problems[0].blocks), ("no_face", true));
        assert!(blank.face.is_none() && blank.problems[0].advice.contains("use a photo"));
        let width = picture.width();
        let mut twice = RgbImage::new(2 * width, picture.height());
        imageops::replace(&mut twice, &picture, 0, 0);
        imageops::replace(&mut twice, &picture, i64::from(width), 0);
        let twice = png(&twice);
        let doubtful = faces.read(&twice, None).unwrap();
        assert_eq!(doubtful.faces.len(), 2);
        assert!(doubtful.problems.iter().any(|problem| problem.code == "several_faces" && !problem.blocks));
        let chosen = faces.read(&twice, Some(1)).unwrap();
        assert!(chosen.problems.iter().all(|problem| problem.code != "several_faces"));
        assert_eq!(chosen.face.unwrap().index, 1);
        let code = |bytes: &[u8], face| faces.read(bytes, face).unwrap_err().code;
        assert_eq!(code(&twice, Some(2)), "no_such_face");
        assert_eq!(code(b"GIF89a...............", None), "unsupported_format");
        assert_eq!(code(&twice[..twice.len() / 2], None), "damaged");
        assert_eq!(code(&[], None), "damaged");
        let small = Faces::new(Encoder::installed().unwrap(), Limits { side: 100, ..Limits::default() });
        assert_eq!(small.read(&twice, None).unwrap_err().code, "too_large");
    }

    #[test]
    fn two_photos_are_decoded_at_once_and_no_more() {
        let (faces, now, most) = (faces(), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    faces.in_turn(|| {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                    });
                });
            }
        });
        assert!((1..=DECODED_AT_ONCE).contains(&most.load(Ordering::SeqCst)));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            faces.in_turn(|| panic!("a decoder's own fault"))
        }));
        assert!(panicked.is_err());
        assert_eq!(*faces.at_work.lock().unwrap(), 0, "the place is given back");
    }
}
