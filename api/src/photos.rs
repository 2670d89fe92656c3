//! Photos on their way in: looked at by the face reader, a few at a time, and never kept here.

use std::sync::Arc;

use imagine_contract::{FaceData, FaceReader, PhotoProblem, PhotoReading};
use imagine_store::NewPhoto;

use crate::app::App;
use crate::error::{Code, Outcome, Problem};
use crate::http::form::{File, Form, FormLimits};
use crate::wire::person::ProblemOfPhoto;

/// Looks at one photo. Decoding takes a processor and much memory: only so many at a time.
pub(crate) async fn read(app: &App, bytes: Vec<u8>, face: Option<usize>) -> Outcome<PhotoReading> {
    let closed = |_| Problem::new(Code::Draining, "the server is shutting down");
    let _slot = app.photo_slots.acquire().await.map_err(closed)?;
    let faces: Arc<dyn FaceReader> = Arc::clone(&app.parts.faces);
    let read = tokio::task::spawn_blocking(move || faces.read(&bytes, face));
    Ok(read.await.map_err(Problem::internal)??)
}

/// A picture that is to be changed, made clean.
pub(crate) struct CleanPicture {
    /// Its pixels, upright, and nothing else of the file.
    pub png: Vec<u8>,
    /// How many faces are on it.
    pub faces: usize,
    /// One of them could be drawn by.
    pub usable: bool,
}

/// Reads a picture as selfies are read, and writes its pixels anew.
pub(crate) async fn picture(app: &App, bytes: Vec<u8>) -> Outcome<CleanPicture> {
    let PhotoReading { pixels, faces, face, .. } = read(app, bytes, None).await?;
    let png = tokio::task::spawn_blocking(move || encode_png(&pixels)).await.map_err(Problem::internal)??;
    Ok(CleanPicture { png, faces: faces.len(), usable: face.is_some() })
}

/// Limits of a form with photos.
pub(crate) fn limits(app: &App) -> FormLimits {
    let limits = &app.config.limits;
    FormLimits { files: limits.photos, file_bytes: limits.photo_bytes, text_bytes: 256 << 10 }
}

/// Bytes of a whole request with photos.
pub(crate) fn body_limit(app: &App, files: usize) -> usize {
    files.saturating_mul(app.config.limits.photo_bytes).saturating_add(1 << 20)
}

/// Takes `photo` files and `face` choices out of a form, looks at each, and makes sure that they show one person.
///
/// # Errors
/// [`Code::NoUsablePhoto`], [`Code::NotTheSamePerson`], and what the reader refuses.
pub(crate) async fn portraits(app: &App, form: &mut Form, keep: bool) -> Outcome<Vec<NewPhoto>> {
    let files = form.take_files("photo");
    let faces = face_choices(form, files.len())?;
    portraits_of(app, files, &faces, keep, &[]).await
}

/// The same of files; `known` are embeddings of the same person from before.
pub(crate) async fn portraits_of(
    app: &App,
    files: Vec<File>,
    faces: &[Option<usize>],
    keep: bool,
    known: &[FaceData],
) -> Outcome<Vec<NewPhoto>> {
    let most = app.config.limits.photos;
    if files.is_empty() || files.len() > most {
        return Err(Problem::field("photo", format!("send 1 to {most} photos in the field \"photo\"")));
    }
    let mut photos = Vec::new();
    for (index, file) in files.into_iter().enumerate() {
        let reading = read(app, file.bytes, faces.get(index).copied().flatten()).await;
        let reading = reading.map_err(|problem| problem.with("photo", index.into()))?;
        let photo = if keep && reading.face.is_some() { Some(png(&reading).await?) } else { None };
        let (problems, face) = (reading.problems.clone(), reading.face.clone());
        photos.push(NewPhoto { problems, face, photo });
    }
    check(app, &photos, known)?;
    Ok(photos)
}

fn check(app: &App, photos: &[NewPhoto], known: &[FaceData]) -> Outcome<()> {
    let usable: Vec<(usize, &FaceData)> =
        photos.iter().enumerate().filter_map(|(i, photo)| Some((i, photo.face.as_ref()?))).collect();
    if usable.is_empty() {
        let first = photos.iter().flat_map(|photo| &photo.problems).find(|problem| problem.blocks);
        let advice =
            first.map_or("no photo shows a face that can be used", |problem| problem.advice.as_str());
        let problems: Vec<_> = photos.iter().map(|photo| told(&photo.problems)).collect();
        let problem = Problem::new(Code::NoUsablePhoto, advice).param("photo");
        return Err(problem.with("photos", serde_json::json!(problems)));
    }
    // Everybody is compared with the first: the mean would hide one stranger among many.
    let least = app.parts.faces.same_person();
    let (anchor, rest) = match known.first() {
        Some(first) => (first, &usable[..]),
        None => (usable[0].1, &usable[1..]),
    };
    let faces = &app.parts.faces;
    // What cannot be told is not taken for granted.
    let unlike = |face: &FaceData| faces.alike(anchor, face).is_none_or(|alike| alike < least);
    let strangers: Vec<usize> =
        rest.iter().filter(|(_, face)| unlike(face)).map(|(index, _)| *index).collect();
    if strangers.is_empty() {
        return Ok(());
    }
    let detail = "the photos seem to show different people; choose photos, or faces in them, of one person";
    Err(Problem::new(Code::NotTheSamePerson, detail).param("photo").with("strangers", strangers.into()))
}

fn told(problems: &[PhotoProblem]) -> serde_json::Value {
    serde_json::json!(problems.iter().map(ProblemOfPhoto::from).collect::<Vec<_>>())
}

/// Which face of each photo, from repeated `face` fields; an empty one leaves the choice.
pub(crate) fn face_choices(form: &Form, photos: usize) -> Outcome<Vec<Option<usize>>> {
    let wrong = || Problem::field("face", "\"face\" is the number of a face, once for each photo");
    let mut faces = Vec::new();
    for text in form.all("face") {
        faces.push(if text.trim().is_empty() {
            None
        } else {
            Some(text.trim().parse().map_err(|_| wrong())?)
        });
    }
    if faces.len() > photos { Err(wrong()) } else { Ok(faces) }
}

/// The upright photo's pixels, without anything else that the file held.
async fn png(reading: &PhotoReading) -> Outcome<bytes::Bytes> {
    let pixels = reading.pixels.clone();
    let encode = tokio::task::spawn_blocking(move || encode_png(&pixels));
    Ok(encode.await.map_err(Problem::internal)??.into())
}

/// A PNG of the pixels and nothing else.
pub(crate) fn encode_png(pixels: &imagine_contract::RgbPixels) -> Outcome<Vec<u8>> {
    use image::ImageEncoder;
    let mut bytes = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    let written =
        encoder.write_image(&pixels.rgb, pixels.width, pixels.height, image::ExtendedColorType::Rgb8);
    written.map_err(Problem::internal)?;
    Ok(bytes)
}
